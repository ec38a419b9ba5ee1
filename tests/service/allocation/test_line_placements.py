"""Lines that only some locations may ship, and lines that ship together: whatever happens to the order."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from service import limits
from tests.conftest import RESOLVED_RULES, RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, order_request, refused
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    catalog_service_pb2 as catalog_pb,
    exception_pb2,
    order_pb2,
)

Line = tuple[str, int, dict[str, Any]]


@pytest.fixture
async def shop(retailers: RetailerMaker) -> Retailer:
    """A shop whose rules reroute what a location rejects, and keep oversold launches waiting."""
    return await retailers.make(RESOLVED_RULES)


async def order(shop: Retailer, order_id: str, *lines: Line, commitment: int = SOLD) -> allocation_pb.Allocation:
    """Sends an order with lines 1, 2, ... of SKU, units and placement."""
    messages = [order_pb2.OrderLine(sku=sku, unit_count=units, **placement) for sku, units, placement in lines]
    request = order_request(order_id, {}, commitment)
    request.lines.extend(messages)
    placed: allocation_pb.Allocation = (await shop.allocations.AllocateOrder(request)).allocation
    return placed


def shipped_from(allocation: allocation_pb.Allocation) -> dict[str, dict[str, int]]:
    """Promised units by location and line."""
    return {
        x.location_id: units
        for x in allocation.shipments
        if (units := {line.line_id: line.unit_count for line in x.lines if line.unit_count})
    }


async def check_replay(shop: Retailer, allocation: allocation_pb.Allocation) -> None:
    assert (await shop.replay(allocation.decision.decision_id)).identical


SET = {"keep_together": "set"}


async def test_a_line_ships_only_from_where_it_may_and_the_answer_says_why(shop: Retailer) -> None:
    await shop.stock({("MUG", "a"): 3, ("MUG", "b"): 5, ("CAP", "b"): 5})
    placed = await order(
        shop, "1", ("MUG", 4, {"only_location_ids": ["b", "c"]}), ("CAP", 2, {"not_location_ids": ["b"]}),
        ("MUG", 2, {}),
    )  # fmt: skip

    assert shipped_from(placed) == {"a": {"3": 2}, "b": {"1": 4}}
    stored = (await shop.get(placed.allocation_id)).allocation
    assert [(list(x.only_location_ids), list(x.not_location_ids)) for x in stored.lines] == [
        (["b", "c"], []), ([], ["b"]), ([], [])
    ]  # fmt: skip
    assert [(x.line_id, x.unit_count, x.cause) for x in stored.shortages] == [("2", 2, "line_restricted")]
    assert stored.shortages[0].kind == allocation_pb.Shortage.KIND_UNFILLABLE
    dropped = [(x.location_id, x.line_id, x.reason) for x in stored.decision.dropped_candidates if x.line_id]
    assert dropped == [("a", "1", "line-restricted"), ("b", "2", "line-restricted")]
    await check_replay(shop, placed)
    assert (await shop.ledger()).balanced


async def test_lines_kept_together_ship_from_one_location_or_are_short_whole(shop: Retailer) -> None:
    await shop.stock({("MUG", "a"): 5, ("CAP", "b"): 5, ("MUG", "c"): 2, ("CAP", "c"): 2})
    whole = await order(shop, "1", ("MUG", 1, SET), ("CAP", 2, SET), ("MUG", 5, {}))
    assert shipped_from(whole) == {"a": {"3": 5}, "c": {"1": 1, "2": 2}}
    assert [x.keep_together for x in whole.lines] == ["set", "set", ""]
    # c has a mug left and no cap, and no other location has both.
    short = await order(shop, "2", ("MUG", 1, SET), ("CAP", 1, SET))
    assert not short.shipments
    assert {(x.line_id, x.unit_count, x.cause) for x in short.shortages} == {
        ("1", 1, "kept_together"), ("2", 1, "kept_together")
    }  # fmt: skip
    assert short.needs_person
    await check_replay(shop, short)


async def test_a_rejected_line_takes_its_group_to_another_location(shop: Retailer) -> None:
    await shop.stock({("MUG", key): 5 for key in "ab"} | {("CAP", key): 5 for key in "ab"})
    await shop.locations("a", priority=1)
    await shop.locations("b", priority=2)
    placed = await order(shop, "1", ("MUG", 2, SET), ("CAP", 1, SET), ("CAP", 2, {}))
    first = placed.shipments[0]
    moved = await shop.reject(first, "damaged", {"1": 1})

    rejected_at = first.location_id
    other = "b" if rejected_at == "a" else "a"
    assert shipped_from(moved) == {rejected_at: {"3": 2}, other: {"1": 2, "2": 1}}
    # The only location that is left has no cap: mugs alone do not ship.
    cap_gone = await shop.reject(next(x for x in moved.shipments if x.location_id == other), "not_found", {"2": 1})
    assert shipped_from(cap_gone) == {rejected_at: {"3": 2}}
    assert sum(x.short_count for x in cap_gone.lines) == 3
    assert (await shop.ledger()).balanced


async def test_a_count_that_finds_too_few_moves_the_whole_group(shop: Retailer) -> None:
    await shop.stock({("MUG", "a"): 2, ("CAP", "a"): 2, ("MUG", "b"): 2, ("CAP", "b"): 2})
    await shop.locations("a", priority=1)
    await shop.locations("b", priority=2)
    placed = await order(shop, "1", ("MUG", 2, SET), ("CAP", 1, SET))
    source = placed.shipments[0].location_id
    other = "b" if source == "a" else "a"
    await shop.count({("MUG", source): 1})
    assert shipped_from((await shop.get(placed.allocation_id)).allocation) == {other: {"1": 2, "2": 1}}
    await shop.count({("CAP", other): 0})
    lost = (await shop.get(placed.allocation_id)).allocation
    assert shipped_from(lost) == {}
    assert {(x.line_id, x.unit_count) for x in lost.shortages} == {("1", 2), ("2", 1)}
    assert (await shop.ledger()).balanced


async def test_what_has_shipped_of_a_group_holds_the_rest_to_its_location(shop: Retailer) -> None:
    await shop.stock({("MUG", "a"): 2, ("CAP", "a"): 2, ("CAP", "b"): 9})
    placed = await order(shop, "1", ("MUG", 1, SET), ("CAP", 1, SET))
    await shop.ship(placed.shipments[0], {"1": 1})
    error = await refused(shop.reassign(placed.shipments[0], "b"))
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "kept together" in str(error.details())
    rejected = await shop.reject(placed.shipments[0], "not_found", {"2": 1})
    assert shipped_from(rejected) == {}
    assert [(x.line_id, x.unit_count) for x in rejected.shortages] == [("2", 1)]
    # More of it, in an update, comes from the same location or not at all.
    more = await order(shop, "1", ("MUG", 1, SET), ("CAP", 3, SET))
    assert "b" not in shipped_from(more)


async def test_a_person_cannot_move_a_line_to_a_location_that_it_may_not_use(shop: Retailer) -> None:
    await shop.stock({("MUG", key): 5 for key in "abc"})
    placed = await order(shop, "1", ("MUG", 2, {"not_location_ids": ["c"], "only_location_ids": ["a", "b", "c"]}))
    source = placed.shipments[0].location_id
    error = await refused(shop.reassign(placed.shipments[0], "c"))
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "does not let c ship line 1" in str(error.details())
    by_rules = await shop.reassign(placed.shipments[0])
    assert shipped_from(by_rules) == {"b" if source == "a" else "a": {"1": 2}}


async def test_a_backorder_waits_for_its_whole_group_at_one_permitted_location(shop: Retailer) -> None:
    await shop.stock({("MUG", "a"): 0, ("CAP", "a"): 0, ("CAP", "b"): 4, ("MUG", "b"): 0})
    only = {"keep_together": "set", "not_location_ids": ["a"]}
    waiting = await order(shop, "1", ("MUG", 1, only), ("CAP", 2, only))
    for exception in await shop.open_exceptions():
        await shop.resolve(exception.exception_id, exception_pb2.EXCEPTION_RESOLUTION_BACKORDERED)
    assert sum(x.backordered_count for x in (await shop.get(waiting.allocation_id)).allocation.lines) == 3
    await shop.count({("MUG", "a"): 5, ("CAP", "a"): 5})
    assert shipped_from((await shop.get(waiting.allocation_id)).allocation) == {}
    await shop.count({("MUG", "b"): 1})
    filled = (await shop.get(waiting.allocation_id)).allocation
    assert shipped_from(filled) == {"b": {"1": 1, "2": 2}}
    assert not filled.shortages
    await check_replay(shop, filled)


async def test_a_backordered_line_takes_the_short_lines_of_its_group_with_it(shop: Retailer) -> None:
    """The oversold line waits by its rule, the other one for a person: neither is promised alone."""
    await shop.stock({("MUG", "a"): 0, ("CAP", "a"): 4})
    mug = catalog_pb.Product(sku="MUG", tags=["launch"])
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[mug]))
    waiting = await order(shop, "1", ("MUG", 1, SET), ("CAP", 2, SET))
    assert [(x.backordered_count, x.short_count) for x in waiting.lines] == [(1, 0), (0, 2)]
    await shop.count({("MUG", "a"): 1})
    filled = (await shop.get(waiting.allocation_id)).allocation
    assert shipped_from(filled) == {"a": {"1": 1, "2": 2}}
    assert not filled.shortages


async def test_an_update_with_another_restriction_is_planned_again(shop: Retailer) -> None:
    await shop.stock({("MUG", "a"): 5, ("MUG", "b"): 5})
    placed = await order(shop, "1", ("MUG", 2, {"only_location_ids": ["a"]}))
    assert shipped_from(placed) == {"a": {"1": 2}}
    moved = await order(shop, "1", ("MUG", 2, {"only_location_ids": ["b"]}))
    assert shipped_from(moved) == {"b": {"1": 2}}
    assert (await order(shop, "1", ("MUG", 2, {"only_location_ids": ["b"]}))).version == moved.version


async def test_a_hold_names_locations_that_exist_and_a_sold_order_is_never_refused(shop: Retailer) -> None:
    await shop.stock({("MUG", "a"): 5})
    bad = {"only_location_ids": ["nowhere"]}
    error = await refused(order(shop, "1", ("MUG", 1, bad), commitment=HOLD))
    assert error.code() == grpc.StatusCode.NOT_FOUND
    assert "nowhere" in str(error.details())
    error = await refused(order(shop, "1", ("MUG", 1, {"not_location_ids": ["nowhere"]}), commitment=HOLD))
    assert error.code() == grpc.StatusCode.NOT_FOUND
    sold = await order(shop, "1", ("MUG", 1, bad), ("MUG", 2, {}))
    assert shipped_from(sold) == {"a": {"2": 2}}
    assert [(x.line_id, x.cause) for x in sold.shortages] == [("1", "line_restricted")]


UNUSABLE: dict[str, dict[str, Any]] = {
    "many": {"only_location_ids": ["a"] * (limits.LINE_LOCATIONS + 1)},
    "long": {"not_location_ids": ["x" * (limits.ID_LENGTH + 1)]},
    "empty": {"not_location_ids": [""]},
    "long-group": {"keep_together": "g" * (limits.GROUP_LENGTH + 1)},
    "none-left": {"only_location_ids": ["a"], "not_location_ids": ["a"]},
}


async def test_an_unusable_placement_refuses_a_hold_and_never_a_sold_order(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "a"): 50})
    for name, placement in UNUSABLE.items():
        error = await refused(order(retailer, f"hold-{name}", ("MUG", 1, placement), commitment=HOLD))
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, name
        sold = await order(retailer, name, ("MUG", 1, placement), ("MUG", 1, {}))
        assert sold.state == allocation_pb.Allocation.STATE_CONFIRMED, name
        assert sold.lines[1].promised_count == 1, name
