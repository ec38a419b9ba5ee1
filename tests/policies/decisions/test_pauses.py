"""A decision about many levels pauses again and again, so that whoever asked for it can let others run."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from policies.decisions.eligibility import RoutingQuestion, policies_for
from policies.decisions.planning.planning_memory import PolicyView
from policies.decisions.planning.plans import best_plan
from policies.decisions.routing import route
from policies.domain.model import Channel, Location, Order, OrderFacts, OrderLine, Product, StockLevel, World
from policies.policy_set import PolicySet

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SKUS = [f"SKU-{number}" for number in range(12)]
LOCATIONS = {f"store-{number}": Location(f"store-{number}", "store") for number in range(10)}
LEVELS = {(sku, key): StockLevel(sku, key, on_hand=5, as_of_time=NOW) for sku in SKUS for key in LOCATIONS}


def test_an_order_of_many_lines_pauses_at_each_level_and_gets_the_same_decision(policy_set: PolicySet) -> None:
    channel = Channel("web", "web")
    order = Order("web", "A", tuple(OrderLine(sku, sku, 1) for sku in SKUS))
    products = {sku: Product(sku) for sku in SKUS}
    pauses: list[None] = []

    decision = route(policy_set, World(NOW, LOCATIONS, products, LEVELS, lambda: pauses.append(None)), channel, order)

    assert decision == route(policy_set, World(NOW, LOCATIONS, products, LEVELS), channel, order)
    assert len(pauses) >= len(LEVELS)


def test_an_order_pauses_before_the_rules_about_stock_are_asked_of_a_level(policy_set: PolicySet) -> None:
    pauses: list[None] = []
    snapshot = World(NOW, LOCATIONS, {}, LEVELS, lambda: pauses.append(None))
    question = RoutingQuestion(snapshot, Channel("web", "web"), OrderFacts())
    levels = PolicyView(policy_set, question, policies_for(policy_set, question)[0]).stock(SKUS[0])
    pauses.clear()

    figures = [levels.assessments(frozenset()).figures[number] for number in (0, 1)]

    assert [figure.location_id for figure in figures] == ["store-0", "store-1"]
    assert len(pauses) == 2


@pytest.mark.parametrize("steps", [(), ("fewest_shipments",)])
def test_a_search_for_the_best_shipments_pauses(steps: tuple[str, ...]) -> None:
    stock = {sku: {key: number + 1 for number, key in enumerate(LOCATIONS)} for sku in SKUS}
    demand, ranks = dict.fromkeys(SKUS, 30), dict.fromkeys(LOCATIONS, ())
    pauses: list[None] = []

    plan = best_plan(demand, stock, ranks, steps=steps, pause=lambda: pauses.append(None))

    assert plan == best_plan(demand, stock, ranks, steps=steps)
    assert len(pauses) > len(LOCATIONS) * len(steps)
