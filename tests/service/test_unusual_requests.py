"""Unusual but legitimate requests about orders: nothing is lost or sold twice, and no answer is an internal error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from tests.conftest import RESOLVED_RULES, RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, change, eventually, movement, promised, refused
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    catalog_service_pb2 as catalog_pb,
    order_pb2,
    shipment_pb2,
    stock_service_pb2 as stock_pb,
)

State = shipment_pb2.Shipment.State
PICKUP = order_pb2.FULFILLMENT_METHOD_PICKUP


@pytest.fixture
async def shop(retailers: RetailerMaker) -> Retailer:
    """Rejections are rerouted; oversells of launches are backordered, of clearances cancelled, others need a person."""
    return await retailers.make(RESOLVED_RULES)


async def tag(shop: Retailer, sku: str, *tags: str) -> None:
    product = catalog_pb.Product(sku=sku, tags=tags)
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[product]))


def lines(**units: tuple[str, int]) -> list[order_pb2.OrderLine]:
    return [order_pb2.OrderLine(line_id=x, sku=sku, unit_count=count) for x, (sku, count) in units.items()]


async def sell(shop: Retailer, order_lines: list[order_pb2.OrderLine], **fields: object) -> allocation_pb.Allocation:
    fields = {"channel_id": "web", "order_id": "A-1", "commitment": SOLD} | fields
    request = allocation_pb.AllocateOrderRequest(lines=order_lines, **fields)  # type: ignore[arg-type]
    answer: allocation_pb.Allocation = (await shop.allocations.AllocateOrder(request)).allocation
    return answer


# Orders that change after they were shipped, rejected or cancelled


async def test_a_line_that_was_rejected_may_be_left_out_of_the_order(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 2, ("MUG", "b-store"): 2, ("CUP", "a-store"): 2})
    order = await sell(shop, lines(m=("MUG", 2), c=("CUP", 1)))
    await shop.reject(order.shipments[0], "not_found", {"m": 2})

    changed = await sell(shop, lines(c=("CUP", 1)))

    assert [line.line_id for line in changed.lines] == ["c"]
    assert promised(changed)["a-store"] == 1
    assert (await shop.ledger()).balanced


async def test_an_order_with_a_line_that_was_rejected_and_then_cancelled_can_change(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 2, ("CUP", "a-store"): 5})
    order = await sell(shop, lines(m=("MUG", 2), c=("CUP", 1)))
    await shop.reject(order.shipments[0], "not_found", {"m": 2})
    await shop.cancel(order.allocation_id, {"m": 2})

    changed = await sell(shop, lines(m=("MUG", 2), c=("CUP", 3)))

    assert promised(changed)["a-store"] == 3
    assert (await shop.ledger()).balanced


async def test_a_line_that_changes_its_product_may_use_the_location_that_rejected_the_first(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 2, ("CUP", "a-store"): 2})
    order = await sell(shop, lines(x=("MUG", 2)))
    await shop.reject(order.shipments[0], "not_found")

    changed = await sell(shop, lines(x=("CUP", 1)))

    assert sum(promised(changed).values()) == 1
    assert (await shop.ledger()).balanced


async def test_other_lines_stay_at_a_location_that_rejected_one_when_the_order_changes(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 2, ("MUG", "b-store"): 2, ("CUP", "a-store"): 2})
    order = await sell(shop, lines(m=("MUG", 2), c=("CUP", 1)))
    await shop.reject(order.shipments[0], "damaged", {"m": 2})

    changed = await sell(shop, lines(m=("MUG", 1), c=("CUP", 1)))

    assert [(x.line_id, x.promised_count) for x in changed.lines] == [("m", 1), ("c", 1)]


async def test_a_backorder_is_filled_from_a_location_that_rejected_another_line(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 2, ("CUP", "a-store"): 0})
    await tag(shop, "CUP", "launch")
    await tag(shop, "MUG", "launch")
    order = await sell(shop, lines(m=("MUG", 2), c=("CUP", 1)))
    await shop.reject(order.shipments[0], "not_found", {"m": 2})

    await shop.count({("CUP", "a-store"): 1}, at=datetime.now(UTC))

    line = (await shop.get(order.allocation_id)).allocation.lines[1]
    assert (line.line_id, line.promised_count) == ("c", 1)


async def test_a_line_that_has_shipped_cannot_change_its_product(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 5, ("CUP", "dc"): 5})
    order = await sell(shop, lines(x=("MUG", 3)))
    await shop.ship(order.shipments[0], {"x": 1})

    error = await refused(sell(shop, lines(x=("CUP", 3))))

    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "has shipped as 'MUG'" in (error.details() or "")


async def test_an_order_is_cancelled_although_its_channel_changed_the_product_of_a_shipped_line(
    shop: Retailer,
) -> None:
    await shop.stock({("MUG", "dc"): 5, ("CUP", "dc"): 5})
    await shop.channels(shopify="shopify")
    order = await sell(shop, lines(x=("MUG", 3)), channel_id="shopify")
    await shop.ship(order.shipments[0], {"x": 2})

    cancelled = await sell(shop, lines(x=("CUP", 1)), channel_id="shopify", channel_status="cancelled")
    again = await sell(shop, lines(x=("CUP", 1)), channel_id="shopify", channel_status="cancelled")

    assert [(x.sku, x.shipped_count, x.cancelled_count) for x in cancelled.lines] == [("MUG", 2, 1)]
    assert again == cancelled
    assert (await shop.ledger()).balanced


async def test_an_order_that_drops_a_shipped_line_gets_the_same_answer_when_it_is_sent_again(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 5, ("CUP", "dc"): 5})
    order = await sell(shop, lines(m=("MUG", 1), c=("CUP", 2)))
    await shop.ship(order.shipments[0], {"m": 1})

    dropped = await sell(shop, lines(c=("CUP", 2)))
    again = await sell(shop, lines(c=("CUP", 2)))

    assert again == dropped


# Events


async def test_a_parcel_may_have_one_event_id_for_shipping_and_delivery(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 5})
    order = await sell(shop, lines(m=("MUG", 3)))

    await shop.ship(order.shipments[0], {"m": 1}, event_id="1Z-77")
    for _ in range(2):
        arrived = await shop.deliver(order.shipments[0], event_id="1Z-77")

    assert arrived.shipments[0].state == State.STATE_DELIVERED
    assert (arrived.lines[0].shipped_count, arrived.lines[0].promised_count) == (3, 0)
    assert (await shop.level("MUG", "dc")).on_hand_count == 2
    assert (await shop.ledger()).balanced


async def test_one_return_id_for_several_lines_and_parcels_counts_each_line_once(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 2, ("MUG", "b-store"): 2, ("CUP", "a-store"): 2})
    order = await sell(shop, lines(m=("MUG", 3), c=("CUP", 2)))
    for shipment in order.shipments:
        await shop.ship(shipment)

    await shop.locations("dc")
    for _ in range(2):
        await shop.record_return(order.allocation_id, {"m": 3}, "sellable", "dc", event_id="r-1")
        back = await shop.record_return(order.allocation_id, {"m": 3, "c": 1}, "sellable", "dc", event_id="r-1")

    assert [x.returned_count for x in back.lines] == [3, 1]
    assert ((await shop.level("MUG", "dc")).on_hand_count, (await shop.level("CUP", "dc")).on_hand_count) == (3, 1)
    assert (await shop.ledger()).balanced


async def test_units_are_returned_to_a_location_that_never_stocked_them(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 3})
    await shop.locations("b-store")
    order = await sell(shop, lines(m=("MUG", 3)))
    await shop.ship(order.shipments[0])

    await shop.record_return(order.allocation_id, {"m": 2}, "sellable", "b-store")

    assert (await shop.level("MUG", "b-store")).available_count == 2
    assert await shop.sellable("MUG") == 2


async def test_a_return_to_an_unknown_location_is_refused(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 3})
    order = await sell(shop, lines(m=("MUG", 3)))
    await shop.ship(order.shipments[0])

    error = await refused(shop.record_return(order.allocation_id, {"m": 2}, "sellable", "moon"))

    assert error.code() == grpc.StatusCode.NOT_FOUND


# Rejections


async def test_a_pickup_that_its_store_rejects_is_short_and_needs_a_person(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 3, ("MUG", "b-store"): 9})
    order = await sell(shop, lines(m=("MUG", 2)), method=PICKUP, pickup_location_id="a-store")
    await shop.mark_ready(order.shipments[0])

    rejected = await shop.reject(order.shipments[0], "damaged")

    assert rejected.shipments[0].state == State.STATE_REJECTED
    assert (rejected.lines[0].promised_count, rejected.lines[0].short_count) == (0, 2)
    assert rejected.needs_person
    assert (await shop.ledger()).balanced


async def test_no_more_than_the_unshipped_units_can_be_cancelled_while_rejected_units_wait(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 5})
    await tag(shop, "MUG", "launch")
    order = await sell(shop, lines(m=("MUG", 5)))
    await shop.ship(order.shipments[0], {"m": 1})
    waiting = await shop.reject(order.shipments[0], "not_found", {"m": 2})

    error = await refused(shop.cancel(order.allocation_id, {"m": 5}))
    cancelled = await shop.cancel(order.allocation_id, {"m": 4})

    assert waiting.lines[0].backordered_count == 2
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    line = cancelled.lines[0]
    assert (line.shipped_count, line.cancelled_count, line.backordered_count, line.promised_count) == (1, 4, 0, 0)
    assert (await shop.ledger()).balanced


async def test_both_lines_of_one_product_are_rejected_and_rerouted(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 4, ("MUG", "b-store"): 3})
    order = await sell(shop, lines(x=("MUG", 2), y=("MUG", 2)))

    again = await shop.reject(order.shipments[0], "not_found")

    assert [x.promised_count for x in again.lines] == [2, 1]
    assert again.shortages[0].unit_count == 1
    assert (await shop.ledger()).balanced


# Cancellations by policy


async def test_a_late_payment_for_units_that_policy_cancels_is_a_cancelled_order(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 2})
    await tag(shop, "MUG", "clearance")
    held = await shop.allocate("A-1", {"MUG": 2}, HOLD)
    await shop.expire(held)
    await shop.allocate("A-2", {"MUG": 2})

    paid = await shop.confirm(held.allocation_id)

    assert paid.state == allocation_pb.Allocation.STATE_CANCELLED
    assert (paid.lines[0].unit_count, paid.lines[0].cancelled_count) == (2, 2)
    assert (await shop.ledger()).balanced


async def test_a_late_payment_keeps_earlier_cancellations_beside_those_of_policy(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 5})
    await tag(shop, "MUG", "clearance")
    held = await shop.allocate("A-1", {"MUG": 5}, HOLD)
    await shop.cancel(held.allocation_id, {"1": 1})
    await shop.expire(held)
    await shop.allocate("A-2", {"MUG": 3})

    paid = await shop.confirm(held.allocation_id)

    line = paid.lines[0]
    assert (line.unit_count, line.promised_count, line.cancelled_count) == (5, 2, 3)
    assert (await shop.ledger()).balanced


async def test_an_order_that_policy_cancelled_can_be_sold_again_with_other_contents(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 0, ("CUP", "dc"): 3})
    await tag(shop, "MUG", "clearance")
    cancelled = await sell(shop, lines(m=("MUG", 2)))

    changed = await sell(shop, lines(c=("CUP", 2)))

    assert cancelled.state == allocation_pb.Allocation.STATE_CANCELLED
    assert promised(changed) == {"dc": 2}
    assert shop.metric("sold_units_total", channel="web") - shop.metric("cancelled_units_total", channel="web") == 2
    assert (await shop.ledger()).balanced


# Large orders


async def test_an_order_of_five_hundred_lines_is_planned_shipped_rejected_and_returned(shop: Retailer) -> None:
    await shop.stock({(f"S-{n:02}", location_id): 40 for n in range(50) for location_id in ("a-store", "b-store")})
    order = await sell(shop, lines(**{f"l{n}": (f"S-{n % 50:02}", 5) for n in range(500)}))

    first, second = order.shipments
    await shop.ship(first)
    await shop.reject(second, "not_found")
    back = await shop.record_return(order.allocation_id, {f"l{n}": 1 for n in range(100)}, "inspect", "b-store")

    assert sum(x.shipped_count for x in back.lines) == 2_000
    assert sum(x.short_count for x in back.lines) == 500
    assert (await shop.ledger()).balanced


# Plans that are all or nothing

ALL_OR_NOTHING = """
kind: routing
policies:
  - {name: whole, position: 1, rank: [priority], ship_complete: true, sold_may_use: [buffer, blocked]}
"""


async def test_an_order_that_ships_complete_waits_until_all_units_are_available(
    retailers: RetailerMaker, tmp_path: Path
) -> None:
    (tmp_path / "routing.yaml").write_text(ALL_OR_NOTHING)
    (tmp_path / "exceptions.yaml").write_text(
        "kind: exception\nrules:\n  - {name: wait, position: 1, do: backorder, owner: desk, due_in: 1d}\n"
    )
    shop = await retailers.make(tmp_path)
    await shop.stock({("MUG", "dc"): 1, ("CUP", "dc"): 5})
    order = await sell(shop, lines(m=("MUG", 3), c=("CUP", 1)))

    await shop.count({("MUG", "dc"): 2}, at=datetime.now(UTC))
    waiting = (await shop.get(order.allocation_id)).allocation
    received = movement(stock_pb.MOVEMENT_KIND_RECEIVED, 1)
    await shop.record(change("MUG", "dc", at=datetime.now(UTC), movement=received))

    async def is_whole() -> bool:
        return promised((await shop.get(order.allocation_id)).allocation) == {"dc": 4}

    # The transaction that receives the mug has not locked the cups; the next sweep locks both.
    await eventually(is_whole)

    assert promised(order) == promised(waiting) == {}
    assert (await shop.get(order.allocation_id)).allocation.outcome == order_pb2.OUTCOME_ALLOCATED
    assert (await shop.ledger()).balanced


# Times


async def test_a_parcel_shipped_before_a_count_does_not_change_it_and_one_shipped_after_it_does(
    shop: Retailer,
) -> None:
    await shop.stock({("MUG", "dc"): 9})
    order = await sell(shop, lines(m=("MUG", 4)))
    counted = datetime.now(UTC) - timedelta(seconds=20)
    await shop.count({("MUG", "dc"): 8}, at=counted)

    await shop.ship(order.shipments[0], {"m": 1}, event_id="p-1", event_time=counted - timedelta(seconds=5))
    await shop.ship(order.shipments[0], {"m": 2}, event_id="p-2", event_time=counted + timedelta(seconds=5))
    await shop.count({("MUG", "dc"): 8}, at=counted + timedelta(seconds=1))

    level = await shop.level("MUG", "dc")
    assert (level.on_hand_count, level.allocated_count) == (6, 1)
    assert (await shop.ledger()).balanced


async def test_units_shipped_after_a_count_by_a_fast_clock_stay_subtracted_when_the_count_is_repeated(
    shop: Retailer,
) -> None:
    await shop.stock({("MUG", "dc"): 9})
    order = await sell(shop, lines(m=("MUG", 2)))
    ahead = datetime.now(UTC) + timedelta(minutes=2)
    await shop.count({("MUG", "dc"): 5}, at=ahead)

    await shop.ship(order.shipments[0])
    await shop.count({("MUG", "dc"): 5}, at=ahead)

    assert (await shop.level("MUG", "dc")).on_hand_count == 3
    assert (await shop.ledger()).balanced
