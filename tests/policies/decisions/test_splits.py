"""When an order may be split: `split_only_if` of a routing policy."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import example, given, settings, strategies as st

from policies.decisions.alternatives.decision_explanation import explain
from policies.decisions.availability import split_orders
from policies.decisions.availability.sellable import assess_availability
from policies.decisions.decision import Decision
from policies.decisions.routing import route, routed_order
from policies.domain.capacity import Capacity, CapacityFigures, CapacityPeriod, CapacityUse
from policies.domain.model import Coordinates, Destination, Order, Outcome, Product, World
from policies.policy_set import PolicySet
from policies.reading.rules_reader import read
from policies.testing.drafts import draft_tests
from policies.testing.suites import run_suites
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
    store,
    world,
)

RATES = """
kind: delivery
rules:
  - {name: same-city, position: 10, when: {location.distance_km: {at_most: 15}}, service: courier, transit_days: 0,
     cost: {per_shipment: 7}}
  - {name: near, position: 20, when: {location.distance_km: {at_most: 500}}, service: ground, transit_days: 1,
     cost: {per_shipment: 5, per_unit: 1}}
  - {name: far, position: 30, when: {location.distance_km.known: true}, service: ground, transit_days: 3,
     cost: {per_shipment: 9, per_unit: 1}}
"""
FASTEST = "[earliest_promise, fewest_shipments, nearest]"
PLACES = {"oslo": OSLO, "asker": Coordinates(59.84, 10.66), "bergen": BERGEN, "tromso": TROMSO}


def splits_only_if(condition: str, **entries: str) -> PolicySet:
    return rules(policy(**{"rank": FASTEST, "split_only_if": condition} | entries), RATES)


def stocked(price: str | None = None, **units: Mapping[str, int]) -> World:
    """Stores that ship at once, with their units by SKU."""
    places = [store(key, coordinates=PLACES[key], handling_minutes=0) for key in units]
    levels = [level(sku, key, count) for key, counts in units.items() for sku, count in counts.items()]
    value = None if price is None else Decimal(price)
    products = [Product(sku, price=value) for sku in {stock.sku for stock in levels}]
    return world(places, levels, products)


def decide(policy_set: PolicySet, snapshot: World, request: Order) -> Decision:
    return route(policy_set, snapshot, TIKTOK, request)


def sources(decision: Decision) -> list[str]:
    return sorted(shipment.location_id for shipment in decision.plan)


MUG_AND_VASE = order({"MUG": 1, "VASE": 1}, destination=TO_OSLO, stated_value=Decimal(20))
TWO_IN_TOWN = stocked(oslo={"MUG": 1}, asker={"VASE": 1}, tromso={"MUG": 1, "VASE": 1})


def test_an_order_is_split_where_the_split_arrives_that_many_days_earlier() -> None:
    decision = decide(splits_only_if("{saves_days: 3}"), TWO_IN_TOWN, MUG_AND_VASE)

    assert sources(decision) == ["asker", "oslo"]
    assert [rule.effect for rule in decision.fired if rule.name == "split_only_if"] == [
        "allowed a split into 2 shipments"
    ]


def test_an_order_is_not_split_where_the_split_saves_fewer_days() -> None:
    decision = decide(splits_only_if("{saves_days: 6}"), TWO_IN_TOWN, MUG_AND_VASE)

    assert sources(decision) == ["tromso"]
    (ruling,) = [rule for rule in decision.fired if rule.name == "split_only_if"]
    assert ruling.effect == "did not allow a split into 2 shipments"
    assert ruling.evidence is not None
    assert ruling.evidence.facts() == (("plan.days_saved", "5"),)


def test_no_days_are_saved_where_no_location_has_the_whole_order() -> None:
    snapshot = stocked(oslo={"MUG": 1}, asker={"VASE": 1})

    decision = decide(splits_only_if("{saves_days: 1}"), snapshot, MUG_AND_VASE)

    assert decision.outcome is Outcome.PARTLY_ALLOCATED
    assert len(decision.plan) == 1


def test_no_days_are_saved_by_a_location_that_would_send_only_a_part_of_the_order() -> None:
    wanted = order({"MUG": 1, "VASE": 1, "BOWL": 1, "CAP": 1}, destination=TO_OSLO)
    snapshot = stocked(oslo={"MUG": 1, "VASE": 1}, asker={"BOWL": 1, "CAP": 1}, tromso={"MUG": 1, "VASE": 1, "BOWL": 1})

    assert sources(decide(splits_only_if("{saves_days: 1}"), snapshot, wanted)) == ["tromso"]


def cheapest_split(condition: str) -> PolicySet:
    """The cheapest plan, which is a split, as one parcel from far away costs more than two from in town."""
    dear = RATES.replace("per_shipment: 9", "per_shipment: 90")
    return rules(policy(rank="[lowest_cost]", split_only_if=condition), dear)


def test_no_days_are_saved_where_nobody_knows_when_one_of_the_parcels_arrives() -> None:
    unknown = replace(TWO_IN_TOWN.locations["asker"], handling_minutes=None)
    snapshot = replace(TWO_IN_TOWN, locations={**TWO_IN_TOWN.locations, "asker": unknown})
    policy_set = cheapest_split("{saves_days: 1}")

    assert len(decide(policy_set, TWO_IN_TOWN, MUG_AND_VASE).plan) == 2
    assert len(decide(policy_set, snapshot, MUG_AND_VASE).plan) == 1


@pytest.mark.parametrize(("full_days", "split"), [(0, True), (3, False)])
def test_a_split_saves_the_days_until_its_locations_have_room(full_days: int, split: bool) -> None:
    """From Tromso the order takes until Wednesday. A store that is full until Sunday sends its parcel on Monday."""
    policy_set = cheapest_split("{saves_days: 3}")
    snapshot = with_full_days(TWO_IN_TOWN, {"oslo": full_days})

    assert len(decide(policy_set, snapshot, MUG_AND_VASE).plan) == (2 if split else 1)


def test_an_order_that_may_not_be_split_goes_to_the_next_policy_if_the_policy_says_so() -> None:
    policies = f"""
kind: routing
policies:
  - {{name: express, position: 10, rank: {FASTEST}, split_only_if: {{saves_days: 1}}, otherwise: next}}
  - {{name: rest, position: 20, rank: [fewest_shipments]}}
"""
    snapshot = stocked(oslo={"MUG": 1}, asker={"VASE": 1})

    decision = decide(rules(policies, RATES), snapshot, MUG_AND_VASE)

    assert (decision.policy.name, decision.tried, sources(decision)) == ("rest", ("express",), ["asker", "oslo"])
    assert [rule.effect for rule in decision.fired] == ["did not allow a split into 2 shipments"]


def test_each_policy_that_refuses_the_split_before_the_order_goes_on_is_named() -> None:
    policies = f"""
kind: routing
policies:
  - {{name: express, position: 10, rank: {FASTEST}, split_only_if: {{saves_days: 2}}, otherwise: next}}
  - {{name: swift, position: 20, rank: {FASTEST}, split_only_if: {{saves_days: 1}}, otherwise: next}}
  - {{name: rest, position: 30, rank: [fewest_shipments]}}
"""
    decision = decide(rules(policies, RATES), stocked(oslo={"MUG": 1}, asker={"VASE": 1}), MUG_AND_VASE)

    assert decision.tried == ("express", "swift")
    assert [(rule.effect, rule.source.line) for rule in decision.fired] == [
        ("did not allow a split into 2 shipments", 4),
        ("did not allow a split into 2 shipments", 5),
    ]


def test_an_order_that_ships_complete_is_not_shipped_in_part_for_want_of_a_split() -> None:
    snapshot = stocked(oslo={"MUG": 1}, asker={"VASE": 1})

    decision = decide(splits_only_if("{saves_days: 1}", ship_complete="true"), snapshot, MUG_AND_VASE)

    assert (decision.outcome, decision.plan) == (Outcome.UNFILLABLE, ())


@pytest.mark.parametrize(("margin", "split"), [(6, True), (7, False)])
def test_an_order_is_split_where_the_margin_of_the_split_suffices(margin: int, split: bool) -> None:
    # Two couriers cost 14 of the order's 20.
    condition = f"{{plan.margin_after_shipping: {{at_least: {margin}}}}}"

    decision = decide(splits_only_if(condition), TWO_IN_TOWN, MUG_AND_VASE)

    assert len(decision.plan) == (2 if split else 1)


def test_days_and_margin_side_by_side_must_both_be_met() -> None:
    both = "{saves_days: 2, plan.margin_after_shipping: {at_least: 7}}"
    either = "{any: [{plan.days_saved: {at_least: 2}}, {plan.margin_after_shipping: {at_least: 7}}]}"

    assert len(decide(splits_only_if(both), TWO_IN_TOWN, MUG_AND_VASE).plan) == 1
    assert len(decide(splits_only_if(either), TWO_IN_TOWN, MUG_AND_VASE).plan) == 2


def test_a_margin_that_is_unknown_allows_no_split() -> None:
    unpriced = replace(MUG_AND_VASE, stated_value=None)

    decision = decide(splits_only_if("{plan.margin_after_shipping: {at_least: 0}}"), TWO_IN_TOWN, unpriced)

    assert sources(decision) == ["tromso"]


def test_the_explanation_shows_the_refused_split_with_the_days_that_it_saves() -> None:
    routed = routed_order(splits_only_if("{saves_days: 6}"), TWO_IN_TOWN, TIKTOK, MUG_AND_VASE)

    refused = explain(routed).refused

    assert refused is not None
    assert [shipment.location_id for shipment in refused.shipments] == ["oslo", "asker"]
    assert refused.refused_by == ("split_only_if; plan.days_saved is 5",)


def test_saves_days_is_a_number_of_whole_days() -> None:
    text = policy(split_only_if="{saves_days: soon}")

    (problem,) = read({"rules/routing.yaml": text.encode()}).problems

    assert (problem.code, problem.message) == ("wrong-type", "'saves_days' must be a number, not the text 'soon'")


def test_days_saved_are_known_of_splits_only() -> None:
    text = policy(review="[{name: slow, when: {plan.days_saved: {less_than: 1}}}]")

    (problem,) = read({"rules/routing.yaml": text.encode()}).problems

    assert problem.code == "fact-not-known-here"


def test_a_test_is_drafted_for_a_condition_of_splits() -> None:
    files = {
        "routing.yaml": policy(rank=FASTEST, split_only_if="{saves_days: 2}").encode(),
        "rates.yaml": RATES.encode(),
    }
    policy_set = read(files).policy_set
    assert policy_set is not None
    (split,) = [x for x in run_suites(policy_set, files).problems if "split_only_if" in x.message]
    rule = next(rule for rule in policy_set.routing if rule.split_only_if).split_only_if
    assert rule is not None

    drafts = draft_tests(policy_set, files, {rule.source})

    assert split.code == "rule-untested"
    assert [drafted.name for drafted in drafts.drafted] == ["split_only_if"]
    with_drafts = {**files, **{path: text.encode() for path, text in drafts.suites.items()}}
    assert not [x for x in run_suites(policy_set, with_drafts).problems if "split_only_if" in x.message]


def test_the_largest_order_is_one_location_where_no_split_is_allowed() -> None:
    snapshot = stocked("10", oslo={"MUG": 4}, asker={"MUG": 3})

    availability = assess_availability(splits_only_if("{saves_days: 1}"), snapshot, TIKTOK, "MUG", destination=TO_OSLO)

    assert (availability.sellable, availability.largest_single_order) == (7, 4)


def test_the_largest_order_is_split_where_its_margin_suffices() -> None:
    # 7 mugs for 70 in two couriers leave 56; 6 leave 46.
    snapshot = stocked("10", oslo={"MUG": 4}, asker={"MUG": 3})

    def largest(margin: int) -> int:
        policy_set = splits_only_if(f"{{plan.margin_after_shipping: {{at_least: {margin}}}}}")
        return assess_availability(policy_set, snapshot, TIKTOK, "MUG", destination=TO_OSLO).largest_single_order

    assert (largest(56), largest(57)) == (7, 4)


@pytest.mark.parametrize("at_most", [39, 40, 41, 42, 48, 49, 50, 55, 69, 70, 71, 72, 78, 79, 83, 89, 90, 91])
def test_the_largest_order_that_may_be_split_is_found_among_many_sizes(at_most: int) -> None:
    """40 mugs need no split, 70 come from two stores and 90 from three."""
    snapshot = stocked(oslo={"MUG": 30}, asker={"MUG": 40}, bergen={"MUG": 20})
    policy_set = splits_only_if(f"{{order.unit_count: {{at_most: {at_most}}}}}", rank="[fewest_shipments, nearest]")

    availability = assess_availability(policy_set, snapshot, TIKTOK, "MUG", destination=TO_OSLO)

    assert availability.largest_single_order == min(90, max(40, at_most))


def test_a_larger_order_that_pays_for_its_shipments_is_found_below_one_that_does_not() -> None:
    """From 67 to 70 mugs two couriers leave 53 and more; the third store's shipment costs what it brings in."""
    snapshot = stocked("1", oslo={"MUG": 30}, asker={"MUG": 40}, bergen={"MUG": 20})
    policy_set = splits_only_if("{plan.margin_after_shipping: {at_least: 53}}", rank="[fewest_shipments, nearest]")

    availability = assess_availability(policy_set, snapshot, TIKTOK, "MUG", destination=TO_OSLO)

    assert availability.largest_single_order == 70


@pytest.mark.parametrize(
    ("second", "third", "at_least", "at_most", "largest"),
    [(30, 20, 71, 80, 80), (30, 20, 41, 50, 50), (5, 0, 43, 44, 44), (30, 20, 99, 99, 40)],
)
def test_the_largest_order_is_found_where_only_some_sizes_may_be_split(
    second: int, third: int, at_least: int, at_most: int, largest: int
) -> None:
    """40 mugs need no split."""
    snapshot = stocked(oslo={"MUG": second}, asker={"MUG": 40}, bergen={"MUG": third})
    condition = f"{{order.unit_count: {{at_least: {at_least}, at_most: {at_most}}}}}"
    policy_set = splits_only_if(condition, rank="[fewest_shipments, nearest]")

    availability = assess_availability(policy_set, snapshot, TIKTOK, "MUG", destination=TO_OSLO)

    assert availability.largest_single_order == largest


@pytest.mark.parametrize(("most_tried", "largest"), [(1, 4), (2, 6)])
def test_after_as_many_tried_orders_as_are_allowed_one_location_is_the_answer(
    monkeypatch: pytest.MonkeyPatch, most_tried: int, largest: int
) -> None:
    """Of 7 mugs in two stores 6 may be split; that is seen with the second order that is tried."""
    monkeypatch.setattr(split_orders, "MAX_TRIED", most_tried)
    snapshot = stocked(oslo={"MUG": 4}, asker={"MUG": 3})

    availability = assess_availability(
        splits_only_if("{order.unit_count: {at_most: 6}}"), snapshot, TIKTOK, "MUG", destination=TO_OSLO
    )

    assert availability.largest_single_order == largest


def test_the_largest_order_that_may_be_split_takes_no_longer_to_find_for_more_units() -> None:
    snapshot = stocked(oslo={"MUG": 10**9}, asker={"MUG": 10**9}, bergen={"MUG": 10**9})
    policy_set = splits_only_if("{order.unit_count: {at_most: 1500000000}}", rank="[fewest_shipments, nearest]")

    availability = assess_availability(policy_set, snapshot, TIKTOK, "MUG", destination=TO_OSLO)

    assert availability.largest_single_order == 1_500_000_000


@pytest.mark.parametrize(
    ("condition", "is_allowed"),
    [
        ("{order.line_count: {at_most: 1}}", True),
        ("{order.line_count: {at_least: 2}}", False),
        ("{order.tags: {contains: gift}}", False),
        ("{order.product_tags: {contains: fragile}}", True),
        ("{order.product_tags: {contains: bulky}}", False),
        ("{order.weight_grams: {at_most: 2100}}", True),
        ("{order.weight_grams: {at_least: 2101}}", False),
    ],
)
def test_a_split_is_ruled_on_for_an_order_of_the_product_alone(condition: str, is_allowed: bool) -> None:
    snapshot = stocked(oslo={"MUG": 4}, asker={"MUG": 3})
    mug = replace(snapshot.products["MUG"], weight_grams=300, tags=frozenset({"fragile"}))
    policy_set = splits_only_if(condition)

    availability = assess_availability(
        policy_set, replace(snapshot, products={"MUG": mug}), TIKTOK, "MUG", destination=TO_OSLO
    )

    assert availability.largest_single_order == (7 if is_allowed else 4)


def test_a_store_that_covers_the_order_ranks_before_its_equals_in_a_split_too() -> None:
    """Oslo ships first. Of an order of five the rest comes from Bergen, which has all five, and not from Asker."""
    snapshot = stocked(oslo={"MUG": 1}, asker={"MUG": 3}, bergen={"MUG": 5})
    places = {key: replace(place, priority=1 if key == "oslo" else 2) for key, place in snapshot.locations.items()}
    policy_set = splits_only_if(
        "{plan.shipment_count: {at_most: 2}}", rank="[priority, covers_most]", max_shipments="2"
    )

    availability = assess_availability(policy_set, replace(snapshot, locations=places), TIKTOK, "MUG")

    assert availability.largest_single_order == 5


def test_the_cheapest_split_of_heavy_products_is_the_one_that_is_ruled_on() -> None:
    """A parcel from far costs less only until it is weighed: two mugs from there cost 7."""
    by_weight = """
kind: delivery
rules:
  - {name: near, position: 10, when: {location.distance_km: {at_most: 100}}, service: van, cost: {per_shipment: 2}}
  - {name: far, position: 20, service: post, cost: {per_shipment: 1, per_kg: 3}}
"""
    snapshot = stocked(oslo={"MUG": 1}, asker={"MUG": 2}, bergen={"MUG": 2})
    heavy = replace(snapshot, products={"MUG": Product("MUG", weight_grams=1000)})

    def largest(cost: int) -> int:
        text = policy(rank="[lowest_cost]", split_only_if=f"{{plan.cost: {{at_most: {cost}}}}}", max_shipments=2)
        return assess_availability(
            rules(text, by_weight), heavy, TIKTOK, "MUG", destination=TO_OSLO
        ).largest_single_order

    assert (largest(3), largest(4), largest(9)) == (2, 3, 4)


def with_full_days(snapshot: World, full_days: Mapping[str, int | None]) -> World:
    """Stores that handle 4 units a day and are full on their first days; None is a store without a limit."""
    limit = Capacity(units_per_day=4, days_ahead=3)
    limited = {key: days for key, days in full_days.items() if days is not None}
    places = {
        key: replace(place, capacity=limit) if key in limited else place for key, place in snapshot.locations.items()
    }
    taken = {
        CapacityPeriod(key, NOW.date() + timedelta(day)): CapacityUse(1, 4)
        for key, days in limited.items()
        for day in range(days)
    }
    return replace(snapshot, locations=places, capacity=CapacityFigures(taken))


CONDITIONS = (
    *("{saves_days: 1}", "{plan.margin_after_shipping: {at_least: 15}}", "{plan.cost: {at_most: 22}}"),
    *("{plan.shipment_count: {at_most: 2}}", "{order.unit_count: {at_least: 6}}"),
    "{any: [{plan.days_saved: {at_least: 1}}, {plan.margin_after_shipping: {at_least: 9}}]}",
)
RANKS = (FASTEST, "[fewest_shipments, nearest]", "[lowest_cost, nearest]", "[nearest]", "[covers_most, nearest]",
         "[lowest_cost]", "[earliest_promise]")  # fmt: skip


NO_LIMITS = [None] * 4


@settings(max_examples=60, deadline=None)
# Which plan is the best decides whether its split is allowed: the cheapest, the one that arrives first, and the one
# that arrives first although a store is full today.
@example("{plan.cost: {at_most: 22}}", "[lowest_cost]", None, [0, 1, 1, 2], None, NO_LIMITS)
@example("{plan.shipment_count: {at_most: 2}}", FASTEST, None, [1, 1, 1, 2], None, NO_LIMITS)
@example("{plan.cost: {at_most: 14}}", "[earliest_promise]", None, [3, 3, 3, 0], None, [3, None, None, None])
@given(
    condition=st.sampled_from(CONDITIONS),
    rank=st.sampled_from(RANKS),
    max_shipments=st.sampled_from((None, 2, 3)),
    counts=st.lists(st.integers(0, 5), min_size=4, max_size=4),
    price=st.sampled_from((None, "0.50", "2", "6")),
    full_days=st.lists(st.sampled_from((None, None, 0, 1, 2)), min_size=4, max_size=4),
)
def test_an_order_of_the_largest_size_is_filled_and_no_larger_one(
    condition: str, rank: str, max_shipments: int | None, counts: list[int], price: str | None,
    full_days: list[int | None],
) -> None:  # fmt: skip
    limits = {} if max_shipments is None else {"max_shipments": str(max_shipments)}
    policy_set = splits_only_if(condition, rank=rank, **limits)
    snapshot = stocked(price, **{key: {"MUG": count} for key, count in zip(PLACES, counts, strict=True)})
    snapshot = with_full_days(snapshot, dict(zip(PLACES, full_days, strict=True)))
    destination = Destination("NO", coordinates=OSLO)

    stated = assess_availability(policy_set, snapshot, TIKTOK, "MUG", destination=destination).largest_single_order

    def is_filled(size: int) -> bool:
        value = None if price is None else Decimal(price) * size
        request = order({"MUG": size}, destination=destination, stated_value=value)
        return not decide(policy_set, snapshot, request).shortages

    filled = [size for size in range(1, sum(counts) + 1) if is_filled(size)]
    assert stated == max(filled, default=0)
