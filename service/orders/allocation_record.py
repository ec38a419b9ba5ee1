"""One allocation as the database keeps it: an order, its one promise, and what became of its lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from policies.domain.model import Commitment, Coordinates, Destination, Order, OrderLine, Outcome
from policies.domain.shipments import OPEN, ShipmentState, state_after
from service.stock.stock_book import LineUnits
from truestock.v1 import decision_pb2

HELD = "held"
CONFIRMED = "confirmed"
RELEASED = "released"
EXPIRED = "expired"
CANCELLED = "cancelled"
REFUSED = "refused"
OVERSELL = "oversell"
"""The kind of a shortage of units that no permitted location has."""
PROMISING = (HELD, CONFIRMED)
"""States in which stock is promised."""


@dataclass(slots=True)
class LineRecord:
    """One order line; `cancelled` units are part of `unit_count`, `oversold` were ever sold and not there."""

    line_id: str
    sku: str
    unit_count: int
    unit_price: Decimal | None = None
    cancelled: int = 0
    oversold: int = 0

    @property
    def uncancelled(self) -> int:
        """Units that are still asked for."""
        return self.unit_count - self.cancelled


@dataclass(slots=True)
class ShipmentRecord:
    """What one location was given of an order, by line and in units.

    `units` are promised there and have not left, `shipped` have left, `returned` of these came back, and `rejected` the
    location could not supply. One that is over stays, as history.
    """

    id: UUID
    location_id: str
    distance_km: float | None
    state: ShipmentState
    units: dict[str, int]
    shipped: dict[str, int] = field(default_factory=dict)
    returned: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    assign_time: datetime | None = None
    accept_time: datetime | None = None
    ship_time: datetime | None = None
    deliver_time: datetime | None = None
    end_time: datetime | None = None
    reject_reason: str | None = None
    ship_by_time: datetime | None = None

    def remove_units(self, line_id: str, units: int, now: datetime, *, ended: ShipmentState) -> None:
        """Takes promised units off it; `ended` is what it is once nothing is left and nothing has left."""
        left = self.units.pop(line_id) - units
        if left:
            self.units[line_id] = left
        self.update_state(now, ended=ended)

    def update_state(self, now: datetime, *, ended: ShipmentState) -> None:
        """Finds its state anew after units have left it, or were taken from it."""
        shipped = sum(self.shipped.values())
        state = state_after(self.state, remaining=sum(self.units.values()), shipped=shipped, end_state=ended)
        if state not in OPEN and self.state in OPEN:
            if state is ShipmentState.SHIPPED:
                self.ship_time = now
            else:
                self.end_time = now
        if state is ShipmentState.ACCEPTED and self.accept_time is None:
            self.accept_time = now
        self.state = state

    @property
    def line_ids(self) -> list[str]:
        """The lines that it has, or had, units of."""
        return list(dict.fromkeys((*self.units, *self.shipped, *self.rejected)))


@dataclass(frozen=True, slots=True)
class ShortageRecord:
    """Units of one line that are not promised, and why; `backordered` ones wait for stock."""

    line_id: str
    sku: str
    unit_count: int
    kind: str
    cause: str = ""
    backordered: bool = False


@dataclass(slots=True)
class AllocationRecord:
    """An allocation with everything that belongs to it; shipments stand in their order of rank."""

    id: UUID
    channel_id: str
    order_id: str
    create_time: datetime
    update_time: datetime
    state: str = REFUSED
    outcome: Outcome = Outcome.UNFILLABLE
    commitment: Commitment = Commitment.HOLD
    method: str = "ship"
    destination: Destination | None = None
    pickup_location_id: str | None = None
    stated_value: Decimal | None = None
    priority: int = 0
    tags: frozenset[str] = frozenset()
    expire_time: datetime | None = None
    needs_person: bool = False
    decision_id: UUID | None = None
    channel_update_time: datetime | None = None
    channel_status: str | None = None
    version: int = 0
    copies: list[tuple[str, str]] = field(default_factory=list)
    """Other names of the order, as (channel id, order id)."""
    decision: decision_pb2.Decision = field(default_factory=decision_pb2.Decision)
    lines: list[LineRecord] = field(default_factory=list)
    shipments: list[ShipmentRecord] = field(default_factory=list)
    shortages: list[ShortageRecord] = field(default_factory=list)

    def state_at(self, now: datetime) -> str:
        """The state by the clock: a hold past its time has expired, swept or not."""
        expired = self.state == HELD and self.expire_time is not None and self.expire_time <= now
        return EXPIRED if expired else self.state

    def promised_of_line(self, line_id: str) -> int:
        """Units of one line that are promised, anywhere."""
        return sum(shipment.units.get(line_id, 0) for shipment in self.shipments)

    def shipped_of_line(self, line_id: str) -> int:
        """Units of one line that have left, from anywhere, whether or not they came back."""
        return sum(shipment.shipped.get(line_id, 0) for shipment in self.shipments)

    def returned_of_line(self, line_id: str) -> int:
        """Units of one line that came back."""
        return sum(shipment.returned.get(line_id, 0) for shipment in self.shipments)

    def short_of_line(self, line_id: str, *, backordered: bool) -> int:
        """Units of one line that are not promised: those that wait for stock, or the others."""
        return sum(s.unit_count for s in self.shortages if s.line_id == line_id and s.backordered is backordered)

    def promised(self) -> dict[tuple[str, str], int]:
        """Promised units by (SKU, location)."""
        skus = {line.line_id: line.sku for line in self.lines}
        units: dict[tuple[str, str], int] = {}
        for shipment in self.shipments:
            for line_id, count in shipment.units.items():
                key = (skus[line_id], shipment.location_id)
                units[key] = units.get(key, 0) + count
        return units

    def short_count(self) -> int:
        """Units that are not promised."""
        return sum(shortage.unit_count for shortage in self.shortages)

    def line(self, line_id: str) -> LineRecord:
        """One of its lines. Raises StopIteration where it has none of this id."""
        return next(line for line in self.lines if line.line_id == line_id)

    def line_units(self, shipment: ShipmentRecord, line_id: str, units: int) -> LineUnits:
        """Units of one of its lines at a shipment's location."""
        return LineUnits(self.id, line_id, (self.line(line_id).sku, shipment.location_id), units)

    def shipment(self, shipment_id: UUID) -> ShipmentRecord:
        """One of its shipments. Raises StopIteration where it has none of this id."""
        return next(shipment for shipment in self.shipments if shipment.id == shipment_id)

    def rejected_by(self) -> frozenset[tuple[str, str]]:
        """Products that locations could not supply to this order, as (SKU, location id)."""
        skus = {line.line_id: line.sku for line in self.lines}
        rejected = ((made, line_id) for made in self.shipments for line_id in made.rejected)
        return frozenset((skus[line_id], made.location_id) for made, line_id in rejected if line_id in skus)

    def add_shortage(self, short: ShortageRecord) -> None:
        """Adds units that are short, to those of the same line and cause where there are any."""
        same = (short.line_id, short.kind, short.cause, short.backordered)
        for place, known in enumerate(self.shortages):
            if (known.line_id, known.kind, known.cause, known.backordered) == same:
                self.shortages[place] = replace(known, unit_count=known.unit_count + short.unit_count)
                break
        else:
            self.shortages.append(short)
        self.update_oversold()

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it is asked for any more."""
        return all(line.uncancelled == 0 for line in self.lines)

    def cancel_if_empty(self) -> None:
        """Cancels a sold order of which nothing is asked for any more."""
        if self.is_empty:
            self.state, self.expire_time = CANCELLED, None

    def update_oversold(self) -> None:
        """Notes on each line what was sold of it and is not there, so that no unit of a line is counted twice."""
        if self.commitment is not Commitment.SOLD:
            return
        for line in self.lines:
            units = sum(s.unit_count for s in self.shortages if s.line_id == line.line_id and s.kind == OVERSELL)
            line.oversold = max(line.oversold, units)

    def reduce_shortages(self, line_id: str, units: int, *, backordered: bool | None = None) -> None:
        """Takes units off what is short of a line, of those that wait or do not wait for stock, or of both."""
        kept: list[ShortageRecord] = []
        for short in self.shortages:
            fits = short.line_id == line_id and backordered in (None, short.backordered)
            taken = min(units, short.unit_count) if fits else 0
            units -= taken
            if short.unit_count > taken:
                kept.append(replace(short, unit_count=short.unit_count - taken))
        self.shortages = kept

    def order(self, commitment: Commitment) -> Order:
        """The order as it stands, without what was cancelled. Raises ValueError where nothing is left."""
        left = tuple(OrderLine(x.line_id, x.sku, x.uncancelled, x.unit_price) for x in self.lines if x.uncancelled)
        return self.order_of(left, commitment)

    def order_as_stated(self) -> Order:
        """The order as its channel last stated it, whatever was cancelled since."""
        stated = tuple(OrderLine(x.line_id, x.sku, x.unit_count, x.unit_price) for x in self.lines)
        return self.order_of(stated, self.commitment)

    def order_of(self, lines: tuple[OrderLine, ...], commitment: Commitment) -> Order:
        """An order of these lines, otherwise as this one."""
        return Order(
            channel_id=self.channel_id,
            order_id=self.order_id,
            lines=lines,
            commitment=commitment,
            method=self.method,
            destination=self.destination,
            pickup_location_id=self.pickup_location_id,
            stated_value=self.stated_value,
            priority=self.priority,
            tags=self.tags,
        )

    def unshipped_order(self, order: Order) -> Order | None:
        """What is left to plan of an order's contents: without what has left already. None where nothing is."""
        if not any(made.shipped for made in self.shipments):
            return order
        left = tuple(
            replace(line, unit_count=count)
            for line in order.lines
            if (count := line.unit_count - self.shipped_of_line(line.line_id)) > 0
        )
        return replace(order, lines=left) if left else None

    def shipped_as_other_sku(self, order: Order) -> dict[int, tuple[str, str]]:
        """Lines of the contents, by place, that have left as another product: their id and that product's SKU."""
        skus = {line.line_id: line.sku for line in self.lines}
        return {
            place: (line.line_id, skus[line.line_id])
            for place, line in enumerate(order.lines)
            if skus.get(line.line_id, line.sku) != line.sku and self.shipped_of_line(line.line_id)
        }

    def replace_contents(self, order: Order) -> None:
        """Takes over the whole contents of a request for this order. What has left of a line stays on it."""
        self.commitment = order.commitment
        self.method = order.method
        self.destination = order.destination
        self.pickup_location_id = order.pickup_location_id
        self.stated_value = order.stated_value
        self.priority = order.priority
        self.tags = order.tags
        known = {line.line_id: line for line in self.lines}
        stated = [LineRecord(x.line_id, x.sku, x.unit_count, x.unit_price) for x in order.lines]
        for line in stated:
            before = known.pop(line.line_id, None)
            if before is not None and before.sku == line.sku:
                line.unit_count = max(line.unit_count, self.shipped_of_line(line.line_id))
                line.oversold = min(before.oversold, line.unit_count)
        skus = {line.line_id: line.sku for line in self.lines}
        self.lines = stated + [
            self._shipped_part(line) for line in known.values() if self.shipped_of_line(line.line_id)
        ]
        self._drop_old_rejections(skus)

    def _drop_old_rejections(self, skus: Mapping[str, str]) -> None:
        """Drops what was rejected of lines that are no more, or that are of another product than in `skus` now."""
        same = {line.line_id for line in self.lines if skus.get(line.line_id) == line.sku}
        for made in self.shipments:
            made.rejected = {line_id: units for line_id, units in made.rejected.items() if line_id in same}

    def _shipped_part(self, line: LineRecord) -> LineRecord:
        """A line that is no more part of the order, as far as units of it have left."""
        return replace(line, unit_count=self.shipped_of_line(line.line_id), cancelled=0, oversold=0)


def destination_of(
    country: str | None, region: str | None, postal_code: str | None, latitude: float | None, longitude: float | None
) -> Destination | None:
    """A destination from its columns; None where all are empty."""
    if country is None and region is None and postal_code is None and latitude is None:
        return None
    coordinates = None if latitude is None or longitude is None else Coordinates(latitude, longitude)
    return Destination(country, region, postal_code, coordinates)
