"""Planning that remembers decides as planning that evaluates every rule every time, whatever changes between orders."""

import random
from dataclasses import replace
from datetime import time, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given, settings, strategies as st

from policies.decisions.availability.sellable import assess_availability
from policies.decisions.decision import Decision
from policies.decisions.eligibility import RoutingQuestion, WholeOrder, policies_for
from policies.decisions.planning.planning_memory import PolicyView
from policies.decisions.routing import route
from policies.domain.model import (
    Commitment,
    Coordinates,
    Destination,
    Location,
    Order,
    OrderFacts,
    OrderLine,
    Product,
    StockLevel,
    World,
)
from policies.policy_set import PolicySet
from service.decisions.decision_messages import decision_message
from tests.policies.decisions import plain_planning
from tests.policies.small_retailer import ANYWHERE, NOW, TIKTOK, level, policy, rules, sold, store, world
from tests.random_rules import random_rules

Key = tuple[str, str]

SKUS = ("MUG", "CAP", "PEN")
IDS = "abcdef"

VARIED = """
kind: routing
policies:
  - name: gifts
    position: 5
    applies_to: {order.tags: {contains: gift}}
    only: {location.type: store, order.value: {less_than: 60}}
    rank: [covers_most, {nearest: {band_km: 300}}]
    max_shipments: 2
    sold_may_use: [buffer]
    otherwise: next
  - name: pickup
    position: 10
    applies_to: {order.method: pickup}
    only: {location.offers_pickup: true}
    rank: [chosen_by_shopper, deepest_stock]
    sold_may_use: [buffer, blocked]
  - name: all
    position: 50
    exclude:
      - {name: far, when: {location.distance_km: {more_than: 600}, order.priority.known: false}}
      - {name: not-there, when: {location.serves_destination: false}}
      - {name: closed-now, when: {location.open_now: false, order.unit_count: {more_than: 2}}}
    rank: [fewest_shipments, {prefer: {when: {location.same_country: true, order.value: {at_least: 20}}}},
           most_days_of_cover, most_reliable, priority, nearest]
    sold_may_use: [buffer]
    review: [{name: many, when: {plan.shipment_count: {more_than: 1}, order.value: {at_least: 40}}}]
""", """
kind: buffer
name: floor
scope: location
combine: sum
rules:
  - {name: store, when: {location.type: store}, hold_back: {units: 1}}
  - {name: urgent, when: {order.priority: {less_than: 3}}, hold_back: {units: 1}}
  - {name: abroad, when: {destination.country: SE, stock.days_of_cover: {less_than: 4}}, hold_back: {percent: 40}}
  - {name: old, when: {stock.age_minutes: {more_than: 30}}, from: 2026-11-01, hold_back: {units: 1}}
""", """
kind: exposure
name: trust
rules:
  - {name: old-at-a-store, when: {location.type: store, stock.age_minutes: {more_than: 60}}, block: too old}
  - {name: fragile, when: {product.tags: {contains: fragile}, location.distance_km: {more_than: 400}}, block: too far}
""", """
kind: buffer
name: whole
scope: channel
rules:
  - {name: tenth, when: {stock.on_hand: {at_least: 6}}, hold_back: {percent: 10}}
  - {name: cap, when: {destination.country: 'NO'}, cap: 9}
"""  # fmt: skip

POLICY_SETS = [rules(*VARIED), *(rules(*random_rules(seed).values()) for seed in range(24))]


class ChangingShop:
    """A shop whose stock, clock and orders change at random; it remembers what each order was promised."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = NOW
        self.locations = {key: self._location(key) for key in IDS[: self.dice.randint(2, 6)]}
        self.products = {sku: self._product(sku) for sku in SKUS}
        self.channel = replace(TIKTOK, location_ids=frozenset(self.dice.sample(IDS, self.dice.choice([0, 0, 3]))))
        self.levels: dict[Key, StockLevel] = {}
        for key in [(sku, location_id) for sku in SKUS for location_id in self.locations]:
            if self.dice.random() < 0.8:
                self.levels[key] = self._level(key)
        self.latest: dict[Key, int] = {}

    @property
    def world(self) -> World:
        return World(self.now, self.locations, self.products, self.levels)

    def change(self) -> None:
        """What can happen between two orders: a sale, a count, an expired hold, another transaction, or nothing."""
        dice, levels = self.dice, self.levels
        for key in dice.sample(sorted(levels), min(len(levels), dice.choice([0, 0, 1, 1, 3]))):
            found = levels[key]
            levels[key] = dice.choice(
                [
                    replace(found, held=0),
                    replace(found, allocated=found.allocated + 1),
                    replace(found, on_hand=dice.randint(0, 9), as_of_time=self.now),
                    replace(found, tracked=not found.tracked),
                ]
            )
        if dice.random() < 0.3:
            self.now += timedelta(minutes=dice.choice([0.001, 20, 400]))
            self.levels = {key: replace(found) for key, found in levels.items()}
        if dice.random() < 0.15:
            sku = dice.choice(SKUS)
            self.products = {**self.products, sku: self._product(sku)}
        if dice.random() < 0.15:
            self.locations = {**self.locations, "a": self._location("a")}

    def order(self) -> tuple[Order, dict[Key, int], frozenset[Key], WholeOrder | None]:
        """The arguments of `route` for the next order: new, or one that has units and rejections already."""
        dice = self.dice
        lines = tuple(
            OrderLine(str(number), dice.choice(SKUS), dice.randint(1, 5), dice.choice([None, Decimal(9)]))
            for number in range(dice.choice([1, 1, 2, 4]))
        )
        method = dice.choice(["ship", "ship", "ship", "pickup"])
        order = Order(
            self.channel.id,
            "1",
            lines,
            dice.choice([Commitment.HOLD, Commitment.SOLD]),
            method,
            dice.choice([None, Destination("NO"), Destination("SE", coordinates=Coordinates(59.3, 18.1))]),
            dice.choice([None, "a", "b"]) if method == "pickup" else None,
            dice.choice([None, Decimal(25), Decimal(80)]),
            dice.choice([None, 1, 5]),
            frozenset({"gift"}) if dice.random() < 0.3 else frozenset(),
        )
        own, kept = (self.latest if dice.random() < 0.4 else {}), (self.latest if dice.random() < 0.2 else {})
        rejected = dice.sample(sorted(self.levels), 1) if self.levels and dice.random() < 0.2 else []
        whole = WholeOrder(replace(OrderFacts.of(order), unit_count=20), kept, dice.random() < 0.5) if kept else None
        return order, ({} if kept else own), frozenset(rejected), whole

    def promise(self, decision: Decision, order: Order) -> None:
        """Takes the units of a decision off the stock, each with a new level as in the stock book."""
        self.latest = decision.units
        field = "held" if order.commitment is Commitment.HOLD else "allocated"
        for key, count in decision.units.items():
            self.levels[key] = replace(self.levels[key], **{field: getattr(self.levels[key], field) + count})

    def _location(self, key: str) -> Location:
        dice = self.dice
        return Location(
            key,
            dice.choice(["store", "warehouse"]),
            dice.choice(["open", "open", "open", "stocktake", "closed"]),
            country=dice.choice([None, "NO", "SE"]),
            coordinates=dice.choice([None, Coordinates(59.9, 10.7), Coordinates(67.0 + dice.random(), 15.0)]),
            offers_pickup=dice.random() < 0.7,
            priority=dice.choice([None, 1, 2]),
            ships_to=dice.choice([None, frozenset({"NO"}), frozenset({"NO", "SE"})]),
            opens=time(8),
            closes=time(12),
        )

    def _product(self, sku: str) -> Product:
        dice = self.dice
        tags = frozenset({"fragile"}) if dice.random() < 0.3 else frozenset[str]()
        return Product(sku, tags=tags, price=Decimal(5), velocity_per_day=dice.choice([None, 0.0, 2.0, 9.0]))

    def _level(self, key: Key) -> StockLevel:
        dice = self.dice
        age = dice.choice([None, timedelta(minutes=5), timedelta(minutes=50)])
        return StockLevel(
            *key,
            on_hand=dice.randint(0, 9),
            held=dice.randint(0, 2),
            as_of_time=None if age is None else self.now - age,
            count_confidence=dice.choice([None, 0.3, 1.0]),
            tracked=dice.random() < 0.95,
        )


def stored(decision: Decision, policy_set: PolicySet, shop: ChangingShop) -> bytes:
    message = decision_message(decision, policy_set.revision, UUID(int=0), shop.now)
    return message.SerializeToString(deterministic=True)


EXAMPLES = st.integers(0, 2**32), st.integers(0, len(POLICY_SETS) - 1)


@settings(max_examples=15, deadline=None)
@given(*EXAMPLES)
def test_what_is_remembered_never_changes_a_decision_or_its_explanation(seed: int, which: int) -> None:
    check_decisions(ChangingShop(seed), POLICY_SETS[which])


@pytest.mark.long
@settings(max_examples=300, deadline=None)
@given(*EXAMPLES)
def test_what_is_remembered_never_changes_any_of_thousands_of_decisions(seed: int, which: int) -> None:
    check_decisions(ChangingShop(seed), POLICY_SETS[which])


def test_a_buffer_that_shrinks_with_the_stock_counts_as_it_is_for_the_next_order() -> None:
    half = "kind: buffer\nname: half\nscope: location\nrules:\n  - {name: half, hold_back: {percent: 50}}\n"
    policy_set = rules(half, policy(sold_may_use="[buffer]"))
    levels = {("MUG", "oslo"): level("MUG", "oslo", 4)}
    shop = replace(world([store("oslo")], []), levels=levels)
    first = route(policy_set, shop, TIKTOK, sold({"MUG": 2}))
    levels["MUG", "oslo"] = level("MUG", "oslo", 4, allocated=2)

    second = route(policy_set, shop, TIKTOK, sold({"MUG": 1}))

    assert (first.buffer_saved, second.buffer_saved) == ({}, {})


@settings(max_examples=10, deadline=None)
@given(*EXAMPLES)
def test_what_is_remembered_never_changes_what_a_channel_may_sell(seed: int, which: int) -> None:
    check_availability(ChangingShop(seed), POLICY_SETS[which])


def check_decisions(shop: ChangingShop, policy_set: PolicySet) -> None:
    """Decides ten orders in a row both ways, and compares decisions, explanations and stored bytes."""
    for _ in range(10):
        shop.change()
        order, own, rejected, whole = shop.order()
        arguments = (policy_set, shop.world, shop.channel, order, own)
        remembering = route(*arguments, rejected_by=rejected, whole=whole)
        plain = plain_planning.route(*arguments, rejected_by=rejected, whole=whole)

        assert remembering == plain
        assert stored(remembering, policy_set, shop) == stored(plain, policy_set, shop)
        assert [item.distance_km for item in remembering.plan] == [
            plain_planning.distance_km(shop.locations[item.location_id], RoutingQuestion.of(*arguments[1:]))
            for item in plain.plan
        ]
        shop.promise(remembering, order)


def check_availability(shop: ChangingShop, policy_set: PolicySet) -> None:
    """Assesses a product both ways between ten orders, and compares figures, rules and their facts."""
    for _ in range(10):
        shop.change()
        order, *_ = shop.order()
        sku = order.lines[0].sku
        available = assess_availability(
            policy_set, shop.world, shop.channel, sku, method=order.method, destination=order.destination
        )
        question = RoutingQuestion(shop.world, shop.channel, OrderFacts(method=order.method), order.destination)
        policy = policies_for(policy_set, question)[0]
        figures = plain_planning.location_availability(policy_set, question, sku, policy)
        effect = plain_planning.channel_buffer_effect(policy_set, question, sku, policy)
        fired = (*(rule for figure in figures for rule in figure.fired), *effect.fired)

        assert available.locations == figures
        assert [(rule, rule.evidence and rule.evidence.facts()) for rule in available.fired] == [
            (rule, rule.evidence and rule.evidence.facts()) for rule in fired
        ]
        shop.promise(route(policy_set, shop.world, shop.channel, order), order)


def test_an_order_that_pauses_is_not_planned_from_the_stock_of_a_question_that_is_answered_meanwhile() -> None:
    policy_set = rules(ANYWHERE)
    locations = {location.id: location for location in (store("a"), store("b"))}
    products = {"MUG": Product("MUG")}
    in_stock = {("MUG", "a"): level("MUG", "a", 5), ("MUG", "b"): level("MUG", "b", 5)}
    sold_out = {key: replace(stock, allocated=5) for key, stock in in_stock.items()}
    of_the_same_moment = World(NOW, locations, products, in_stock)

    def answer_another() -> None:
        assert assess_availability(policy_set, of_the_same_moment, TIKTOK, "MUG").sellable == 10

    decision = route(policy_set, World(NOW, locations, products, sold_out, answer_another), TIKTOK, sold({"MUG": 1}))

    assert decision.plan == ()


def test_an_order_without_an_address_has_no_distance_to_where_the_last_one_went() -> None:
    policy_set, snapshot = rules(ANYWHERE), world([store("a", coordinates=Coordinates(59.9, 10.7))], [])

    def distance_km(destination: Destination | None) -> float | None:
        question = RoutingQuestion(snapshot, TIKTOK, OrderFacts(), destination)
        return PolicyView(policy_set, question, policies_for(policy_set, question)[0]).distances[0]

    assert distance_km(Destination("NO", coordinates=Coordinates(59.9, 10.7))) == 0
    assert distance_km(None) is None
    assert distance_km(Destination("NO", coordinates=Coordinates(59.9, 10.7))) == 0
