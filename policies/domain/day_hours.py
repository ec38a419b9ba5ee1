"""When a location works within one day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time


@dataclass(frozen=True, slots=True)
class DayHours:
    """Opening hours and cut-off of one day, in local time; None is not stated.

    A day that closes at 0:00 closes at its end: hours do not cross midnight.
    """

    opens: time | None = None
    closes: time | None = None
    cut_off: time | None = None

    @property
    def close_at_midnight(self) -> bool:
        """Whether they last until the end of the day."""
        return self.closes == time.min

    @property
    def are_in_order(self) -> bool:
        """Whether the day closes after it opens, as far as both are stated."""
        return self.opens is None or self.closes is None or opens_before(self.opens, self.closes)

    def include(self, at: time) -> bool | None:
        """Whether a time of the day is within the hours; None if they are not stated."""
        if self.opens is None or self.closes is None:
            return None
        return self.opens <= at and (self.close_at_midnight or at < self.closes)

    def is_before_cut_off(self, at: time) -> bool:
        """Whether an order of this time is handled the same day."""
        # An order at the cut-off minute is still in time, so its seconds are ignored.
        return self.cut_off is None or at.replace(second=0, microsecond=0) <= self.cut_off

    def or_else(self, usual: DayHours) -> DayHours:
        """These hours and this cut-off, each from the usual ones where it is not stated."""
        stated = self if self.opens is not None and self.closes is not None else usual
        return DayHours(stated.opens, stated.closes, usual.cut_off if self.cut_off is None else self.cut_off)


def opens_before(opens: time, closes: time) -> bool:
    """Whether hours are in order within one day; closing at 0:00 is midnight at the end of the day."""
    return opens < closes or closes == time.min
