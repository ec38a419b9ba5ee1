"""How long the lines of orders take to be allocated, measured while they are: what a new order would have to wait."""

from __future__ import annotations

FIRST_SECONDS = 0.000_5
"""Seconds for a line until the first transactions have been measured."""
COUNTED_LINES = 32
"""Transactions of fewer lines are not measured: most of their time passes in statements that do not depend on lines."""
WEIGHT = 0.5
"""Weight of the newest transaction in the moving average."""
STUCK = 4
"""A transaction counts as at most so many times slower than the average: one that was stuck says little of the next."""


class LinePace:
    """The seconds that a line takes, as a moving average over the transactions that ended, however many run at once."""

    def __init__(self) -> None:
        self.line_seconds = FIRST_SECONDS
        self._start_time = 0.0

    def start(self, time: float) -> None:
        """A transaction starts while no other is in flight. `time` is in seconds, from any start."""
        self._start_time = time

    def end(self, lines: int, time: float) -> None:
        """A transaction of this many lines ends. Its time is what has passed since the last one ended."""
        seconds, self._start_time = time - self._start_time, time
        if lines >= COUNTED_LINES:
            newest = min(seconds / lines, STUCK * self.line_seconds)
            self.line_seconds += WEIGHT * (newest - self.line_seconds)
