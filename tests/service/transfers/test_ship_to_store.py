"""Pickup orders that a store cannot fill alone: units sent to it from other locations, or shipped to the shopper."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.type.latlng_pb2 import LatLng

from tests.conftest import RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, eventually, refused
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    catalog_service_pb2 as catalog_pb,
    order_pb2,
    pickup_pb2,
    shipment_pb2,
    stock_service_pb2 as stock_pb,
)

pytestmark = pytest.mark.usefixtures("one_day")

PICKUP = order_pb2.FULFILLMENT_METHOD_PICKUP
HOME = order_pb2.Destination(country="US", coordinates=LatLng(latitude=40, longitude=-75))
RULES = """
kind: routing
policies:
  - {name: collect, position: 10, applies_to: {order.method: pickup}, only: {location.offers_pickup: true},
     rank: [priority], max_shipments: 1, ship_to_store: true}
  - {name: to-stores, position: 20, applies_to: {order.method: transfer}, only: {location.type: warehouse},
     rank: [priority]}
  - {name: others, position: 100, rank: [fewest_shipments, priority]}
"""
DELIVERY = """
kind: delivery
rules:
  - {name: truck, position: 1, when: {order.method: transfer}, service: truck, transit_days: 2}
  - {name: parcel, position: 2, service: parcel, transit_days: 3}
"""
EXCEPTIONS = """
kind: exception
rules:
  - {name: rejected, position: 1, when: {exception.kind: rejected}, do: reroute, owner: stores, due_in: 4h}
  - {name: others, position: 9, do: review, owner: operations, due_in: 1d}
"""
State = shipment_pb2.Shipment.State


async def shop_under(retailers: RetailerMaker, folder: Path, routing: str) -> Retailer:
    """A store with one mug, and two warehouses with three and five."""
    for name, text in {"routing": routing, "delivery": DELIVERY, "exceptions": EXCEPTIONS}.items():
        (folder / f"{name}.yaml").write_text(text)
    shop = await retailers.make(folder)
    await shop.stock({("MUG", "near"): 3, ("MUG", "far"): 5})
    await shop.locations("near", priority=1, country="US", handling_minutes=30)
    await shop.locations("far", priority=2, country="US", handling_minutes=30)
    store = catalog_pb.Location(
        location_id="store",
        type=catalog_pb.Location.TYPE_STORE,
        offers_pickup=True,
        country="US",
        handling_minutes=30,
        coordinates=LatLng(latitude=40, longitude=-75),
    )
    await shop.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=[store]))
    await shop.count({("MUG", "store"): 1})
    return shop


@pytest.fixture
async def shop(retailers: RetailerMaker, tmp_path: Path) -> Retailer:
    return await shop_under(retailers, tmp_path, RULES)


async def collect(shop: Retailer, order_id: str, units: int, commitment: int = SOLD, **fields: Any) -> Any:
    fields = {"method": PICKUP, "pickup_location_id": "store"} | fields
    return await shop.allocate(order_id, {"MUG": units}, commitment, **fields)


def shipments(allocation: allocation_pb.Allocation) -> dict[str, tuple[int, str, bool]]:
    """Open units of each shipment by location, the store that they are sent to, and whether they go to the shopper."""
    return {
        x.location_id: (sum(line.unit_count for line in x.lines), x.transfer_to_location_id, x.ship_to_shopper)
        for x in allocation.shipments
        if any(line.unit_count for line in x.lines)
    }


async def send(shop: Retailer, shipment: Any, transfer_id: str = "T-1", **fields: Any) -> Any:
    units = sum(line.unit_count for line in shipment.lines)
    dispatch = stock_pb.TransferDispatch(
        **{
            "from_location_id": shipment.location_id,
            "to_location_id": shipment.transfer_to_location_id,
            "units": [stock_pb.TransferUnits(sku="MUG", unit_count=units)],
            "shipment_id": shipment.shipment_id,
        }
        | fields
    )
    request = stock_pb.TransferStockRequest(transfer_id=transfer_id, dispatch=dispatch)
    return (await shop.stock_service.TransferStock(request)).transfer


async def receive(shop: Retailer, units: int, *, complete: bool = False, transfer_id: str = "T-1") -> Any:
    arrived = [stock_pb.TransferUnits(sku="MUG", unit_count=units)] if units else []
    receipt = stock_pb.TransferReceipt(units=arrived, complete=complete)
    request = stock_pb.TransferStockRequest(transfer_id=transfer_id, receipt=receipt)
    return (await shop.stock_service.TransferStock(request)).transfer


async def figures(shop: Retailer, *location_ids: str) -> list[tuple[int, int]]:
    """On hand and available mugs at these locations; the ledger balances."""
    assert (report := await shop.ledger()).balanced, report.differences
    levels = [await shop.level("MUG", location_id) for location_id in location_ids]
    return [(level.on_hand_count, level.available_count) for level in levels]


async def test_what_a_store_lacks_is_sent_to_it_and_collected_there(shop: Retailer) -> None:
    order = await collect(shop, "A-1", 3)
    here, there = order.shipments
    planned = shipments(order)

    assert planned == {"store": (1, "", False), "near": (2, "store", False)}
    assert order.outcome == order_pb2.OUTCOME_ALLOCATED
    today = datetime.now(UTC).date()
    arrival = datetime(there.deliver_date.year, there.deliver_date.month, there.deliver_date.day, tzinfo=UTC).date()
    assert arrival >= today + timedelta(days=2)
    assert await figures(shop, "store", "near") == [(1, 0), (3, 1)]

    transfer = await send(shop, there)
    on_the_way = (await shop.find_order("web/A-1")).allocation

    assert transfer.shipment_id == there.shipment_id
    assert [x.state for x in on_the_way.shipments] == [State.STATE_ASSIGNED, State.STATE_SHIPPED]
    assert await figures(shop, "store", "near") == [(1, 0), (1, 1)]

    await receive(shop, 2)
    arrived = (await shop.find_order("web/A-1")).allocation

    assert shipments(arrived) == {"store": (3, "", False)}
    assert arrived.shipments[0].shipment_id == here.shipment_id
    assert await figures(shop, "store") == [(3, 0)]

    await shop.mark_ready(arrived.shipments[0])
    collected = await shop.collect(arrived.shipments[0])

    assert collected.shipments[0].state == State.STATE_COLLECTED
    assert await figures(shop, "store", "near") == [(0, 0), (1, 1)]


async def test_nobody_else_gets_the_units_when_they_arrive_at_the_store(shop: Retailer) -> None:
    order = await collect(shop, "A-1", 2)
    await send(shop, order.shipments[1])
    waiting = await collect(shop, "A-2", 1, HOLD)
    await receive(shop, 1)

    assert waiting.shipments[0].location_id == "near"
    assert (await collect(shop, "A-3", 1, HOLD, validate_only=True)).shipments[0].location_id != "store"
    assert await figures(shop, "store") == [(2, 0)]


async def test_a_hold_that_expires_or_is_released_gives_the_units_back_to_where_they_are(shop: Retailer) -> None:
    released = await collect(shop, "A-1", 3, HOLD)
    held = await figures(shop, "store", "near")
    await shop.release(released.allocation_id)
    given_back = await figures(shop, "store", "near")
    await collect(shop, "A-2", 3, HOLD, hold_duration=timedelta(seconds=1))

    assert (held, given_back) == ([(1, 0), (3, 1)], [(1, 1), (3, 3)])
    await eventually(lambda: _has_expired(shop))
    assert await figures(shop, "store", "near") == [(1, 1), (3, 3)]


async def _has_expired(shop: Retailer) -> bool:
    return (await shop.find_order("web/A-2")).allocation.state == allocation_pb.Allocation.STATE_EXPIRED


async def test_a_location_that_closes_before_it_sends_is_replaced_by_another(shop: Retailer) -> None:
    await collect(shop, "A-1", 3)
    await shop.locations("near", priority=1, country="US", status=catalog_pb.Location.STATUS_CLOSED)

    async def is_moved() -> bool:
        return shipments((await shop.find_order("web/A-1")).allocation) == {
            "store": (1, "", False),
            "far": (2, "store", False),
        }

    await eventually(is_moved)
    assert await figures(shop, "near", "far") == [(3, 3), (5, 3)]


async def test_a_transfer_that_is_called_off_leaves_the_units_promised_where_they_were(shop: Retailer) -> None:
    order = await collect(shop, "A-1", 3)
    await send(shop, order.shipments[1])
    await shop.stock_service.CancelTransfer(stock_pb.CancelTransferRequest(transfer_id="T-1"))
    called_off = (await shop.find_order("web/A-1")).allocation

    assert shipments(called_off) == {"store": (1, "", False), "near": (2, "store", False)}
    assert await figures(shop, "near") == [(3, 1)]

    await send(shop, called_off.shipments[1], "T-2")

    assert await figures(shop, "near") == [(1, 1)]


async def test_units_that_a_transfer_lost_are_sent_from_elsewhere(shop: Retailer) -> None:
    order = await collect(shop, "A-1", 4)
    await send(shop, order.shipments[1])
    await receive(shop, 1, complete=True)
    planned = (await shop.find_order("web/A-1")).allocation

    assert shipments(planned) == {"store": (2, "", False), "far": (2, "store", False)}
    assert await figures(shop, "store", "near", "far") == [(2, 0), (0, 0), (5, 3)]


async def test_units_of_an_order_that_is_cancelled_on_the_way_are_available_at_the_store(shop: Retailer) -> None:
    order = await collect(shop, "A-1", 3)
    await send(shop, order.shipments[1])
    await shop.cancel_order("web/A-1")
    on_the_way = await figures(shop, "store")
    await receive(shop, 2)

    assert on_the_way == [(1, 1)]
    assert await figures(shop, "store") == [(3, 3)]
    assert (await shop.find_order("web/A-1")).allocation.state == allocation_pb.Allocation.STATE_CANCELLED


async def test_only_the_whole_shipment_of_an_order_leaves_for_its_store(shop: Retailer) -> None:
    order = await collect(shop, "A-1", 3)
    here, there = order.shipments
    wrong = [stock_pb.TransferUnits(sku="MUG", unit_count=1)]

    too_few = await refused(send(shop, there, units=wrong))
    elsewhere = await refused(send(shop, there, to_location_id="far"))
    of_the_store = await refused(send(shop, here, from_location_id="store", to_location_id="near"))
    as_parcel = await refused(shop.ship(there))

    assert "must be 2 of MUG" in (too_few.details() or "")
    assert "must be store" in (elsewhere.details() or "")
    assert of_the_store.code() == as_parcel.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "dispatch it with TransferStock" in (as_parcel.details() or "")
    assert await figures(shop, "store", "near") == [(1, 0), (3, 1)]


async def test_a_repeated_dispatch_sends_nothing_twice(shop: Retailer) -> None:
    order = await collect(shop, "A-1", 3)
    first = await send(shop, order.shipments[1])
    again = await send(shop, order.shipments[1])

    assert first == again
    assert await figures(shop, "near") == [(1, 1)]


async def test_the_search_for_pickup_locations_offers_what_is_sent_there(shop: Retailer) -> None:
    request = pickup_pb2.SearchPickupLocationsRequest(
        channel_id="web", lines=[order_pb2.OrderLine(sku="MUG", unit_count=3)], destination=HOME
    )
    (place,) = (await shop.availability.SearchPickupLocations(request)).locations

    assert place.whole_cart
    assert place.ready_time.ToDatetime(tzinfo=UTC) > datetime.now(UTC) + timedelta(days=1)


async def test_what_a_store_lacks_is_shipped_to_the_shopper_where_the_rules_say_so(
    retailers: RetailerMaker, tmp_path: Path
) -> None:
    shop = await shop_under(retailers, tmp_path, RULES.replace("ship_to_store", "ship_rest"))
    order = await collect(shop, "A-1", 3, destination=HOME)
    without_address = await collect(shop, "A-2", 1, HOLD)

    assert shipments(order) == {"store": (1, "", False), "near": (2, "", True)}
    assert not without_address.shipments

    await shop.ship(order.shipments[1])
    delivered = await shop.deliver(order.shipments[1])
    await shop.mark_ready(delivered.shipments[0])
    done = await shop.collect(delivered.shipments[0])

    assert [x.state for x in done.shipments] == [State.STATE_COLLECTED, State.STATE_DELIVERED]
    assert await figures(shop, "store", "near") == [(0, 0), (1, 1)]
