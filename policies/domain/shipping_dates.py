"""When a shipment leaves its location and arrives, with the reason for each day in between.

The days are those of `policies.domain.calendars`; this module says why they are not earlier ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Final

from policies.domain import calendars
from policies.domain.model import EVERY_DAY, Location

_DAY = timedelta(days=1)


class DayReason(StrEnum):
    """Why a shipment does not leave, or has not arrived, on a day."""

    CUT_OFF_MISSED = "cut_off_missed"
    """The order came after the cut-off of the day."""
    AFTER_CLOSING = "after_closing"
    """The order came after the location had closed."""
    CLOSED = "closed"
    """The location is closed on this weekday."""
    HOLIDAY = "holiday"
    """The location has a day off."""
    HANDLING = "handling"
    """The location works on it, and is not ready before it closes."""
    CAPACITY = "capacity"
    """The location has taken as many orders as it can handle."""
    CARRIER_OFF = "carrier_off"
    """The carrier neither collects nor transports on this weekday."""
    TRANSIT = "transit"
    """The parcel is under way; it arrives on the last of these days."""


@dataclass(frozen=True, slots=True)
class DateStep:
    """One reason for the days from `first` to `last`, by the location's calendar."""

    reason: DayReason
    first: date
    last: date


@dataclass(slots=True, unsafe_hash=True)
class ShippingDates:
    """By when a shipment should leave and arrive, in the location's time zone; None where that is unknown.

    `ships_on` and `arrives_on` are the days, `ship_by` is closing time on the one and `deliver_by` the end of the
    other. `steps` are in the order of their days.
    """

    ship_by: Final[datetime | None] = None
    ships_on: Final[date | None] = None
    arrives_on: Final[date | None] = None
    deliver_by: Final[datetime | None] = None
    steps: Final[tuple[DateStep, ...]] = ()


NO_DATES = ShippingDates()


def shipping_dates(
    location: Location,
    now: datetime,
    carrier_days: frozenset[int] = EVERY_DAY,
    transit_days: int | None = None,
    handled_on: date | None = None,
) -> ShippingDates:
    """The dates of an order received now, whose carrier collects and transports on `carrier_days`.

    `handled_on` is the first day for which the location has room for it; None if its capacity is not limited.

    Without a stated handling time the day of delivery is unknown, and only a cut-off tells when it ships
    (`calendars.ship_by`). The delivery day is unknown without `transit_days` too.
    """
    ready = calendars.ready_by(location, now)
    if ready is None:
        return NO_DATES
    ready_on = ready[0]
    start = ready_on if handled_on is None else max(ready_on, handled_on)
    ships_on = calendars.first_ship_day(location, start, carrier_days)
    if ships_on is None:
        return NO_DATES
    arrives_on = None
    if transit_days is not None and location.handling_minutes is not None:
        arrives_on = calendars.delivery_day(ships_on, transit_days, carrier_days)
    reasons = [*_reasons_before_shipping(location, now, ready_on, start, ships_on)]
    if arrives_on is not None:
        reasons += _reasons_in_transit(ships_on, arrives_on, carrier_days)
    return ShippingDates(
        ship_by=calendars.due_time(location, ships_on),
        ships_on=ships_on,
        arrives_on=arrives_on,
        deliver_by=None if arrives_on is None else calendars.end_of_day(arrives_on, location.time_zone),
        steps=_merged(reasons),
    )


def _reasons_before_shipping(
    location: Location, now: datetime, ready_on: date, start: date, ships_on: date
) -> Iterator[tuple[date, DayReason]]:
    """Why it does not ship before `ships_on`; the order is ready on `ready_on`, and there is room from `start` on."""
    moment = calendars.local_time(now, location.time_zone)
    day = today = moment.date()
    while day < ships_on:
        if not location.opens_on(day):
            yield day, DayReason.HOLIDAY if day in location.holidays else DayReason.CLOSED
        elif day == today and not location.hours_on(day).is_before_cut_off(moment.time()):
            yield day, DayReason.CUT_OFF_MISSED
        elif day == today and _has_closed(location, moment):
            yield day, DayReason.AFTER_CLOSING
        elif day < ready_on:
            yield day, DayReason.HANDLING
        else:
            yield day, DayReason.CAPACITY if day < start else DayReason.CARRIER_OFF
        day += _DAY


def _has_closed(location: Location, moment: datetime) -> bool:
    closes = location.hours_on(moment.date()).closes
    return closes is not None and closes != time.min and moment.time() >= closes


def _reasons_in_transit(
    ships_on: date, arrives_on: date, carrier_days: frozenset[int]
) -> Iterator[tuple[date, DayReason]]:
    day = ships_on + _DAY
    while day <= arrives_on:
        yield day, DayReason.TRANSIT if day.weekday() in carrier_days else DayReason.CARRIER_OFF
        day += _DAY


def _merged(reasons: list[tuple[date, DayReason]]) -> tuple[DateStep, ...]:
    """Consecutive days with the same reason as one step."""
    steps: list[DateStep] = []
    for day, reason in reasons:
        if steps and steps[-1].reason is reason and steps[-1].last + _DAY == day:
            steps[-1] = DateStep(reason, steps[-1].first, day)
        else:
            steps.append(DateStep(reason, day, day))
    return tuple(steps)
