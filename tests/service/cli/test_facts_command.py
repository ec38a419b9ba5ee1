"""`truestock facts`: the list of facts, their values and comparisons."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from policies.facts.fact_table import FACTS, RulePlace
from policies.schema.glossary import PLACES, places, plain
from service.cli.main import main


def printed(capsys: pytest.CaptureFixture[str], arguments: Sequence[str], code: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["facts", *arguments])
    assert ended.value.code == code
    return capsys.readouterr()


def test_every_fact_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = printed(capsys, [])

    assert FACTS.keys() <= {line.split()[0] for line in out.splitlines() if line.strip()}


def test_a_fact_is_listed_with_its_values_and_comparisons(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = printed(capsys, ["product.stat"])
    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in out.splitlines() if line.strip()]
    known_in = plain(places(FACTS["product.status"]))

    assert rows[2] == [
        "product.status",
        "active, draft, discontinued",
        "status of the product in the catalog",
        known_in,
    ]
    assert rows[-1] == ["a word", "is, in, is_not, not_in"]
    assert err == "1 fact. Rules can also test whether a fact is known, such as product.status.known.\n"


def test_facts_are_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = printed(capsys, ["stock.count_confidence", "--json"])

    assert json.loads(out) == [
        {
            "name": "stock.count_confidence",
            "type": "number",
            "help": FACTS["stock.count_confidence"].help,
            "unit": "0 to 1",
            "allowed": [],
            "comparisons": ["is", "in", "is_not", "not_in", "at_least", "at_most", "more_than", "less_than"],
            "places": ["exposure", "location_buffer"],
        }
    ]


def test_a_prefix_without_facts_is_reported_with_the_closest_name(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = printed(capsys, ["locaton"], code=1)

    assert (out, err) == ("", "there is no fact whose name starts with 'locaton'. did you mean 'location'?\n")


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = printed(capsys, ["--help"])

    assert "truestock facts location" in out


def test_every_rule_place_has_a_name_for_planners() -> None:
    assert PLACES.keys() == set(RulePlace)
