"""A TikTok order and its duplicate in Shopify are one order with one promise, whichever arrives first."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conftest import RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, State, order_reference, promised, request_id
from truestock.v1 import allocation_service_pb2 as allocation_pb, catalog_service_pb2 as catalog_pb, order_pb2

ORIGINAL_IS_DUE = order_pb2.OrderHold(reason="original is due")
ORIGINAL, COPY = "tiktok_shop/576461413038785752", "shopify/5001"


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    """Ten mugs, and the two channels."""
    await retailer.channels(tiktok_shop="tiktok_shop", shopify="shopify")
    await retailer.stock({("MUG", "dc"): 10, ("CUP", "dc"): 10})
    return retailer


async def send_original(
    shop: Retailer, lines: dict[str, int], commitment: int = SOLD, **fields: Any
) -> allocation_pb.Allocation:
    channel_id, order_id = ORIGINAL.split("/")
    return await shop.allocate(order_id, lines, commitment, channel_id=channel_id, **fields)


async def send_copy(
    shop: Retailer, lines: dict[str, int], commitment: int = SOLD, *, linked: bool = True, **fields: Any
) -> allocation_pb.Allocation:
    channel_id, order_id = COPY.split("/")
    link = {"copy_of": order_reference(ORIGINAL)} if linked else {}
    return await shop.allocate(order_id, lines, commitment, channel_id=channel_id, **link, **fields)


def summary(allocation: allocation_pb.Allocation) -> dict[str, Any]:
    """The part of an allocation that must not depend on which one arrives first."""
    return {
        "name": (allocation.channel_id, allocation.order_id),
        "state": State.Name(allocation.state),
        "commitment": allocation.commitment,
        "status": order_pb2.OrderStatus.Name(allocation.status),
        "lines": [(x.line_id, x.sku, x.unit_count, x.promised_count, x.cancelled_count) for x in allocation.lines],
        "promised": promised(allocation),
        "copies": [f"{x.channel_id}/{x.order_id}" for x in allocation.copies],
    }


ONE_PROMISE = {
    "name": tuple(ORIGINAL.split("/")),
    "state": "STATE_CONFIRMED",
    "commitment": SOLD,
    "status": "ORDER_STATUS_READY_TO_FULFILL",
    "lines": [("1", "MUG", 3, 3, 0)],
    "promised": {"dc": 3},
    "copies": [COPY],
}


async def test_a_copy_that_arrives_after_its_original_promises_nothing_more(shop: Retailer) -> None:
    await send_original(shop, {"MUG": 3})
    answer = await send_copy(shop, {"MUG": 3})

    assert summary(answer) == ONE_PROMISE
    assert await shop.sellable("MUG") == 7
    assert (await shop.ledger()).balanced


async def test_a_copy_that_arrives_first_is_promised_under_the_originals_order_id(shop: Retailer) -> None:
    first = await send_copy(shop, {"MUG": 3})
    answer = await send_original(shop, {"MUG": 3})

    assert first.allocation_id == answer.allocation_id
    assert summary(first) == summary(answer) == ONE_PROMISE
    assert await shop.sellable("MUG") == 7
    assert shop.metric("sold_units_total", channel="tiktok_shop") == 3
    assert shop.metric("sold_units_total", channel="shopify") == 0


async def test_a_copy_that_waits_for_its_original_is_worked_on_once_it_arrives(shop: Retailer) -> None:
    waiting = await send_copy(shop, {"MUG": 3}, hold=ORIGINAL_IS_DUE)
    again = await send_copy(shop, {"MUG": 3}, hold=ORIGINAL_IS_DUE)
    both = await send_original(shop, {"MUG": 3})
    later = await send_copy(shop, {"MUG": 3}, hold=ORIGINAL_IS_DUE)

    assert (waiting.status, promised(waiting)) == (order_pb2.ORDER_STATUS_ON_HOLD, {"dc": 3})
    assert again.status == order_pb2.ORDER_STATUS_ON_HOLD
    assert summary(both) == summary(later) == ONE_PROMISE
    (released,) = [x for x in (await shop.find_order(ORIGINAL)).timeline if x.event == "hold_released"]
    assert (
        released.description
        == "Released from its hold (original is due): its original has arrived; 3 units to fulfill."
    )


async def test_a_copy_stays_on_hold_where_its_original_is_and_as_long_as_that(shop: Retailer) -> None:
    await send_copy(shop, {"MUG": 3}, hold=ORIGINAL_IS_DUE)
    held = await send_original(shop, {"MUG": 3}, channel_status="ON_HOLD")
    released = await send_original(shop, {"MUG": 3}, channel_status="AWAITING_SHIPMENT")

    assert (held.status, held.hold.reason) == (order_pb2.ORDER_STATUS_ON_HOLD, "remorse period")
    assert released.status == order_pb2.ORDER_STATUS_READY_TO_FULFILL


async def test_the_contents_of_the_original_are_allocated_and_not_those_of_the_copy(shop: Retailer) -> None:
    await send_copy(shop, {"MUG": 2, "CUP": 1})
    answer = await send_original(shop, {"MUG": 3})

    assert summary(answer) == ONE_PROMISE
    assert summary(await send_copy(shop, {"CUP": 9})) == ONE_PROMISE
    assert (await shop.level("CUP", "dc")).available_count == 10


async def test_a_paid_copy_turns_its_unpaid_original_into_a_sale(shop: Retailer) -> None:
    await send_original(shop, {"MUG": 3}, HOLD)
    after = await send_copy(shop, {"MUG": 1})

    assert summary(after) == ONE_PROMISE
    assert (await shop.level("MUG", "dc")).allocated_count == 3


async def test_an_unpaid_original_that_arrives_after_its_paid_copy_determines_the_contents(shop: Retailer) -> None:
    await send_copy(shop, {"MUG": 1})
    after = await send_original(shop, {"MUG": 3}, HOLD)

    assert summary(after) == ONE_PROMISE


async def test_an_order_that_turns_out_to_be_a_copy_releases_its_promise(shop: Retailer) -> None:
    alone = await send_copy(shop, {"MUG": 3}, linked=False)
    await send_original(shop, {"MUG": 3})
    linked = await send_copy(shop, {"MUG": 3})
    history = await shop.get(alone.allocation_id)

    assert summary(linked) == ONE_PROMISE
    assert await shop.sellable("MUG") == 7
    assert history.allocation.state == State.STATE_CANCELLED
    assert ORIGINAL in history.timeline[-1].description
    assert (await shop.ledger()).balanced


async def test_a_copy_passes_its_units_to_its_original_when_no_others_are_available(shop: Retailer) -> None:
    await send_copy(shop, {"MUG": 10}, linked=False)
    linked = await send_copy(shop, {"MUG": 10})

    assert promised(linked) == {"dc": 10}
    assert linked.channel_id == "tiktok_shop"
    assert not linked.shortages
    assert (await shop.ledger()).balanced


async def test_units_of_an_order_that_turns_out_to_be_a_copy_are_counted_as_sold_once(shop: Retailer) -> None:
    await send_copy(shop, {"MUG": 3}, linked=False)
    await send_copy(shop, {"MUG": 3})
    await send_original(shop, {"MUG": 3})

    sold = [shop.metric("sold_units_total", channel=channel) for channel in ("shopify", "tiktok_shop")]
    orders = [shop.metric("sold_orders_total", channel=channel) for channel in ("shopify", "tiktok_shop")]
    assert (sum(sold), sum(orders)) == (3, 1)


async def test_the_units_of_a_copy_that_was_sold_beside_its_original_are_counted_as_cancelled(shop: Retailer) -> None:
    await send_copy(shop, {"MUG": 3}, linked=False)
    await send_original(shop, {"MUG": 3})
    await send_copy(shop, {"MUG": 3})

    both = ("shopify", "tiktok_shop")
    sold = sum(shop.metric("sold_units_total", channel=channel) for channel in both)
    cancelled = sum(shop.metric("cancelled_units_total", channel=channel) for channel in both)
    assert sold - cancelled == 3


async def test_units_that_shipped_for_the_copy_do_not_ship_again_for_the_original(shop: Retailer) -> None:
    alone = await send_copy(shop, {"MUG": 3}, linked=False)
    await shop.ship(alone.shipments[0], {"1": 2})
    await send_copy(shop, {"MUG": 3})
    answer = await send_original(shop, {"MUG": 4})

    assert (answer.lines[0].promised_count, answer.lines[0].cancelled_count) == (2, 2)
    assert (await shop.ledger()).balanced


async def test_an_order_is_found_by_its_copys_key_too(shop: Retailer) -> None:
    order = await send_original(shop, {"MUG": 3})
    await send_copy(shop, {"MUG": 3})

    by_copy = await shop.find_order(COPY)
    again = await send_copy(shop, {"MUG": 3}, linked=False)

    assert by_copy.allocation.allocation_id == again.allocation_id == order.allocation_id
    assert [event.event for event in by_copy.timeline] == ["sold", "linked"]


async def test_a_cancellation_of_the_copy_cancels_units_of_the_order(shop: Retailer) -> None:
    await send_original(shop, {"MUG": 3})
    await send_copy(shop, {"MUG": 3})

    answer = await shop.cancel_order(COPY, {"1": 1})

    assert answer.allocation.lines[0].cancelled_count == 1
    assert promised((await shop.find_order(ORIGINAL)).allocation) == {"dc": 2}


async def test_a_copy_of_a_copy_is_the_same_order(shop: Retailer) -> None:
    await shop.channels(pos="")
    till = await shop.allocate("T-1", {"MUG": 3}, channel_id="pos", copy_of=order_reference(COPY))
    linked = await send_copy(shop, {"MUG": 3})
    last = await send_original(shop, {"MUG": 3})

    assert till.channel_id == "shopify"
    assert linked.allocation_id == last.allocation_id
    assert [f"{x.channel_id}/{x.order_id}" for x in last.copies] == ["pos/T-1", COPY]
    assert await shop.sellable("MUG") == 7
    assert (await shop.ledger()).balanced


async def test_a_copy_that_names_another_original_later_keeps_its_first_one(shop: Retailer) -> None:
    await send_original(shop, {"MUG": 3})
    await send_copy(shop, {"MUG": 3})
    channel_id, order_id = COPY.split("/")

    answer = await shop.allocate(
        order_id, {"MUG": 3}, channel_id=channel_id, copy_of=order_reference("tiktok_shop/other")
    )

    assert summary(answer) == ONE_PROMISE
    raised = await shop.sql("SELECT kind, subject FROM exception WHERE state = 'open'")
    assert [(row["kind"], row["subject"]) for row in raised] == [("sync_failed", COPY)]


async def test_a_preview_of_a_copy_shows_the_originals_promise_and_stores_nothing(shop: Retailer) -> None:
    await send_original(shop, {"MUG": 3})

    answer = await send_copy(shop, {"MUG": 3}, validate_only=True)

    assert (answer.channel_id, promised(answer)) == ("tiktok_shop", {"dc": 3})
    assert not await shop.sql("SELECT FROM allocation_copy")


async def test_fifty_copies_and_originals_at_once_are_promised_once(retailers: RetailerMaker) -> None:
    shops = [await retailers.make() for _ in range(2)]
    await shops[0].channels(tiktok_shop="tiktok_shop", shopify="shopify")
    await shops[0].stock({("MUG", "dc"): 500})

    calls = [
        send_original(shop, {"MUG": 3}) if n % 3 == 0 else send_copy(shop, {"MUG": 3}, linked=n % 3 == 1)
        for n, shop in enumerate(shops * 25)
    ]
    await asyncio.gather(*calls)

    assert summary((await shops[0].find_order(COPY)).allocation) == ONE_PROMISE
    assert await shops[0].sellable("MUG") == 497
    assert (await shops[0].ledger()).balanced


async def test_the_same_request_sent_fifty_times_at_once_gets_one_answer(shop: Retailer) -> None:
    same = request_id()

    answers = await asyncio.gather(*(send_copy(shop, {"MUG": 3}, request_id=same) for _ in range(50)))

    assert all(answer == answers[0] for answer in answers)
    assert await shop.sellable("MUG") == 7


# A pool: three stores that TikTok treats as one warehouse.


@pytest.mark.parametrize(("region", "location_count"), [("TX", 3), ("PR", 1)])
async def test_an_order_of_a_pool_is_split_only_where_the_rules_allow(
    retailers: RetailerMaker, tmp_path: Any, region: str, location_count: int
) -> None:
    (tmp_path / "routing.yaml").write_text(
        """
kind: routing
policies:
  - name: islands-get-one-parcel
    position: 10
    applies_to: {destination.region: PR}
    rank: [fewest_shipments]
    max_shipments: 1
    otherwise: exception
  - name: everything
    position: 100
    rank: [fewest_shipments]
    max_shipments: 3
    otherwise: exception
"""
    )
    shop = await retailers.make(tmp_path)
    await shop.stock({("MUG", store): 1 for store in ("austin", "dallas", "houston")} | {("MUG", "dc"): 9})
    pool = catalog_pb.Channel(
        channel_id="tiktok_shop",
        kind=catalog_pb.Channel.KIND_SOCIAL,
        platform="tiktok_shop",
        location_ids=["austin", "dallas", "houston"],
    )
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[pool]))

    destination = order_pb2.Destination(country="US", region=region)
    answer = await send_original(shop, {"MUG": 3}, destination=destination)

    assert len(promised(answer)) == sum(promised(answer).values()) == location_count
    assert "dc" not in promised(answer)


async def test_times_of_a_copy_are_not_compared_with_those_of_its_original(shop: Retailer) -> None:
    early, late = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)
    await send_copy(shop, {"MUG": 1}, channel_update_time=late)

    answer = await send_original(shop, {"MUG": 3}, channel_update_time=early)

    assert summary(answer) == ONE_PROMISE
