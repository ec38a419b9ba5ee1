"""Modules that run as processes of their own: starts one with pipes, and finds those that another has started."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil


def start_module(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """The process. Not started by the event loop: uvloop calls fork(), whose handlers in gRPC can crash the process."""
    return subprocess.Popen(
        (sys.executable, "-m", module, *arguments),
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Ends the process at once, if it still runs, and closes its pipes."""
    process.kill()
    process.communicate()


def children_with(argument: str, pid: int | None = None) -> list[psutil.Process]:
    """The children of a process, or of this one, with this argument, oldest first; not those that have ended."""
    found = []
    for child in psutil.Process(pid).children():
        # It may end at any moment, and has no arguments then, also before its parent has waited for it.
        with suppress(psutil.NoSuchProcess):
            if argument in child.cmdline():
                found.append(child)
    return sorted(found, key=lambda child: child.create_time())
