"""Cases about orders from other systems' tests and issue threads: the same result here, or why it differs.

`id` names the case in the other system. Those about stock alone are in `test_peer_stock`, those about bundles in
`test_peer_kits`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import RetailerMaker
from tests.retailer import SOLD, Retailer, promised
from truestock.v1 import allocation_service_pb2 as allocation_pb, order_pb2

BY_PRIORITY = """
kind: routing
policies:
  - {name: in-order, position: 1, rank: [priority], sold_may_use: [buffer, blocked]}
"""


@dataclass(frozen=True, slots=True)
class Case:
    """Stock, lines by SKU, and the units that each location fulfills, by (SKU, location id).

    `priorities` are location ids, best first; `short` are units by line id.
    """

    id: str
    name: str
    stock: Mapping[tuple[str, str], int]
    lines: list[tuple[str, int]]
    fulfilled: Mapping[tuple[str, str], int]
    priorities: tuple[str, ...] = ()
    short: Mapping[str, int] = field(default_factory=dict)


CASES = [
    # Taking the requested units at each location again, whatever the others took, would give 23.
    Case(
        "vendure-anti-4030",
        "the second location fulfills what the first one cannot",
        {("V", "l-1"): 10, ("V", "l-2"): 15},
        [("V", 13)],
        {("V", "l-1"): 10, ("V", "l-2"): 3},
        ("l-1", "l-2"),
    ),
    Case(
        "medusa-14987",
        "a line of two comes from two locations that have one each",
        {("V", "a"): 1, ("V", "b"): 1},
        [("V", 2)],
        {("V", "a"): 1, ("V", "b"): 1},
        ("a", "b"),
    ),
    Case(
        "medusa-15132",
        "each product comes from the location that has it",
        {("V1", "a"): 5, ("V2", "b"): 5},
        [("V1", 1), ("V2", 1)],
        {("V1", "a"): 1, ("V2", "b"): 1},
        ("a", "b"),
    ),
    # The other system refuses the whole order; here a sale gets the available units, and one unit is short.
    Case(
        "medusa-16502",
        "two lines of one product share its stock",
        {("I", "a"): 5},
        [("I", 3), ("I", 3)],
        {("I", "a"): 5},
        ("a",),
        {"2": 1},
    ),
    # The priority of a group and then of a warehouse is one priority here: 5 before 4, then the higher one first.
    Case(
        "shopware-8808",
        "the better group is used up before the other",
        {("P", "w1-1"): 2, ("P", "w1-2"): 1, ("P", "w2-1"): 2, ("P", "w2-2"): 1},
        [("P", 5)],
        {("P", "w2-1"): 2, ("P", "w2-2"): 1, ("P", "w1-2"): 1, ("P", "w1-1"): 1},
        ("w2-1", "w2-2", "w1-2", "w1-1"),
    ),
    Case(
        "nopcommerce-77",
        "five units come from locations that have two and four",
        {("P", "w-1"): 2, ("P", "w-2"): 4},
        [("P", 5)],
        {("P", "w-1"): 2, ("P", "w-2"): 3},
        ("w-1", "w-2"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.id}: {case.name}")
async def test_the_lines_of_an_order_share_the_stock_of_its_locations(
    retailers: RetailerMaker, tmp_path: Path, case: Case
) -> None:
    (tmp_path / "routing.yaml").write_text(BY_PRIORITY)
    shop = await retailers.make(tmp_path)
    await shop.stock(case.stock)
    for number, location_id in enumerate(case.priorities):
        await shop.locations(location_id, priority=number)

    order = await shop.allocate("1", case.lines)

    fulfilled: dict[tuple[str, str], int] = {}
    for shipment in order.shipments:
        for line in shipment.lines:
            key = (line.sku, shipment.location_id)
            fulfilled[key] = fulfilled.get(key, 0) + line.unit_count
    assert fulfilled == case.fulfilled
    assert {line.line_id: line.short_count for line in order.lines if line.short_count} == case.short
    assert sum(fulfilled.values()) <= sum(units for _, units in case.lines)


async def test_the_fewest_parcels_take_all_thirteen_from_one_location(retailer: Retailer) -> None:
    """vendure-anti-4030, under rules that split as little as possible."""
    await retailer.stock({("V", "l-1"): 10, ("V", "l-2"): 15})

    assert promised(await retailer.allocate("1", {"V": 13})) == {"l-2": 13}


async def stock_of(shop: Retailer) -> dict[tuple[str, str], tuple[int, int]]:
    """On hand and allocated, by (SKU, location)."""
    levels = [await shop.level(sku, location_id) for sku in ("V1", "V2") for location_id in ("t-1", "t-2")]
    return {(x.sku, x.location_id): (x.on_hand_count, x.allocated_count) for x in levels}


async def test_an_order_changes_stock_from_its_allocation_to_its_return(
    retailers: RetailerMaker, tmp_path: Path
) -> None:
    """vendure-alloc, vendure-release, vendure-sale and vendure-cancel, each starting where the one before it ends."""
    (tmp_path / "routing.yaml").write_text(BY_PRIORITY)
    shop = await retailers.make(tmp_path)
    await shop.stock({("V1", "t-1"): 100, ("V1", "t-2"): 120, ("V2", "t-1"): 100, ("V2", "t-2"): 120})
    whole = {("V1", "t-1"): (100, 0), ("V1", "t-2"): (120, 0), ("V2", "t-1"): (100, 0), ("V2", "t-2"): (120, 0)}

    lines = [
        order_pb2.OrderLine(sku=sku, unit_count=2, only_location_ids=[location_id])
        for sku, location_id in (("V1", "t-1"), ("V2", "t-2"))
    ]
    request = allocation_pb.AllocateOrderRequest(channel_id="web", order_id="1", commitment=SOLD, lines=lines)
    order = (await shop.allocations.AllocateOrder(request)).allocation
    assert await stock_of(shop) == whole | {("V1", "t-1"): (100, 2), ("V2", "t-2"): (120, 2)}

    await shop.cancel(order.allocation_id, {"2": 1})
    assert await stock_of(shop) == whole | {("V1", "t-1"): (100, 2), ("V2", "t-2"): (120, 1)}

    for shipment in order.shipments:
        await shop.ship(shipment)
    assert await stock_of(shop) == whole | {("V1", "t-1"): (98, 0), ("V2", "t-2"): (119, 0)}

    # The other system returns stock when a shipped order is cancelled. Here shipped units cannot be cancelled: they
    # return to stock when a return is recorded, at the location that it names.
    await shop.record_return(order.allocation_id, {"1": 2}, "sellable", "t-1")
    await shop.record_return(order.allocation_id, {"2": 1}, "sellable", "t-2")
    assert await stock_of(shop) == whole
    assert (await shop.ledger()).balanced


async def test_cancelling_what_has_shipped_changes_no_stock(retailer: Retailer) -> None:
    """magento-1849: the same figures; here the cancellation is refused, there it is accepted without effect."""
    await retailer.stock({("P", "default"): 100})
    order = await retailer.allocate("1", {"P": 5})
    await retailer.ship(order.shipments[0])

    with pytest.raises(Exception, match="5 cannot be cancelled"):
        await retailer.cancel(order.allocation_id, {"1": 5})

    level = await retailer.level("P", "default")
    assert (level.on_hand_count, level.available_count) == (95, 95)
    assert (await retailer.get(order.allocation_id)).allocation.state == allocation_pb.Allocation.STATE_CONFIRMED


async def test_a_sale_whose_lines_share_one_unit_shows_which_line_is_short(retailer: Retailer) -> None:
    """nopcommerce-5699: the other system names the product that is short; Truestock names the line."""
    await retailer.stock({("A", "w"): 1, ("B", "w"): 1})

    order = await retailer.allocate("1", [("A", 1), ("B", 1), ("A", 1)])

    assert order.outcome == order_pb2.OUTCOME_PARTLY_ALLOCATED
    assert [(x.line_id, x.sku) for x in order.shortages] == [("3", "A")]
