"""What a channel shows in each of its outlets, beside what was published to it of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.exception_shop import Record
from tests.retailer import Retailer, eventually
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    availability_service_pb2 as availability_pb,
    catalog_service_pb2 as catalog_pb,
    channel_figure_pb2 as figure_pb,
    exception_service_pb2 as exception_pb,
    listing_pb2 as listing_pb,
    outlet_pb2,
)

OVERSELL = allocation_pb.Shortage.KIND_OVERSELL


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    """Mugs: 6 in the outlet east and 4 in west."""
    await retailer.stock({("MUG", "e"): 6, ("MUG", "w"): 4})
    outlets = [
        outlet_pb2.Outlet(channel_id="web", outlet_id="east", location_id="e"),
        outlet_pb2.Outlet(channel_id="web", outlet_id="west", location_id="w"),
    ]
    await retailer.catalog.UpsertOutlets(outlet_pb2.UpsertOutletsRequest(outlets=outlets))
    return retailer


async def tell(shop: Retailer, *skus: str, **fields: Any) -> None:
    """Tells the channel what it may sell, in each outlet too."""
    request = availability_pb.CheckAvailabilityRequest(channel_id="web", skus=skus, include_outlets=True, **fields)
    await shop.availability.CheckAvailability(request)


async def show(shop: Retailer, counts: Mapping[str, int], sku: str = "MUG", **fields: Any) -> dict[str, int | None]:
    """The differences of what the channel shows, by outlet; None where it cannot be judged."""
    figures = [
        figure_pb.ChannelFigure(sku=sku, shown_count=count, outlet_id=outlet_id, **fields)
        for outlet_id, count in counts.items()
    ]
    request = figure_pb.RecordChannelFiguresRequest(channel_id="web", figures=figures)
    results = (await shop.availability.RecordChannelFigures(request)).results
    return {
        outlet_id: x.difference_count if x.HasField("difference_count") else None
        for outlet_id, x in zip(counts, results, strict=True)
    }


async def test_units_that_a_channel_shows_in_the_wrong_outlet_raise_an_exception_that_names_it(shop: Retailer) -> None:
    await tell(shop, "MUG")
    wrong = await show(shop, {"east": 8, "west": 2})
    raised = {x.outlet_id: x for x in await shop.open_exceptions(kinds=["mismatch"])}
    right = await show(shop, {"east": 6, "west": 4})

    async def is_kept() -> bool:
        return bool(await shop.sql("SELECT FROM availability_history"))

    await eventually(is_kept)
    listed = await shop.availability.ListChannelFigures(figure_pb.ListChannelFiguresRequest(channel_id="web"))
    after = await shop.exceptions.GetException(
        exception_pb.GetExceptionRequest(exception_id=raised["east"].exception_id)
    )

    assert wrong == {"east": 2, "west": -2}
    assert "web shows 8 of MUG in outlet east, 2 too many: 6 units may be sold there" in raised["east"].description
    assert "web shows 2 of MUG in outlet west, 2 too few: 4 units" in raised["west"].description
    assert right == {"east": 0, "west": 0}
    assert await shop.open_exceptions() == []
    assert after.exception.state == Record.STATE_RESOLVED
    assert [(x.figure.outlet_id, x.published_count) for x in listed.figures] == [("east", 6), ("west", 4)]


async def test_one_outlet_is_judged_by_itself_and_by_nothing_else(shop: Retailer) -> None:
    await shop.sellable("MUG")
    told_the_sum = await show(shop, {"east": 6})
    both = await show(shop, {"west": 5})
    await tell(shop, "MUG")
    told_the_outlets = await show(shop, {"east": 6})

    # Of one outlet nothing was published; of both together, 10 were.
    assert told_the_sum == {"east": None}
    assert both == {"west": 1}
    assert told_the_outlets == {"east": 0}


async def test_what_the_channel_sold_itself_is_no_difference_in_any_outlet(shop: Retailer) -> None:
    await tell(shop, "MUG")
    await shop.allocate("A-1", {"MUG": 2}, outlet_id="east")

    assert await show(shop, {"east": 4, "west": 4}) == {"east": 0, "west": 0}
    assert await show(shop, {"east": 6, "west": 2}) == {"east": 0, "west": 0}
    assert await show(shop, {"east": 3, "west": 5}) == {"east": -1, "west": 1}


async def test_a_watch_tells_outlets_too_and_of_items_in_units(shop: Retailer) -> None:
    case = listing_pb.Listing(channel_id="web", item_id="9223372036854775808", sku="MUG", unit_count=2)
    await shop.catalog.UpsertListings(listing_pb.UpsertListingsRequest(listings=[case]))
    request = availability_pb.WatchAvailabilityRequest(channel_id="web", item_ids=[case.item_id], include_outlets=True)
    watch = shop.availability.WatchAvailability(request)
    async for response in watch:
        if response.changes:
            break
    watch.cancel()

    assert await show(shop, {"east": 4, "west": 2}, sku="", item_id=case.item_id) == {"east": 1, "west": 0}


async def test_kits_that_the_channel_sold_are_no_difference(shop: Retailer) -> None:
    await shop.stock({("BOWL", "e"): 9, ("BOWL", "w"): 0})
    await shop.kits({"SET": {"MUG": 1, "BOWL": 3}})
    await tell(shop, "SET")
    await shop.allocate("A-1", {"SET": 2})

    assert await show(shop, {"east": 1, "west": 0}, sku="SET") == {"east": 0, "west": 0}
    assert await show(shop, {"east": 0, "west": 0}, sku="SET") == {"east": -1, "west": 0}


async def test_a_deleted_outlet_counts_no_more(shop: Retailer) -> None:
    await tell(shop, "MUG")
    await show(shop, {"east": 8, "west": 4})
    await shop.catalog.DeleteOutlet(outlet_pb2.DeleteOutletRequest(channel_id="web", outlet_id="east"))
    after = await show(shop, {"west": 4})

    assert after == {"west": 0}
    assert await shop.open_exceptions(kinds=["mismatch"]) == []


async def test_an_oversell_in_an_outlet_rests_on_what_the_channel_showed_there(shop: Retailer) -> None:
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[catalog_pb.Product(sku="CUP")]))
    await shop.count({("CUP", "e"): 6, ("CUP", "w"): 4})
    await tell(shop, "MUG", "CUP")
    await show(shop, {"east": 9, "west": 1})
    await show(shop, {"east": 6, "west": 4}, sku="CUP")
    showed_more = await shop.allocate("A-1", {"MUG": 12}, outlet_id="east")
    showed_right = await shop.allocate("A-2", {"CUP": 12}, outlet_id="east")
    evidence = showed_more.decision.oversells[0].outlet

    # The sum was right in both cases.
    assert [x.cause for x in showed_more.shortages if x.kind == OVERSELL] == ["not_applied"]
    assert [x.cause for x in showed_right.shortages if x.kind == OVERSELL] == ["race"]
    assert (evidence.outlet_id, evidence.published_count, evidence.shown_count) == ("east", 6, 9)
    assert (await shop.replay(showed_more.decision.decision_id)).identical
