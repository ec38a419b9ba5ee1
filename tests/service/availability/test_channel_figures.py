"""What channels really show, beside what was published to them: kept, compared, and evidence for oversells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import CollectorRegistry

from service.database.database import Database
from service.metrics import Metrics
from service.stock import channel_figures
from tests.exception_shop import Record
from tests.retailer import Retailer, eventually, refused
from truestock.v1 import (
    catalog_service_pb2 as catalog_pb,
    channel_figure_pb2 as figure_pb,
    exception_pb2,
    exception_service_pb2 as exception_pb,
    listing_pb2 as listing_pb,
    outlet_pb2,
)

Result = figure_pb.ChannelFigureResult


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 10, ("CUP", "dc"): 10})
    return retailer


def figure(sku: str, count: int, seconds_ago: float = 0, **fields: Any) -> figure_pb.ChannelFigure:
    time = Timestamp()
    time.FromDatetime(datetime.now(UTC) - timedelta(seconds=seconds_ago))
    return figure_pb.ChannelFigure(sku=sku, shown_count=count, observe_time=time, **fields)


async def show(shop: Retailer, *figures: figure_pb.ChannelFigure, channel_id: str = "web") -> list[Any]:
    request = figure_pb.RecordChannelFiguresRequest(channel_id=channel_id, figures=figures)
    return list((await shop.availability.RecordChannelFigures(request)).results)


async def shown(shop: Retailer, **fields: Any) -> list[Any]:
    request = figure_pb.ListChannelFiguresRequest(channel_id="web", **fields)
    return list((await shop.availability.ListChannelFigures(request)).figures)


async def test_a_channel_that_shows_another_figure_than_it_was_told_raises_an_exception_until_it_shows_the_right_one(
    shop: Retailer,
) -> None:
    await shop.sellable("MUG")
    (before,) = await show(shop, figure("MUG", 12))
    (raised,) = await shop.open_exceptions()
    (still,) = await show(shop, figure("MUG", 12))
    (right,) = await show(shop, figure("MUG", 10))
    after = await shop.exceptions.GetException(exception_pb.GetExceptionRequest(exception_id=raised.exception_id))

    assert (before.result, before.difference_count) == (Result.RESULT_RECORDED, 2)
    assert (raised.kind, raised.sub_kind, raised.channel_id, raised.sku) == ("mismatch", "channel", "web", "MUG")
    assert "web shows 12 of MUG, 2 too many" in raised.description
    assert (still.result, still.difference_count) == (Result.RESULT_UNCHANGED, 2)
    assert (right.difference_count, after.exception.state) == (0, Record.STATE_RESOLVED)
    assert after.exception.resolution == exception_pb2.EXCEPTION_RESOLUTION_STOCK_CORRECTED
    assert shop.metric("channel_comparisons_total", channel="web") == 2
    assert shop.metric("channel_mismatches_total", channel="web") == 1
    assert shop.metric("channel_mismatch_units_total", channel="web") == 2


async def test_a_figure_on_its_way_and_the_channels_own_sales_are_no_difference(shop: Retailer) -> None:
    slow = catalog_pb.Channel(channel_id="slow", kind=catalog_pb.Channel.KIND_WEB, figure_lag_seconds=60)
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[slow]))
    await shop.sellable("MUG", "slow")
    await shop.sellable("CUP")
    await shop.allocate("A-1", {"CUP": 3})
    (on_its_way,) = await show(shop, figure("MUG", 12), channel_id="slow")
    (sold,) = await show(shop, figure("CUP", 7))
    (never_told,) = await show(shop, figure("MUG", 4))

    assert not on_its_way.HasField("difference_count")
    assert not never_told.HasField("difference_count")
    assert sold.difference_count == 0
    assert await shop.open_exceptions() == []


async def test_unknown_skus_items_and_outlets_fail_no_other_figure(shop: Retailer) -> None:
    case = listing_pb.Listing(channel_id="web", item_id="9223372036854775808", sku="MUG", unit_count=6)
    await shop.catalog.UpsertListings(listing_pb.UpsertListingsRequest(listings=[case]))
    outlet = outlet_pb2.Outlet(channel_id="web", outlet_id="w-1", location_id="dc")
    await shop.catalog.UpsertOutlets(outlet_pb2.UpsertOutletsRequest(outlets=[outlet]))
    await shop.sellable("MUG")
    results = await show(
        shop,
        figure("NO", 1),
        figure("", 1, item_id="7"),
        figure("MUG", 1, outlet_id="w-9"),
        figure("MUG", 1, seconds_ago=31 * 86_400, outlet_id="w-1"),
        figure("", 2, item_id=case.item_id),
        figure("CUP", 5, outlet_id="w-1"),
    )
    listed = await shown(shop)

    assert [x.result for x in results] == [
        Result.RESULT_UNKNOWN_SKU,
        Result.RESULT_UNKNOWN_ITEM,
        Result.RESULT_UNKNOWN_OUTLET,
        Result.RESULT_TOO_OLD,
        Result.RESULT_RECORDED,
        Result.RESULT_RECORDED,
    ]
    assert results[4].difference_count == 1
    assert [(x.figure.sku, x.figure.item_id, x.figure.outlet_id, x.unit_count) for x in listed] == [
        ("CUP", "", "w-1", 1),
        ("MUG", case.item_id, "", 6),
    ]


async def test_figures_are_listed_beside_what_was_published_with_their_history(shop: Retailer) -> None:
    await shop.sellable("MUG")

    async def is_kept() -> bool:
        return bool(await shop.sql("SELECT FROM availability_history"))

    await eventually(is_kept)
    await show(shop, figure("MUG", 10))
    await show(shop, figure("MUG", 9))
    await show(shop, figure("MUG", 9))
    (older,) = await show(shop, figure("MUG", 3, 3600))
    (last,) = await shown(shop, skus=["MUG"])
    history = await shown(shop, include_history=True)
    request = figure_pb.ListChannelFiguresRequest(channel_id="web", include_history=True, page_size=2)
    first = await shop.availability.ListChannelFigures(request)
    request.page_token = first.next_page_token
    second = await shop.availability.ListChannelFigures(request)

    assert older.result == Result.RESULT_OLDER
    assert (last.figure.shown_count, last.published_count) == (9, 10)
    assert [x.figure.shown_count for x in history] == [3, 10, 9]
    assert not history[0].HasField("published_count")
    assert [*first.figures, *second.figures] == history


async def test_figures_are_kept_for_thirty_days(shop: Retailer) -> None:
    await show(shop, figure("MUG", 10), figure("CUP", 10))
    await shop.sql("UPDATE channel_figure SET last_time = now() - interval '31 days' WHERE sku = 'MUG'")
    database = await Database.open(shop.database_url, Metrics(CollectorRegistry()), connections=1)
    await database.transaction("purge", channel_figures.purge)
    await database.close()

    assert [x.figure.sku for x in await shown(shop)] == ["CUP"]


async def test_causes_of_oversells_rest_on_what_the_channel_showed(shop: Retailer) -> None:
    await shop.sellable("MUG")
    await shop.sellable("CUP")
    await show(shop, figure("MUG", 10), figure("CUP", 14))
    told_and_shown = await shop.allocate("A-1", {"MUG": 13})
    told_and_showed_more = await shop.allocate("A-2", {"CUP": 13})
    evidence = told_and_shown.decision.oversells[0]

    assert told_and_shown.shortages[0].cause == "race"
    assert told_and_showed_more.shortages[0].cause == "not_applied"
    assert (evidence.shown_count, evidence.cause) == (10, "race")
    assert (await shop.replay(told_and_shown.decision.decision_id)).identical
    (raised,) = [x for x in await shop.open_exceptions(kinds=["oversell"]) if x.sku == "MUG"]
    assert "10 shown there" in raised.description


async def test_a_figure_that_was_seen_before_the_one_that_was_told_last_proves_nothing(shop: Retailer) -> None:
    await show(shop, figure("MUG", 10))
    await shop.sellable("MUG")
    sold = await shop.allocate("A-1", {"MUG": 13})

    assert sold.shortages[0].cause == "not_applied"
    assert not sold.decision.oversells[0].HasField("shown_count")


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ([], "figures: "),
        ([figure("", 1)], "figures[0].sku"),
        ([figure("MUG", -1)], "figures[0].shown_count"),
        ([figure("MUG", 1), figure("MUG", 2)], "figures[1]: is of the same SKU, item and outlet as figures[0]"),
    ],
)
async def test_figures_that_cannot_be_are_refused(
    shop: Retailer, figures: list[figure_pb.ChannelFigure], message: str
) -> None:
    error = await refused(show(shop, *figures))

    assert (error.code(), message in (error.details() or "")) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    assert (await refused(show(shop, figure("MUG", 1), channel_id="no"))).code() is grpc.StatusCode.NOT_FOUND
