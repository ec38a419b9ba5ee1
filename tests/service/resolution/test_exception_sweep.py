"""What happens to exceptions as time passes. Moments are moved in the database rather than waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from service.app.wiring import new_id
from service.database.database import Database
from service.dependencies import Dependencies
from service.metrics import Metrics
from service.policy.active_policies import ActivePolicies
from service.resolution.exception_sweep import ExceptionSweep
from service.settings import Settings
from tests.conftest import RetailerMaker
from tests.exception_shop import CANCELLED, COMPLETED, OTHER, OWNERS, Record, oversold, write_rules
from tests.retailer import HOLD, Retailer
from truestock.v1 import allocation_service_pb2 as allocation_pb, exception_pb2, exception_service_pb2 as exception_pb


class Replica:
    """The background work of one more service on the same database, done when it is told to."""

    def __init__(self, sweep: ExceptionSweep, metrics: Metrics) -> None:
        self._sweep = sweep
        self._metrics = metrics

    async def sweep(self) -> None:
        await self._sweep.run()

    def metric(self, name: str, **labels: str) -> float:
        return self._metrics.registry.get_sample_value(f"truestock_{name}", labels) or 0.0


@asynccontextmanager
async def replica_on(database_url: str, rules: Path) -> AsyncIterator[Replica]:
    metrics = Metrics(CollectorRegistry())
    folder = ActivePolicies(rules, metrics)
    database = await Database.open(database_url, metrics)
    try:
        deps = Dependencies(Settings(), database, folder, metrics, new_id)
        yield Replica(ExceptionSweep(deps), metrics)
    finally:
        await database.close()


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return write_rules(tmp_path)


@pytest.fixture
async def shop(retailers: RetailerMaker, rules: Path) -> Retailer:
    shop = await retailers.make(rules)
    await shop.stock({("MUG", "dc"): 2})
    return shop


@pytest.fixture
async def replica(shop: Retailer, rules: Path) -> AsyncIterator[Replica]:
    async with replica_on(shop.database_url, rules) as replica:
        yield replica


async def late(shop: Retailer, order_id: str = "A-1") -> allocation_pb.Allocation:
    """A sold order whose shipment was to leave a minute ago."""
    sold = await shop.allocate(order_id, {"MUG": 1})
    await shop.sql("UPDATE shipment SET ship_by_time = now() - interval '1 min'")
    return sold


async def exceptions_of(shop: Retailer, order: allocation_pb.Allocation) -> list[Record]:
    return list((await shop.get(order.allocation_id)).exceptions)


def counted(name: str, *places: Retailer | Replica, **labels: str) -> float:
    """A counter over all services: whichever came first has counted."""
    return sum(place.metric(name, **labels) for place in places)


# Escalation


async def test_an_overdue_exception_goes_to_whom_its_rule_names_next(shop: Retailer, replica: Replica) -> None:
    sold, raised = await oversold(shop)
    await replica.sweep()
    before = (await exceptions_of(shop, sold))[0]
    await shop.sql("UPDATE exception SET due_time = now() - interval '1 s'")

    await replica.sweep()
    await replica.sweep()

    seen = await shop.get(sold.allocation_id)
    (after,) = seen.exceptions
    assert (before.owner, after.owner) == ("desk", "lead")
    assert not before.HasField("escalate_time")
    assert after.HasField("escalate_time")
    assert seen.timeline[-1].description == "Oversell: Its time is over: from desk to lead."
    assert seen.allocation.version == sold.version + 1
    request = exception_pb.GetExceptionRequest(exception_id=raised.exception_id)
    history = (await shop.exceptions.GetException(request)).history
    assert [(one.event, one.actor) for one in history] == [("raised", "policy"), ("escalated", "policy")]
    assert counted("exceptions_escalated_total", shop, replica, owner="lead") == 1


async def test_what_is_settled_does_not_escalate(shop: Retailer, replica: Replica) -> None:
    sold, raised = await oversold(shop)
    await shop.resolve(raised.exception_id, CANCELLED)
    await shop.sql("UPDATE exception SET due_time = now() - interval '1 s'")

    await replica.sweep()

    assert (await exceptions_of(shop, sold))[0].owner == "desk"


async def test_an_exception_that_escalates_to_nobody_stays_with_its_desk(shop: Retailer, replica: Replica) -> None:
    request = exception_pb.ReportSyncFailureRequest(source="till", description="offline")
    await shop.exceptions.ReportSyncFailure(request)
    await shop.sql("UPDATE exception SET due_time = now() - interval '1 s'")

    await replica.sweep()

    (found,) = await shop.open_exceptions()
    assert (found.owner, found.HasField("escalate_time")) == ("operations", False)


async def test_two_services_escalate_once(shop: Retailer, replica: Replica, rules: Path) -> None:
    for turn in range(12):
        await oversold(shop, f"A-{turn}", 3)
    await shop.sql("UPDATE exception SET due_time = now() - interval '1 s'")

    async with replica_on(shop.database_url, rules) as other:
        await asyncio.gather(*(one.sweep() for one in (replica, other) * 3))
        await replica.sweep()

        assert counted("exceptions_escalated_total", shop, replica, other, owner="lead") == 12
    told = await shop.sql("SELECT exception_id FROM exception_event WHERE event = 'escalated'")
    assert len({row["exception_id"] for row in told}) == len(told) == 12


# Late shipments


async def test_a_shipment_that_has_not_left_in_time_is_late(shop: Retailer, replica: Replica) -> None:
    sold = await late(shop)

    await replica.sweep()

    seen = await shop.get(sold.allocation_id)
    (found,) = seen.exceptions
    assert (found.kind, found.owner, found.needs_person) == ("late_shipment", "operations", True)
    assert (found.shipment_id, found.location_id) == (sold.shipments[0].shipment_id, "dc")
    assert found.description.startswith("The shipment was to leave dc by 20")
    assert seen.allocation.needs_person
    assert [one.event for one in seen.timeline] == ["sold", "late_shipment"]
    assert counted("manual_interventions_total", shop, replica, channel="web", reason="late_shipment") == 1
    assert counted("exceptions_total", shop, replica, kind="late_shipment", channel="web") == 1


@pytest.mark.parametrize(("hours", "is_late"), [(47, False), (49, True)])
async def test_a_shipment_without_a_time_is_late_after_two_days(
    shop: Retailer, replica: Replica, *, hours: int, is_late: bool
) -> None:
    sold = await shop.allocate("A-1", {"MUG": 1})
    age = timedelta(hours=hours)
    await shop.sql("UPDATE shipment SET ship_by_time = NULL, assign_time = now() - $1::interval", age)

    await replica.sweep()

    assert bool(await exceptions_of(shop, sold)) is is_late


@pytest.mark.parametrize(("days", "is_late"), [(6, False), (8, True)])
async def test_what_is_ready_for_the_shopper_is_late_after_a_week(
    shop: Retailer, replica: Replica, *, days: int, is_late: bool
) -> None:
    sold = await late(shop)
    age = timedelta(days=days)
    await shop.sql("UPDATE shipment SET state = 'ready_for_pickup', assign_time = now() - $1::interval", age)

    await replica.sweep()

    assert [one.kind for one in await exceptions_of(shop, sold)] == ["late_shipment"] * is_late


async def test_a_cart_is_never_late(shop: Retailer, replica: Replica) -> None:
    await shop.allocate("A-1", {"MUG": 1}, HOLD)
    await shop.sql("UPDATE shipment SET ship_by_time = now() - interval '1 min'")

    await replica.sweep()

    assert not await shop.open_exceptions()


async def test_two_services_raise_a_late_shipment_once(shop: Retailer, replica: Replica, rules: Path) -> None:
    await shop.stock({("MUG", "dc"): 40})
    for turn in range(12):
        await late(shop, f"A-{turn}")

    async with replica_on(shop.database_url, rules) as other:
        await asyncio.gather(*(one.sweep() for one in (replica, other) * 3))
        await replica.sweep()

        found = await shop.open_exceptions()
        assert len(found) == len({one.shipment_id for one in found}) == 12
        assert all(one.repeat_count == 0 for one in found)
        manual = {"channel": "web", "reason": "late_shipment"}
        assert counted("manual_interventions_total", shop, replica, other, **manual) == 12


async def test_a_late_shipment_that_leaves_settles_its_exception(shop: Retailer, replica: Replica) -> None:
    sold = await late(shop)
    await replica.sweep()
    await shop.sql("UPDATE promise SET unit_count = 0, shipped = 1")
    await shop.sql("UPDATE shipment SET state = 'shipped'")

    await replica.sweep()
    await replica.sweep()

    seen = await shop.get(sold.allocation_id)
    (found,) = seen.exceptions
    assert (found.state, found.resolution) == (Record.STATE_RESOLVED, COMPLETED)
    assert (found.resolved_by, found.needs_person) == ("policy", True)
    assert seen.timeline[-1].description == "Late shipment: It has gone on."
    settled = {"kind": "late_shipment", "resolution": "completed"}
    assert counted("exceptions_resolved_total", shop, replica, **settled) == 1


async def test_a_shipment_that_a_person_let_be_is_not_late_again(shop: Retailer, replica: Replica) -> None:
    sold = await late(shop)
    await replica.sweep()
    (found,) = await exceptions_of(shop, sold)
    await shop.resolve(found.exception_id, exception_pb2.EXCEPTION_RESOLUTION_NO_ACTION)

    await replica.sweep()

    assert not await shop.open_exceptions()


async def test_a_late_shipment_can_go_from_somewhere_else(shop: Retailer, replica: Replica) -> None:
    sold = await late(shop)
    await shop.stock({("MUG", "north"): 1})
    await replica.sweep()
    (found,) = await exceptions_of(shop, sold)

    await shop.resolve(found.exception_id, exception_pb2.EXCEPTION_RESOLUTION_REROUTED)
    await replica.sweep()

    seen = (await shop.get(sold.allocation_id)).allocation
    left = {one.location_id: sum(line.unit_count for line in one.lines) for one in seen.shipments}
    assert {place: units for place, units in left.items() if units} == {"north": 1}
    assert (await shop.level("MUG", "dc")).available_count == 2
    assert not await shop.open_exceptions()
    assert (await shop.ledger()).balanced


async def test_a_late_shipment_can_be_cancelled(shop: Retailer, replica: Replica) -> None:
    sold = await late(shop)
    await replica.sweep()
    (found,) = await exceptions_of(shop, sold)

    await shop.resolve(found.exception_id, CANCELLED)

    seen = (await shop.get(sold.allocation_id)).allocation
    assert seen.state == allocation_pb.Allocation.STATE_CANCELLED
    assert await shop.sellable("MUG") == 2
    assert (await shop.ledger()).balanced


@pytest.fixture
def rerouting(rules: Path) -> Path:
    """Rules by which policy places late shipments elsewhere."""
    rule = (
        "  - {name: late, position: 5, when: {exception.kind: late_shipment}, do: reroute, owner: desk, due_in: 2h}\n"
    )
    (rules / "owners.yaml").write_text(OWNERS.replace("rules:\n", f"rules:\n{rule}"))
    return rules


async def test_policy_places_a_late_shipment_elsewhere(retailers: RetailerMaker, rerouting: Path) -> None:
    shop = await retailers.make(rerouting)
    await shop.stock({("MUG", "dc"): 1, ("MUG", "north"): 1})
    sold = await late(shop)

    async with replica_on(shop.database_url, rerouting) as one, replica_on(shop.database_url, rerouting) as two:
        await asyncio.gather(*(replica.sweep() for replica in (one, two) * 3))

        labels = {"kind": "late_shipment", "resolution": "rerouted"}
        assert counted("exceptions_resolved_total", shop, one, two, **labels) == 1
    seen = await shop.get(sold.allocation_id)
    (found,) = seen.exceptions
    assert (found.state, found.resolved_by, found.needs_person) == (Record.STATE_RESOLVED, "policy", False)
    assert found.note == "Rerouted 1 unit to north (late shipment)."
    assert [one.event for one in seen.timeline] == ["sold", "rerouted"]
    assert not seen.allocation.needs_person
    assert (await shop.ledger()).balanced


async def test_a_late_shipment_that_policy_cannot_place_needs_a_person(
    retailers: RetailerMaker, rerouting: Path
) -> None:
    shop = await retailers.make(rerouting)
    await shop.stock({("MUG", "dc"): 1})
    sold = await late(shop)

    async with replica_on(shop.database_url, rerouting) as replica:
        await replica.sweep()

    seen = await shop.get(sold.allocation_id)
    assert [(one.kind, one.needs_person) for one in seen.exceptions] == [("late_shipment", True)]
    assert seen.allocation.needs_person
    assert (await shop.level("MUG", "dc")).allocated_count == 1


async def test_an_order_with_two_troubles_is_one_manual_intervention(shop: Retailer, replica: Replica) -> None:
    await oversold(shop, units=4)
    await shop.sql("UPDATE shipment SET ship_by_time = now() - interval '1 min'")

    await replica.sweep()

    assert {one.kind for one in await shop.open_exceptions()} == {"oversell", "late_shipment"}
    reasons = ("oversell", "late_shipment")
    assert sum(counted("manual_interventions_total", shop, replica, channel="web", reason=r) for r in reasons) == 1


# Stuck orders


async def left_alone(shop: Retailer) -> allocation_pb.Allocation:
    """An order with short units whose exception was settled elsewhere, a day ago; nobody has come back to it."""
    sold, raised = await oversold(shop)
    await shop.resolve(raised.exception_id, OTHER, note="somebody will call")
    await forget(shop)
    return sold


async def forget(shop: Retailer) -> None:
    """A day and an hour pass."""
    for column, table in (("event_time", "order_event"), ("update_time", "allocation")):
        await shop.sql(f"UPDATE {table} SET {column} = {column} - interval '25 hours'")


async def test_an_order_that_nobody_gets_on_with_is_stuck(shop: Retailer, replica: Replica) -> None:
    sold = await left_alone(shop)

    await replica.sweep()
    await replica.sweep()

    (found,) = await shop.open_exceptions()
    assert (found.kind, found.allocation_id, found.channel_id) == ("stuck_order", sold.allocation_id, "web")
    assert found.repeat_count == 0


async def test_an_order_with_an_open_exception_is_not_stuck(shop: Retailer, replica: Replica) -> None:
    await oversold(shop)
    await forget(shop)

    await replica.sweep()

    assert [one.kind for one in await shop.open_exceptions()] == ["oversell"]


async def test_an_order_that_waits_for_stock_is_not_stuck(shop: Retailer, replica: Replica) -> None:
    _, raised = await oversold(shop)
    await shop.resolve(raised.exception_id, exception_pb2.EXCEPTION_RESOLUTION_BACKORDERED)
    await forget(shop)

    await replica.sweep()

    assert not await shop.open_exceptions()


async def test_a_stuck_order_that_gets_on_settles_its_exception(shop: Retailer, replica: Replica) -> None:
    sold = await left_alone(shop)
    await replica.sweep()
    await shop.cancel(sold.allocation_id, {"1": 3})

    await replica.sweep()

    stuck = (await exceptions_of(shop, sold))[-1]
    assert (stuck.state, stuck.resolution) == (Record.STATE_RESOLVED, COMPLETED)


async def test_the_short_units_of_a_stuck_order_can_be_taken_off(shop: Retailer, replica: Replica) -> None:
    sold = await left_alone(shop)
    await replica.sweep()
    (found,) = await shop.open_exceptions()

    await shop.resolve(found.exception_id, CANCELLED)

    (line,) = (await shop.get(sold.allocation_id)).allocation.lines
    assert (line.promised_count, line.short_count, line.cancelled_count) == (2, 0, 3)


# What is shown


async def test_the_gauge_shows_how_many_each_desk_has_open(shop: Retailer, replica: Replica) -> None:
    _, raised = await oversold(shop)
    await oversold(shop, "A-2", 1)
    await replica.sweep()
    before = replica.metric("exceptions_open", kind="oversell", owner="desk")
    await shop.resolve(raised.exception_id, CANCELLED)

    await replica.sweep()

    assert (before, replica.metric("exceptions_open", kind="oversell", owner="desk")) == (2, 1)


async def test_a_sweep_gets_through_more_than_one_batch(shop: Retailer, replica: Replica) -> None:
    ids = ", ".join(f"('f-{turn}')" for turn in range(230))
    await shop.sql(
        "INSERT INTO exception (id, subject, kind, state, description, policy_revision, create_time, owner, due_time, "
        "escalate_to, action, rule) SELECT gen_random_uuid(), name, 'stale_feed', 'open', '', '', now(), 'desk', "
        f"now() - interval '1 s', 'lead', 'review', 'r' FROM (VALUES {ids}) AS feeds (name)"
    )

    await replica.sweep()

    assert {one.owner for one in await shop.open_exceptions(page_size=1000)} == {"lead"}
