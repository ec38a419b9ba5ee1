"""Which rules an order meets when units of it are planned: those for the whole order, at the place where it is due."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

from policies.domain.model import Commitment, Order, OrderLine, Outcome, Product, StockLevel
from service.allocation.planner import AllocationChange, decide, release_promises
from service.allocation.planning_context import ChannelContext
from service.allocation.replanning.rerouting import fill_backorders, replan_units
from service.orders.allocation_record import AllocationRecord
from service.stock.stock_book import Book, Occurrence
from tests.policies.small_retailer import NOW, TIKTOK, policy, rules, store, warehouse

RULES = rules(
    policy(otherwise="exception", review="[{name: dear, when: {order.value: {at_least: 100}}}]"),
    """
kind: exception
rules:
  - {name: at-the-store, position: 10, when: {location.type: store}, do: hold, owner: store-desk, due_in: 1h}
  - {name: elsewhere, position: 20, do: backorder, owner: desk, due_in: 1d}
""",
)
CONTEXT = ChannelContext(
    RULES, {x.id: x for x in (warehouse("dc"), store("main", offers_pickup=True))}, TIKTOK, {"MUG": Product("MUG")}
)


class Shop:
    """One order of mugs at 30 each, and their stock."""

    def __init__(self, **units: int) -> None:
        levels = {("MUG", x): StockLevel("MUG", x, count, as_of_time=NOW) for x, count in units.items()}
        self.book = Book(NOW, levels, uuid4)
        self.record = AllocationRecord(uuid4(), TIKTOK.id, "TT-1", NOW, NOW)

    def sell(self, count: int, *, collected_at: str | None = None) -> AllocationChange:
        method = "pickup" if collected_at else "ship"
        lines = (OrderLine("1", "MUG", count, Decimal(30)),)
        order = Order(TIKTOK.id, "TT-1", lines, Commitment.SOLD, method, pickup_location_id=collected_at)
        return decide(CONTEXT, self.book, self.record, order, timedelta(minutes=15))

    def ship(self, count: int) -> None:
        [shipment] = self.record.shipments
        self.book.fulfill("shipped", self.record.line_units(shipment, "1", count), Occurrence(NOW))
        shipment.shipped = {"1": count}
        shipment.remove_units("1", count, NOW, ended=shipment.state)


def test_an_order_of_which_most_has_shipped_is_as_dear_as_all_of_it() -> None:
    shop = Shop(dc=9)
    assert shop.sell(3).record.outcome is Outcome.ALLOCATED
    shop.ship(2)

    changed = shop.sell(4)

    assert shop.record.outcome is Outcome.NEEDS_REVIEW
    assert [x.kind for x in changed.exceptions] == ["review"]


def test_a_dear_order_that_waited_for_all_of_its_units_is_reviewed_once_they_are_planned() -> None:
    shop = Shop(dc=0)
    assert shop.sell(4).record.outcome is Outcome.BACKORDERED

    key = ("MUG", "dc")
    shop.book.levels[key] = replace(shop.book.levels[key], on_hand=9)
    filled = fill_backorders(CONTEXT, shop.book, shop.record)

    assert filled is not None
    assert shop.record.outcome is Outcome.NEEDS_REVIEW


def test_what_is_short_for_a_shopper_who_comes_to_a_store_is_that_stores_to_resolve() -> None:
    owners = [
        exception.handling.owner
        for store_id in ("main", None)
        for exception in Shop(main=0, dc=0).sell(1, collected_at=store_id).exceptions
    ]

    assert owners == ["store-desk", "desk"]


def test_units_that_several_locations_supply_instead_name_each_of_them() -> None:
    shop = Shop(dc=2, main=1)
    shop.sell(3)
    release_promises(shop.book, shop.record)

    moved = replan_units(CONTEXT, shop.book, shop.record, {"1": 3}, cause="not_found")

    assert moved.description == "Rerouted 3 units to dc, main (not found)."
