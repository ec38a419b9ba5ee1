"""A person moves a shipment: it joins what waits at the new location, and a refusal names its cause."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from tests.conftest import RESOLVED_RULES, RetailerMaker
from tests.retailer import HOLD, Retailer, refused
from truestock.v1 import allocation_service_pb2 as allocation_pb, catalog_service_pb2 as catalog_pb, shipment_pb2

State = shipment_pb2.Shipment.State


@pytest.fixture
async def shop(retailers: RetailerMaker) -> Retailer:
    """One location has the mugs of an order and another its cups; both have some of the other product."""
    shop = await retailers.make(RESOLVED_RULES)
    await shop.stock({("MUG", "a-store"): 9, ("CUP", "a-store"): 0, ("MUG", "b-store"): 0, ("CUP", "b-store"): 9})
    return shop


async def split_order(shop: Retailer) -> dict[str, shipment_pb2.Shipment]:
    """An order in two shipments, by location; afterwards `b-store` has 3 mugs too."""
    order = await shop.allocate("A-1", {"MUG": 2, "CUP": 1})
    await shop.count({("MUG", "b-store"): 3})
    return {shipment.location_id: shipment for shipment in order.shipments}


def shown(order: allocation_pb.Allocation) -> list[tuple[str, str, dict[str, int]]]:
    """Location, state and promised units by SKU of the shipments that have any."""
    return [
        (x.location_id, State.Name(x.state).removeprefix("STATE_"), {line.sku: line.unit_count for line in x.lines})
        for x in order.shipments
        if any(line.unit_count for line in x.lines)
    ]


@pytest.mark.parametrize("location_id", ["b-store", ""])
async def test_moved_units_join_the_shipment_that_waits_at_the_new_location(shop: Retailer, location_id: str) -> None:
    shipments = await split_order(shop)

    moved = await shop.reassign(shipments["a-store"], location_id)

    assert shown(moved) == [("b-store", "ASSIGNED", {"MUG": 2, "CUP": 1})]
    assert {x.shipment_id for x in moved.shipments} == {x.shipment_id for x in shipments.values()}
    assert (await shop.level("MUG", "b-store")).allocated_count == 2
    assert (await shop.ledger()).balanced


@pytest.mark.parametrize("location_id", ["b-store", ""])
async def test_moved_units_are_a_parcel_of_their_own_where_the_location_has_begun(
    shop: Retailer, location_id: str
) -> None:
    shipments = await split_order(shop)
    await shop.accept(shipments["b-store"])

    moved = await shop.reassign(shipments["a-store"], location_id)

    assert sorted(shown(moved)) == [("b-store", "ACCEPTED", {"CUP": 1}), ("b-store", "ASSIGNED", {"MUG": 2})]
    assert (await shop.ledger()).balanced


async def test_units_of_a_line_at_both_locations_are_added_up(shop: Retailer) -> None:
    await shop.count({("MUG", "a-store"): 3, ("MUG", "b-store"): 2})
    order = await shop.allocate("A-1", {"MUG": 5})
    (first, second) = order.shipments
    await shop.count({("MUG", second.location_id): 9})

    moved = await shop.reassign(first, second.location_id)

    assert shown(moved) == [(second.location_id, "ASSIGNED", {"MUG": 5})]
    assert (await shop.ledger()).balanced


Preparation = Callable[[Retailer, Any], Awaitable[object]]


async def nothing(shop: Retailer, shipment: Any) -> None:
    """Leaves all as it is."""


async def close(shop: Retailer, shipment: Any) -> None:
    await shop.locations("b-store", status=catalog_pb.Location.STATUS_CLOSED)


async def serve_another_country(shop: Retailer, shipment: Any) -> None:
    await shop.locations("b-store", ships_to=catalog_pb.CountryList(countries=["CA"]))


CAUSES: dict[str, tuple[Preparation, str, str]] = {
    "same location": (nothing, "a-store", "stays at a-store: it is there already; name another location"),
    "too few units": (nothing, "b-store", "b-store has 3 units of MUG available, and it needs 5"),
    "nowhere by rules": (nothing, "", "the other locations that the rules allow can supply 3 of 5 units"),
    "closed": (close, "b-store", "b-store is closed; name an open location"),
    "another country": (serve_another_country, "b-store", "b-store does not ship to US; name another location"),
    "shipped": (lambda shop, shipment: shop.ship(shipment), "b-store", "all its units have shipped"),
    "delivered": (lambda shop, shipment: shop.deliver(shipment), "b-store", "it was delivered"),
    "rejected": (lambda shop, shipment: shop.reject(shipment, "damaged"), "b-store", "the location rejected it"),
}


@pytest.mark.parametrize("case", CAUSES)
async def test_a_refusal_to_move_names_its_cause_and_nothing_moves(shop: Retailer, case: str) -> None:
    prepare, location_id, cause = CAUSES[case]
    await shop.count({("MUG", "b-store"): 3})
    order = await shop.allocate("A-1", {"MUG": 5}, destination={"country": "US"})
    (shipment,) = [x for x in order.shipments if x.location_id == "a-store"]
    await prepare(shop, shipment)
    before = await shop.get(order.allocation_id)

    error = await refused(shop.reassign(shipment, location_id))

    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert cause in (error.details() or "")
    assert "so it cannot become" not in (error.details() or "")
    assert await shop.get(order.allocation_id) == before


async def test_a_move_to_or_of_what_does_not_exist_says_so(shop: Retailer) -> None:
    (shipment,) = (await shop.allocate("A-1", {"MUG": 2})).shipments
    held = (await shop.allocate("A-2", {"MUG": 1}, HOLD)).shipments[0]

    location = await refused(shop.reassign(shipment, "nowhere"))
    unknown = await refused(shop.reassign(shipment_pb2.Shipment(shipment_id="0190a6a2-7a3c-7c1e-9d7e-0242ac120002")))
    unsold = await refused(shop.reassign(held, "b-store"))

    assert location.code() == unknown.code() == grpc.StatusCode.NOT_FOUND
    assert "no location 'nowhere'" in (location.details() or "")
    assert "no shipment '0190a6a2" in (unknown.details() or "")
    assert "its order is not sold yet; confirm the allocation first" in (unsold.details() or "")


async def test_steps_of_a_shipment_that_ended_are_refused_with_the_cause(shop: Retailer) -> None:
    shipments = await split_order(shop)
    await shop.reassign(shipments["a-store"], "b-store")

    error = await refused(shop.ship(shipments["a-store"]))

    assert "its units were cancelled or moved to another shipment" in (error.details() or "")
