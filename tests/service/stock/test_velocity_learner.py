"""Sales velocity learned from the ledger: each sale counts once, and rules use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from policies.stock.velocity import TIME_CONSTANT_DAYS
from service.database.database import Database, plain_url
from service.metrics import Metrics
from service.stock.velocity_learner import VelocityLearner
from tests.conftest import RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, change, movement
from truestock.v1 import catalog_service_pb2 as catalog_pb, stock_service_pb2 as stock_pb

BUFFER = """\
kind: buffer
name: cover
scope: location
combine: largest
rules:
  - {name: a-week, hold_back: {days_of_cover: 7}}
"""
ROUTING = """\
kind: routing
policies:
  - {name: plain, position: 100, rank: [priority], otherwise: exception}
"""
NEW = 1 / TIME_CONSTANT_DAYS
"""Velocity in units a day after one unit sold now."""


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.has_done("learn_velocity")
    await retailer.stock({("MUG", "dc"): 100, ("BOWL", "dc"): 100})
    return retailer


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, Metrics(CollectorRegistry()), connections=4)
    yield database
    await database.close()


@pytest.fixture
def learner(database: Database) -> VelocityLearner:
    return VelocityLearner(database)


async def learned_velocity(shop: Retailer, sku: str = "MUG") -> float | None:
    answer = await shop.catalog.ListProducts(catalog_pb.ListProductsRequest(skus=[sku]))
    product = answer.products[0]
    return product.learned_velocity_per_day if product.HasField("learned_velocity_per_day") else None


async def sold_at_till(shop: Retailer, units: int, at: datetime | None = None) -> None:
    sale = change("MUG", "dc", at=at or datetime.now(UTC), movement=movement(stock_pb.MOVEMENT_KIND_SOLD, units))
    await shop.record(sale, source="till")


async def test_orders_and_pos_sales_both_count_as_sold(shop: Retailer, learner: VelocityLearner) -> None:
    await shop.allocate("A-1", {"MUG": 5})
    await sold_at_till(shop, 2)

    await learner.learn()

    assert await learned_velocity(shop) == pytest.approx(7 * NEW, rel=0.01)
    assert await learned_velocity(shop, "BOWL") is None


async def test_a_sale_is_counted_once_however_often_velocity_is_learned(
    shop: Retailer, learner: VelocityLearner
) -> None:
    await shop.allocate("A-1", {"MUG": 5})
    for _ in range(3):
        await learner.learn()
    await shop.allocate("A-2", {"MUG": 3})
    await learner.learn()

    assert await learned_velocity(shop) == pytest.approx(8 * NEW, rel=0.01)


async def test_a_hold_counts_as_sold_when_it_is_confirmed(shop: Retailer, learner: VelocityLearner) -> None:
    held = await shop.allocate("A-1", {"MUG": 5}, HOLD)
    await learner.learn()
    before = await learned_velocity(shop)
    await shop.confirm(held.allocation_id)
    await learner.learn()

    assert before is None
    assert await learned_velocity(shop) == pytest.approx(5 * NEW, rel=0.01)


async def test_cancelled_units_do_not_count_as_sold(shop: Retailer, learner: VelocityLearner) -> None:
    order = await shop.allocate("A-1", {"MUG": 5})
    await learner.learn()
    await shop.cancel(order.allocation_id, {order.lines[0].line_id: 2})
    await learner.learn()

    assert await learned_velocity(shop) == pytest.approx(3 * NEW, rel=0.01)


async def test_shipped_units_do_not_count_as_sold_again(shop: Retailer, learner: VelocityLearner) -> None:
    order = await shop.allocate("A-1", {"MUG": 5})
    await learner.learn()
    await shop.ship(order.shipments[0])
    await learner.learn()

    assert (await shop.level("MUG", "dc")).on_hand_count == 95
    assert await learned_velocity(shop) == pytest.approx(5 * NEW, rel=0.01)


async def test_a_rerouted_order_counts_as_sold_once(shop: Retailer, learner: VelocityLearner) -> None:
    await shop.stock({("MUG", "store"): 50})
    order = await shop.allocate("A-1", {"MUG": 5})
    await shop.count({("MUG", order.shipments[0].location_id): 2}, at=datetime.now(UTC))
    await learner.learn()

    location_ids = {shipment.location_id for shipment in (await shop.get(order.allocation_id)).allocation.shipments}
    assert len(location_ids) == 2
    assert await learned_velocity(shop) == pytest.approx(5 * NEW, rel=0.01)


async def test_a_sale_of_a_fortnight_ago_counts_a_third(shop: Retailer, learner: VelocityLearner) -> None:
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[catalog_pb.Product(sku="CUP")]))
    long_ago = datetime.now(UTC) - timedelta(days=TIME_CONSTANT_DAYS)
    await shop.record(
        change("CUP", "dc", at=long_ago, movement=movement(stock_pb.MOVEMENT_KIND_SOLD, 1)), source="till"
    )

    await learner.learn()

    assert await learned_velocity(shop, "CUP") == pytest.approx(NEW * 0.3679, rel=0.01)


async def test_a_sale_that_is_committed_late_is_not_missed(
    shop: Retailer, learner: VelocityLearner, database_url: str
) -> None:
    connection = await asyncpg.connect(plain_url(database_url))
    try:
        # A transaction with an early number, whose sale becomes visible after later ones have been read.
        async with connection.transaction():
            await connection.execute(
                "INSERT INTO stock_movement (id, sku, location_id, kind, result, on_hand_delta, unavailable_delta, "
                "held_delta, allocated_delta, source, effective_time, ingest_time) VALUES (gen_random_uuid(), 'MUG', "
                "'dc', 'allocated', 'accepted', 0, 0, 0, 4, 'orders', now(), now())"
            )
            await shop.allocate("A-1", {"MUG": 5})
            await learner.learn()
            early = await learned_velocity(shop)
    finally:
        await connection.close()
    await learner.learn()

    assert early is None
    assert await learned_velocity(shop) == pytest.approx(9 * NEW, rel=0.01)


async def test_services_that_learn_at_once_while_orders_come_count_each_sale_once(
    shop: Retailer, database: Database
) -> None:
    learners = [VelocityLearner(database, movements=7) for _ in range(3)]

    async def keep_learning(learner: VelocityLearner) -> None:
        for _ in range(15):
            await learner.learn()

    orders = [shop.allocate(f"A-{number}", {"MUG": 1, "BOWL": 1}) for number in range(60)]
    await asyncio.gather(*orders, *map(keep_learning, learners))
    await learners[0].learn()

    assert await learned_velocity(shop) == pytest.approx(60 * NEW, rel=0.01)
    assert await learned_velocity(shop, "BOWL") == pytest.approx(60 * NEW, rel=0.01)


async def test_a_sale_reported_after_a_count_still_counts_as_sold(shop: Retailer, learner: VelocityLearner) -> None:
    await sold_at_till(shop, 7, at=datetime.now(UTC) - timedelta(hours=1))

    await learner.learn()

    assert (await shop.level("MUG", "dc")).on_hand_count == 100
    assert await learned_velocity(shop) == pytest.approx(7 * NEW, rel=0.01)


async def test_an_import_of_products_keeps_the_learned_velocity(shop: Retailer, learner: VelocityLearner) -> None:
    await shop.allocate("A-1", {"MUG": 5})
    await learner.learn()

    again = catalog_pb.Product(sku="MUG", display_name="Mug", learned_velocity_per_day=99)
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[again]))

    assert await learned_velocity(shop) == pytest.approx(5 * NEW, rel=0.01)


async def test_rules_use_the_learned_velocity_unless_the_product_states_one(
    retailers: RetailerMaker, learner: VelocityLearner, tmp_path: Path
) -> None:
    for name, rules in (("cover", BUFFER), ("plain", ROUTING)):
        (tmp_path / f"{name}.yaml").write_text(rules)
    shop = await retailers.make(tmp_path)
    await shop.has_done("learn_velocity")
    await shop.stock({("MUG", "dc"): 100})
    await shop.allocate("A-1", {"MUG": 28}, SOLD)
    without_velocity = await shop.sellable("MUG")
    await learner.learn()
    with_learned_velocity = await shop.sellable("MUG")
    stated = catalog_pb.Product(sku="MUG", velocity_per_day=1)
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[stated]))

    # 28 units sold are 2 a day, so a week of cover is 14 of the remaining 72 units.
    assert (without_velocity, with_learned_velocity, await shop.sellable("MUG")) == (72, 58, 65)
