"""Kits, outlets and changes of both raced by many callers of two services: no unit is sold twice or from elsewhere."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import grpc
import pytest

from tests.retailer import HOLD, SOLD, Retailer, kit_of, promised
from tests.service.test_races import IN_TWO_OUTLETS, PROMISED_OUTSIDE_OUTLET, deadlocks, promised_beyond_stock
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    availability_service_pb2 as availability_pb,
    outlet_pb2,
)

STOCK = {("MUG", "dc"): 60, ("BOWL", "dc"): 50, ("TRAY", "dc"): 40, ("MUG", "shop"): 30, ("BOWL", "shop"): 30}
OWN_LOCATIONS = {"a": "attic", "b": "cellar"}
"""Of two outlets: a location without stock."""


async def set_stores(shop: Retailer, location_id: str) -> None:
    """The outlet `stores` has one location: the warehouse, or the shop."""
    await set_pool(shop, "stores", location_id)


async def set_pool(shop: Retailer, pool_id: str, location_id: str) -> None:
    pool = outlet_pb2.Pool(pool_id=pool_id, location_ids=[location_id])
    await shop.catalog.UpsertPools(outlet_pb2.UpsertPoolsRequest(pools=[pool]))


@pytest.mark.long
async def test_two_hundred_callers_of_kits_with_shared_components_never_oversell(retailers: Any) -> None:
    first, second = await retailers.make(), await retailers.make()
    await first.stock(STOCK)
    await first.kits({"SET": {"MUG": 1, "BOWL": 2}, "TEA": {"MUG": 2, "TRAY": 1}})
    await first.kits({"GIFT": {"BOWL": 1, "TRAY": 1}}, may_split=True)
    await set_stores(first, "shop")
    outlet = outlet_pb2.Outlet(channel_id="web", outlet_id="stores", pool_id="stores")
    await first.catalog.UpsertOutlets(outlet_pb2.UpsertOutletsRequest(outlets=[outlet]))
    dice = random.Random(7)

    async def order(number: int) -> allocation_pb.Allocation:
        shop = dice.choice([first, second])
        sku = dice.choice(["SET", "TEA", "GIFT", "MUG"])
        commitment = dice.choice([HOLD, SOLD])
        allocation: allocation_pb.Allocation = await shop.allocate(
            str(number), {sku: dice.randint(1, 2)}, commitment, outlet_id=dice.choice(["", "stores"])
        )
        if commitment == HOLD and dice.random() < 0.3 and allocation.shipments:
            await shop.release(allocation.allocation_id)
        return allocation

    async def edit(number: int) -> None:
        await asyncio.sleep(0.01 * number)
        await dice.choice([first, second]).upsert_kits(kit_of("SET", {"MUG": 1, "BOWL": 1 + number % 3}))
        await set_stores(dice.choice([first, second]), ("dc", "shop")[number % 2])

    await asyncio.gather(*(order(number) for number in range(200)), *(edit(number) for number in range(10)))

    for sku, location_id in STOCK:
        level = await first.level(sku, location_id)
        assert level.available_count >= 0, (sku, location_id)
    orders = (await first.allocations.ListAllocations(allocation_pb.ListAllocationsRequest(page_size=500))).allocations
    assert len(orders) == 200
    for allocation in orders:
        kits: dict[str, set[float]] = {}
        for line in allocation.lines:
            if line.kit_line_id:
                kits.setdefault(line.kit_line_id, set()).add(line.promised_count / line.units_per_kit)
        assert all(len(counts) == 1 for counts in kits.values()), allocation
        # Whichever location the outlet had when the order was taken, it had no other.
        places = {x.location_id for x in allocation.shipments if any(units.unit_count for units in x.lines)}
        assert not allocation.outlet_id or len(places) <= 1, allocation
    assert any(allocation.outlet_id and allocation.shipments for allocation in orders)
    request = availability_pb.CheckAvailabilityRequest(channel_id="web", skus=["SET", "TEA", "GIFT", "MUG"])
    request.include_outlets = True
    for figure in (await second.availability.CheckAvailability(request)).availabilities:
        assert sum(x.sellable_count for x in figure.outlets) == figure.sellable_count, figure
    assert await promised_beyond_stock(first) == []
    assert await first.sql(PROMISED_OUTSIDE_OUTLET) == []
    assert await deadlocks(first) == 0
    assert (await first.ledger()).balanced


@pytest.mark.long
async def test_a_location_that_two_services_give_to_two_outlets_at_once_is_in_one_of_them(retailers: Any) -> None:
    services = [await retailers.make(), await retailers.make()]
    await services[0].stock(STOCK)
    await services[0].kits({"SET": {"MUG": 1, "BOWL": 1}})
    await services[0].locations("attic", "cellar")
    for outlet_id, location_id in OWN_LOCATIONS.items():
        await set_pool(services[0], outlet_id, location_id)
        outlet = outlet_pb2.Outlet(channel_id="web", outlet_id=outlet_id, pool_id=outlet_id)
        await services[0].catalog.UpsertOutlets(outlet_pb2.UpsertOutletsRequest(outlets=[outlet]))

    async def claim(service: Retailer, outlet_id: str) -> str:
        try:
            await set_pool(service, outlet_id, "dc")
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    for turn in range(10):
        claims = [claim(service, outlet_id) for service, outlet_id in zip(services, OWN_LOCATIONS, strict=True)]
        promises = [services[n % 2].allocate(f"{turn}-{n}", {"SET": 1}, outlet_id="ab"[n // 2]) for n in range(4)]
        first, second, *_ = await asyncio.gather(*claims, *promises)

        assert {first, second} == {"OK", "FAILED_PRECONDITION"}
        assert await services[0].sql(IN_TWO_OUTLETS) == []
        for outlet_id, location_id in OWN_LOCATIONS.items():
            await set_pool(services[0], outlet_id, location_id)

    await set_pool(services[0], "a", "dc")
    assert promised(await services[1].allocate("last", {"SET": 1}, outlet_id="a")) == {"dc": 2}
    assert await promised_beyond_stock(services[0]) == []
    assert await services[0].sql(PROMISED_OUTSIDE_OUTLET) == []
    assert (await services[0].ledger()).balanced
