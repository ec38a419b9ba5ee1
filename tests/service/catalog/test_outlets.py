"""Pools and outlets: whole records, and a location in at most one outlet of a channel, also through pools."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from service import limits
from tests.retailer import Retailer
from tests.service.test_bad_input import refused
from truestock.v1 import outlet_pb2
from truestock.v1.outlet_pb2 import Outlet, Pool

CONFLICT = (grpc.StatusCode.FAILED_PRECONDITION, "OUTLET_CONFLICT")


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    """Channels `web` and `tiktok`, three stores and a warehouse."""
    await retailer.locations("dc", "s1", "s2", "s3")
    await retailer.channels(tiktok="")
    return retailer


async def pools(shop: Retailer, *, validate_only: bool = False, **location_ids: list[str]) -> Any:
    records = [Pool(pool_id=pool_id, location_ids=ids) for pool_id, ids in location_ids.items()]
    return await shop.catalog.UpsertPools(outlet_pb2.UpsertPoolsRequest(pools=records, validate_only=validate_only))


async def outlets(shop: Retailer, *records: Outlet, validate_only: bool = False) -> Any:
    request = outlet_pb2.UpsertOutletsRequest(outlets=records, validate_only=validate_only)
    return await shop.catalog.UpsertOutlets(request)


async def listed(shop: Retailer, **filters: Any) -> list[Outlet]:
    return list((await shop.catalog.ListOutlets(outlet_pb2.ListOutletsRequest(**filters))).outlets)


def location(outlet_id: str, location_id: str, channel_id: str = "web") -> Outlet:
    return Outlet(channel_id=channel_id, outlet_id=outlet_id, location_id=location_id)


def pool(outlet_id: str, pool_id: str, channel_id: str = "web") -> Outlet:
    return Outlet(channel_id=channel_id, outlet_id=outlet_id, pool_id=pool_id)


async def test_pools_and_outlets_are_stored_and_replaced_whole(shop: Retailer) -> None:
    stores = Pool(pool_id="stores", display_name="Stores", location_ids=["s2", "s1", "s1"])
    created = await shop.catalog.UpsertPools(outlet_pb2.UpsertPoolsRequest(pools=[stores]))
    long_id = "9223372036854775808"
    first = await outlets(shop, pool(long_id, "stores"), location(long_id, "dc", "tiktok"))

    changed = Outlet(channel_id="web", outlet_id=long_id, display_name="All", location_id="s3")
    second = await outlets(shop, changed, location("new", "s1"))

    assert (created.created_count, first.created_count) == (1, 2)
    assert (second.created_count, second.updated_count) == (1, 1)
    page = await shop.catalog.ListPools(outlet_pb2.ListPoolsRequest(location_ids=["s1"]))
    assert page.pools == [Pool(pool_id="stores", display_name="Stores", location_ids=["s1", "s2"])]
    assert await listed(shop) == [location(long_id, "dc", "tiktok"), changed, location("new", "s1")]
    assert await listed(shop, channel_ids=["tiktok"]) == [location(long_id, "dc", "tiktok")]
    assert await listed(shop, pool_ids=["stores"]) == []


async def test_a_location_is_in_at_most_one_outlet_of_a_channel(shop: Retailer) -> None:
    await pools(shop, stores=["s1", "s2"], others=["s3", "dc"])
    await outlets(shop, pool("stores", "stores"), location("memphis", "dc"), pool("all", "stores", "tiktok"))
    before = await listed(shop)

    for refusal in (
        outlets(shop, location("extra", "s2")),
        outlets(shop, location("extra", "s2"), validate_only=True),
        outlets(shop, pool("extra", "others")),
        outlets(shop, location("stores-2", "s3"), pool("extra", "others")),
        pools(shop, stores=["s1", "dc"]),
    ):
        error = await refused(refusal)
        assert (error.code, error.reason) == CONFLICT

    error = await refused(pools(shop, others=["s3"], stores=["s1", "dc"]))
    assert "location 'dc'" in error.message
    assert "'memphis'" in error.message
    assert "'stores'" in error.message
    assert "channel 'web'" in error.message
    assert await listed(shop) == before
    assert (await pools(shop, stores=["s1", "s2"])).updated_count == 1


async def test_one_call_moves_a_location_to_another_outlet(shop: Retailer) -> None:
    await outlets(shop, location("a", "s1"), location("b", "s2"))

    await outlets(shop, location("a", "s2"), location("b", "s1"))

    assert await listed(shop) == [location("a", "s2"), location("b", "s1")]


async def test_what_does_not_exist_is_not_found(shop: Retailer) -> None:
    for call, resource in (
        (outlets(shop, location("a", "nowhere")), "location"),
        (outlets(shop, location("a", "s1", "etsy")), "channel"),
        (outlets(shop, pool("a", "west")), "pool"),
        (pools(shop, west=["s1", "nowhere"]), "location"),
        (shop.catalog.DeletePool(outlet_pb2.DeletePoolRequest(pool_id="west")), "pool"),
        (shop.catalog.DeleteOutlet(outlet_pb2.DeleteOutletRequest(channel_id="web", outlet_id="a")), "outlet"),
    ):
        error = await refused(call)
        assert error.reason == "NOT_FOUND"
        assert f"no {resource} " in error.message


async def test_bad_records_name_their_fields(shop: Retailer) -> None:
    bad = [Outlet(channel_id="web"), location("a\n", "s1"), location("x" * 65, "s1"), location("b", "s1")]
    twice = await refused(outlets(shop, location("a", "s1"), location("a", "s2")))

    error = await refused(outlets(shop, *bad))
    empty = await refused(pools(shop, west=[]))

    assert {"outlets[0].outlet_id", "outlets[0]", "outlets[1].outlet_id", "outlets[2].outlet_id"} == set(error.fields)
    assert twice.fields == ["outlets[1].outlet_id"]
    assert empty.fields == ["pools[0].location_ids"]
    assert await listed(shop) == []


async def test_a_channel_has_a_bounded_number_of_outlets(shop: Retailer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OUTLETS", 2)
    await outlets(shop, location("a", "s1"), location("b", "s2"))

    error = await refused(outlets(shop, location("c", "s3")))
    await outlets(shop, location("a", "s3"), location("c", "s3", "tiktok"))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "outlets[0]")


async def test_a_deleted_pool_says_which_outlets_were_it_and_comes_back(shop: Retailer) -> None:
    await pools(shop, stores=["s1", "s2"])
    await outlets(shop, pool("stores", "stores"), pool("all", "stores", "tiktok"), location("memphis", "dc"))

    request = outlet_pb2.DeletePoolRequest(pool_id="stores", validate_only=True)
    asked = await shop.catalog.DeletePool(request)
    request.validate_only = False
    deleted = await shop.catalog.DeletePool(request)
    await outlets(shop, location("other", "s1"))
    conflict = await refused(pools(shop, stores=["s1"]))

    assert asked == deleted
    assert [(x.channel_id, x.outlet_id) for x in deleted.outlets] == [("tiktok", "all"), ("web", "stores")]
    assert deleted.outlet_count == 2
    assert (conflict.code, conflict.reason) == CONFLICT
    assert await listed(shop, pool_ids=["stores"]) == [pool("all", "stores", "tiktok"), pool("stores", "stores")]


async def test_a_deleted_outlet_is_gone(shop: Retailer) -> None:
    await outlets(shop, location("a", "s1"), location("a", "s1", "tiktok"))

    await shop.catalog.DeleteOutlet(outlet_pb2.DeleteOutletRequest(channel_id="web", outlet_id="a"))

    assert await listed(shop) == [location("a", "s1", "tiktok")]
