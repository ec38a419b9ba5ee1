"""Orders without coordinates: what they are told, what is stored of it, and that decisions replay without the data."""

from __future__ import annotations

import pytest
from google.type.latlng_pb2 import LatLng

from policies.domain.model import Location
from service.app import postal_code_loading
from service.app.postal_code_loading import served_countries
from service.decisions.decision_inputs import inputs_of
from service.decisions.erased_destination import erased
from tests.conftest import RetailerMaker
from tests.retailer import Retailer
from truestock.v1 import availability_service_pb2 as availability_pb, catalog_service_pb2 as catalog_pb, order_pb2

ANDORRA = order_pb2.Destination(country="AD", postal_code="AD500")
POSTAL_CODE = order_pb2.DestinationPoint.LOCATED_BY_POSTAL_CODE


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    """A warehouse in Barcelona and one in Lyon, both of which have the mug."""
    await retailer.stock({("MUG", "barcelona"): 9, ("MUG", "lyon"): 9})
    await retailer.locations("barcelona", coordinates=LatLng(latitude=41.39, longitude=2.17))
    await retailer.locations("lyon", coordinates=LatLng(latitude=45.76, longitude=4.84))
    return retailer


async def test_an_order_is_told_where_its_postal_code_is_and_how_far_it_ships(shop: Retailer) -> None:
    order = await shop.allocate("A-1", {"MUG": 1}, destination=ANDORRA)
    answer = await shop.availability.CheckAvailability(
        availability_pb.CheckAvailabilityRequest(channel_id="web", skus=["MUG"], destination=ANDORRA)
    )

    point = order.destination_point
    assert point.located_by == POSTAL_CODE
    assert (round(point.coordinates.latitude, 1), round(point.coordinates.longitude, 1)) == (42.5, 1.5)
    assert answer.destination_point == point
    assert (await shop.get(order.allocation_id)).allocation.destination_point == point
    assert 100 < order.shipments[0].distance_km < 400
    assert shop.metric("located_destinations_total", located_by="postal_code") == 2


async def test_a_decision_replays_by_the_coordinates_it_was_made_with_and_they_can_be_erased(shop: Retailer) -> None:
    order = await shop.allocate("A-1", {"MUG": 1}, destination=ANDORRA)
    decision_id = order.decision.decision_id
    stored = await shop.decision(decision_id)
    inputs = inputs_of(stored.inputs)
    assert inputs.order.destination is not None
    assert (await shop.replay(decision_id)).identical

    kept = erased(inputs.order.destination, inputs.world.locations).SerializeToString()
    await shop.sql("UPDATE decision SET destination = NULL, erased_destination = $1", kept)

    after = await shop.decision(decision_id)
    assert stored.inputs.order.destination.coordinates == order.destination_point.coordinates
    assert stored.inputs.order.located_by == after.inputs.order.located_by == POSTAL_CODE
    assert not after.inputs.order.HasField("destination")
    assert (await shop.replay(decision_id)).identical
    assert shop.metric("located_destinations_total", located_by="postal_code") == 1


async def test_an_order_that_is_sent_again_keeps_its_plan_when_the_data_has_changed(shop: Retailer) -> None:
    first = await shop.allocate("A-1", {"MUG": 1}, destination=ANDORRA)
    await shop.sql("UPDATE allocation SET latitude = 42.4, located_by = 'area'")

    again = await shop.allocate("A-1", {"MUG": 1}, destination=ANDORRA)

    assert again.version == first.version
    assert again.decision == first.decision


async def test_an_order_with_coordinates_is_told_no_others(shop: Retailer) -> None:
    stated = order_pb2.Destination(country="AD", postal_code="AD500", coordinates=LatLng(latitude=1, longitude=2))

    order = await shop.allocate("A-1", {"MUG": 1}, destination=stated)

    assert not order.HasField("destination_point")
    assert not sum(shop.metric("located_destinations_total", located_by=x) for x in ("postal_code", "unknown"))


async def test_the_countries_that_locations_serve_are_read_after_the_start(
    retailers: RetailerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await retailers.make()
    await first.locations("andorra", country="AD", ships_to=catalog_pb.CountryList(countries=["AD", "LI"]))
    monkeypatch.setattr(postal_code_loading, "FIRST_SECONDS", 0.0)
    second = await retailers.make()
    await second.has_done("served_countries")

    andorra = Location("a", "store", country="AD", ships_to=frozenset({"AD", "LI", "US"}))
    elsewhere = [Location(key, "store", country="US") for key in "bc"]
    assert served_countries([andorra, *elsewhere, Location("d", "store")]) == ["US", "AD", "LI"]
