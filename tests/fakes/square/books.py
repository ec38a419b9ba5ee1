"""The books of a Square merchant. The till owns its counts: the last count, and what was moved after it.

Every change is told to `on_change`, by the type of its event and with its record.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from random import Random
from typing import Any

from tests.fakes.clock import Clock
from tests.fakes.shoppers import Shoppers
from tests.fakes.square.records import IN_STOCK, SOLD, Line, Location, Order, Refund, StockChange, Variation

_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ234567"


class Books:
    """One merchant. Safe to use from several threads."""

    def __init__(self, clock: Clock, seed: int = 1) -> None:
        self.clock = clock
        self.random = Random(seed)
        self.shoppers = Shoppers(seed)
        self.locations: dict[str, Location] = {}
        self.variations: dict[str, Variation] = {}
        self.changes: list[StockChange] = []
        self.orders: dict[str, Order] = {}
        self.refunds: dict[str, Refund] = {}
        self.calculated: dict[tuple[str, str], float] = {}
        """When a count was worked out last, by variation and location."""
        self.on_change: Callable[[str, Any], None] = lambda event_type, record: None
        self.lock = threading.RLock()

    def add_location(self, name: str) -> Location:
        """A shop."""
        location = Location(f"L{self.new_id(12)}", name)
        self.locations[location.id] = location
        return location

    def add_variation(self, sku: str, counted: Mapping[str, int]) -> Variation:
        """An item for sale; `counted` has units by location id, counted now."""
        variation = Variation(self.new_id(), self.new_id(), sku)
        self.variations[variation.id] = variation
        for location, units in counted.items():
            self.count(sku, self.locations[location], units)
        return variation

    def variation(self, sku: str) -> Variation:
        """The variation with a SKU."""
        return next(variation for variation in self.variations.values() if variation.sku == sku)

    def quantity(self, variation: Variation, location: Location, state: str = IN_STOCK) -> int:
        """Units in a state: the last physical count, and what was moved after it, however late Square heard of it."""
        with self.lock:
            changes = sorted(
                (each for each in self.changes if each.variation is variation and each.location is location),
                key=lambda each: each.occurred,
            )
        units = 0
        for change in changes:
            if change.counted:
                units = change.units if state == IN_STOCK else units
            else:
                units += change.units * ((change.to_state == state) - (change.from_state == state))
        return units

    def count(self, sku: str, location: Location, units: int, *, ago: timedelta = timedelta()) -> None:
        """Staff count an item; `ago`: when they did, before now."""
        self._add(sku, location, units, ago, counted=True)

    def adjust(
        self,
        sku: str,
        location: Location,
        units: int,
        from_state: str = IN_STOCK,
        to_state: str = SOLD,
        *,
        ago: timedelta = timedelta(),
        reference_id: str = "",
        refund_id: str = "",
    ) -> None:
        """Units go from one state to another; `ago`: when they did, for a till that was offline."""
        states = {"from_state": from_state, "to_state": to_state, "reference_id": reference_id, "refund_id": refund_id}
        self._add(sku, location, units, ago, **states)

    def sell_at_till(self, units: Mapping[str, int], location: Location, *, ago: timedelta = timedelta()) -> Order:
        """A sale in the shop: paid and taken along. Square takes it off its count by itself."""
        with self.lock:
            order = self._new_order(units, location, ago)
            order.state = "COMPLETED"
            self.on_change("order.created", order)
            for sku, number in units.items():
                self.adjust(sku, location, number, ago=ago)
            self._updated(order)
            return order

    def place_order(self, units: Mapping[str, int], location: Location, kind: str = "PICKUP") -> Order:
        """An order from Square Online, to be picked up, delivered (DELIVERY) or sent (SHIPMENT)."""
        with self.lock:
            order = self._new_order(units, location, timedelta())
            order.fulfillment_type, order.fulfillment_state = kind, "PROPOSED"
            order.source, order.shopper = "Square Online", self.shoppers.next()
            self.on_change("order.created", order)
            return order

    def set_fulfillment(self, order: Order, state: str) -> None:
        """The fulfillment goes on: RESERVED, PREPARED, COMPLETED, CANCELED, FAILED."""
        with self.lock:
            order.fulfillment_state = state
            if state in ("COMPLETED", "CANCELED"):
                order.state = state
            if state == "COMPLETED":
                for line in order.lines:
                    self.adjust(line.variation.sku, order.location, line.units)
            self.on_change("order.fulfillment.updated", order)
            self._updated(order)

    def give_back(self, order: Order, units: Mapping[str, int], location: Location, *, restock: bool = True) -> Refund:
        """A shopper brings units back to a shop and gets the money; `restock` puts them back on the shelf there."""
        with self.lock:
            returned = self._new_order(units, location, timedelta())
            returned.state, returned.returned_from, returned.refund_id = "COMPLETED", order.id, self.new_id()
            sold = {line.variation.sku: line.uid for line in order.lines}
            for line in returned.lines:
                line.source_uid = sold[line.variation.sku]
            self.on_change("order.created", returned)
            for sku, number in units.items():
                if restock:
                    self.adjust(sku, location, number, SOLD, IN_STOCK, refund_id=returned.refund_id)
            now = self.clock.seconds()
            refund = Refund(returned.refund_id, returned, now, now)
            self.refunds[refund.id] = refund
            self.on_change("refund.created", refund)
            return refund

    def sold(self) -> dict[str, int]:
        """Units by SKU that were ordered or sold, cancelled ones left out."""
        units: dict[str, int] = {}
        with self.lock:
            for order in self.orders.values():
                for line in order.lines:
                    if order.state != "CANCELED" and not order.returned_from:
                        units[line.variation.sku] = units.get(line.variation.sku, 0) + line.units
        return units

    def new_id(self, length: int = 24) -> str:
        """An id that Square has not given yet."""
        return "".join(self.random.choice(_LETTERS) for _ in range(length))

    def _new_order(self, units: Mapping[str, int], location: Location, ago: timedelta) -> Order:
        lines = [Line(self.new_id(), self.variation(sku), number) for sku, number in units.items()]
        created = self.clock.seconds() - ago.total_seconds()
        order = Order(self.new_id(), location, lines, created, self.clock.seconds())
        self.orders[order.id] = order
        return order

    def _add(self, sku: str, location: Location, units: int, ago: timedelta, **details: Any) -> None:
        with self.lock:
            now, variation = self.clock.seconds(), self.variation(sku)
            change = StockChange(self.new_id(), variation, location, now - ago.total_seconds(), now, units, **details)
            self.changes.append(change)
            self.calculated[variation.id, location.id] = now
            self.on_change("inventory.count.updated", change)

    def _updated(self, order: Order) -> None:
        order.version += 1
        order.updated = self.clock.seconds()
        self.on_change("order.updated", order)
