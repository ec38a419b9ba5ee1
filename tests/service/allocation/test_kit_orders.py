"""Orders of kits: expanded at intake, planned whole, and kept as they were when they arrived."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from service import limits
from tests.conftest import RESOLVED_RULES
from tests.retailer import HOLD, SOLD, Retailer, eventually, promised, refused
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    availability_service_pb2 as availability_pb,
    catalog_service_pb2 as catalog_pb,
    exception_pb2,
    kit_pb2,
)


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 10, ("BOWL", "dc"): 5, ("MUG", "shop"): 1, ("BOWL", "shop"): 9})
    await retailer.kits({"SET": {"MUG": 1, "BOWL": 2}})
    return retailer


def lines(allocation: allocation_pb.Allocation) -> list[tuple[Any, ...]]:
    return [(x.line_id, x.sku, x.unit_count, x.kit_line_id, x.kit_sku, x.units_per_kit) for x in allocation.lines]


def units(allocation: allocation_pb.Allocation) -> dict[str, dict[str, int]]:
    """Promised units by location and line."""
    by_location = {x.location_id: {y.line_id: y.unit_count for y in x.lines} for x in allocation.shipments}
    return {key: counts for key, counts in by_location.items() if any(counts.values())}


async def test_a_line_of_a_kit_becomes_lines_of_its_components(shop: Retailer) -> None:
    allocation = await shop.allocate("1", [("SET", 2), ("MUG", 1)])

    assert lines(allocation) == [
        ("1/MUG", "MUG", 2, "1", "SET", 1),
        ("1/BOWL", "BOWL", 4, "1", "SET", 2),
        ("2", "MUG", 1, "", "", 0),
    ]
    assert units(allocation) == {"dc": {"1/MUG": 2, "1/BOWL": 4, "2": 1}}
    assert (await shop.find_order("web/1")).allocation == allocation


async def test_a_cart_of_more_components_than_an_order_may_have_is_refused(
    shop: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ORDER_COMPONENTS", 3)
    most = await shop.allocate("1", {"SET": 1, "MUG": 1}, HOLD)
    more = await refused(shop.allocate("2", {"SET": 1, "MUG": 1, "BOWL": 1}, HOLD))

    assert promised(most) == {"dc": 4}
    assert "lines: have 4 components together; at most 3 are allowed" in str(more.details())


async def test_every_kit_comes_whole_from_one_location(shop: Retailer) -> None:
    allocation = await shop.allocate("1", {"SET": 3})

    assert units(allocation) == {"dc": {"1/MUG": 2, "1/BOWL": 4}, "shop": {"1/MUG": 1, "1/BOWL": 2}}


async def test_a_kit_that_may_be_split_comes_from_several(shop: Retailer) -> None:
    await shop.kits({"GIFT": {"MUG": 1, "BOWL": 2}}, may_split=True)

    few, many = await shop.allocate("1", {"GIFT": 1}, HOLD), await shop.allocate("2", {"GIFT": 6}, HOLD)

    assert [len(x.shipments) for x in (few, many)] == [1, 2]
    assert (promised(many), list(many.shortages)) == ({"dc": 9, "shop": 9}, [])
    assert await shop.sellable("GIFT") == 0


async def test_what_is_sellable_is_what_an_order_gets(shop: Retailer) -> None:
    request = availability_pb.CheckAvailabilityRequest(channel_id="web", skus=["SET"])
    (found,) = (await shop.availability.CheckAvailability(request)).availabilities
    refused_hold = await shop.allocate("0", {"SET": found.largest_single_order_count + 1}, HOLD, validate_only=True)

    allocation = await shop.allocate("1", {"SET": found.largest_single_order_count}, HOLD)

    assert refused_hold.shortages
    assert not allocation.shortages
    assert await shop.sellable("SET") == 0


async def test_a_kit_that_lacks_a_component_is_short_with_all_of_them_and_says_which_is_missing(
    shop: Retailer,
) -> None:
    await shop.count({("BOWL", "dc"): 1, ("BOWL", "shop"): 2})
    allocation = await shop.allocate("1", {"SET": 2})

    assert units(allocation) == {"shop": {"1/MUG": 1, "1/BOWL": 2}}
    short = {(x.line_id, x.sku, x.kit_sku, x.kit_line_id): x.unit_count for x in allocation.shortages}
    assert short.pop(("1/MUG", "MUG", "SET", "1")) == 1
    (exception,) = await shop.open_exceptions()
    assert exception.kind == "oversell"
    assert (exception.sku, "BOWL" in exception.description, "kit SET" in exception.description) == ("BOWL", True, True)
    assert (await shop.level("MUG", "dc")).allocated_count == 0
    assert await shop.sellable("MUG") == 10
    await shop.resolve(exception.exception_id, exception_pb2.EXCEPTION_RESOLUTION_CANCELLED)
    left = (await shop.get(allocation.allocation_id)).allocation
    assert [(x.promised_count, x.cancelled_count) for x in left.lines] == [(1, 1), (2, 2)]


async def test_an_open_order_keeps_the_components_that_it_was_given(shop: Retailer) -> None:
    first = await shop.allocate("1", {"SET": 1})
    await shop.kits({"SET": {"MUG": 3}})
    same = await shop.allocate("1", {"SET": 1})
    more = await shop.allocate("1", {"SET": 2})
    deleted = await shop.catalog.DeleteKit(kit_pb2.DeleteKitRequest(sku="SET"))
    again = await shop.allocate("1", {"SET": 3})

    assert (lines(same), promised(same)) == (lines(first), promised(first))
    assert lines(more) == [("1/MUG", "MUG", 2, "1", "SET", 1), ("1/BOWL", "BOWL", 4, "1", "SET", 2)]
    assert (deleted.open_order_count, [x.order_id for x in deleted.orders]) == (1, ["1"])
    assert [x.unit_count for x in again.lines] == [3, 6]
    assert lines(await shop.allocate("2", {"SET": 1})) == [("1", "SET", 1, "", "", 0)]


async def test_an_order_of_a_product_that_becomes_a_kit_stays_as_it_is(shop: Retailer) -> None:
    await shop.count({("SET", "dc"): 4})
    await shop.catalog.DeleteKit(kit_pb2.DeleteKitRequest(sku="SET"))
    await shop.allocate("1", {"SET": 1})
    await shop.kits({"SET": {"MUG": 1}})

    assert lines(await shop.allocate("1", {"SET": 2})) == [("1", "SET", 2, "", "", 0)]


async def test_kits_are_cancelled_whole(shop: Retailer) -> None:
    allocation = await shop.allocate("1", {"SET": 3})

    cancelled = await shop.cancel(allocation.allocation_id, {"1": 1})
    components = [await refused(shop.cancel(allocation.allocation_id, {id: 1})) for id in ("1/MUG", "1/BOWL")]
    too_many = await refused(shop.cancel(allocation.allocation_id, {"1": 3}))

    assert [x.cancelled_count for x in cancelled.lines] == [1, 2]
    assert units(cancelled) == {"dc": {"1/MUG": 2, "1/BOWL": 4}}
    for component in components:
        assert component.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "cancel so many kits of line '1'" in str(component.details())
    assert too_many.code() == grpc.StatusCode.FAILED_PRECONDITION


async def test_a_cancellation_of_kits_may_arrive_before_the_order(shop: Retailer) -> None:
    await shop.cancel_order("web/1", {"1": 1})

    allocation = await shop.allocate("1", {"SET": 2})

    assert [(x.unit_count, x.cancelled_count) for x in allocation.lines] == [(2, 1), (4, 2)]


async def test_a_rejected_component_takes_its_kit_back_to_planning(retailers: Any) -> None:
    shop = await retailers.make(RESOLVED_RULES)
    await shop.stock({("MUG", "dc"): 10, ("BOWL", "dc"): 5, ("MUG", "shop"): 1, ("BOWL", "shop"): 9})
    await shop.kits({"SET": {"MUG": 1, "BOWL": 2}})
    allocation = await shop.allocate("1", {"SET": 1})
    (shipment,) = allocation.shipments

    rerouted = await shop.reject(shipment, "damaged", {"1/BOWL": 1})

    assert units(rerouted) == {"shop": {"1/MUG": 1, "1/BOWL": 2}}
    assert (await shop.level("MUG", "dc")).allocated_count == 0
    assert (await shop.level("BOWL", "dc")).unavailable_count == 1
    events = [x.description for x in (await shop.find_order("web/1")).timeline if x.event == "rejected"]
    assert events == ["dc cannot supply 1 unit of BOWL of kit SET (damaged)."]


async def test_components_come_back_one_by_one(shop: Retailer) -> None:
    allocation = await shop.allocate("1", {"SET": 1})
    (shipment,) = allocation.shipments
    await shop.ship(shipment)

    returned = await shop.record_return(allocation.allocation_id, {"1/BOWL": 1}, "sellable", "dc")

    assert [(x.line_id, x.returned_count) for x in returned.lines] == [("1/MUG", 0), ("1/BOWL", 1)]
    assert (await shop.level("BOWL", "dc")).on_hand_count == 4


async def test_lost_stock_of_a_component_takes_its_kit_to_another_location(shop: Retailer) -> None:
    await shop.allocate("1", {"SET": 2})

    await shop.count({("BOWL", "dc"): 2})

    allocation = (await shop.find_order("web/1")).allocation
    assert units(allocation) == {"dc": {"1/MUG": 1, "1/BOWL": 2}, "shop": {"1/MUG": 1, "1/BOWL": 2}}
    assert (await shop.ledger()).balanced


async def test_a_backordered_kit_is_filled_whole_when_the_missing_component_arrives(retailers: Any) -> None:
    shop = await retailers.make(RESOLVED_RULES)
    await shop.stock({("MUG", "dc"): 10, ("BOWL", "dc"): 0})
    bowl = catalog_pb.Product(sku="BOWL", tags=["launch"])
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[bowl]))
    await shop.kits({"SET": {"MUG": 1, "BOWL": 2}})
    waiting = await shop.allocate("1", {"SET": 2})
    await shop.count({("BOWL", "dc"): 3})

    filled = (await shop.find_order("web/1")).allocation

    assert [(x.promised_count, x.backordered_count) for x in waiting.lines] == [(0, 2), (0, 4)]
    assert [(x.promised_count, x.backordered_count) for x in filled.lines] == [(1, 1), (2, 2)]


async def test_a_kit_is_not_cancelled_in_part_where_rules_treat_its_missing_components_differently(
    retailers: Any,
) -> None:
    shop = await retailers.make(RESOLVED_RULES)
    await shop.stock({("MUG", "dc"): 0, ("BOWL", "dc"): 0, ("TRAY", "dc"): 0})
    tags = {"BOWL": "launch", "TRAY": "clearance"}
    products = [catalog_pb.Product(sku=sku, tags=[tag]) for sku, tag in tags.items()]
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=products))
    await shop.kits({"SET": {"BOWL": 2, "TRAY": 1}, "GIFT": {"MUG": 1, "BOWL": 1, "TRAY": 1}})

    cancelled, asked = await shop.allocate("1", {"SET": 2}), await shop.allocate("2", {"GIFT": 1})

    assert [(x.sku, x.cancelled_count, x.backordered_count) for x in cancelled.lines] == [
        ("BOWL", 4, 0),
        ("TRAY", 2, 0),
    ]
    assert [(x.sku, x.short_count) for x in asked.lines] == [("MUG", 1), ("BOWL", 1), ("TRAY", 1)]
    assert [(x.order_id, x.action) for x in await shop.open_exceptions()] == [("2", "review")]


async def test_decisions_about_kits_are_replayed_to_the_byte(shop: Retailer) -> None:
    for order_id, kits in (("1", 2), ("2", 3)):
        await shop.allocate(order_id, {"SET": kits})
    shipment = (await shop.find_order("web/1")).allocation.shipments[0]
    await shop.reject(shipment, "damaged", {"1/BOWL": 1})

    for order_id in ("1", "2"):
        for event in (await shop.find_order(f"web/{order_id}")).timeline:
            if event.decision_id:
                assert (await shop.replay(event.decision_id)).identical


async def test_the_price_of_a_kit_is_the_value_of_its_order(shop: Retailer) -> None:
    request = allocation_pb.AllocateOrderRequest(channel_id="web", order_id="1", commitment=SOLD)
    line = request.lines.add(sku="SET", unit_count=3)
    line.unit_price.currency_code, line.unit_price.units = "USD", 20
    allocation = (await shop.allocations.AllocateOrder(request)).allocation

    decision = await shop.decision(allocation.decision.decision_id)
    assert list(decision.inputs.order.unit_prices) == ["20", "0"]
    assert {part.kit_sku for part in decision.inputs.order.kit_parts} == {"SET"}
    assert {x.product.sku for x in decision.inputs.products} == {"MUG", "BOWL", "SET"}


async def sell_case(shop: Retailer) -> allocation_pb.Allocation:
    request = allocation_pb.AllocateOrderRequest(channel_id="web", order_id="1", commitment=SOLD)
    request.lines.add(item_id="case", unit_count=1)
    response: allocation_pb.AllocateOrderResponse = await shop.allocations.AllocateOrder(request)
    return response.allocation


async def test_an_item_of_kits_stays_as_it_is_when_its_listing_changes(shop: Retailer) -> None:
    await shop.list_item("web", "case", "SET", 2)
    before = await sell_case(shop)
    await shop.list_item("web", "case", "MUG", 5)

    assert await sell_case(shop) == before


async def test_an_item_that_is_mapped_to_kits_becomes_lines_of_their_components(shop: Retailer) -> None:
    waiting = await sell_case(shop)
    await shop.list_item("web", "case", "SET", 2)
    mapped = (await shop.find_order("web/1")).allocation

    assert [x.cause for x in waiting.shortages] == ["unmapped"]
    assert lines(mapped) == [("1/MUG", "MUG", 2, "1", "SET", 1), ("1/BOWL", "BOWL", 4, "1", "SET", 2)]
    assert units(mapped) == {"dc": {"1/MUG": 2, "1/BOWL": 4}}
    assert not mapped.shortages
    assert await sell_case(shop) == mapped
    assert (await shop.replay(mapped.decision.decision_id)).identical
    assert (await shop.ledger()).balanced


async def test_an_item_of_a_channel_may_be_a_case_of_kits(shop: Retailer) -> None:
    await shop.list_item("web", "case", "SET", 2)
    request = allocation_pb.AllocateOrderRequest(channel_id="web", order_id="1", commitment=SOLD)
    request.lines.add(item_id="case", unit_count=1)
    allocation = (await shop.allocations.AllocateOrder(request)).allocation

    assert lines(allocation) == [("1/MUG", "MUG", 2, "1", "SET", 1), ("1/BOWL", "BOWL", 4, "1", "SET", 2)]
    assert units(allocation) == {"dc": {"1/MUG": 2, "1/BOWL": 4}}
    assert {(x.item_id, x.item_count) for x in allocation.lines} == {("case", 1)}
    cancellation = allocation_pb.LineCancellation(item_id="case", unit_count=1)
    cancelled = await shop.allocations.CancelOrderLines(
        allocation_pb.CancelOrderLinesRequest(allocation_id=allocation.allocation_id, cancellations=[cancellation])
    )
    assert [x.cancelled_count for x in cancelled.allocation.lines] == [2, 4]


async def test_a_kit_that_was_sold_before_the_catalog_had_it_is_planned_once_it_does(shop: Retailer) -> None:
    waiting = await shop.allocate("1", {"TEA": 2})
    await shop.allocate("2", {"TEA": 4})
    await shop.kits({"TEA": {"MUG": 2, "BOWL": 1}})

    async def is_planned() -> bool:
        return all([units((await shop.find_order(name)).allocation) for name in ("web/1", "web/2")])

    await eventually(is_planned)

    allocation, rest = [(await shop.find_order(name)).allocation for name in ("web/1", "web/2")]
    assert [x.cause for x in waiting.shortages] == ["unmapped"]
    assert {(x.sku, x.unit_count) for x in rest.shortages} == {("MUG", 2), ("BOWL", 1)}
    assert lines(allocation) == [("1/MUG", "MUG", 4, "1", "TEA", 2), ("1/BOWL", "BOWL", 2, "1", "TEA", 1)]
    assert (units(allocation), list(allocation.shortages)) == ({"dc": {"1/MUG": 4, "1/BOWL": 2}}, [])


async def test_an_item_that_is_mapped_to_a_kit_later_becomes_its_components(shop: Retailer) -> None:
    request = allocation_pb.AllocateOrderRequest(channel_id="web", order_id="1", commitment=SOLD)
    request.lines.add(item_id="box", unit_count=1)
    await shop.allocations.AllocateOrder(request)

    await shop.list_item("web", "box", "SET", 2)

    allocation = (await shop.find_order("web/1")).allocation
    assert units(allocation) == {"dc": {"1/MUG": 2, "1/BOWL": 4}}
    assert {(x.item_id, x.item_count, x.kit_sku) for x in allocation.lines} == {("box", 1, "SET")}


async def test_a_cancelled_item_that_is_mapped_to_a_kit_is_its_components_too(shop: Retailer) -> None:
    request = allocation_pb.AllocateOrderRequest(channel_id="web", order_id="1", commitment=SOLD)
    for _ in range(2):
        request.lines.add(item_id="box", unit_count=1)
    waiting = (await shop.allocations.AllocateOrder(request)).allocation
    await shop.cancel(waiting.allocation_id, {"1": 1})

    await shop.list_item("web", "box", "SET")

    allocation = (await shop.find_order("web/1")).allocation
    assert [(x.line_id, x.cancelled_count, x.promised_count) for x in allocation.lines] == [
        *(("1/MUG", 1, 0), ("1/BOWL", 2, 0)),
        *(("2/MUG", 0, 1), ("2/BOWL", 0, 2)),
    ]


async def test_a_kit_that_is_left_of_a_cancelled_item_of_two_ships_whole(retailers: Any) -> None:
    shop = await retailers.make(RESOLVED_RULES)
    await shop.stock({(sku, location_id): 0 for sku in ("MUG", "BOWL") for location_id in ("dc", "shop")})
    launches = [catalog_pb.Product(sku=sku, tags=["launch"]) for sku in ("MUG", "BOWL")]
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=launches))
    await shop.kits({"SET": {"MUG": 1, "BOWL": 2}})
    await shop.list_item("web", "box", "SET", 2)
    request = allocation_pb.AllocateOrderRequest(channel_id="web", order_id="1", commitment=SOLD)
    request.lines.add(item_id="box", unit_count=1)
    waiting = (await shop.allocations.AllocateOrder(request)).allocation
    await shop.cancel(waiting.allocation_id, {"1": 1})

    await shop.count({("MUG", "dc"): 1, ("BOWL", "shop"): 2})
    apart = (await shop.find_order("web/1")).allocation
    await shop.count({("BOWL", "dc"): 2})
    together = (await shop.find_order("web/1")).allocation

    assert units(apart) == {}
    assert units(together) == {"dc": {"1/MUG": 1, "1/BOWL": 2}}
