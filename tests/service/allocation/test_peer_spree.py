"""Spree's routing, its split of packages and its reservations, played through the API of one service each.

The routing cases, and why some differ, are in `tests/policies/decisions/test_peer_routing`. `id` names the peer's case.
"""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import RetailerMaker
from tests.policies.decisions.test_peer_routing import CASES, IN_ORDER_OF_PRIORITY, Case
from tests.retailer import HOLD, Retailer, State, promised, refused
from truestock.v1 import allocation_service_pb2 as allocation_pb, catalog_service_pb2 as catalog_pb

RULES = """
kind: routing
policies:
  - {name: in-order, position: 10, applies_to: {order.tags: {contains: in-order}}, rank: [priority]}
  - {name: whole-or-nothing, position: 20, applies_to: {order.tags: {contains: whole}}, rank: [priority],
     ship_complete: true}
  - {name: default-first, position: 100, rank: [chosen_by_shopper, fewest_shipments,
     {prefer: {when: {location.tags: {contains: default}}}}, priority]}
"""


@pytest.fixture
async def spree(retailers: RetailerMaker, tmp_path: Path) -> Retailer:
    (tmp_path / "routing.yaml").write_text(RULES)
    return await retailers.make(tmp_path)


async def set_up(shop: Retailer) -> None:
    """The locations of all routing cases, and the stock of each under names of its own."""
    figures = {
        (_own(number, sku), _id(case, location_id)): units
        for number, case in enumerate(CASES)
        for (sku, location_id), units in case.on_hand.items()
    }
    await shop.stock(figures)
    places = {_id(case, place.id): place for case in CASES for place in case.locations}
    await shop.catalog.UpsertLocations(
        catalog_pb.UpsertLocationsRequest(
            locations=[
                catalog_pb.Location(
                    location_id=location_id,
                    type=catalog_pb.Location.TYPE_STORE,
                    priority=place.priority,
                    tags=place.tags,
                    status=catalog_pb.Location.Status.Value(f"STATUS_{place.status.upper()}"),
                )
                for location_id, place in places.items()
            ]
        )
    )


def _own(number: int, sku: str) -> str:
    return f"{number}-{sku}"


def _id(case: Case, location_id: str) -> str:
    """The id of a case's location; those of the case with a closed location are others than those of the rest."""
    is_apart = any(place.status == "closed" for place in case.locations)
    return f"{location_id.lower()}{'-beside-closed' if is_apart else ''}"


async def test_every_order_ships_from_where_the_peer_ships_it(spree: Retailer) -> None:
    await set_up(spree)
    for number, case in enumerate(CASES):
        tags = ["in-order"] if case.policy == IN_ORDER_OF_PRIORITY else []
        for (sku, location_id), units in case.held.items():
            owner = str(number) if (sku, location_id) in case.own_units else f"other-{number}"
            held = await spree.allocate(owner, {_own(number, sku): units}, HOLD, tags=tags)
            assert promised(held) == {_id(case, location_id): units}

        order = await spree.allocate(
            str(number), {_own(number, sku): units for sku, units in case.demand.items()}, HOLD, tags=tags
        )

        shipped = {(_own(number, sku), _id(case, place)): units for (sku, place), units in case.shipped.items()}
        assert units_of(order) == shipped, (case.id, case.name)
        assert sum(short.unit_count for short in order.shortages) == case.short, case.id
        assert len(order.shipments) == len({place for _, place in case.shipped}), case.id


PACKAGES = {
    # On hand at the first and the second location, the units wanted, and those of each package.
    "spree-prio-dup": (2, 2, 2, [2]),
    "spree-prio-rest": (2, 5, 5, [2, 3]),
    # The peer's first location backorders the three that are short; here they are left to the exception rules.
    "spree-prio-bo-some": (0, 2, 5, [2]),
    "spree-prio-bo-all": (0, 5, 5, [5]),
}


async def test_no_unit_is_packed_at_two_locations(spree: Retailer) -> None:
    figures = {
        (case, location_id): units
        for case, (first, second, _, _) in PACKAGES.items()
        for location_id, units in (("first", first), ("second", second))
    }
    await spree.stock(figures)
    for priority, location_id in enumerate(("first", "second")):
        await spree.locations(location_id, priority=priority)

    packed = {}
    for case, (_, _, wanted, _) in PACKAGES.items():
        order = await spree.allocate(case, {case: wanted}, HOLD, tags=["in-order"])
        packed[case] = list(promised(order).values())

    assert packed == {case: packages for case, (_, _, _, packages) in PACKAGES.items()}


async def test_carts_hold_and_release_what_the_peer_reserves(spree: Retailer) -> None:
    skus = (f"V{number}" for number in itertools.count())

    async def stocked(on_hand: int) -> str:
        sku = next(skus)
        await spree.stock({(sku, "l1"): on_hand})
        return sku

    async def held(sku: str) -> int:
        return (await spree.level(sku, "l1")).held_count

    # spree-resv-1, -idem, -ttl: sent twice, it is one hold of three, which ends seven minutes from now.
    sku, minutes = await stocked(10), timedelta(minutes=7)
    first, again = [await spree.allocate("one", {sku: 3}, HOLD, hold_duration=minutes) for _ in range(2)]
    assert (await held(sku), first.allocation_id) == (3, again.allocation_id)
    assert hold_seconds(again) == 420

    # spree-resv-short, -others, -same-sku: a policy with `ship_complete` holds all or nothing, as the peer does.
    sku = await stocked(1)
    assert (await spree.allocate("short", {sku: 3}, HOLD, tags=["whole"])).state == State.STATE_REFUSED
    sku = await stocked(5)
    await spree.allocate("other", {sku: 4}, HOLD)
    assert (await spree.allocate("late", {sku: 3}, HOLD, tags=["whole"])).state == State.STATE_REFUSED
    assert await held(sku) == 4
    sku = await stocked(5)
    assert (await spree.allocate("lines", [(sku, 3), (sku, 3)], HOLD, tags=["whole"])).state == State.STATE_REFUSED
    assert await held(sku) == 0

    # spree-resv-backorderable holds nothing there, since any number may be sold. Here units on hand are held: a channel
    # may show what is left of them. spree-resv-untracked: untracked stock has no figure to hold from.
    sku = await stocked(10)
    await spree.allocate("backorderable", {sku: 3}, HOLD)
    assert await held(sku) == 3

    # spree-resv-extend, -release: of this order alone, and releasing twice is no error.
    mine = await spree.allocate("mine", {sku: 2}, HOLD)
    other = await spree.allocate("theirs", {sku: 1}, HOLD)
    request = allocation_pb.ExtendHoldRequest(allocation_id=mine.allocation_id)
    request.hold_duration.FromTimedelta(timedelta(minutes=12))
    extended = (await spree.allocations.ExtendHold(request)).allocation
    assert hold_seconds(extended) == 720
    assert (await spree.get(other.allocation_id)).allocation.expire_time == other.expire_time
    for _ in range(2):
        await spree.release(mine.allocation_id)
    assert await held(sku) == 3 + 1

    # spree-quant-clamp: a count below what is held leaves nothing, and never less than nothing.
    sku = await stocked(5)
    await spree.allocate("clamp", {sku: 5}, HOLD)
    await spree.count({(sku, "l1"): 2}, at=datetime.now(UTC))
    assert await spree.sellable(sku) == 0


async def test_an_order_without_lines_is_an_error_of_its_caller(spree: Retailer) -> None:
    """spree-par-empty: the peer answers with no parcels; a channel that sends no lines has lost them."""
    error = await refused(spree.allocate("empty", {}, HOLD))

    assert "lines" in (error.details() or "")


def hold_seconds(order: allocation_pb.Allocation) -> float:
    """From its last update to its expiry."""
    return (order.expire_time.ToDatetime(UTC) - order.update_time.ToDatetime(UTC)).total_seconds()


def units_of(order: allocation_pb.Allocation) -> Counter[tuple[str, str]]:
    units: Counter[tuple[str, str]] = Counter()
    for shipment in order.shipments:
        for line in shipment.lines:
            units[line.sku, shipment.location_id] += line.unit_count
    return units
