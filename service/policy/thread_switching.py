"""Thread work that lets the event loop run often."""

from __future__ import annotations

import sys
from threading import Lock
from types import TracebackType

# By default a busy thread keeps the interpreter for 5 ms each time before the event loop runs again. Reading
# thousands of rules takes seconds, and at 0.5 ms the calls in flight wait a tenth of that for each turn.
SWITCH_SECONDS = 0.0005
"""The interpreter's switch interval while such work runs."""


class FastThreadSwitching:
    """Shortens the switch interval while at least one block runs under it; the last one restores it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._default_interval = sys.getswitchinterval()
        self._count = 0

    def __enter__(self) -> None:
        """Shortens the interval for the first block."""
        with self._lock:
            if not self._count:
                self._default_interval = sys.getswitchinterval()
                sys.setswitchinterval(SWITCH_SECONDS)
            self._count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restores the interval after the last block."""
        with self._lock:
            self._count -= 1
            if not self._count:
                sys.setswitchinterval(self._default_interval)


FAST_SWITCHING = FastThreadSwitching()
"""The only instance, because a process has only one switch interval."""
