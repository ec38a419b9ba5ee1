"""The processes that a test, or a service that it started, has started."""

from __future__ import annotations

from contextlib import suppress

import psutil


def children_with(argument: str, pid: int | None = None) -> list[psutil.Process]:
    """The children of a process, or of this one, with this argument, oldest first; not those that have ended."""
    found = []
    for child in psutil.Process(pid).children():
        # It may end at any moment, and has no arguments then, also before its parent has waited for it.
        with suppress(psutil.NoSuchProcess):
            if argument in child.cmdline():
                found.append(child)
    return sorted(found, key=lambda child: child.create_time())
