"""Cases about bundles and sales channels from other systems: kits and outlets here. `id` names the other's case."""

from __future__ import annotations

import pytest

from tests.retailer import HOLD, Retailer, promised, refused
from truestock.v1 import availability_service_pb2 as availability_pb, order_pb2, outlet_pb2


async def figures(shop: Retailer, sku: str) -> tuple[int, int]:
    """On hand and available at `w`."""
    level = await shop.level(sku, "w")
    return level.on_hand_count, level.available_count


async def test_a_bundle_is_sellable_as_often_as_its_scarcest_part_allows(retailer: Retailer) -> None:
    """shopware-bundle: 7 A at 2 each make three, 10 B at 3 each make three."""
    await retailer.stock({("A", "w"): 7, ("B", "w"): 10})
    await retailer.kits({"BUNDLE": {"A": 2, "B": 3}})

    assert await retailer.sellable("BUNDLE") == 3
    assert promised(await retailer.allocate("1", {"BUNDLE": 3}, HOLD)) == {"w": 15}
    assert await retailer.sellable("BUNDLE") == 0


async def test_a_bundle_that_ships_together_is_counted_by_location(retailer: Retailer) -> None:
    """shopware-bundle: no bundle is anywhere as a whole, although the totals would make three."""
    await retailer.stock({("A", "w"): 7, ("B", "x"): 10})
    await retailer.kits({"TOGETHER": {"A": 2, "B": 3}})
    await retailer.kits({"APART": {"A": 2, "B": 3}}, may_split=True)

    assert await retailer.sellable("TOGETHER") == 0
    assert await retailer.sellable("APART") == 3


@pytest.mark.parametrize(
    ("lines", "short"), [([("BUNDLE", 1), ("A", 1)], {"2": 1}), ([("A", 1), ("BUNDLE", 1)], {"1": 1})]
)
async def test_a_bundle_and_its_part_share_the_stock_of_the_part(
    retailer: Retailer, lines: list[tuple[str, int]], short: dict[str, int]
) -> None:
    """nopcommerce-5699: the only A goes into the bundle, which is two units of the order."""
    await retailer.stock({("A", "w"): 1, ("B", "w"): 1})
    await retailer.kits({"BUNDLE": {"A": 1, "B": 1}})

    order = await retailer.allocate("1", lines)

    assert order.outcome == order_pb2.OUTCOME_PARTLY_ALLOCATED
    assert {line.line_id: line.short_count for line in order.lines if line.short_count} == short
    assert {line.sku for line in order.shortages} == {"A"}
    assert [await figures(retailer, sku) for sku in ("A", "B")] == [(1, 0), (1, 0)]


async def test_a_shipped_bundle_leaves_stock_once(retailer: Retailer) -> None:
    """magento-1246 and magento-1849: five P are gone, and a cancellation afterwards brings none of them back."""
    await retailer.stock({("P", "w"): 100})
    await retailer.kits({"BUNDLE": {"P": 5}})
    order = await retailer.allocate("1", {"BUNDLE": 1})
    assert await figures(retailer, "P") == (100, 95)

    await retailer.ship(order.shipments[0])
    assert await figures(retailer, "P") == (95, 95)

    error = await refused(retailer.cancel(order.allocation_id, {"1": 1}))
    assert "shipped" in (error.details() or "")
    assert await figures(retailer, "P") == (95, 95)
    assert await retailer.sellable("BUNDLE") == 19


async def test_each_outlet_shows_the_stock_of_its_location(retailer: Retailer) -> None:
    """vendure-av-all, vendure-av-T_1, vendure-av-T_2: one channel with an outlet for each location."""
    await retailer.stock({("T_1v", "t-1"): 100, ("T_1v", "t-2"): 120})
    outlets = [outlet_pb2.Outlet(channel_id="web", outlet_id=f"T_{n}", location_id=f"t-{n}") for n in (1, 2)]
    await retailer.catalog.UpsertOutlets(outlet_pb2.UpsertOutletsRequest(outlets=outlets))

    request = availability_pb.CheckAvailabilityRequest(channel_id="web", skus=["T_1v"], include_outlets=True)
    (figure,) = (await retailer.availability.CheckAvailability(request)).availabilities

    assert figure.sellable_count == 220
    assert {outlet.outlet_id: outlet.sellable_count for outlet in figure.outlets} == {"T_1": 100, "T_2": 120}
