"""A shopper asks through the channel to cancel: a rule, a person or the channel's default answers by the deadline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.conftest import RetailerMaker
from tests.exception_shop import CANCELLED, ROUTING, Record
from tests.retailer import (
    HOLD,
    SOLD,
    Retailer,
    State,
    bad_fields,
    eventually,
    order_reference,
    order_request,
    promised,
    refused,
    request_id,
)
from truestock.v1 import allocation_service_pb2 as allocation_pb, catalog_service_pb2 as catalog_pb, exception_pb2

Request = allocation_pb.CancellationRequest
REQUESTED, ACCEPTED = Request.STATE_REQUESTED, Request.STATE_ACCEPTED
DECLINED_STATE, WITHDRAWN = Request.STATE_DECLINED, Request.STATE_WITHDRAWN
DECLINED = exception_pb2.EXCEPTION_RESOLUTION_DECLINED
RULES = """\
kind: exception
rules:
  - {name: at-once, position: 10, do: cancel, owner: care, due_in: 1h,
     when: {exception.kind: cancel_requested, cancellation.work_started: false, cancellation.fault: seller}}
  - {name: wait, position: 15, when: {exception.kind: oversell}, do: backorder, owner: desk, due_in: 2h}
  - {name: ask, position: 20, when: {exception.kind: cancel_requested}, do: review, owner: desk, due_in: 2h}
  - {name: rest, position: 100, do: review, owner: operations, due_in: 1d}
"""


@pytest.fixture
async def shop(retailers: RetailerMaker, tmp_path: Path) -> Retailer:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "routing.yaml").write_text(ROUTING)
    (rules / "exceptions.yaml").write_text(RULES)
    shop = await retailers.make(rules)
    await shop.stock({("MUG", "dc"): 10, ("CUP", "dc"): 10})
    return shop


async def ask(
    shop: Retailer, name: str = "web/A-1", lines: dict[str, int] | None = None, **fields: Any
) -> allocation_pb.RequestCancellationResponse:
    cancellations = [
        allocation_pb.LineCancellation(line_id=id, unit_count=count) for id, count in (lines or {}).items()
    ]
    request = allocation_pb.RequestCancellationRequest(
        order=order_reference(name),
        lines=cancellations,
        whole_order=lines is None and not fields.get("withdraw"),
        deadline=moment(fields.pop("hours", 24)),
        **fields,
    )
    answer: allocation_pb.RequestCancellationResponse = await shop.allocations.RequestCancellation(request)
    return answer


async def test_a_request_to_cancel_a_hold_that_has_just_expired_leaves_its_units_released(shop: Retailer) -> None:
    held = await shop.allocate("A-1", {"MUG": 2, "CUP": 1}, HOLD)
    await shop.expire(held)
    asked = (await ask(shop)).cancellation_request
    after = await shop.allocate("A-2", {"MUG": 10}, HOLD)

    assert asked.state == Request.STATE_ACCEPTED
    assert promised(after) == {"dc": 10}
    assert (await shop.ledger()).balanced
    assert await shop.sql("SELECT FROM promise WHERE allocation_id = $1 AND unit_count > 0", held.allocation_id) == []


def moment(hours: float | None) -> Timestamp | None:
    if hours is None:
        return None
    time = Timestamp()
    time.FromDatetime(datetime.now(UTC) + timedelta(hours=hours))
    return time


async def only_exception(shop: Retailer, name: str = "web/A-1") -> Record:
    (raised,) = (await shop.find_order(name)).exceptions
    return raised


async def test_a_request_waits_for_a_person_who_accepts_it(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 3, "CUP": 1})
    asked = await ask(shop, lines={"1": 2}, reason="ordered twice", event_id="c-1")
    raised = await only_exception(shop)
    resolved = await shop.resolve(raised.exception_id, CANCELLED, note="nothing is packed")
    after = await shop.find_order("web/A-1")

    assert (asked.cancellation_request.state, asked.cancellation_request.unit_count) == (REQUESTED, 2)
    assert asked.allocation.cancellation_request == asked.cancellation_request
    assert (asked.allocation.lines[0].cancelled_count, asked.allocation.needs_person) == (0, True)
    assert (raised.kind, raised.owner, raised.state) == ("cancel_requested", "desk", Record.STATE_OPEN)
    assert "asks to cancel 2 units of line 1. Fault: buyer. Reason: ordered twice." in raised.description
    assert resolved.state == Record.STATE_RESOLVED
    answer = after.allocation.cancellation_request
    assert (answer.state, answer.cancelled_count, answer.answered_by) == (ACCEPTED, 2, "anna")
    assert (answer.answer_reason, answer.exception_id) == ("nothing is packed", raised.exception_id)
    assert [line.cancelled_count for line in after.allocation.lines] == [2, 0]
    assert [event.event for event in after.timeline][-3:] == [
        "cancelled",
        "cancellation_accepted",
        "exception_resolved",
    ]
    assert shop.metric("cancelled_units_total", channel="web", fault="buyer") == 2
    assert shop.metric("cancellation_requests_total", channel="web", answer="accepted", by="person") == 1
    assert (await shop.ledger()).balanced


async def test_a_person_declines_a_request_and_the_order_goes_on(shop: Retailer) -> None:
    sold = await shop.allocate("A-1", {"MUG": 3})
    await ask(shop)
    await shop.resolve((await only_exception(shop)).exception_id, DECLINED, note="it is on the truck")
    after = (await shop.get(sold.allocation_id)).allocation

    answer = after.cancellation_request
    assert (answer.state, answer.cancelled_count, answer.answered_by) == (DECLINED_STATE, 0, "anna")
    assert (answer.answer_reason, answer.whole_order, answer.unit_count) == ("it is on the truck", True, 3)
    assert promised(after) == {"dc": 3}


async def test_a_rule_accepts_a_request_at_once_while_no_location_has_begun(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 3})
    begun = await shop.allocate("A-2", {"MUG": 3})
    await shop.accept(begun.shipments[0])
    first, second = (
        await ask(shop, fault="CANCELLATION_FAULT_SELLER"),
        await ask(shop, "web/A-2", fault="CANCELLATION_FAULT_SELLER"),
    )
    raised = await only_exception(shop)

    assert (first.cancellation_request.state, first.cancellation_request.answered_by) == (ACCEPTED, "policy")
    assert (first.allocation.state, first.allocation.needs_person) == (State.STATE_CANCELLED, False)
    (cancelled,) = [x for x in (await shop.find_order("web/A-1")).timeline if x.event == "cancelled"]
    assert cancelled.description.startswith("3 units cancelled: everything that has not shipped.")
    assert (raised.state, raised.needs_person, raised.resolved_by) == (Record.STATE_RESOLVED, False, "policy")
    assert (second.cancellation_request.state, second.allocation.needs_person) == (REQUESTED, True)
    assert shop.metric("cancellation_requests_total", channel="web", answer="accepted", by="rule") == 1


async def test_units_of_an_accepted_request_go_to_an_order_that_waits_for_them(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 10})
    await shop.allocate("A-2", {"MUG": 4})
    await ask(shop, fault="CANCELLATION_FAULT_SELLER")

    assert promised((await shop.find_order("web/A-2")).allocation) == {"dc": 4}


async def test_the_exception_is_due_at_the_deadline_at_the_latest(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 3})
    await shop.allocate("A-2", {"MUG": 3})
    early = await ask(shop, hours=1)
    await ask(shop, "web/A-2", hours=None)
    of_early, of_late = await only_exception(shop), await only_exception(shop, "web/A-2")

    assert of_early.due_time == early.cancellation_request.deadline
    assert of_late.due_time.ToDatetime() - of_late.create_time.ToDatetime() == timedelta(hours=2)


async def test_units_that_shipped_meanwhile_are_declined_and_the_others_are_cancelled(shop: Retailer) -> None:
    sold = await shop.allocate("A-1", {"MUG": 5})
    await ask(shop)
    await shop.ship(sold.shipments[0], {"1": 2})
    await shop.resolve((await only_exception(shop)).exception_id, CANCELLED)
    after = (await shop.get(sold.allocation_id)).allocation

    answer = after.cancellation_request
    assert (answer.state, answer.unit_count, answer.cancelled_count) == (ACCEPTED, 5, 3)
    assert (after.lines[0].shipped_count, after.lines[0].cancelled_count) == (2, 3)
    assert [x.kind for x in (await shop.get(sold.allocation_id)).exceptions] == ["cancel_requested"]


async def test_a_request_is_declined_when_all_of_its_units_ship(shop: Retailer) -> None:
    sold = await shop.allocate("A-1", {"MUG": 2, "CUP": 1})
    await ask(shop, lines={"1": 1})
    shipped = await shop.ship(sold.shipments[0], {"1": 2})
    raised = await only_exception(shop)

    answer = shipped.cancellation_request
    assert (answer.state, answer.answered_by) == (DECLINED_STATE, "policy")
    assert answer.answer_reason == "Nothing is left to cancel: 2 units have shipped."
    assert (raised.state, raised.resolution) == (Record.STATE_RESOLVED, DECLINED)
    assert shop.metric("exceptions_resolved_total", kind="cancel_requested", resolution="declined") == 1
    assert (await refused(shop.resolve(raised.exception_id, CANCELLED))).code() == grpc.StatusCode.FAILED_PRECONDITION


async def test_a_request_of_which_nothing_is_left_needs_nobody(shop: Retailer) -> None:
    sold = await shop.allocate("A-1", {"MUG": 2})
    await shop.ship(sold.shipments[0])
    await shop.allocate("A-2", {"MUG": 2})
    await shop.cancel_order("web/A-2")

    assert (await ask(shop)).cancellation_request.state == DECLINED_STATE
    assert (await ask(shop, "web/A-2")).cancellation_request.state == ACCEPTED
    assert await shop.open_exceptions() == []


async def test_a_cancellation_by_the_channel_ends_the_request_for_it(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 2})
    await ask(shop)
    cancelled = (await shop.cancel_order("web/A-1")).allocation

    assert (cancelled.cancellation_request.state, cancelled.cancellation_request.cancelled_count) == (ACCEPTED, 0)
    assert (await only_exception(shop)).state == Record.STATE_RESOLVED


@pytest.mark.parametrize(
    ("platform", "own", "state"),
    [
        ("tiktok_shop", "UNSPECIFIED", ACCEPTED),
        ("shopify", "UNSPECIFIED", DECLINED_STATE),
        ("", "UNSPECIFIED", DECLINED_STATE),
        ("tiktok_shop", "DECLINE", DECLINED_STATE),
        ("", "ACCEPT", ACCEPTED),
    ],
)
async def test_an_unanswered_request_gets_the_channels_default_at_its_deadline(
    shop: Retailer, platform: str, own: str, state: int
) -> None:
    channel = catalog_pb.Channel(
        channel_id="door",
        kind=catalog_pb.Channel.KIND_SOCIAL,
        platform=platform,
        cancellation_default=catalog_pb.CancellationDefault.Value(f"CANCELLATION_DEFAULT_{own}"),
    )
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[channel]))
    await shop.allocate("A-1", {"MUG": 3}, channel_id="door")
    await ask(shop, "door/A-1", hours=-0.001)

    async def is_answered() -> bool:
        return (await shop.find_order("door/A-1")).allocation.cancellation_request.state == state

    await eventually(is_answered)
    after = await shop.find_order("door/A-1")
    answer, (raised,) = after.allocation.cancellation_request, after.exceptions
    assert (answer.answered_by, answer.cancelled_count) == ("channel", 3 if state == ACCEPTED else 0)
    assert answer.answer_reason.startswith("Nobody answered by 20")
    assert (raised.state, raised.resolved_by) == (Record.STATE_RESOLVED, "policy")
    assert raised.resolution == (CANCELLED if state == ACCEPTED else DECLINED)
    assert answer.answer_reason in after.timeline[-1].description
    assert shop.metric("cancellation_requests_total", channel="door", by="deadline") == 1


async def test_a_deadline_that_passes_while_no_service_runs_applies_after_the_next_start(
    shop: Retailer, retailers: RetailerMaker
) -> None:
    await shop.allocate("A-1", {"MUG": 3})
    await ask(shop, hours=24)
    await retailers.stop(shop)
    await shop.sql("UPDATE cancellation_request SET deadline = now() - interval '1 hour'")
    restarted = await retailers.make()

    async def is_declined() -> bool:
        return (await restarted.find_order("web/A-1")).allocation.cancellation_request.state == DECLINED_STATE

    await eventually(is_declined)


async def test_a_repeated_request_is_one_and_a_withdrawn_one_ends(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 3})
    first = await ask(shop, event_id="c-1")
    again = await ask(shop, event_id="c-1", reason="another")
    withdrawn = await ask(shop, event_id="c-1", withdraw=True)
    late = await ask(shop, event_id="c-1")

    assert again.cancellation_request == first.cancellation_request
    assert withdrawn.cancellation_request.state == late.cancellation_request.state == WITHDRAWN
    assert (await only_exception(shop)).state == Record.STATE_SUPERSEDED
    assert promised(late.allocation) == {"dc": 3}


async def test_a_withdrawal_that_overtakes_its_request_ends_it(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 3})
    await ask(shop, event_id="c-1", withdraw=True)
    await ask(shop, "web/A-2", event_id="c-1", withdraw=True)
    await ask(shop, "web/A-2", event_id="c-1")
    await shop.allocate("A-2", {"MUG": 3})

    assert (await ask(shop, event_id="c-1")).cancellation_request.state == WITHDRAWN
    assert (await shop.find_order("web/A-2")).allocation.cancellation_request.state == WITHDRAWN
    assert await shop.open_exceptions() == []


async def test_a_request_waits_for_its_order(shop: Retailer) -> None:
    waiting = await ask(shop, lines={"1": 2}, event_id="c-1")
    await ask(shop, lines={"1": 2}, event_id="c-1")
    await ask(shop, "web/A-2", fault="CANCELLATION_FAULT_SELLER")
    preview = await shop.allocate("A-1", {"MUG": 3}, SOLD, validate_only=True)
    cart = await shop.allocate("A-1", {"MUG": 3}, HOLD)
    sold = await shop.allocate("A-1", {"MUG": 3}, SOLD)
    cancelled = await shop.allocate("A-2", {"MUG": 3})
    raised = await only_exception(shop)

    assert not waiting.HasField("allocation")
    assert preview.cancellation_request.state == REQUESTED
    assert (cart.cancellation_request.state, sold.cancellation_request.state) == (REQUESTED, REQUESTED)
    assert (sold.cancellation_request.unit_count, promised(sold)) == (2, {"dc": 3})
    assert raised.state == Record.STATE_OPEN
    assert (cancelled.state, cancelled.cancellation_request.state) == (State.STATE_CANCELLED, ACCEPTED)
    assert len((await shop.find_order("web/A-1")).cancellation_requests) == 1


async def ask_for(shop: Retailer, name: str, *lines: allocation_pb.LineCancellation) -> Request:
    request = allocation_pb.RequestCancellationRequest(order=order_reference(name), lines=lines)
    asked: Request = (await shop.allocations.RequestCancellation(request)).cancellation_request
    return asked


async def sell_case(shop: Retailer, count: int) -> allocation_pb.Allocation:
    request = order_request("A-1", {})
    request.lines.add(line_id="1", item_id="CASE", unit_count=count)
    sold: allocation_pb.Allocation = (await shop.allocations.AllocateOrder(request)).allocation
    return sold


async def test_a_request_for_items_or_kits_waits_for_its_order(shop: Retailer) -> None:
    await shop.kits({"SET": {"MUG": 1, "CUP": 2}})
    await shop.list_item("web", "CASE", "MUG", 2)
    case, gone = (
        allocation_pb.LineCancellation(item_id="CASE", unit_count=1),
        allocation_pb.LineCancellation(item_id="OLD", unit_count=1),
    )
    of_items = await ask_for(shop, "web/A-1", case, gone)
    await ask_for(shop, "web/A-2", allocation_pb.LineCancellation(line_id="1", unit_count=2))
    await ask_for(shop, "web/A-3", gone)
    await sell_case(shop, 2)
    await shop.allocate("A-2", {"SET": 3})
    declined = await shop.allocate("A-3", {"MUG": 1})
    for name in ("web/A-1", "web/A-2"):
        await shop.resolve((await only_exception(shop, name)).exception_id, CANCELLED)
    items, kits = [(await shop.find_order(name)).allocation for name in ("web/A-1", "web/A-2")]

    assert (of_items.unit_count, list(of_items.lines)) == (0, [case, gone])
    assert (items.cancellation_request.unit_count, items.lines[0].cancelled_count) == (2, 2)
    assert {x.sku: (x.unit_count, x.cancelled_count) for x in kits.lines} == {"MUG": (3, 2), "CUP": (6, 4)}
    assert (declined.cancellation_request.state, promised(declined)) == (DECLINED_STATE, {"dc": 1})
    assert "none of the lines" in declined.cancellation_request.answer_reason


async def test_only_whole_kits_of_a_request_are_cancelled(shop: Retailer) -> None:
    await shop.kits({"SET": {"MUG": 1, "CUP": 2}})
    sold = await shop.allocate("A-1", {"SET": 3})
    await ask_for(shop, "web/A-1", allocation_pb.LineCancellation(line_id="1", unit_count=3))
    await shop.ship(sold.shipments[0], {"1/MUG": 2, "1/CUP": 2})
    await shop.resolve((await only_exception(shop)).exception_id, CANCELLED)
    after = (await shop.get(sold.allocation_id)).allocation

    assert {x.sku: x.cancelled_count for x in after.lines} == {"MUG": 1, "CUP": 2}


async def test_a_request_is_listed_under_the_kit_that_it_is_about(shop: Retailer) -> None:
    await shop.kits({"SET": {"MUG": 1, "CUP": 2}, "TRIO": {"MUG": 3}})
    await shop.allocate("A-1", {"SET": 1, "TRIO": 1})
    await ask_for(shop, "web/A-1", allocation_pb.LineCancellation(line_id="1", unit_count=1))

    assert [len(await shop.open_exceptions(skus=[sku])) for sku in ("SET", "TRIO")] == [1, 0]


async def test_a_request_for_items_that_were_mapped_since_cancels_all_their_units(shop: Retailer) -> None:
    sold = await sell_case(shop, 3)
    await ask_for(shop, "web/A-1", allocation_pb.LineCancellation(line_id="1", item_id="CASE", unit_count=2))
    await shop.list_item("web", "CASE", "MUG", 3)
    raised = next(x for x in (await shop.find_order("web/A-1")).exceptions if x.kind == "cancel_requested")
    await shop.resolve(raised.exception_id, CANCELLED)
    after = (await shop.get(sold.allocation_id)).allocation

    assert (after.lines[0].unit_count, after.lines[0].cancelled_count) == (9, 6)


async def test_an_order_that_a_request_cancelled_stays_cancelled_when_it_is_sent_again(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 3})
    await ask(shop, fault="CANCELLATION_FAULT_SELLER")
    again = await shop.allocate("A-1", {"MUG": 4})

    assert (again.state, again.lines[0].cancelled_count) == (State.STATE_CANCELLED, 4)


async def test_what_a_request_left_of_a_partly_shipped_order_stays_cancelled_when_other_contents_are_sent(
    shop: Retailer,
) -> None:
    sold = await shop.allocate("A-1", {"MUG": 3})
    await shop.ship(sold.shipments[0], {"1": 1})
    await ask(shop)
    await shop.resolve((await only_exception(shop)).exception_id, CANCELLED)

    after = await shop.allocate("A-1", {"MUG": 3, "CUP": 2})

    assert [(x.shipped_count, x.cancelled_count, x.promised_count) for x in after.lines] == [(1, 2, 0), (0, 2, 0)]


async def test_a_request_for_a_copy_concerns_its_original(shop: Retailer) -> None:
    await shop.channels(shopify="shopify")
    await shop.allocate("5001", {"MUG": 3}, channel_id="shopify")
    await ask(shop, "shopify/5001", event_id="c-1")
    await ask(shop, "shopify/5002", event_id="c-2")
    await shop.allocate("A-1", {"MUG": 3})
    await shop.allocate("A-2", {"MUG": 3})
    for copy, original in (("5001", "web/A-1"), ("5002", "web/A-2")):
        await shop.allocate(copy, {"MUG": 3}, channel_id="shopify", copy_of=order_reference(original))
        raised = await only_exception(shop, original)
        await shop.resolve(raised.exception_id, CANCELLED)

    for name in ("web/A-1", "web/A-2"):
        after = (await shop.find_order(name)).allocation
        assert (after.state, after.cancellation_request.cancelled_count) == (State.STATE_CANCELLED, 3)


async def test_a_replanned_order_keeps_its_request(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 3})
    await ask(shop)
    edited = await shop.allocate("A-1", {"MUG": 2})

    assert edited.cancellation_request.state == REQUESTED
    assert (await only_exception(shop)).state == Record.STATE_OPEN


async def test_watches_get_every_request_and_its_answer(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 3, "CUP": 1})
    stream = shop.allocations.WatchOrders(allocation_pb.WatchOrdersRequest(channel_ids=["web"]), timeout=30)
    await stream.read()
    await ask(shop, lines={"1": 1}, event_id="c-1")
    await ask(shop, lines={"2": 1}, event_id="c-2")
    first = next(x for x in (await shop.find_order("web/A-1")).exceptions if "line 1" in x.description)
    await shop.resolve(first.exception_id, DECLINED)
    states: dict[str, int] = {}
    shown: list[str] = []
    while states.get("c-1") != DECLINED_STATE or "c-2" not in states:
        for change in (await stream.read()).changes:
            states |= {request.event_id: request.state for request in change.cancellation_requests}
            shown.append(change.allocation.cancellation_request.event_id)
    stream.cancel()

    assert states == {"c-1": DECLINED_STATE, "c-2": REQUESTED}
    assert shown[-1] == "c-2"


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"lines": {"9": 1}}, "NOT_FOUND", "order line"),
        ({"lines": {"1": 4}}, "FAILED_PRECONDITION", "line 1 has 3 units ordered, so 4 cannot"),
        ({"lines": {"1": 1, "": 1}}, "INVALID_ARGUMENT", "lines[1].line_id"),
        ({"lines": {}}, "INVALID_ARGUMENT", "lines: "),
        ({"lines": {"1": 0}}, "INVALID_ARGUMENT", "lines[0].unit_count"),
        ({"hours": 24 * 366}, "INVALID_ARGUMENT", "deadline: is more than 365 days ahead"),
        ({"withdraw": True}, "INVALID_ARGUMENT", "event_id: "),
        ({"name": "nowhere/A-1"}, "NOT_FOUND", "channel"),
        ({"reason": "x" * 257}, "INVALID_ARGUMENT", "reason: "),
    ],
)
async def test_a_request_that_cannot_be_is_refused(
    shop: Retailer, fields: dict[str, Any], code: str, message: str
) -> None:
    await shop.allocate("A-1", {"MUG": 3})
    error = await refused(ask(shop, **fields))

    assert error.code().name == code
    assert message in (error.details() or "")
    assert message != "channel" or bad_fields(error) == {"order.channel_id"}
    assert not (await shop.find_order("web/A-1")).allocation.HasField("cancellation_request")


async def test_an_order_takes_twenty_requests(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 3})
    await shop.sql(
        "INSERT INTO cancellation_request (id, channel_id, order_id, event_id, create_time, allocation_id, state, "
        "unit_count, cancelled) SELECT gen_random_uuid(), 'web', 'A-1', 'e' || n, now(), allocation.id, 'requested', "
        "1, 0 FROM allocation, generate_series(1, 20) n"
    )
    await shop.sql("UPDATE allocation SET has_cancellation_requests = true")

    error = await refused(ask(shop))

    metadata: Any = error.trailing_metadata()
    details = dict(metadata)["grpc-status-details-bin"]

    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert b"TOO_MANY_CANCELLATION_REQUESTS" in details
    assert "cancel the units with CancelOrderLines" in (error.details() or "")
    assert len((await shop.find_order("web/A-1")).cancellation_requests) == 20


async def test_a_retry_by_request_id_gets_the_same_answer(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 3})
    id = request_id()
    request = allocation_pb.RequestCancellationRequest(
        order=order_reference("web/A-1"), whole_order=True, request_id=id
    )
    first = await shop.allocations.RequestCancellation(request)

    assert await shop.allocations.RequestCancellation(request) == first
