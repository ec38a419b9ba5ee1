"""What changed in the catalog, when and by which call; and what a record was at a time in the past."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from google.type.money_pb2 import Money
from google.type.timeofday_pb2 import TimeOfDay

from service.rpc.proto_values import timestamp
from tests.retailer import Retailer
from tests.service.test_bad_input import refused
from truestock.v1 import catalog_history_pb2 as history_pb, catalog_service_pb2 as catalog_pb, listing_pb2, outlet_pb2

Kind = history_pb.CatalogChange.Kind
Location = catalog_pb.Location


async def history(shop: Retailer, *record_ids: str, **fields: Any) -> Sequence[history_pb.CatalogChange]:
    """Newest first."""
    request = history_pb.ListCatalogHistoryRequest(record_ids=record_ids, **fields)
    answer: history_pb.ListCatalogHistoryResponse = await shop.catalog.ListCatalogHistory(request)
    return answer.changes


async def upsert(shop: Retailer, **fields: Any) -> None:
    location = Location(location_id="austin", type=Location.TYPE_STORE, **fields)
    await shop.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=[location]))


async def as_of(shop: Retailer, kind: str, record_id: str, time: Any = None) -> catalog_pb.GetCatalogRecordResponse:
    request = catalog_pb.GetCatalogRecordRequest(kind=kind, record_id=record_id, time=time)
    answer: catalog_pb.GetCatalogRecordResponse = await shop.catalog.GetCatalogRecord(request)
    return answer


def changed(change: history_pb.CatalogChange) -> dict[str, tuple[str | None, str | None]]:
    """Fields with their values before and after; None for none."""
    return {
        x.field: (x.before if x.HasField("before") else None, x.after if x.HasField("after") else None)
        for x in change.fields
    }


async def test_a_change_says_what_a_location_was_before_and_after(retailer: Retailer) -> None:
    await upsert(retailer, status=Location.STATUS_OPEN, tags=["mall"])
    working_time = catalog_pb.WorkingTime(opens=TimeOfDay(hours=9), closes=TimeOfDay(hours=17, minutes=30))
    await upsert(retailer, status=Location.STATUS_PAUSED, tags=["mall", "new"], working_time=working_time)
    await upsert(retailer, status=Location.STATUS_PAUSED, tags=["mall", "new"], working_time=working_time)

    update, creation = await history(retailer, "austin")
    assert (update.change, update.kind, update.call) == (Kind.KIND_UPDATED, "location", "UpsertLocations")
    assert changed(update) == {
        "status": ("open", "paused"),
        "tags": ('["mall"]', '["mall", "new"]'),
        "opens": (None, "09:00:00"),
        "closes": (None, "17:30:00"),
    }
    assert creation.change == Kind.KIND_CREATED
    assert changed(creation)["status"] == (None, "open")


async def test_prices_and_channels_locations_are_recorded(retailer: Retailer) -> None:
    await retailer.locations("dc", "store")
    for units, location_ids in ((10, ["dc"]), (12, ["dc", "store"])):
        price = Money(currency_code="USD", units=units)
        product = catalog_pb.Product(sku="MUG", price=price)
        await retailer.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[product]))
        channel = catalog_pb.Channel(channel_id="web", kind=catalog_pb.Channel.KIND_WEB, location_ids=location_ids)
        await retailer.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[channel]))

    (product_change, _), (channel_change, *_) = [await history(retailer, id) for id in ("MUG", "web")]
    assert changed(product_change) == {"price": ("10.0000", "12.0000")}
    assert changed(channel_change) == {"location_ids": ('["dc"]', '["dc", "store"]')}


async def test_a_record_is_answered_as_it_was_at_a_time(retailer: Retailer) -> None:
    await upsert(retailer, status=Location.STATUS_OPEN, priority=3)
    await upsert(retailer, status=Location.STATUS_CLOSED, priority=3)
    update, creation = await history(retailer, "austin")
    a_moment = timedelta(microseconds=1)
    before = creation.change_time.ToDatetime(tzinfo=UTC) - a_moment

    then = await as_of(retailer, "location", "austin", creation.change_time)
    assert (then.location.status, then.location.priority) == (Location.STATUS_OPEN, 3)
    later = await as_of(retailer, "location", "austin", update.change_time)
    assert later.location == (await as_of(retailer, "location", "austin")).location
    assert later.location.status == Location.STATUS_CLOSED
    assert {x.field: x.value for x in then.fields}["priority"] == "3"
    error = await refused(as_of(retailer, "location", "austin", timestamp(before)))
    assert error.is_(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "record_id")


async def test_a_record_from_before_its_history_is_what_its_first_change_says(retailer: Retailer) -> None:
    await upsert(retailer, status=Location.STATUS_OPEN)
    await upsert(retailer, status=Location.STATUS_PAUSED)
    # As after an update of the service, or once the beginning is past retention.
    await retailer.sql("DELETE FROM catalog_history WHERE change = 'created'")
    await retailer.sql("UPDATE location SET create_time = now() - interval '1 day'")
    (update,) = await history(retailer, "austin")
    an_hour_ago = update.change_time.ToDatetime(tzinfo=UTC) - timedelta(hours=1)

    assert (await as_of(retailer, "location", "austin", timestamp(an_hour_ago))).location.status == Location.STATUS_OPEN
    assert (await as_of(retailer, "channel", "web")).channel.channel_id == "web"


async def test_records_that_lack_what_was_added_since_are_answered(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 5})
    await retailer.sql("UPDATE catalog_history SET after = after - 'tags' - 'time_zone' WHERE after IS NOT NULL")
    await retailer.sql("UPDATE product SET learned_velocity = 2, learned_velocity_time = now()")
    learned = (await as_of(retailer, "product", "MUG")).product
    await retailer.sql("DELETE FROM catalog_history WHERE kind = 'product'")

    assert learned == (await as_of(retailer, "product", "MUG")).product
    assert not learned.HasField("learned_velocity_per_day")
    assert (await as_of(retailer, "location", "dc")).location.location_id == "dc"


async def test_a_listing_that_was_deleted_stays_in_the_history(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 5})
    await retailer.list_item("web", "10/7", "MUG")
    await retailer.catalog.DeleteListing(listing_pb2.DeleteListingRequest(channel_id="web", item_id="10/7"))

    deletion, creation = await history(retailer, "web/10/7")
    assert (deletion.change, deletion.call) == (Kind.KIND_DELETED, "DeleteListing")
    assert changed(deletion)["sku"] == ("MUG", None)
    then = await as_of(retailer, "listing", "web/10/7", creation.change_time)
    assert {x.field: x.value for x in then.fields}["sku"] == "MUG"
    await refused(as_of(retailer, "listing", "web/10/7"))


async def test_pools_and_outlets_have_a_history(retailer: Retailer) -> None:
    await retailer.locations("dc", "store")
    for location_ids in (["dc"], ["dc", "store"]):
        pool = outlet_pb2.Pool(pool_id="all", location_ids=location_ids)
        await retailer.catalog.UpsertPools(outlet_pb2.UpsertPoolsRequest(pools=[pool]))
    outlet = outlet_pb2.Outlet(channel_id="web", outlet_id="online", pool_id="all")
    await retailer.catalog.UpsertOutlets(outlet_pb2.UpsertOutletsRequest(outlets=[outlet]))
    await retailer.catalog.DeleteOutlet(outlet_pb2.DeleteOutletRequest(channel_id="web", outlet_id="online"))
    await retailer.catalog.DeletePool(outlet_pb2.DeletePoolRequest(pool_id="all"))

    pools = await history(retailer, kinds=["pool"])
    outlets = await history(retailer, "web/online")
    assert [x.change for x in pools] == [Kind.KIND_DELETED, Kind.KIND_UPDATED, Kind.KIND_CREATED]
    assert changed(pools[1]) == {"location_ids": ('["dc"]', '["dc", "store"]')}
    assert [x.call for x in outlets] == ["DeleteOutlet", "UpsertOutlets"]


async def test_questions_that_the_history_cannot_answer_are_refused(retailer: Retailer) -> None:
    now = datetime.now(UTC)
    for field, kind, record_id, time in (
        ("kind", "shelf", "austin", None),
        ("record_id", "listing", "1729", None),
        ("time", "channel", "web", timestamp(now + timedelta(hours=1))),
        ("time", "channel", "web", timestamp(now - timedelta(days=731))),
    ):
        error = await refused(as_of(retailer, kind, record_id, time))
        assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field)
