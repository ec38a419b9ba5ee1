"""Why a channel sold more units than are on hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from policies.domain.model import StockLevel

RACE = "race"
STALE_FEED = "stale_feed"
OVER_PUBLISHED = "over_published"
UNMAPPED = "unmapped"
"""The channel sold a product that is not in the catalog."""

STALE_AFTER = timedelta(hours=24)
"""A stock figure older than this counts as stale; POS feeds report at least daily."""


def oversell_cause(levels: Sequence[StockLevel], units_short: int, now: datetime) -> str:
    """The likeliest cause of `units_short` missing units of one product, from stock levels at the channel's locations.

    A race if other orders have at least that many units promised; otherwise a stale feed if a figure is unknown or old;
    otherwise more was published to the channel, or assumed by it, than was ever on hand.
    """
    if sum(level.held + level.allocated for level in levels) >= units_short:
        return RACE
    if not levels or any(level.as_of_time is None or now - level.as_of_time > STALE_AFTER for level in levels):
        return STALE_FEED
    return OVER_PUBLISHED
