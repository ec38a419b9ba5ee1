"""Shipments say when they leave and arrive, and why not earlier."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from google.type.date_pb2 import Date
from rich.console import Console

from policies.domain.handling_times import HandlingTime
from policies.domain.shipments import ShipmentState
from service.allocation.planning_context import ChannelContext
from service.allocation.shipment_dates import ShipmentDates, renew_dates
from service.cli.views.order_views import print_explanation
from service.cli.views.stock_views import print_delivery_days
from service.errors import InvalidFields
from service.orders import order_requests
from service.orders.allocation_record import AllocationRecord, ShipmentRecord
from tests.conftest import PLAIN_RULES, RetailerMaker
from tests.policies.small_retailer import ANYWHERE, NOW, TIKTOK, rules, sold, warehouse
from tests.retailer import HOLD, SOLD, Retailer, order_request, promised, refused
from truestock.v1 import catalog_service_pb2 as catalog_pb, shipment_pb2
from truestock.v1.availability_service_pb2 import CheckAvailabilityRequest
from truestock.v1.order_pb2 import Destination

pytestmark = pytest.mark.usefixtures("one_day")

WAREHOUSE, STORE = catalog_pb.Location.TYPE_WAREHOUSE, catalog_pb.Location.TYPE_STORE
DELIVERY = """
kind: delivery
rules:
  - {name: from-stores, position: 10, when: {location.type: store}, service: courier, transit_days: 1, ships_on: DAYS}
  - {name: parcels, position: 100, service: parcel, transit_days: 3, ships_on: DAYS}
"""


def in_days(count: int) -> date:
    return datetime.now(UTC).date() + timedelta(days=count)


def as_message(day: date) -> Date:
    return Date(year=day.year, month=day.month, day=day.day)


def day_of(message: Date) -> date:
    return date(message.year, message.month, message.day)


@pytest.fixture
async def shop(retailers: RetailerMaker, tmp_path: Path) -> Retailer:
    """A warehouse that has a holiday today, and a store that works at once."""
    routing = (PLAIN_RULES / "plain.yaml").read_text()
    (tmp_path / "plain.yaml").write_text(f"{routing}    must_meet: [ship_by, deliver_by]\n")
    every_day = "[mon, tue, wed, thu, fri, sat, sun]"
    (tmp_path / "delivery.yaml").write_text(DELIVERY.replace("DAYS", every_day))
    shop = await retailers.make(tmp_path)
    await shop.stock({("MUG", "dc"): 5, ("MUG", "store"): 5})
    today = datetime.now(UTC).date()
    days_off = [as_message(day) for day in (today, today + timedelta(days=1))]
    holiday = catalog_pb.WorkingTime(holidays=days_off)
    await shop.catalog.UpsertLocations(
        catalog_pb.UpsertLocationsRequest(
            locations=[
                catalog_pb.Location(
                    location_id="dc", type=WAREHOUSE, handling_minutes=0, priority=1, working_time=holiday
                ),
                catalog_pb.Location(location_id="store", type=STORE, handling_minutes=0, priority=2),
            ]
        )
    )
    return shop


async def sell(shop: Retailer, order_id: str, commitment: int = SOLD, **fields: Any) -> Any:
    return await shop.allocate(order_id, {"MUG": 1}, commitment, destination=Destination(country="US"), **fields)


async def test_dates_are_kept_with_the_order_and_recomputed_when_it_is_rerouted(shop: Retailer) -> None:
    sold = await sell(shop, "A-1")
    [shipment] = sold.shipments

    assert shipment.location_id == "dc"
    assert day_of(shipment.deliver_date) == day_of(sold.deliver_date) == in_days(5)
    assert shipment.deliver_by_time.ToDatetime(UTC).date() == in_days(6)
    holiday, transit = shipment.date_steps
    assert (holiday.reason, day_of(holiday.last_day)) == (shipment_pb2.DateStep.REASON_HOLIDAY, in_days(1))
    assert (transit.reason, day_of(transit.last_day)) == (shipment_pb2.DateStep.REASON_TRANSIT, in_days(5))
    answer = await shop.get(sold.allocation_id)
    assert list(answer.allocation.shipments) == [shipment]
    console = Console(record=True, width=200)
    print_explanation(console, answer)
    assert f"{in_days(3):%a %d %b} to {in_days(5):%a %d %b} on the way" in console.export_text()

    moved = await shop.reassign(shipment)

    [new] = [x for x in moved.shipments if x.location_id == "store"]
    assert day_of(new.deliver_date) == day_of(moved.deliver_date) == in_days(1)
    assert [step.reason for step in new.date_steps] == [shipment_pb2.DateStep.REASON_TRANSIT]


async def test_an_order_is_bound_by_the_last_day_for_its_delivery_and_keeps_it(shop: Retailer) -> None:
    first = await sell(shop, "A-1", deliver_within_days=1)
    again = await sell(shop, "A-1", deliver_within_days=30)
    late = await sell(shop, "A-2", deliver_by=as_message(in_days(0)))

    assert day_of(first.deliver_by) == in_days(1)
    assert [(x.location_id, day_of(x.deliver_date)) for x in first.shipments] == [("store", in_days(1))]
    assert again.deliver_by == first.deliver_by
    dropped = {x.location_id: x.reason for x in late.decision.dropped_candidates}
    assert dropped == {"dc": "too-late", "store": "too-late"}
    assert [(x.cause, x.unit_count) for x in late.shortages] == [("too_late", 1)]
    replayed = await shop.replay(late.decision.decision_id)
    assert replayed.identical


def test_a_date_that_is_none_is_refused_for_a_cart_and_left_out_of_a_sale() -> None:
    never = Date(year=2026, month=2, day=30)
    cart = order_request("A-1", {"MUG": 1}, HOLD, deliver_by=never)
    with pytest.raises(InvalidFields, match="deliver_by: 2026-2-30 is not a calendar date"):
        order_requests.order_request(cart)
    both = order_request("A-1", {"MUG": 1}, HOLD, deliver_by=as_message(in_days(3)), deliver_within_days=3)
    with pytest.raises(InvalidFields, match="deliver_within_days: must not be set beside deliver_by"):
        order_requests.order_request(both)

    sale = order_requests.order_request(
        order_request("A-1", {"MUG": 1}, SOLD, deliver_by=never, deliver_within_days=-1)
    )

    assert (sale.order.deliver_by, sale.deliver_within_days) == (None, None)
    assert {violation.field for violation in sale.left_out} == {"deliver_by", "deliver_within_days"}


async def test_availability_says_by_which_day_how_many_and_an_order_gets_them(shop: Retailer) -> None:
    request = CheckAvailabilityRequest(channel_id="web", skus=["MUG"], include_delivery_days=True)
    error = await refused(shop.availability.CheckAvailability(request))
    request.destination.country = "US"

    [answer] = (await shop.availability.CheckAvailability(request)).availabilities

    assert str(error.details()).startswith("include_delivery_days: needs a destination")
    days = [(day_of(day.deliver_by), day.largest_order_count) for day in answer.delivery_days]
    assert days == [(in_days(1), 5), (in_days(5), 10)]
    console = Console(record=True, width=200)
    print_delivery_days(console, [answer])
    assert f"MUG: by {in_days(1):%a %d %b} up to 5, by {in_days(5):%a %d %b} up to 10" in console.export_text()
    for number, (day, count) in enumerate(days):
        fields = {"destination": request.destination, "deliver_by": as_message(day), "validate_only": True}
        whole = await shop.allocate(f"W-{number}", {"MUG": count}, HOLD, **fields)
        more = await shop.allocate(f"M-{number}", {"MUG": count + 1}, HOLD, **fields)
        assert (sum(promised(whole).values()), list(whole.shortages)) == (count, [])
        assert sum(promised(more).values()) == count


async def test_an_order_that_is_paid_days_after_its_cart_gets_dates_that_can_be_kept(shop: Retailer) -> None:
    carts = [await sell(shop, f"A-{number}", HOLD) for number in range(3)]
    await shop.sql("UPDATE shipment SET deliver_date = deliver_date - 3, ship_by_time = now() - interval '2 days'")

    confirmed = await shop.confirm(carts[0].allocation_id)
    sold = await sell(shop, "A-1", SOLD)
    await shop.sql("UPDATE shipment SET deliver_date = deliver_date + 9")
    kept = await shop.confirm(carts[2].allocation_id)

    assert day_of(confirmed.deliver_date) == day_of(sold.deliver_date) == in_days(5)
    assert day_of(kept.deliver_date) == in_days(5 - 3 + 9)


async def test_a_location_that_is_full_today_delivers_a_day_later_and_availability_says_so(shop: Retailer) -> None:
    capacity = catalog_pb.Capacity(orders_per_day=1)
    store = catalog_pb.Location(location_id="store", type=STORE, handling_minutes=0, priority=0, capacity=capacity)
    await shop.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=[store]))
    first = await sell(shop, "A-1")
    request = CheckAvailabilityRequest(
        channel_id="web", skus=["MUG"], include_delivery_days=True, destination=Destination(country="US")
    )

    [answer] = (await shop.availability.CheckAvailability(request)).availabilities
    second = await sell(shop, "A-2")

    assert [(x.location_id, day_of(x.deliver_date)) for x in first.shipments] == [("store", in_days(1))]
    days = [(day_of(day.deliver_by), day.largest_order_count) for day in answer.delivery_days]
    assert days == [(in_days(2), 4), (in_days(5), 9)]
    [shipment] = second.shipments
    assert (shipment.location_id, day_of(shipment.deliver_date)) == ("store", in_days(2))
    reasons = [step.reason for step in shipment.date_steps]
    assert reasons == [shipment_pb2.DateStep.REASON_CAPACITY, shipment_pb2.DateStep.REASON_TRANSIT]


def courier_for_dear_orders() -> ChannelContext:
    """A warehouse that works at once, on every day; dear orders arrive on the next day, others after three."""
    delivery = """
kind: delivery
rules:
  - {name: dear, position: 10, when: {order.value: {at_least: 100}}, service: courier, transit_days: 1, ships_on: DAYS}
  - {name: parcels, position: 20, service: parcel, transit_days: 3, ships_on: DAYS}
"""
    policy_set = rules(ANYWHERE, delivery.replace("DAYS", "[mon, tue, wed, thu, fri, sat, sun]"))
    return ChannelContext(policy_set, {"dc": warehouse("dc", handling_minutes=0)}, TIKTOK, {})


def test_a_dear_order_is_dated_by_the_courier_that_carries_it() -> None:
    record = AllocationRecord(uuid4(), TIKTOK.id, "A-1", NOW, NOW)
    arrivals = []
    for value in (99, 100):
        record.replace_contents(sold({"MUG": 1}, stated_value=Decimal(value)))
        arrivals.append(ShipmentDates(courier_for_dear_orders(), record, NOW).at("dc").arrives_on)

    assert arrivals == [NOW.date() + timedelta(days=3), NOW.date() + timedelta(days=1)]


def test_a_cart_that_is_handled_on_a_later_day_is_dated_from_that_day_when_its_carrier_has_become_slower() -> None:
    later = NOW.date() + timedelta(days=3)
    shipment = ShipmentRecord(uuid4(), "dc", None, ShipmentState.ASSIGNED, {"1": 1}, handling=HandlingTime(later))
    shipment.deliver_date = later + timedelta(days=1)
    record = AllocationRecord(uuid4(), TIKTOK.id, "A-1", NOW, NOW, shipments=[shipment])
    record.replace_contents(sold({"MUG": 1}))

    renew_dates(courier_for_dear_orders(), record, NOW)

    assert shipment.deliver_date == later + timedelta(days=3)
