"""Orders that are short because locations are full get a place that becomes free, by priority and age."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from service.allocation.replanning.backorders import Backorders
from service.app import housekeeping
from service.app.wiring import new_id
from service.database.database import Database
from service.dependencies import Dependencies
from service.metrics import Metrics
from service.policy.active_policies import ActivePolicies
from service.settings import Settings
from tests.conftest import PLAIN_RULES, RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, promised
from tests.service.capacity.test_capacity import LEDGER
from tests.service.watch.test_watch_availability import until, watching
from truestock.v1 import allocation_service_pb2 as allocation_pb, catalog_service_pb2 as catalog_pb

pytestmark = pytest.mark.usefixtures("one_day")

Sweep = Callable[[], Awaitable[None]]
FULL = catalog_pb.Capacity(orders_per_day=1, days_ahead=0)


@pytest.fixture
async def shop(retailers: RetailerMaker, monkeypatch: pytest.MonkeyPatch) -> Retailer:
    """Tests sweep themselves."""
    monkeypatch.setattr(housekeeping, "BACKORDER_SECONDS", 3_600)
    shop = await retailers.make()
    await shop.has_done("backorders")
    return shop


@pytest.fixture
def metrics() -> Metrics:
    """Those of a service that only sweeps."""
    return Metrics(CollectorRegistry())


@pytest.fixture
async def sweep(shop: Retailer, metrics: Metrics) -> AsyncIterator[Sweep]:
    database = await Database.open(shop.database_url, metrics, connections=2)
    yield Backorders(Dependencies(Settings(), database, ActivePolicies(PLAIN_RULES, metrics), metrics, new_id)).sweep
    await database.close()


async def wait_a_day(shop: Retailer, order: allocation_pb.Allocation) -> None:
    location_id = order.shipments[0].location_id
    await shop.sql("UPDATE shipment SET handling_day = handling_day - 1 WHERE location_id = $1", location_id)
    await shop.sql("UPDATE capacity_use SET day = day - 1 WHERE location_id = $1", location_id)


WAYS: dict[str, tuple[int, Callable[[Retailer, allocation_pb.Allocation], Awaitable[Any]]]] = {
    "released": (HOLD, lambda shop, order: shop.release(order.allocation_id)),
    "expired": (HOLD, lambda shop, order: shop.expire(order)),
    "cancelled": (SOLD, lambda shop, order: shop.cancel(order.allocation_id, {"1": 1})),
    "rejected": (SOLD, lambda shop, order: shop.reject(order.shipments[0], "damaged")),
    "a-day-later": (SOLD, wait_a_day),
    "limit-raised": (
        SOLD,
        lambda shop, _: shop.locations("limit-raised", capacity=catalog_pb.Capacity(orders_per_day=2, days_ahead=0)),
    ),
    "limit-removed": (SOLD, lambda shop, _: shop.locations("limit-removed")),
}


async def test_a_place_that_becomes_free_goes_to_an_order_that_was_short_for_want_of_it(
    shop: Retailer, sweep: Sweep
) -> None:
    """The first order is for a product of its own, so that no unit of the second one's product becomes free."""
    await shop.stock({(f"{name}-{way}", way): 9 for way in WAYS for name in ("FIRST", "SECOND")})
    await shop.locations(*WAYS, capacity=FULL)
    first = {way: await shop.allocate(f"1-{way}", {f"FIRST-{way}": 1}, WAYS[way][0]) for way in WAYS}
    second = {way: await shop.allocate(f"2-{way}", {f"SECOND-{way}": 1}) for way in WAYS}
    await sweep()

    for way, order in second.items():
        still = (await shop.get(order.allocation_id)).allocation
        assert {x.cause for x in still.shortages} == {"no_capacity"}, way
        assert (promised(still), still.lines[0].backordered_count) == ({}, 1), way

    for way, (_, free) in WAYS.items():
        await free(shop, first[way])
    await sweep()

    for way, order in second.items():
        filled = (await shop.get(order.allocation_id)).allocation
        assert promised(filled) == {way: 1}, way
    assert await shop.sql(LEDGER) == []
    assert (await shop.ledger()).balanced


async def test_places_go_to_the_order_of_highest_priority_and_then_to_the_oldest(shop: Retailer, sweep: Sweep) -> None:
    """Whatever the orders are for: `A` would come first by the names of the products."""
    await shop.stock({(sku, "dc"): 9 for sku in ("A", "B", "C", "TAKEN")})
    await shop.locations("dc", capacity=FULL)
    taken = await shop.allocate("0", {"TAKEN": 1})
    late = await shop.allocate("1", {"C": 1})
    later = await shop.allocate("2", {"A": 1})
    urgent = await shop.allocate("3", {"B": 1}, priority=9)
    places = []
    for order in (taken, urgent, late):
        await shop.cancel(order.allocation_id, {"1": 1})
        await sweep()
        orders = {"late": late, "later": later, "urgent": urgent}
        got = {name: (await shop.get(order.allocation_id)).allocation for name, order in orders.items()}
        places.append([name for name, order in got.items() if promised(order).get("dc")])

    assert places == [["urgent"], ["late"], ["later"]]


async def test_the_exception_about_a_full_location_ends_when_the_order_gets_its_place(
    shop: Retailer, sweep: Sweep
) -> None:
    await shop.stock({("A", "dc"): 9, ("B", "dc"): 9})
    await shop.locations("dc", capacity=FULL)
    first, second = await shop.allocate("1", {"A": 1}), await shop.allocate("2", {"B": 1})
    before = await shop.open_exceptions()
    await shop.cancel(first.allocation_id, {"1": 1})
    await sweep()

    assert [x.allocation_id for x in before] == [second.allocation_id]
    assert await shop.open_exceptions() == []


async def test_metrics_show_what_is_taken_today_and_how_often_a_full_location_was_dropped(
    shop: Retailer, sweep: Sweep, metrics: Metrics
) -> None:
    await shop.stock({("A", "dc"): 9, ("A", "far"): 9})
    await shop.locations(
        "dc", priority=1, capacity=catalog_pb.Capacity(orders_per_day=1, units_per_day=9, days_ahead=0)
    )
    for number in range(3):
        await shop.allocate(str(number), {"A": 2})
    await sweep()

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"truestock_capacity_{name}", {"location": "dc", **labels})

    assert (value("used", of="orders"), value("limit", of="orders")) == (1, 1)
    assert (value("used", of="units"), value("limit", of="units")) == (2, 9)
    assert shop.metric("capacity_dropped_total", location="dc") == 2

    await shop.locations("dc")
    await sweep()

    assert value("used", of="orders") is value("limit", of="orders") is None


async def test_a_watch_is_told_when_a_location_becomes_full_and_when_it_has_room_again(shop: Retailer) -> None:
    """The order is for another product, so that no stock of the watched one changes."""
    await shop.stock({("A", "dc"): 9, ("B", "dc"): 9})
    await shop.locations("dc", capacity=FULL)
    async with watching(shop, "B") as client:
        await until(lambda: client.largest.get("B") == 9)
        order = await shop.allocate("1", {"A": 1})
        await until(lambda: client.largest.get("B") == 0)
        await shop.cancel(order.allocation_id, {"1": 1})
        await until(lambda: client.largest.get("B") == 9)
