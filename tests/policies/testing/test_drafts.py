"""Drafted tests: they pass, make their rules count as tested, and never take the name of a file that exists."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from policies.reading.rules_reader import is_rule_file, read
from policies.source.problems import Source, render
from policies.testing.drafts import Drafts, draft_tests
from policies.testing.suites import run_suites
from tests.conftest import RULES, seeds
from tests.random_rules import random_rules

REST = "kind: routing\npolicies:\n  - {name: rest, position: 1000, rank: [nearest]}\n"
OF_EVERY_KIND = {
    "exposure.yaml": """\
kind: exposure
name: x
rules:
  - {name: old, when: {stock.age_minutes: {more_than: 60}, location.type: warehouse}, block: too old}
  - name: odd
    when:
      any: [{product.tags: {contains_any: [frail, heavy]}}, {product.price: {at_least: 500}}]
      none: [{location.tags: {contains: careful}}, {channel.kind: web}]
    block: 'needs care: "frail" # or heavy'
  - {name: unknown, when: {location.handling_minutes.known: false, location.open_now: true}, block: no}
""",
    "buffers.yaml": """\
kind: buffer
name: b
scope: location
rules:
  - {name: cover, when: {stock.days_of_cover: {less_than: 2}, stock.on_hand: {more_than: 20}}, hold_back: {units: 2}}
  - {name: far, when: {location.distance_km: {more_than: 15000}, location.same_country: false}, hold_back: {units: 2}}
  - {name: large, when: {order.unit_count: {at_least: 7}, order.tags: {contains: "a: b"}}, hold_back: {units: 2}}
""",
    "channel.yaml": """\
kind: buffer
name: c
scope: channel
rules:
  - {name: close, when: {channel.cancellation_headroom: {at_most: 0.3}, channel.id: amazon}, cap: 3}
  - {name: night, from: 2027-03-01, during: {days: [sun], hours: "22:05-22:20"}, hold_back: {percent: 10}}
""",
    "routing.yaml": """\
kind: routing
policies:
  - name: gifts
    position: 10
    applies_to: {order.tags: {contains: gift}}
    only: {location.tags: {contains: wraps}}
    exclude:
      - {name: closed-now, when: {location.status: [paused, stocktake]}}
      - {name: not-there, when: {location.serves_destination: false}}
    rank: [nearest]
    otherwise: next
  - name: dear
    position: 20
    applies_to: {order.value: {at_least: 1000}, destination.country: "NO"}
    rank: [nearest]
    review:
      - {name: split, when: {plan.shipment_count: {at_least: 3}, plan.distance_km: {more_than: 900}}}
      - {name: loss, when: {plan.margin_after_shipping: {less_than: 995}}}
  - {name: rest, position: 1000, rank: [fewest_shipments]}
""",
    "delivery.yaml": """\
kind: delivery
rules:
  - {name: near, position: 1, when: {location.distance_km: {at_most: 15}}, service: bike, cost: {per_shipment: 7.5}}
  - {name: far, position: 2, service: post, transit_days: 3, cost: {per_shipment: 9}}
""",
    "exceptions.yaml": """\
kind: exception
rules:
  - {name: dear, position: 1, when: {order.value: {more_than: 99.5}}, do: hold, owner: desk, due_in: 90m}
  - {name: short, position: 2, when: {exception.kind: [oversell, unfillable]}, do: review, owner: desk, due_in: 2h}
  - {name: rest, position: 3, do: review, owner: desk, due_in: 1d, escalate_to: lead}
""",
}


def drafted(files: Mapping[str, str]) -> Drafts:
    """The drafts for all untested rules. They pass beside the files, and leave only those untested that they name."""
    contents = {f"rules/{name}": text.encode() for name, text in files.items()}
    reading = read(contents)
    assert reading.policy_set is not None, render(reading.problems, {})
    report = run_suites(reading.policy_set, contents)
    untested = {Source(p.file, p.line, p.column) for p in report.problems if p.code == "rule-untested"}

    drafts = draft_tests(reading.policy_set, contents, untested)

    suites = {path: text.encode() for path, text in drafts.suites.items()}
    assert not suites.keys() & contents.keys()
    after = run_suites(reading.policy_set, contents | suites)
    assert [p for p in after.problems if p.code != "rule-untested"] == [], render(after.problems, drafts.suites)
    remaining = {Source(p.file, p.line, p.column) for p in after.problems}
    assert remaining == {entry.rule.source for entry in drafts.undrafted}
    assert {rule.source for rule in drafts.drafted} == untested - remaining
    return drafts


def test_rules_of_every_kind_get_a_test_that_passes() -> None:
    drafts = drafted(OF_EVERY_KIND)

    assert [(entry.rule.title, entry.reason) for entry in drafts.undrafted] == []


def test_a_draft_states_the_case_the_present_result_and_that_a_person_must_confirm_it() -> None:
    rule = "{name: two, when: {location.type: store, channel.kind: social}, hold_back: {units: 2}}"
    files = {"r.yaml": REST, "floor.yaml": f"kind: buffer\nname: f\nscope: location\nrules:\n  - {rule}\n"}

    drafts = drafted(files)

    assert (
        drafts.suites["rules/floor_test.yaml"]
        == """\
# Drafted by `truestock check --draft-tests`. The tests state what the rules do now, not what they should do:
# look each one over, correct it or the rule, and delete the comment above it.
suite: "Drafts for floor.yaml"
now: 2026-01-07T12:00:00Z

locations:
  store: {type: store}

products:
  SKU-1:

tests:
  # To be confirmed by a person: the buffer rule 'two' fires where location.type: store, channel.kind: social.
  - name: "Drafted for the buffer rule 'two'"
    given: {channel: tiktok_shop, product: SKU-1, location: store, available: 10}
    expect: {sellable: 8, held_back: 2, because: [two]}
"""
    )


def test_only_untested_rules_are_drafted_and_into_new_files() -> None:
    two = "{name: two, hold_back: {units: 2}}"
    three = "{name: three, when: {location.type: store}, hold_back: {units: 3}}"
    suite = """\
suite: Floor
now: 2026-11-27T09:00:00Z
locations: {dc: {type: warehouse}}
products: {MUG: }
tests:
  - name: A test
    given: {channel: shopify, product: MUG, location: dc, available: 9}
    expect: {sellable: 7, because: [two]}
"""
    files = {
        "r.yaml": REST,
        "r_test.YAML": suite.replace("suite: Floor", "suite: Other\nrules: all"),
        "floor.yaml": f"kind: buffer\nname: f\nscope: location\nrules: [{two}, {three}]\n",
        "floor_test.yaml": suite,
        "floor_draft_test.yml": suite.replace("suite: Floor", "suite: More\nrules: floor.yaml"),
    }

    drafts = drafted(files)

    assert {rule.name for rule in drafts.drafted} == {"three", "rest"}
    assert drafts.suites.keys() == {"rules/r_draft_test.yaml", "rules/floor_draft_2_test.yaml"}
    assert "rules: floor.yaml" in drafts.suites["rules/floor_draft_2_test.yaml"]


def test_rules_that_ask_for_one_id_with_different_facts_get_suites_of_their_own() -> None:
    rule = "  - {{name: {}, when: {{location.id: austin, location.type: {}}}, hold_back: {{units: 2}}}}\n"
    rules = rule.format("a", "store") + rule.format("b", "warehouse") + rule.format("c", "store")
    files = {"r.yaml": REST, "floor.yaml": f"kind: buffer\nname: f\nscope: location\nrules:\n{rules}"}

    assert len([path for path in drafted(files).suites if "floor" in path]) == 2


def test_a_rule_for_which_no_case_is_found_is_listed_with_the_reason() -> None:
    impossible = """\
kind: routing
policies:
  - name: rest
    position: 10
    rank: [nearest]
    review: [{name: odd, when: {order.value: {more_than: 500}, plan.margin_after_shipping: {less_than: 0}}}]
"""
    (entry,) = drafted({"r.yaml": impossible}).undrafted

    assert entry.rule.title == "the review rule 'odd' of the routing policy 'rest'"
    assert "it fired in none of" in entry.reason


@pytest.mark.parametrize("seed", seeds(2, of_long_tests=20))
def test_random_rules_get_tests_that_pass(seed: int) -> None:
    assert drafted(random_rules(seed)).undrafted == ()


@pytest.mark.long
def test_every_shipped_rule_can_be_drafted() -> None:
    paths = [path for path in RULES.rglob("*.*") if is_rule_file(path.name)]

    drafts = drafted({path.relative_to(RULES).as_posix(): path.read_text() for path in paths})

    assert drafts.undrafted == ()


RULE = "  - {{name: r{0}, position: {0}, when: {{location.id: shop-{0}}}, do: review, owner: desk, due_in: 1h}}\n"
LAST = "  - {name: rest, position: 5000, do: review, owner: desk, due_in: 1h}\n"


def exceptions(count: int) -> dict[str, str]:
    """A folder with this many exception rules before the last one."""
    return {"r.yaml": REST, "e.yaml": f"kind: exception\nrules:\n{''.join(map(RULE.format, range(count)))}{LAST}"}


def test_many_rules_are_drafted_in_several_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.testing.drafts.MAX_DRAFTS", 5)
    files = exceptions(7)

    first = drafted(files)
    second = drafted(files | {path.removeprefix("rules/"): text for path, text in first.suites.items()})

    assert (len(first.drafted), len(first.undrafted)) == (5, 4)
    assert "run it again" in first.undrafted[0].reason
    assert (len(second.drafted), second.undrafted) == (4, ())


@pytest.mark.long
def test_a_rule_after_hundreds_of_others_is_drafted() -> None:
    contents = {f"rules/{name}": text.encode() for name, text in exceptions(400).items()}
    policy_set = read(contents).policy_set
    assert policy_set is not None

    drafts = draft_tests(policy_set, contents, {policy_set.exceptions[-1].source})

    assert ([rule.name for rule in drafts.drafted], drafts.undrafted) == (["rest"], ())
