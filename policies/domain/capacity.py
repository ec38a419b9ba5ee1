"""How many orders and units a location can handle in a day or an hour, and how many it has taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from math import inf
from typing import Final, NamedTuple

DEFAULT_DAYS_AHEAD = 7
"""Days after the first one up to which a full location takes an order, if it states no other number."""

MAX_DAYS_AHEAD = 30
MAX_CAPACITY = 10_000_000
"""The largest number of orders or units of a limit."""

WHOLE_DAY = -1
"""The hour of a period that is a whole day."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """The most that a location handles in one day, and in one hour of it; None is no limit.

    An order counts once for each shipment. A full location takes an order for a later day, at most `days_ahead` days
    after the first one on which it would handle it.
    """

    orders_per_day: int | None = None
    units_per_day: int | None = None
    orders_per_hour: int | None = None
    units_per_hour: int | None = None
    days_ahead: int = DEFAULT_DAYS_AHEAD

    def __post_init__(self) -> None:
        limits = (self.orders_per_day, self.units_per_day, self.orders_per_hour, self.units_per_hour)
        if all(limit is None for limit in limits):
            raise ValueError("a capacity without a limit; state at least one")
        if any(limit is not None and limit < 0 for limit in (*limits, self.days_ahead)):
            raise ValueError(f"the capacity {self} has a number below 0")

    @property
    def is_hourly(self) -> bool:
        """Whether it limits what is handled in one hour."""
        return self.orders_per_hour is not None or self.units_per_hour is not None


class CapacityPeriod(NamedTuple):
    """A day, or one hour of it from 0 to 23, in a location's own calendar; `hour` is WHOLE_DAY for the day."""

    location_id: str
    day: date
    hour: int = WHOLE_DAY

    @property
    def is_hour(self) -> bool:
        """Whether it is one hour, not a day."""
        return self.hour != WHOLE_DAY


class DayLimits(NamedTuple):
    """A day of a location that limits no hours, and the most orders and units that it handles on it."""

    period: CapacityPeriod
    order_count: float
    unit_count: float

    @classmethod
    def of(cls, location_id: str, day: date, capacity: Capacity) -> DayLimits:
        """The limits of a capacity on a day, infinite where it states none."""
        orders, units = capacity.orders_per_day, capacity.units_per_day
        return cls(CapacityPeriod(location_id, day), inf if orders is None else orders, inf if units is None else units)


class CapacityUse(NamedTuple):
    """What shipments have taken of a period."""

    order_count: int = 0
    unit_count: int = 0


class Room(NamedTuple):
    """What a location can still take: orders and units, infinite without a limit."""

    order_count: float
    unit_count: float

    def fits(self, unit_count: float) -> bool:
        """Whether one more order of this many units fits."""
        return self.order_count >= 1 and self.unit_count >= unit_count


NOTHING_USED = CapacityUse()


@dataclass(slots=True)
class CapacityFigures:
    """What was taken of each period at one moment; periods of which nothing was taken are left out."""

    used: Final[Mapping[CapacityPeriod, CapacityUse]] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(frozenset(self.used.items()))

    def room(self, location_id: str, capacity: Capacity, day: date, hour: int | None = None) -> Room:
        """What the location can still take on a day and, where it limits hours, in an hour of it."""
        room = self._room(CapacityPeriod(location_id, day), capacity.orders_per_day, capacity.units_per_day)
        if hour is None:
            return room
        in_hour = self._room(CapacityPeriod(location_id, day, hour), capacity.orders_per_hour, capacity.units_per_hour)
        return Room(min(room.order_count, in_hour.order_count), min(room.unit_count, in_hour.unit_count))

    def fits_on(self, limits: DayLimits, unit_count: int) -> bool:
        """Whether one more order of so many units, at least one, fits on a day."""
        orders, units = self.used.get(limits.period, NOTHING_USED)
        return orders < limits.order_count and units + unit_count <= limits.unit_count

    def load(self, location_id: str, capacity: Capacity, day: date) -> float:
        """The share of the day's capacity that was taken, 0 to 1 and above if a limit was lowered."""
        used = self.used.get(CapacityPeriod(location_id, day), NOTHING_USED)
        limits = ((used.order_count, capacity.orders_per_day), (used.unit_count, capacity.units_per_day))
        return max((_share(count, limit) for count, limit in limits if limit is not None), default=0.0)

    def taking(self, location_id: str, day: date, hour: int | None, unit_count: int) -> CapacityFigures:
        """The figures after one more order of these units, on a day and, where hours are limited, in an hour."""
        used = dict(self.used)
        for period_hour in (WHOLE_DAY,) if hour is None else (WHOLE_DAY, hour):
            period = CapacityPeriod(location_id, day, period_hour)
            before = used.get(period, NOTHING_USED)
            used[period] = CapacityUse(before.order_count + 1, before.unit_count + unit_count)
        return CapacityFigures(used)

    def _room(self, period: CapacityPeriod, order_limit: int | None, unit_limit: int | None) -> Room:
        used = self.used.get(period, NOTHING_USED)
        return Room(_left(order_limit, used.order_count), _left(unit_limit, used.unit_count))


NO_FIGURES = CapacityFigures()


def _left(limit: int | None, used: int) -> float:
    return inf if limit is None else max(0, limit - used)


def _share(count: int, limit: int) -> float:
    return count / limit if limit else 1.0
