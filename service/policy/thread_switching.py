"""Work in threads that gives way to the event loop often."""

from __future__ import annotations

import sys
from threading import Lock
from types import TracebackType

SWITCH_SECONDS = 0.0005
"""How long such work may keep Python to itself while calls wait; ten times shorter than usual."""


class FastThreadSwitching:
    """Threads take turns often while any block runs under it; what is usual is set again after the last one."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._usual = sys.getswitchinterval()
        self._count = 0

    def __enter__(self) -> None:
        """Counts one more piece of such work."""
        with self._lock:
            if not self._count:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(SWITCH_SECONDS)
            self._count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Counts one less."""
        with self._lock:
            self._count -= 1
            if not self._count:
                sys.setswitchinterval(self._usual)


FAST_SWITCHING = FastThreadSwitching()
"""There is one interval in a process, so there is one of these."""
