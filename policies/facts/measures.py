"""Facts that are calculated from a context: ages, cover, distances, margin. None where an input is unknown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, timedelta
from decimal import Decimal

from policies.domain.calendars import is_open, local_time
from policies.domain.geography import great_circle_km
from policies.domain.handling_times import first_handling_time
from policies.domain.model import LEAST_VELOCITY, Context

OLDEST_DAYS = "stock.oldest_days"
READY_FOR_CHANNEL = "product.ready_for_channel"

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def amount(value: Decimal | None) -> float | None:
    """An amount of money as a number that rules can compare."""
    # float() rounds correctly, so the price 19.99 equals the 19.99 that a planner writes.
    return None if value is None else float(value)


def hours_until_ship_by(context: Context) -> int | None:
    """Whole hours until the channel wants the order to have shipped, rounded down; None if it does not say."""
    by = context.order.ship_by_time if context.order else None
    return None if by is None else (by - context.now) // _HOUR


def days_until_deliver_by(context: Context) -> int | None:
    """Days from today, in UTC, to the last day on which the order should be delivered; None if it names none."""
    by = context.order.deliver_by if context.order else None
    return None if by is None else (by - context.now.astimezone(UTC).date()).days


def age_minutes(context: Context) -> float | None:
    """Minutes since the stock level was last true at its source."""
    return _in_units(_figure_age(context), _MINUTE)


def days_since_count(context: Context) -> float | None:
    """Days since a person last counted the stock; None if no person ever did. A program's figure is not a count."""
    return _in_units(_count_age(context), _DAY)


def oldest_days(context: Context) -> float | None:
    """Days since the oldest of the units on hand came in."""
    return _in_units(_oldest_age(context), _DAY)


def days_of_cover(context: Context) -> float | None:
    """Days until the available units are sold; None if the product does not sell."""
    stock, product = context.stock, context.product
    if stock is None or product is None:
        return None
    # As `days_until_sold`, without a call for each level of each order.
    velocity = product.velocity_per_day
    return None if velocity is None or velocity < LEAST_VELOCITY else max(0, stock.available) / velocity


def days_until_sold(available: int, velocity_per_day: float | None) -> float | None:
    """Days until these units are sold, a finite number; None if the velocity is unknown or below LEAST_VELOCITY."""
    if velocity_per_day is None or velocity_per_day < LEAST_VELOCITY:
        return None
    return available / velocity_per_day


def distance_km(context: Context) -> float | None:
    """Kilometers from the location to the destination, if both have coordinates."""
    if context.location is None or context.destination is None:
        return None
    start, end = context.location.coordinates, context.destination.coordinates
    return great_circle_km(start, end) if start and end else None


def same_country(context: Context) -> bool | None:
    """Whether the location and the destination are in the same country, if both countries are known."""
    if context.location is None or context.destination is None:
        return None
    location_country, destination_country = context.location.country, context.destination.country
    return location_country == destination_country if location_country and destination_country else None


def serves_destination(context: Context) -> bool | None:
    """Whether the location ships to the destination's country."""
    if context.location is None:
        return None
    countries = context.location.ships_to
    if not countries:
        # Without a list a location ships everywhere, with an empty list nowhere, whatever the destination is.
        return countries is None
    country = context.destination and context.destination.country
    return country in countries if isinstance(country, str) else None


def open_now(context: Context) -> bool | None:
    """Whether the location is open now. None if its hours are unknown, unless it is closed all day.

    A location whose `status` is not `open` is never open, whatever its hours.
    """
    if context.location is None:
        return None
    if context.location.status != "open":
        return False
    return is_open(context.location, local_time(context.now, context.location.time_zone))


def capacity_left(context: Context) -> float | None:
    """What the location can still take on the day on which it would handle an order received now.

    In orders, and 0 if it has no unit left; in units where it limits only units. None without a limit of the day, and
    where it was not asked what was taken.
    """
    location = context.location
    if location is None or location.capacity is None or context.capacity is None:
        return None
    first = first_handling_time(location, context.now)
    if first is None:
        return 0
    room = context.capacity.room(location.id, location.capacity, first.day)
    if location.capacity.orders_per_day is None:
        return None if location.capacity.units_per_day is None else room.unit_count
    return room.order_count if room.unit_count else 0


def ready_for_channel(context: Context) -> bool | None:
    """Whether the product meets the listing requirements of the channel's platform; None if it has none."""
    if context.product is None or context.product.readiness is None or context.channel is None:
        return None
    return context.product.readiness.on(context.channel.platform)


def margin_after_shipping(context: Context) -> float | None:
    """The order's value less the plan's shipping cost."""
    if context.plan is None or context.plan.cost is None or context.order is None or context.order.value is None:
        return None
    return float(context.order.value - context.plan.cost)


def _figure_age(context: Context) -> timedelta | None:
    since = context.stock and context.stock.as_of_time
    return context.now - since if since else None


def _count_age(context: Context) -> timedelta | None:
    since = context.stock and context.stock.physical_count_time
    return context.now - since if since else None


def _oldest_age(context: Context) -> timedelta | None:
    since = context.stock and context.stock.oldest_receipt_time
    return context.now - since if since else None


def _in_units(span: timedelta | None, unit: timedelta) -> float | None:
    # The clock of a source may be minutes ahead of ours, so an age below 0 counts as 0.
    return None if span is None else max(0.0, span / unit)


AGE_FACTS: Mapping[str, tuple[Callable[[Context], timedelta | None], timedelta]] = {
    "stock.age_minutes": (_figure_age, _MINUTE),
    "stock.days_since_count": (_count_age, _DAY),
    OLDEST_DAYS: (_oldest_age, _DAY),
}
"""The facts that are ages, by name: how the age is read (below 0 where a clock is ahead), and the fact's unit."""
