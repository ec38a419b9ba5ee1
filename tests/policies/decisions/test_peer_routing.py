"""Orders routed by Spree's order routing (2026), compared with our routing policies; differences are explained.

`id` names the peer's case. Backorders are promised by exception rules, after routing: what the peer backorders is
here the shortage that those rules are given, of the same number of units.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from policies.decisions.decision import Decision
from policies.decisions.routing import route
from policies.domain.model import Location, Outcome, StockLevel
from policies.explanation import DropReason
from tests.policies.small_retailer import TIKTOK, level, order, policy, rules, store, world

Units = Mapping[tuple[str, str], int]
"""Units by (SKU, location)."""

PREFERRED_THEN_FEWEST_THEN_DEFAULT = policy(
    rank="[chosen_by_shopper, fewest_shipments, {prefer: {when: {location.tags: {contains: default}}}}, priority]"
)
IN_ORDER_OF_PRIORITY = policy(rank="[priority]")

DEFAULT = frozenset({"default"})
CITIES = (store("NYC", priority=1, tags=DEFAULT), store("LA", priority=2), store("BER", priority=3))
DEPOTS = tuple(store(f"L{number}", priority=number) for number in (1, 2, 3))
NYC, LA, BER = "NYC", "LA", "BER"


@dataclass(frozen=True, slots=True)
class Case:
    """The stock, the ordered units by SKU, the units that each location ships, and the units that are short."""

    id: str
    name: str
    on_hand: Units
    demand: Mapping[str, int]
    shipped: Units
    short: int = 0
    held: Units = field(default_factory=dict)
    """Held by this order and by others."""
    own_units: Units = field(default_factory=dict)
    locations: tuple[Location, ...] = CITIES
    policy: str = PREFERRED_THEN_FEWEST_THEN_DEFAULT


DEPOT_STOCK = {("V", "L1"): 50, ("V", "L2"): 150, ("V", "L3"): 200}


def from_depots(id: str, name: str, demand: int, shipped: Units) -> Case:
    return Case(id, name, DEPOT_STOCK, {"V": demand}, shipped, locations=DEPOTS, policy=IN_ORDER_OF_PRIORITY)


CASES = [
    Case("spree-par-1", "the default location has the only line", {("A", NYC): 10}, {"A": 1}, {("A", NYC): 1}),
    Case(
        "spree-par-2",
        "two lines leave together from the location that has both",
        {("A", NYC): 10, ("B", NYC): 10},
        {"A": 1, "B": 1},
        {("A", NYC): 1, ("B", NYC): 1},
    ),
    Case(
        "spree-par-split2",
        "two products that no location has both are two shipments",
        {("A", NYC): 10, ("B", LA): 10},
        {"A": 1, "B": 1},
        {("A", NYC): 1, ("B", LA): 1},
    ),
    Case(
        "spree-par-split3",
        "three products at three locations are three shipments",
        {("A", NYC): 10, ("B", LA): 10, ("C", BER): 10},
        {"A": 1, "B": 1, "C": 1},
        {("A", NYC): 1, ("B", LA): 1, ("C", BER): 1},
    ),
    # An invariant: the peer allows this and 2 + 3. With `fewest_shipments` ours is always the one shipment.
    Case(
        "spree-par-qty-one-covers",
        "one location that has all five beats a better one that has two",
        {("A", NYC): 2, ("A", LA): 10},
        {"A": 5},
        {("A", LA): 5},
    ),
    Case(
        "spree-par-qty-one-covers",
        "in order of priority alone the better location gives its two first",
        {("A", NYC): 2, ("A", LA): 10},
        {"A": 5},
        {("A", NYC): 2, ("A", LA): 3},
        policy=IN_ORDER_OF_PRIORITY,
    ),
    Case(
        "spree-par-qty-both",
        "the better of two locations gives all it has and the other the rest",
        {("A", NYC): 5, ("A", LA): 5},
        {"A": 8},
        {("A", NYC): 5, ("A", LA): 3},
    ),
    # The peer calls the order fulfillable, since it backorders the five that ours hands to the exception rules.
    Case(
        "spree-par-qty-short-bo",
        "five of ten are there and five are short",
        {("A", NYC): 2, ("A", LA): 3},
        {"A": 10},
        {("A", NYC): 2, ("A", LA): 3},
        short=5,
    ),
    # A divergence that is none: no penalty for splitting a line here either, so the best-ranked fills first.
    Case(
        "spree-par-mixed",
        "a line is split where its order takes two shipments anyway",
        {("A", NYC): 10, ("B", NYC): 1, ("B", LA): 10},
        {"A": 2, "B": 4},
        {("A", NYC): 2, ("B", NYC): 1, ("B", LA): 3},
    ),
    # The peer makes a parcel of units that are not there yet. Here a shipment has units that a location really has:
    # none until stock comes in, and then as many shipments as its own routing says.
    Case("spree-par-bo-only", "nothing on hand is no shipment yet", {("A", NYC): 0}, {"A": 1}, {}, short=1),
    Case("spree-par-bo-all", "nothing anywhere is short once", {("A", NYC): 0, ("A", LA): 0}, {"A": 2}, {}, short=2),
    # Out of scope: untracked stock. The peer ships from an empty shelf; ours has no figure to promise from.
    Case("spree-par-untracked", "an empty shelf gives nothing, tracked or not", {("A", NYC): 0}, {"A": 5}, {}, short=5),
    Case(
        "spree-par-tracked-untracked",
        "the tracked line leaves and the untracked one is short",
        {("A", NYC): 10, ("B", NYC): 0},
        {"A": 1, "B": 1},
        {("A", NYC): 1},
        short=1,
    ),
    Case(
        "spree-par-inactive",
        "a closed default location gives nothing",
        {("A", NYC): 10, ("A", LA): 10},
        {"A": 1},
        {("A", LA): 1},
        locations=(store("NYC", status="closed", tags=DEFAULT), store("LA")),
    ),
    Case(
        "spree-par-unstocked",
        "a default location that never stocked the product gives nothing",
        {("A", LA): 10},
        {"A": 2},
        {("A", LA): 2},
    ),
    Case("spree-par-zero", "nothing anywhere", {("A", NYC): 0, ("A", LA): 0}, {"A": 1}, {}, short=1),
    Case(
        "spree-par-own-hold",
        "an order's own hold is free for it",
        {("A", NYC): 5, ("A", LA): 5},
        {"A": 1},
        {("A", NYC): 1},
        held={("A", NYC): 1},
        own_units={("A", NYC): 1},
    ),
    Case(
        "spree-par-own-hold",
        "an order's own hold is free for it where it took the last unit",
        {("A", NYC): 1, ("A", LA): 5},
        {"A": 1},
        {("A", NYC): 1},
        held={("A", NYC): 1},
        own_units={("A", NYC): 1},
    ),
    # Expired holds are not in a level's `held`: the statement that reads the levels leaves them out.
    Case(
        "spree-par-expired-hold",
        "a hold of another order that has expired is not in the way",
        {("A", NYC): 1, ("A", LA): 10},
        {"A": 1},
        {("A", NYC): 1},
    ),
    # The peer makes two parcels of two delivery profiles. A shipment here is what leaves one location; how a location
    # packs it is its own affair, and digital goods have no stock to route.
    Case(
        "spree-par-profiles",
        "two kinds of goods at one location are one shipment",
        {("S", NYC): 10, ("D", NYC): 10},
        {"S": 1, "D": 1},
        {("S", NYC): 1, ("D", NYC): 1},
    ),
    # An anti_case: the peer's routing reads what is on hand, and finds out at the end that another cart holds it.
    Case(
        "spree-anti-reserved-routing",
        "a unit that another order holds is not there",
        {("A", NYC): 1, ("A", LA): 10},
        {"A": 1},
        {("A", LA): 1},
        held={("A", NYC): 1},
    ),
    # An anti_case: the peer answers three ordered units with one on hand and three backordered.
    Case(
        "spree-anti-double-count",
        "shipped and short units are never more than were ordered",
        {("A", NYC): 1, ("A", LA): 0},
        {"A": 3},
        {("A", NYC): 1},
        short=2,
    ),
    from_depots("spree-7790-10", "the first depot has all ten", 10, {("V", "L1"): 10}),
    from_depots("spree-7790-100", "the second depot gives the rest", 100, {("V", "L1"): 50, ("V", "L2"): 50}),
    from_depots(
        "spree-7790-300",
        "stock at the third depot comes before a backorder at the second",
        300,
        {("V", "L1"): 50, ("V", "L2"): 150, ("V", "L3"): 100},
    ),
]


def decide(case: Case) -> Decision:
    levels = [stock_level(case, sku, key) for sku, key in case.on_hand]
    return route(rules(case.policy), world(case.locations, levels), TIKTOK, order(case.demand), case.own_units)


def stock_level(case: Case, sku: str, location_id: str) -> StockLevel:
    key = (sku, location_id)
    return level(sku, location_id, case.on_hand[key], held=case.held.get(key, 0))


every_case = pytest.mark.parametrize("case", CASES, ids=[f"{item.id}: {item.name}" for item in CASES])


@every_case
def test_each_location_ships_the_units_that_the_peer_ships(case: Case) -> None:
    assert decide(case).units == case.shipped


@every_case
def test_every_ordered_unit_is_shipped_or_short(case: Case) -> None:
    decision = decide(case)

    assert sum(item.unit_count for item in decision.shortages) == case.short
    assert sum(decision.units.values()) + case.short == sum(case.demand.values())
    assert (decision.outcome is Outcome.ALLOCATED) == (case.short == 0)


@every_case
def test_an_order_has_one_shipment_for_each_supplying_location(case: Case) -> None:
    assert len(decide(case).plan) == len({location_id for _, location_id in case.shipped})


def test_a_hundred_units_are_one_shipment_under_fewest_shipments() -> None:
    """spree-7790-100, as its note has it under a rule that keeps shipments few."""
    levels = [level(sku, key, count) for (sku, key), count in DEPOT_STOCK.items()]
    routing = rules(PREFERRED_THEN_FEWEST_THEN_DEFAULT)

    assert route(routing, world(DEPOTS, levels), TIKTOK, order({"V": 100})).units == {("V", "L2"): 100}


def test_a_closed_location_is_dropped_as_closed() -> None:
    inactive = next(case for case in CASES if case.id == "spree-par-inactive")

    assert [(item.location_id, item.reason) for item in decide(inactive).dropped] == [("NYC", DropReason.CLOSED)]


def test_an_order_without_lines_is_refused() -> None:
    """spree-par-empty differs: the peer answers with no parcels. Here it is an error of the caller, reported at once.

    A channel that sends an order without lines has lost them; an empty answer would hide that.
    """
    with pytest.raises(ValueError, match="at least one line"):
        order({})
