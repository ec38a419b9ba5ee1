"""The hold of a sold order: its stock is promised, and no location works on it until it is released."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class OrderHold:
    """Why an order was put on hold, when, and until when; `release_time` is None while it is on hold.

    `until` None means that nobody said how long.
    """

    reason: str
    until: datetime | None
    place_time: datetime
    release_time: datetime | None = None

    @property
    def is_active(self) -> bool:
        """Whether it has not been released."""
        return self.release_time is None

    def sentence(self) -> str:
        """Such as "on hold until 2026-11-27 10:30 UTC because of: remorse period"."""
        until = f" until {self.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if self.until else ""
        return f"on hold{until} because of: {self.reason}"
