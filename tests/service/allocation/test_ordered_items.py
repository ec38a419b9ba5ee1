"""Orders that name a channel's items: expanded once by their listings, and kept as they were ordered."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.conftest import RESOLVED_RULES, RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, State, eventually, order_reference, promised, refused
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    catalog_service_pb2 as catalog_pb,
    exception_pb2,
    fulfillment_service_pb2 as fulfillment_pb,
    listing_pb2 as listing_pb,
    order_pb2,
)

HUGE = "9223372036854775808123"
"""The id of an item, a number of more than 64 bits."""


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    """20 mugs, sold alone and as a case of 6."""
    await retailer.stock({("MUG", "dc"): 20, ("BOWL", "dc"): 9})
    await retailer.list_item("web", HUGE, "MUG", 6)
    await retailer.list_item("web", "single", "MUG")
    return retailer


def request(
    order_id: str, *lines: tuple[str, int], commitment: int = SOLD, **fields: Any
) -> allocation_pb.AllocateOrderRequest:
    """An order of items."""
    return allocation_pb.AllocateOrderRequest(
        channel_id="web",
        order_id=order_id,
        commitment=commitment,  # type: ignore[arg-type]
        lines=[order_pb2.OrderLine(item_id=item_id, unit_count=count) for item_id, count in lines],
        **fields,
    )


async def order(shop: Retailer, order_id: str, *lines: tuple[str, int], **fields: Any) -> allocation_pb.Allocation:
    response: allocation_pb.AllocateOrderResponse = await shop.allocations.AllocateOrder(
        request(order_id, *lines, **fields)
    )
    return response.allocation


async def find(shop: Retailer, name: str = "web/A-1") -> allocation_pb.Allocation:
    return (await shop.find_order(name)).allocation


def units(line: allocation_pb.AllocatedLine) -> tuple[str, int, str, int]:
    return line.sku, line.unit_count, line.item_id, line.item_count


async def delete(shop: Retailer, item_id: str) -> listing_pb.DeleteListingResponse:
    response: listing_pb.DeleteListingResponse = await shop.catalog.DeleteListing(
        listing_pb.DeleteListingRequest(channel_id="web", item_id=item_id)
    )
    return response


async def test_a_line_of_an_item_is_promised_in_units_of_its_sku(shop: Retailer) -> None:
    answer = await order(shop, "A-1", (HUGE, 2), ("single", 3))

    assert [units(line) for line in answer.lines] == [("MUG", 12, HUGE, 2), ("MUG", 3, "single", 3)]
    assert promised(answer) == {"dc": 15}
    assert await shop.sellable("MUG") == 5
    assert await find(shop) == answer
    assert (await shop.replay(answer.decision.decision_id)).identical


async def test_the_stored_decision_keeps_what_was_ordered(shop: Retailer) -> None:
    answer = await order(shop, "A-1", (HUGE, 2))
    inputs = (await shop.decision(answer.decision.decision_id)).inputs.order

    assert [(x.line_id, x.item_id, x.item_count, x.units_per_item) for x in inputs.items] == [("1", HUGE, 2, 6)]
    assert [(x.sku, x.unit_count) for x in inputs.lines] == [("MUG", 12)]


async def test_a_shortage_counts_units_and_items(shop: Retailer) -> None:
    answer = await order(shop, "A-1", (HUGE, 5))
    shortages = [(x.sku, x.unit_count, x.item_id, x.item_count) for x in answer.shortages]

    assert promised(answer) == {"dc": 18}
    assert sorted(shortages) == [("MUG", 2, HUGE, 1), ("MUG", 10, HUGE, 2)]


async def test_items_come_whole_from_one_location_each(shop: Retailer) -> None:
    await shop.stock({("CUP", "dc"): 10, ("CUP", "store"): 9})
    await shop.list_item("web", "cups", "CUP", 6)
    answer = await order(shop, "A-1", ("cups", 3))

    assert promised(answer) == {"dc": 6, "store": 6}
    assert [(x.unit_count, x.item_count) for x in answer.shortages] == [(6, 1)]
    assert (await shop.replay(answer.decision.decision_id)).identical


async def test_a_location_that_lacks_a_part_of_an_item_is_passed_over(shop: Retailer) -> None:
    await shop.stock({("CUP", "dc"): 4, ("CUP", "store"): 8})
    await shop.list_item("web", "cups", "CUP", 6)

    assert promised(await order(shop, "A-1", ("cups", 1))) == {"store": 6}


async def test_the_same_order_is_the_same_after_its_listing_has_changed_or_is_gone(shop: Retailer) -> None:
    before = await order(shop, "A-1", (HUGE, 2))
    await shop.list_item("web", HUGE, "BOWL", 4)
    changed = await order(shop, "A-1", (HUGE, 2))
    await delete(shop, HUGE)
    deleted = await order(shop, "A-1", (HUGE, 2))

    assert before == changed == deleted


@pytest.mark.parametrize("commitment", [HOLD, SOLD])
async def test_a_hold_stays_as_it_was_expanded_until_it_is_sold(shop: Retailer, commitment: int) -> None:
    await order(shop, "A-1", (HUGE, 2), commitment=HOLD)
    await delete(shop, HUGE)
    answer = await order(shop, "A-1", (HUGE, 2), commitment=commitment)

    assert [units(line) for line in answer.lines] == [("MUG", 12, HUGE, 2)]
    assert promised(answer) == {"dc": 12}


async def test_a_changed_line_is_expanded_by_the_present_listing_and_the_others_stay(shop: Retailer) -> None:
    await order(shop, "A-1", (HUGE, 1), ("single", 1))
    await shop.list_item("web", HUGE, "BOWL", 4)
    await shop.list_item("web", "single", "BOWL")
    answer = await order(shop, "A-1", (HUGE, 2), ("single", 1))

    assert [units(line) for line in answer.lines] == [("BOWL", 8, HUGE, 2), ("MUG", 1, "single", 1)]


async def test_a_changed_line_of_which_units_have_shipped_keeps_its_sku(shop: Retailer) -> None:
    answer = await order(shop, "A-1", (HUGE, 1))
    await shop.ship(answer.shipments[0])
    await shop.list_item("web", HUGE, "BOWL", 4)
    answer = await order(shop, "A-1", (HUGE, 2))

    assert [(*units(line), line.shipped_count) for line in answer.lines] == [("MUG", 12, HUGE, 2, 6)]


async def test_a_line_that_names_both_or_neither_is_an_invalid_field_of_a_cart(shop: Retailer) -> None:
    for line in (order_pb2.OrderLine(sku="MUG", item_id=HUGE, unit_count=1), order_pb2.OrderLine(unit_count=1)):
        cart = allocation_pb.AllocateOrderRequest(channel_id="web", order_id="A-1", commitment=HOLD, lines=[line])
        error = await refused(shop.allocations.AllocateOrder(cart))

        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "lines[0]" in str(error.details())


async def test_a_sold_line_that_names_both_is_kept_and_short(shop: Retailer) -> None:
    line = order_pb2.OrderLine(sku="MUG", item_id=HUGE, unit_count=1)
    sale = allocation_pb.AllocateOrderRequest(channel_id="web", order_id="A-1", commitment=SOLD, lines=[line])
    answer = (await shop.allocations.AllocateOrder(sale)).allocation
    timeline = (await shop.find_order("web/A-1")).timeline

    assert [(x.sku, x.unit_count, x.cause) for x in answer.shortages] == [("", 1, "unmapped")]
    assert any("name either sku or item_id" in event.description for event in timeline)


async def test_a_cart_of_an_item_that_is_not_mapped_is_refused(shop: Retailer) -> None:
    error = await refused(order(shop, "A-1", ("single", 1), ("unknown", 1), commitment=HOLD))

    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert "no listing 'unknown'" in str(error.details())
    assert not await shop.sql("SELECT FROM allocation")


async def test_a_known_order_whose_cart_names_an_item_that_is_not_mapped_is_refused_alone(shop: Retailer) -> None:
    await order(shop, "A-1", ("single", 1), commitment=HOLD)
    batch = allocation_pb.BatchAllocateOrdersRequest(
        requests=[request("A-1", ("unknown", 1), commitment=HOLD), request("A-2", ("single", 2))]
    )
    results = (await shop.allocations.BatchAllocateOrders(batch)).results

    assert results[0].error.code == grpc.StatusCode.NOT_FOUND.value[0]
    assert promised(results[1].allocation) == {"dc": 2}


async def test_a_sold_item_that_is_not_mapped_waits_and_its_exception_names_it(shop: Retailer) -> None:
    answer = await order(shop, "A-1", ("single", 2), ("new", 3))
    short = answer.shortages[0]
    (exception,) = await shop.open_exceptions(kinds=["unmapped_product"])
    shown = await shop.find_order("web/A-1")

    assert promised(answer) == {"dc": 2}
    assert (short.sku, short.unit_count, short.cause, short.backordered) == ("", 3, "unmapped", True)
    assert (short.item_id, short.item_count) == ("new", 3)
    assert "web sold the item 'new'" in exception.description
    assert [x.exception_id for x in shown.exceptions] == [exception.exception_id]


async def test_an_item_with_the_id_of_a_sku_is_not_that_sku(shop: Retailer) -> None:
    answer = await order(shop, "A-1", ("MUG", 2))

    assert promised(answer) == {}
    assert answer.shortages[0].cause == "unmapped"


async def test_two_items_that_are_not_mapped_have_an_exception_each(shop: Retailer) -> None:
    await order(shop, "A-1", ("new", 1), ("newer", 1))
    await order(shop, "A-2", ("new", 1))

    assert len(await shop.open_exceptions(kinds=["unmapped_product"])) == 2


async def test_the_value_of_an_order_counts_the_price_of_an_item_once_for_each_item(shop: Retailer) -> None:
    line = order_pb2.OrderLine(item_id=HUGE, unit_count=2)
    line.unit_price.currency_code, line.unit_price.units = "USD", 25
    sale = allocation_pb.AllocateOrderRequest(channel_id="web", order_id="A-1", commitment=SOLD, lines=[line])
    answer = (await shop.allocations.AllocateOrder(sale)).allocation

    whole = await shop.sql("SELECT unit_price, unit_count FROM order_line")
    assert [tuple(row) for row in whole] == [(25, 12)]
    assert (await shop.replay(answer.decision.decision_id)).identical


async def test_a_preview_shows_what_an_item_would_be(shop: Retailer) -> None:
    answer = await order(shop, "A-1", (HUGE, 2), validate_only=True)

    assert [units(line) for line in answer.lines] == [("MUG", 12, HUGE, 2)]
    assert promised(answer) == {"dc": 12}


def cancellation(item_id: str, count: int, line_id: str = "", **fields: Any) -> allocation_pb.CancelOrderLinesRequest:
    entry = allocation_pb.LineCancellation(line_id=line_id, item_id=item_id, unit_count=count)
    return allocation_pb.CancelOrderLinesRequest(order=order_reference("web/A-1"), cancellations=[entry], **fields)


@pytest.mark.parametrize("line_id", ["", "1"])
async def test_items_of_a_line_are_cancelled_as_items(shop: Retailer, line_id: str) -> None:
    await order(shop, "A-1", (HUGE, 3), ("single", 1))
    await delete(shop, HUGE)
    answer = (await shop.allocations.CancelOrderLines(cancellation(HUGE, 2, line_id))).allocation

    assert [(x.unit_count, x.cancelled_count, x.item_count) for x in answer.lines] == [(18, 12, 3), (1, 0, 1)]
    assert promised(answer) == {"dc": 7}


async def test_an_item_of_which_units_are_oversold_is_cancelled_whole(retailers: RetailerMaker) -> None:
    shop = await retailers.make(RESOLVED_RULES)
    await shop.stock({("CUP", "dc"): 5})
    await shop.catalog.UpsertProducts(
        catalog_pb.UpsertProductsRequest(products=[catalog_pb.Product(sku="CUP", tags=["clearance"])])
    )
    await shop.list_item("web", "pack", "CUP", 3)
    sold = await order(shop, "A-1", ("pack", 2))
    answer = (await shop.allocations.CancelOrderLines(cancellation("pack", 1))).allocation

    assert [(x.promised_count, x.cancelled_count, x.short_count) for x in sold.lines] == [(3, 3, 0)]
    assert [(x.promised_count, x.cancelled_count) for x in answer.lines] == [(0, 6)]


async def test_a_person_resolves_the_shortage_of_an_item_for_the_whole_item(shop: Retailer) -> None:
    await order(shop, "A-1", (HUGE, 5))
    (exception,) = await shop.open_exceptions()
    await shop.resolve(exception.exception_id, exception_pb2.EXCEPTION_RESOLUTION_CANCELLED)
    answer = await find(shop)

    assert exception.kind == "oversell"
    assert [(x.promised_count, x.cancelled_count, x.short_count) for x in answer.lines] == [(18, 12, 0)]


async def test_items_are_cancelled_before_their_order_arrives(shop: Retailer) -> None:
    await shop.allocations.CancelOrderLines(cancellation(HUGE, 1, "1", event_id="e-1"))
    answer = await order(shop, "A-1", (HUGE, 3))

    assert [(x.unit_count, x.cancelled_count) for x in answer.lines] == [(18, 6)]
    assert promised(answer) == {"dc": 12}


async def test_a_cancelled_item_is_one_of_the_present_listing_in_contents_that_arrive_late(shop: Retailer) -> None:
    await order(shop, "A-1", (HUGE, 2), channel_update_time=at(10))
    await shop.allocations.CancelOrderLines(cancellation(HUGE, 1, event_id="e-1", channel_update_time=at(30)))
    await shop.list_item("web", HUGE, "MUG", 4)
    answer = await order(shop, "A-1", (HUGE, 3), channel_update_time=at(20))

    assert [(x.unit_count, x.promised_count, x.cancelled_count) for x in answer.lines] == [(12, 8, 4)]


async def test_a_line_is_cancelled_by_items_and_by_units_of_different_shipments_at_once(shop: Retailer) -> None:
    await shop.stock({("CUP", "dc"): 3, ("CUP", "store"): 3})
    await shop.list_item("web", "cups", "CUP", 3)
    placed = await order(shop, "A-1", ("cups", 2))
    request = cancellation("cups", 1, "1", event_id="e-1")
    request.cancellations[0].shipment_id = placed.shipments[0].shipment_id
    request.cancellations.add(line_id="1", unit_count=1, shipment_id=placed.shipments[1].shipment_id)
    answer = (await shop.allocations.CancelOrderLines(request)).allocation

    assert [(x.promised_count, x.cancelled_count) for x in answer.lines] == [(2, 4)]


def at(second: int) -> Timestamp:
    return Timestamp(seconds=1_790_000_000 + second)


async def test_an_item_that_its_line_did_not_order_cannot_be_cancelled(shop: Retailer) -> None:
    await order(shop, "A-1", (HUGE, 1), (HUGE, 1), ("single", 1))
    wrong = {
        f"line '3' did not order item '{HUGE}'": cancellation(HUGE, 1, "3"),
        "no line of the order ordered item 'other'": cancellation("other", 1),
        "several lines ordered the item; name one": cancellation(HUGE, 1),
    }
    for problem, request in wrong.items():
        error = await refused(shop.allocations.CancelOrderLines(request))

        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert problem in (error.details() or "")
    assert promised(await find(shop)) == {"dc": 13}


async def test_more_items_than_remain_are_not_cancelled(shop: Retailer) -> None:
    await order(shop, "A-1", (HUGE, 1))
    error = await refused(shop.allocations.CancelOrderLines(cancellation(HUGE, 2)))

    assert "TOO_MANY_UNITS" in str(error.trailing_metadata())
    assert (await find(shop)).state == State.STATE_CONFIRMED


async def test_an_item_that_is_mapped_is_expanded_in_the_orders_that_wait_and_its_exception_resolved(
    shop: Retailer,
) -> None:
    before = await order(shop, "A-1", ("single", 2), ("new", 2))
    await shop.list_item("web", "new", "BOWL", 4)
    answer = await find(shop)

    assert [units(line) for line in answer.lines] == [("MUG", 2, "single", 2), ("BOWL", 8, "new", 2)]
    assert [x.promised_count for x in answer.lines] == [2, 8]
    assert not answer.shortages
    assert answer.shipments[0] == before.shipments[0]
    assert await shop.open_exceptions(kinds=["unmapped_product"]) == []
    assert [tuple(x) for x in await shop.sql("SELECT resolution FROM exception WHERE kind = 'unmapped_product'")] == [
        ("mapped",)
    ]
    assert (await shop.replay(answer.decision.decision_id)).identical
    assert (await shop.ledger()).balanced
    assert await order(shop, "A-1", ("single", 2), ("new", 2)) == answer


async def test_units_of_a_mapped_item_that_are_not_there_wait_for_stock(shop: Retailer) -> None:
    await order(shop, "A-1", ("new", 3))
    await shop.list_item("web", "new", "BOWL", 4)
    waiting = await find(shop)
    await shop.count({("BOWL", "dc"): 40})

    assert [(x.unit_count, x.promised_count, x.backordered_count) for x in waiting.lines] == [(12, 8, 4)]
    assert promised(await find(shop)) == {"dc": 12}
    assert shop.metric("oversold_units_total", channel="web", cause="unmapped") == 12
    assert shop.metric("sold_units_total", channel="web") == 12


async def test_items_cancelled_before_they_were_mapped_stay_cancelled(shop: Retailer) -> None:
    await order(shop, "A-1", ("new", 3))
    await shop.allocations.CancelOrderLines(cancellation("new", 1, event_id="e-1"))
    await shop.list_item("web", "new", "BOWL", 2)
    mapped = await find(shop)
    again = await order(shop, "A-1", ("new", 3))

    assert [(x.unit_count, x.promised_count, x.cancelled_count) for x in mapped.lines] == [(6, 4, 2)]
    assert again == mapped


async def test_an_item_that_was_cancelled_whole_keeps_no_order_waiting(shop: Retailer) -> None:
    """Nothing of it is left to plan once it is mapped."""
    await order(shop, "A-1", ("single", 2), ("new", 1))
    await shop.allocations.CancelOrderLines(cancellation("new", 1, event_id="e-1"))
    await order(shop, "A-2", ("new", 1))
    await shop.list_item("web", "new", "BOWL", 3)
    cancelled, other = await find(shop), await find(shop, "web/A-2")

    assert [(x.sku, x.unit_count, x.promised_count, x.cancelled_count) for x in cancelled.lines] == [
        ("MUG", 2, 2, 0),
        ("BOWL", 3, 0, 3),
    ]
    assert promised(other) == {"dc": 3}


async def test_an_order_that_arrived_while_its_item_was_mapped_is_expanded_by_the_sweep(shop: Retailer) -> None:
    await order(shop, "A-1", ("new", 1))
    await shop.sql("INSERT INTO listing (channel_id, item_id, sku, unit_count) VALUES ('web', 'new', 'BOWL', 3)")

    async def is_mapped() -> bool:
        return promised(await find(shop)) == {"dc": 3}

    await eventually(is_mapped)


async def test_many_orders_that_wait_for_an_item_are_all_expanded(shop: Retailer) -> None:
    for number in range(3):
        await shop.allocations.BatchAllocateOrders(
            allocation_pb.BatchAllocateOrdersRequest(
                requests=[request(f"A-{number}-{index}", ("new", 1)) for index in range(40)]
            )
        )
    await shop.list_item("web", "new", "MUG")

    assert not await shop.sql("SELECT FROM order_line WHERE item_units = 0")
    assert (await shop.level("MUG", "dc")).allocated_count == 20
    assert (await shop.ledger()).balanced


async def test_deleting_a_listing_says_which_open_orders_use_it(shop: Retailer) -> None:
    for order_id in ("A-1", "A-2", "A-3", "A-4"):
        answer = await order(shop, order_id, (HUGE, 1))
    await shop.cancel_order("web/A-2", {"1": 6})
    await shop.ship((await find(shop, "web/A-3")).shipments[0])
    await order(shop, "A-5", ("single", 1))
    await shop.channels(tiktok="")
    request = listing_pb.DeleteListingRequest(channel_id="web", item_id=HUGE, validate_only=True)
    checked = await shop.catalog.DeleteListing(request)
    deleted = await delete(shop, HUGE)

    assert answer.shortages
    assert deleted == checked
    assert deleted.open_order_count == 2
    assert [x.order_id for x in deleted.orders] == ["A-4", "A-1"]


async def returned(shop: Retailer, allocation_id: str, item_id: str, count: int) -> allocation_pb.Allocation:
    lines = [fulfillment_pb.LineUnits(line_id="1", unit_count=count, item_id=item_id)]
    response: fulfillment_pb.RecordReturnResponse = await shop.fulfillment.RecordReturn(
        fulfillment_pb.RecordReturnRequest(
            allocation_id=allocation_id,
            lines=lines,
            disposition=fulfillment_pb.RETURN_DISPOSITION_SELLABLE,
            location_id="dc",
            event_id="R-1",
        )
    )
    return response.allocation


async def test_items_come_back_as_items(shop: Retailer) -> None:
    answer = await order(shop, "A-1", (HUGE, 2))
    await shop.ship(answer.shipments[0])
    await delete(shop, HUGE)
    first = await returned(shop, answer.allocation_id, HUGE, 1)
    again = await returned(shop, answer.allocation_id, HUGE, 1)
    error = await refused(returned(shop, answer.allocation_id, "single", 1))

    assert [(x.shipped_count, x.returned_count) for x in first.lines] == [(12, 6)]
    assert again == first
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_only_returns_name_items_of_shipments(shop: Retailer) -> None:
    answer = await order(shop, "A-1", (HUGE, 1))
    lines = [fulfillment_pb.LineUnits(line_id="1", unit_count=1, item_id=HUGE)]
    request = fulfillment_pb.ShipShipmentRequest(shipment_id=answer.shipments[0].shipment_id, lines=lines)
    error = await refused(shop.fulfillment.ShipShipment(request))

    assert "lines[0].item_id: applies only to returns" in str(error.details())
