"""Retention of decisions and of the catalogs and rules that they refer to."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import grpc
import pytest
from prometheus_client import CollectorRegistry

from bench.order_history import EARLIER
from service.database import monthly_partitions
from service.database.database import Database, single_connection
from service.decisions import decision_retention
from service.decisions.decision_retention import PARTITIONED, DecisionRetention
from service.metrics import Metrics
from service.policy.active_policies import ActivePolicies
from tests.conftest import PLAIN_RULES, RetailerMaker
from tests.retailer import Retailer, order_request
from truestock.v1 import allocation_service_pb2 as allocation_pb, policy_service_pb2 as policy_pb


@pytest.mark.parametrize("place", ["month", "default"])
async def test_old_decisions_are_purged_except_the_current_one_of_an_order(retailer: Retailer, place: str) -> None:
    await retailer.stock({("MUG", "dc"): 99})
    first = await retailer.allocate("A-1", {"MUG": 1})
    last = await retailer.allocate("A-1", {"MUG": 2})
    await move_back(retailer, makes_partitions=place == "month")
    before = await partition_names(retailer)
    young = await retailer.allocate("A-2", {"MUG": 1})

    purged = await purge(retailer)

    after = await partition_names(retailer)
    assert purged == 2
    with pytest.raises(grpc.aio.AioRpcError, match="past retention"):
        await retailer.decision(moved(first))
    stored = await retailer.decision(moved(last))
    assert stored.decision == last.decision
    assert not stored.HasField("inputs")
    assert (await retailer.get(last.allocation_id)).allocation.decision == last.decision
    assert (await retailer.replay(young.decision.decision_id)).identical
    month = f"decision_{datetime.now(UTC) - OLD:%Y_%m}"
    assert before - after == ({month, month.replace("decision", "decision_batch")} if place == "month" else set())
    assert after - before == ({f"{month}_kept"} if place == "month" else set())


async def test_orders_keep_what_explains_decisions_that_shared_it(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 99})
    orders = await retailer.allocate_together([order_request(f"A-{number}", {"MUG": 1}) for number in range(5)])
    await move_back(retailer)
    shared = await retailer.sql("SELECT count(batch_id) FROM decision")

    purged = await purge(retailer)

    batches = await retailer.sql("SELECT FROM decision_batch")
    explained = [(await retailer.get(order.allocation_id)).allocation.decision for order in orders]
    assert (shared[0]["count"], purged, len(batches)) == (5, 5, 0)
    assert [decision.decision_id for decision in explained] == [moved(order) for order in orders]
    for decision, order in zip(explained, orders, strict=True):
        decision.decision_id = order.decision.decision_id
        assert decision == order.decision


async def test_a_decision_that_is_no_longer_current_is_not_kept(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    await retailer.allocate("A-1", {"MUG": 1})
    await move_back(retailer)
    await purge(retailer)
    last = await retailer.allocate("A-1", {"MUG": 2})

    purged = await purge(retailer)

    assert purged == 1
    assert [str(row["id"]) for row in await retailer.sql("SELECT id FROM decision")] == [last.decision.decision_id]


async def test_catalogs_and_rules_without_decisions_are_purged_a_day_later(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    await retailer.sql("INSERT INTO policy_set (revision, path, content) VALUES ('old', 'rules/a.yaml', '')")
    await retailer.allocate("A-1", {"MUG": 1})
    await grow_old(retailer, days=90.5)
    await purge(retailer)
    before = await counts(retailer)
    await grow_old(retailer, days=91.5)
    await purge(retailer)

    in_force = await retailer.policies.GetPolicySet(policy_pb.GetPolicySetRequest())
    assert before == {"decision_catalog": 1, "old": 1, "new": 1}
    assert await counts(retailer) == {"decision_catalog": 0, "old": 0, "new": 1}
    assert [r["revision"] for r in await retailer.sql("SELECT revision FROM policy_set")] == [in_force.policy_revision]


async def test_a_catalog_in_use_is_not_purged(retailers: RetailerMaker) -> None:
    first = await retailers.make()
    await first.stock({("MUG", "dc"): 9})
    await first.allocate("A-1", {"MUG": 1})
    await grow_old(first, days=95)
    # The new service does not know yet which catalogs are stored.
    second = await retailers.make()
    order = await second.allocate("A-2", {"MUG": 1})

    await purge(first)

    assert (await first.replay(order.decision.decision_id)).identical


async def test_two_services_purge_concurrently_each_decision_once(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 99})
    for units in range(1, 40):
        await retailer.allocate("A-1", {"MUG": units})
    await move_back(retailer)

    purged = await asyncio.gather(purge(retailer), purge(retailer))

    remaining = await retailer.sql("SELECT inputs FROM decision")
    assert sum(purged) == 39
    assert [row["inputs"] for row in remaining] == [None]


async def test_nothing_is_kept_of_a_partition_that_another_service_has_just_replaced(retailer: Retailer) -> None:
    await move_back(retailer)
    name = f"decision_{datetime.now(UTC) - OLD:%Y_%m}"
    async with single_connection(retailer.database_url) as connection:
        listed = [x for x in await monthly_partitions.partitions(connection, "decision") if x.name == name]
        await purge(retailer)
        async with connection.transaction():
            assert [await decision_retention._keep_current(connection, x, UUID(int=0)) for x in listed] == [None]
            assert await connection.fetchval("SELECT 1") == 1


async def test_a_partition_that_another_service_has_just_dropped_is_not_listed(retailer: Retailer) -> None:
    await move_back(retailer)
    dropped = f"decision_{datetime.now(UTC) - OLD:%Y_%m}"
    async with single_connection(retailer.database_url) as connection:
        before = await monthly_partitions.partitions(connection, "decision")
        async with connection.transaction(isolation="repeatable_read"):
            await connection.execute("SELECT count(*) FROM allocation")
            await purge(retailer)
            after = await monthly_partitions.partitions(connection, "decision")

    assert {x.name for x in before} - {x.name for x in after} == {dropped}


async def grow_old(retailer: Retailer, *, days: float) -> None:
    """Makes all stored catalogs and rules this many days old."""
    age = timedelta(days=days)
    await retailer.sql("UPDATE decision_catalog SET use_time = clock_timestamp() - $1::interval", age)
    await retailer.sql("UPDATE policy_set SET use_time = clock_timestamp() - $1::interval", age)


OLD = timedelta(days=130)
"""Age of decisions of which the whole month is past the retention of 90 days."""
OLD_MILLISECONDS = OLD // timedelta(milliseconds=1)
MOVE_BACK = (
    """
    UPDATE decision SET id = pg_temp.earlier(id, $1), batch_id = pg_temp.earlier(batch_id, $1),
        create_time = create_time - $1::bigint * interval '1 millisecond'
    """,
    "UPDATE decision_batch SET id = pg_temp.earlier(id, $1)",
    "UPDATE allocation SET decision_id = pg_temp.earlier(decision_id, $1)",
)


async def move_back(retailer: Retailer, *, makes_partitions: bool = True) -> None:
    """Makes all stored decisions and their batches OLD, with their ids, in partitions of their months or without."""
    await retailer.has_done("make_partitions")
    month = monthly_partitions.month_of(datetime.now(UTC) - OLD)
    async with single_connection(retailer.database_url) as connection, connection.transaction():
        if makes_partitions:
            for table in PARTITIONED:
                await monthly_partitions.make(connection, table, month)
        await connection.execute(EARLIER)
        for statement in MOVE_BACK:
            await connection.execute(statement, OLD_MILLISECONDS)


def moved(order: allocation_pb.Allocation) -> str:
    """The id of its decision after `move_back`."""
    return str(UUID(int=UUID(order.decision.decision_id).int - (OLD_MILLISECONDS << 80)))


async def partition_names(retailer: Retailer) -> set[str]:
    rows = await retailer.sql(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent::regclass::text"
        " IN ('decision', 'decision_batch')"
    )
    return {row["name"] for row in rows}


async def purge(retailer: Retailer) -> float:
    """Runs the purge now; returns how many decisions were deleted or lost their inputs."""
    metrics = Metrics(CollectorRegistry())
    database = await Database.open(retailer.database_url, metrics, connections=2)
    try:
        await DecisionRetention(database, ActivePolicies(PLAIN_RULES, metrics), metrics, timedelta(days=90)).purge()
    finally:
        await database.close()
    return metrics.registry.get_sample_value("truestock_decisions_purged_total") or 0.0


async def counts(retailer: Retailer) -> dict[str, int]:
    catalogs = await retailer.sql("SELECT count(*) FROM decision_catalog")
    files = await retailer.sql("SELECT count(*) FILTER (WHERE revision = 'old') AS old, count(*) FROM policy_set")
    old, total = files[0]["old"], files[0]["count"]
    return {"decision_catalog": catalogs[0]["count"], "old": old, "new": total - old}
