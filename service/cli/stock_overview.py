"""The stock of one product, read through the API: levels, promised orders, and when a new order would ship."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from policies.domain import calendars
from policies.domain.day_hours import DayHours
from policies.domain.model import EVERY_DAY, LOCATION_STATUSES, LOCATION_TYPES, Location
from service import limits
from service.cli.client import Client
from service.cli.console import json_value
from truestock.v1 import catalog_service_pb2 as catalog_pb
from truestock.v1.allocation_service_pb2 import Allocation, GetAllocationRequest
from truestock.v1.availability_service_pb2 import Availability, CheckAvailabilityRequest, LocationAvailability
from truestock.v1.shipment_pb2 import Shipment
from truestock.v1.stock_service_pb2 import ListStockMovementsRequest, StockLevel

ORDERS_SHOWN = 5
"""Only the newest orders are listed for each location; its stock level counts the units of all."""
_ORDERS_READ = 50
_PROMISE_KINDS = ("held", "allocated", "confirmed", "released", "expired", "shipped", "collected", "ship_undone")
_CLOSED_STATES = (Shipment.STATE_SHIPPED, Shipment.STATE_DELIVERED, Shipment.STATE_COLLECTED, Shipment.STATE_CANCELLED)


@dataclass(frozen=True, slots=True)
class PromisedOrder:
    """Units promised to one order; held until `expire_time` if that is set, sold otherwise."""

    allocation_id: str
    order: str
    unit_count: int
    expire_time: Timestamp | None


@dataclass(frozen=True, slots=True)
class NextShipDate:
    """When a location would ship a new order, in its time zone.

    `day` is None if its handling time is unknown, or if it ships nothing within a year.
    """

    is_handling_known: bool
    is_today: bool
    day: date | None
    closing_time: time | None
    time_zone: str


@dataclass(frozen=True, slots=True)
class LocationStock:
    """One location's row of the overview. `next_ship_date` is None if the location is closed for good."""

    level: StockLevel
    status: str
    promises: Sequence[PromisedOrder]
    next_ship_date: NextShipDate | None
    availability: LocationAvailability | None

    def as_dict(self) -> dict[str, Any]:
        """The stock level for `--json`, with what the overview adds to it."""
        values: dict[str, Any] = {**json_value(self.level), "location_status": self.status}
        values["promises"] = [
            {"allocation_id": promise.allocation_id, "order": promise.order, "unit_count": promise.unit_count}
            for promise in self.promises
        ]
        if self.next_ship_date is not None:
            values["ships_today"] = self.next_ship_date.is_today if self.next_ship_date.is_handling_known else None
            values["next_ship_date"] = str(self.next_ship_date.day) if self.next_ship_date.day else None
        if self.availability is not None:
            values["sellable_count"], values["reasons"] = (
                self.availability.sellable_count,
                list(self.availability.reasons),
            )
        return values


@dataclass(frozen=True, slots=True)
class StockOverview:
    """One product's stock. `availability` is what the requested channel may sell, None without a channel."""

    product: catalog_pb.Product
    locations: Sequence[LocationStock]
    availability: Availability | None


async def load_overview(client: Client, levels: Sequence[StockLevel], channel_id: str, now: datetime) -> StockOverview:
    """The overview of one product, given all its stock levels, as of `now`."""
    sku = levels[0].sku
    products, all_locations, promises, availability = await asyncio.gather(
        client.products([sku]),
        client.locations(),
        _promised_orders(client, levels),
        _check_availability(client, sku, channel_id),
    )
    stocked = {level.location_id for level in levels}
    locations = {
        message.location_id: _policy_location(message) for message in all_locations if message.location_id in stocked
    }
    channel_levels = {level.location_id: level for level in availability.locations} if availability else {}
    rows = [
        LocationStock(
            level=level,
            status=locations[level.location_id].status,
            promises=promises.get(level.location_id, ()),
            next_ship_date=next_ship_date(locations[level.location_id], now),
            availability=channel_levels.get(level.location_id),
        )
        for level in levels
        if level.location_id in locations
    ]
    return StockOverview(products[0] if products else catalog_pb.Product(sku=sku), rows, availability)


def next_ship_date(location: Location, now: datetime) -> NextShipDate | None:
    """When the location would ship an order received at `now`; None if it is closed for good."""
    if location.status == "closed":
        return None
    day = calendars.ship_day(location, now, EVERY_DAY)
    today = calendars.local_time(now, location.time_zone).date()
    closes = None if day is None else location.hours_on(day).closes
    return NextShipDate(location.handling_minutes is not None, day == today, day, closes, location.time_zone)


async def _check_availability(client: Client, sku: str, channel_id: str) -> Availability | None:
    if not channel_id:
        return None
    request = CheckAvailabilityRequest(
        channel_id=channel_id, skus=[sku], include_locations=True, include_outlets=True, internal=True
    )
    return (await client.ask(client.availability.CheckAvailability, request)).availabilities[0]


async def _promised_orders(client: Client, levels: Sequence[StockLevel]) -> dict[str, list[PromisedOrder]]:
    """The newest orders with units at each location: their ids come from movements, their units from the orders."""
    location_ids = [level.location_id for level in levels if level.held_count or level.allocated_count]
    if not location_ids:
        return {}
    request = ListStockMovementsRequest(
        skus=[levels[0].sku],
        location_ids=location_ids[: limits.LOCATION_FILTER],
        kinds=_PROMISE_KINDS,
        page_size=limits.PAGE_SIZE_LIMIT,
    )
    movements = (await client.ask(client.stock.ListStockMovements, request)).stock_movements
    allocation_ids = list(dict.fromkeys(movement.allocation_id for movement in movements))[:_ORDERS_READ]
    requests = [GetAllocationRequest(allocation_id=allocation_id) for allocation_id in allocation_ids]
    responses = await asyncio.gather(*(client.ask(client.allocations.GetAllocation, request) for request in requests))
    orders: dict[str, list[PromisedOrder]] = {}
    for response in responses:
        for location_id, units in _promised_units(response.allocation, levels[0].sku):
            if len(orders.setdefault(location_id, [])) < ORDERS_SHOWN:
                orders[location_id].append(_promised_order(response.allocation, units))
    return orders


def _promised_units(allocation: Allocation, sku: str) -> Iterable[tuple[str, int]]:
    """Units of the product that are promised to the order and not yet shipped, by location."""
    units: dict[str, int] = {}
    for shipment in allocation.shipments:
        if shipment.state in _CLOSED_STATES:
            continue
        count = sum(line.unit_count for line in shipment.lines if line.sku == sku)
        units[shipment.location_id] = units.get(shipment.location_id, 0) + count
    return [(location_id, count) for location_id, count in units.items() if count]


def _promised_order(allocation: Allocation, units: int) -> PromisedOrder:
    held = allocation.state == Allocation.STATE_HELD
    order = f"{allocation.channel_id}/{allocation.order_id}"
    return PromisedOrder(allocation.allocation_id, order, units, allocation.expire_time if held else None)


def _policy_location(message: catalog_pb.Location) -> Location:
    """The location as `policies` reads it, with the fields that its ship dates depend on."""
    hours = message.working_time
    opens, closes, cut_off = _clock_times(hours)
    return Location(
        id=message.location_id,
        type=LOCATION_TYPES[message.type - 1],
        status=LOCATION_STATUSES[message.status - 1],
        time_zone=message.time_zone,
        handling_minutes=message.handling_minutes if message.HasField("handling_minutes") else None,
        cut_off=cut_off,
        # The API counts weekdays from 1 (Monday), `policies` from 0. No opening days means every day.
        opening_days=frozenset(day - 1 for day in hours.opening_days) or EVERY_DAY,
        opens=opens,
        closes=closes,
        holidays=frozenset(date(day.year, day.month, day.day) for day in (*hours.holidays, *hours.public_holidays)),
        weekday_hours=tuple((x.day - 1, DayHours(*_clock_times(x))) for x in hours.weekday_hours),
    )


def _clock_times(hours: catalog_pb.WorkingTime | catalog_pb.WeekdayHours) -> tuple[time | None, ...]:
    """When a day opens and closes, and its cut-off, each None if it is not stated."""
    stated = [getattr(hours, name) if hours.HasField(name) else None for name in ("opens", "closes", "cut_off")]
    return tuple(None if moment is None else time(moment.hours % 24, moment.minutes) for moment in stated)
