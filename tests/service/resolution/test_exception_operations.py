"""Exceptions through the API: listed, assigned and resolved, and the effect on their orders."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from policies.domain.resolutions import ALLOWED
from tests.conftest import RetailerMaker
from tests.exception_shop import (
    APPROVED,
    BACKORDERED,
    CANCELLED,
    HIGH_VALUE,
    OTHER,
    REROUTED,
    Record,
    assign,
    get_exception,
    line_counts,
    oversold,
    receive,
    report_failure,
    write_rules,
)
from tests.retailer import Retailer, order_reference, promised
from tests.service.test_bad_input import refused
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
    """A shop with two mugs in its warehouse, and rules that assign exceptions to desks."""
    shop = await retailers.make(rules)
    await shop.stock({("MUG", "dc"): 2})
    return shop


# Lists and assignments


async def test_an_exception_names_its_order_product_and_channel(shop: Retailer) -> None:
    sold, raised = await oversold(shop)

    details = await get_exception(shop, raised.exception_id)

    assert details.exception == raised
    assert (raised.allocation_id, raised.channel_id, raised.sku) == (sold.allocation_id, "web", "MUG")
    assert raised.order_id == sold.order_id
    assert (raised.owner, raised.needs_person, raised.policy_revision != "") == ("desk", True, True)
    assert [(event.event, event.actor) for event in details.history] == [("raised", "policy")]


async def test_exceptions_are_listed_by_due_date_page_by_page(shop: Retailer) -> None:
    await oversold(shop)
    for name in ("a", "b", "c"):
        await report_failure(shop, source=name)
    await shop.sql("UPDATE exception SET due_time = now() + interval '1 h' WHERE source = 'c'")
    await shop.sql("UPDATE exception SET due_time = now() + interval '3 h' WHERE source IN ('a', 'b')")

    listed: list[Record] = []
    token = ""
    while True:
        request = exception_pb.ListExceptionsRequest(page_size=1, page_token=token)
        page = await shop.exceptions.ListExceptions(request)
        listed += page.exceptions
        token = page.next_page_token
        if not token:
            break

    assert [exception.source or exception.kind for exception in listed] == ["c", "oversell", "a", "b"]


async def test_a_list_is_filtered_by_kind_desk_channel_and_order(shop: Retailer) -> None:
    sold, raised = await oversold(shop)
    failed = await report_failure(shop, channel_id="web")
    till_failure = await report_failure(shop, source="till")

    async def listed(**filters: Any) -> set[str]:
        return {exception.exception_id for exception in await shop.open_exceptions(**filters)}

    assert await listed() == {raised.exception_id, failed.exception_id, till_failure.exception_id}
    assert await listed(kinds=["oversell"]) == {raised.exception_id}
    assert await listed(owners=["operations"]) == {failed.exception_id, till_failure.exception_id}
    assert await listed(channel_ids=["web"]) == {raised.exception_id, failed.exception_id}
    assert await listed(allocation_id=sold.allocation_id) == {raised.exception_id}
    assert await listed(overdue_only=True) == set()


async def test_an_overdue_exception_is_listed_until_it_is_resolved(shop: Retailer) -> None:
    _, raised = await oversold(shop)
    await shop.sql("UPDATE exception SET due_time = now() - interval '1 min'")
    request = exception_pb.ListExceptionsRequest(overdue_only=True)

    overdue = (await shop.exceptions.ListExceptions(request)).exceptions
    await shop.resolve(raised.exception_id, CANCELLED)

    assert [exception.exception_id for exception in overdue] == [raised.exception_id]
    assert not (await shop.exceptions.ListExceptions(request)).exceptions


async def test_an_exception_is_assigned_moved_to_another_desk_and_unassigned(shop: Retailer) -> None:
    sold, raised = await oversold(shop)

    assigned = await assign(shop, raised.exception_id, assignee="anna")
    moved = await assign(shop, raised.exception_id, assignee="ben", owner="stores")
    unassigned = await assign(shop, raised.exception_id)

    assert (assigned.assignee, assigned.owner) == ("anna", "desk")
    assert (moved.assignee, moved.owner) == ("ben", "stores")
    assert (unassigned.assignee, unassigned.owner) == ("", "stores")
    history = (await get_exception(shop, raised.exception_id)).history
    assert [(event.actor, event.description) for event in history[1:]] == [
        ("boss", "Assigned to anna."),
        ("boss", "Moved from desk to stores and assigned to ben."),
        ("boss", "Unassigned from ben."),
    ]
    response = await shop.get(sold.allocation_id)
    assert [event.event for event in response.timeline][1:] == ["exception_assigned"] * 3
    assert response.allocation.version > sold.version


async def test_the_history_spells_people_and_owners_as_they_were_given(shop: Retailer) -> None:
    _, raised = await oversold(shop)

    await assign(shop, raised.exception_id, assignee="Anna McCoy", owner="EU-stores")

    history = (await get_exception(shop, raised.exception_id)).history
    assert history[-1].description == "Moved from desk to EU-stores and assigned to Anna McCoy."


async def test_a_resolved_exception_cannot_be_assigned(shop: Retailer) -> None:
    _, raised = await oversold(shop)
    await shop.resolve(raised.exception_id, CANCELLED)

    error = await refused(assign(shop, raised.exception_id, assignee="anna"))

    assert error.is_(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    assert "already resolved as cancelled by anna" in error.message


async def test_the_due_time_is_that_of_the_rule(shop: Retailer) -> None:
    raised = await report_failure(shop)

    assert raised.due_time.ToDatetime() - raised.create_time.ToDatetime() == timedelta(days=1)


# Resolutions


async def test_a_resolution_as_cancelled_cancels_the_short_units(shop: Retailer) -> None:
    sold, raised = await oversold(shop)

    resolved = await shop.resolve(raised.exception_id, CANCELLED, note="the shopper was informed")
    response = await shop.get(sold.allocation_id)

    assert (resolved.state, resolved.resolution) == (Record.STATE_RESOLVED, CANCELLED)
    assert (resolved.resolved_by, resolved.note) == ("anna", "the shopper was informed")
    assert line_counts(response.allocation) == (2, 0, 0, 3)
    assert response.allocation.outcome == order_pb2.OUTCOME_ALLOCATED
    assert [event.event for event in response.timeline] == ["sold", "cancelled", "exception_resolved"]
    assert shop.metric("cancelled_units_total", channel="web") == 3
    assert shop.metric("exceptions_resolved_total", kind="oversell", resolution="cancelled") == 1
    assert (await shop.ledger()).balanced


async def test_an_order_without_remaining_units_is_cancelled(shop: Retailer) -> None:
    await shop.allocate("A-0", {"MUG": 2})
    sold, raised = await oversold(shop)

    await shop.resolve(raised.exception_id, CANCELLED)

    assert (await shop.get(sold.allocation_id)).allocation.state == allocation_pb.Allocation.STATE_CANCELLED


async def test_backordered_units_wait_for_stock(shop: Retailer) -> None:
    sold, raised = await oversold(shop)

    await shop.resolve(raised.exception_id, BACKORDERED)
    response = await shop.get(sold.allocation_id)

    assert line_counts(response.allocation) == (2, 0, 3, 0)
    assert response.allocation.outcome == order_pb2.OUTCOME_PARTLY_ALLOCATED
    assert response.timeline[1].description == "Backordered 3 units that were short."


async def test_an_order_with_only_backordered_units_is_backordered(shop: Retailer) -> None:
    await shop.allocate("A-0", {"MUG": 2})
    sold, raised = await oversold(shop)

    await shop.resolve(raised.exception_id, BACKORDERED)

    assert (await shop.get(sold.allocation_id)).allocation.outcome == order_pb2.OUTCOME_BACKORDERED


async def test_rerouting_allocates_short_units_where_stock_has_arrived(shop: Retailer) -> None:
    sold, raised = await oversold(shop)
    await shop.stock({("MUG", "north"): 3})

    await shop.resolve(raised.exception_id, REROUTED)
    response = await shop.get(sold.allocation_id)

    assert promised(response.allocation) == {"dc": 2, "north": 3}
    assert line_counts(response.allocation) == (5, 0, 0, 0)
    assert response.allocation.outcome == order_pb2.OUTCOME_ALLOCATED
    assert await shop.sellable("MUG") == 0
    assert (await shop.ledger()).balanced


async def test_rerouting_that_cannot_allocate_all_units_changes_nothing(shop: Retailer) -> None:
    sold, raised = await oversold(shop)
    await receive(shop, 1)

    error = await refused(shop.resolve(raised.exception_id, REROUTED))
    response = await shop.get(sold.allocation_id)

    assert error.is_(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    assert "2 units of 3 cannot be allocated" in error.message
    assert response.exceptions[0].state == Record.STATE_OPEN
    assert line_counts(response.allocation) == (2, 3, 0, 0)
    assert await shop.sellable("MUG") == 1


async def test_an_approved_plan_is_not_changed(shop: Retailer) -> None:
    sold = await shop.allocate("A-1", {"MUG": 1}, order_value=HIGH_VALUE)
    (raised,) = (await shop.get(sold.allocation_id)).exceptions

    await shop.resolve(raised.exception_id, APPROVED)
    response = await shop.get(sold.allocation_id)

    assert response.allocation.outcome == order_pb2.OUTCOME_ALLOCATED
    assert [event.event for event in response.timeline] == ["sold", "approved", "exception_resolved"]
    assert promised(response.allocation) == {"dc": 1}


async def test_a_plan_is_released_after_all_its_reviews_approve_it(shop: Retailer) -> None:
    sold = await shop.allocate("A-1", {"MUG": 1}, order_value=HIGH_VALUE, tags=["urgent"])
    first, second = (await shop.get(sold.allocation_id)).exceptions

    await shop.resolve(first.exception_id, APPROVED)
    outcome_after_first = (await shop.get(sold.allocation_id)).allocation.outcome
    await shop.resolve(second.exception_id, APPROVED)

    assert outcome_after_first == order_pb2.OUTCOME_NEEDS_REVIEW
    assert (await shop.get(sold.allocation_id)).allocation.outcome == order_pb2.OUTCOME_ALLOCATED


async def test_cancelling_a_reviewed_order_returns_its_units_to_stock(shop: Retailer) -> None:
    sold = await shop.allocate("A-1", {"MUG": 1}, order_value=HIGH_VALUE, tags=["urgent"])
    first, second = (await shop.get(sold.allocation_id)).exceptions

    await shop.resolve(first.exception_id, CANCELLED)

    assert (await shop.get(sold.allocation_id)).allocation.state == allocation_pb.Allocation.STATE_CANCELLED
    assert (await get_exception(shop, second.exception_id)).exception.state == Record.STATE_SUPERSEDED
    assert await shop.sellable("MUG") == 2
    assert (await shop.ledger()).balanced


async def test_a_resolution_as_other_stores_a_note_and_changes_nothing(shop: Retailer) -> None:
    sold, raised = await oversold(shop)

    resolved = await shop.resolve(raised.exception_id, OTHER, note="sent from a friendly shop")
    response = await shop.get(sold.allocation_id)

    assert resolved.note == "sent from a friendly shop"
    assert line_counts(response.allocation) == (2, 3, 0, 0)
    assert response.timeline[-1].description == "Oversell, by anna: Resolved: other. sent from a friendly shop"


async def test_only_the_units_of_the_exception_are_cancelled(shop: Retailer) -> None:
    await shop.stock({("CUP", "dc"): 1})
    sold = await shop.allocate("A-1", [("MUG", 3), ("CUP", 2)])
    await shop.sql("UPDATE exception SET line_ids = '{1}'")
    (raised,) = (await shop.get(sold.allocation_id)).exceptions

    await shop.resolve(raised.exception_id, CANCELLED)

    lines = (await shop.get(sold.allocation_id)).allocation.lines
    assert [(line.sku, line.short_count, line.cancelled_count) for line in lines] == [("MUG", 0, 1), ("CUP", 1, 0)]


@pytest.mark.parametrize("kind", ["oversell", "review", "sync_failed"])
async def test_a_resolution_that_the_kind_does_not_allow_is_refused(shop: Retailer, kind: str) -> None:
    if kind == "oversell":
        await oversold(shop)
    elif kind == "review":
        await shop.allocate("A-1", {"MUG": 1}, order_value=HIGH_VALUE)
    else:
        await report_failure(shop)
    (raised,) = await shop.open_exceptions()
    not_allowed = next(
        number
        for name, number in exception_pb2.ExceptionResolution.items()
        if number and name.removeprefix("EXCEPTION_RESOLUTION_").lower() not in ALLOWED[kind]
    )

    error = await refused(shop.resolve(raised.exception_id, not_allowed))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "resolution")
    assert all(f"EXCEPTION_RESOLUTION_{word.upper()}" in error.message for word in ALLOWED[kind])


async def test_an_exception_is_resolved_once(shop: Retailer) -> None:
    _, raised = await oversold(shop)
    await shop.resolve(raised.exception_id, BACKORDERED)

    error = await refused(shop.resolve(raised.exception_id, CANCELLED, actor="ben"))

    assert error.is_(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    assert "already resolved as backordered by anna" in error.message


async def test_replanning_an_order_supersedes_its_open_exceptions(shop: Retailer) -> None:
    _, raised = await oversold(shop)
    await shop.allocate("A-1", {"MUG": 2})

    details = await get_exception(shop, raised.exception_id)
    error = await refused(shop.resolve(raised.exception_id, CANCELLED))

    assert details.exception.state == Record.STATE_SUPERSEDED
    assert [event.event for event in details.history] == ["raised", "superseded"]
    assert error.is_(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")


async def test_cancelling_the_short_units_supersedes_their_exception(shop: Retailer) -> None:
    sold, raised = await oversold(shop)

    await shop.cancel(sold.allocation_id, {"1": 3})

    details = await get_exception(shop, raised.exception_id)
    assert details.exception.state == Record.STATE_SUPERSEDED
    assert details.history[-1].description == "The problem that it reported no longer exists."


async def test_an_exception_with_units_still_short_stays_open(shop: Retailer) -> None:
    sold, raised = await oversold(shop)

    await shop.cancel(sold.allocation_id, {"1": 1})

    assert (await get_exception(shop, raised.exception_id)).exception.state == Record.STATE_OPEN


async def test_a_reported_failure_names_its_order(shop: Retailer) -> None:
    sold, other = await shop.allocate("A-1", {"MUG": 1}), await shop.allocate("A-2", {"MUG": 1})
    for order_id in ("A-1", "A-1", "A-2"):
        raised = await report_failure(shop, order=order_reference(f"web/{order_id}"), description="no label")

    found = await shop.get(sold.allocation_id)
    assert [(x.kind, x.order_id, x.channel_id, x.repeat_count) for x in found.exceptions] == [
        ("sync_failed", "A-1", "web", 1)
    ]
    assert (raised.order_id, raised.allocation_id) == ("A-2", other.allocation_id)
    assert found.allocation.needs_person
    assert [event.event for event in found.timeline] == ["sold", "sync_failed"]
    assert found.timeline[-1].description == "no label"
    assert shop.metric("manual_interventions_total", channel="web", reason="sync_failed") == 2


async def test_a_reported_failure_names_one_channel(shop: Retailer) -> None:
    two_channels = await refused(report_failure(shop, channel_id="pos", order=order_reference("web/nobody")))

    assert two_channels.code is grpc.StatusCode.INVALID_ARGUMENT
    assert await shop.open_exceptions() == []
