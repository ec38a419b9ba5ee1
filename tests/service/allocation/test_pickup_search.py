"""SearchPickupLocations: where a whole cart can be picked up, and that AllocateOrder then gives it."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from google.type.latlng_pb2 import LatLng

from tests.conftest import RetailerMaker
from tests.retailer import HOLD, Retailer, refused
from tests.service.test_bad_input import Refusal
from truestock.v1 import catalog_service_pb2 as catalog_pb, order_pb2, pickup_pb2

RULES = """
kind: routing
policies:
  - {name: pick-up-in-store, position: 10, applies_to: {order.method: pickup}, only: {location.offers_pickup: true},
     exclude: [{name: closed-for-now, when: {location.status: paused}}], rank: [priority], max_shipments: 1}
  - {name: others, position: 100, rank: [fewest_shipments, nearest]}
"""
SKUS = ("MUG", "BOWL", "CUP", "SET")
STORES = tuple(f"store-{number}" for number in range(6))
HERE = order_pb2.Destination(country="US", coordinates=LatLng(latitude=40.0, longitude=-75.0))


@pytest.fixture
async def shop(retailers: RetailerMaker, tmp_path: Path) -> Retailer:
    """Six stores one kilometer apart, one of them paused, and a warehouse at the shopper's."""
    (tmp_path / "routing.yaml").write_text(RULES)
    shop = await retailers.make(tmp_path)
    at = {location_id: LatLng(latitude=40 + number / 111, longitude=-75) for number, location_id in enumerate(STORES)}
    stores = [
        catalog_pb.Location(
            location_id=location_id,
            type=catalog_pb.Location.TYPE_STORE,
            coordinates=coordinates,
            offers_pickup=True,
            country="US",
            status=catalog_pb.Location.STATUS_PAUSED if location_id == "store-2" else catalog_pb.Location.STATUS_OPEN,
            handling_minutes=30,
        )
        for location_id, coordinates in at.items()
    ]
    figures = {
        (sku, location_id): (7 * n + 3 * m) % 5 for n, sku in enumerate(SKUS[:3]) for m, location_id in enumerate(at)
    }
    await shop.stock({**figures, ("MUG", "dc"): 50})
    await shop.locations("dc", coordinates=LatLng(latitude=40, longitude=-75))
    await shop.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=stores))
    await shop.kits({"SET": {"MUG": 1, "CUP": 2}})
    return shop


async def search(shop: Retailer, lines: dict[str, int], **fields: Any) -> pickup_pb2.SearchPickupLocationsResponse:
    request = pickup_pb2.SearchPickupLocationsRequest(
        channel_id=fields.pop("channel_id", "web"),
        lines=[order_pb2.OrderLine(sku=sku, unit_count=units) for sku, units in lines.items()],
        destination=fields.pop("destination", HERE),
        **fields,
    )
    response: pickup_pb2.SearchPickupLocationsResponse = await shop.availability.SearchPickupLocations(request)
    return response


async def test_what_is_offered_is_what_an_order_then_gets(shop: Retailer) -> None:
    pick, seen = random.Random(7), set()
    for number in range(12):
        lines = {sku: pick.randint(1, 2) for sku in pick.sample(SKUS, pick.randint(1, 3))}
        answer = await search(shop, lines)
        for place in answer.locations:
            order = await shop.allocate(
                f"C-{number}",
                lines,
                HOLD,
                method=order_pb2.FULFILLMENT_METHOD_PICKUP,
                pickup_location_id=place.location_id,
                destination=HERE,
                validate_only=True,
            )
            assert place.whole_cart == (order.outcome == order_pb2.OUTCOME_ALLOCATED), (lines, place)
            assert {x.location_id for x in order.shipments} <= {place.location_id}
            short: Counter[str] = Counter()
            for shortage in order.shortages:
                short[shortage.line_id] += shortage.unit_count
            assert short == {x.line_id: x.short_count for x in place.shortages}
            seen.add(place.whole_cart)

    assert seen == {True, False}
    assert not await shop.sql("SELECT FROM allocation")


async def test_the_nearest_locations_come_first_and_the_others_are_announced(shop: Retailer) -> None:
    nearest = await search(shop, {"MUG": 1}, max_locations=1)
    first = await search(shop, {"MUG": 1}, max_locations=3)
    near = await search(shop, {"MUG": 1}, radius_km=2.5)
    whole = await search(shop, {"MUG": 1}, whole_cart_only=True)

    assert [(x.location_id, x.whole_cart, round(x.distance_km)) for x in first.locations] == [
        ("store-0", False, 0),
        ("store-1", True, 1),
        ("store-2", False, 2),
    ]
    assert first.more_locations
    assert list(nearest.locations) == list(first.locations)[:1]
    assert [x.location_id for x in near.locations] == ["store-0", "store-1", "store-2"]
    assert not near.more_locations
    assert all(x.whole_cart for x in whole.locations)
    assert "store-2" not in {x.location_id for x in whole.locations}
    assert not whole.more_locations


async def test_a_location_says_what_it_lacks_why_and_when_it_is_ready(shop: Retailer) -> None:
    none, some, paused, *_ = (await search(shop, {"MUG": 1})).locations

    assert [(x.sku, x.short_count) for x in none.shortages] == [("MUG", 1)]
    assert [x.reason for x in none.reasons] == ["no-stock"]
    assert some.ready_time.seconds > 0
    assert [(x.reason, x.rule) for x in paused.reasons] == [("excluded", "closed-for-now")]
    assert not none.HasField("ready_time")


async def test_a_store_that_lacks_a_part_of_the_cart_is_not_offered_for_it(shop: Retailer) -> None:
    """magento-2882, and shopify-dawn-3979, whose nearest store has none and whose next one has it."""
    await shop.stock({("P1", "s-1"): 5, ("P2", "s-2"): 5, ("V", "s-1"): 0, ("V", "s-3"): 3})
    for north, (location_id, offers_pickup) in enumerate((("s-1", True), ("s-2", False), ("s-3", True)), start=1):
        await shop.locations(
            location_id, coordinates=LatLng(latitude=40 + north / 111, longitude=-75), offers_pickup=offers_pickup
        )

    apart = await search(shop, {"P1": 1, "P2": 1}, whole_cart_only=True)
    farther = await search(shop, {"V": 1}, whole_cart_only=True)

    assert [x.location_id for x in apart.locations] == []
    assert [x.location_id for x in farther.locations] == ["s-3"]


async def test_a_shopper_may_state_a_postal_code_instead_of_coordinates(shop: Retailer) -> None:
    in_town = order_pb2.Destination(country="US", postal_code="19103")
    answer = await search(shop, {"MUG": 1}, destination=in_town, radius_km=50)

    assert answer.destination_point.located_by == order_pb2.DestinationPoint.LOCATED_BY_POSTAL_CODE
    assert answer.locations[0].location_id == "store-0"
    assert 0 < answer.locations[0].distance_km < 50


async def test_what_is_wrong_is_named(shop: Retailer) -> None:
    cases: list[tuple[dict[str, int], dict[str, Any], str]] = [
        ({}, {}, "lines"),
        ({"MUG": 0}, {}, "lines[0].unit_count"),
        ({"MUG": 1}, {"destination": order_pb2.Destination(country="US")}, "destination.coordinates"),
        ({"MUG": 1}, {"destination": order_pb2.Destination(country="US", postal_code="?")}, "destination.postal_code"),
        ({"MUG": 1}, {"radius_km": 0.5}, "radius_km"),
        ({"MUG": 1}, {"radius_km": float("nan")}, "radius_km"),
        ({"MUG": 1}, {"max_locations": 101}, "max_locations"),
        ({"MGU": 1}, {}, "lines[0].sku"),
        ({"MUG": 1}, {"channel_id": "wbe"}, "channel_id"),
    ]
    for lines, fields, named in cases:
        error = Refusal(await refused(search(shop, lines, **fields)))

        assert error.reason in ("NOT_FOUND", "INVALID_FIELD")
        assert error.fields == [named]
