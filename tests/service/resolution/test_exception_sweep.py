"""Periodic work on exceptions. Tests set times in the database instead of waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import RetailerMaker
from tests.exception_shop import (
    CANCELLED,
    COMPLETED,
    OTHER,
    OWNERS,
    Record,
    Replica,
    counted,
    oversold,
    replica_on,
    write_rules,
)
from tests.retailer import HOLD, Retailer, eventually, order_request
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    exception_pb2,
    exception_service_pb2 as exception_pb,
    order_pb2,
)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return write_rules(tmp_path)


@pytest.fixture
async def shop(retailers: RetailerMaker, rules: Path) -> Retailer:
    shop = await retailers.make(rules)
    await shop.stock({("MUG", "dc"): 2})
    await shop.has_done("count_exceptions")
    return shop


@pytest.fixture
async def replica(shop: Retailer, rules: Path) -> AsyncIterator[Replica]:
    async with replica_on(shop.database_url, rules) as replica:
        yield replica


async def late(shop: Retailer, order_id: str = "A-1") -> allocation_pb.Allocation:
    """A sold order whose shipment was due a minute ago."""
    sold = await shop.allocate(order_id, {"MUG": 1})
    await shop.sql("UPDATE shipment SET ship_by_time = now() - interval '1 min'")
    return sold


async def exceptions_of(shop: Retailer, order: allocation_pb.Allocation) -> list[Record]:
    return list((await shop.get(order.allocation_id)).exceptions)


# Late deliveries


async def test_a_shipment_that_should_have_arrived_is_late_until_it_is_delivered(
    shop: Retailer, replica: Replica
) -> None:
    arrived, missing = [await shop.ship((await shop.allocate(x, {"MUG": 1})).shipments[0]) for x in ("A-1", "A-2")]
    await shop.sql("UPDATE shipment SET deliver_by_time = now() - interval '1 hour'")
    await replica.sweep()
    assert await exceptions_of(shop, missing) == []

    await shop.deliver(arrived.shipments[0])
    await replica.sweep()
    await replica.sweep()

    assert await exceptions_of(shop, arrived) == []
    [late_delivery] = await exceptions_of(shop, missing)
    assert (late_delivery.kind, late_delivery.sub_kind) == ("late_shipment", "delivery")
    assert "should have arrived" in late_delivery.description
    assert late_delivery.state == Record.STATE_OPEN

    await shop.deliver(missing.shipments[0])
    await replica.sweep()

    [late_delivery] = await exceptions_of(shop, missing)
    assert late_delivery.state == Record.STATE_RESOLVED


# Escalation


async def test_an_overdue_exception_escalates_to_the_desk_of_its_rule(shop: Retailer, replica: Replica) -> None:
    sold, raised = await oversold(shop)
    await replica.sweep()
    before = (await exceptions_of(shop, sold))[0]
    await shop.sql("UPDATE exception SET due_time = now() - interval '1 s'")

    await replica.sweep()
    await replica.sweep()

    latest = await shop.get(sold.allocation_id)
    (after,) = latest.exceptions
    assert (before.owner, after.owner) == ("desk", "lead")
    assert not before.HasField("escalate_time")
    assert after.HasField("escalate_time")
    assert latest.timeline[-1].description == "Oversell: Overdue: escalated from desk to lead."
    assert latest.allocation.version == sold.version + 1
    request = exception_pb.GetExceptionRequest(exception_id=raised.exception_id)
    history = (await shop.exceptions.GetException(request)).history
    assert [(event.event, event.actor) for event in history] == [("raised", "policy"), ("escalated", "policy")]
    assert counted("exceptions_escalated_total", shop, replica, owner="lead") == 1


async def test_a_resolved_exception_does_not_escalate(shop: Retailer, replica: Replica) -> None:
    sold, raised = await oversold(shop)
    await shop.resolve(raised.exception_id, CANCELLED)
    await shop.sql("UPDATE exception SET due_time = now() - interval '1 s'")

    await replica.sweep()

    assert (await exceptions_of(shop, sold))[0].owner == "desk"


async def test_an_exception_without_escalation_stays_with_its_desk(shop: Retailer, replica: Replica) -> None:
    request = exception_pb.ReportSyncFailureRequest(source="till", description="offline")
    await shop.exceptions.ReportSyncFailure(request)
    await shop.sql("UPDATE exception SET due_time = now() - interval '1 s'")

    await replica.sweep()

    (exception,) = await shop.open_exceptions()
    assert (exception.owner, exception.HasField("escalate_time")) == ("operations", False)


async def test_two_services_escalate_once(shop: Retailer, replica: Replica, rules: Path) -> None:
    for turn in range(12):
        await oversold(shop, f"A-{turn}", 3)
    await shop.sql("UPDATE exception SET due_time = now() - interval '1 s'")

    async with replica_on(shop.database_url, rules) as second:
        await asyncio.gather(*(service.sweep() for service in (replica, second) * 3))
        await replica.sweep()

        assert counted("exceptions_escalated_total", shop, replica, second, owner="lead") == 12
    escalations = await shop.sql("SELECT exception_id FROM exception_event WHERE event = 'escalated'")
    assert len({row["exception_id"] for row in escalations}) == len(escalations) == 12


# Late shipments


async def test_a_shipment_that_is_not_shipped_in_time_is_late(shop: Retailer, replica: Replica) -> None:
    sold = await late(shop)

    await replica.sweep()

    latest = await shop.get(sold.allocation_id)
    (exception,) = latest.exceptions
    assert (exception.kind, exception.owner, exception.needs_person) == ("late_shipment", "operations", True)
    assert (exception.shipment_id, exception.location_id) == (sold.shipments[0].shipment_id, "dc")
    assert exception.description.startswith("The shipment was due to ship from dc by 20")
    assert latest.allocation.needs_person
    assert [event.event for event in latest.timeline] == ["sold", "late_shipment"]
    assert counted("manual_interventions_total", shop, replica, channel="web", reason="late_shipment") == 1
    assert counted("exceptions_total", shop, replica, kind="late_shipment", channel="web") == 1


async def test_a_shipment_that_misses_the_time_of_its_channel_is_late_and_says_whose_time_it_was(
    shop: Retailer, replica: Replica
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    request = order_request("A-1", {"MUG": 1}, ship_by_time=now + timedelta(days=1))
    sold = (await shop.allocations.AllocateOrder(request)).allocation
    assert sold.ship_by_time == sold.shipments[0].channel_ship_by_time == request.ship_by_time
    await replica.sweep()
    assert not await exceptions_of(shop, sold)
    # The channel moves its time: it is taken over, and nothing is planned again.
    request.ship_by_time.FromDatetime(now - timedelta(minutes=1))
    moved = (await shop.allocations.AllocateOrder(request)).allocation
    assert (moved.ship_by_time, moved.decision.decision_id) == (request.ship_by_time, sold.decision.decision_id)
    assert moved.version == sold.version + 1
    kept = (await shop.allocations.AllocateOrder(order_request("A-1", {"MUG": 1}))).allocation
    assert kept.ship_by_time == request.ship_by_time

    await replica.sweep()

    (exception,) = await exceptions_of(shop, sold)
    due = f"{now - timedelta(minutes=1):%Y-%m-%d %H:%M} UTC"
    assert exception.kind == "late_shipment"
    assert f"by {due}, which is web's own time, and is assigned" in exception.description
    await shop.sql("UPDATE shipment SET ship_by_time = now() - interval '1 min'")
    await replica.sweep()
    assert len(await exceptions_of(shop, sold)) == 1


@pytest.mark.parametrize(("hours", "is_late"), [(47, False), (49, True)])
async def test_a_shipment_without_a_ship_by_time_is_late_after_two_days(
    shop: Retailer, replica: Replica, *, hours: int, is_late: bool
) -> None:
    sold = await shop.allocate("A-1", {"MUG": 1})
    age = timedelta(hours=hours)
    await shop.sql("UPDATE shipment SET ship_by_time = NULL, assign_time = now() - $1::interval", age)

    await replica.sweep()

    assert bool(await exceptions_of(shop, sold)) is is_late


@pytest.mark.parametrize(("days", "is_late"), [(6, False), (8, True)])
async def test_a_shipment_that_waits_for_pickup_is_late_after_a_week(
    shop: Retailer, replica: Replica, *, days: int, is_late: bool
) -> None:
    sold = await late(shop)
    age = timedelta(days=days)
    await shop.sql("UPDATE shipment SET state = 'ready_for_pickup', assign_time = now() - $1::interval", age)

    await replica.sweep()

    assert [exception.kind for exception in await exceptions_of(shop, sold)] == ["late_shipment"] * is_late


async def test_a_hold_is_never_late(shop: Retailer, replica: Replica) -> None:
    await shop.allocate("A-1", {"MUG": 1}, HOLD)
    await shop.sql("UPDATE shipment SET ship_by_time = now() - interval '1 min'")

    await replica.sweep()

    assert not await shop.open_exceptions()


async def test_two_services_raise_a_late_shipment_once(shop: Retailer, replica: Replica, rules: Path) -> None:
    await shop.stock({("MUG", "dc"): 40})
    for turn in range(12):
        await late(shop, f"A-{turn}")

    async with replica_on(shop.database_url, rules) as second:
        await asyncio.gather(*(service.sweep() for service in (replica, second) * 3))
        await replica.sweep()

        exceptions = await shop.open_exceptions()
        assert len(exceptions) == len({exception.shipment_id for exception in exceptions}) == 12
        assert all(exception.repeat_count == 0 for exception in exceptions)
        manual = {"channel": "web", "reason": "late_shipment"}
        assert counted("manual_interventions_total", shop, replica, second, **manual) == 12


async def test_shipping_a_late_shipment_resolves_its_exception(shop: Retailer, replica: Replica) -> None:
    sold = await late(shop)
    await replica.sweep()
    await shop.sql("UPDATE promise SET unit_count = 0, shipped = 1")
    await shop.sql("UPDATE shipment SET state = 'shipped'")

    await replica.sweep()
    await replica.sweep()

    latest = await shop.get(sold.allocation_id)
    (exception,) = latest.exceptions
    assert (exception.state, exception.resolution) == (Record.STATE_RESOLVED, COMPLETED)
    assert (exception.resolved_by, exception.needs_person) == ("policy", True)
    assert latest.timeline[-1].description == "Late shipment: It no longer needs attention."
    labels = {"kind": "late_shipment", "resolution": "completed"}
    assert counted("exceptions_resolved_total", shop, replica, **labels) == 1


async def test_a_late_shipment_whose_scan_was_a_mistake_is_late_again(shop: Retailer, replica: Replica) -> None:
    sold = await late(shop)
    await replica.sweep()
    await shop.ship(sold.shipments[0], event_id="scan-1")
    await replica.sweep()
    while_shipped = await shop.open_exceptions()

    await shop.undo(sold.shipments[0], "scan-1")
    await replica.sweep()

    assert while_shipped == []
    assert [exception.kind for exception in await shop.open_exceptions()] == ["late_shipment"]


async def test_a_late_shipment_resolved_without_action_is_not_raised_again(shop: Retailer, replica: Replica) -> None:
    sold = await late(shop)
    await replica.sweep()
    (exception,) = await exceptions_of(shop, sold)
    await shop.resolve(exception.exception_id, exception_pb2.EXCEPTION_RESOLUTION_NO_ACTION)

    await replica.sweep()

    assert not await shop.open_exceptions()


async def test_a_late_shipment_can_be_rerouted(shop: Retailer, replica: Replica) -> None:
    sold = await late(shop)
    await shop.stock({("MUG", "north"): 1})
    await replica.sweep()
    (exception,) = await exceptions_of(shop, sold)

    await shop.resolve(exception.exception_id, exception_pb2.EXCEPTION_RESOLUTION_REROUTED)
    await replica.sweep()

    latest = (await shop.get(sold.allocation_id)).allocation
    units_by_location = {x.location_id: sum(line.unit_count for line in x.lines) for x in latest.shipments}
    assert {location_id: units for location_id, units in units_by_location.items() if units} == {"north": 1}
    assert (await shop.level("MUG", "dc")).available_count == 2
    assert not await shop.open_exceptions()
    assert (await shop.ledger()).balanced


async def test_a_late_shipment_can_be_cancelled(shop: Retailer, replica: Replica) -> None:
    sold = await late(shop)
    await replica.sweep()
    (exception,) = await exceptions_of(shop, sold)

    await shop.resolve(exception.exception_id, CANCELLED)

    latest = (await shop.get(sold.allocation_id)).allocation
    assert latest.state == allocation_pb.Allocation.STATE_CANCELLED
    assert await shop.sellable("MUG") == 2
    assert (await shop.ledger()).balanced


@pytest.fixture
def rerouting(rules: Path) -> Path:
    """Rules that reroute late shipments."""
    rule = (
        "  - {name: late, position: 5, when: {exception.kind: late_shipment}, do: reroute, owner: desk, due_in: 2h}\n"
    )
    (rules / "owners.yaml").write_text(OWNERS.replace("rules:\n", f"rules:\n{rule}"))
    return rules


async def is_counted_once(*services: Retailer | Replica) -> bool:
    return counted("exceptions_resolved_total", *services, kind="late_shipment", resolution="rerouted") == 1


async def test_policy_reroutes_a_late_shipment(retailers: RetailerMaker, rerouting: Path) -> None:
    shop = await retailers.make(rerouting)
    await shop.has_done("count_exceptions")
    await shop.stock({("MUG", "dc"): 1, ("MUG", "north"): 1})
    sold = await late(shop)

    async with replica_on(shop.database_url, rerouting) as first, replica_on(shop.database_url, rerouting) as second:
        await asyncio.gather(*(replica.sweep() for replica in (first, second) * 3))

        # The service sweeps too, and may count what it did a moment after that is seen.
        await eventually(partial(is_counted_once, shop, first, second))
    latest = await shop.get(sold.allocation_id)
    (exception,) = latest.exceptions
    assert (exception.state, exception.resolved_by, exception.needs_person) == (Record.STATE_RESOLVED, "policy", False)
    assert exception.note == "Rerouted 1 unit to north (late shipment)."
    assert [event.event for event in latest.timeline] == ["sold", "rerouted"]
    assert not latest.allocation.needs_person
    assert (await shop.ledger()).balanced


async def test_a_late_shipment_that_policy_cannot_reroute_needs_a_person(
    retailers: RetailerMaker, rerouting: Path
) -> None:
    shop = await retailers.make(rerouting)
    await shop.has_done("count_exceptions")
    await shop.stock({("MUG", "dc"): 1})
    sold = await late(shop)

    async with replica_on(shop.database_url, rerouting) as replica:
        await replica.sweep()

    latest = await shop.get(sold.allocation_id)
    assert [(exception.kind, exception.needs_person) for exception in latest.exceptions] == [("late_shipment", True)]
    assert latest.allocation.needs_person
    assert (await shop.level("MUG", "dc")).allocated_count == 1


async def test_an_order_with_two_exceptions_is_one_manual_intervention(shop: Retailer, replica: Replica) -> None:
    await oversold(shop, units=4)
    await shop.sql("UPDATE shipment SET ship_by_time = now() - interval '1 min'")

    await replica.sweep()

    assert {exception.kind for exception in await shop.open_exceptions()} == {"oversell", "late_shipment"}
    reasons = ("oversell", "late_shipment")
    assert sum(counted("manual_interventions_total", shop, replica, channel="web", reason=r) for r in reasons) == 1


# Stuck orders


async def neglected(shop: Retailer) -> allocation_pb.Allocation:
    """An order with short units whose exception was resolved as OTHER a day ago, without any event since."""
    sold, raised = await oversold(shop)
    await shop.resolve(raised.exception_id, OTHER, note="store will call")
    await age_orders(shop)
    return sold


async def age_orders(shop: Retailer) -> None:
    """Makes all orders and events 25 hours older."""
    for column, table in (("event_time", "order_event"), ("update_time", "allocation")):
        await shop.sql(f"UPDATE {table} SET {column} = {column} - interval '25 hours'")


async def test_an_order_without_progress_is_stuck(shop: Retailer, replica: Replica) -> None:
    sold = await neglected(shop)

    await replica.sweep()
    await replica.sweep()

    (exception,) = await shop.open_exceptions()
    assert (exception.kind, exception.allocation_id, exception.channel_id) == ("stuck_order", sold.allocation_id, "web")
    assert exception.repeat_count == 0


async def test_an_order_with_an_open_exception_is_not_stuck(shop: Retailer, replica: Replica) -> None:
    await oversold(shop)
    await age_orders(shop)

    await replica.sweep()

    assert [exception.kind for exception in await shop.open_exceptions()] == ["oversell"]


async def test_a_backordered_order_is_not_stuck(shop: Retailer, replica: Replica) -> None:
    _, raised = await oversold(shop)
    await shop.resolve(raised.exception_id, exception_pb2.EXCEPTION_RESOLUTION_BACKORDERED)
    await age_orders(shop)

    await replica.sweep()

    assert not await shop.open_exceptions()


async def test_progress_of_a_stuck_order_resolves_its_exception(shop: Retailer, replica: Replica) -> None:
    sold = await neglected(shop)
    await replica.sweep()
    await shop.cancel(sold.allocation_id, {"1": 3})

    await replica.sweep()

    stuck = (await exceptions_of(shop, sold))[-1]
    assert (stuck.state, stuck.resolution) == (Record.STATE_RESOLVED, COMPLETED)


async def test_the_short_units_of_a_stuck_order_can_be_cancelled(shop: Retailer, replica: Replica) -> None:
    sold = await neglected(shop)
    await replica.sweep()
    (exception,) = await shop.open_exceptions()

    await shop.resolve(exception.exception_id, CANCELLED)

    (line,) = (await shop.get(sold.allocation_id)).allocation.lines
    assert (line.promised_count, line.short_count, line.cancelled_count) == (2, 0, 3)


# Metrics and batches


async def test_the_gauge_shows_open_exceptions_by_desk(shop: Retailer, replica: Replica) -> None:
    _, raised = await oversold(shop)
    await oversold(shop, "A-2", 1)
    await replica.sweep()
    before = replica.metric("exceptions_open", kind="oversell", owner="desk")
    await shop.resolve(raised.exception_id, CANCELLED)

    await replica.sweep()

    assert (before, replica.metric("exceptions_open", kind="oversell", owner="desk")) == (2, 1)


async def test_metrics_show_what_is_overdue_and_how_long_resolved_exceptions_were_open(
    shop: Retailer, replica: Replica
) -> None:
    _, resolved = await oversold(shop)
    await oversold(shop, "A-2", 1)
    await shop.sql("UPDATE exception SET due_time = now() - interval '1 s', create_time = now() - interval '2 h'")
    await shop.sql("UPDATE exception SET escalate_to = NULL")
    await replica.sweep()
    before = replica.metric("exceptions_overdue", kind="oversell", owner="desk")
    await shop.resolve(resolved.exception_id, CANCELLED)

    await replica.sweep()

    assert (before, replica.metric("exceptions_overdue", kind="oversell", owner="desk")) == (2, 1)
    assert counted("owner_exceptions_total", shop, replica, kind="oversell", owner="desk") == 2
    assert counted("exception_resolve_seconds_count", shop, replica, kind="oversell", owner="desk") == 1
    assert 7200 <= counted("exception_resolve_seconds_sum", shop, replica, kind="oversell") < 7300


async def test_a_sweep_processes_more_than_one_batch(shop: Retailer, replica: Replica) -> None:
    # None of these feeds is declared, so that a check of feeds would resolve their exceptions.
    await shop.has_done("check_feed_silence")
    ids = ", ".join(f"('f-{turn}')" for turn in range(230))
    await shop.sql(
        "INSERT INTO exception (id, subject, kind, state, description, policy_revision, create_time, owner, due_time, "
        "escalate_to, action, rule) SELECT gen_random_uuid(), name, 'stale_feed', 'open', '', '', now(), 'desk', "
        f"now() - interval '1 s', 'lead', 'review', 'r' FROM (VALUES {ids}) AS feeds (name)"
    )

    await replica.sweep()

    assert {exception.owner for exception in await shop.open_exceptions(page_size=1000)} == {"lead"}


# Orders on hold


async def on_hold(shop: Retailer, reason: str = "fraud check") -> allocation_pb.Allocation:
    """A sold order on hold that should have been released a minute ago."""
    hold = order_pb2.OrderHold(reason=reason)
    hold.until.FromDatetime(datetime.now(UTC) - timedelta(minutes=1))
    return await shop.allocate("A-1", {"MUG": 1}, hold=hold)


async def release_hold(shop: Retailer, order: allocation_pb.Allocation) -> allocation_pb.Allocation:
    request = allocation_pb.ReleaseOrderHoldRequest(allocation_id=order.allocation_id)
    released: allocation_pb.Allocation = (await shop.allocations.ReleaseOrderHold(request)).allocation
    return released


async def test_an_order_on_hold_for_too_long_has_an_owner_once_and_stays_on_hold(
    shop: Retailer, replica: Replica
) -> None:
    held = await on_hold(shop)
    await replica.sweep()
    await replica.sweep()

    latest = (await shop.get(held.allocation_id)).allocation
    (raised,) = await exceptions_of(shop, held)
    assert (raised.kind, raised.owner, raised.state) == ("hold_overdue", "operations", Record.STATE_OPEN)
    assert raised.order_id == "A-1"
    assert "fraud check" in raised.description
    assert (latest.status, latest.needs_person) == (order_pb2.ORDER_STATUS_ON_HOLD, True)
    assert (await shop.level("MUG", "dc")).allocated_count == 1
    assert counted("exceptions_total", shop, replica, kind="hold_overdue", channel="web") == 1
    assert counted("manual_interventions_total", shop, replica, channel="web", reason="hold_overdue") == 1


async def test_a_release_resolves_the_exception_about_the_hold(shop: Retailer, replica: Replica) -> None:
    held = await on_hold(shop)
    await replica.sweep()

    await release_hold(shop, held)
    await replica.sweep()

    (raised,) = await exceptions_of(shop, held)
    assert (raised.state, raised.resolution) == (Record.STATE_RESOLVED, COMPLETED)
    assert counted("exceptions_resolved_total", shop, replica, kind="hold_overdue", resolution="completed") == 1


async def test_a_hold_that_is_put_off_is_overdue_again_at_its_new_end(shop: Retailer, replica: Replica) -> None:
    held = await on_hold(shop)
    await replica.sweep()

    later = order_pb2.OrderHold(reason="fraud check")
    later.until.FromDatetime(datetime.now(UTC) + timedelta(hours=1))
    await shop.allocate("A-1", {"MUG": 1}, hold=later)
    put_off = [raised.state for raised in await exceptions_of(shop, held)]
    await shop.sql("UPDATE allocation SET hold_until = clock_timestamp()")
    await replica.sweep()

    assert put_off == [Record.STATE_RESOLVED]
    assert [raised.state for raised in await exceptions_of(shop, held)] == [Record.STATE_RESOLVED, Record.STATE_OPEN]


async def test_a_hold_without_an_end_is_overdue_after_a_week(shop: Retailer, replica: Replica) -> None:
    held = await shop.allocate("A-1", {"MUG": 1}, hold=order_pb2.OrderHold(reason="fraud check"))
    await shop.sql("UPDATE allocation SET hold_time = now() - interval '6 days'")
    await replica.sweep()
    early = await exceptions_of(shop, held)
    await shop.sql("UPDATE allocation SET hold_time = now() - interval '7 days'")
    await replica.sweep()

    assert early == []
    assert [raised.kind for raised in await exceptions_of(shop, held)] == ["hold_overdue"]


async def test_a_person_may_cancel_an_order_that_is_on_hold_for_too_long(shop: Retailer, replica: Replica) -> None:
    held = await on_hold(shop)
    await replica.sweep()
    (raised,) = await exceptions_of(shop, held)

    await shop.resolve(raised.exception_id, CANCELLED)
    await replica.sweep()

    assert (await shop.get(held.allocation_id)).allocation.status == order_pb2.ORDER_STATUS_CANCELLED
    assert (await shop.level("MUG", "dc")).allocated_count == 0
    assert len(await exceptions_of(shop, held)) == 1


async def test_no_shipment_becomes_late_while_its_order_is_on_hold(shop: Retailer, replica: Replica) -> None:
    held = await shop.allocate("A-1", {"MUG": 1}, hold=order_pb2.OrderHold(reason="fraud check"))
    await shop.sql("UPDATE shipment SET ship_by_time = now() - interval '1 min'")
    await replica.sweep()
    on_hold = await exceptions_of(shop, held)
    # The location has no hours, so its time to ship is counted from the release.
    await release_hold(shop, held)
    await shop.sql("UPDATE shipment SET assign_time = now() - interval '3 days'")
    await replica.sweep()

    assert on_hold == await exceptions_of(shop, held) == []


async def test_a_late_shipment_is_late_again_after_its_order_was_on_hold(shop: Retailer, replica: Replica) -> None:
    sold = await late(shop)
    await replica.sweep()
    held = await shop.allocate("A-1", {"MUG": 1}, hold=order_pb2.OrderHold(reason="fraud check"))
    await replica.sweep()
    while_on_hold = [raised.state for raised in await exceptions_of(shop, sold)]

    released = await release_hold(shop, held)
    await replica.sweep()
    just_released = [raised.state for raised in await exceptions_of(shop, sold)]
    await shop.sql("UPDATE shipment SET ship_by_time = now() - interval '1 min'")
    await replica.sweep()

    assert while_on_hold == just_released == [Record.STATE_RESOLVED]
    assert released.shipments[0].assign_time.ToDatetime() > sold.shipments[0].assign_time.ToDatetime()
    assert [raised.kind for raised in await exceptions_of(shop, sold)] == ["late_shipment", "late_shipment"]
