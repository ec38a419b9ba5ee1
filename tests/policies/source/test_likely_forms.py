"""The right forms of values: what they are for what people write, and that the reader of rules takes each."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings, strategies as st

from policies.engine.conditions import Always
from policies.facts.fact_table import RulePlace
from policies.reading.delivery_rules import weekdays
from policies.reading.rules_reader import read
from policies.reading.time_bounds import bounded_in_time
from policies.source import likely_forms
from policies.source.rule_file import RuleFile
from policies.source.yaml_nodes import MappingNode, Node, parse

Form = Callable[[str], str | None]


@pytest.mark.parametrize(
    ("form", "text", "right"),
    [
        (likely_forms.number, "$4.90", "4.90"),
        (likely_forms.number, "1,000", "1000"),
        (likely_forms.number, "1.000,50", "1000.50"),
        (likely_forms.number, "4,90 EUR", "4.90"),
        (likely_forms.number, ".5", "0.5"),
        (likely_forms.number, "+5", "5"),
        (likely_forms.number, "5 boxes", None),
        (likely_forms.number, "1,2,3", None),
        (likely_forms.number, "five", None),
        (likely_forms.percent, "10 %", "10"),
        (likely_forms.percent, "10", None),
        (likely_forms.duration, "2 hours", "2h"),
        (likely_forms.duration, "1h 30min", "90m"),
        (likely_forms.duration, "1,5 days", "36h"),
        (likely_forms.duration, "PT2H", "2h"),
        (likely_forms.duration, "90s", None),
        (likely_forms.duration, "0h", None),
        (likely_forms.duration, "2 hours late", None),
        (likely_forms.flag, "Yes", "true"),
        (likely_forms.flag, "maybe", None),
        (likely_forms.comparison, ">= 4", "{at_least: 4}"),
        (likely_forms.comparison, "<1,000", "{less_than: 1000}"),
        (likely_forms.comparison, "4+", "{at_least: 4}"),
        (likely_forms.comparison, "4..9", "{at_least: 4, at_most: 9}"),
        (likely_forms.comparison, ">= many", None),
        (likely_forms.condition, "location.type != store", "{location.type: {is_not: store}}"),
        (likely_forms.condition, "if it rains", None),
        (likely_forms.words, "web, pos", "[web, pos]"),
        (likely_forms.words, "web,", None),
        (likely_forms.days, "Sat-Mon", "[sat, sun, mon]"),
        (likely_forms.days, "Tuesdays and Thu.", "[tue, thu]"),
        (likely_forms.days, "someday", None),
        (likely_forms.clock, "5.30 pm", "17:30"),
        (likely_forms.clock, "12am", "00:00"),
        (likely_forms.clock, "0900", "09:00"),
        (likely_forms.clock, "25:00", None),
        (likely_forms.clock, "13pm", None),
        (likely_forms.hours, "9 - 17:30", '"09:00-17:30"'),
        (likely_forms.hours, "all day", None),
        (likely_forms.calendar_day, "27 Nov 2026", "2026-11-27"),
        (likely_forms.calendar_day, "Nov 27, 2026", "2026-11-27"),
        (likely_forms.calendar_day, "27/11/2026", "2026-11-27"),
        (likely_forms.calendar_day, "3/4/2026", None),
        (likely_forms.calendar_day, "31.02.2026", None),
        (likely_forms.moment, "2026-11-27 9am", "2026-11-27T09:00"),
        (likely_forms.moment, "2026-11-27T09:30:00.000Z", "2026-11-27T09:30Z"),
        (likely_forms.moment, "tomorrow", None),
        (likely_forms.name, "Two on the Floor", "two-on-the-floor"),
        (likely_forms.name, "2nd floor", None),
    ],
)
def test_what_people_write_has_a_right_form_or_none(form: Form, text: str, right: str | None) -> None:
    assert form(text) == right


def test_a_duration_is_a_number_of_the_unit_that_is_asked_for() -> None:
    units = ("minutes", "days", "units", "")

    assert [likely_forms.number("2h", unit) for unit in units] == ["120", "0.083333", None, None]
    assert likely_forms.number("5 units", "units") == "5"
    assert likely_forms.number("25km", "kilometers") == "25"


def node_of(text: str) -> Node:
    root, _ = parse("f.yaml", f"value: {text}\n".encode())
    assert isinstance(root, MappingNode)
    return root.entries["value"][1]


def is_read(read_value: Callable[[RuleFile, Node], object], text: str) -> bool:
    file = RuleFile("f.yaml")
    return read_value(file, node_of(text)) is not None and not file.problems


def during(file: RuleFile, node: Node, key: str) -> object:
    hours = MappingNode({key: (node, node)}, 1, 1, 1, 2)  # type: ignore[dict-item]
    return bounded_in_time(file, {"during": hours}, Always(), "a rule", RulePlace.REVIEW)


READERS: dict[Form, Callable[[RuleFile, Node], object]] = {
    likely_forms.number: lambda file, node: file.number(node, "x"),
    likely_forms.percent: lambda file, node: file.number(node, "x"),
    likely_forms.duration: lambda file, node: file.seconds(node, "x", at_most_days=10_000_000),
    likely_forms.flag: lambda file, node: file.flag(node, "x"),
    likely_forms.name: lambda file, node: file.name(node, "x"),
    likely_forms.days: lambda file, node: weekdays(file, node, "x"),
    likely_forms.hours: lambda file, node: during(file, node, "hours"),
    likely_forms.moment: lambda file, node: bounded_in_time(file, {"from": node}, Always(), "r", RulePlace.REVIEW),
}
WORDS = [
    "am",
    "pm",
    "days",
    "hours",
    "min",
    "mon",
    "Friday",
    "sat",
    "Nov",
    "2026",
    "11",
    "to",
    "and",
    "true",
    "No",
    "EUR",
    "é",
]
PIECES = st.sampled_from([*"0123456789" * 2, *".,:-/ +%$hdmTZa", *WORDS])


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=7).map("".join))
def test_every_right_form_is_one_that_the_reader_takes(text: str) -> None:
    for form, read_value in READERS.items():
        right = form(text)
        if right is not None:
            assert is_read(read_value, right), (form, text, right)


def test_the_right_forms_of_a_rule_file_make_it_readable() -> None:
    wrong = """\
kind: buffer
name: b
scope: channel
combine: max
rules:
  - {name: tenth, when: {stock.available: ">= 4"}, hold_back: 10%}
  - {name: sales, hold_back: {expected_sales: 90 minutes}, during: 9am-5pm}
"""
    right = wrong.replace("max", "largest").replace('">= 4"', "{at_least: 4}").replace("10%", "{percent: 10}")
    right = right.replace("90 minutes", "{during: 90m, service_level: 0.95}").replace(
        "9am-5pm", '{hours: "09:00-17:00"}'
    )
    routing = b"kind: routing\npolicies:\n  - {name: rest, position: 1000, rank: [nearest]}\n"

    helps = [problem.help for problem in read({"b.yaml": wrong.encode(), "r.yaml": routing}).problems]

    assert [help.split(" Keys")[0].split(" 'combine'")[0] for help in helps] == [
        "write largest.",
        "write stock.available: {at_least: 4}.",
        "write {percent: 10}.",
        "write {during: 90m, service_level: 0.95}.",
        'write {hours: "09:00-17:00"}.',
    ]
    assert read({"b.yaml": right.encode(), "r.yaml": routing}).problems == ()
