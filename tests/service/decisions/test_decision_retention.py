"""Retention of decisions and of the catalogs and rules that they refer to."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import grpc
import pytest
from prometheus_client import CollectorRegistry

from service.database.database import Database
from service.decisions.decision_retention import DecisionRetention
from service.metrics import Metrics
from service.policy.active_policies import ActivePolicies
from tests.conftest import PLAIN_RULES, RetailerMaker
from tests.retailer import Retailer
from truestock.v1 import (
    policy_service_pb2 as policy_pb,
)


async def test_old_decisions_are_purged_except_the_current_one_of_an_order(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    first = await retailer.allocate("A-1", {"MUG": 1})
    last = await retailer.allocate("A-1", {"MUG": 2})
    await retailer.sql("UPDATE decision SET create_time = create_time - interval '91 days'")
    young = await retailer.allocate("A-2", {"MUG": 1})

    purged = await purge(retailer)

    assert purged == 2
    with pytest.raises(grpc.aio.AioRpcError, match="past retention"):
        await retailer.decision(first.decision.decision_id)
    stored = await retailer.decision(last.decision.decision_id)
    assert stored.decision == last.decision
    assert not stored.HasField("inputs")
    assert (await retailer.get(last.allocation_id)).allocation.decision == last.decision
    assert (await retailer.replay(young.decision.decision_id)).identical


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
    await grow_old(retailer, days=91)

    purged = await asyncio.gather(purge(retailer), purge(retailer))

    remaining = await retailer.sql("SELECT inputs FROM decision")
    assert sum(purged) == 39
    assert [row["inputs"] for row in remaining] == [None]


async def grow_old(retailer: Retailer, *, days: float) -> None:
    """Makes all stored decisions, catalogs and rules this many days old."""
    age = timedelta(days=days)
    await retailer.sql("UPDATE decision SET create_time = clock_timestamp() - $1::interval", age)
    await retailer.sql("UPDATE decision_catalog SET use_time = clock_timestamp() - $1::interval", age)
    await retailer.sql("UPDATE policy_set SET use_time = clock_timestamp() - $1::interval", age)


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
