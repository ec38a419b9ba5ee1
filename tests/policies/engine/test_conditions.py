"""Comparisons and groups, evaluated on raw values."""

from __future__ import annotations

import pytest

from policies.engine.conditions import All, Always, Any, Comparison, Condition, NoneOf, Operator, comparisons, holds
from policies.facts.fact_table import Value

STORE = Comparison("location.type", Operator.IS, ("store",))
HIGH_VALUE = Comparison("order.value", Operator.AT_LEAST, (1000.0,))


def compares(operator: Operator, value: Value | None, *operands: str | float | bool) -> bool:
    return holds(Comparison("fact", operator, operands), {"fact": value})


@pytest.mark.parametrize(
    ("operator", "below", "at", "above"),
    [
        (Operator.AT_LEAST, False, True, True),
        (Operator.MORE_THAN, False, False, True),
        (Operator.AT_MOST, True, True, False),
        (Operator.LESS_THAN, True, False, False),
        (Operator.IS, False, True, False),
        (Operator.IS_NOT, True, False, True),
    ],
)
def test_a_number_is_compared_with_its_bound(operator: Operator, below: bool, at: bool, above: bool) -> None:
    assert [compares(operator, value, 5.0) for value in (4.99, 5, 5.01)] == [below, at, above]


@pytest.mark.parametrize("operator", [operator for operator in Operator if operator is not Operator.KNOWN])
def test_every_comparison_with_an_unknown_value_is_false(operator: Operator) -> None:
    assert not compares(operator, None, 5.0)


@pytest.mark.parametrize(("value", "known"), [(None, False), (0, True), ("", True), (False, True), (frozenset(), True)])
def test_known_asks_whether_there_is_a_value(value: Value | None, known: bool) -> None:
    assert compares(Operator.KNOWN, value, True) is known
    assert compares(Operator.KNOWN, value, False) is not known


def test_in_and_not_in_compare_with_each_value_of_a_list() -> None:
    assert compares(Operator.IN, "social", "marketplace", "social")
    assert not compares(Operator.NOT_IN, "social", "marketplace", "social")


def test_contains_tests_for_one_tag_and_contains_any_for_several() -> None:
    tags = frozenset({"launch", "fragile"})

    assert compares(Operator.CONTAINS, tags, "launch")
    assert compares(Operator.CONTAINS_ANY, tags, "sale", "fragile")
    assert not compares(Operator.CONTAINS_ANY, frozenset(), "sale", "fragile")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (All((STORE, HIGH_VALUE)), [True, False, False, False]),
        (Any((STORE, HIGH_VALUE)), [True, True, True, False]),
        (NoneOf((STORE, HIGH_VALUE)), [False, False, False, True]),
        (Always(), [True, True, True, True]),
    ],
)
def test_groups_are_true_if_all_any_or_none_of_their_parts_are(condition: Condition, expected: list[bool]) -> None:
    cases = [("store", 1000.0), ("store", 999.0), ("warehouse", 1000.0), ("warehouse", 999.0)]

    assert [holds(condition, {"location.type": kind, "order.value": value}) for kind, value in cases] == expected


def test_none_is_true_if_the_fact_is_unknown() -> None:
    assert holds(NoneOf((STORE,)), {})


def test_a_comparison_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the comparison of 'order\.value' has no value"):
        Comparison("order.value", Operator.IN, ())


def test_comparisons_are_listed_in_written_order() -> None:
    assert list(comparisons(All((HIGH_VALUE, NoneOf((Any((STORE,)), Always())))))) == [HIGH_VALUE, STORE]
