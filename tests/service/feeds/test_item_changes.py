"""Stock changes that name a channel's item: recorded in units of its SKU, or quarantined until a listing maps it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from tests.retailer import Retailer, change, movement, refused
from truestock.v1 import catalog_service_pb2 as catalog_pb, listing_pb2 as listing_pb, stock_service_pb2 as stock_pb

Result = stock_pb.StockChangeResult
HUGE = "9223372036854775808123"
"""The id of an item, a number of more than 64 bits."""
SOLD, RECEIVED = stock_pb.MOVEMENT_KIND_SOLD, stock_pb.MOVEMENT_KIND_RECEIVED


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.locations("dc")
    await retailer.stock({("MUG", "dc"): 0})
    await retailer.list_item("web", HUGE, "MUG", 6)
    return retailer


def item(item_id: str, *, channel_id: str = "web", **fields: Any) -> stock_pb.StockChange:
    """A change that is newer than all before it."""
    at = datetime.now(UTC)
    return change("", fields.pop("location_id", "dc"), at=at, channel_id=channel_id, item_id=item_id, **fields)


def counted(units: int, **fields: Any) -> stock_pb.StockCount:
    return stock_pb.StockCount(on_hand_count=units, **fields)


async def record(shop: Retailer, *changes: stock_pb.StockChange) -> list[int]:
    return [result.result for result in await shop.record(*changes, source="wms")]


async def test_counts_of_items_are_counts_of_their_units(shop: Retailer) -> None:
    aside = stock_pb.UnavailableUnits(reason=stock_pb.UNAVAILABLE_REASON_DAMAGED, unit_count=2)
    results = await record(shop, item(HUGE, count=counted(5, unavailable=[aside])))

    level = await shop.level("MUG", "dc")
    assert results == [Result.CHANGE_RESULT_ACCEPTED]
    assert (level.on_hand_count, level.unavailable_count, level.available_count) == (30, 12, 18)
    assert (await shop.ledger()).balanced


async def test_movements_and_deliveries_of_items_are_of_their_units(shop: Retailer) -> None:
    delivery = stock_pb.IncomingUnits(reference="PO-1", unit_count=4)
    for fields in ({"movement": movement(RECEIVED, 3)}, {"movement": movement(SOLD, 1)}, {"incoming": delivery}):
        await record(shop, item(HUGE, **fields))
    level = await shop.level("MUG", "dc")
    listed = await shop.stock_service.ListStockMovements(stock_pb.ListStockMovementsRequest(kinds=["received"]))

    assert level.on_hand_count == 12
    assert [x.unit_count for x in level.incoming] == [24]
    assert [(x.sku, x.on_hand_delta, x.reported_count) for x in listed.stock_movements] == [("MUG", 18, 18)]


async def test_a_change_of_an_item_counts_once(shop: Retailer) -> None:
    once = item(HUGE, change_id="w-1", count=counted(2))
    results = [*await record(shop, once), *await record(shop, once)]

    assert results[1] == Result.CHANGE_RESULT_DUPLICATE


async def test_a_change_of_an_item_that_is_not_mapped_is_recorded_when_it_is(shop: Retailer) -> None:
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[catalog_pb.Product(sku="BOWL")]))
    results = await shop.record(
        item("new", movement=movement(RECEIVED, 2)),
        item("newer", movement=movement(RECEIVED, 1)),
        item("new", channel_id="nowhere", movement=movement(RECEIVED, 1)),
        source="wms",
    )
    opened = await shop.open_exceptions(kinds=["unmapped_product"])
    (exception,) = [x for x in opened if "item 'new' of channel 'web'" in x.description]
    await shop.list_item("web", "new", "BOWL", 4)

    assert [x.result for x in results] == [Result.CHANGE_RESULT_QUARANTINED] * 3
    assert "item 'new' of channel 'web' is not mapped" in results[0].reason
    assert len(opened) == 3
    assert (await shop.level("BOWL", "dc")).on_hand_count == 8
    assert "wms reports item 'new'" in exception.description
    kept = await shop.sql("SELECT channel_id, item_id FROM stock_quarantine ORDER BY channel_id")
    assert [tuple(row) for row in kept] == [("nowhere", "new"), ("web", "newer")]
    open_ids = {x.exception_id for x in await shop.open_exceptions(kinds=["unmapped_product"])}
    assert exception.exception_id not in open_ids
    assert len(open_ids) == 2


async def test_a_quarantined_item_at_a_new_location_is_recorded_when_that_is_known(shop: Retailer) -> None:
    await record(shop, item(HUGE, location_id="store", count=counted(2)))
    await shop.locations("store")

    assert (await shop.level("MUG", "store")).on_hand_count == 12


async def test_more_units_than_a_level_can_have_are_quarantined(shop: Retailer) -> None:
    await shop.list_item("web", "pallet", "MUG", 10_000)
    results = await record(
        shop,
        item("pallet", count=counted(1_000_000_000)),
        item("pallet", movement=movement(SOLD, 100_001)),
        item("pallet", incoming=stock_pb.IncomingUnits(reference="PO-1", unit_count=100_001)),
    )

    assert results == [Result.CHANGE_RESULT_QUARANTINED] * 3


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"sku": "MUG", "channel_id": "web", "item_id": HUGE}, "changes[0].item_id"),
        ({}, "changes[0].sku"),
        ({"item_id": HUGE}, "changes[0].channel_id"),
        ({"sku": "MUG", "channel_id": "web"}, "changes[0].channel_id"),
        ({"channel_id": "web", "item_id": "1" * 129}, "changes[0].item_id"),
    ],
)
async def test_a_change_names_either_a_sku_or_an_item_of_a_channel(
    shop: Retailer, fields: dict[str, str], field: str
) -> None:
    wrong = change(fields.get("sku", ""), "dc", count=counted(1))
    wrong.channel_id, wrong.item_id = fields.get("channel_id", ""), fields.get("item_id", "")
    error = await refused(shop.record(wrong))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in str(error.details())


async def test_items_may_be_named_in_a_stream(shop: Retailer) -> None:
    async def messages() -> Any:
        yield stock_pb.StreamStockChangesRequest(source="wms", changes=[item(HUGE, count=counted(2))])
        yield stock_pb.StreamStockChangesRequest(changes=[item("new", count=counted(2))])

    answers = [answer async for answer in shop.stock_service.StreamStockChanges(messages())]

    assert [answer.results[0].result for answer in answers] == [
        Result.CHANGE_RESULT_ACCEPTED,
        Result.CHANGE_RESULT_QUARANTINED,
    ]


async def test_a_deleted_listing_leaves_recorded_stock_as_it_is(shop: Retailer) -> None:
    await record(shop, item(HUGE, count=counted(2)))
    await shop.catalog.DeleteListing(listing_pb.DeleteListingRequest(channel_id="web", item_id=HUGE))
    results = await record(shop, item(HUGE, count=counted(3)))

    assert (await shop.level("MUG", "dc")).on_hand_count == 12
    assert results == [Result.CHANGE_RESULT_QUARANTINED]
