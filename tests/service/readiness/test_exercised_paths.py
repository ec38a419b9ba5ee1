"""Orders are taken through every path on a copy of the channel, of which nothing is left behind."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import grpc
import pytest

from bench.module_process import children_with
from service.database import scratch_schema
from service.database.database import plain_url
from tests.conftest import RESOLVED_RULES, RetailerMaker, service_process, service_url
from tests.retailer import Retailer, eventually
from tests.service.readiness.scratch_rights import let_services_make_schemas
from truestock.v1 import readiness_service_pb2 as readiness_pb

PATHS = ["cancellation", "partial_fulfillment", "refund", "return", "stock_change", "location_off"]


@pytest.fixture
async def shop(retailers: RetailerMaker) -> Retailer:
    shop = await retailers.make(RESOLVED_RULES)
    await let_services_make_schemas(shop)
    await shop.stock({("MUG", "dc"): 5, ("MUG", "store"): 3})
    return shop


async def test_a_role_that_may_make_no_schema_is_told_what_to_do(retailers: RetailerMaker) -> None:
    shop = await retailers.make(RESOLVED_RULES)
    await shop.stock({("MUG", "dc"): 5, ("MUG", "store"): 3})

    found = await paths(shop)

    assert readiness_pb.READINESS_RESULT_PASS not in {x.result for x in found.values()}
    assert "the role of the service may not create a schema" in str(found["cancellation"])
    assert "GRANT CREATE ON DATABASE" in str(found["cancellation"])


async def paths(shop: Retailer) -> dict[str, Any]:
    request = readiness_pb.CheckReadinessRequest(channel_id="web")
    answers = (await shop.readiness.CheckReadiness(request, timeout=60)).answers
    found = {x.question.removeprefix("path_"): x for x in answers if x.question.startswith("path_")}
    assert list(found) == PATHS
    return found


async def schemas(shop: Retailer) -> int:
    rows = await shop.sql("SELECT nspname FROM pg_namespace WHERE nspname = $1", scratch_schema.SCRATCH)
    return len(rows)


async def test_every_path_is_exercised_and_nothing_of_it_is_seen_anywhere(shop: Retailer) -> None:
    order = await shop.allocate("1", {"MUG": 2})
    await shop.cancel(order.allocation_id, {"1": 1})
    counters = {x: shop.metric(x) for x in ("sold_units_total", "cancelled_units_total", "stock_changes_total")}
    tables = ("stock_movement", "allocation", "order_event", "exception", "catalog_history", "decision")
    rows = {table: (await shop.sql(f"SELECT count(*) FROM {table}"))[0]["count"] for table in tables}

    found = await paths(shop)

    assert {name: x.result for name, x in found.items()} == dict.fromkeys(PATHS, readiness_pb.READINESS_RESULT_PASS)
    assert "for real just now" in found["cancellation"].finding
    assert "never for real of late" in found["refund"].finding
    assert "the units moved from" in found["stock_change"].finding
    assert "the units moved from" in found["location_off"].finding
    assert {table: (await shop.sql(f"SELECT count(*) FROM {table}"))[0]["count"] for table in tables} == rows
    assert {x: shop.metric(x) for x in counters} == counters
    assert await schemas(shop) == 0
    assert (await shop.level("MUG", "dc")).on_hand_count == 5
    assert (await shop.ledger()).balanced


async def test_what_a_killed_service_left_is_dropped_when_the_next_one_starts(retailers: RetailerMaker) -> None:
    shop = await retailers.make()
    await let_services_make_schemas(shop)
    connection = await asyncpg.connect(service_url(shop.database_url))
    try:
        await connection.execute(f"CREATE SCHEMA {scratch_schema.SCRATCH}")
        await connection.execute(f"CREATE TABLE {scratch_schema.SCRATCH}.location (id text)")
    finally:
        await connection.close()

    other = await retailers.make()

    async def is_gone() -> bool:
        return await schemas(other) == 0

    await eventually(is_gone)


@pytest.mark.long
async def test_two_services_do_not_exercise_paths_at_the_same_time(shop: Retailer, retailers: RetailerMaker) -> None:
    other = await retailers.make(RESOLVED_RULES)

    both = await asyncio.gather(paths(shop), paths(other))

    for found in both:
        results = {x.result for x in found.values()}
        busy = all("another service" in x.finding for x in found.values())
        assert busy or results == {readiness_pb.READINESS_RESULT_PASS}
    assert await schemas(shop) == 0


@pytest.mark.long
async def test_a_service_that_is_killed_while_it_exercises_paths_leaves_nothing_for_long(
    retailers: RetailerMaker, database_url: str
) -> None:
    shop = await retailers.make(RESOLVED_RULES)
    await let_services_make_schemas(shop)
    await shop.stock({("MUG", "dc"): 5, ("MUG", "store"): 3})
    arguments = ("--database-url", service_url(database_url), "--rules", str(RESOLVED_RULES), "--no-sample")
    with service_process(*arguments) as addresses:
        async with Retailer.connect_to_process(addresses.grpc, database_url) as doomed:
            checking = asyncio.ensure_future(paths(doomed))

            async def has_begun() -> bool:
                return await schemas(shop) == 1

            await eventually(has_begun, 60)
            holding = await asyncpg.connect(plain_url(database_url))
            async with holding.transaction():
                # Who cannot give back the lease cannot drop the schema either: it is killed before that.
                await holding.execute("SELECT FROM lease WHERE name = 'scratch schema' FOR UPDATE")
                (process,) = children_with("serve")
                process.kill()
                with pytest.raises(grpc.aio.AioRpcError):
                    await checking
            await holding.close()
    assert await schemas(shop) == 1

    # As if the minute of its lease were over.
    await shop.sql("UPDATE lease SET expire_time = now() WHERE name = 'scratch schema'")
    other = await retailers.make(RESOLVED_RULES)

    async def is_gone() -> bool:
        return await schemas(other) == 0

    await eventually(is_gone, 30)
    assert (await other.ledger()).balanced
