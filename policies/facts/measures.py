"""Figures that are worked out from a context: ages, cover, distances. None where something is not known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal

from policies.domain.calendars import is_open, local_time
from policies.domain.geography import great_circle_km
from policies.domain.model import Context

_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)


def amount(value: Decimal | None) -> float | None:
    """An amount of money as the number that rules compare."""
    # float() rounds correctly, so the price 19.99 equals the 19.99 that a planner writes.
    return None if value is None else float(value)


def age_minutes(context: Context) -> float | None:
    """How long ago the figure was last true at its source."""
    return _in_units(_figure_age(context), _MINUTE)


def days_since_count(context: Context) -> float | None:
    """How long ago a person last counted; without such a count, how long ago the figure was last counted at all."""
    return _in_units(_count_age(context), _DAY)


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


def open_now(context: Context) -> bool | None:
    """Whether the location is open at this moment; unknown where it does not say its hours, unless it is shut all day.

    A location that is not at work today (`status`) is not open, whatever its hours.
    """
    if context.location is None:
        return None
    if context.location.status != "open":
        return False
    return is_open(context.location, local_time(context.now, context.location.time_zone))


def margin_after_shipping(context: Context) -> float | None:
    """The order's value less what the plan costs to send."""
    if context.plan is None or context.plan.cost is None or context.order is None or context.order.value is None:
        return None
    return float(context.order.value - context.plan.cost)


def _figure_age(context: Context) -> timedelta | None:
    since = context.stock and context.stock.as_of_time
    return context.now - since if since else None


def _count_age(context: Context) -> timedelta | None:
    since = context.stock and (context.stock.physical_count_time or context.stock.counted_time)
    return context.now - since if since else None


def _in_units(span: timedelta | None, unit: timedelta) -> float | None:
    # A source's clock may run ahead of ours by minutes; nothing is younger than new.
    return None if span is None else max(0.0, span / unit)


AGE_FACTS: Mapping[str, tuple[Callable[[Context], timedelta | None], timedelta]] = {
    "stock.age_minutes": (_figure_age, _MINUTE),
    "stock.days_since_count": (_count_age, _DAY),
}
"""The facts that are times, by name: the time itself, below 0 where a clock runs ahead, and the fact's unit."""
