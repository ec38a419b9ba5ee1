"""Rules through the API: what a channel may sell, and what orders get."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from google.type.date_pb2 import Date
from google.type.dayofweek_pb2 import DayOfWeek
from google.type.latlng_pb2 import LatLng
from google.type.money_pb2 import Money
from google.type.timeofday_pb2 import TimeOfDay

from service.orders import order_messages
from service.orders.allocation_record import AllocationRecord, LineRecord, ShortageRecord
from tests.conftest import RULES as SHIPPED_RULES, RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, State, promised
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    availability_service_pb2 as availability_pb,
    catalog_service_pb2 as catalog_pb,
    order_pb2,
)

RULES = Path(__file__).parent.parent / "rules_buffered"
STORE = catalog_pb.Location.TYPE_STORE
AUSTIN, DENVER = LatLng(latitude=30.27, longitude=-97.74), LatLng(latitude=39.74, longitude=-104.99)


@pytest.fixture
async def shop(retailers: RetailerMaker) -> Retailer:
    """Two stores that keep two units each for walk-in customers, and a channel on TikTok beside the web."""
    shop = await retailers.make(RULES)
    social = catalog_pb.Channel(channel_id="tiktok_shop", kind=catalog_pb.Channel.KIND_SOCIAL)
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[social]))
    await shop.stock({("MUG", "austin"): 5, ("MUG", "denver"): 4})
    stores = [
        catalog_pb.Location(location_id="austin", type=STORE, coordinates=AUSTIN),
        catalog_pb.Location(location_id="denver", type=STORE, coordinates=DENVER),
    ]
    await shop.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=stores))
    return shop


async def test_availability_is_what_remains_after_the_buffers(shop: Retailer) -> None:
    answer = await check(shop, "MUG", include_locations=True)

    assert (answer.sellable_count, answer.available_count) == (5, 9)
    assert {at.location_id: (at.buffer_count, at.sellable_count) for at in answer.locations} == {
        "austin": (2, 3),
        "denver": (2, 2),
    }
    assert answer.fired_rules[0].source == "rules_buffered/all.yaml:5"


async def test_tiktok_does_not_get_the_last_units(shop: Retailer) -> None:
    await shop.count({("MUG", "austin"): 3, ("MUG", "denver"): 3})
    answer = await check(shop, "MUG", channel_id="tiktok_shop", include_locations=True)

    assert (answer.sellable_count, answer.unpublished_count) == (0, 2)
    assert sum(location.sellable_count for location in answer.locations) == 2
    assert await shop.sellable("MUG", "web") == 2


async def test_a_location_under_stocktake_sells_nothing_online(shop: Retailer) -> None:
    counting = catalog_pb.Location(location_id="denver", type=STORE, status=catalog_pb.Location.STATUS_STOCKTAKE)
    await shop.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=[counting]))

    answer = await check(shop, "MUG", include_locations=True)

    assert answer.sellable_count == 3
    assert list(answer.locations[1].reasons) == ["excluded by stocktake"]


async def test_a_block_names_the_confidence_that_it_compared_and_a_count_that_differs_ends_it(
    retailers: RetailerMaker,
) -> None:
    shop = await retailers.make(SHIPPED_RULES)
    social = catalog_pb.Channel(channel_id="clips", kind=catalog_pb.Channel.KIND_SOCIAL)
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[social]))
    names = ("austin", "boston", "chicago", "denver", "el-paso", "fresno")
    await shop.stock({("MUG", name): 50 for name in names})
    stores = [catalog_pb.Location(location_id=name, type=STORE) for name in names]
    await shop.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=stores))

    # (76 / (76 + 18)) ** 0.5 is 0.8992.
    await shop.sql("UPDATE stock_level SET movements_since_count = 18")
    doubtful = await check(shop, "MUG", channel_id="clips", include_locations=True)
    order = await shop.allocate("A-1", {"MUG": 1}, HOLD, channel_id="clips")
    await shop.count({("MUG", name): 4 for name in names})
    just_counted = await check(shop, "MUG", channel_id="clips", include_locations=True)

    assert [list(location.reasons) for location in just_counted.locations] == [[]] * 6
    assert list(doubtful.locations[0].reasons) == [
        "blocked: counts at this store are not trusted (stock.count_confidence is 0.899)"
    ]
    dropped = next(x for x in order.decision.dropped_candidates if x.rule == "counts-not-trusted")
    assert ("stock.count_confidence", "0.899") in [(x.fact, x.value) for x in dropped.facts]


async def test_a_draft_product_is_not_sold(shop: Retailer) -> None:
    draft = catalog_pb.Product(sku="MUG", status=catalog_pb.Product.STATUS_DRAFT)
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[draft]))

    assert await shop.sellable("MUG") == 0
    assert (await shop.allocate("A-1", {"MUG": 1}, HOLD)).state == State.STATE_REFUSED


async def test_a_cart_does_not_use_the_buffer(shop: Retailer) -> None:
    held = await shop.allocate("A-1", {"MUG": 9}, HOLD)

    assert promised(held) == {"austin": 3, "denver": 2}
    assert held.outcome == order_pb2.OUTCOME_PARTLY_ALLOCATED
    assert not any(shortage.kind == allocation_pb.Shortage.KIND_OVERSELL for shortage in held.shortages)


async def test_a_sold_order_may_use_the_buffer_and_the_saved_units_are_counted(shop: Retailer) -> None:
    sold = await shop.allocate("A-1", {"MUG": 7}, SOLD)

    assert sum(promised(sold).values()) == 7
    assert shop.metric("buffer_saved_units_total", channel="web") == 2
    assert shop.metric("oversold_units_total", channel="web", cause="race") == 0


async def test_the_nearest_store_fulfills(shop: Retailer) -> None:
    to_colorado = order_pb2.Destination(country="US", coordinates=DENVER)

    sold = await shop.allocate("A-1", {"MUG": 2}, SOLD, destination=to_colorado)

    assert promised(sold) == {"denver": 2}
    assert sold.shipments[0].distance_km == 0


async def test_an_expensive_split_order_waits_for_a_person_with_its_stock_promised(shop: Retailer) -> None:
    sold = await shop.allocate("A-1", {"MUG": 8}, SOLD, order_value=Money(currency_code="USD", units=100))

    assert sold.outcome == order_pb2.OUTCOME_NEEDS_REVIEW
    assert sold.needs_person
    assert sum(promised(sold).values()) == 8
    assert shop.metric("manual_interventions_total", channel="web", reason="review") == 1


async def test_a_channel_sells_only_from_its_own_locations(shop: Retailer) -> None:
    till = catalog_pb.Channel(channel_id="till", kind=catalog_pb.Channel.KIND_POS, location_ids=["denver"])
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[till]))

    assert await shop.sellable("MUG", "till") == 2
    assert promised(await shop.allocate("A-1", {"MUG": 5}, SOLD, channel_id="till")) == {"denver": 4}


async def test_a_closed_location_fulfills_nothing(shop: Retailer) -> None:
    closed = catalog_pb.Location(location_id="austin", type=STORE, status=catalog_pb.Location.STATUS_CLOSED)
    await shop.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=[closed]))

    assert await shop.sellable("MUG") == 2
    assert promised(await shop.allocate("A-1", {"MUG": 9}, SOLD)) == {"denver": 4}


async def test_a_pickup_is_promised_at_the_store_that_the_shopper_chose(shop: Retailer) -> None:
    fields: dict[str, Any] = {"method": order_pb2.FULFILLMENT_METHOD_PICKUP, "pickup_location_id": "denver"}

    sold = await shop.allocate("A-1", {"MUG": 1}, SOLD, **fields)

    assert promised(sold) == {"denver": 1}
    assert ("austin", "not-chosen") in [(d.location_id, d.reason) for d in sold.decision.dropped_candidates]


async def test_calls_that_arrive_together_share_a_read(shop: Retailer) -> None:
    answers = await asyncio.gather(*(shop.sellable("MUG") for _ in range(200)))

    assert set(answers) == {5}
    assert shop.metric("availability_batch_calls_sum") == 200
    assert shop.metric("availability_batch_calls_count") < 100


async def test_an_edit_of_the_catalog_reaches_every_service(retailers: RetailerMaker) -> None:
    first, second = await retailers.make(RULES), await retailers.make(RULES)
    await first.stock({("MUG", "dc"): 5})
    assert (await first.sellable("MUG"), await second.sellable("MUG")) == (5, 5)

    await first.catalog.UpsertLocations(
        catalog_pb.UpsertLocationsRequest(locations=[catalog_pb.Location(location_id="dc", type=STORE)])
    )

    assert (await first.sellable("MUG"), await second.sellable("MUG")) == (3, 3)


async def check(shop: Retailer, sku: str, **fields: Any) -> availability_pb.Availability:
    fields = {"channel_id": "web"} | fields
    request = availability_pb.CheckAvailabilityRequest(skus=[sku], **fields)
    answer: availability_pb.Availability = (await shop.availability.CheckAvailability(request)).availabilities[0]
    return answer


async def test_an_answer_shows_the_facts_of_its_rules(shop: Retailer) -> None:
    answer = await check(shop, "MUG", include_locations=True)
    sold = await shop.allocate("A-1", {"MUG": 8}, SOLD, order_value=Money(currency_code="USD", units=100))

    assert [(fact.fact, fact.value) for fact in answer.fired_rules[0].facts] == [("location.type", "store")]
    review = sold.decision.fired_rules[-1]
    assert review.rule == "far-and-split"
    assert {fact.fact: fact.value for fact in review.facts} == {"plan.shipment_count": "2", "order.value": "100"}


async def test_working_time_of_locations_and_headroom_of_channels_are_stored(shop: Retailer) -> None:
    working_time = catalog_pb.WorkingTime(
        cut_off=TimeOfDay(hours=14),
        opening_days=[DayOfWeek.MONDAY, DayOfWeek.FRIDAY],
        opens=TimeOfDay(hours=0),
        closes=TimeOfDay(hours=20, minutes=30),
        holidays=[Date(year=2026, month=12, day=25)],
    )
    austin = catalog_pb.Location(
        location_id="austin", type=STORE, time_zone="America/Chicago", working_time=working_time
    )
    await shop.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=[austin]))
    social = catalog_pb.Channel(
        channel_id="tiktok_shop", kind=catalog_pb.Channel.KIND_SOCIAL, cancellation_headroom=0.0
    )
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[social]))

    locations = (await shop.catalog.ListLocations(catalog_pb.ListLocationsRequest())).locations
    channels = (await shop.catalog.ListChannels(catalog_pb.ListChannelsRequest())).channels

    assert [location.working_time for location in locations] == [working_time, catalog_pb.WorkingTime()]
    assert not locations[1].HasField("working_time")
    assert channels[0].HasField("cancellation_headroom")
    assert not channels[1].HasField("cancellation_headroom")


async def test_little_headroom_raises_the_buffer_of_a_channel(retailers: RetailerMaker, tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text((RULES / "routing.yaml").read_text())
    (tmp_path / "headroom.yaml").write_text(
        "kind: buffer\nname: headroom\nscope: channel\nrules:\n"
        "  - {name: few-left, when: {channel.cancellation_headroom: {less_than: 0.25}}, hold_back: {percent: 50}}\n"
    )
    shop = await retailers.make(tmp_path)
    await shop.stock({("MUG", "dc"): 10})
    sellable = []
    for headroom in (0.5, 0.2):
        web = catalog_pb.Channel(channel_id="web", kind=catalog_pb.Channel.KIND_WEB, cancellation_headroom=headroom)
        await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[web]))
        sellable.append(await shop.sellable("MUG"))

    assert sellable == [10, 5]


def test_shortages_are_listed_in_one_order_whichever_arose_first() -> None:
    now = datetime(2026, 11, 27, tzinfo=UTC)
    short = [
        ShortageRecord(line, "MUG", 1, "oversell", cause) for line in "ab" for cause in ("count_correction", "race")
    ]
    first, second = (
        AllocationRecord(
            UUID(int=1), "web", "A-1", now, now, lines=[LineRecord(x, "MUG", 2) for x in "ba"], shortages=shortages
        )
        for shortages in (short, short[::-1])
    )

    message = order_messages.allocation(first, now)

    assert message == order_messages.allocation(second, now)
    assert [(x.line_id, x.cause) for x in message.shortages][:2] == [("b", "count_correction"), ("b", "race")]
