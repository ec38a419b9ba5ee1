"""Caching the classes of objects and classifying ages as durations do not change which rules fire."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta

import pytest
from hypothesis import given, settings, strategies as st

from policies.domain.model import Channel, Context, Location, Product, StockLevel
from policies.engine import classified_facts
from policies.engine.conditions import All, Comparison, Condition, Operator
from policies.engine.matcher import Matcher
from policies.facts.fact_table import FACTS
from policies.facts.measures import AGE_FACTS
from tests.policies.facts.test_fact_table import EVERYTHING
from tests.policies.small_retailer import NOW

MICROSECOND = timedelta(microseconds=1)


@pytest.mark.parametrize("name", [name for name in FACTS if classified_facts.deciding_object(name)])
def test_a_fact_named_like_a_field_depends_on_that_object_alone(name: str) -> None:
    kind = classified_facts.deciding_object(name) or ""
    later = NOW + timedelta(days=400, hours=7)

    alone = Context(later, **{kind: getattr(EVERYTHING, kind)})

    assert FACTS[name].read(alone) == FACTS[name].read(EVERYTHING)


def test_every_cached_kind_of_object_is_a_field_of_a_context() -> None:
    assert set(classified_facts.CACHED_OBJECTS) <= {field.name for field in fields(Context)}


def test_short_lived_objects_are_never_confused_with_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python soon gives a new object the address of a freed one."""
    monkeypatch.setattr(classified_facts, "MAX_OBJECTS", 3)
    monkeypatch.setattr(classified_facts, "MAX_CLASSIFICATIONS", 5)
    matcher = Matcher.of([(number, _is("product.sku", f"SKU-{number}")) for number in range(20)])

    for number in [*range(20), *range(19, -1, -1)] * 3:
        assert matcher.fired(Context(NOW, product=Product(f"SKU-{number}"))) == (number,)
        assert matcher.fired(Context(NOW)) == ()


def test_the_cache_of_classified_facts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classified_facts, "MAX_OBJECTS", 10)
    cache = classified_facts.ClassifiedFactsCache("product", [FACTS["product.sku"].read])
    for number in range(100):
        cache.of(Context(NOW, product=Product(f"SKU-{number}")))

    assert len(cache.by_object_id) == 10


def test_equal_objects_share_remembered_answers() -> None:
    matcher = Matcher.of([("mug", All((_is("product.sku", "MUG"), _is("location.type", "store"))))])
    for _ in range(5):
        matcher.fired(Context(NOW, product=Product("MUG"), location=Location("oslo", "store")))

    assert (matcher.misses, matcher.answer_count) == (1, 1)


def test_a_changed_object_gets_a_new_answer() -> None:
    matcher = Matcher.of([("social", _is("channel.kind", "social"))])

    assert matcher.fired(Context(NOW, channel=Channel("tiktok_shop", "social"))) == ("social",)
    assert matcher.fired(Context(NOW, channel=Channel("tiktok_shop", "web"))) == ()


constants = st.one_of(st.integers(-2, 10_000).map(float), st.floats(-1, 1e7), st.floats(1e11, 1e15))
operators = st.sampled_from(
    [Operator.IS, Operator.IS_NOT, Operator.AT_LEAST, Operator.AT_MOST, Operator.MORE_THAN, Operator.LESS_THAN]
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(AGE_FACTS)), operators, st.lists(constants, min_size=1, max_size=3), st.data())
def test_an_age_is_classified_like_its_number(
    name: str, operator: Operator, numbers: list[float], data: st.DataObject
) -> None:
    """Tests the microseconds around each threshold too, and clocks that are ahead."""
    _, unit = AGE_FACTS[name]
    reachable = [number for number in numbers if abs(number) < timedelta(days=700_000) / unit] or [0.0]
    age = unit * data.draw(st.sampled_from(reachable)) + data.draw(st.integers(-3, 3)) * MICROSECOND
    matcher = Matcher.of([(number, Comparison(name, operator, (number,))) for number in numbers])

    level = StockLevel("MUG", "oslo", 1, as_of_time=NOW - age, counted_time=NOW - age)
    context = Context(NOW, stock=level)

    assert matcher.fired(context) == matcher.fired_by_engine(context) == matcher.fired_by_oracle(context)


def _is(fact: str, word: str) -> Condition:
    return Comparison(fact, Operator.IS, (word,))
