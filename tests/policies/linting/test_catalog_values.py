"""Rules held against the catalog: a warning for each value that it does not have, and never anything else."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from policies.facts.fact_table import FACTS, FactType
from policies.linting.catalog_values import KnownValues, by_fact, catalog_warnings, named_values
from policies.reading.rules_reader import read
from policies.source.problems import Problem

REST = "kind: routing\npolicies:\n  - {name: rest, position: 1000, rank: [nearest]}\n"
KNOWN: Mapping[str, tuple[str, ...]] = {
    "channel.id": ("tiktok_shop", "shopify", "pos"),
    "channel.kind": ("social", "web", "pos"),
    "location.id": tuple(
        f"store-{city}" for city in ("austin", "denver", "oslo", "paris", "rome", "kyiv", "bern", "riga", "lima")
    ),
    "location.tags": ("curbside",),
    "location.region": ("CO", "TX"),
    "product.tags": (),
    "destination.region": ("CO", "TX"),
}


def warnings(*files: str, known: Mapping[str, tuple[str, ...]] = KNOWN) -> tuple[Problem, ...]:
    contents = {f"rules/{number}.yaml": text.encode() for number, text in enumerate((REST, *files))}
    reading = read(contents)
    assert reading.policy_set is not None, reading.problems
    named = named_values(reading.policy_set)
    found = {fact: KnownValues.of(values, known[fact]) for fact, values in by_fact(named).items() if fact in known}
    return catalog_warnings(named, contents, found)


def buffer(when: str) -> str:
    rule = f"{{name: two, when: {when}, hold_back: {{units: 2}}}}"
    return f"kind: buffer\nname: floor\nscope: location\nrules:\n  - {rule}\n"


def test_a_warning_has_position_rule_value_and_the_nearest_known_value() -> None:
    (warning,) = warnings(buffer("{channel.id: tiktok, location.id: store-oslo}"))

    assert (warning.file, warning.line, warning.column) == ("rules/1.yaml", 5, 36)
    assert (warning.end_line, warning.end_column) == (5, 42)
    assert warning.message == "rule 'two' names 'tiktok' as channel.id, but no channel has this id"
    assert warning.help.startswith("did you mean 'tiktok_shop'? Known: pos, shopify, tiktok_shop.")


@pytest.mark.parametrize(
    ("when", "unknown"),
    [
        ("{channel.id: [shopify, tiktok, Shopify]}", ["tiktok", "Shopify"]),
        ("{channel.id: {is_not: tiktok}}", ["tiktok"]),
        ("{location.id: {not_in: [store-oslo, denver]}}", ["denver"]),
        ("{none: [{any: [{location.tags: {contains_any: [curbside, kerbside]}}]}]}", ["kerbside"]),
        ("{product.tags: {contains: fragile}}", ["fragile"]),
        ("{destination.region: Colorado}", ["Colorado"]),
        ("{channel.id.known: true, order.tags: {contains: gift}, order.value: {at_least: 5}}", []),
        # A list of a closed set of words may look ahead.
        ("{channel.kind: [social, marketplace]}", []),
        ("{channel.kind: {not_in: [marketplace]}}", []),
        ("{channel.kind: [b2b, marketplace]}", ["b2b", "marketplace"]),
        # Nothing is known of brands.
        ("{product.brand: nobody}", []),
    ],
)
def test_every_unknown_value_of_a_condition_is_named_once(when: str, unknown: list[str]) -> None:
    assert [warning.message.split("'")[3] for warning in warnings(buffer(when))] == unknown


def test_conditions_of_every_kind_of_rule_are_held_against_the_catalog() -> None:
    routing = """\
kind: routing
policies:
  - name: first
    position: 1
    applies_to: {channel.id: a}
    only: {location.id: b}
    exclude: [{name: no, when: {location.tags: {contains: c}}}]
    rank: [nearest, {prefer: {when: {location.region: d}}}]
    review: [{name: look, when: {destination.region: e}}]
"""
    rule = "kind: {}\n{}rules:\n  - {{name: r, {}when: {{channel.id: {}}}, {}}}\n"
    files = (
        routing,
        rule.format("exposure", "name: x\n", "", "f", "block: no"),
        rule.format("delivery", "", "position: 1, ", "g", "service: ground, transit_days: 1"),
        rule.format("exception", "", "position: 1, ", "h", "do: review, owner: desk, due_in: 1d")
        + "  - {name: all, position: 9, do: review, owner: desk, due_in: 1d}\n",
        rule.format("buffer", "name: y\nscope: channel\n", "", "i", "cap: 3"),
    )

    found = warnings(*files)

    assert sorted(warning.message.partition(" names ")[2][1] for warning in found) == list("abcdefghi")
    lines = {
        path: text.splitlines() for path, text in zip([f"rules/{n}.yaml" for n in range(1, 6)], files, strict=True)
    }
    assert all(lines[w.file][w.line - 1][w.column - 1] == w.message.partition(" names ")[2][1] for w in found)


def test_every_fact_of_words_is_checked_or_in_no_catalog() -> None:
    in_no_catalog = {"order.method", "order.tags", "product.status", "location.status", "destination.postal_code"}
    in_no_catalog |= {"exception.kind", "cancellation.fault"}
    words = {fact.name for fact in FACTS.values() if fact.type in (FactType.TEXT, FactType.TEXTS)}

    assert {fact.name for fact in FACTS.values() if fact.absent} == words - in_no_catalog
