"""The books of a Shopify shop: what is for sale where, and what shoppers and staff have done.

Shoppers buy while the shop's own `available` is above 0. Every change is told to `on_change` by its topic, with its
record.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from tests.fakes.clock import Clock
from tests.fakes.shopify.records import (
    Fulfillment,
    FulfillmentOrder,
    Item,
    Level,
    Line,
    Location,
    Order,
    Refund,
    RefundLine,
)
from tests.fakes.shoppers import Shoppers

# Above 2^53, which a double cannot hold: what goes through one comes back as another id.
_FIRST_ID = 9_110_000_000_000_000_001


class Books:
    """One shop. Safe to use from several threads."""

    def __init__(self, clock: Clock, seed: int = 1) -> None:
        self.clock = clock
        self.random = Random(seed)
        self.shoppers = Shoppers(seed)
        self.locations: dict[int, Location] = {}
        self.items: dict[int, Item] = {}
        self.levels: dict[tuple[int, int], Level] = {}
        self.orders: dict[int, Order] = {}
        self.refunds: dict[int, Refund] = {}
        self.on_change: Callable[[str, Any], None] = lambda topic, record: None
        self.lock = threading.RLock()
        self._next_id = _FIRST_ID

    def add_location(self, name: str) -> Location:
        """A location that ships."""
        location = Location(self.new_id(), name, self.clock.seconds())
        self.locations[location.id] = location
        return location

    def add_item(self, sku: str, available: Mapping[int, int], *, tracked: bool = True) -> Item:
        """An item for sale; `available` has units by location id."""
        item = Item(self.new_id(), self.new_id(), sku, tracked)
        self.items[item.id] = item
        for location, units in available.items():
            level = Level(item, self.locations[location], self.clock.seconds(), {"available": units})
            self.levels[item.id, location] = level
        return item

    def item(self, sku: str) -> Item:
        """The item with a SKU."""
        return next(item for item in self.items.values() if item.sku == sku)

    def level(self, sku: str, location: Location) -> Level:
        """Stock of an item at a location."""
        return self.levels[self.item(sku).id, location.id]

    def place_order(self, units: Mapping[str, int], **details: Any) -> Order | None:
        """A shopper buys units by SKU; `details` are fields of `Order`. None where no location has all of them."""
        with self.lock:
            location = self._location_with(units)
            if location is None:
                return None
            order = self._new_order(units, details)
            for line in order.lines:
                self._move(line.item, location, available=-line.quantity, committed=line.quantity)
            ordered = {line.id: line.quantity for line in order.lines}
            order.fulfillment_orders.append(FulfillmentOrder(self.new_id(), location, ordered))
            self.on_change("ORDERS_CREATE", order)
            return order

    def sell_at_till(self, units: Mapping[str, int], location: Location) -> Order:
        """A sale at a register: paid, handed over, and out of stock at once."""
        with self.lock:
            order = self._new_order(units, {"source_name": "pos", "retail_location": location, "closed": True})
            for line in order.lines:
                self._move(line.item, location, available=-line.quantity)
                line.unfulfilled = 0
            handed = {line.id: line.quantity for line in order.lines}
            order.fulfillments.append(Fulfillment(self.new_id(), location, handed, self.clock.seconds()))
            closed = FulfillmentOrder(self.new_id(), location, dict.fromkeys(handed, 0), "CLOSED")
            order.fulfillment_orders.append(closed)
            self.on_change("ORDERS_CREATE", order)
            return order

    def pay(self, order: Order) -> None:
        """A payment that was pending has come."""
        with self.lock:
            order.financial_status = "PAID"
            self._updated(order)

    def hold(self, order: Order, reason: str = "OTHER") -> None:
        """Staff or an app stop the order's fulfillment."""
        with self.lock:
            for fulfillment_order in _open(order):
                fulfillment_order.status = "ON_HOLD"
                fulfillment_order.holds.append(reason)
                fulfillment_order.updated = self.clock.seconds()
                self.on_change("FULFILLMENT_ORDERS_PLACED_ON_HOLD", fulfillment_order)
            self._updated(order)

    def release(self, order: Order) -> None:
        """The order may be fulfilled again."""
        with self.lock:
            for fulfillment_order in order.fulfillment_orders:
                if fulfillment_order.status == "ON_HOLD":
                    fulfillment_order.status = "OPEN"
                    fulfillment_order.holds.clear()
                    fulfillment_order.updated = self.clock.seconds()
                    self.on_change("FULFILLMENT_ORDERS_HOLD_RELEASED", fulfillment_order)
            self._updated(order)

    def edit(self, order: Order, units: Mapping[str, int]) -> None:
        """Staff change the order: `units` by SKU is what it has from now on of what has not shipped."""
        with self.lock:
            order.edited = True
            for sku, wanted in units.items():
                line = next((line for line in order.lines if line.item.sku == sku), None) or self._add_line(order, sku)
                self._change_line(order, line, wanted - line.unfulfilled)
            self.on_change("ORDERS_EDITED", order)
            self._updated(order)

    def cancel(self, order: Order, reason: str = "CUSTOMER", *, restock: bool = True) -> Refund:
        """Cancels what has not shipped, with a refund of it."""
        with self.lock:
            order.cancelled, order.cancel_reason, order.closed = self.clock.seconds(), reason, True
            units = {line.item.sku: line.unfulfilled for line in order.lines if line.unfulfilled}
            refund = self.refund(order, units, "CANCEL" if restock else "NO_RESTOCK")
            for fulfillment_order in order.fulfillment_orders:
                if fulfillment_order.status != "CLOSED":
                    fulfillment_order.status = "CANCELLED"
            order.financial_status = "REFUNDED"
            self.on_change("ORDERS_CANCELLED", order)
            self._updated(order)
            return refund

    def refund(
        self, order: Order, units: Mapping[str, int], restock_type: str, location: Location | None = None
    ) -> Refund:
        """Refunds units by SKU. RETURN puts shipped ones back on sale at `location`, CANCEL frees those not shipped."""
        with self.lock:
            lines = [
                self._refund_line(order, line, units[line.item.sku], restock_type, location)
                for line in order.lines
                if units.get(line.item.sku)
            ]
            refund = Refund(self.new_id(), order, lines, self.clock.seconds())
            self.refunds[refund.id] = refund
            order.refunds.append(refund)
            order.financial_status = "PARTIALLY_REFUNDED"
            self.on_change("REFUNDS_CREATE", refund)
            self._updated(order)
            return refund

    def fulfill(self, order: Order, location: Location | None = None) -> Fulfillment:
        """Staff ship everything that is left; from another location than planned if `location` says so."""
        with self.lock:
            planned = _open(order)[0].location
            shipped_from = location or planned
            units = {line.id: line.unfulfilled for line in order.lines if line.unfulfilled}
            for line in order.lines:
                self._move(line.item, planned, committed=-line.unfulfilled)
                if shipped_from is not planned:
                    # Shopify gives the unit back to the planned location, and takes it where it left.
                    self._move(line.item, planned, available=line.unfulfilled)
                    self._move(line.item, shipped_from, available=-line.unfulfilled)
                line.unfulfilled = 0
            for fulfillment_order in _open(order):
                fulfillment_order.status, fulfillment_order.location = "CLOSED", shipped_from
            fulfillment = Fulfillment(self.new_id(), shipped_from, units, self.clock.seconds())
            order.fulfillments.append(fulfillment)
            self._updated(order)
            return fulfillment

    def set_on_hand(self, sku: str, location: Location, units: int) -> None:
        """Staff count an item; the difference goes into `available`."""
        with self.lock:
            level = self.level(sku, location)
            self._move(level.item, location, available=units - level.quantity("on_hand"))

    def switch_location(self, location: Location, *, on: bool) -> None:
        """A location is deactivated or activated."""
        with self.lock:
            location.is_active, location.updated = on, self.clock.seconds()
            self.on_change("LOCATIONS_ACTIVATE" if on else "LOCATIONS_DEACTIVATE", location)

    def set_state(self, level: Level, name: str, units: int) -> None:
        """Sets the units of one state."""
        with self.lock:
            level.quantities[name] = units
            level.updated = self.clock.seconds()
            self.on_change("INVENTORY_LEVELS_UPDATE", level)

    def sold(self) -> dict[str, int]:
        """Units by SKU in orders and till sales, without those removed or cancelled; test orders left out."""
        units: dict[str, int] = {}
        with self.lock:
            for order in self.orders.values():
                for line in order.lines:
                    if not order.is_test:
                        units[line.item.sku] = units.get(line.item.sku, 0) + line.current
        return units

    def new_id(self) -> int:
        """An id that Shopify has not given yet."""
        self._next_id += self.random.randrange(1, 1_000_000)
        return self._next_id

    def _new_order(self, units: Mapping[str, int], details: Mapping[str, Any]) -> Order:
        now = self.clock.seconds()
        lines = [Line(self.new_id(), self.item(sku), count, count, count) for sku, count in units.items()]
        order = Order(self.new_id(), f"#{1001 + len(self.orders)}", self.shoppers.next(), lines, now, now)
        for name, value in details.items():
            setattr(order, name, value)
        self.orders[order.id] = order
        return order

    def _location_with(self, units: Mapping[str, int]) -> Location | None:
        able = [
            location
            for location in self.locations.values()
            if location.is_active and all(self._available(sku, location) >= count for sku, count in units.items())
        ]
        return self.random.choice(able) if able else None

    def _available(self, sku: str, location: Location) -> int:
        level = self.levels.get((self.item(sku).id, location.id))
        return level.quantity("available") if level and level.is_active else 0

    def _refund_line(
        self, order: Order, line: Line, units: int, restock_type: str, location: Location | None
    ) -> RefundLine:
        unshipped = min(units, line.unfulfilled)
        if unshipped:
            self._change_line(order, line, -unshipped, restock=restock_type != "NO_RESTOCK")
        else:
            line.current -= units
        if restock_type == "RETURN" and location:
            self._move(line.item, location, available=units - unshipped)
        put_back = location or (_first(order) if restock_type == "CANCEL" else None)
        return RefundLine(line, units, restock_type, put_back)

    def _change_line(self, order: Order, line: Line, by: int, *, restock: bool = True) -> None:
        line.unfulfilled += by
        line.current += by
        line.quantity = max(line.quantity, line.current)
        planned = order.fulfillment_orders[0]
        planned.units[line.id] = planned.units.get(line.id, 0) + by
        self._move(line.item, planned.location, committed=by, available=-by if restock else 0)

    def _add_line(self, order: Order, sku: str) -> Line:
        line = Line(self.new_id(), self.item(sku), 0, 0, 0)
        order.lines.append(line)
        return line

    def _move(self, item: Item, location: Location, **changes: int) -> None:
        level = self.levels.get((item.id, location.id))
        if level is None or not any(changes.values()):
            return
        for name, units in changes.items():
            level.quantities[name] = level.quantity(name) + units
        level.updated = self.clock.seconds()
        if changes.get("available"):
            self.on_change("INVENTORY_LEVELS_UPDATE", level)

    def _updated(self, order: Order) -> None:
        order.updated = self.clock.seconds()
        self.on_change("ORDERS_UPDATED", order)


def _open(order: Order) -> list[FulfillmentOrder]:
    return [each for each in order.fulfillment_orders if each.status in ("OPEN", "ON_HOLD", "SCHEDULED")]


def _first(order: Order) -> Location | None:
    return order.fulfillment_orders[0].location if order.fulfillment_orders else None
