"""Who caused a cancellation, and why, is stored with it, shown in the timeline and counted."""

from __future__ import annotations

import grpc
import pytest

from tests.conftest import RESOLVED_RULES, RetailerMaker
from tests.exception_shop import CANCELLED
from tests.retailer import HOLD, SOLD, Retailer, refused
from truestock.v1 import allocation_service_pb2 as allocation_pb, catalog_service_pb2 as catalog_pb, order_pb2

BUYER, SELLER = order_pb2.CANCELLATION_FAULT_BUYER, order_pb2.CANCELLATION_FAULT_SELLER
CARRIER, FRAUD = order_pb2.CANCELLATION_FAULT_CARRIER, order_pb2.CANCELLATION_FAULT_FRAUD
UNKNOWN = order_pb2.CANCELLATION_FAULT_UNSPECIFIED
Causes = list[tuple[int, int, str]]


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 10, ("CUP", "dc"): 10})
    return retailer


async def causes(shop: Retailer, name: str = "web/A-1") -> Causes:
    """The units, fault and reason of each event of an order that cancelled units."""
    timeline = (await shop.find_order(name)).timeline
    return [(event.cancelled_count, event.fault, event.cancel_reason) for event in timeline if event.cancelled_count]


def counted(shop: Retailer, name: str) -> dict[str, float]:
    """The units or orders of the channel `web` that were cancelled, by fault."""
    faults = ("buyer", "seller", "carrier", "fraud", "unknown")
    units = {fault: shop.metric(f"cancelled_{name}_total", channel="web", fault=fault) for fault in faults}
    return {fault: count for fault, count in units.items() if count}


async def test_cancelled_units_have_their_fault_and_reason_in_the_timeline_and_in_metrics(shop: Retailer) -> None:
    sold = await shop.allocate("A-1", {"MUG": 5})
    await shop.cancel(sold.allocation_id, {"1": 2}, fault=CARRIER, reason="lost on the way")
    await shop.cancel(sold.allocation_id, {"1": 1}, fault=FRAUD)
    await shop.cancel(sold.allocation_id, {"1": 1})

    event = (await shop.find_order("web/A-1")).timeline[1]
    assert await causes(shop) == [(2, CARRIER, "lost on the way"), (1, FRAUD, ""), (1, UNKNOWN, "")]
    assert event.description == "2 units cancelled. Fault: carrier. Reason: lost on the way."
    assert counted(shop, "units") == {"carrier": 2, "fraud": 1, "unknown": 1}
    assert counted(shop, "orders") == {"carrier": 1}


async def test_a_whole_order_is_cancelled_by_one_fault(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 2, "CUP": 1})
    await shop.cancel_order("web/A-1", fault=BUYER, reason="ordered twice")

    assert await causes(shop) == [(3, BUYER, "ordered twice")]
    assert (counted(shop, "units"), counted(shop, "orders")) == ({"buyer": 3}, {"buyer": 1})


async def test_a_cancellation_that_waits_for_its_order_keeps_its_fault_and_reason(shop: Retailer) -> None:
    await shop.cancel_order("web/A-1", {"1": 2}, fault=FRAUD, reason="stolen card", event_id="c-1")
    await shop.cancel_order("web/A-1", {"2": 1}, fault=BUYER, event_id="c-2")
    await shop.cancel_order("web/A-2", fault=BUYER, reason="changed their mind")
    await shop.allocate("A-1", {"MUG": 3, "CUP": 2})
    await shop.allocate("A-1", {"MUG": 3, "CUP": 2})
    await shop.allocate("A-2", {"MUG": 4})

    assert await causes(shop) == [(2, FRAUD, "stolen card"), (1, BUYER, "")]
    assert await causes(shop, "web/A-2") == [(4, BUYER, "changed their mind")]
    assert counted(shop, "units") == {"fraud": 2, "buyer": 5}
    assert counted(shop, "orders") == {"fraud": 1, "buyer": 1}


async def test_what_a_rule_or_a_person_cancels_for_want_of_stock_is_the_sellers_fault(
    retailers: RetailerMaker,
) -> None:
    shop = await retailers.make(RESOLVED_RULES)
    await shop.stock({("MUG", "dc"): 10})
    cap = catalog_pb.Product(sku="CAP", tags=["clearance"])
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[cap]))
    await shop.allocate("A-1", [("CAP", 6), ("MUG", 2)])
    await shop.allocate("A-2", {"MUG": 20})
    (raised,) = await shop.open_exceptions()
    await shop.resolve(raised.exception_id, CANCELLED)

    assert await causes(shop, "web/A-1") == [(6, SELLER, "")]
    assert await causes(shop, "web/A-2") == [(12, SELLER, "")]
    assert (counted(shop, "units"), counted(shop, "orders")) == ({"seller": 18}, {"seller": 2})


async def test_units_that_nobody_collects_and_units_removed_by_an_edit_have_a_fault_too(shop: Retailer) -> None:
    await shop.locations("store", offers_pickup=True)
    await shop.count({("MUG", "store"): 4})
    pickup = await shop.allocate(
        "A-1", {"MUG": 2}, method=order_pb2.FULFILLMENT_METHOD_PICKUP, pickup_location_id="store"
    )
    await shop.mark_ready(pickup.shipments[0])
    await shop.return_uncollected(pickup.shipments[0])
    await shop.allocate("A-2", {"MUG": 3})
    await shop.allocate("A-2", {"MUG": 2})

    assert await causes(shop) == [(2, BUYER, "not collected")]
    assert counted(shop, "units") == {"buyer": 2, "unknown": 1}


async def test_units_of_a_cart_count_once_it_is_sold(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 3}, HOLD)
    await shop.cancel_order("web/A-1", {"1": 1}, fault=BUYER)
    assert counted(shop, "units") == {}
    await shop.allocate("A-1", {"MUG": 3}, SOLD)

    assert await causes(shop) == [(1, BUYER, "")]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fault": 9}, "fault: 9 is not one of CANCELLATION_FAULT_BUYER"),
        ({"reason": "x" * 257}, "reason: has 257 characters"),
        ({"reason": "a\nb"}, "reason: "),
    ],
)
async def test_a_cause_that_cannot_be_is_refused(shop: Retailer, fields: dict[str, object], message: str) -> None:
    sold = await shop.allocate("A-1", {"MUG": 3})
    error = await refused(shop.cancel(sold.allocation_id, {"1": 1}, **fields))
    untouched: allocation_pb.Allocation = (await shop.get(sold.allocation_id)).allocation

    assert (error.code(), untouched.lines[0].cancelled_count) == (grpc.StatusCode.INVALID_ARGUMENT, 0)
    assert message in (error.details() or "")
