"""Rules fire exactly as their conditions say: the engine, remembered answers and direct evaluation agree."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from policies.domain.model import Channel, Context, Location, OrderFacts, Product, StockLevel
from policies.engine.conditions import All, Always, Any, Comparison, Condition, NoneOf, Operator
from policies.engine.matcher import ConditionTooLarge, Matcher

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)

CONSTANTS = [-3.0, 0.0, 1.0, 2.5, 5.0, 19.99, 100.0, 1e-7, 2.0**31]
VALUES = [*CONSTANTS, 3.0, 4.999999, 20.0, 99.0]
WORDS = ["a", "b", "c", "é", "0", ""]
TAGS = ["x", "y", "z"]
TEXTS = ["location.id", "product.sku", "product.category"]
NUMBERS = ["order.value", "product.velocity_per_day", "stock.age_minutes", "stock.on_hand"]
FLAGS = ["product.has_image", "location.offers_pickup"]
LISTS = ["product.tags", "order.tags"]

one_word = st.sampled_from(WORDS).map(lambda word: (word,))
some_words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(tuple)
one_number = st.sampled_from(CONSTANTS).map(lambda number: (number,))
some_numbers = st.lists(st.sampled_from(CONSTANTS), min_size=1, max_size=3).map(tuple)
one_flag = st.booleans().map(lambda flag: (flag,))
one_tag = st.sampled_from(TAGS).map(lambda tag: (tag,))
some_tags = st.lists(st.sampled_from(TAGS), min_size=1, max_size=3).map(tuple)

MEASURES = [Operator.AT_LEAST, Operator.AT_MOST, Operator.MORE_THAN, Operator.LESS_THAN]
ONE, SOME = [Operator.IS, Operator.IS_NOT], [Operator.IN, Operator.NOT_IN]

comparison = st.one_of(
    st.builds(Comparison, st.sampled_from(TEXTS), st.sampled_from(ONE), one_word),
    st.builds(Comparison, st.sampled_from(TEXTS), st.sampled_from(SOME), some_words),
    st.builds(Comparison, st.sampled_from(NUMBERS), st.sampled_from(ONE + MEASURES), one_number),
    st.builds(Comparison, st.sampled_from(NUMBERS), st.sampled_from(SOME), some_numbers),
    st.builds(Comparison, st.sampled_from(FLAGS), st.sampled_from(ONE), one_flag),
    st.builds(Comparison, st.sampled_from(LISTS), st.just(Operator.CONTAINS), one_tag),
    st.builds(Comparison, st.sampled_from(LISTS), st.just(Operator.CONTAINS_ANY), some_tags),
    st.builds(Comparison, st.sampled_from(TEXTS + NUMBERS + FLAGS + LISTS), st.just(Operator.KNOWN), one_flag),
)


def groups(parts: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    several = st.lists(parts, min_size=1, max_size=3).map(tuple)
    return st.one_of(st.builds(All, several), st.builds(Any, several), st.builds(NoneOf, several))


conditions: st.SearchStrategy[Condition] = st.recursive(st.one_of(comparison, st.builds(Always)), groups, max_leaves=8)
rules = st.lists(conditions, min_size=1, max_size=8).map(lambda conditions: list(enumerate(conditions)))

value = st.sampled_from(VALUES)
tags = st.frozensets(st.sampled_from([*TAGS, "other"]))
ages = st.none() | value.map(lambda minutes: NOW - timedelta(minutes=abs(minutes) % 10_000))
contexts = st.builds(
    Context,
    st.just(NOW),
    order=st.none()
    | st.builds(OrderFacts, value=st.none() | value.map(lambda number: Decimal(str(number))), tags=st.none() | tags),
    location=st.none()
    | st.builds(Location, st.sampled_from([*WORDS, "other"]), st.just("store"), offers_pickup=st.booleans()),
    product=st.none()
    | st.builds(
        Product,
        st.sampled_from([*WORDS, "other"]),
        category=st.none() | st.sampled_from(WORDS),
        velocity_per_day=st.none() | value.map(abs),
        has_image=st.booleans(),
        tags=tags,
    ),
    stock=st.none() | st.builds(StockLevel, st.just("a"), st.just("b"), value.map(int), as_of_time=ages),
)


rules_and_contexts = given(rules, st.lists(contexts, min_size=1, max_size=12))


@pytest.mark.thorough
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@rules_and_contexts
def test_the_engine_and_remembered_answers_agree_with_direct_evaluation(
    pairs: list[tuple[int, Condition]], contexts: list[Context]
) -> None:
    check_agreement(pairs, contexts)


@pytest.mark.long
@settings(max_examples=1_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@rules_and_contexts
def test_the_engine_and_remembered_answers_agree_with_direct_evaluation_of_many_more_rules(
    pairs: list[tuple[int, Condition]], contexts: list[Context]
) -> None:
    check_agreement(pairs, contexts)


def check_agreement(pairs: list[tuple[int, Condition]], contexts: list[Context]) -> None:
    """Asserts that the engine and its memory fire the rules that direct evaluation fires."""
    matcher = Matcher.of(pairs)

    for context in contexts:
        expected = matcher.fired_by_oracle(context)
        assert matcher.fired_by_engine(context) == expected
        assert matcher.fired(context) == expected


def store(name: str = "high-street", sku: str = "MUG", on_hand: int = 9, velocity: float | None = 4.0) -> Context:
    return Context(
        NOW,
        channel=Channel("tiktok_shop", "social"),
        location=Location(name, "store"),
        product=Product(sku, velocity_per_day=velocity),
        stock=StockLevel(sku, name, on_hand, as_of_time=NOW - timedelta(minutes=5)),
    )


def is_(fact: str, *operands: str | float | bool) -> Comparison:
    return Comparison(fact, Operator.IN, operands)


def over(fact: str, constant: float) -> Comparison:
    return Comparison(fact, Operator.MORE_THAN, (constant,))


def test_rules_fire_in_the_given_order() -> None:
    matcher = Matcher.of([("b", is_("location.type", "store")), ("a", Always()), ("c", over("stock.on_hand", 2))])

    assert matcher.fired(store()) == ("b", "a", "c")


def test_five_thousand_skus_in_one_rule_need_only_two_remembered_answers() -> None:
    matcher = Matcher.of([("listed", is_("product.sku", *(f"SKU-{number}" for number in range(5_000))))])
    fired = {matcher.fired(store(sku=f"SKU-{number}")) for number in range(5_000)}

    assert fired == {("listed",)}
    assert matcher.fired(store(sku="SKU-5000")) == ()
    assert matcher.answer_count == 2


def test_skus_in_overlapping_lists_fire_exactly_the_rules_that_list_them() -> None:
    lists = [[f"SKU-{number}" for number in range(500) if number >> bit & 1] for bit in range(9)]
    matcher = Matcher.of([(bit, is_("product.sku", *skus)) for bit, skus in enumerate(lists)])

    for number in (0, 1, 255, 340, 499, 500):
        expected = tuple(bit for bit in range(9) if number < 500 and number >> bit & 1)
        assert matcher.fired(store(sku=f"SKU-{number}")) == expected


def test_two_thousand_rules_are_compiled_in_bounded_time() -> None:
    started = time.thread_time()
    matcher = Matcher.of(
        [
            (number, All((is_("product.sku", f"SKU-{number}"), over("stock.on_hand", float(number % 40)))))
            for number in range(2_000)
        ]
    )

    assert matcher.fired(store(sku="SKU-1207", on_hand=9)) == (1207,)
    assert time.thread_time() - started < 5


def test_a_thousand_rules_can_fire_together() -> None:
    matcher = Matcher.of([(number, over("stock.on_hand", float(number))) for number in range(1_000)])

    assert len(matcher.fired(store(on_hand=1_000))) == 1_000


def test_a_rule_that_excludes_many_pairs_fires_for_all_others() -> None:
    pairs = [All((is_("location.id", f"L{number}"), is_("product.sku", f"S{number}"))) for number in range(100)]
    matcher = Matcher.of([("others", NoneOf(tuple(pairs)))])

    assert matcher.fired(store("L7", "S7")) == ()
    assert matcher.fired(store("L7", "S8")) == ("others",)


def test_a_rule_with_too_many_alternatives_is_refused_with_its_index() -> None:
    def pairs(first: str, second: str) -> tuple[Condition, ...]:
        return tuple(All((is_(first, str(number)), is_(second, str(number)))) for number in range(12))

    exclusions, inclusions = NoneOf(pairs("location.id", "product.sku")), Any(pairs("product.category", "channel.id"))

    with pytest.raises(ConditionTooLarge) as error:
        Matcher.of([("plain", Always()), ("endless", All((exclusions, inclusions)))])
    assert error.value.index == 1


def test_an_answer_is_remembered_for_all_values_of_the_same_class() -> None:
    matcher = Matcher.of([("busy", over("product.velocity_per_day", 3))])
    for velocity in (4.0, 4.5, 5.0, 1.0):
        matcher.fired(store(velocity=velocity))

    assert (matcher.misses, matcher.answer_count) == (2, 2)


def test_a_full_memory_forgets_the_oldest_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.engine.matcher.MAX_SIGNATURES", 10)
    matcher = Matcher.of([(number, is_("product.sku", f"SKU-{number}")) for number in range(100)])
    answers = [matcher.fired(store(sku=f"SKU-{number}")) for number in range(100)]

    assert answers == [(number,) for number in range(100)]
    assert matcher.answer_count == 10


@pytest.mark.parametrize("pairs", [[], [("a", Always()), ("b", Always())]])
def test_rules_without_conditions_always_fire_without_the_engine(pairs: list[tuple[str, Condition]]) -> None:
    matcher = Matcher.of(pairs)

    assert matcher.fired(store()) == tuple(name for name, _ in pairs)
    assert (matcher.misses, matcher.facts) == (0, ())


def test_a_decimal_price_equals_the_same_number_in_a_rule() -> None:
    matcher = Matcher.of([("exact", is_("product.price", 19.99))])

    assert matcher.fired(Context(NOW, product=Product("MUG", price=Decimal("19.99")))) == ("exact",)


@pytest.mark.parametrize("confidence", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused(confidence: float) -> None:
    matcher = Matcher.of([("trusted", over("stock.count_confidence", 0.5))])
    level = StockLevel("MUG", "high-street", 1, count_confidence=confidence)

    with pytest.raises(ValueError, match=r"stock\.count_confidence is (nan|inf)"):
        matcher.fired(Context(NOW, stock=level))


def test_a_matcher_lists_the_facts_that_its_rules_use() -> None:
    matcher = Matcher.of([("a", All((is_("product.sku", "MUG"), over("stock.on_hand", 2)))), ("b", Always())])

    assert matcher.facts == ("product.sku", "stock.on_hand")
