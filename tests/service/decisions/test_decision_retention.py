"""How long decisions are kept, and what they need."""

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


async def test_old_decisions_go_except_the_one_that_a_promise_rests_on(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    first = await retailer.allocate("A-1", {"MUG": 1})
    last = await retailer.allocate("A-1", {"MUG": 2})
    await retailer.sql("UPDATE decision SET create_time = create_time - interval '91 days'")
    young = await retailer.allocate("A-2", {"MUG": 1})

    forgotten = await forget(retailer)

    assert forgotten == 2
    with pytest.raises(grpc.aio.AioRpcError, match="older than decisions are kept"):
        await retailer.decision(first.decision.decision_id)
    kept = await retailer.decision(last.decision.decision_id)
    assert kept.decision == last.decision
    assert not kept.HasField("inputs")
    assert (await retailer.get(last.allocation_id)).allocation.decision == last.decision
    assert (await retailer.replay(young.decision.decision_id)).identical


async def test_what_no_decision_needs_any_more_goes_a_day_later(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    await retailer.sql("INSERT INTO policy_set (revision, path, content) VALUES ('old', 'rules/a.yaml', '')")
    await retailer.allocate("A-1", {"MUG": 1})
    await grow_old(retailer, days=90.5)
    await forget(retailer)
    before = await counts(retailer)
    await grow_old(retailer, days=91.5)
    await forget(retailer)

    in_force = await retailer.policies.GetPolicySet(policy_pb.GetPolicySetRequest())
    assert before == {"decision_catalog": 1, "old": 1, "new": 1}
    assert await counts(retailer) == {"decision_catalog": 0, "old": 0, "new": 1}
    assert [r["revision"] for r in await retailer.sql("SELECT revision FROM policy_set")] == [in_force.policy_revision]


async def test_a_catalogue_in_use_does_not_age(retailers: RetailerMaker) -> None:
    one = await retailers.make()
    await one.stock({("MUG", "dc"): 9})
    await one.allocate("A-1", {"MUG": 1})
    await grow_old(one, days=95)
    # Another service has nothing in its memory of what is there.
    two = await retailers.make()
    made = await two.allocate("A-2", {"MUG": 1})

    await forget(one)

    assert (await one.replay(made.decision.decision_id)).identical


async def test_two_services_that_forget_at_once_forget_everything_once(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 99})
    for units in range(1, 40):
        await retailer.allocate("A-1", {"MUG": units})
    await grow_old(retailer, days=91)

    forgotten = await asyncio.gather(forget(retailer), forget(retailer))

    rest = await retailer.sql("SELECT inputs FROM decision")
    assert sum(forgotten) == 39
    assert [row["inputs"] for row in rest] == [None]


async def grow_old(retailer: Retailer, *, days: float) -> None:
    """Lets everything that is stored of decisions be so many days old."""
    age = timedelta(days=days)
    await retailer.sql("UPDATE decision SET create_time = clock_timestamp() - $1::interval", age)
    await retailer.sql("UPDATE decision_catalog SET use_time = clock_timestamp() - $1::interval", age)
    await retailer.sql("UPDATE policy_set SET use_time = clock_timestamp() - $1::interval", age)


async def forget(retailer: Retailer) -> float:
    """What the background does, at once; returns how many decisions were forgotten or lost their inputs."""
    metrics = Metrics(CollectorRegistry())
    database = await Database.open(retailer.database_url, metrics, connections=2)
    try:
        await DecisionRetention(database, ActivePolicies(PLAIN_RULES, metrics), metrics, timedelta(days=90)).forget()
    finally:
        await database.close()
    return metrics.registry.get_sample_value("truestock_decisions_purged_total") or 0.0


async def counts(retailer: Retailer) -> dict[str, int]:
    found = await retailer.sql("SELECT count(*) FROM decision_catalog")
    files = await retailer.sql("SELECT count(*) FILTER (WHERE revision = 'old') AS old, count(*) FROM policy_set")
    old, everything = files[0]["old"], files[0]["count"]
    return {"decision_catalog": found[0]["count"], "old": old, "new": everything - old}
