"""The JSON Schemas accept and refuse rule files as the reader does, as far as a schema can."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from policies.facts.fact_table import FACTS, RulePlace, fact_names
from policies.schema.rule_schema import SCHEMAS
from policies.source.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode, UnreadableFile, parse
from tests.policies.reading.test_rules_reader import BUFFERS, CASES, CHANNEL, EXPOSURE, ROUTING
from tools import schema as tool

RULES = Path(__file__).parents[3] / "rules"
SUITE = "rules_test"

# Problems that only the reader can find, from other files, other rules, the YAML syntax or an analysis of conditions.
BEYOND_A_SCHEMA = {
    *("duplicate-key", "duplicate-name", "duplicate-position", "duplicate-settings", "no-such-time", "never-in-force"),
    *("no-default-policy", "no-default-exception", "no-next-policy"),
    *("always-true", "contradiction", "never-fires", "no-usable-location", "shadowed-rule"),
    *("alias", "tag", "not-yaml", "not-utf-8", "too-deep", "empty-file", "unprintable"),
}


def plain(node: Node) -> object:
    """The node as editors read it, by YAML 1.2: unquoted numbers, true and false are not texts."""
    match node:
        case SequenceNode(items):
            return [plain(item) for item in items]
        case MappingNode(entries):
            return {key: plain(value) for key, (_, value) in entries.items()}
        case ScalarNode(plain=False, text=text):
            return text
        case ScalarNode(text="true" | "false" as text):
            return text == "true"
        case _:
            return None if node.is_empty else number_or_text(node.text)


def number_or_text(text: str) -> object:
    if re.fullmatch("-?(0|[1-9][0-9]*)", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?(0|[1-9][0-9]*)\.[0-9]+", text) else text


@cache
def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(SCHEMAS[name]())


def messages(name: str, content: bytes) -> list[str]:
    node, _ = parse("a.yaml", content)
    return [error.message for error in validator(name).iter_errors(plain(node))]


def schema_of(path: Path) -> str | None:
    """The name of the schema for a file."""
    kind = re.search(rb"^kind: (\w+)", path.read_bytes(), re.MULTILINE)
    if path.stem == "fixtures_test":
        return "fixtures_test"
    if path.stem.endswith("_test"):
        return SUITE
    return kind[1].decode() if kind and kind[1].decode() in SCHEMAS else None


def expected_codes(case: Path) -> set[str]:
    expected = case.with_suffix(".txt") if case.parent == CASES else case.parent.with_suffix(".txt")
    text = expected.read_text(encoding="utf-8") if expected.exists() else ""
    return set(re.findall(r"^\S+: .* \[([a-z0-9-]+)\]$", text, re.MULTILINE))


ALL = [(path, name) for path in sorted(RULES.rglob("*.yaml")) if (name := schema_of(path))]
BAD = [(path, name) for path in sorted(CASES.rglob("*.yaml")) if (name := schema_of(path)) and expected_codes(path)]


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_a_valid_json_schema(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name]())


@pytest.mark.parametrize(("path", "name"), ALL, ids=lambda value: value.name if isinstance(value, Path) else "")
def test_the_shipped_rules_and_their_tests_match_their_schemas(path: Path, name: str) -> None:
    assert messages(name, path.read_bytes()) == []


@pytest.mark.parametrize(("path", "name"), ALL, ids=lambda value: value.name if isinstance(value, Path) else "")
def test_the_first_line_of_a_shipped_file_names_its_schema(path: Path, name: str) -> None:
    first, _, _ = path.read_text(encoding="utf-8").partition("\n")
    mark, _, place = first.partition("=")

    assert mark == "# yaml-language-server: $schema"
    assert (path.parent / place).resolve() == tool.FOLDER / f"{name}.schema.json"


@pytest.mark.parametrize(
    ("name", "content"),
    [("exposure", EXPOSURE), ("buffer", BUFFERS), ("buffer", CHANNEL), ("routing", ROUTING)],
    ids=["exposure", "buffer", "channel", "routing"],
)
def test_files_of_every_kind_match_their_schema(name: str, content: bytes) -> None:
    assert messages(name, content) == []


@pytest.mark.parametrize(("path", "name"), BAD, ids=lambda value: value.stem if isinstance(value, Path) else "")
def test_bad_files_fail_if_a_schema_can_find_the_problem(path: Path, name: str) -> None:
    try:
        errors = messages(name, path.read_bytes())
    except UnreadableFile:
        return

    # A case of several files has its problem in one of them.
    if path.parent == CASES:
        assert bool(errors) is bool(expected_codes(path) - BEYOND_A_SCHEMA)


def test_a_schema_can_find_the_problem_of_at_least_ten_bad_files() -> None:
    assert sum(bool(expected_codes(path) - BEYOND_A_SCHEMA) for path, _ in BAD) >= 10


@pytest.mark.parametrize(
    ("when", "good"),
    [
        ("{location.type: store}", True),
        ("{location.type: [store, warehouse], stock.on_hand: {at_least: 2, less_than: 9}}", True),
        ("{location.country: NO, product.sku: 1234, product.brand: true}", True),
        ("{product.tags: {contains_any: [sale]}, product.velocity_per_day.known: false}", True),
        ("{any: [{all: [{location.type: store}]}, {none: [{channel.kind: pos}]}]}", True),
        ("{}", False),
        ("{location.type: shop}", False),
        ("{location.typ: store}", False),
        ("{plan.shipment_count: 2}", False),
        ("{product.tags: sale}", False),
        ("{stock.on_hand: {at_last: 5}}", False),
        ('{stock.on_hand: {at_most: "5"}}', False),
        ("{stock.count_confidence: {less_than: 90}}", False),
        ("{location.offers_pickup: yes}", False),
        ("{any: []}", False),
        ("{any: [{location.type: shop}]}", False),
    ],
)
def test_a_schema_accepts_the_conditions_that_the_reader_accepts(when: str, good: bool) -> None:
    file = f"kind: exposure\nname: one\nrules: [{{name: a, when: {when}, block: no}}]\n"

    assert (messages("exposure", file.encode()) == []) is good


def test_a_schema_offers_exactly_the_facts_that_are_known_in_a_place() -> None:
    defined = SCHEMAS["exposure"]()["$defs"]
    assert isinstance(defined, dict)
    offered = {name for name in defined["condition_in_exposure"]["properties"] if name in FACTS}

    assert offered == set(fact_names(RulePlace.EXPOSURE))


def test_a_suite_with_a_misspelled_key_fails() -> None:
    suite = (RULES / "buffers" / "stores_test.yaml").read_bytes()

    assert messages(SUITE, suite.replace(b"available: 3", b"availble: 3", 1))
    assert messages(SUITE, suite.replace(b"because:", b"becaus:", 1))
    assert messages(SUITE, suite.replace(b"type: store", b"type: shop", 1))


def test_the_generated_schema_files_are_up_to_date() -> None:
    assert tool.check() is None
