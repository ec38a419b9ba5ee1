"""The books of a TikTok shop: what is for sale, and what shoppers and the seller have done.

Shoppers buy while TikTok's own number is above 0. Every change is told to `on_change`, by name and with its record.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from random import Random

from tests.fakes.clock import Clock
from tests.fakes.shoppers import Shoppers
from tests.fakes.tiktok_shop.records import (
    CLOSED,
    PENDING,
    Cancellation,
    Line,
    Order,
    Return,
    Sku,
    Stock,
    Warehouse,
)
from tests.fakes.tiktok_shop.words import order_json

REMORSE_SECONDS = 3_600
ANSWER_SECONDS = 24 * 3_600
"""How long the seller has to answer a request to cancel in the United States; then it is granted."""
# TikTok's ids are integers above 2^53, which a double cannot hold.
_FIRST_ID = 577_000_000_000_000_001


class Books:
    """One shop. Safe to use from several threads."""

    def __init__(self, clock: Clock, seed: int = 1) -> None:
        self.clock = clock
        self.random = Random(seed)
        self.shoppers = Shoppers(seed)
        self.warehouses: dict[str, Warehouse] = {}
        self.skus: dict[str, Sku] = {}
        self.orders: dict[str, Order] = {}
        self.cancellations: dict[str, Cancellation] = {}
        self.returns: dict[str, Return] = {}
        self.on_change: Callable[[str, Order | Cancellation | Return], None] = lambda name, record: None
        self.lock = threading.RLock()
        self._next_id = _FIRST_ID

    def add_warehouse(self, name: str) -> Warehouse:
        """A warehouse; the first one is the default."""
        warehouse = Warehouse(self.new_id(), name, is_default=not self.warehouses)
        self.warehouses[warehouse.id] = warehouse
        return warehouse

    def add_sku(self, seller_sku: str, available: Mapping[str, int], product_id: str = "") -> Sku:
        """An item for sale; `available` has units by warehouse id."""
        stock = {warehouse: Stock(units) for warehouse, units in available.items()}
        sku = Sku(self.new_id(), product_id or self.new_id(), seller_sku, stock)
        self.skus[sku.id] = sku
        self._note_stock(sku)
        return sku

    def sku(self, seller_sku: str) -> Sku:
        """The item that the seller calls so."""
        return next(sku for sku in self.skus.values() if sku.seller_sku == seller_sku)

    def place_order(
        self, units: Mapping[str, int], *, is_sample: bool = False, fulfilled_by_tiktok: bool = False
    ) -> Order | None:
        """A shopper buys units by seller SKU. None where no warehouse has all of them: TikTok refuses the order."""
        with self.lock:
            skus = [self.sku(name) for name, number in units.items() for _ in range(number)]
            warehouse = self._warehouse_with(units)
            if warehouse is None:
                return None
            for sku in skus:
                self._move(sku, warehouse, available=-1, committed=1)
            now = int(self.clock.seconds())
            lines = [Line(self.new_id(), sku, "UNPAID") for sku in skus]
            order = Order(self.new_id(), self.shoppers.next(), lines, warehouse, "UNPAID", now, now)
            order.is_sample, order.fulfilled_by_tiktok = is_sample, fulfilled_by_tiktok
            self.orders[order.id] = order
            self._changed(order, tell=True)
            return order

    def pay(self, order: Order) -> None:
        """The shopper pays: the hour begins in which they may cancel freely."""
        with self.lock:
            order.paid = int(self.clock.seconds())
            self.set_status(order, "ON_HOLD")
            self.clock.call_after(REMORSE_SECONDS, lambda: self.end_remorse(order))

    def end_remorse(self, order: Order) -> None:
        """The hour is over; comes by itself when the clock has moved so far."""
        with self.lock:
            if order.status == "ON_HOLD":
                self.set_status(order, "AWAITING_SHIPMENT")

    def buy(self, units: Mapping[str, int]) -> Order | None:
        """An order that is paid and past its hour: ready to be shipped. None where TikTok refuses it."""
        order = self.place_order(units)
        if order:
            self.pay(order)
            self.end_remorse(order)
        return order

    def ship(self, order: Order) -> None:
        """The carrier takes the parcel over."""
        with self.lock:
            package = self.new_id()
            for line in order.open_lines():
                line.package_id, line.tracking_number = package, f"TTUS{package[-9:]}"
                self._move(line.sku, order.warehouse_id, committed=-1)
            self.set_status(order, "IN_TRANSIT")

    def deliver(self, order: Order) -> None:
        """The parcel arrives."""
        with self.lock:
            self.set_status(order, "DELIVERED")

    def complete(self, order: Order) -> None:
        """The order is closed."""
        with self.lock:
            self.set_status(order, "COMPLETED")

    def cancel(
        self, order: Order, role: str = "BUYER", lines: Sequence[Line] = (), *, replenish: bool = True, reason: str = ""
    ) -> Cancellation:
        """Cancels units, or the whole order, at once; `replenish`: TikTok puts them back on sale by itself."""
        with self.lock:
            reason = reason or f"{role.lower()}_cancel_reason_no_longer_needed"
            cancellation = self._new_cancellation(order, lines, role, "CANCELLATION_REQUEST_COMPLETE", reason)
            cancellation.should_replenish_stock = replenish
            self._cancel_lines(cancellation)
            self.on_change("cancellation", cancellation)
            return cancellation

    def request_cancel(self, order: Order, lines: Sequence[Line] = ()) -> Cancellation:
        """The shopper asks to cancel after the hour. The seller has a day to answer; then it is granted."""
        with self.lock:
            reason = "buyer_cancel_reason_change_of_mind"
            cancellation = self._new_cancellation(order, lines, "BUYER", PENDING, reason)
            order.requested_cancel = cancellation.created
            self._changed(order, tell=False)
            self.on_change("cancellation", cancellation)
            self.clock.call_after(ANSWER_SECONDS, lambda: self._grant(cancellation))
            return cancellation

    def answer_cancel(self, cancellation: Cancellation, *, approve: bool) -> bool:
        """The seller's answer, or TikTok's after a day. False where the request is no longer open."""
        with self.lock:
            if cancellation.status != PENDING:
                return False
            cancellation.updated = self._later(cancellation.updated)
            if approve:
                cancellation.status = "CANCELLATION_REQUEST_COMPLETE"
                self._cancel_lines(cancellation)
            else:
                cancellation.status = "CANCELLATION_REQUEST_CANCEL"
                cancellation.order.requested_cancel = 0
                self._changed(cancellation.order, tell=False)
            self.on_change("cancellation", cancellation)
            return True

    def _grant(self, cancellation: Cancellation) -> None:
        self.answer_cancel(cancellation, approve=True)

    def request_return(self, order: Order, lines: Sequence[Line] = (), kind: str = "RETURN_AND_REFUND") -> Return:
        """The shopper asks for money back, with goods (RETURN_AND_REFUND) or without (REFUND)."""
        with self.lock:
            now = int(self.clock.seconds())
            status = "RETURN_OR_REFUND_REQUEST_PENDING"
            record = Return(self.new_id(), order, list(lines) or order.open_lines(), kind, status, now, now)
            self.returns[record.id] = record
            self.on_change("return", record)
            return record

    def set_return(self, record: Return, status: str) -> None:
        """The return goes on, such as to BUYER_SHIPPED_ITEM or RETURN_OR_REFUND_REQUEST_COMPLETE."""
        with self.lock:
            record.status, record.updated = status, self._later(record.updated)
            self.on_change("return", record)

    def set_available(self, sku: Sku, warehouse_id: str, units: int) -> None:
        """The seller states what may be sold from a warehouse."""
        with self.lock:
            sku.stock[warehouse_id].available = units
            self._note_stock(sku)

    def sold(self) -> dict[str, int]:
        """Units by seller SKU in orders, cancelled ones left out."""
        units: dict[str, int] = {}
        with self.lock:
            for order in self.orders.values():
                for line in order.open_lines():
                    units[line.sku.seller_sku] = units.get(line.sku.seller_sku, 0) + 1
        return units

    def _warehouse_with(self, units: Mapping[str, int]) -> str | None:
        able = [
            warehouse.id
            for warehouse in self.warehouses.values()
            if warehouse.effect_status == "ENABLED"
            and all(self._available(name, warehouse.id) >= number for name, number in units.items())
        ]
        return self.random.choice(able) if able else None

    def _available(self, seller_sku: str, warehouse_id: str) -> int:
        stock = self.sku(seller_sku).stock.get(warehouse_id)
        return stock.available if stock else 0

    def _new_cancellation(
        self, order: Order, lines: Sequence[Line], role: str, status: str, reason: str
    ) -> Cancellation:
        now = int(self.clock.seconds())
        cancellation = Cancellation(
            self.new_id(), order, list(lines) or order.open_lines(), role, status, reason, now, now
        )
        self.cancellations[cancellation.id] = cancellation
        return cancellation

    def _cancel_lines(self, cancellation: Cancellation) -> None:
        order, left = cancellation.order, cancellation.order.status in ("IN_TRANSIT", "DELIVERED")
        for line in cancellation.lines:
            if line.status == "CANCELLED":
                continue
            line.status, line.cancel_reason = "CANCELLED", cancellation.reason
            replenished = cancellation.should_replenish_stock and not left
            self._move(line.sku, order.warehouse_id, available=int(replenished), committed=0 if left else -1)
        order.requested_cancel = 0
        if order.open_lines():
            self._changed(order, tell=False)
        else:
            order.cancel_reason, order.cancelled_by = cancellation.reason, cancellation.role
            self.set_status(order, "CANCELLED")

    def set_status(self, order: Order, status: str) -> None:
        """TikTok says another word of the order, also one that it does not document; a closed order keeps its own."""
        if order.status in CLOSED:
            return
        order.status = status
        for line in order.open_lines():
            line.status = status
        self._changed(order, tell=True)

    def _changed(self, order: Order, *, tell: bool) -> None:
        order.updated = self._later(order.updated) if order.versions else order.updated
        order.versions.append((self.clock.seconds(), order_json(order)))
        if tell:
            self.on_change("order", order)

    def _move(self, sku: Sku, warehouse_id: str, *, available: int = 0, committed: int = 0) -> None:
        stock = sku.stock[warehouse_id]
        stock.available += available
        stock.committed += committed
        self._note_stock(sku)

    def _note_stock(self, sku: Sku) -> None:
        figures = {warehouse: (stock.available, stock.committed) for warehouse, stock in sku.stock.items()}
        sku.versions.append((self.clock.seconds(), figures))

    def _later(self, than: int) -> int:
        # TikTok's times have whole seconds: two changes in one second have the same.
        return max(than, int(self.clock.seconds()))

    def new_id(self) -> str:
        """An id that TikTok has not given yet."""
        self._next_id += self.random.randrange(1, 1_000_000)
        return str(self._next_id)
