"""Everything about the stock of one product, gathered through the API: figures, promises, when an order now leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from policies.domain import calendars
from policies.domain.model import EVERY_DAY, LOCATION_STATUSES, LOCATION_TYPES, Location
from service import limits
from service.cli.client import Client
from service.cli.console import plain
from truestock.v1 import catalog_service_pb2 as catalog_pb
from truestock.v1.allocation_service_pb2 import Allocation, GetAllocationRequest
from truestock.v1.availability_service_pb2 import Availability, CheckAvailabilityRequest, LocationAvailability
from truestock.v1.shipment_pb2 import Shipment
from truestock.v1.stock_service_pb2 import ListStockMovementsRequest, StockLevel

PROMISES_SHOWN = 5
"""Orders that are named beside each location, the newest; all their units are in its figures."""
_ORDERS_ASKED = 50
_PROMISING = ("held", "allocated", "confirmed", "released", "expired", "shipped", "collected")
_GONE = (Shipment.STATE_SHIPPED, Shipment.STATE_DELIVERED, Shipment.STATE_COLLECTED, Shipment.STATE_CANCELLED)


@dataclass(frozen=True, slots=True)
class PromisedOrder:
    """Units promised to one order; held until `expire_time` where that is set."""

    allocation_id: str
    order: str
    unit_count: int
    expire_time: Timestamp | None


@dataclass(frozen=True, slots=True)
class NextShipDay:
    """When an order that comes now leaves a location, by its own clock: on a day, before it closes."""

    today: bool
    day: date | None
    closes: time | None
    time_zone: str


@dataclass(frozen=True, slots=True)
class LocationStock:
    """One location's line of the sheet. `leaving` is None where the location gives nothing."""

    level: StockLevel
    status: str
    promises: Sequence[PromisedOrder]
    leaving: NextShipDay | None
    told: LocationAvailability | None

    def as_dict(self) -> dict[str, Any]:
        """The stock level as programs read it, with what the sheet adds."""
        made: dict[str, Any] = {**plain(self.level), "location_status": self.status}
        made["promises"] = [
            {"allocation_id": one.allocation_id, "order": one.order, "unit_count": one.unit_count}
            for one in self.promises
        ]
        if self.leaving is not None:
            made["order_now_leaves_today"] = self.leaving.today
            made["order_now_leaves_on"] = str(self.leaving.day) if self.leaving.day else None
        if self.told is not None:
            made["sellable_count"], made["reasons"] = self.told.sellable_count, list(self.told.reasons)
        return made


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is known of one product's stock. `told` is what the channel that was asked for may sell, if one was."""

    product: catalog_pb.Product
    places: Sequence[LocationStock]
    told: Availability | None


async def gather(client: Client, levels: Sequence[StockLevel], channel_id: str, now: datetime) -> Sheet:
    """The sheet of the one product whose levels these are, all of them, as of `now`."""
    sku = levels[0].sku
    products, locations, promises, told = await asyncio.gather(
        client.products([sku]), client.locations(), _promises(client, levels), _told(client, sku, channel_id)
    )
    stocked = {level.location_id for level in levels}
    known = {one.location_id: _location(one) for one in locations if one.location_id in stocked}
    figures = {figure.location_id: figure for figure in told.locations} if told else {}
    places = [
        LocationStock(
            level=level,
            status=known[level.location_id].status,
            promises=promises.get(level.location_id, ()),
            leaving=leaving(known[level.location_id], now),
            told=figures.get(level.location_id),
        )
        for level in levels
        if level.location_id in known
    ]
    return Sheet(products[0] if products else catalog_pb.Product(sku=sku), places, told)


def leaving(location: Location, now: datetime) -> NextShipDay | None:
    """When an order that comes at `now` leaves the location; None where it is closed for good."""
    if location.status == "closed":
        return None
    day = calendars.ship_day(location, now, EVERY_DAY)
    today = calendars.local_time(now, location.time_zone).date()
    return NextShipDay(day == today, day, location.closes, location.time_zone)


async def _told(client: Client, sku: str, channel_id: str) -> Availability | None:
    if not channel_id:
        return None
    request = CheckAvailabilityRequest(channel_id=channel_id, skus=[sku], include_locations=True)
    return (await client.ask(client.availability.CheckAvailability, request)).availabilities[0]


async def _promises(client: Client, levels: Sequence[StockLevel]) -> dict[str, list[PromisedOrder]]:
    """The newest orders that units of each location are promised to. The ledger names them, and they say the units."""
    places = [level.location_id for level in levels if level.held_count or level.allocated_count]
    if not places:
        return {}
    request = ListStockMovementsRequest(
        skus=[levels[0].sku],
        location_ids=places[: limits.LOCATION_FILTER],
        kinds=_PROMISING,
        page_size=limits.PAGE_SIZE_LIMIT,
    )
    moved = (await client.ask(client.stock.ListStockMovements, request)).stock_movements
    ids = list(dict.fromkeys(one.allocation_id for one in moved))[:_ORDERS_ASKED]
    questions = [GetAllocationRequest(allocation_id=one) for one in ids]
    answers = await asyncio.gather(*(client.ask(client.allocations.GetAllocation, one) for one in questions))
    found: dict[str, list[PromisedOrder]] = {}
    for answer in answers:
        for location_id, units in _promised(answer.allocation, levels[0].sku):
            if len(found.setdefault(location_id, [])) < PROMISES_SHOWN:
                found[location_id].append(_promise(answer.allocation, units))
    return found


def _promised(allocation: Allocation, sku: str) -> Iterable[tuple[str, int]]:
    """Units of the product that are promised to the order and have not left, by location."""
    units: dict[str, int] = {}
    for shipment in allocation.shipments:
        if shipment.state in _GONE:
            continue
        count = sum(line.unit_count for line in shipment.lines if line.sku == sku)
        units[shipment.location_id] = units.get(shipment.location_id, 0) + count
    return [(location_id, count) for location_id, count in units.items() if count]


def _promise(allocation: Allocation, units: int) -> PromisedOrder:
    held = allocation.state == Allocation.STATE_HELD
    order = f"{allocation.channel_id}/{allocation.order_id}"
    return PromisedOrder(allocation.allocation_id, order, units, allocation.expire_time if held else None)


def _location(message: catalog_pb.Location) -> Location:
    """The location as far as the day on which it ships depends on it: status, handling time and opening hours."""
    hours = message.working_time
    return Location(
        id=message.location_id,
        type=LOCATION_TYPES[message.type - 1],
        status=LOCATION_STATUSES[message.status - 1],
        time_zone=message.time_zone,
        handling_minutes=message.handling_minutes,
        cut_off=time(hours.cut_off.hours, hours.cut_off.minutes) if hours.HasField("cut_off") else None,
        # The API counts weekdays from 1, Monday; `policies` from 0. None stated is every day.
        opening_days=frozenset(day - 1 for day in hours.opening_days) or EVERY_DAY,
        opens=time(hours.opens.hours, hours.opens.minutes) if hours.HasField("opens") else None,
        closes=time(hours.closes.hours, hours.closes.minutes) if hours.HasField("closes") else None,
        holidays=frozenset(date(day.year, day.month, day.day) for day in hours.holidays),
    )
