"""Orders for which the channel has chosen an outlet, through gRPC: now, after edits of the outlet, and without one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.retailer import HOLD, SOLD, Retailer, eventually, order_request, promised
from tests.service.test_bad_input import refused
from truestock.v1 import allocation_service_pb2 as allocation_pb, outlet_pb2, policy_service_pb2 as policy_pb

Kind = allocation_pb.Shortage.Kind


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    """Outlets `memphis`, one warehouse, and `stores`, a pool of two stores; the attic is in none."""
    await retailer.stock({("MUG", "dc"): 6, ("MUG", "s1"): 3, ("MUG", "s2"): 2, ("MUG", "attic"): 1})
    await set_stores(retailer, "s1", "s2")
    memphis = outlet_pb2.Outlet(channel_id="web", outlet_id="memphis", location_id="dc")
    stores = outlet_pb2.Outlet(channel_id="web", outlet_id="stores", pool_id="stores")
    await retailer.catalog.UpsertOutlets(outlet_pb2.UpsertOutletsRequest(outlets=[memphis, stores]))
    return retailer


async def set_stores(shop: Retailer, *location_ids: str) -> None:
    pool = outlet_pb2.Pool(pool_id="stores", location_ids=location_ids)
    await shop.catalog.UpsertPools(outlet_pb2.UpsertPoolsRequest(pools=[pool]))


async def delete_stores(shop: Retailer) -> Any:
    request = outlet_pb2.DeleteOutletRequest(channel_id="web", outlet_id="stores")
    return await shop.catalog.DeleteOutlet(request)


def at(allocation: allocation_pb.Allocation) -> dict[str, int]:
    """Promised units by location, without shipments that have none."""
    return {location_id: units for location_id, units in promised(allocation).items() if units}


def short(allocation: allocation_pb.Allocation) -> list[tuple[str, int, str, bool]]:
    return [
        (Kind.Name(x.kind).removeprefix("KIND_"), x.unit_count, x.cause, x.backordered) for x in allocation.shortages
    ]


async def test_only_the_outlets_locations_are_candidates_and_the_decision_says_so(shop: Retailer) -> None:
    order = await shop.allocate("A-1", {"MUG": 4}, outlet_id="stores")

    assert order.outlet_id == "stores"
    assert at(order) == {"s1": 3, "s2": 1}
    dropped = {x.location_id: x.reason for x in order.decision.dropped_candidates}
    assert dropped == {"dc": "outside-outlet", "attic": "outside-outlet"}
    decision_id = order.decision.decision_id
    inputs = (await shop.decision(decision_id)).inputs.order
    assert (inputs.outlet_id, list(inputs.outlet_location_ids)) == ("stores", ["s1", "s2"])
    await delete_stores(shop)
    replay = await shop.policies.ReplayDecision(policy_pb.ReplayDecisionRequest(decision_id=decision_id))
    assert replay.identical
    assert (await shop.get(order.allocation_id)).allocation.outlet_id == "stores"


async def test_a_shortage_at_the_outlet_is_a_cause_of_its_own(shop: Retailer) -> None:
    order = await shop.allocate("A-1", {"MUG": 8}, outlet_id="stores")
    hold = await shop.allocate("A-2", {"MUG": 1}, HOLD, outlet_id="stores")
    beyond = await shop.allocate("A-3", {"MUG": 9}, outlet_id="memphis")

    assert at(order) == {"s1": 3, "s2": 2}
    assert short(order) == [("UNFILLABLE", 3, "outlet_short", False)]
    assert short(hold) == [("UNFILLABLE", 1, "outlet_short", False)]
    # 6 are at the warehouse and 1 in the attic; nobody has the other 2.
    assert [x[:3] for x in short(beyond)] == [("OVERSELL", 2, "not_told"), ("UNFILLABLE", 1, "outlet_short")]
    assert shop.metric("oversold_units_total", channel="web", cause="not_told") == 2


async def test_a_sold_order_waits_for_an_outlet_that_does_not_exist(shop: Retailer) -> None:
    held = await refused(shop.allocations.AllocateOrder(order_request("A-0", {"MUG": 1}, HOLD, outlet_id="7311")))
    order = await shop.allocate("A-1", {"MUG": 2}, outlet_id="7311")
    (raised,) = await shop.open_exceptions(kinds=["unmapped_location"])

    assert (held.reason, held.fields) == ("NOT_FOUND", ["outlet_id"])
    assert "memphis, stores" in held.message
    assert (at(order), order.outlet_id) == ({}, "7311")
    assert short(order) == [("UNFILLABLE", 2, "unmapped_outlet", True)]
    assert "'7311'" in raised.description

    outlet = outlet_pb2.Outlet(channel_id="web", outlet_id="7311", location_id="attic")
    await shop.catalog.UpsertOutlets(outlet_pb2.UpsertOutletsRequest(outlets=[outlet]))

    assert await shop.open_exceptions(kinds=["unmapped_location"]) == []
    await eventually(lambda: _promises(shop, order, {"attic": 1}))
    await shop.count({("MUG", "attic"): 5})
    await eventually(lambda: _promises(shop, order, {"attic": 2}))


async def _promises(shop: Retailer, order: Any, units: dict[str, int]) -> bool:
    return at((await shop.get(order.allocation_id)).allocation) == units


async def test_an_open_order_keeps_the_locations_that_its_outlet_had(shop: Retailer) -> None:
    order = await shop.allocate("A-1", {"MUG": 2}, outlet_id="stores")
    before = at(order)
    await set_stores(shop, "attic")
    again = await shop.allocate("A-1", {"MUG": 2}, outlet_id="stores")
    other = await shop.allocate("A-2", {"MUG": 1}, outlet_id="stores")

    deleted = await delete_stores(shop)
    (shipment,) = order.shipments
    moved = await shop.reassign(shipment)

    assert at(again) == before == {"s1": 2}
    assert at(other) == {"attic": 1}
    assert (deleted.open_order_count, list(deleted.order_ids)) == (2, ["A-2", "A-1"])
    # The other store, and neither the warehouse nor the attic.
    assert at(moved) == {"s2": 2}


async def test_a_count_and_a_backorder_stay_within_the_outlet(shop: Retailer) -> None:
    order = await shop.allocate("A-1", {"MUG": 3}, outlet_id="stores")
    assert at(order) == {"s1": 3}

    await shop.count({("MUG", "s1"): 0})
    lost = (await shop.get(order.allocation_id)).allocation

    assert at(lost) == {"s2": 2}
    assert [x[:3] for x in short(lost)] == [("UNFILLABLE", 1, "outlet_short")]


async def test_another_outlet_plans_the_order_again(shop: Retailer) -> None:
    first = await shop.allocate("A-1", {"MUG": 2}, HOLD, outlet_id="stores")
    second = await shop.allocate("A-1", {"MUG": 2}, HOLD, outlet_id="memphis")
    sold = await shop.allocate("A-1", {"MUG": 2}, SOLD, outlet_id="memphis")

    assert at(first) == {"s1": 2}
    assert at(second) == at(sold) == {"dc": 2}
    assert sold.allocation_id == first.allocation_id


async def test_a_preview_and_a_bad_id_of_a_sold_order(shop: Retailer) -> None:
    preview = await shop.allocate("A-1", {"MUG": 2}, validate_only=True, outlet_id="memphis")
    taken = await shop.allocate("A-2", {"MUG": 1}, outlet_id="x" * 300)

    assert at(preview) == {"dc": 2}
    assert (sum(at(taken).values()), taken.outlet_id) == (1, "")
    long = await shop.allocate("A-3", {"MUG": 1}, outlet_id="y" * 200)
    assert short(long) == [("UNFILLABLE", 1, "unmapped_outlet", True)]


async def test_a_deleted_pool_counts_the_orders_of_its_outlets(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 1}, outlet_id="stores")
    shipped = await shop.allocate("A-2", {"MUG": 1}, outlet_id="stores")
    await shop.ship(shipped.shipments[0])

    deleted = await shop.catalog.DeletePool(outlet_pb2.DeletePoolRequest(pool_id="stores"))
    after = await shop.allocate("A-3", {"MUG": 1}, outlet_id="stores")

    assert (deleted.outlet_count, deleted.open_order_count) == (1, 1)
    assert short(after) == [("UNFILLABLE", 1, "outlet_short", False)]
