"""Lint finds only rules that can never have an effect: no context contradicts a finding."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import combinations, product

import pytest
from hypothesis import given, settings, strategies as st

from policies.engine.conditions import All, Any, Comparison, Condition, NoneOf, Operator, comparisons, holds
from policies.engine.satisfiability import Satisfiability, StepBudget
from policies.facts.fact_table import RulePlace, Value, known_facts
from policies.linting.findings import condition_text
from policies.reading.rules_reader import Reading, read

DEFAULT = "{name: everything-else, position: 1000, rank: [nearest]}"

# A value of every class that the conditions below can distinguish, so that trying them all is exact.
VALUES: Mapping[str, tuple[Value | None, ...]] = {
    "location.type": (None, "store", "warehouse", "supplier", "pop-up"),
    "location.offers_pickup": (None, False, True),
    "location.region": (None, "NE", "SW", "another"),
    "location.tags": (None, *(frozenset(tags) for size in range(4) for tags in combinations("xyz", size))),
    "location.handling_minutes": (None, 0, 2.5, 5, 7),
}
KNOWN_OF_A_LOCATION = known_facts(RulePlace.EXPOSURE)
BOUNDS = (0.0, 5.0)
MEASURES = (Operator.AT_LEAST, Operator.AT_MOST, Operator.MORE_THAN, Operator.LESS_THAN, Operator.IS, Operator.IS_NOT)


@st.composite
def comparison(draw: st.DrawFn) -> Comparison:
    fact = draw(st.sampled_from(sorted(VALUES)))
    if draw(st.integers(0, 5)) == 0:
        return Comparison(fact, Operator.KNOWN, (draw(st.booleans()),))
    match fact:
        case "location.handling_minutes":
            return Comparison(fact, draw(st.sampled_from(MEASURES)), (draw(st.sampled_from(BOUNDS)),))
        case "location.offers_pickup":
            return Comparison(fact, draw(st.sampled_from((Operator.IS, Operator.IS_NOT))), (draw(st.booleans()),))
        case "location.tags":
            return Comparison(fact, Operator.CONTAINS_ANY, draw(some_of(("x", "y", "z"))))
        case _:
            words = ("store", "warehouse", "supplier", "pop-up") if fact == "location.type" else ("NE", "SW")
            return Comparison(fact, draw(st.sampled_from((Operator.IN, Operator.NOT_IN))), draw(some_of(words)))


def some_of(words: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(words), min_size=1, unique=True).map(tuple)


def groups(parts: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    entries = st.lists(parts, min_size=1, max_size=3).map(tuple)
    return st.one_of(entries.map(All), entries.map(Any), entries.map(NoneOf))


CONDITIONS = st.recursive(comparison(), groups, max_leaves=6)


def contexts(*conditions: Condition, known: frozenset[str] = frozenset()) -> Iterator[dict[str, Value | None]]:
    """One context for each combination of values that the conditions can distinguish. `known` facts are not None."""
    facts = sorted({comparison.fact for condition in conditions for comparison in comparisons(condition)})
    values = ([value for value in VALUES[fact] if value is not None or fact not in known] for fact in facts)
    return (dict(zip(facts, combination, strict=True)) for combination in product(*values))


def exposure(*rules: str) -> Reading:
    listed = "\n".join(f"  - {{name: rule-{number}, when: {when}, block: no}}" for number, when in enumerate(rules))
    routing = f"kind: routing\npolicies: [{DEFAULT}]\n"
    return read({"a.yaml": f"kind: exposure\nname: a\nrules:\n{listed}\n".encode(), "b.yaml": routing.encode()})


def routing(*policies: str, last: str = DEFAULT) -> Reading:
    listed = "\n".join(f"  - {policy}" for policy in (*policies, last))
    return read({"routing.yaml": f"kind: routing\npolicies:\n{listed}\n".encode()})


def codes(reading: Reading) -> list[str]:
    return [problem.code for problem in reading.problems]


@settings(max_examples=300, deadline=None)
@given(CONDITIONS, st.sampled_from([frozenset[str](), KNOWN_OF_A_LOCATION]))
def test_a_condition_is_impossible_exactly_if_no_context_makes_it_true(
    condition: Condition, known: frozenset[str]
) -> None:
    checker = Satisfiability([condition], StepBudget(), known)
    disjunction = checker.disjunction(condition)
    answers = {holds(condition, context) for context in contexts(condition, known=known)}

    assert checker.can_hold([disjunction]) is (True in answers)
    assert checker.can_hold([disjunction.opposite]) is (False in answers)


@pytest.mark.thorough
@settings(max_examples=300, deadline=None)
@given(st.lists(CONDITIONS, min_size=2, max_size=3))
def test_a_rule_is_covered_exactly_if_it_never_fires_alone(conditions: list[Condition]) -> None:
    checker = Satisfiability(conditions, StepBudget())
    first, *later = (checker.disjunction(condition) for condition in conditions)
    alone = any(
        holds(conditions[0], context) and not any(holds(other, context) for other in conditions[1:])
        for context in contexts(*conditions)
    )

    assert checker.can_hold([first, *(rule.opposite for rule in later)]) is alone


@settings(max_examples=120, deadline=None)
@given(st.lists(CONDITIONS, min_size=2, max_size=4))
def test_a_reported_conflict_is_real_and_minimal(conditions: list[Condition]) -> None:
    checker = Satisfiability(conditions, StepBudget())
    conflict = checker.conflict([checker.disjunction(condition) for condition in conditions])

    for removed in (None, *conflict):
        members = [conditions[number] for number in conflict if number != removed]
        possible = any(all(holds(member, context) for member in members) for context in contexts(*members))
        assert possible is (removed is not None or not conflict)


@settings(max_examples=100, deadline=None)
@given(CONDITIONS)
def test_a_rule_that_can_never_fire_is_refused_and_only_a_condition_that_is_always_true_is_reported_as_such(
    condition: Condition,
) -> None:
    answers = {holds(condition, context) for context in contexts(condition, known=KNOWN_OF_A_LOCATION)}
    reported = set(codes(exposure("{" + condition_text(condition) + "}")))

    assert bool(reported & {"always-true"}) <= (answers == {True})
    assert ("contradiction" in reported or "never-fires" in reported) >= (answers == {False})


def test_a_comparison_beyond_the_bounds_of_a_fact_is_found() -> None:
    assert codes(exposure("{stock.count_confidence: {less_than: 0}}")) == ["never-fires"]
    assert codes(exposure("{stock.count_confidence: {at_most: 0}}")) == []


def test_lint_does_not_assume_that_counts_are_whole_numbers() -> None:
    assert codes(exposure("{stock.on_hand: {more_than: 2, less_than: 3}}")) == []


def test_lint_assumes_that_a_fact_may_be_unknown_unless_it_is_always_known_there() -> None:
    any_method = "{any: [{order.method: ship}, {order.method: [pickup, transfer]}]}"
    plan = f"{{name: p, position: 1, rank: [nearest], applies_to: {{channel.kind: pos}}, review: [{{name: a, when: {any_method}}}]}}"  # noqa: E501

    assert codes(exposure(any_method)) == []
    assert codes(routing(plan)) == ["always-true"]


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("{stock.age_minutes: {less_than: 0}}", "never-fires"),
        ("{stock.age_minutes: {at_most: 0}}", None),
        ("{product.price: {at_most: -1}}", "never-fires"),
        ("{order.unit_count: {less_than: 1}}", "never-fires"),
        ("{location.distance_km: {more_than: 25000}}", "never-fires"),
        ("{location.distance_km: {more_than: 19000}}", None),
        # More may have been promised or shipped than was counted.
        ("{stock.available: {less_than: 0}}", None),
        ("{location.type.known: false}", "never-fires"),
        ("{location.region.known: false}", None),
        ("{location.tags.known: false}", "never-fires"),
        ("{product.has_image.known: false}", "never-fires"),
        ("{channel.kind.known: true, location.type: store}", None),
        ("{location.country: USA}", "unknown-value"),
        ("{destination.country: [US, no]}", "unknown-value"),
        ("{location.country: {is_not: US}}", None),
    ],
)
def test_a_condition_that_no_value_of_its_fact_meets_is_found(condition: str, code: str | None) -> None:
    assert codes(exposure(condition)) == ([code] if code else [])


def test_an_exception_may_have_no_channel_and_no_location() -> None:
    rules = """\
kind: exception
rules:
  - {name: of-no-channel, position: 1, when: {channel.id.known: false, location.type.known: false}, do: review,
     owner: desk, due_in: 1d}
  - {name: rest, position: 2, do: review, owner: desk, due_in: 1d}
"""
    routing_file = f"kind: routing\npolicies: [{DEFAULT}]\n"

    assert codes(read({"e.yaml": rules.encode(), "r.yaml": routing_file.encode()})) == []


def test_a_policy_that_excludes_every_type_of_location_is_found() -> None:
    types = "[store, warehouse, supplier, pop-up]"
    policy = f"{{name: p, position: 1, rank: [nearest], exclude: [{{name: a, when: {{location.type: {types}}}}}]}}"

    assert "no-usable-location" in codes(routing(policy))


def test_an_exposure_rule_is_not_covered_by_a_rule_of_another_file() -> None:
    rule = "kind: exposure\nname: {}\nrules: [{{name: {}, when: {{channel.kind: pos}}, block: no}}]\n"
    files = {f"{name}.yaml": rule.format(name, name).encode() for name in ("one", "two")}

    assert codes(read({**files, "r.yaml": f"kind: routing\npolicies: [{DEFAULT}]\n".encode()})) == []


def test_of_two_rules_that_block_the_same_the_later_one_is_reported() -> None:
    (problem,) = exposure("{channel.kind: {not_in: [pos]}}", "{channel.kind: {is_not: pos}}").problems

    assert (problem.code, problem.line) == ("shadowed-rule", 5)


def test_a_policy_that_passes_orders_on_shadows_no_other() -> None:
    first, second = (f"{{name: p{number}, position: {number}, rank: [nearest], otherwise: next}}" for number in (1, 2))

    assert codes(routing(first, second)) == []
    assert codes(routing(first.replace("next", "exception"), second)) == ["shadowed-rule"]


def test_the_last_policy_may_be_a_default_that_no_order_reaches() -> None:
    assert codes(routing("{name: everything, position: 1, rank: [nearest]}")) == []


def test_several_policies_together_can_shadow_another() -> None:
    applies = ("order.method.known: true", "order.method.known: false", "channel.kind: pos")
    policies = (
        f"{{name: p{number}, position: {number}, rank: [nearest], applies_to: {{{condition}}}}}"
        for number, condition in enumerate(applies)
    )

    (problem,) = routing(*policies).problems
    assert problem.message == "no order reaches policy 'p2': policies 'p0' and 'p1' take all its orders first"


def test_a_delivery_rule_that_never_decides_is_found() -> None:
    rules = """\
kind: delivery
rules:
  - {name: abroad, position: 10, when: {location.same_country: false}, service: air, transit_days: 5}
  - {name: rest, position: 20, service: ground, transit_days: 3}
  - {name: far, position: 30, when: {location.distance_km: {more_than: 900}}, service: ground, transit_days: 4}
"""
    reading = read({"d.yaml": rules.encode(), "r.yaml": f"kind: routing\npolicies: [{DEFAULT}]\n".encode()})

    assert [(problem.code, problem.line) for problem in reading.problems] == [("shadowed-rule", 5)]
    assert reading.problems[0].message == "rule 'far' never decides: rule 'rest' decides all its cases first"


def test_an_exception_rule_that_never_decides_is_found() -> None:
    rule = "{name: NAME, position: POSITION, WHEN do: review, owner: desk, due_in: 1d}"
    kinds = ["exception.kind: [oversell, rejected]", "exception.kind: rejected, channel.kind: social", ""]
    rules = [
        rule.replace("NAME", f"r{number}")
        .replace("POSITION", str(number))
        .replace("WHEN", f"when: {{{when}}}," * bool(when))
        for number, when in enumerate(kinds)
    ]
    files = {
        "e.yaml": f"kind: exception\nrules: [{', '.join(rules)}]\n",
        "r.yaml": f"kind: routing\npolicies: [{DEFAULT}]\n",
    }

    assert codes(read({name: text.encode() for name, text in files.items()})) == ["shadowed-rule"]


def test_a_policy_that_ends_before_another_starts_does_not_shadow_it() -> None:
    rule = "{name: p1, position: 1, until: 2026-01-01, rank: [nearest]}"

    assert codes(routing(rule, "{name: p2, position: 2, from: 2026-02-01, rank: [nearest]}")) == []
    assert codes(routing(rule, "{name: p2, position: 2, until: 2026-01-01, rank: [nearest]}")) == ["shadowed-rule"]


def test_a_problem_of_time_bounds_without_a_condition_has_a_line() -> None:
    policy = "{name: p1, position: 1, until: 2026-01-01, rank: [nearest], exclude: [{name: a, from: 2026-01-01}]}"
    (problem,) = routing(policy).problems

    assert (problem.code, problem.line) == ("contradiction", 3)


def test_a_policy_may_use_no_location_only_if_an_exclude_rule_without_when_says_so() -> None:
    policy = "{name: not-yet, position: 1, applies_to: {channel.kind: b2b}, rank: [nearest], exclude: [EXCLUDE]}"

    assert codes(routing(policy.replace("EXCLUDE", "{name: nobody}"))) == []
    assert codes(routing(policy.replace("EXCLUDE", "{name: nobody, when: {channel.kind: b2b}}"))) == [
        "no-usable-location"
    ]


def test_conditions_count_as_possible_when_the_budget_is_spent() -> None:
    comparisons_apart = [Comparison("location.type", Operator.IS, (word,)) for word in ("store", "warehouse")]
    checker = Satisfiability(comparisons_apart, StepBudget(0))

    assert checker.can_hold([checker.disjunction(comparison) for comparison in comparisons_apart])


def test_thousands_of_rules_are_linted_in_bounded_time() -> None:
    rules = [f"{{product.sku: S{number}, stock.available: {{at_most: {number % 50}}}}}" for number in range(1_000)]
    started = time.thread_time()

    assert codes(exposure(*rules)) == []
    assert time.thread_time() - started < 10


def test_rules_that_overlap_in_every_way_are_linted_in_bounded_time() -> None:
    facts = ("order.value", "order.unit_count", "order.line_count", "order.priority")
    policies = [
        f"{{name: p{number}, position: {number}, rank: [nearest], applies_to: "
        f"{{{', '.join(f'{fact}: {{at_least: {number * step % 5}, at_most: {5 + number * step % 7}}}' for fact, step in zip(facts, (3, 5, 7, 11), strict=True))}}}}}"  # noqa: E501
        for number in range(250)
    ]
    started = time.thread_time()

    assert set(codes(routing(*policies))) <= {"shadowed-rule"}
    assert time.thread_time() - started < 10
