"""Parcels of a shipment: reported with its units or later, once each, corrected, and taken back with their event."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
import pytest

from service import limits
from tests.retailer import Retailer, refused
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    fulfillment_service_pb2 as fulfillment_pb,
    shipment_pb2,
)


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 50, ("CAP", "dc"): 50})
    return retailer


def parcel(number: str, units: Mapping[str, int] | None = None, carrier: str = "UPS") -> shipment_pb2.Parcel:
    lines = [shipment_pb2.ParcelLine(line_id=key, unit_count=count) for key, count in (units or {}).items()]
    return shipment_pb2.Parcel(carrier=carrier, tracking_number=number, lines=lines)


def parcels_of(allocation: allocation_pb.Allocation) -> dict[str, dict[str, int]]:
    """Units by line, by tracking number."""
    return {
        x.tracking_number: {line.line_id: line.unit_count for line in x.lines}
        for shipment in allocation.shipments
        for x in shipment.parcels
    }


async def test_units_leave_in_parcels_that_every_answer_shows(shop: Retailer) -> None:
    order = await shop.allocate("1", {"MUG": 3, "CAP": 2})
    shipment = order.shipments[0]
    first = await shop.ship(shipment, {"1": 2}, event_id="e-1", parcels=[parcel("T1"), parcel("T1")])
    assert parcels_of(first) == {"T1": {"1": 2}}
    two = [parcel("T2", {"1": 1}), parcel("T3", {"2": 2}, carrier="")]
    second = await shop.ship(shipment, event_id="e-2", parcels=two)
    expected = {"T1": {"1": 2}, "T2": {"1": 1}, "T3": {"2": 2}}
    assert parcels_of(second) == expected
    assert [(x.carrier, x.event_id) for x in second.shipments[0].parcels] == [
        ("UPS", "e-1"), ("UPS", "e-2"), ("", "e-2")
    ]  # fmt: skip
    stored = await shop.get(order.allocation_id)
    assert parcels_of(stored.allocation) == expected
    assert [x.event for x in stored.timeline].count("parcels") == 2
    listed = (await shop.fulfillment.ListShipments(fulfillment_pb.ListShipmentsRequest())).shipments
    assert [len(x.parcels) for x in listed] == [3]


async def test_a_parcel_may_be_added_later_and_is_one_however_often_it_is_sent(shop: Retailer) -> None:
    shipment = (await shop.allocate("1", {"MUG": 3})).shipments[0]
    await shop.ship(shipment, event_id="e-1")
    later = await shop.ship(shipment, event_id="e-2", parcels=[parcel("T1")])
    assert parcels_of(later) == {"T1": {"1": 3}}
    assert sum(x.shipped_count for x in later.lines) == 3
    again = await shop.ship(shipment, event_id="e-2", parcels=[parcel("T1")])
    other = await shop.ship(shipment, event_id="e-3", parcels=[parcel("T1", {"1": 3})])
    assert again.version == other.version == later.version


async def test_the_same_event_with_another_number_corrects_its_parcel(shop: Retailer) -> None:
    shipment = (await shop.allocate("1", {"MUG": 3})).shipments[0]
    await shop.ship(shipment, event_id="e-1", parcels=[parcel("WRONG")])
    right = await shop.ship(shipment, event_id="e-1", parcels=[parcel("RIGHT")])
    assert parcels_of(right) == {"RIGHT": {"1": 3}}
    assert parcels_of(await shop.ship(shipment, event_id="e-1")) == {"RIGHT": {"1": 3}}


async def test_undoing_an_event_takes_its_parcels_back(shop: Retailer) -> None:
    order = await shop.allocate("1", {"MUG": 3, "CAP": 2})
    shipment = order.shipments[0]
    await shop.ship(shipment, {"1": 3}, event_id="e-1", parcels=[parcel("T1")])
    await shop.ship(shipment, {"2": 2}, event_id="e-2", parcels=[parcel("T2", {"2": 1})])
    await shop.ship(shipment, event_id="e-3", parcels=[parcel("T3")])
    undone = await shop.undo(shipment, "e-2")
    assert parcels_of(undone) == {"T1": {"1": 3}}
    assert (await shop.ledger()).balanced


async def test_a_parcel_has_no_more_than_has_shipped_and_only_lines_of_the_shipment(shop: Retailer) -> None:
    shipment = (await shop.allocate("1", {"MUG": 3, "CAP": 1})).shipments[0]
    codes = [
        ([parcel("T1", {"1": 3})], {"1": 2}, grpc.StatusCode.FAILED_PRECONDITION),
        ([parcel("T1", {"9": 1})], {"1": 2}, grpc.StatusCode.NOT_FOUND),
        ([parcel("")], {"1": 2}, grpc.StatusCode.INVALID_ARGUMENT),
        ([parcel("T1"), parcel("T2")], {"1": 2}, grpc.StatusCode.INVALID_ARGUMENT),
        ([parcel("T1", {"1": 0})], {"1": 2}, grpc.StatusCode.INVALID_ARGUMENT),
        ([parcel("T" * (limits.TRACKING_NUMBER_LENGTH + 1))], {"1": 2}, grpc.StatusCode.INVALID_ARGUMENT),
        ([parcel(f"T{n}", {"1": 1}) for n in range(limits.SHIPMENT_PARCELS + 1)], {"1": 2},
         grpc.StatusCode.INVALID_ARGUMENT),
    ]  # fmt: skip
    for parcels, units, code in codes:
        assert (await refused(shop.ship(shipment, units, parcels=parcels))).code() == code
    # Nothing of the refused events has shipped.
    assert (await shop.level("MUG", "dc")).on_hand_count == 50
