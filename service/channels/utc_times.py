"""Times as platforms write them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime


def utc_time(value: object) -> datetime:
    """An ISO 8601 time with its zone, in UTC. Raises ValueError, for one that no calendar has in UTC too."""
    time = datetime.fromisoformat(str(value))
    if time.tzinfo is None:
        raise ValueError("a time has no time zone")
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a time is in no year") from error


def readable_time(value: object, read: Callable[[object], datetime] = utc_time) -> datetime | None:
    """The time of a hint; None where it has none that can be read, so that what it hints at is read all the same."""
    try:
        return read(value)
    except (ValueError, TypeError):
        return None
