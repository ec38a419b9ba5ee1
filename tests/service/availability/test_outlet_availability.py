"""Availability per outlet, through gRPC: it adds up, it says where the other units are, and watches follow it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RetailerMaker
from tests.retailer import HOLD, Retailer
from truestock.v1 import availability_service_pb2 as availability_pb, catalog_service_pb2 as catalog_pb, outlet_pb2

RULES = {
    "keep.yaml": """
kind: buffer
name: keep
scope: location
rules:
  - {name: one-on-the-floor, when: {product.sku: CUP}, hold_back: {units: 1}}
""",
    "totals.yaml": """
kind: buffer
name: totals
scope: channel
rules:
  - {name: three, when: {product.sku: [CUP, BOWL]}, hold_back: {units: 3}}
  - {name: cut-off, when: {product.sku: BOWL}, publish_zero_at_or_below: 5}
  - {name: cap, when: {product.sku: MUG}, cap: 10}
""",
    "routing.yaml": """
kind: routing
policies:
  - {name: everything, position: 1, rank: [priority], otherwise: exception}
""",
}
STOCK = {
    ("MUG", "dc"): 7,
    ("MUG", "s1"): 5,
    ("MUG", "s2"): 2,
    ("CUP", "dc"): 9,
    ("CUP", "s1"): 4,
    ("CUP", "s2"): 1,
    ("BOWL", "dc"): 4,
    ("BOWL", "s1"): 4,
}


@pytest.fixture
async def shop(retailers: RetailerMaker, tmp_path: Path) -> Retailer:
    """Channel `web` sees the warehouse and one outlet for both stores; `other` has no outlets."""
    for name, text in RULES.items():
        (tmp_path / name).write_text(text)
    shop = await retailers.make(tmp_path)
    await shop.stock(STOCK)
    await shop.channels(other="")
    await set_outlets(shop, memphis=["dc"], stores=["s1", "s2"])
    return shop


async def set_outlets(shop: Retailer, **location_ids: list[str]) -> None:
    pools = [outlet_pb2.Pool(pool_id=name, location_ids=ids) for name, ids in location_ids.items()]
    await shop.catalog.UpsertPools(outlet_pb2.UpsertPoolsRequest(pools=pools))
    outlets = [outlet_pb2.Outlet(channel_id="web", outlet_id=name, pool_id=name) for name in location_ids]
    await shop.catalog.UpsertOutlets(outlet_pb2.UpsertOutletsRequest(outlets=outlets))


async def checked(shop: Retailer, sku: str, channel_id: str = "web") -> availability_pb.Availability:
    request = availability_pb.CheckAvailabilityRequest(channel_id=channel_id, skus=[sku], include_outlets=True)
    (answer,) = (await shop.availability.CheckAvailability(request)).availabilities
    assert isinstance(answer, availability_pb.Availability)
    if answer.outlets:
        assert sum(x.sellable_count for x in answer.outlets) == answer.sellable_count
    return answer


def sellable(answer: Any) -> Mapping[str, int]:
    return {x.outlet_id: x.sellable_count for x in answer.outlets}


async def test_a_cap_a_hold_back_and_a_cut_off_are_divided_over_outlets(shop: Retailer) -> None:
    assert sellable(await checked(shop, "MUG")) == {"memphis": 5, "stores": 5}
    # 8 and 3 are left by the shop floor; the channel keeps 3.
    assert sellable(await checked(shop, "CUP")) == {"memphis": 5, "stores": 3}
    assert sellable(await checked(shop, "BOWL")) == {"memphis": 0, "stores": 0}
    assert sellable(await checked(shop, "MUG", "other")) == {}


async def test_what_is_not_sellable_is_kept_or_promised_here_or_elsewhere(shop: Retailer) -> None:
    await shop.allocate("W-1", {"CUP": 2})
    await shop.allocate("W-2", {"CUP": 1}, HOLD)
    await shop.allocate("O-1", {"CUP": 4}, channel_id="other")

    answer = await checked(shop, "CUP")

    assert answer.promised_to_channel_count == 3
    assert answer.promised_elsewhere_count == 4
    assert answer.unavailable_count == 0
    assert answer.kept_by_rules_count + answer.sellable_count == 7
    assert answer.sellable_count + answer.kept_by_rules_count + 3 + 4 == 14
    assert sum(x.on_hand_count for x in answer.outlets) == 14
    for outlet in answer.outlets:
        kept = outlet.kept_by_rules_count + outlet.promised_to_channel_count + outlet.promised_elsewhere_count
        assert outlet.sellable_count + kept == outlet.on_hand_count
    other = await checked(shop, "CUP", "other")
    assert (other.promised_to_channel_count, other.promised_elsewhere_count) == (4, 3)


async def test_stock_in_no_outlet_is_the_last_entry(shop: Retailer) -> None:
    await shop.stock({("MUG", "attic"): 3})

    answer = await checked(shop, "MUG")

    assert [x.outlet_id for x in answer.outlets] == ["memphis", "stores", ""]
    # 17 units, of which 10 are shown: 3 are taken where nobody can buy.
    assert sellable(answer) == {"memphis": 5, "stores": 5, "": 0}


async def test_an_answer_without_outlets_has_none(shop: Retailer) -> None:
    request = availability_pb.CheckAvailabilityRequest(channel_id="web", skus=["MUG"])

    (answer,) = (await shop.availability.CheckAvailability(request)).availabilities

    assert (list(answer.outlets), answer.kept_by_rules_count) == ([], 0)


async def test_a_watch_follows_the_division_and_its_pools(shop: Retailer) -> None:
    request = availability_pb.WatchAvailabilityRequest(channel_id="web", skus=["MUG"], include_outlets=True)
    versions: list[int] = []

    async def next_change(stream: Any) -> Mapping[str, int]:
        async for message in stream:
            for change in message.changes:
                assert sum(x.sellable_count for x in change.outlets) == change.sellable_count == 10
                assert change.version > max(versions, default=0)
                versions.append(change.version)
                return sellable(change)
        raise AssertionError("the stream ended")

    stream = shop.availability.WatchAvailability(request, timeout=20)
    async with aclosing(stream.__aiter__()) as messages:
        first = await next_change(messages)
        # Only the division changes: the channel still shows 10.
        await shop.count({("MUG", "s1"): 1})
        second = await next_change(messages)
        await set_outlets(shop, memphis=["dc", "s2"], stores=["s1"])
        third = await next_change(messages)
        stream.cancel()

    assert first == {"memphis": 5, "stores": 5}
    assert second == {"memphis": 7, "stores": 3}
    assert third == {"memphis": 9, "stores": 1}


async def test_a_channels_outlet_has_no_units_of_locations_that_it_may_not_sell_from(shop: Retailer) -> None:
    web = catalog_pb.Channel(channel_id="web", kind=catalog_pb.Channel.KIND_WEB, location_ids=["dc", "s1"])
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[web]))
    await shop.count({("MUG", "s1"): 1})

    assert sellable(await checked(shop, "MUG")) == {"memphis": 7, "stores": 1}
