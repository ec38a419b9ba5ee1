"""Figures that are worked out from a context: ages, cover, distances. None where something is not known."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from policies.geography import great_circle_km
from policies.model import Context

_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)


def amount(value: Decimal | None) -> float | None:
    """An amount of money as the number that rules compare."""
    # float() rounds correctly, so the price 19.99 equals the 19.99 that a planner writes.
    return None if value is None else float(value)


def age_minutes(context: Context) -> float | None:
    """How long ago the figure was last true at its source."""
    return _elapsed(context, context.stock.figure_time, _MINUTE) if context.stock else None


def days_since_count(context: Context) -> float | None:
    """How long ago somebody last counted."""
    return _elapsed(context, context.stock.counted_time, _DAY) if context.stock else None


def days_of_cover(context: Context) -> float | None:
    """How long the available units last; unknown where the product does not sell."""
    if context.stock is None or context.product is None or not context.product.velocity_per_day:
        return None
    return max(0, context.stock.available) / context.product.velocity_per_day


def distance_km(context: Context) -> float | None:
    """From the location to the destination, where both have coordinates."""
    if context.location is None or context.destination is None:
        return None
    here, there = context.location.coordinates, context.destination.coordinates
    return great_circle_km(here, there) if here and there else None


def same_country(context: Context) -> bool | None:
    """Whether location and destination are in one country, where both say theirs."""
    if context.location is None or context.destination is None:
        return None
    here, there = context.location.country, context.destination.country
    return here == there if here and there else None


def serves_destination(context: Context) -> bool | None:
    """Whether the location ships to the destination's country."""
    if context.location is None:
        return None
    served = context.location.ships_to
    if not served:
        # No list is everywhere and an empty one nowhere, whatever the destination.
        return served is None
    there = context.destination and context.destination.country
    return there in served if isinstance(there, str) else None


def _elapsed(context: Context, since: datetime | None, unit: timedelta) -> float | None:
    # A source's clock may run ahead of ours by minutes; nothing is younger than new.
    return None if since is None else max(0.0, (context.now - since) / unit)
