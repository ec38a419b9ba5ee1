"""Why an order got its plan and not another one."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from policies.decisions.alternatives import decision_explanation
from policies.decisions.alternatives.decision_explanation import ComparedPlan, DecisionExplanation, explain
from policies.decisions.alternatives.full_locations import FullLocation
from policies.decisions.eligibility import WholeOrder
from policies.decisions.parts import split_kits
from policies.decisions.routing import routed_order
from policies.domain.capacity import Capacity, CapacityFigures, CapacityPeriod, CapacityUse
from policies.domain.geography import great_circle_km
from policies.domain.kits import KitPart
from policies.domain.model import Commitment, Destination, ErasedPoint, Order, OrderFacts, OrderLine, World
from policies.domain.placement import Placement
from policies.domain.shipping_dates import DayReason
from tests.policies.small_retailer import (
    BERGEN,
    NOW,
    OSLO,
    TIKTOK,
    TO_OSLO,
    TROMSO,
    level,
    order,
    policy,
    rules,
    sold,
    store,
    warehouse,
    world,
)

RATES = """
kind: delivery
rules:
  - {name: van, position: 1, when: {location.distance_km: {at_most: 500}}, service: van, transit_days: 1,
     cost: {per_shipment: 4, per_unit: 1}}
  - {name: post, position: 2, service: post, transit_days: 3, cost: {per_shipment: 6}}
"""
TODAY = NOW.date()
STORES = [
    store(key, coordinates=at, handling_minutes=0)
    for key, at in (("oslo", OSLO), ("bergen", BERGEN), ("tromso", TROMSO))
]
MUGS_EVERYWHERE = world(STORES, [level("MUG", key, 5) for key in ("oslo", "bergen", "tromso")])
MUG_AND_CAP_APART = world(STORES, [level("MUG", "oslo", 5), level("CAP", "bergen", 5), level("CAP", "tromso", 5)])


def explanation_of(snapshot: World, order: Order, *files: str, **more: Any) -> DecisionExplanation:
    return explain(routed_order(rules(*files), snapshot, TIKTOK, order, **more))


def words(plan: ComparedPlan | None) -> str:
    assert plan is not None
    return "; ".join(difference.text for difference in plan.differences)


def locations(plan: ComparedPlan | None) -> list[str]:
    assert plan is not None
    return [shipment.location_id for shipment in plan.shipments]


def test_the_next_best_store_is_farther_dearer_and_later() -> None:
    files = policy(rank="[nearest, lowest_cost]"), RATES
    explanation = explanation_of(MUGS_EVERYWHERE, order({"MUG": 1}, destination=TO_OSLO), *files)

    assert locations(explanation.chosen) == ["oslo"]
    assert locations(explanation.next_best) == ["bergen"]
    assert words(explanation.next_best) == "305.1 km farther"


def test_what_no_step_compares_is_told_after_what_decides() -> None:
    files = policy(rank="[{prefer: {when: {location.id: bergen}}}, fewest_shipments]"), RATES
    far = Destination(country="NO", coordinates=TROMSO)
    explanation = explanation_of(MUGS_EVERYWHERE, order({"MUG": 2}, destination=far), *files)

    assert locations(explanation.next_best) == ["oslo"]
    assert words(explanation.next_best) == "not preferred; 58.1 km nearer"


def test_a_split_that_the_policy_refuses_is_shown_with_the_setting_that_refuses_it() -> None:
    wanted = order({"MUG": 1, "CAP": 1}, destination=TO_OSLO, stated_value=25)
    explanation = explanation_of(MUG_AND_CAP_APART, wanted, policy(min_split_value=40))

    assert locations(explanation.chosen) == ["oslo"]
    assert locations(explanation.refused) == ["oslo", "bergen"]
    assert words(explanation.refused) == "1 unit more; 1 shipment more; 305.1 km farther in all"
    assert explanation.refused is not None
    assert explanation.refused.refused_by == ("min_split_value is 40; the order's value is 25",)


def test_too_many_shipments_are_refused_by_max_shipments() -> None:
    explanation = explanation_of(MUG_AND_CAP_APART, order({"MUG": 1, "CAP": 1}), policy(max_shipments=1))

    assert explanation.refused is not None
    assert explanation.refused.refused_by == ("max_shipments is 1; it has 2",)


def test_an_order_that_ships_whole_or_not_at_all_says_how_many_units_are_missing() -> None:
    explanation = explanation_of(MUGS_EVERYWHERE, order({"MUG": 20}), policy(ship_complete="true"))

    assert explanation.chosen.shipments == ()
    assert explanation.next_best is None
    assert explanation.refused is not None
    assert explanation.refused.refused_by == ("ship_complete; 5 units would be short",)


def refusals(snapshot: World, wanted: Order, **settings: Any) -> tuple[str, ...]:
    whole = settings.pop("whole", None)
    explanation = explanation_of(snapshot, wanted, policy(**settings), whole=whole)
    assert explanation.refused is not None
    return explanation.refused.refused_by


def test_an_order_whose_value_nobody_knows_is_not_worth_a_split() -> None:
    refused_by = refusals(MUG_AND_CAP_APART, order({"MUG": 1, "CAP": 1}), min_split_value=40)
    assert refused_by == ("min_split_value is 40; the order's value is unknown",)


def test_as_many_shipments_as_are_allowed_are_not_refused_for_their_number() -> None:
    refused_by = refusals(MUGS_EVERYWHERE, order({"MUG": 20}), max_shipments=3, ship_complete="true")
    assert refused_by == ("ship_complete; 5 units would be short",)


def test_units_that_are_short_refuse_nothing_where_the_order_need_not_ship_complete() -> None:
    assert refusals(MUGS_EVERYWHERE, order({"MUG": 20}), max_shipments=1) == ("max_shipments is 1; it has 3",)


def test_units_that_are_short_are_those_of_the_products_that_lack_them() -> None:
    snapshot = world(STORES, [level("MUG", "oslo", 5), level("CAP", "oslo", 5), level("CAP", "bergen", 5)])
    refused_by = refusals(snapshot, order({"MUG": 1, "CAP": 12}), ship_complete="true")
    assert refused_by == ("ship_complete; 2 units would be short",)


def test_units_that_are_not_planned_now_can_keep_an_order_from_being_complete() -> None:
    wanted = sold({"MUG": 1})
    whole = WholeOrder(OrderFacts.of(wanted), has_other_shortages=True)
    assert refusals(MUGS_EVERYWHERE, wanted, ship_complete="true", whole=whole) == ("ship_complete",)


def test_a_store_that_stands_in_for_one_of_several_is_named() -> None:
    for rank in ("[nearest]", "[fewest_shipments, nearest]"):
        wanted = order({"MUG": 8}, destination=TO_OSLO)
        explanation = explanation_of(MUGS_EVERYWHERE, wanted, policy(rank=rank))

        assert locations(explanation.chosen) == ["oslo", "bergen"]
        assert words(explanation.next_best) == "tromso instead of bergen: 843.2 km farther"


def test_stores_that_are_equal_in_every_step_count_by_their_ids() -> None:
    for rank in ("[priority]", "[fewest_shipments, priority]"):
        wanted = order({"MUG": 8}, destination=TO_OSLO)
        next_best = explanation_of(MUGS_EVERYWHERE, wanted, policy(rank=rank)).next_best

        assert next_best is not None
        by_id, farther = next_best.differences
        assert (by_id.chosen, by_id.other, by_id.decides) == ("bergen, oslo", "bergen, tromso", True)
        assert by_id.text == "equal in every step; locations then count by their ids"
        assert (farther.text, farther.decides) == ("1,148.4 km farther in all", False)


def test_two_stores_behind_a_nearer_one_that_ships_all_are_told_with_their_shipments() -> None:
    snapshot = world(STORES, [level("MUG", "oslo", 6), level("MUG", "bergen", 3), level("MUG", "tromso", 3)])
    explanation = explanation_of(snapshot, order({"MUG": 6}, destination=TO_OSLO), policy(rank="[nearest]"))

    assert locations(explanation.next_best) == ["bergen", "tromso"]
    assert words(explanation.next_best) == (
        "bergen instead of oslo: 305.1 km farther; 1 shipment more; 1,453.5 km farther in all"
    )


def test_a_plan_without_the_last_store_has_fewer_units() -> None:
    explanation = explanation_of(MUGS_EVERYWHERE, order({"MUG": 12}, destination=TO_OSLO), policy(rank="[nearest]"))

    assert words(explanation.next_best) == "2 units fewer; 1 shipment fewer; 1,148.4 km nearer in all"


def test_a_plan_whose_stores_are_equal_to_the_chosen_one_is_told_by_its_further_store() -> None:
    snapshot = world(STORES, [level("MUG", "oslo", 4), level("MUG", "bergen", 1), level("MUG", "tromso", 3)])
    next_best = explanation_of(snapshot, order({"MUG": 4}), policy(rank="[lowest_cost, priority]")).next_best

    assert locations(next_best) == ["bergen", "tromso"]
    assert words(next_best) == "also ships from tromso; 1 shipment more"
    assert next_best is not None
    assert (next_best.differences[0].chosen, next_best.differences[0].other) == ("", "tromso")


def test_figures_that_differ_are_told_in_the_order_of_the_steps() -> None:
    snapshot = world(STORES, [level("MUG", "oslo", 4), level("MUG", "bergen", 1), level("MUG", "tromso", 3)])
    rank = "[lowest_cost, earliest_promise, fewest_shipments]"
    next_best = explanation_of(snapshot, order({"MUG": 4}, destination=TO_OSLO), policy(rank=rank), RATES).next_best

    assert words(next_best) == ("3 dearer to ship; delivered 2 days later; 1 shipment more; 1,453.5 km farther in all")


def test_each_step_in_which_two_stores_differ_is_told_but_not_of_sets_of_stores() -> None:
    snapshot = world(STORES, [level("MUG", "oslo", 4), level("MUG", "bergen", 3), level("MUG", "tromso", 2)])

    def next_best(unit_count: int) -> ComparedPlan | None:
        wanted = order({"MUG": unit_count}, destination=TO_OSLO)
        return explanation_of(snapshot, wanted, policy(rank="[fewest_shipments, nearest, deepest_stock]")).next_best

    assert words(next_best(1)) == "305.1 km farther; 3 units in stock instead of 4 units"
    assert words(next_best(5)) == "tromso instead of bergen: 843.2 km farther"


def test_nothing_is_refused_where_limits_on_splits_change_nothing() -> None:
    assert explanation_of(MUGS_EVERYWHERE, order({"MUG": 1}), policy(max_shipments=1)).refused is None


def test_the_only_location_with_stock_has_no_next_best() -> None:
    snapshot = world(STORES, [level("MUG", "tromso", 1)])

    assert explanation_of(snapshot, order({"MUG": 1}), policy()).next_best is None


def test_every_ranked_location_is_listed_with_the_figures_of_the_steps() -> None:
    files = policy(rank="[nearest, deepest_stock, priority]"), RATES
    explanation = explanation_of(MUGS_EVERYWHERE, order({"MUG": 2}, destination=TO_OSLO), *files)

    assert [location.location_id for location in explanation.locations] == ["oslo", "bergen", "tromso"]
    bergen = explanation.locations[1]
    assert [str(figure) for figure in bergen.figures] == ["305.1 km", "5 units", "none"]
    assert (bergen.place, bergen.unit_count, bergen.suppliable_count) == (2, 0, 2)
    assert "; ".join(difference.text for difference in bergen.differences) == "305.1 km farther"


def test_a_location_that_adds_no_unit_has_no_differences() -> None:
    snapshot = world(STORES, [level("MUG", "oslo", 5), level("CAP", "oslo", 1), level("CAP", "bergen", 0)])
    lines = order([("MUG", 1)]).lines
    restricted = replace(lines[0], placement=Placement(not_location_ids=frozenset({"bergen"})))
    stocked = replace(snapshot, levels=dict(snapshot.levels) | {("MUG", "bergen"): level("MUG", "bergen", 5)})
    explanation = explanation_of(stocked, Order("tiktok_shop", "1", (restricted,)), policy())

    assert {x.location_id: x.suppliable_count for x in explanation.locations} == {"bergen": 0, "oslo": 1}
    assert all(location.differences == () for location in explanation.locations)


def test_lines_that_ship_together_are_compared_as_one() -> None:
    together = Placement(keep_together="set")
    lines = tuple(replace(line, placement=together) for line in order({"MUG": 1, "CAP": 1}).lines)
    levels = [level(sku, key, 5) for sku in ("MUG", "CAP") for key in ("bergen", "tromso")]
    snapshot = world(STORES, [*levels, level("MUG", "oslo", 9)])
    explanation = explanation_of(snapshot, Order("tiktok_shop", "1", lines, destination=TO_OSLO), policy())

    assert (locations(explanation.chosen), locations(explanation.next_best)) == (["bergen"], ["tromso"])
    assert words(explanation.next_best) == "843.2 km farther"


def test_a_kit_from_two_stores_comes_after_one_from_a_single_store() -> None:
    kit = KitPart("1", "BOX", 1, may_split=True)
    lines = tuple(replace(line, kit=kit) for line in order({"MUG": 1, "CAP": 1}).lines)
    levels = [level("MUG", "oslo", 5), level("CAP", "bergen", 5), level("MUG", "tromso", 5), level("CAP", "tromso", 5)]
    explanation = explanation_of(world(STORES, levels), Order("tiktok_shop", "1", lines), policy(rank="[nearest]"))

    assert locations(explanation.chosen) == ["tromso"]
    assert words(explanation.next_best) == "1 kit more from several locations; 1 shipment more"


def test_a_kit_that_is_split_counts_beside_one_that_is_whole() -> None:
    """Tromso has kit A whole and Oslo kit B, and of kit A only the mug."""
    lines = tuple(
        OrderLine(f"{kit}/{sku}", sku, 1, kit=KitPart(kit, kit, 1, may_split=True))
        for kit, skus in (("A", ("MUG", "CAP")), ("B", ("PEN", "BOWL")))
        for sku in skus
    )
    at_oslo = [level(sku, "oslo", 1) for sku in ("MUG", "PEN", "BOWL")]
    at_tromso = [level(sku, "tromso", 1) for sku in ("MUG", "CAP")]
    snapshot = world(STORES, [*at_oslo, *at_tromso, level("CAP", "bergen", 1)])
    explanation = explanation_of(snapshot, Order("tiktok_shop", "1", lines), policy(rank="[nearest]"))

    assert (locations(explanation.chosen), locations(explanation.next_best)) == (["oslo", "tromso"], ["bergen", "oslo"])
    assert words(explanation.next_best) == "1 kit more from several locations"


def test_kits_that_are_each_whole_at_a_store_of_their_own_come_before_kits_that_are_split() -> None:
    kit = KitPart("1", "BOX", 1, may_split=True)
    lines = tuple(replace(line, kit=kit) for line in order({"MUG": 2, "CAP": 2}).lines)
    at_oslo = [level("MUG", "oslo", 2), level("CAP", "oslo", 1)]
    snapshot = world(
        STORES, [*at_oslo, level("CAP", "bergen", 1), level("MUG", "tromso", 1), level("CAP", "tromso", 1)]
    )
    wanted = Order("tiktok_shop", "1", lines, destination=TO_OSLO)
    explanation = explanation_of(snapshot, wanted, policy(rank="[nearest]"))

    assert locations(explanation.chosen) == ["oslo", "tromso"]
    assert locations(explanation.next_best) == ["oslo", "bergen"]
    assert words(explanation.next_best) == "1 kit more from several locations; 843.2 km nearer in all"


def test_a_pickup_order_has_only_the_store_that_the_shopper_chose() -> None:
    wanted = order({"MUG": 1}, method="pickup", pickup_location_id="bergen")
    explanation = explanation_of(MUGS_EVERYWHERE, wanted, policy(rank="[chosen_by_shopper]"))

    assert [str(figure) for figure in explanation.locations[0].figures] == ["true"]
    assert (len(explanation.locations), explanation.next_best) == (1, None)


def test_nothing_is_said_of_delivery_to_a_shopper_who_picks_the_order_up() -> None:
    closed_today = [replace(place, holidays=frozenset({TODAY})) for place in STORES]
    snapshot = world(closed_today, [level("MUG", place.id, 5) for place in STORES])
    wanted = order({"MUG": 1}, method="pickup", destination=TO_OSLO)
    explanation = explanation_of(snapshot, wanted, policy(rank="[nearest]"), RATES)

    assert {(x.cost, x.delivery_day) for x in explanation.locations} == {(None, None)}
    assert explanation.chosen.shipments[0].date_steps == ()
    assert words(explanation.next_best) == "305.1 km farther"


def test_what_shipping_costs_is_told_although_no_step_compares_it() -> None:
    explanation = explanation_of(MUGS_EVERYWHERE, order({"MUG": 2}, destination=TO_OSLO), policy(), RATES)

    assert [x.cost for x in explanation.chosen.shipments] == [Decimal(6)]
    assert [x.cost for x in explanation.locations] == [Decimal(6), Decimal(6), Decimal(6)]


def test_what_a_store_could_ship_is_told_with_the_cost_of_only_the_products_that_it_has() -> None:
    snapshot = world(STORES, [level("MUG", "oslo", 5), level("CAP", "oslo", 5), level("MUG", "bergen", 5)])
    explanation = explanation_of(snapshot, order({"MUG": 1, "CAP": 2}, destination=TO_OSLO), policy(), RATES)

    assert [(x.location_id, x.suppliable_count, x.cost) for x in explanation.locations] == [
        ("oslo", 3, Decimal(7)),
        ("bergen", 1, Decimal(5)),
    ]


def test_the_day_that_is_told_is_the_one_that_was_compared() -> None:
    """Oslo ships one mug of four, which it could do today, and counts with the three that it could ship tomorrow."""
    oslo, bergen, _ = STORES
    limited = replace(oslo, capacity=Capacity(units_per_day=3, days_ahead=1))
    taken = CapacityFigures({CapacityPeriod("oslo", TODAY): CapacityUse(1, 1)})
    snapshot = world([limited, bergen], [level("MUG", "oslo", 3), level("MUG", "bergen", 3)])
    wanted = order({"MUG": 4}, destination=TO_OSLO)
    explanation = explanation_of(replace(snapshot, capacity=taken), wanted, policy(rank="[earliest_promise]"), RATES)

    assert [(x.location_id, x.units, x.handling_day) for x in explanation.chosen.shipments] == [
        ("bergen", {"MUG": 3}, None),
        ("oslo", {"MUG": 1}, TODAY),
    ]
    assert explanation.chosen.shipments[1].delivery_day == date(2026, 11, 30)
    assert explanation.chosen.figures.delivery_day == date(2026, 12, 1)


def test_a_plan_that_was_not_searched_for_among_all_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_kits, "MAX_ROUNDS", 1)
    lines = tuple(
        OrderLine(f"{kit}/{sku}", sku, 3, kit=KitPart(kit, kit, 1, may_split=True))
        for kit, skus in (("A", ("MUG", "CAP")), ("B", ("CAP", "PEN")))
        for sku in skus
    )
    snapshot = world(STORES, [level("MUG", "oslo", 3), level("CAP", "bergen", 3), level("PEN", "oslo", 2)])
    wanted = Order(TIKTOK.id, "1", lines)

    for settings in ({}, {"ship_complete": "true"}):
        explanation = explanation_of(snapshot, wanted, policy(**settings))
        assert bool(explanation.chosen.shipments) is not bool(settings)
        assert not explanation.chosen.searched_exhaustively


def test_a_store_that_lacks_a_product_counts_with_the_room_for_the_others() -> None:
    """Oslo has room for one unit a day and one mug; the cap comes from Bergen."""
    oslo, bergen, _ = STORES
    limited = replace(oslo, capacity=Capacity(units_per_day=1, days_ahead=0))
    snapshot = world([limited, bergen], [level("MUG", "oslo", 1), level("CAP", "bergen", 1)])
    wanted = order({"MUG": 1, "CAP": 1}, destination=TO_OSLO)
    explanation = explanation_of(
        replace(snapshot, capacity=CapacityFigures()), wanted, policy(rank="[earliest_promise]"), RATES
    )

    assert explanation.chosen.figures.delivery_day == date(2026, 11, 30)


def test_a_full_store_that_never_opens_is_named_without_a_day_and_the_next_one_with_its_own() -> None:
    oslo, bergen, tromso = STORES
    places = [
        replace(bergen, capacity=Capacity(units_per_day=4, days_ahead=0), opening_days=frozenset()),
        replace(oslo, capacity=Capacity(units_per_day=1, days_ahead=0)),
        tromso,
    ]
    snapshot = world(places, [level("MUG", place.id, 2) for place in places])
    explanation = explanation_of(
        replace(snapshot, capacity=CapacityFigures()), order({"MUG": 2}, destination=TO_OSLO), policy()
    )

    assert explanation.full_locations == (
        FullLocation("bergen", 2),
        FullLocation("oslo", 1, TODAY, None, None, 1),
    )


def test_units_that_wait_for_stock_are_explained_beside_those_that_the_order_keeps() -> None:
    waiting = sold({"MUG": 1}, destination=TO_OSLO)
    whole = WholeOrder(OrderFacts.of(waiting), {("CAP", "bergen"): 1})
    explanation = explanation_of(MUGS_EVERYWHERE, waiting, policy(max_shipments=2), whole=whole)

    assert (locations(explanation.chosen), locations(explanation.next_best)) == (["bergen"], ["oslo"])
    assert words(explanation.next_best) == (
        "1 unit fewer in shipments that the order has anyway; 1 shipment more; 305.1 km nearer in all"
    )


def test_distances_are_told_when_the_destination_was_erased() -> None:
    known = tuple(
        (place.coordinates, great_circle_km(place.coordinates, OSLO)) for place in STORES if place.coordinates
    )
    erased = order({"MUG": 1}, destination=Destination(country="NO", coordinates=ErasedPoint(known)))

    assert words(explanation_of(MUGS_EVERYWHERE, erased, policy()).next_best) == "305.1 km farther"


def test_policies_that_passed_the_order_on_are_named() -> None:
    two = (
        "kind: routing\npolicies:\n"
        "  - {name: depot, position: 1, only: {location.type: warehouse}, rank: [nearest], otherwise: next}\n"
        "  - {name: all, position: 2, rank: [nearest]}\n"
    )
    snapshot = world([*STORES, warehouse("dc")], [level("MUG", "oslo", 1)])

    assert explanation_of(snapshot, order({"MUG": 1}), two).passed_on_by == ("depot",)


def test_a_hold_and_a_sold_order_are_explained_alike() -> None:
    hold = order({"MUG": 1}, destination=TO_OSLO)
    confirmed = replace(hold, commitment=Commitment.SOLD)

    assert explanation_of(MUGS_EVERYWHERE, hold, policy()) == explanation_of(MUGS_EVERYWHERE, confirmed, policy())


LIMITED = [replace(place, capacity=Capacity(orders_per_day=4, days_ahead=1)) for place in STORES]


def with_orders_taken(taken: Mapping[tuple[str, date], int]) -> World:
    """Stores that handle 4 orders a day, of which some are taken, and 5 mugs in each."""
    figures = {CapacityPeriod(*period): CapacityUse(count, count) for period, count in taken.items()}
    mugs = [level("MUG", place.id, 5) for place in LIMITED]
    return replace(world(LIMITED, mugs), capacity=CapacityFigures(figures))


def test_a_full_store_is_named_with_the_room_that_it_had_left() -> None:
    tomorrow = TODAY + timedelta(days=1)
    taken = with_orders_taken({("oslo", TODAY): 4, ("oslo", tomorrow): 4})
    explanation = explanation_of(taken, order({"MUG": 2}, destination=TO_OSLO), policy())

    assert locations(explanation.chosen) == ["bergen"]
    assert explanation.full_locations == (FullLocation("oslo", 2, TODAY, None, 0, None),)
    assert explanation.full_count == 1


def test_a_plan_that_is_handled_on_a_later_day_says_so() -> None:
    taken = with_orders_taken({("bergen", TODAY): 4})
    explanation = explanation_of(taken, order({"MUG": 2}, destination=TO_OSLO), policy())

    assert explanation.chosen.shipments[0].handling_day == TODAY
    assert words(explanation.next_best) == "305.1 km farther; handled 1 day later"


def test_a_full_day_delays_the_delivery_that_is_told() -> None:
    monday = NOW + timedelta(days=3)
    taken = with_orders_taken({("bergen", monday.date()): 4})
    later = replace(taken, now=monday)
    explanation = explanation_of(later, order({"MUG": 2}, destination=TO_OSLO), policy(), RATES)

    assert words(explanation.next_best) == "305.1 km farther; delivered 1 day later; handled 1 day later"
    assert explanation.next_best is not None
    assert explanation.next_best.shipments[0].date_steps[0].reason is DayReason.CAPACITY


def test_the_least_loaded_store_is_compared_by_its_share_of_capacity() -> None:
    taken = with_orders_taken({("bergen", TODAY): 3, ("oslo", TODAY): 1, ("tromso", TODAY): 3})
    explanation = explanation_of(taken, order({"MUG": 2}), policy(rank="[least_loaded]"))

    assert [str(location.figures[0]) for location in explanation.locations] == ["25 %", "75 %", "75 %"]
    assert words(explanation.next_best) == "75 % of its capacity taken instead of 25 %"


def test_nothing_is_taken_of_the_capacity_of_stores_without_a_limit() -> None:
    explanation = explanation_of(MUGS_EVERYWHERE, order({"MUG": 1}), policy(rank="[least_loaded]"))

    assert {str(x) for place in explanation.locations for x in place.figures} == {"0 %"}


def test_a_store_that_is_too_late_is_named_with_the_dates_that_it_could_keep() -> None:
    friday = NOW.date()
    wanted = order({"MUG": 1}, destination=TO_OSLO, deliver_by=friday + timedelta(days=3))
    explanation = explanation_of(MUGS_EVERYWHERE, wanted, policy(must_meet="[deliver_by]"), RATES)

    assert [(x.location_id, x.dates.arrives_on) for x in explanation.late_locations] == [
        ("tromso", friday + timedelta(days=5))
    ]
    assert explanation.late_count == 1
    assert explanation.late_locations[0].dates.steps[-1].reason is DayReason.TRANSIT
    assert [location.location_id for location in explanation.locations] == ["oslo", "bergen"]


def test_an_order_that_may_not_be_split_is_compared_with_other_single_shipments() -> None:
    near = policy(split_only_if="{plan.distance_km: {at_most: 1400}}")
    snapshot = world(STORES, [level("MUG", "oslo", 1), level("MUG", "bergen", 1), level("MUG", "tromso", 1)])
    explanation = explanation_of(snapshot, order({"MUG": 3}, destination=TO_OSLO), near)

    assert (locations(explanation.chosen), locations(explanation.next_best)) == (["oslo"], ["bergen"])
    assert words(explanation.next_best) == "305.1 km farther"
    assert explanation.refused is not None
    assert explanation.refused.refused_by == ("split_only_if; plan.distance_km is 1453.513408",)


def test_the_day_of_delivery_decides_where_the_policy_compares_it_first() -> None:
    snapshot = world(STORES, [level("MUG", "oslo", 4), level("MUG", "tromso", 3)])
    wanted = order({"MUG": 1}, destination=TO_OSLO)
    explanation = explanation_of(snapshot, wanted, policy(rank="[earliest_promise, nearest]"), RATES)

    assert words(explanation.next_best) == "delivered 2 days later; 1,148.4 km farther; 1 dearer to ship"
    shipment = explanation.chosen.shipments[0]
    assert (shipment.distance_km, shipment.cost, shipment.delivery_day) == (0, Decimal(5), date(2026, 11, 30))
    assert [(x.cost, x.delivery_day) for x in explanation.locations] == [
        (Decimal(5), date(2026, 11, 30)),
        (Decimal(6), date(2026, 12, 2)),
    ]


def test_the_cost_decides_where_the_policy_compares_nothing_else() -> None:
    snapshot = world(STORES, [level("MUG", "oslo", 4), level("MUG", "tromso", 3)])
    explanation = explanation_of(snapshot, order({"MUG": 1}, destination=TO_OSLO), policy(rank="[lowest_cost]"), RATES)

    assert words(explanation.next_best) == "1 dearer to ship; delivered 2 days later; 1,148.4 km farther"


def test_a_store_that_is_full_today_delivers_later_also_where_days_are_compared() -> None:
    taken = with_orders_taken({("oslo", TODAY): 4})
    wanted = order({"MUG": 1}, destination=TO_OSLO)
    explanation = explanation_of(taken, wanted, policy(rank="[earliest_promise, nearest]"), RATES)

    assert locations(explanation.chosen) == ["bergen"]
    assert words(explanation.next_best) == "delivered 1 day later; 305.1 km nearer; handled 1 day later"


def test_nothing_is_said_of_the_distance_of_a_plan_of_which_one_is_unknown() -> None:
    known, lost, far = STORES
    places = [known, replace(lost, coordinates=None), replace(far, priority=1)]
    snapshot = world(places, [level("MUG", place.id, 2) for place in places])
    wanted = order({"MUG": 4}, destination=TO_OSLO)
    explanation = explanation_of(snapshot, wanted, policy(rank="[fewest_shipments, priority]"))

    assert (locations(explanation.chosen), locations(explanation.next_best)) == (
        ["tromso", "bergen"],
        ["tromso", "oslo"],
    )
    assert words(explanation.next_best) == "equal in every step; locations then count by their ids"
    assert explanation.chosen.figures.distance_km is None


def test_nothing_is_said_of_the_cost_of_a_plan_of_which_one_is_unknown() -> None:
    snapshot = world(STORES, [level("MUG", place.id, 2) for place in STORES])
    rates = RATES.replace(" cost: {per_shipment: 6}", "")
    explanation = explanation_of(snapshot, order({"MUG": 4}, destination=TO_OSLO), policy(), rates)

    assert words(explanation.next_best) == "tromso instead of bergen: 843.2 km farther; delivered 2 days later"
    assert explanation.next_best is not None
    assert explanation.next_best.figures.cost is None


@pytest.mark.parametrize(("unit_count", "compared"), [(1, 59), (8, 50), (11, 34)])
def test_the_nearest_of_many_stores_are_compared_with_those_of_the_plan(unit_count: int, compared: int) -> None:
    """Each is tried in place of every store of the plan, of which there are 1, 2 and 3, and 100 plans are made."""
    stores = [store(f"store-{number:02}", coordinates=OSLO) for number in range(60)]
    snapshot = world(stores, [level("MUG", place.id, 5) for place in stores])
    explanation = explanation_of(snapshot, order({"MUG": unit_count}), policy())

    assert [location.place for location in explanation.locations] == list(range(1, 61))
    assert sum(bool(location.differences) for location in explanation.locations) == compared


def test_fewer_stores_are_compared_where_each_comparison_reads_much_stock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision_explanation, "REPLACEMENT_LEVELS", 7)
    snapshot = world(STORES, [level(sku, place.id, 2) for place in STORES for sku in ("MUG", "CAP")])
    explanation = explanation_of(snapshot, order({"MUG": 1, "CAP": 1}, destination=TO_OSLO), policy())

    assert [bool(location.differences) for location in explanation.locations] == [False, True, False]


def test_full_stores_are_named_with_the_units_for_which_they_have_room() -> None:
    days = (TODAY, TODAY + timedelta(days=1))
    figures = {CapacityPeriod(key, day): CapacityUse(3, 3) for key in ("oslo", "bergen") for day in days}
    oslo, bergen, tromso = STORES
    places = [
        replace(oslo, capacity=Capacity(units_per_day=3, days_ahead=1)),
        replace(bergen, capacity=Capacity(units_per_day=4, days_ahead=1)),
        tromso,
    ]
    stock = [level("MUG", "oslo", 2), level("CAP", "bergen", 2), level("MUG", "tromso", 2), level("CAP", "tromso", 2)]
    snapshot = replace(world(places, stock), capacity=CapacityFigures(figures))
    explanation = explanation_of(snapshot, order({"MUG": 2, "CAP": 2}, destination=TO_OSLO), policy())

    assert explanation.full_locations == (
        FullLocation("bergen", 1, TODAY, None, None, 1),
        FullLocation("oslo", 2, TODAY, None, None, 0),
    )


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "305.1 km farther; 1 shipment fewer"),
        ({"rank": "[nearest]"}, "305.1 km farther; 1 shipment fewer"),
        ({"max_shipments": 2, "rank": "[nearest]"}, "1 unit fewer; 1 shipment more; 305.1 km nearer in all"),
        (
            {"max_shipments": 3},
            "1 unit fewer in shipments that the order has anyway; 1 shipment more; 305.1 km nearer in all",
        ),
    ],
)
def test_a_store_that_ships_the_order_anyway_comes_first_only_where_shipments_are_limited(
    settings: dict[str, Any], text: str
) -> None:
    waiting = sold({"MUG": 1}, destination=TO_OSLO)
    whole = WholeOrder(OrderFacts.of(waiting), {("CAP", "bergen"): 1})

    assert words(explanation_of(MUGS_EVERYWHERE, waiting, policy(**settings), whole=whole).next_best) == text


def test_behind_the_stores_that_ship_the_order_anyway_others_are_compared_by_themselves() -> None:
    waiting = sold({"MUG": 6}, destination=TO_OSLO)
    whole = WholeOrder(OrderFacts.of(waiting), {("CAP", "bergen"): 1})
    explanation = explanation_of(MUGS_EVERYWHERE, waiting, policy(max_shipments=3), whole=whole)

    assert locations(explanation.next_best) == ["bergen", "tromso"]
    assert words(explanation.next_best) == "1,148.4 km farther"


def test_locations_are_ranked_by_the_lines_that_they_may_ship() -> None:
    """Tromso has both products, but only Oslo may ship the mug of the restricted order."""
    snapshot = world(STORES, [level("MUG", "oslo", 1), level("MUG", "tromso", 1), level("CAP", "tromso", 1)])
    covers_most = policy(rank="[covers_most]")
    free, wanted = order({"MUG": 1, "CAP": 1}), order({"MUG": 1, "CAP": 1})
    only_oslo = replace(wanted.lines[0], placement=Placement(frozenset({"oslo"})))
    restricted = replace(wanted, lines=(only_oslo, wanted.lines[1]))

    ranked = [explanation_of(snapshot, cart, covers_most).locations for cart in (free, restricted)]

    assert [x.location_id for x in ranked[0]] == ["tromso", "oslo"]
    assert [x.location_id for x in ranked[1]] == ["oslo", "tromso"]
