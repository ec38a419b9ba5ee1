"""What a channel may sell of kits, as asked and as watched."""

from __future__ import annotations

import pytest

from tests.retailer import Retailer
from truestock.v1 import availability_service_pb2 as availability_pb, outlet_pb2


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 10, ("BOWL", "dc"): 5, ("MUG", "shop"): 1, ("BOWL", "shop"): 9})
    await retailer.kits({"SET": {"MUG": 1, "BOWL": 2}})
    await retailer.kits({"GIFT": {"MUG": 1, "BOWL": 2}}, may_split=True)
    return retailer


async def ask(shop: Retailer, *skus: str) -> list[availability_pb.Availability]:
    request = availability_pb.CheckAvailabilityRequest(channel_id="web", skus=skus, include_locations=True)
    return list((await shop.availability.CheckAvailability(request)).availabilities)


async def test_a_kit_is_answered_in_kits_with_what_of_each_component_could_be_sold(shop: Retailer) -> None:
    kit, mug, gift = await ask(shop, "SET", "MUG", "GIFT")

    assert (kit.sellable_count, kit.available_count, kit.largest_single_order_count) == (3, 3, 3)
    assert [(x.sku, x.units_per_kit, x.sellable_count) for x in kit.components] == [("MUG", 1, 11), ("BOWL", 2, 14)]
    places = [(x.location_id, x.on_hand_count, x.available_count, x.sellable_count) for x in kit.locations]
    assert places == [("dc", 2, 2, 2), ("shop", 1, 1, 1)]
    assert (mug.sellable_count, list(mug.components)) == (11, [])
    assert (gift.sellable_count, gift.split_kit_count) == (7, 4)


async def test_stock_of_the_kits_own_sku_is_not_sold_as_a_kit(shop: Retailer) -> None:
    await shop.count({("SET", "dc"): 100})

    assert await shop.sellable("SET") == 3


async def test_a_change_of_a_components_stock_changes_the_published_figure_of_its_kits(shop: Retailer) -> None:
    request = availability_pb.WatchAvailabilityRequest(channel_id="web", skus=["SET", "GIFT"])
    seen: dict[str, int] = {}
    changes = [{"dc": 1}, {"dc": 9}]
    wanted = [{"SET": 1, "GIFT": 5}, {"SET": 5, "GIFT": 9}]
    step = -1
    async for message in shop.availability.WatchAvailability(request):
        seen |= {change.sku: change.sellable_count for change in message.changes}
        if step < 0 and message.resume_token:
            assert seen == {"SET": 3, "GIFT": 7}
        elif step < 0 or seen != wanted[step]:
            continue
        step += 1
        if step == len(changes):
            break
        await shop.count({("BOWL", place): units for place, units in changes[step].items()})


async def test_outlets_of_a_channel_add_up_to_its_kits(shop: Retailer) -> None:
    outlet = outlet_pb2.Outlet(channel_id="web", outlet_id="online", location_id="dc")
    await shop.catalog.UpsertOutlets(outlet_pb2.UpsertOutletsRequest(outlets=[outlet]))
    await shop.allocate("1", {"MUG": 9}, destination={"country": "US"})
    request = availability_pb.CheckAvailabilityRequest(channel_id="web", skus=["SET", "GIFT"], include_outlets=True)
    kit, gift = (await shop.availability.CheckAvailability(request)).availabilities

    assert [(x.outlet_id, x.sellable_count, x.promised_to_channel_count) for x in kit.outlets] == [
        ("online", 1, 1),
        ("", 1, 0),
    ]
    assert (kit.sellable_count, kit.promised_elsewhere_count, kit.kept_by_rules_count) == (2, 0, 0)
    for found in (kit, gift):
        assert sum(x.sellable_count for x in found.outlets) == found.sellable_count
