"""Why a channel sold units that are not there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from policies.domain.model import StockLevel

RACE = "race"
STALE_FEED = "stale_feed"
OVER_PUBLISHED = "over_published"
UNMAPPED = "unmapped"
"""The channel sold what the catalogue does not have."""

STALE_AFTER = timedelta(hours=24)
"""A figure that was true longer ago than this is what misled the channel; feeds of tills speak at least daily."""


def oversell_cause(levels: Sequence[StockLevel], units_short: int, now: datetime) -> str:
    """The likeliest cause of `units_short` missing units of one product, from the levels of the channel's locations.

    A race where other promises took at least that many; else a stale feed where a figure is unknown or old; else the
    channel was told, or assumed, more than there ever was.
    """
    if sum(level.held + level.allocated for level in levels) >= units_short:
        return RACE
    if not levels or any(level.as_of_time is None or now - level.as_of_time > STALE_AFTER for level in levels):
        return STALE_FEED
    return OVER_PUBLISHED
