"""The channel's own status of an order acts: every known word of every platform, and words that nobody knows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from policies.domain.channel_statuses import PLATFORMS, ChannelStatus, platform_statuses
from tests.conftest import REPOSITORY
from tests.retailer import HOLD, SOLD, Retailer, State, order_reference, refused
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    catalog_service_pb2 as catalog_pb,
    exception_pb2,
    exception_service_pb2 as exception_pb,
    order_pb2,
)

S = ChannelStatus
UNPAID, READY = order_pb2.ORDER_STATUS_PLACED, order_pb2.ORDER_STATUS_READY_TO_FULFILL
ON_HOLD, CANCELLED = order_pb2.ORDER_STATUS_ON_HOLD, order_pb2.ORDER_STATUS_CANCELLED
EXPECTED = {
    S.PLACED: (UNPAID, UNPAID, ON_HOLD, ON_HOLD),
    S.PAYMENT_DUE: (UNPAID, ON_HOLD, ON_HOLD, ON_HOLD),
    S.PAID: (READY, READY, ON_HOLD, READY),
    S.REMORSE: (ON_HOLD, ON_HOLD, ON_HOLD, ON_HOLD),
    S.HELD: (UNPAID, ON_HOLD, ON_HOLD, ON_HOLD),
    S.OPEN: (UNPAID, READY, READY, ON_HOLD),
    S.READY: (READY, READY, READY, READY),
    S.IN_WORK: (READY, READY, READY, READY),
    S.PARTLY_SHIPPED: (READY, READY, READY, READY),
    S.LABELLED: (READY, READY, READY, READY),
    S.SHIPPED: (READY, READY, READY, READY),
    S.DELIVERED: (READY, READY, READY, READY),
    S.CLOSED: (READY, READY, READY, READY),
    S.CANCELLED: (CANCELLED, CANCELLED, CANCELLED, CANCELLED),
    S.REFUNDED: (CANCELLED, CANCELLED, CANCELLED, CANCELLED),
    S.EXCEPTION: (UNPAID, READY, ON_HOLD, ON_HOLD),
    S.NOTED: (UNPAID, READY, ON_HOLD, ON_HOLD),
}
"""The order's status after the channel's: of a new order sent as HOLD, of one sent as SOLD, of a sold order that was on
hold for a fraud check, and of one on hold for payment."""


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    """One channel for each platform, named like it, and plenty of mugs."""
    await retailer.channels(**{platform: platform for platform in PLATFORMS})
    await retailer.stock({("MUG", "dc"): 10_000})
    return retailer


def order(channel_id: str, order_id: str, commitment: int, **fields: Any) -> allocation_pb.AllocateOrderRequest:
    return allocation_pb.AllocateOrderRequest(
        channel_id=channel_id,
        order_id=order_id,
        commitment=commitment,  # type: ignore[arg-type]
        lines=[order_pb2.OrderLine(sku="MUG", unit_count=1)],
        **fields,
    )


async def send(shop: Retailer, requests: Sequence[allocation_pb.AllocateOrderRequest]) -> list[Any]:
    """The orders as answered, sent in batches."""
    answers = await shop.allocations.BatchAllocateOrders(allocation_pb.BatchAllocateOrdersRequest(requests=requests))
    assert all(result.HasField("allocation") for result in answers.results)
    return [result.allocation for result in answers.results]


async def state(shop: Retailer, word: str, commitment: int = SOLD, **fields: Any) -> Any:
    """Order A-1 after the channel states a status; TikTok's unless another channel is named."""
    channel_id = fields.pop("channel_id", "tiktok_shop")
    return await shop.allocate("A-1", {"MUG": 1}, commitment, channel_id=channel_id, channel_status=word, **fields)


async def test_every_known_status_acts_as_its_meaning_says(shop: Retailer) -> None:
    words = platform_statuses()
    names = [f"{index}" for index in range(len(words))]
    for reason in ("fraud check", "payment is due"):
        hold = order_pb2.OrderHold(reason=reason)
        await send(
            shop, [order(p, f"{reason} {n}", SOLD, hold=hold) for n, (p, _, _) in zip(names, words, strict=True)]
        )

    columns = []
    for prefix, commitment in (("unpaid", HOLD), ("sold", SOLD), ("fraud check", SOLD), ("payment is due", SOLD)):
        stated = zip(names, words, strict=True)
        requests = [order(p, f"{prefix} {n}", commitment, channel_status=word) for n, (p, word, _) in stated]
        columns.append([answer.status for answer in await send(shop, requests)])

    observed = {(p, word): statuses for (p, word, _), *statuses in zip(words, *columns, strict=True)}
    assert observed == {(p, word): list(EXPECTED[status]) for p, word, status in words}
    failed = {(p, word) for p, word, status in words if status is S.EXCEPTION}
    raised = await shop.open_exceptions(kinds=["sync_failed"])
    assert len(raised) == 4 * len(failed)
    assert (await shop.ledger()).balanced


def test_the_documentation_lists_every_known_status() -> None:
    text = (REPOSITORY / "docs" / "channel-statuses.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]

    documented = {
        (column, word)
        for row in rows
        for column, cell in enumerate(row.split("|")[2:-1])
        for word in cell.split("`")[1::2]
    }
    assert documented == {(PLATFORMS.index(platform), word) for platform, word, _ in platform_statuses()}


async def test_the_remorse_hour_of_tiktok_holds_the_order_until_the_channel_releases_it(shop: Retailer) -> None:
    before = datetime.now(UTC)
    held = await state(shop, "ON_HOLD", HOLD)
    again = await state(shop, "ON_HOLD")
    released = await state(shop, "AWAITING_SHIPMENT")
    late = await state(shop, "ON_HOLD")

    until = held.hold.until.ToDatetime(UTC)
    assert (held.state, held.status, held.hold.reason) == (State.STATE_CONFIRMED, ON_HOLD, "remorse period")
    assert before + timedelta(minutes=60) < until < before + timedelta(minutes=120)
    assert (again.hold, released.status, late.status) == (held.hold, READY, READY)
    events = [event.event for event in (await shop.find_order("tiktok_shop/A-1")).timeline]
    assert [event for event in events if event != "updated"] == ["sold", "on_hold", "hold_released"]
    assert (await shop.level("MUG", "dc")).allocated_count == 1


async def test_the_end_of_a_remorse_hour_may_be_stated(shop: Retailer) -> None:
    hold = order_pb2.OrderHold(reason="pre-order")
    hold.until.FromDatetime(datetime.now(UTC) + timedelta(days=30))

    stated = await state(shop, "ON_HOLD", hold=hold)
    repeated = await state(shop, "ON_HOLD")

    assert stated.hold.reason == repeated.hold.reason == "pre-order"
    assert repeated.hold.until == hold.until


async def test_a_status_that_arrives_late_neither_holds_nor_releases(shop: Retailer) -> None:
    now = datetime.now(UTC)
    times = [now - timedelta(minutes=minutes) for minutes in (30, 20, 10)]
    await state(shop, "AWAITING_SHIPMENT", channel_update_time=times[1])

    older = await state(shop, "ON_HOLD", channel_update_time=times[0])
    newer = await state(shop, "ON_HOLD", channel_update_time=times[2])

    assert (older.status, newer.status) == (READY, ON_HOLD)


async def test_a_status_that_is_repeated_after_a_person_has_released_the_order_does_not_hold_it_again(
    shop: Retailer,
) -> None:
    held = await state(shop, "on_hold", channel_id="shopify")
    await shop.allocations.ReleaseOrderHold(allocation_pb.ReleaseOrderHoldRequest(order=order_reference("shopify/A-1")))
    repeated = await state(shop, "on_hold", channel_id="shopify")

    assert (held.status, repeated.status) == (ON_HOLD, READY)


async def test_the_copy_of_an_order_does_not_release_it(shop: Retailer) -> None:
    await state(shop, "ON_HOLD")
    copy = {"channel_id": "shopify", "copy_of": order_reference("tiktok_shop/A-1"), "channel_status": "in_progress"}

    after = await shop.allocate("#1001", {"MUG": 1}, SOLD, **copy)

    assert after.status == ON_HOLD


async def test_a_copy_that_came_before_its_original_hands_over_its_hold(shop: Retailer) -> None:
    hold = order_pb2.OrderHold(reason="fraud check")
    await shop.allocate("#1001", {"MUG": 1}, SOLD, channel_id="shopify", hold=hold)
    copy_of = order_reference("tiktok_shop/A-1")

    linked = await shop.allocate("#1001", {"MUG": 1}, SOLD, channel_id="shopify", copy_of=copy_of)

    assert (linked.order_id, linked.status, linked.hold.reason) == ("A-1", ON_HOLD, "fraud check")


async def test_a_hold_placed_before_payment_counts_once_the_order_is_paid(shop: Retailer) -> None:
    unpaid = await state(shop, "ON_HOLD", HOLD, channel_id="shopify")
    paid = await state(shop, "paid", channel_id="shopify")
    open_again = await state(shop, "OPEN", channel_id="shopify")

    assert (unpaid.status, unpaid.HasField("hold")) == (UNPAID, False)
    assert (paid.status, paid.hold.reason, open_again.status) == (ON_HOLD, "held by the channel", READY)


async def test_an_unpaid_order_is_held_for_as_long_as_its_channel_lets_it_be_paid(shop: Retailer) -> None:
    before = datetime.now(UTC)
    channel = catalog_pb.Channel(
        channel_id="slow",
        kind=catalog_pb.Channel.KIND_SOCIAL,
        platform="tiktok_shop",
        unpaid_order_duration=Duration(seconds=48 * 3600),
    )
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[channel]))
    fields = {"channel_id": "slow", "channel_status": "UNPAID"}
    short, long = Duration(seconds=60), Duration(seconds=47 * 3600)

    for commitment in (HOLD, SOLD):
        unpaid = await shop.allocate(f"U-{commitment}", {"MUG": 1}, commitment, **fields)
        assert (unpaid.state, unpaid.status) == (State.STATE_HELD, UNPAID)
        assert unpaid.expire_time.ToDatetime(UTC) - before > timedelta(hours=47, minutes=59)
    stated = await shop.allocate("S-1", {"MUG": 1}, HOLD, hold_duration=short, **fields)
    cart = await shop.allocate("C-1", {"MUG": 1}, HOLD, channel_id="slow")
    extended = await shop.allocations.ExtendHold(
        allocation_pb.ExtendHoldRequest(allocation_id=cart.allocation_id, hold_duration=long)
    )
    sold = await shop.allocate("U-1", {"MUG": 1}, SOLD, channel_id="slow", channel_status="AWAITING_SHIPMENT")
    unpaid_again = await shop.allocate("U-1", {"MUG": 1}, SOLD, **fields)

    assert stated.expire_time.ToDatetime(UTC) - before < timedelta(minutes=5)
    assert timedelta(minutes=14) < cart.expire_time.ToDatetime(UTC) - before < timedelta(minutes=20)
    assert extended.allocation.expire_time.ToDatetime(UTC) - before > timedelta(hours=46)
    assert (sold.state, unpaid_again.state) == (State.STATE_CONFIRMED, State.STATE_CONFIRMED)


async def test_a_hold_lasts_at_most_as_long_as_its_channel_allows(shop: Retailer) -> None:
    long, too_long = Duration(seconds=48 * 3600), Duration(seconds=73 * 3600)
    cart = await shop.allocate("A-1", {"MUG": 1}, HOLD)

    held = await refused(shop.allocate("A-2", {"MUG": 1}, HOLD, hold_duration=long))
    extension = allocation_pb.ExtendHoldRequest(allocation_id=cart.allocation_id, hold_duration=long)
    extended = await refused(shop.allocations.ExtendHold(extension))
    channel = catalog_pb.Channel(channel_id="web", kind=catalog_pb.Channel.KIND_WEB, unpaid_order_duration=too_long)
    stated = await refused(shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[channel])))

    for error in (held, extended, stated):
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "14400 s (4 hours)" in str(held.details())
    assert "14400 s (4 hours)" in str(extended.details())
    assert "(72 hours)" in str(stated.details())


async def test_a_refund_after_everything_has_shipped_cancels_nothing(shop: Retailer) -> None:
    sold = await state(shop, "paid", channel_id="shopify")
    await shop.ship(sold.shipments[0])

    refunded = await state(shop, "refunded", channel_id="shopify")

    assert (refunded.status, refunded.channel_status) == (order_pb2.ORDER_STATUS_SHIPPED, "refunded")
    assert (refunded.lines[0].cancelled_count, refunded.needs_person) == (0, False)


@pytest.mark.parametrize(("word", "reason"), [("TELEPORTED", "not known to use"), ("error", "it failed there")])
async def test_a_status_that_nobody_knows_or_that_reports_a_failure_names_its_order(
    shop: Retailer, word: str, reason: str
) -> None:
    for order_id in ("A-1", "A-2", "A-2"):
        sold = await shop.allocate(order_id, {"MUG": 1}, SOLD, channel_id="shopify", channel_status=word)
    by_order = exception_pb.ListExceptionsRequest(order=order_reference("shopify/A-2"))
    (raised,) = (await shop.exceptions.ListExceptions(by_order)).exceptions

    assert (sold.status, sold.needs_person) == (READY, True)
    assert (raised.kind, raised.channel_id, raised.order_id) == ("sync_failed", "shopify", "A-2")
    assert (raised.allocation_id, raised.repeat_count) == (sold.allocation_id, 1)
    assert reason in raised.description
    assert len(await shop.open_exceptions(allocation_id=sold.allocation_id)) == 1
    assert len(await shop.open_exceptions()) == 2
    assert shop.metric("manual_interventions_total", channel="shopify", reason="sync_failed") == 2
    timeline = [event.event for event in (await shop.find_order("shopify/A-2")).timeline]
    assert timeline == ["sold", "sync_failed"]


async def test_a_copy_that_contradicts_its_link_names_the_order(shop: Retailer) -> None:
    for original in ("tiktok_shop/A-1", "tiktok_shop/A-2"):
        fields = {"channel_id": "shopify", "copy_of": order_reference(original)}
        linked = await shop.allocate("#1001", {"MUG": 1}, SOLD, **fields)
    (raised,) = await shop.open_exceptions()

    assert (raised.kind, raised.channel_id, raised.order_id) == ("sync_failed", "tiktok_shop", "A-1")
    assert raised.allocation_id == linked.allocation_id
    order = await shop.find_order("tiktok_shop/A-1")
    assert [event.event for event in order.timeline] == ["sold", "sync_failed"]
    assert order.allocation == linked
    assert linked.needs_person
    assert shop.metric("manual_interventions_total", channel="tiktok_shop", reason="sync_failed") == 1


async def test_a_failure_that_is_reported_again_after_it_was_resolved_is_a_change_of_its_order(shop: Retailer) -> None:
    await state(shop, "error", channel_id="shopify")
    (raised,) = await shop.open_exceptions()
    await shop.resolve(raised.exception_id, exception_pb2.EXCEPTION_RESOLUTION_COMPLETED)
    before = await shop.find_order("shopify/A-1")

    for _ in range(2):
        await state(shop, "error", channel_id="shopify")

    order = await shop.find_order("shopify/A-1")
    assert [event.event for event in order.timeline[len(before.timeline) :]] == ["sync_failed"]
    assert order.allocation.version == before.allocation.version + 1
    assert len(await shop.open_exceptions()) == 1


async def test_a_reported_failure_stays_open_when_the_order_is_planned_again(shop: Retailer) -> None:
    await state(shop, "error", channel_id="shopify")
    await shop.allocate("A-1", {"MUG": 3}, SOLD, channel_id="shopify")

    assert [raised.kind for raised in await shop.open_exceptions()] == ["sync_failed"]
