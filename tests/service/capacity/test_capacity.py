"""Locations with a capacity: what orders take of it and give back, with a real database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from service.capacity.capacity_store import delete_passed
from service.database.database import Database
from service.metrics import Metrics
from tests.conftest import RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, order_request, promised, refused
from truestock.v1 import allocation_service_pb2 as allocation_pb, catalog_service_pb2 as catalog_pb

pytestmark = pytest.mark.usefixtures("one_day")

LEDGER = """
    SELECT location_id, day, hour, sum(orders) AS orders, sum(units) AS units FROM (
        SELECT location_id, day, hour, order_count AS orders, unit_count AS units FROM capacity_use
        UNION ALL
        SELECT location_id, handling_day, -1, -1, -handling_units FROM shipment WHERE handling_day IS NOT NULL
        UNION ALL
        SELECT location_id, handling_day, handling_hour, -1, -handling_units FROM shipment
        WHERE handling_hour IS NOT NULL
    ) AS entry GROUP BY location_id, day, hour HAVING sum(orders) <> 0 OR sum(units) <> 0
"""
"""Where the stored figures are not those of the shipments."""


async def open_shop(retailer: Retailer, **limits: Any) -> Retailer:
    """One location that can handle so much, with stock of several products."""
    await retailer.stock({(sku, "dc"): 400 for sku in ("CUP", "MUG", "POT")})
    await retailer.locations("dc", capacity=catalog_pb.Capacity(**limits))
    return retailer


async def used(shop: Retailer) -> dict[tuple[str, date], tuple[int, int]]:
    """What is taken of each day, in orders and units, after a check that shipments account for all of it."""
    assert await shop.sql(LEDGER) == []
    rows = await shop.sql("SELECT * FROM capacity_use WHERE hour = -1 AND order_count > 0")
    return {(r["location_id"], r["day"]): (r["order_count"], r["unit_count"]) for r in rows}


def today() -> date:
    return datetime.now(UTC).date()


def handled_on(allocation: allocation_pb.Allocation) -> list[date]:
    days = [x.handling_date for x in allocation.shipments if x.HasField("handling_date")]
    return [date(day.year, day.month, day.day) for day in days]


async def test_a_location_admits_as_many_orders_as_it_can_handle_held_and_sold_alike(retailer: Retailer) -> None:
    shop = await open_shop(retailer, orders_per_day=3, days_ahead=0)
    orders = [await shop.allocate(f"A-{n}", {"MUG": 2}, SOLD if n % 2 else HOLD) for n in range(5)]

    assert [sum(promised(order).values()) for order in orders] == [2, 2, 2, 0, 0]
    assert await used(shop) == {("dc", today()): (3, 6)}
    assert [(x.location_id, x.reason) for x in orders[4].decision.dropped_candidates] == [("dc", "capacity")]
    assert {short.cause for short in orders[3].shortages} == {"no_capacity"}


async def test_a_full_location_handles_the_order_on_the_next_day(retailer: Retailer) -> None:
    shop = await open_shop(retailer, units_per_day=4)
    orders = [await shop.allocate(f"A-{n}", {"MUG": 2}) for n in range(3)]

    assert [handled_on(order) for order in orders] == [[today()], [today()], [today() + timedelta(days=1)]]


async def test_hours_are_filled_before_days(retailer: Retailer) -> None:
    shop = await open_shop(retailer, orders_per_hour=1, orders_per_day=2)
    orders = [await shop.allocate(f"A-{n}", {"MUG": 1}) for n in range(3)]
    slots = [(handled_on(order)[0], order.shipments[0].handling_hour) for order in orders]

    assert len(set(slots)) == 3
    assert slots == sorted(slots)
    await used(shop)


async def test_a_location_without_a_limit_stores_nothing_of_capacity(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    order = await retailer.allocate("A-1", {"MUG": 2})

    assert handled_on(order) == []
    assert await retailer.sql("SELECT * FROM capacity_use") == []


GIVE_BACK: dict[str, tuple[int, Callable[[Retailer, allocation_pb.Allocation], Awaitable[Any]]]] = {
    "released": (HOLD, lambda shop, order: shop.release(order.allocation_id)),
    "cancelled": (SOLD, lambda shop, order: shop.cancel(order.allocation_id, {"1": 2})),
    "rejected": (SOLD, lambda shop, order: shop.reject(order.shipments[0], "no_capacity")),
    "reassigned": (SOLD, lambda shop, order: shop.reassign(order.shipments[0], "far")),
}


@pytest.mark.parametrize("way", GIVE_BACK)
async def test_an_order_that_leaves_a_location_gives_back_what_it_took(retailer: Retailer, way: str) -> None:
    await retailer.stock({("MUG", "far"): 9})
    shop = await open_shop(retailer, orders_per_day=1, days_ahead=0)
    await shop.locations("far", status=catalog_pb.Location.STATUS_PAUSED)
    commitment, give_back = GIVE_BACK[way]
    order = await shop.allocate("A-1", {"MUG": 2}, commitment)
    taken = await used(shop)
    await shop.locations("far")
    await give_back(shop, order)

    assert taken == {("dc", today()): (1, 2)} or way == "reassigned"
    assert await used(shop) == {}


async def test_shipping_gives_nothing_back_and_cancelling_the_rest_gives_back_its_units(retailer: Retailer) -> None:
    shop = await open_shop(retailer, orders_per_day=1, units_per_day=9, days_ahead=0)
    order = await shop.allocate("A-1", {"MUG": 5})
    await shop.ship(order.shipments[0], {"1": 2})
    after_shipping = await used(shop)
    await shop.cancel(order.allocation_id, {"1": 3})

    assert after_shipping == {("dc", today()): (1, 5)}
    assert await used(shop) == {("dc", today()): (1, 2)}


async def test_an_expired_hold_keeps_no_place_whether_or_not_it_was_swept(retailer: Retailer) -> None:
    shop = await open_shop(retailer, orders_per_day=1, days_ahead=0)
    held = await shop.allocate("A-1", {"MUG": 2}, HOLD)
    full = await shop.allocate("A-2", {"CUP": 1}, HOLD)
    await shop.expire(held)
    placed = await shop.allocate("A-3", {"POT": 1})

    assert sum(promised(full).values()) == 0
    assert promised(placed) == {"dc": 1} or sum(promised(placed).values()) == 1


@pytest.mark.parametrize("by", ["confirm", "sold"])
async def test_a_hold_that_is_confirmed_after_its_day_moves_to_the_day_of_handling(retailer: Retailer, by: str) -> None:
    shop = await open_shop(retailer, orders_per_day=1)
    hold = await shop.allocate("A-1", {"MUG": 2}, HOLD)
    await shop.sql("UPDATE shipment SET handling_day = handling_day - 1")
    await shop.sql("UPDATE capacity_use SET day = day - 1")
    await shop.allocate("A-2", {"CUP": 1})
    sold = await (shop.confirm(hold.allocation_id) if by == "confirm" else shop.allocate("A-1", {"MUG": 2}))

    assert handled_on(sold) == [today() + timedelta(days=1)]
    assert await used(shop) == {("dc", today()): (1, 1), ("dc", today() + timedelta(days=1)): (1, 2)}


async def test_a_hold_is_planned_again_where_no_day_has_room_for_it_any_more(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "far"): 9})
    shop = await open_shop(retailer, orders_per_day=1, days_ahead=0)
    hold = await shop.allocate("A-1", {"MUG": 2}, HOLD)
    await shop.sql("UPDATE shipment SET handling_day = handling_day - 1")
    await shop.sql("UPDATE capacity_use SET day = day - 1")
    await shop.allocate("A-2", {"CUP": 1})
    sold = await shop.confirm(hold.allocation_id)

    assert [x.location_id for x in hold.shipments] == ["dc"]
    assert [x.location_id for x in sold.shipments if x.lines] == ["far"]
    assert await used(shop) == {("dc", today()): (1, 1)}


async def test_an_order_keeps_its_place_when_the_limit_is_lowered(retailer: Retailer) -> None:
    shop = await open_shop(retailer, orders_per_day=2, days_ahead=0)
    hold = await shop.allocate("A-1", {"MUG": 2}, HOLD)
    await shop.locations("dc", capacity=catalog_pb.Capacity(orders_per_day=0, days_ahead=0))
    sold, late = await shop.confirm(hold.allocation_id), await shop.allocate("A-2", {"MUG": 1})

    assert (sum(promised(sold).values()), sum(promised(late).values())) == (2, 0)
    assert await used(shop) == {("dc", today()): (1, 2)}


async def test_a_dry_run_answers_as_the_order_does_and_replays_give_the_same_bytes(retailer: Retailer) -> None:
    shop = await open_shop(retailer, units_per_day=5)
    await shop.allocate("A-1", {"MUG": 3})
    tried = await shop.allocate("A-2", {"MUG": 3}, validate_only=True)
    order = await shop.allocate("A-2", {"MUG": 3})
    replayed = await shop.replay(order.decision.decision_id)

    assert handled_on(tried) == handled_on(order) == [today() + timedelta(days=1)]
    assert replayed.identical
    (stored,) = (await shop.decision(order.decision.decision_id)).inputs.capacity_used
    assert (stored.location_id, stored.order_count, stored.unit_count) == ("dc", 1, 3)


async def test_a_person_cannot_move_a_shipment_to_a_location_that_is_full(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "far"): 9})
    shop = await open_shop(retailer, orders_per_day=1, days_ahead=0)
    await shop.allocate("A-1", {"MUG": 1})
    order = await shop.allocate("A-2", {"MUG": 2})
    error = await refused(shop.reassign(order.shipments[0], "dc"))

    assert (error.code(), "cannot handle 2 units more" in (error.details() or "")) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        True,
    )


async def test_a_capacity_without_a_limit_is_refused(retailer: Retailer) -> None:
    error = await refused(retailer.locations("dc", capacity=catalog_pb.Capacity(days_ahead=3)))

    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "has no limit" in (error.details() or "")


async def test_two_services_admit_exactly_as_many_of_many_shoppers_as_the_location_can_handle(
    retailers: RetailerMaker,
) -> None:
    shops = [await retailers.make(), await retailers.make()]
    skus = [f"SKU-{n}" for n in range(20)]
    await shops[0].stock({(sku, "dc"): 400 for sku in skus})
    await shops[0].locations("dc", capacity=catalog_pb.Capacity(orders_per_day=37, days_ahead=0))
    requests = [order_request(f"A-{n}", {skus[n % 20]: 1}, SOLD if n % 3 else HOLD) for n in range(200)]
    answers = await asyncio.gather(
        *(shops[n % 2].allocations.AllocateOrder(request, timeout=60) for n, request in enumerate(requests))
    )

    assert sum(sum(promised(answer.allocation).values()) for answer in answers) == 37
    assert await used(shops[0]) == {("dc", today()): (37, 37)}


async def test_listed_locations_show_what_is_taken_of_their_capacity(retailer: Retailer) -> None:
    shop = await open_shop(retailer, units_per_day=4)
    for n in range(3):
        await shop.allocate(f"A-{n}", {"MUG": 2})
    (location,) = (await shop.catalog.ListLocations(catalog_pb.ListLocationsRequest())).locations
    taken = location.capacity.taken

    assert [(x.order_count, x.unit_count, x.HasField("hour")) for x in taken] == [(2, 4, False), (1, 2, False)]


async def test_figures_of_days_long_past_are_deleted(retailer: Retailer, database_url: str) -> None:
    shop = await open_shop(retailer, units_per_day=4)
    await shop.allocate("A-1", {"MUG": 2})
    await shop.sql("INSERT INTO capacity_use VALUES ('dc', CURRENT_DATE - 40, -1, 1, 1)")
    database = await Database.open(database_url, Metrics(CollectorRegistry()), connections=1)
    await database.transaction("purge_capacity", delete_passed)
    await database.close()

    assert await used(shop) == {("dc", today()): (1, 2)}


async def test_an_order_can_be_cancelled_after_the_figures_of_its_day_were_deleted(retailer: Retailer) -> None:
    shop = await open_shop(retailer, units_per_day=4)
    order = await shop.allocate("A-1", {"MUG": 2})
    await shop.sql("UPDATE shipment SET handling_day = handling_day - 90")
    await shop.sql("DELETE FROM capacity_use")
    cancelled = await shop.cancel(order.allocation_id, {"1": 1})

    assert sum(promised(cancelled).values()) == 1
