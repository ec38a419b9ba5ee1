"""A parcel that was scanned by mistake: afterwards everything is as if the scan had never been recorded."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from tests.conftest import RESOLVED_RULES, RetailerMaker, seeds
from tests.retailer import Retailer, change, order_request, promised, refused, request_id
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    catalog_service_pb2 as catalog_pb,
    order_pb2,
    shipment_pb2,
    stock_service_pb2 as stock_pb,
)

State = shipment_pb2.Shipment.State
Figures = tuple[int, int, int]


@pytest.fixture
async def shop(retailers: RetailerMaker) -> Retailer:
    """Rejections are rerouted, and oversold clearance products cancelled."""
    return await retailers.make(RESOLVED_RULES)


async def figures(shop: Retailer, sku: str = "MUG", location_id: str = "dc") -> Figures:
    """On hand, allocated and available."""
    level = await shop.level(sku, location_id)
    return level.on_hand_count, level.allocated_count, level.available_count


async def latest(shop: Retailer, order: allocation_pb.Allocation) -> allocation_pb.Allocation:
    return (await shop.get(order.allocation_id)).allocation


# What is restored


async def test_a_wrong_scan_is_taken_back_and_the_parcel_ships_with_a_new_event(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 5})
    order = await shop.allocate("A-1", {"MUG": 2})
    (shipment,) = order.shipments
    shipped = await shop.ship(shipment, event_id="scan-1")

    undone = await shop.undo(shipment, "scan-1")
    undone_figures = await figures(shop)
    await shop.ship(shipment, event_id="scan-2")
    answer = await shop.get(order.allocation_id)

    assert undone.shipments[0].state == State.STATE_ACCEPTED
    assert not undone.shipments[0].HasField("ship_time")
    assert (undone.lines[0].shipped_count, undone.lines[0].promised_count) == (0, 2)
    assert (undone.state, undone.status) == (order.state, order_pb2.ORDER_STATUS_IN_PROGRESS)
    assert undone_figures == (5, 2, 3)
    # Watches send an order whose version rose.
    assert undone.version > shipped.version
    assert [event.event for event in answer.timeline] == ["sold", "shipped", "ship_undone", "shipped"]
    assert "2 units from dc was undone" in answer.timeline[2].description
    assert answer.allocation.shipments[0].state == State.STATE_SHIPPED
    assert await figures(shop) == (3, 0, 3)
    movements = await shop.stock_service.ListStockMovements(
        stock_pb.ListStockMovementsRequest(allocation_id=order.allocation_id)
    )
    kinds = [(x.kind, x.on_hand_delta, x.allocated_delta, x.reason) for x in reversed(movements.stock_movements)]
    assert kinds[1:3] == [("shipped", -2, -2, ""), ("ship_undone", 2, 2, "scan-1")]
    assert (await shop.ledger()).balanced


async def test_one_of_several_events_is_taken_back(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 9, ("CUP", "dc"): 9})
    (shipment,) = (await shop.allocate("A-1", {"MUG": 5, "CUP": 1})).shipments
    await shop.ship(shipment, {"1": 2}, event_id="van-1")
    await shop.ship(shipment, {"1": 3, "2": 1}, event_id="van-2")

    unnamed = await refused(shop.undo(shipment))
    undone = await shop.undo(shipment, "van-2")

    assert "event_id: must name one of the events that shipped units: van-1, van-2" in (unnamed.details() or "")
    assert [(x.shipped_count, x.promised_count) for x in undone.lines] == [(2, 3), (0, 1)]
    assert undone.shipments[0].state == State.STATE_ACCEPTED
    assert await figures(shop) == (7, 3, 4)
    assert (await shop.ledger()).balanced


async def test_an_event_is_undone_once_and_its_id_ships_nothing_again(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 5})
    order = await shop.allocate("A-1", {"MUG": 2})
    (shipment,) = order.shipments
    await shop.ship(shipment, event_id="scan-1")
    await shop.ship(shipment, event_id="scan-1b")
    key = request_id()
    undone = await shop.undo(shipment, "scan-1", request_id=key)
    before = await shop.get(order.allocation_id)

    again = [await shop.undo(shipment, "scan-1", request_id=key), await shop.undo(shipment, "scan-1")]
    again.append(await shop.undo(shipment))
    repeated = await refused(shop.ship(shipment, event_id="scan-1"))
    late = await shop.ship(shipment, event_id="scan-1b")

    assert again == [undone] * 3
    assert repeated.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "if the parcel has left now, send it with a new event_id" in (repeated.details() or "")
    assert late == undone
    assert await shop.get(order.allocation_id) == before
    assert await figures(shop) == (5, 2, 3)


async def test_an_event_whose_line_the_order_has_no_more_stays_undone(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 5, ("CAP", "dc"): 5})
    order = await shop.allocate("A-1", [("MUG", 2), ("CAP", 1)])
    await shop.ship(order.shipments[0], event_id="scan-1")
    await shop.undo(order.shipments[0], "scan-1")
    changed = await shop.allocate("A-1", {"CAP": 1})

    again = await shop.undo(order.shipments[0], "scan-1")

    assert again.version == changed.version
    assert [line.sku for line in again.lines] == ["CAP"]
    assert (await shop.ledger()).balanced


async def test_a_scan_without_an_event_id_is_taken_back_too(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 5})
    (first,) = (await shop.allocate("A-1", {"MUG": 1})).shipments
    (second,) = (await shop.allocate("A-2", {"MUG": 1})).shipments
    key = request_id()
    await shop.ship(first)
    await shop.ship(second, request_id=key)

    await shop.undo(first)
    await shop.undo(second, key)

    assert await figures(shop) == (5, 2, 3)


async def test_units_that_the_order_no_longer_includes_are_cancelled_when_their_scan_is_undone(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 9})
    order = await shop.allocate("A-1", {"MUG": 5})
    gone = await shop.allocate("A-2", {"MUG": 2})
    await shop.ship(order.shipments[0], event_id="scan-1")
    await shop.ship(gone.shipments[0], event_id="scan-2")
    await shop.allocate("A-1", {"MUG": 2})
    await shop.cancel(gone.allocation_id, {}, whole_order=True)

    reduced = await shop.undo(order.shipments[0], "scan-1")
    cancelled = await shop.undo(gone.shipments[0], "scan-2")

    line = reduced.lines[0]
    assert (line.promised_count, line.cancelled_count, line.excess_count) == (2, 3, 0)
    assert cancelled.state == allocation_pb.Allocation.STATE_CANCELLED
    assert cancelled.shipments[0].state == State.STATE_CANCELLED
    assert await figures(shop) == (9, 2, 7)
    assert await shop.open_exceptions() == []
    assert (await shop.ledger()).balanced


@pytest.mark.parametrize(
    ("tag", "outcome"), [("", order_pb2.OUTCOME_NEEDS_REVIEW), ("launch", order_pb2.OUTCOME_BACKORDERED)]
)
async def test_an_order_of_which_only_short_units_remain_after_an_undo_is_not_partly_allocated(
    shop: Retailer, tag: str, outcome: int
) -> None:
    await shop.stock({("MUG", "dc"): 1, ("CUP", "dc"): 0})
    await shop.catalog.UpsertProducts(
        catalog_pb.UpsertProductsRequest(products=[catalog_pb.Product(sku="CUP", tags=[tag] if tag else [])])
    )
    order = await shop.allocate("A-1", {"MUG": 1})
    await shop.ship(order.shipments[0], event_id="scan-1")
    request = order_request("A-1", {"CUP": 2})
    request.lines[0].line_id = "2"
    changed = (await shop.allocations.AllocateOrder(request)).allocation

    undone = await shop.undo(order.shipments[0], "scan-1")

    assert changed.outcome == order_pb2.OUTCOME_PARTLY_ALLOCATED
    assert (undone.outcome, undone.state) == (outcome, allocation_pb.Allocation.STATE_CONFIRMED)
    assert (await shop.ledger()).balanced


# What has left


async def test_what_was_delivered_or_came_back_has_left(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 20})
    orders = [await shop.allocate(f"A-{n}", {"MUG": 2}) for n in range(4)]
    shipments = [order.shipments[0] for order in orders]
    for shipment in shipments[:3]:
        await shop.ship(shipment, event_id="scan-1")
    await shop.deliver(shipments[0])
    await shop.record_return(orders[1].allocation_id, {"1": 1}, "sellable", "dc")
    await shop.record_return(orders[2].allocation_id, {"1": 1}, "not_returned")
    before = [await shop.get(order.allocation_id) for order in orders]

    errors = [await refused(shop.undo(shipment, "scan-1")) for shipment in shipments[:3]]
    unshipped = await refused(shop.undo(shipments[3]))
    unknown = await refused(shop.undo(shipments[2], "scan-9"))

    causes = ("it was delivered", "1 unit of line 1 came back since", "1 unit of line 1 was refunded since")
    for error, cause in zip(errors, causes, strict=True):
        assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert f"cannot be undone: {cause}; record a return when its units are back" in (error.details() or "")
    assert "no unit of it was shipped by an event" in (unshipped.details() or "")
    assert unknown.code() == grpc.StatusCode.NOT_FOUND
    assert "no ShipShipment event of the shipment 'scan-9'; its events are: scan-1" in (unknown.details() or "")
    assert [await shop.get(order.allocation_id) for order in orders] == before


async def test_a_collected_order_cannot_be_taken_back(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 5})
    pickup: dict[str, Any] = {"method": order_pb2.FULFILLMENT_METHOD_PICKUP, "pickup_location_id": "dc"}
    order = await shop.allocate("A-1", {"MUG": 2}, **pickup)
    await shop.collect(order.shipments[0], event_id="counter-1")

    error = await refused(shop.undo(order.shipments[0], "counter-1"))

    assert "none of its units was shipped by an event" in (error.details() or "")


# Counts


async def test_a_count_made_since_has_the_parcel_in_it(shop: Retailer) -> None:
    """While the parcel is wrongly booked out, its units look free and are sold again; the newer order loses them."""
    await shop.stock({("MUG", "dc"): 5})
    order = await shop.allocate("A-1", {"MUG": 2})
    (shipment,) = order.shipments
    await shop.ship(shipment, event_id="scan-1")
    await shop.count({("MUG", "dc"): 5}, at=datetime.now(UTC))
    sold_again = await shop.allocate("A-2", {"MUG": 4})

    await shop.undo(shipment, "scan-1")

    assert await figures(shop) == (5, 5, 0)
    assert promised(await latest(shop, order)) == {"dc": 2}
    assert promised(await latest(shop, sold_again)) == {"dc": 3}
    assert (await shop.ledger()).balanced


async def test_a_count_from_before_the_scan_that_arrives_late_leaves_the_parcel_there(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 5})
    (shipment,) = (await shop.allocate("A-1", {"MUG": 2})).shipments
    before_scan = datetime.now(UTC)
    await shop.ship(shipment, event_id="scan-1")
    await shop.count({("MUG", "dc"): 7}, at=before_scan)

    await shop.undo(shipment, "scan-1")

    assert await figures(shop) == (7, 2, 5)
    assert (await shop.ledger()).balanced


@pytest.mark.parametrize("seed", seeds(2, of_long_tests=20))
async def test_after_an_undo_every_figure_is_as_if_the_scan_had_never_been_recorded(shop: Retailer, seed: int) -> None:
    """Two products have the same story, but for the scan of one. Counts may be gross or net, and of a past time."""
    chance = random.Random(seed)
    for number in range(5):
        skus = (f"S-{number}", f"T-{number}")
        net = chance.random() < 0.5
        await set_up_feed(shop, skus, source=f"feed-{seed}-{number}", net=net)
        orders = [await shop.allocate(f"{sku}-1", {sku: 2}) for sku in skus]
        promised_at = datetime.now(UTC)
        scanned_at = datetime.now(UTC)
        is_stated = chance.random() < 0.5
        await shop.ship(orders[0].shipments[0], event_id="scan", event_time=scanned_at if is_stated else None)
        steps = chance.choices(("count", "late count", "till", "late till"), k=chance.randint(0, 4))
        for step in steps:
            at = datetime.now(UTC) if not step.startswith("late") else promised_at
            await same_for_both(shop, skus, step, at, f"feed-{seed}-{number}", chance.randint(2, 9))
        await shop.undo(orders[0].shipments[0], "scan")
        for step in chance.choices(("count", "till"), k=chance.randint(0, 2)):
            await same_for_both(shop, skus, step, datetime.now(UTC), f"feed-{seed}-{number}", chance.randint(3, 9))

        assert await figures(shop, skus[0]) == await figures(shop, skus[1]), (number, net, steps)
    assert (await shop.ledger()).balanced


async def set_up_feed(shop: Retailer, skus: Sequence[str], *, source: str, net: bool) -> None:
    """20 units of each product at one location, counted by a feed, gross or net of open orders."""
    await shop.stock(dict.fromkeys(((sku, "dc") for sku in skus), 0))
    feed = catalog_pb.Feed(
        source=source,
        role=catalog_pb.Feed.ROLE_OWNER,
        open_orders=catalog_pb.Feed.OPEN_ORDERS_NET if net else catalog_pb.Feed.OPEN_ORDERS_GROSS,
        skus=skus,
    )
    await shop.catalog.UpsertFeeds(catalog_pb.UpsertFeedsRequest(feeds=[feed]))
    await shop.count(dict.fromkeys(((sku, "dc") for sku in skus), 20), at=datetime.now(UTC), source=source)


async def same_for_both(shop: Retailer, skus: Sequence[str], step: str, at: datetime, source: str, units: int) -> None:
    """The same count or sale at a till for both products, at the same time."""
    if step.endswith("count"):
        await shop.count(dict.fromkeys(((sku, "dc") for sku in skus), units), at=at, source=source)
        return
    sold = stock_pb.StockMovement(kind=stock_pb.MOVEMENT_KIND_SOLD, unit_count=1)
    await shop.record(*(change(sku, "dc", at=at, movement=sold) for sku in skus), source=source)
