"""What somebody has to settle: listed, given to people, settled, and what that does to the order. Through the API."""

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
    DEAR,
    OTHER,
    REROUTED,
    Record,
    assign,
    got,
    line,
    oversold,
    receive,
    report,
    write_rules,
)
from tests.retailer import Retailer, promised
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
    """A shop with two mugs in its warehouse, and rules that say who settles what."""
    shop = await retailers.make(rules)
    await shop.stock({("MUG", "dc"): 2})
    return shop


# Who, until when


async def test_an_exception_says_which_order_product_and_channel_it_is_about(shop: Retailer) -> None:
    sold, raised = await oversold(shop)

    found = await got(shop, raised.exception_id)

    assert found.exception == raised
    assert (raised.allocation_id, raised.channel_id, raised.sku) == (sold.allocation_id, "web", "MUG")
    assert raised.order_id == sold.order_id
    assert (raised.owner, raised.needs_person, raised.policy_revision != "") == ("desk", True, True)
    assert [(one.event, one.actor) for one in found.history] == [("raised", "policy")]


async def test_what_is_due_first_is_listed_first_page_by_page(shop: Retailer) -> None:
    await oversold(shop)
    for name in ("a", "b", "c"):
        await report(shop, source=name)
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

    assert [one.source or one.kind for one in listed] == ["c", "oversell", "a", "b"]


async def test_a_list_is_of_the_kinds_desks_channels_and_orders_that_are_asked_for(shop: Retailer) -> None:
    sold, raised = await oversold(shop)
    failed = await report(shop, channel_id="web")
    other = await report(shop, source="till")

    async def listed(**filters: Any) -> set[str]:
        return {one.exception_id for one in await shop.open_exceptions(**filters)}

    assert await listed() == {raised.exception_id, failed.exception_id, other.exception_id}
    assert await listed(kinds=["oversell"]) == {raised.exception_id}
    assert await listed(owners=["operations"]) == {failed.exception_id, other.exception_id}
    assert await listed(channel_ids=["web"]) == {raised.exception_id, failed.exception_id}
    assert await listed(allocation_id=sold.allocation_id) == {raised.exception_id}
    assert await listed(overdue_only=True) == set()


async def test_what_is_overdue_is_listed_until_it_is_settled(shop: Retailer) -> None:
    _, raised = await oversold(shop)
    await shop.sql("UPDATE exception SET due_time = now() - interval '1 min'")
    request = exception_pb.ListExceptionsRequest(overdue_only=True)

    overdue = (await shop.exceptions.ListExceptions(request)).exceptions
    await shop.resolve(raised.exception_id, CANCELLED)

    assert [one.exception_id for one in overdue] == [raised.exception_id]
    assert not (await shop.exceptions.ListExceptions(request)).exceptions


async def test_an_exception_is_given_to_a_person_moved_to_a_desk_and_taken_back(shop: Retailer) -> None:
    sold, raised = await oversold(shop)

    given = await assign(shop, raised.exception_id, assignee="anna")
    moved_on = await assign(shop, raised.exception_id, assignee="ben", owner="stores")
    taken = await assign(shop, raised.exception_id)

    assert (given.assignee, given.owner) == ("anna", "desk")
    assert (moved_on.assignee, moved_on.owner) == ("ben", "stores")
    assert (taken.assignee, taken.owner) == ("", "stores")
    history = (await got(shop, raised.exception_id)).history
    assert [(one.actor, one.description) for one in history[1:]] == [
        ("boss", "Given to anna."),
        ("boss", "Moved from desk to stores and given to ben."),
        ("boss", "Taken from ben."),
    ]
    seen = await shop.get(sold.allocation_id)
    assert [one.event for one in seen.timeline][1:] == ["exception_assigned"] * 3
    assert seen.allocation.version > sold.version


async def test_what_is_settled_is_given_to_nobody(shop: Retailer) -> None:
    _, raised = await oversold(shop)
    await shop.resolve(raised.exception_id, CANCELLED)

    error = await refused(assign(shop, raised.exception_id, assignee="anna"))

    assert error.is_(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    assert "settled already, as cancelled by anna" in error.message


async def test_a_deadline_is_as_long_as_the_rule_says(shop: Retailer) -> None:
    raised = await report(shop)

    assert raised.due_time.ToDatetime() - raised.create_time.ToDatetime() == timedelta(days=1)


# How it is settled


async def test_cancelling_takes_the_short_units_off_the_order(shop: Retailer) -> None:
    sold, raised = await oversold(shop)

    settled = await shop.resolve(raised.exception_id, CANCELLED, note="the shopper was told")
    seen = await shop.get(sold.allocation_id)

    assert (settled.state, settled.resolution) == (Record.STATE_RESOLVED, CANCELLED)
    assert (settled.resolved_by, settled.note) == ("anna", "the shopper was told")
    assert line(seen.allocation) == (2, 0, 0, 3)
    assert seen.allocation.outcome == order_pb2.OUTCOME_ALLOCATED
    assert [one.event for one in seen.timeline] == ["sold", "cancelled", "exception_resolved"]
    assert shop.metric("cancelled_units_total", channel="web") == 3
    assert shop.metric("exceptions_resolved_total", kind="oversell", resolution="cancelled") == 1
    assert (await shop.ledger()).balanced


async def test_an_order_of_which_nothing_is_left_is_cancelled(shop: Retailer) -> None:
    await shop.allocate("A-0", {"MUG": 2})
    sold, raised = await oversold(shop)

    await shop.resolve(raised.exception_id, CANCELLED)

    assert (await shop.get(sold.allocation_id)).allocation.state == allocation_pb.Allocation.STATE_CANCELLED


async def test_units_that_are_backordered_wait_for_stock(shop: Retailer) -> None:
    sold, raised = await oversold(shop)

    await shop.resolve(raised.exception_id, BACKORDERED)
    seen = await shop.get(sold.allocation_id)

    assert line(seen.allocation) == (2, 0, 3, 0)
    assert seen.allocation.outcome == order_pb2.OUTCOME_PARTLY_ALLOCATED
    assert seen.timeline[1].description == "3 units that were short wait for stock."


async def test_an_order_that_waits_as_a_whole_is_backordered(shop: Retailer) -> None:
    await shop.allocate("A-0", {"MUG": 2})
    sold, raised = await oversold(shop)

    await shop.resolve(raised.exception_id, BACKORDERED)

    assert (await shop.get(sold.allocation_id)).allocation.outcome == order_pb2.OUTCOME_BACKORDERED


async def test_rerouting_places_the_short_units_where_there_is_stock_by_now(shop: Retailer) -> None:
    sold, raised = await oversold(shop)
    await shop.stock({("MUG", "north"): 3})

    await shop.resolve(raised.exception_id, REROUTED)
    seen = await shop.get(sold.allocation_id)

    assert promised(seen.allocation) == {"dc": 2, "north": 3}
    assert line(seen.allocation) == (5, 0, 0, 0)
    assert seen.allocation.outcome == order_pb2.OUTCOME_ALLOCATED
    assert await shop.sellable("MUG") == 0
    assert (await shop.ledger()).balanced


async def test_units_that_cannot_all_be_placed_leave_everything_as_it_was(shop: Retailer) -> None:
    sold, raised = await oversold(shop)
    await receive(shop, 1)

    error = await refused(shop.resolve(raised.exception_id, REROUTED))
    seen = await shop.get(sold.allocation_id)

    assert error.is_(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    assert "2 units of 3 cannot be placed" in error.message
    assert seen.exceptions[0].state == Record.STATE_OPEN
    assert line(seen.allocation) == (2, 3, 0, 0)
    assert await shop.sellable("MUG") == 1


async def test_an_approved_plan_goes_out_as_it_is(shop: Retailer) -> None:
    sold = await shop.allocate("A-1", {"MUG": 1}, order_value=DEAR)
    (raised,) = (await shop.get(sold.allocation_id)).exceptions

    await shop.resolve(raised.exception_id, APPROVED)
    seen = await shop.get(sold.allocation_id)

    assert seen.allocation.outcome == order_pb2.OUTCOME_ALLOCATED
    assert [one.event for one in seen.timeline] == ["sold", "approved", "exception_resolved"]
    assert promised(seen.allocation) == {"dc": 1}


async def test_a_plan_goes_out_once_every_review_has_approved_it(shop: Retailer) -> None:
    sold = await shop.allocate("A-1", {"MUG": 1}, order_value=DEAR, tags=["urgent"])
    first, second = (await shop.get(sold.allocation_id)).exceptions

    await shop.resolve(first.exception_id, APPROVED)
    between = (await shop.get(sold.allocation_id)).allocation.outcome
    await shop.resolve(second.exception_id, APPROVED)

    assert between == order_pb2.OUTCOME_NEEDS_REVIEW
    assert (await shop.get(sold.allocation_id)).allocation.outcome == order_pb2.OUTCOME_ALLOCATED


async def test_cancelling_a_reviewed_order_gives_its_units_back(shop: Retailer) -> None:
    sold = await shop.allocate("A-1", {"MUG": 1}, order_value=DEAR, tags=["urgent"])
    first, second = (await shop.get(sold.allocation_id)).exceptions

    await shop.resolve(first.exception_id, CANCELLED)

    assert (await shop.get(sold.allocation_id)).allocation.state == allocation_pb.Allocation.STATE_CANCELLED
    assert (await got(shop, second.exception_id)).exception.state == Record.STATE_SUPERSEDED
    assert await shop.sellable("MUG") == 2
    assert (await shop.ledger()).balanced


async def test_what_was_settled_elsewhere_says_how_and_changes_nothing(shop: Retailer) -> None:
    sold, raised = await oversold(shop)

    settled = await shop.resolve(raised.exception_id, OTHER, note="sent from a friendly shop")
    seen = await shop.get(sold.allocation_id)

    assert settled.note == "sent from a friendly shop"
    assert line(seen.allocation) == (2, 3, 0, 0)
    assert seen.timeline[-1].description == "Oversell, by anna: Settled: other. sent from a friendly shop"


async def test_only_the_units_of_the_exception_are_taken_off(shop: Retailer) -> None:
    await shop.stock({("CUP", "dc"): 1})
    sold = await shop.allocate("A-1", [("MUG", 3), ("CUP", 2)])
    await shop.sql("UPDATE exception SET line_ids = '{1}'")
    (raised,) = (await shop.get(sold.allocation_id)).exceptions

    await shop.resolve(raised.exception_id, CANCELLED)

    lines = (await shop.get(sold.allocation_id)).allocation.lines
    assert [(one.sku, one.short_count, one.cancelled_count) for one in lines] == [("MUG", 0, 1), ("CUP", 1, 0)]


@pytest.mark.parametrize("kind", ["oversell", "review", "sync_failed"])
async def test_a_resolution_that_does_not_fit_is_refused_with_those_that_do(shop: Retailer, kind: str) -> None:
    if kind == "oversell":
        await oversold(shop)
    elif kind == "review":
        await shop.allocate("A-1", {"MUG": 1}, order_value=DEAR)
    else:
        await report(shop)
    (raised,) = await shop.open_exceptions()
    wrong = next(
        number
        for name, number in exception_pb2.ExceptionResolution.items()
        if number and name.removeprefix("EXCEPTION_RESOLUTION_").lower() not in ALLOWED[kind]
    )

    error = await refused(shop.resolve(raised.exception_id, wrong))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "resolution")
    assert all(f"EXCEPTION_RESOLUTION_{word.upper()}" in error.message for word in ALLOWED[kind])


async def test_an_exception_is_settled_once(shop: Retailer) -> None:
    _, raised = await oversold(shop)
    await shop.resolve(raised.exception_id, BACKORDERED)

    error = await refused(shop.resolve(raised.exception_id, CANCELLED, actor="ben"))

    assert error.is_(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    assert "settled already, as backordered by anna" in error.message


async def test_an_order_that_is_planned_anew_takes_its_open_exceptions_with_it(shop: Retailer) -> None:
    _, raised = await oversold(shop)
    await shop.allocate("A-1", {"MUG": 2})

    found = await got(shop, raised.exception_id)
    error = await refused(shop.resolve(raised.exception_id, CANCELLED))

    assert found.exception.state == Record.STATE_SUPERSEDED
    assert [one.event for one in found.history] == ["raised", "superseded"]
    assert error.is_(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")


async def test_an_exception_whose_units_are_cancelled_otherwise_is_overtaken(shop: Retailer) -> None:
    sold, raised = await oversold(shop)

    await shop.cancel(sold.allocation_id, {"1": 3})

    found = await got(shop, raised.exception_id)
    assert found.exception.state == Record.STATE_SUPERSEDED
    assert found.history[-1].description == "Nothing is left of the order that it was about."


async def test_an_exception_with_units_still_short_stays_open(shop: Retailer) -> None:
    sold, raised = await oversold(shop)

    await shop.cancel(sold.allocation_id, {"1": 1})

    assert (await got(shop, raised.exception_id)).exception.state == Record.STATE_OPEN
