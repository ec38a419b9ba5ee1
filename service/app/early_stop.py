"""How `truestock serve` ends if it is stopped before it is ready. Imported first, so it imports nothing slow."""

from __future__ import annotations

import os
import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C in a terminal, and what service managers send."""


class StoppedEarly(Exception):
    """The service was stopped before it was ready; nothing is half made. Its text is for the person who did it."""

    def __init__(self, number: int) -> None:
        """`number` is the signal's."""
        super().__init__("Stopped before the database was ready; start again.")
        self.exit_code = 128 + number


def end_plainly(sentence: str | None = None) -> None:
    """Lets a signal end the process at once, with a sentence, by default that of StoppedEarly, and no traceback.

    For as long as nothing runs that would have to be stopped: modules are imported, settings are read.
    """

    def end(number: int, _: object) -> None:
        stopped = StoppedEarly(number)
        os.write(2, f"{sentence or stopped}\n".encode())
        os._exit(stopped.exit_code)

    for number in _heeded():
        signal.signal(number, end)


def end_as_python_does() -> None:
    """Lets Ctrl-C raise KeyboardInterrupt again, and SIGTERM end the process."""
    for number in _heeded():
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def ignore() -> None:
    """Ignores signals, for a process that is about to exit."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _heeded() -> list[signal.Signals]:
    """A shell that starts a command in the background may let it ignore Ctrl-C."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
