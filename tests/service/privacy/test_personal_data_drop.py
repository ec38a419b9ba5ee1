"""Personal data of orders go when they are finished for long enough, or at once if somebody asks; decisions replay."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from google.type.latlng_pb2 import LatLng
from prometheus_client import CollectorRegistry

from service.app.housekeeping import purge_unnamed_requests
from service.database.database import Database, plain_url
from service.metrics import Metrics
from service.privacy.personal_data_drop import PersonalDataDrop
from tests.conftest import RetailerMaker
from tests.database_dump import double, holding, values_of
from tests.retailer import HOLD, Retailer, bad_fields, order_reference, order_request, refused, request_id
from tests.service.decisions.test_stored_decision import RULES
from truestock.v1 import allocation_service_pb2 as allocation_pb, order_pb2, shipment_pb2

AUSTIN = order_pb2.Destination(
    country="US", region="TX", postal_code="78704-1", coordinates=LatLng(latitude=30.2472913, longitude=-97.7513462)
)


@pytest.fixture
async def shop(retailers: RetailerMaker, tmp_path: Path) -> Retailer:
    """A warehouse in Chicago and a store in Austin, by rules that look at distances."""
    (tmp_path / "routing.yaml").write_text(RULES)
    shop = await retailers.make(tmp_path)
    await shop.stock({("MUG", "dc"): 9, ("MUG", "high-street"): 9})
    await shop.locations("dc", coordinates=LatLng(latitude=41.9, longitude=-87.6))
    await shop.locations("high-street", coordinates=LatLng(latitude=30.3, longitude=-97.7))
    return shop


@asynccontextmanager
async def dropping(shop: Retailer) -> AsyncIterator[PersonalDataDrop]:
    """What a service does in the background, as if the retention of every order had passed."""
    database = await Database.open(shop.database_url, Metrics(CollectorRegistry()), connections=2)
    try:
        yield PersonalDataDrop(database, timedelta(0))
    finally:
        await database.close()


async def forget(shop: Retailer, name: str, **fields: Any) -> allocation_pb.ForgetOrderResponse:
    request = allocation_pb.ForgetOrderRequest(order=order_reference(name), actor="anna", **fields)
    response: allocation_pb.ForgetOrderResponse = await shop.allocations.ForgetOrder(request)
    return response


TOLD = (b"78704", double(30.25), double(-97.75), b"30.25", b"-97.75")
"""What tells where the order goes."""


async def test_nothing_says_more_exactly_than_a_hundredth_of_a_degree_where_an_order_goes(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 1}, destination=AUSTIN, request_id=request_id())

    values = await values_of(shop)
    exact = AUSTIN.coordinates
    numbers = (exact.latitude, exact.longitude)
    assert holding(values, *map(double, numbers), *(f"{number:.3f}".encode() for number in numbers)) == set()
    assert holding(values, *TOLD) == {
        ("allocation", "latitude"),
        ("allocation", "longitude"),
        ("allocation", "postal_code"),
        ("decision", "destination"),
        ("request", "content"),
    }


async def test_a_finished_order_loses_its_destination_and_its_decisions_replay(shop: Retailer) -> None:
    order = await shop.allocate("A-1", {"MUG": 1}, destination=AUSTIN)
    open_order = await shop.allocate("A-2", {"MUG": 1}, destination=AUSTIN)
    await shop.ship(order.shipments[0])

    async with dropping(shop) as drop:
        await drop.drop_finished()
        await drop.drop_finished()

    rows = {x["order_id"]: x for x in await shop.sql("SELECT * FROM allocation")}
    assert (rows["A-1"]["postal_code"], rows["A-1"]["latitude"], rows["A-1"]["country"]) == (None, None, "US")
    assert rows["A-2"]["postal_code"] == "78704-1"
    stored = (await shop.decision(order.decision.decision_id)).inputs.order
    assert not stored.HasField("destination")
    assert (stored.erased_destination.region, stored.erased_destination.distance_step_km) == ("TX", 50)
    assert (await shop.replay(order.decision.decision_id)).identical
    assert (await shop.decision(open_order.decision.decision_id)).inputs.order.destination.postal_code == "78704-1"
    shipped = (await shop.find_order("web/A-1")).allocation
    assert shipped.shipments[0].distance_km % 50 == 0


async def test_an_order_on_which_there_is_work_keeps_its_destination(shop: Retailer) -> None:
    await shop.allocate("held", {"MUG": 1}, HOLD, destination=AUSTIN)
    await shop.allocate("open", {"MUG": 1}, destination=AUSTIN)
    await shop.allocate("waits", {"MUG": 1}, destination=AUSTIN, hold=order_pb2.OrderHold(reason="fraud check"))
    await shop.allocate("short", {"MUG": 99}, destination=AUSTIN)

    async with dropping(shop) as drop:
        await drop.drop_finished()

    kept = await shop.sql("SELECT order_id FROM allocation WHERE postal_code IS NOT NULL ORDER BY order_id")
    assert [row["order_id"] for row in kept] == ["held", "open", "short", "waits"]


async def test_an_order_that_is_sent_again_after_that_gets_no_destination_again(shop: Retailer) -> None:
    order = await shop.allocate("A-1", {"MUG": 1}, destination=AUSTIN)
    await shop.ship(order.shipments[0])
    async with dropping(shop) as drop:
        await drop.drop_finished()

    again = await shop.allocate("A-1", {"MUG": 1}, destination=AUSTIN)

    assert holding(await values_of(shop), *TOLD) == set()
    assert again.shipments[0].state == shipment_pb2.Shipment.STATE_SHIPPED
    assert [x.description for x in (await shop.get(again.allocation_id)).timeline if x.event == "replaced"] == []


async def test_an_order_that_is_changed_after_that_is_delivered_to_where_it_says(shop: Retailer) -> None:
    order = await shop.allocate("A-1", {"MUG": 1}, destination=AUSTIN)
    await shop.ship(order.shipments[0])
    async with dropping(shop) as drop:
        await drop.drop_finished()

    changed = await shop.allocate("A-1", {"MUG": 2}, destination=AUSTIN)

    assert (changed.shipments[-1].location_id, 5 < changed.shipments[-1].distance_km < 10) == ("high-street", True)


async def test_a_finished_order_is_forgotten_at_once_with_all_that_was_written_about_it(shop: Retailer) -> None:
    person = "Jane Doe of Elm Street"
    request: dict[str, Any] = {
        "destination": AUSTIN,
        "request_id": request_id(),
        "hold": order_pb2.OrderHold(reason=person),
    }
    order = await shop.allocate("A-1", {"MUG": 2}, **request)
    other = await shop.allocate("A-2", {"MUG": 1}, destination=AUSTIN)
    await shop.allocations.ReleaseOrderHold(
        allocation_pb.ReleaseOrderHoldRequest(allocation_id=order.allocation_id, request_id=request_id())
    )
    await shop.cancel(order.allocation_id, {"1": 1}, reason=person, request_id=request_id())
    parcel = shipment_pb2.Parcel(carrier="UPS", tracking_number="1Z999AA10123456784")
    await shop.ship(order.shipments[0], parcels=[parcel], request_id=request_id())
    assert holding(await values_of(shop), person.encode(), b"1Z999")

    ask = request_id()
    first = await forget(shop, "web/A-1", request_id=ask)
    again = await forget(shop, "web/A-1", request_id=ask)

    assert first.HasField("drop_time")
    assert again.HasField("drop_time")
    assert first.waits_for == []
    values = [x for x in await values_of(shop) if str(other.allocation_id).encode() not in x[2]]
    assert holding(values, person.encode(), b"1Z999") == set()
    (row,) = await shop.sql("SELECT * FROM allocation WHERE order_id = 'A-1'")
    assert (row["postal_code"], row["latitude"]) == (None, None)
    (asked,) = [x for x in (await shop.find_order("web/A-1")).timeline if x.event == "forget_asked"]
    assert asked.description == "anna asked that it is forgotten: its personal data go once it is finished."
    assert (await shop.replay(order.decision.decision_id)).identical
    problem = await refused(shop.allocations.AllocateOrder(order_request("A-1", {"MUG": 2}, **request)))
    assert "REQUEST_ID_REUSED" in str(problem.trailing_metadata())
    assert "an order whose personal data were dropped since" in (problem.details() or "")
    assert bad_fields(problem) == {"request_id"}
    assert (await shop.find_order("web/A-2")).allocation.shipments == other.shipments
    assert (await shop.ledger()).balanced


async def test_an_open_order_is_forgotten_as_soon_as_it_has_shipped(shop: Retailer) -> None:
    order = await shop.allocate("A-1", {"MUG": 1}, destination=AUSTIN)

    asked = await forget(shop, "web/A-1")
    (before,) = await shop.sql("SELECT postal_code FROM allocation")
    await shop.ship(order.shipments[0])
    async with dropping(shop) as drop:
        await drop.drop_asked()

    assert (list(asked.waits_for), asked.HasField("drop_time")) == (["a shipment of it is open"], False)
    assert before["postal_code"] == "78704-1"
    assert holding(await values_of(shop), *TOLD) == set()
    assert (await forget(shop, "web/A-1")).HasField("drop_time")


async def test_an_order_that_nobody_knows_cannot_be_forgotten(shop: Retailer) -> None:
    problem = await refused(forget(shop, "web/A-404"))

    assert problem.code() is grpc.StatusCode.NOT_FOUND


async def test_of_a_call_without_a_request_id_nothing_is_kept_for_longer_than_an_hour(shop: Retailer) -> None:
    order = await shop.allocate("A-1", {"MUG": 1}, destination=AUSTIN)
    await shop.confirm(order.allocation_id, request_id=request_id())
    await shop.sql("UPDATE request SET create_time = create_time - interval '61 minutes'")

    connection = await asyncpg.connect(plain_url(shop.database_url))
    now = datetime.now(UTC)
    await purge_unnamed_requests(connection, since=now - timedelta(days=7), until=now - timedelta(hours=1))
    await connection.close()

    assert [row["method"] for row in await shop.sql("SELECT method FROM request")] == ["ConfirmAllocation"]
