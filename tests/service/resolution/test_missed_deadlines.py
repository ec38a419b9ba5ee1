"""Shipments whose time passes while they wait count as late then, and never again. Tests set the times by SQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import RetailerMaker
from tests.exception_shop import Replica, counted, replica_on, write_rules
from tests.retailer import HOLD, Retailer, order_request


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return write_rules(tmp_path)


@pytest.fixture
async def shop(retailers: RetailerMaker, rules: Path) -> Retailer:
    shop = await retailers.make(rules)
    await shop.stock({("MUG", "dc"): 20})
    await shop.has_done("count_exceptions")
    return shop


@pytest.fixture
async def replica(shop: Retailer, rules: Path) -> AsyncIterator[Replica]:
    async with replica_on(shop.database_url, rules) as replica:
        yield replica


def due(deadline: str, *services: Retailer | Replica) -> tuple[float, float]:
    """Shipments from the dc that kept a deadline, and those that missed it; the web's are all of them."""
    by_place = [
        [counted(name, *services, deadline=deadline, result=result, **place) for result in ("in_time", "late")]
        for name, place in (
            ("shipments_due_total", {"location": "dc"}),
            ("channel_shipments_due_total", {"channel": "web"}),
        )
    ]
    assert by_place[0] == by_place[1]
    return by_place[0][0], by_place[0][1]


async def miss(shop: Retailer, column: str = "ship_by_time") -> None:
    await shop.sql(f"UPDATE shipment SET {column} = now() - interval '1 min'")


async def test_a_shipment_is_late_while_it_waits_and_counts_once_for_all_services_and_however_late_it_ships(
    shop: Retailer, replica: Replica, rules: Path
) -> None:
    sold = [await shop.allocate(f"A-{number}", {"MUG": 1}) for number in range(3)]
    await miss(shop)

    async with replica_on(shop.database_url, rules) as second:
        await asyncio.gather(*(service.sweep() for service in (replica, second) * 2))
        await replica.sweep()
        assert due("ship_by", shop, replica, second) == (0, 3)

        await shop.ship(sold[0].shipments[0])
        await shop.reject(sold[1].shipments[0], "other")
        await replica.sweep()

        assert due("ship_by", shop, replica, second) == (0, 3)
    rows = await shop.sql("SELECT result, channel_id, location_id, count(*) FROM shipment_deadline GROUP BY 1, 2, 3")
    assert [tuple(row) for row in rows] == [("late", "web", "dc", 3)]


async def test_the_earlier_time_of_the_channel_counts_and_what_is_not_ordered_any_more_is_not_due(
    shop: Retailer, replica: Replica
) -> None:
    passed = datetime.now(UTC) - timedelta(minutes=1)
    await shop.allocations.AllocateOrder(order_request("A-1", {"MUG": 1}, ship_by_time=passed))
    cancelled = await shop.allocate("A-2", {"MUG": 1})
    await shop.cancel(cancelled.allocation_id, {"1": 1})
    await shop.allocations.AllocateOrder(order_request("A-3", {"MUG": 1}, HOLD))
    others = "SELECT id FROM allocation WHERE order_id <> 'A-1'"
    await shop.sql(f"UPDATE shipment SET ship_by_time = now() - interval '1 min' WHERE allocation_id IN ({others})")

    await replica.sweep()

    assert due("ship_by", shop, replica) == (0, 1)


async def test_a_location_that_rejects_a_shipment_after_its_time_was_late_with_it(shop: Retailer) -> None:
    sold = [await shop.allocate(f"A-{number}", {"MUG": 1}) for number in range(2)]
    await shop.sql("UPDATE shipment SET ship_by_time = now() + interval '1 day'")
    await shop.reject(sold[0].shipments[0], "other")
    assert due("ship_by", shop) == (0, 0)

    await miss(shop)
    await shop.reject(sold[1].shipments[0], "other")

    assert due("ship_by", shop) == (0, 1)


async def test_a_parcel_is_late_when_its_day_of_delivery_has_passed_and_not_again_when_it_arrives(
    shop: Retailer, replica: Replica
) -> None:
    arrived, missing = [await shop.ship((await shop.allocate(x, {"MUG": 1})).shipments[0]) for x in ("A-1", "A-2")]
    await miss(shop, "deliver_by_time")
    await replica.sweep()
    assert due("delivery_day", shop, replica) == (0, 0), "nobody reports deliveries"

    await shop.deliver(arrived.shipments[0])
    await replica.sweep()
    assert due("delivery_day", shop, replica) == (0, 2)

    await shop.deliver(missing.shipments[0])

    assert due("delivery_day", shop, replica) == (0, 2)
