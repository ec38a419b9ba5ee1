"""One allocation as stored: an order, its one promise, and the lines, shipments and shortages of it."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from policies.domain.handling_times import HandlingTime
from policies.domain.kits import KitPart, of_kit
from policies.domain.listings import OrderedItem
from policies.domain.model import WITHHELD_KINDS, Commitment, Destination, Order, OrderLine, Outcome
from policies.domain.outlets import Outlet
from policies.domain.placement import ANYWHERE, Placement, of_whole_items
from policies.domain.returns import ShippedUnits
from policies.domain.shipments import OPEN, ShipmentState, state_after
from policies.domain.shipping_dates import DateStep, ShippingDates
from service.orders.cancellations.cancellation_request import CancellationRequest
from service.orders.order_hold import OrderHold
from service.orders.parcels import ParcelRecord
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
RULE_SEPARATOR = ", "
"""Joins the names of the rules that keep units of a shortage, as they are stored."""
PROMISING = (HELD, CONFIRMED)
"""States in which units are promised."""
ENDED = (RELEASED, EXPIRED, CANCELLED)
"""States of an order that promises nothing any more."""


@dataclass(slots=True)
class LineRecord:
    """One order line; the units of the other counts are part of `unit_count`.

    `oversold` were ever sold without stock, `withheld` were ever short because a buffer or a block kept them, `excess`
    have shipped and the channel does not order them any more.
    """

    line_id: str
    sku: str
    unit_count: int
    unit_price: Decimal | None = None
    cancelled: int = 0
    oversold: int = 0
    withheld: int = 0
    excess: int = 0
    item: OrderedItem | None = None
    """What the channel ordered, if that was an item of its own; `sku` and the units are what that was at intake."""
    stated_placement: Placement = ANYWHERE
    """Where its order says that it may ship from, and what with."""
    kit: KitPart | None = None
    """Of which ordered kit it is a component, as the kit was at intake."""

    @property
    def uncancelled(self) -> int:
        """Ordered units less cancelled ones."""
        return self.unit_count - self.cancelled

    @property
    def placement(self) -> Placement:
        """Where it may ship from, and what with: as its order, its item and its kit say."""
        if self.kit is not None:
            return of_kit(self.stated_placement, self.kit, self.item)
        return of_whole_items(self.stated_placement, self.line_id, self.item)

    def ordered(self, unit_count: int) -> OrderLine:
        """So many of its units as a line of an order."""
        return OrderLine(self.line_id, self.sku, unit_count, self.unit_price, self.placement, self.item, self.kit)

    @classmethod
    def of(cls, line: OrderLine) -> LineRecord:
        """The record of an order's line of which nothing is cancelled."""
        stated, kit = line.placement.stated, line.kit
        return cls(
            *(line.line_id, line.sku, line.unit_count, line.unit_price),
            item=line.item,
            stated_placement=stated,
            kit=kit,
        )


@dataclass(slots=True)
class ShipmentRecord:
    """The part of an order that one location fulfills, in units by line.

    `units` are promised and not yet shipped; `returned` units, and `refunded` ones that the shopper keeps, are part of
    `shipped`; `rejected` units the location could not supply. A shipment that has ended stays as history.

    `method` is set where it is not the order's: `transfer` to the store of a pickup order, or `ship` to its shopper.
    In the catalog of `catalog_version` its order may use its location; `is_outdated` says that the catalog has changed
    since in a way that may end that.
    """

    id: UUID
    location_id: str
    distance_km: float | None
    state: ShipmentState
    units: dict[str, int]
    shipped: dict[str, int] = field(default_factory=dict)
    returned: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    refunded: dict[str, int] = field(default_factory=dict)
    assign_time: datetime | None = None
    accept_time: datetime | None = None
    ship_time: datetime | None = None
    deliver_time: datetime | None = None
    end_time: datetime | None = None
    reject_reason: str | None = None
    method: str | None = None
    ship_by_time: datetime | None = None
    deliver_by_time: datetime | None = None
    deliver_date: date | None = None
    date_steps: tuple[DateStep, ...] = ()
    """Why `ship_by_time` and `deliver_date` are not earlier."""
    catalog_version: int = 0
    parcels: list[ParcelRecord] = field(default_factory=list)
    is_outdated: bool = False
    handling: HandlingTime | None = None
    """When it is handled, at a location with a capacity: it takes of that day, and of the hour if one is stated."""
    handling_units: int = 0
    """Units that it was stored to take."""

    @property
    def handled_count(self) -> int:
        """Units that take of the location's capacity: shipping gives nothing back."""
        promised = sum(self.units.values())
        return promised + sum(self.shipped.values()) if self.shipped else promised

    def promise_dates(self, dates: ShippingDates) -> None:
        """Sets by when it should ship and arrive, and why."""
        self.ship_by_time, self.deliver_by_time = dates.ship_by, dates.deliver_by
        self.deliver_date, self.date_steps = dates.arrives_on, dates.steps

    def remove_units(self, line_id: str, units: int, now: datetime, *, ended: ShipmentState) -> None:
        """Removes promised units; `ended` is its state once it has neither promised nor shipped units."""
        remaining = self.units.pop(line_id) - units
        if remaining:
            self.units[line_id] = remaining
        self.update_state(now, ended=ended)

    def update_state(self, now: datetime, *, ended: ShipmentState) -> None:
        """Updates its state after units were shipped or removed; `ended` as in `remove_units`."""
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

    def shipped_units(self, line_id: str) -> ShippedUnits:
        """Its shipped units of a line, and which of them are back or refunded."""
        return ShippedUnits(self.shipped.get(line_id, 0), self.returned.get(line_id, 0), self.refunded.get(line_id, 0))

    @property
    def line_ids(self) -> list[str]:
        """The lines of which it has, or had, units."""
        return list(dict.fromkeys((*self.units, *self.shipped, *self.rejected)))


@dataclass(frozen=True, slots=True)
class ShortageRecord:
    """Units of one line that are not promised, and why; `backordered` ones wait for stock.

    `rules` are the names of the rules that keep them.
    """

    line_id: str
    sku: str
    unit_count: int
    kind: str
    cause: str = ""
    backordered: bool = False
    rules: tuple[str, ...] = ()


@dataclass(slots=True)
class AllocationRecord:
    """An allocation with all its parts; shipments are ordered by rank."""

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
    outlet: Outlet | None = None
    """The outlet that its channel chose, with the locations that it had when the order was taken."""
    stated_value: Decimal | None = None
    currency: str = ""
    """The ISO 4217 code of its prices and its value; empty if it states none."""
    priority: int | None = None
    tags: frozenset[str] = frozenset()
    expire_time: datetime | None = None
    needs_person: bool = False
    decision_id: UUID | None = None
    channel_update_time: datetime | None = None
    sold_time: datetime | None = None
    """The latest time at which its channel stated it as sold, by the channel's clock."""
    ignored_time: datetime | None = None
    """The channel's time of the older contents that were ignored last."""
    channel_status: str | None = None
    ship_by_time: datetime | None = None
    """When its channel wants it to have shipped."""
    deliver_by: date | None = None
    """The last day on which it should be delivered."""
    hold: OrderHold | None = None
    """Its latest hold, released or not; it has no effect before the order is sold."""
    holds_personal_data: bool = False
    """Whether it was stored with more of a destination than country and region, or with text to be forgotten."""
    was_dropped: bool = False
    """Whether its personal data were dropped, at any time."""
    is_to_be_forgotten: bool = False
    version: int = 0
    copies: list[tuple[str, str]] = field(default_factory=list)
    """The copies of the order, as (channel id, order id)."""
    cancellation_requests: list[CancellationRequest] = field(default_factory=list)
    """Shoppers' requests to cancel, oldest first."""
    decision: decision_pb2.Decision = field(default_factory=decision_pb2.Decision)
    lines: list[LineRecord] = field(default_factory=list)
    shipments: list[ShipmentRecord] = field(default_factory=list)
    shortages: list[ShortageRecord] = field(default_factory=list)

    def state_at(self, now: datetime) -> str:
        """The state by the clock: a hold has expired once its time has passed, whether or not the sweeper has run."""
        expired = self.state == HELD and self.expire_time is not None and self.expire_time <= now
        return EXPIRED if expired else self.state

    def outcome_at(self, now: datetime) -> Outcome:
        """The outcome by the clock: that of the latest plan until the order is released, cancelled or expired."""
        return Outcome.ENDED if self.state_at(now) in ENDED else self.outcome

    @property
    def active_hold(self) -> OrderHold | None:
        """The hold that keeps locations from working on it; None if it is not sold, or not on hold."""
        is_on_hold = self.state == CONFIRMED and self.hold is not None and self.hold.is_active
        return self.hold if is_on_hold else None

    @property
    def will_hold_personal_data(self) -> bool:
        """Whether it holds personal data once it is stored: data are only dropped by `privacy`."""
        to = self.destination
        tells_more = to is not None and (to.postal_code is not None or to.coordinates is not None)
        return self.holds_personal_data or tells_more or self.is_to_be_forgotten

    @property
    def skus(self) -> set[str]:
        """The SKUs of its lines, and those of the kits that they are components of."""
        return {line.sku for line in self.lines} | {line.kit.sku for line in self.lines if line.kit is not None}

    def promised_of_line(self, line_id: str) -> int:
        """Promised units of one line, at all locations."""
        return sum(shipment.units.get(line_id, 0) for shipment in self.shipments)

    def shipped_of_line(self, line_id: str) -> int:
        """Shipped units of one line, from all locations, returned ones included."""
        return sum(shipment.shipped.get(line_id, 0) for shipment in self.shipments)

    def returned_of_line(self, line_id: str) -> int:
        """Returned units of one line."""
        return sum(shipment.returned.get(line_id, 0) for shipment in self.shipments)

    def refunded_of_line(self, line_id: str) -> int:
        """Units of one line that were refunded and have not come back."""
        return sum(shipment.refunded.get(line_id, 0) for shipment in self.shipments)

    def awaited_of_line(self, line: LineRecord) -> int:
        """Excess units of one line that should still come back: those neither returned nor refunded."""
        return max(0, line.excess - self.returned_of_line(line.line_id) - self.refunded_of_line(line.line_id))

    def short_of_line(self, line_id: str, *, backordered: bool) -> int:
        """Short units of one line: those on backorder, or the others."""
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
        """Short units, on backorder or not."""
        return sum(shortage.unit_count for shortage in self.shortages)

    def short_by_sku(self) -> dict[str, int]:
        """Short units by SKU."""
        units: dict[str, int] = {}
        for shortage in self.shortages:
            units[shortage.sku] = units.get(shortage.sku, 0) + shortage.unit_count
        return units

    def line(self, line_id: str) -> LineRecord:
        """Its line of this id. Raises StopIteration if it has none."""
        return next(line for line in self.lines if line.line_id == line_id)

    def line_units(self, shipment: ShipmentRecord, line_id: str, units: int) -> LineUnits:
        """Units of one of its lines at a shipment's location, for the stock book."""
        return LineUnits(self.id, line_id, (self.line(line_id).sku, shipment.location_id), units)

    def shipment(self, shipment_id: UUID) -> ShipmentRecord:
        """Its shipment of this id. Raises StopIteration if it has none."""
        return next(shipment for shipment in self.shipments if shipment.id == shipment_id)

    def rejected_by(self) -> frozenset[tuple[str, str]]:
        """Products that locations could not supply to this order, as (SKU, location id)."""
        skus = {line.line_id: line.sku for line in self.lines}
        rejections = ((x.location_id, line_id) for x in self.shipments for line_id in x.rejected)
        return frozenset((skus[line_id], location_id) for location_id, line_id in rejections if line_id in skus)

    def add_shortage(self, short: ShortageRecord) -> None:
        """Adds a shortage; units of the same line, kind and cause are added up."""
        key = (short.line_id, short.kind, short.cause, short.backordered)
        for index, existing in enumerate(self.shortages):
            if (existing.line_id, existing.kind, existing.cause, existing.backordered) == key:
                rules = tuple(dict.fromkeys((*existing.rules, *short.rules)))
                units = existing.unit_count + short.unit_count
                self.shortages[index] = replace(existing, unit_count=units, rules=rules)
                break
        else:
            self.shortages.append(short)
        self.update_ever_short()

    def remove_shortage(self, short: ShortageRecord) -> None:
        """Removes these units from the shortage of their line, kind and cause, as they wait."""
        key = (short.line_id, short.kind, short.cause, short.backordered)
        for index, existing in enumerate(self.shortages):
            if (existing.line_id, existing.kind, existing.cause, existing.backordered) == key:
                left = existing.unit_count - short.unit_count
                self.shortages[index : index + 1] = [replace(existing, unit_count=left)] if left > 0 else []
                break

    def explain_oversell(self, sku: str, cause: str) -> None:
        """Gives the oversold units of a product that have no cause yet this one."""
        shortages, self.shortages = self.shortages, []
        for short in shortages:
            unexplained = (short.sku, short.kind, short.cause) == (sku, OVERSELL, "")
            self.add_shortage(replace(short, cause=cause) if unexplained else short)

    @property
    def is_empty(self) -> bool:
        """Whether all its units are cancelled."""
        return all(line.uncancelled == 0 for line in self.lines)

    @property
    def has_nothing_to_ship(self) -> bool:
        """Whether all its units are cancelled or have shipped."""
        return all(line.uncancelled <= self.shipped_of_line(line.line_id) for line in self.lines)

    def cancel_if_empty(self) -> None:
        """Sets a sold order to cancelled if all its units are cancelled."""
        if self.is_empty:
            self.state, self.expire_time = CANCELLED, None

    def update_ever_short(self) -> None:
        """Raises each line's counts of units ever short to what is short now, so that no unit is counted twice."""
        if self.commitment is not Commitment.SOLD:
            return
        for line in self.lines:
            line.oversold = max(line.oversold, self._short_of_kinds(line.line_id, (OVERSELL,)))
            line.withheld = max(line.withheld, self._short_of_kinds(line.line_id, WITHHELD_KINDS))

    def _short_of_kinds(self, line_id: str, kinds: Container[str]) -> int:
        return sum(s.unit_count for s in self.shortages if s.line_id == line_id and s.kind in kinds)

    def reduce_shortages(self, line_id: str, units: int, *, backordered: bool | None = None) -> None:
        """Removes units from a line's shortages: from those on backorder, those that are not, or (None) both."""
        shortages: list[ShortageRecord] = []
        for short in self.shortages:
            matches = short.line_id == line_id and backordered in (None, short.backordered)
            removed = min(units, short.unit_count) if matches else 0
            units -= removed
            if short.unit_count > removed:
                shortages.append(replace(short, unit_count=short.unit_count - removed))
        self.shortages = shortages

    def order(self, commitment: Commitment) -> Order:
        """The order less its cancelled units. Raises ValueError if none remain."""
        lines = tuple(x.ordered(x.uncancelled) for x in self.lines if x.uncancelled)
        return self.order_of(lines, commitment)

    def order_as_stated(self) -> Order:
        """The order as its channel last stated it, units cancelled since included."""
        lines = tuple(x.ordered(x.unit_count) for x in self.lines)
        return self.order_of(lines, self.commitment)

    def order_of(self, lines: tuple[OrderLine, ...], commitment: Commitment) -> Order:
        """An order with these lines and everything else as in this one."""
        return Order(
            channel_id=self.channel_id,
            order_id=self.order_id,
            lines=lines,
            commitment=commitment,
            method=self.method,
            destination=self.destination,
            pickup_location_id=self.pickup_location_id,
            outlet=self.outlet,
            ship_by_time=self.ship_by_time,
            deliver_by=self.deliver_by,
            stated_value=self.stated_value,
            currency=self.currency,
            priority=self.priority,
            tags=self.tags,
        )

    def unshipped_order(self, order: Order) -> Order | None:
        """The order less the units of this record that have shipped. None if all have."""
        if not any(shipment.shipped for shipment in self.shipments):
            return order
        lines = tuple(
            replace(line, unit_count=count)
            for line in order.lines
            if (count := line.unit_count - self.shipped_of_line(line.line_id)) > 0
        )
        return replace(order, lines=lines) if lines else None

    def shipped_as_other_sku(self, order: Order) -> dict[int, tuple[str, str]]:
        """Lines of the order, by index, of which units have shipped under another SKU: their id and that SKU."""
        skus = {line.line_id: line.sku for line in self.lines}
        return {
            index: (line.line_id, skus[line.line_id])
            for index, line in enumerate(order.lines)
            if skus.get(line.line_id, line.sku) != line.sku and self.shipped_of_line(line.line_id)
        }

    def replace_contents(self, order: Order) -> None:
        """Replaces the contents by those of a request for this order. Shipped units stay on their lines."""
        self.commitment = order.commitment
        self.method = order.method
        self.destination = order.destination
        self.pickup_location_id = order.pickup_location_id
        self.outlet = order.outlet
        self.stated_value = order.stated_value
        self.currency = order.currency
        self.priority = order.priority
        self.tags = order.tags
        old_lines = {line.line_id: line for line in self.lines}
        new_lines = [LineRecord.of(line) for line in order.lines]
        for line in new_lines:
            before = old_lines.pop(line.line_id, None)
            if before is not None and before.sku == line.sku:
                line.unit_count = max(line.unit_count, self.shipped_of_line(line.line_id))
                line.oversold = min(before.oversold, line.unit_count)
                line.withheld = min(before.withheld, line.unit_count)
                line.excess = before.excess
        skus = {line.line_id: line.sku for line in self.lines}
        shipped = [self._shipped_part(line) for line in old_lines.values() if self.shipped_of_line(line.line_id)]
        self.lines = new_lines + shipped
        self._drop_old_rejections(skus)

    def _drop_old_rejections(self, skus: Mapping[str, str]) -> None:
        """Drops rejections of lines that were removed or that had another SKU before, by `skus`."""
        unchanged = {line.line_id for line in self.lines if skus.get(line.line_id) == line.sku}
        for shipment in self.shipments:
            shipment.rejected = {line_id: units for line_id, units in shipment.rejected.items() if line_id in unchanged}

    def _shipped_part(self, line: LineRecord) -> LineRecord:
        """A line that was removed from the order, reduced to its shipped units."""
        return replace(line, unit_count=self.shipped_of_line(line.line_id), cancelled=0, oversold=0, withheld=0)
