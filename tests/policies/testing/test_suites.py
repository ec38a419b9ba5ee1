"""Test suites of rules: which rules they test, when they pass, and the messages when they fail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from policies.domain.model import EXCEPTION_KINDS
from policies.reading.rules_reader import KINDS, read
from policies.source import problems
from policies.source.problems import render
from policies.testing import suites
from policies.testing.suites import Report, is_suite, run_suites
from tools.rules_guide import GUIDE, guide

RULES = Path(__file__).parents[3] / "rules"

STORES = """\
kind: buffer
name: store-floor
scope: location
rules:
  - {name: two-on-the-floor, when: {location.type: store}, hold_back: {units: 2}}
  - {name: a-fifth-of-launches, when: {product.tags: {contains: launch}}, hold_back: {percent: 20}}
"""
EXPOSURE = """\
kind: exposure
name: trusted
rules:
  - {name: old, when: {stock.age_minutes: {more_than: 60}}, block: too old}
  - {name: never-counted, when: {stock.age_minutes.known: false}, block: no date}
  - {name: miscounted, when: {stock.count_confidence: {less_than: 0.9}}, block: not trusted}
"""
ROUTING = """\
kind: routing
policies:
  - name: pickup
    position: 10
    applies_to: {order.method: pickup}
    only: {location.offers_pickup: true}
    rank: [chosen_by_shopper]
    otherwise: next
  - name: high-value
    position: 20
    applies_to: {order.value: {at_least: 100}}
    exclude: [{name: no-stores, when: {location.type: store}}]
    rank: [fewest_shipments]
    max_shipments: 2
    sold_may_use: [buffer]
    review: [{name: split, when: {plan.shipment_count: {more_than: 1}}}]
  - {name: rest, position: 100, rank: [fewest_shipments]}
"""
WORLD = """\
suite: A suite
now: 2026-11-27T09:00:00Z
locations:
  shop: {type: store, offers_pickup: true}
  dc: {type: warehouse}
products:
  MUG: {tags: [launch], price: 50}
"""


def checked(files: dict[str, str]) -> Report:
    """The report on these files of a folder, whose rules have no problems."""
    contents = {f"rules/{name}": text.encode() for name, text in files.items()}
    reading = read({f"rules/{name}": text.encode() for name, text in {"z.yaml": REST, **files}.items()})
    assert not reading.problems, render(reading.problems, {})
    return run_suites(reading.policy_set, contents)


REST = "kind: routing\npolicies: [{name: z-rest, position: 1000, rank: [nearest]}]\n"


def sale(given: str, expect: str) -> str:
    return order(f"product: MUG, {given}", expect)


def order(given: str, expect: str) -> str:
    return f"{WORLD}tests:\n  - name: A test\n    given: {{channel: shopify, {given}}}\n    expect: {expect}\n"


def messages(report: Report) -> list[str]:
    """The messages of all problems but untested rules and unused fixtures."""
    quiet = ("rule-untested", "unused-fixture")
    return [f"{problem.message} [{problem.code}]" for problem in report.problems if problem.code not in quiet]


def failures(suite: str, rules: str = STORES) -> list[str]:
    report = checked({"a.yaml": rules, "a_test.yaml": suite})
    return messages(report)


def test_shared_fixtures_need_not_be_repeated() -> None:
    rule = "kind: buffer\nname: b\nscope: location\nrules:\n  - {name: two, hold_back: {units: 2}}\n"
    suite = """suite: Shared
now: 2026-11-27T09:00:00Z
locations:
  own: {type: store}
tests:
  - name: A shared location and product
    given: {channel: tiktok_shop, location: dc, product: MUG, available: 5}
    expect: {sellable: 3, because: [two]}
  - name: One of its own
    given: {channel: tiktok_shop, location: own, product: MUG, available: 2}
    expect: {sellable: 0, because: [two]}
"""
    shared = "locations:\n  dc: {type: warehouse}\n  own: {type: warehouse}\nproducts:\n  MUG:\n"
    route = "kind: routing\npolicies:\n  - {name: all, position: 1, rank: [priority]}\n"
    files = {"r/b.yaml": rule, "r/b_test.yaml": suite, "r/fixtures_test.yaml": shared, "r/routes.yaml": route}
    contents = {path: text.encode() for path, text in files.items()}

    report = run_suites(read(contents).policy_set, contents)

    assert [result.problem for result in report.results] == [None, None]
    unused = [(problem.file, problem.line) for problem in report.problems if problem.code == "unused-fixture"]
    assert unused == [("r/fixtures_test.yaml", 3)]


def test_the_expected_answer_for_the_expected_reasons_passes() -> None:
    suite = sale("location: shop, available: 5", "{sellable: 3, because: [two-on-the-floor, a-fifth-of-launches]}")

    report = checked({"a.yaml": STORES, "a_test.yaml": suite})

    assert [(result.name, result.passed) for result in report.results] == [("A test", True)]
    assert messages(report) == []


def test_the_expected_answer_for_another_reason_fails() -> None:
    suite = sale("location: shop, available: 5", "{sellable: 3, because: [two-on-the-floor]}")

    assert failures(suite) == ["rule 'a-fifth-of-launches' fired but is not in 'because': A test [test-failed]"]


def test_a_reason_that_did_not_fire_fails() -> None:
    suite = sale("location: dc, available: 5", "{sellable: 4, because: [two-on-the-floor, a-fifth-of-launches]}")

    assert failures(suite) == ["rule 'two-on-the-floor' is in 'because' but did not fire: A test [test-failed]"]


def test_reasons_that_are_included_may_be_part_of_all_reasons() -> None:
    assert failures(sale("location: shop, available: 5", "{sellable: 3, because_includes: [two-on-the-floor]}")) == []
    assert failures(sale("location: dc, available: 5", "{sellable: 4, because_includes: [two-on-the-floor]}")) == [
        "rule 'two-on-the-floor' is in 'because_includes' but did not fire: A test [test-failed]"
    ]


@pytest.mark.parametrize(
    ("reasons", "problem"),
    [
        ("", "'expect' has no 'because' [missing-key]"),
        (
            ", because: [two-on-the-floor], because_includes: [two-on-the-floor]",
            "'because' and 'because_includes' exclude each other [conflicting-keys]",
        ),
        (", because_includes: []", "'because_includes' is an empty list [empty-list]"),
        (", because_includes: [two-on-a-floor]", "this suite has no rule 'two-on-a-floor' [unknown-rule]"),
    ],
)
def test_a_test_states_its_reasons_exactly_or_in_part(reasons: str, problem: str) -> None:
    assert failures(sale("location: shop, available: 5", f"{{sellable: 3{reasons}}}")) == [problem]


def test_a_failed_test_reports_its_position_and_figures() -> None:
    suite = sale("location: shop, on_hand: 6, held: 1", "{sellable: 5, because: [two-on-the-floor]}")

    report = checked({"a.yaml": STORES, "a_test.yaml": suite})
    (failed,) = [problem for problem in report.problems if problem.code == "test-failed"]

    message = "expected 5 sellable, got 3; rule 'a-fifth-of-launches' fired but is not in 'because': A test"
    assert render([failed], {"rules/a_test.yaml": suite}).splitlines() == [
        f"rules/a_test.yaml:11:24: {message} [test-failed]",
        "    11 |     expect: {sellable: 5, because: [two-on-the-floor]}",
        "       |                        ^",
    ]
    assert report.results[0].evidence == (
        "shop: on hand 6, held 1, available 5, held back 2, sellable 3",
        "  two-on-the-floor (rules/a.yaml:5): held back 2 units",
        "  a-fifth-of-launches (rules/a.yaml:6): held back 1 unit   <- not in 'because'",
        "shopify: sellable 3",
    )


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ("held_back: 1", "expected 1 held back, got 2"),
        ("largest_order: 1", "expected a largest order of 1, got 3"),
        ("locations: {shop: 1}", "expected 1 sellable at shop, got 3"),
    ],
)
def test_every_part_of_a_figure_is_compared(expect: str, message: str) -> None:
    because = "because: [two-on-the-floor, a-fifth-of-launches]"
    suite = sale("location: shop, available: 5", f"{{sellable: 3, {because}, {expect}}}")

    assert failures(suite) == [f"{message}: A test [test-failed]"]


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ("outcome: unfillable", "expected the outcome unfillable, got partly_allocated"),
        ("shipments: []", "expected shipments of nothing, got 1 MUG from dc"),
        ("shortages: {}", "expected a shortage of nothing, got 1 MUG"),
        ("policy: pickup", "expected the policy pickup, got high-value"),
        ("dropped: {shop: not-eligible}", "expected shop to be dropped as not-eligible, got excluded"),
        ("next_best: [dc]", "expected the next best plan to ship from dc, got no location"),
        ("decided_by: units", "expected units to decide against the next best plan, got nothing"),
    ],
)
def test_every_part_of_a_decision_is_compared(expect: str, message: str) -> None:
    outcome = "" if expect.startswith("outcome") else "outcome: partly_allocated, "
    given = "lines: {MUG: 2}, stock: {shop: {MUG: 9}, dc: {MUG: 1}}"

    suite = order(given, f"{{{outcome}because: [no-stores], {expect}}}")

    assert failures(suite, ROUTING) == [f"{message}: A test [test-failed]"]


def test_only_is_a_reason_where_it_excludes_a_location() -> None:
    given = "method: pickup, lines: {MUG: 1}, stock: {shop: {MUG: 1}, dc: {MUG: 5}}"
    suite = order(given, "{outcome: allocated, policy: pickup, dropped: {dc: not-eligible}, because: [only]}")

    assert failures(suite, ROUTING) == []


def test_a_test_may_state_the_next_best_plan_and_what_decides_against_it() -> None:
    stock = "lines: {MUG: 1}, stock: {shop: {MUG: 5}, dc: {MUG: 5}}"
    passes = order(stock, "{outcome: allocated, next_best: [shop], decided_by: location_id, because: []}")
    alone = order("lines: {MUG: 1}, stock: {dc: {MUG: 1}}", "{outcome: allocated, next_best: [], because: []}")

    assert failures(passes, ROUTING) == failures(alone, ROUTING) == []


def test_a_review_is_a_reason() -> None:
    world = WORLD.replace("  dc:", "  south: {type: warehouse}\n  dc:")
    given = "lines: {MUG: 2}, stock: {dc: {MUG: 1}, south: {MUG: 1}}"
    suite = order(given, "{outcome: needs_review, because: [split]}").replace(WORLD, world)

    assert failures(suite, ROUTING) == []


def test_an_order_that_no_policy_of_the_file_applies_to_fails_with_advice() -> None:
    rules = ROUTING.replace("  - {name: rest, position: 100, rank: [fewest_shipments]}\n", "")
    suite = order("lines: {MUG: 1}, stock: {dc: {MUG: 1}}", "{outcome: allocated, because: []}")

    (message,) = failures(suite, rules)
    assert message.startswith("no routing policy of this file applies to the order; add 'rules: all'")


@pytest.mark.parametrize(
    ("given", "sellable", "because"),
    [
        ("available: 5", 5, ""),
        ("available: 5, age_minutes: 60", 5, ""),
        ("available: 5, age_minutes: 61", 0, "old"),
        ("available: 5, age_minutes: unknown", 0, "never-counted"),
        ("available: 5, count_confidence: 0.8", 0, "miscounted"),
        ("on_hand: 9, unavailable: 1, held: 2, allocated: 3", 3, ""),
        ("available: 5, held: 4", 5, ""),
    ],
)
def test_stock_figures_of_a_test_are_used_as_stated(given: str, sellable: int, because: str) -> None:
    suite = sale(f"location: dc, {given}", f"{{sellable: {sellable}, because: [{because}]}}")

    assert failures(suite, EXPOSURE) == []


def test_another_file_cannot_break_a_suite() -> None:
    suite = sale("location: shop, available: 5, age_minutes: 90", "{sellable: 0, because: [old]}")

    assert messages(checked({"a.yaml": EXPOSURE, "a_test.yaml": suite, "b.yaml": STORES})) == []


def test_a_suite_of_all_rules_tests_the_whole_folder() -> None:
    suite = sale("location: shop, available: 5, age_minutes: 90", "{sellable: 0, because: [old]}")
    together = suite.replace("suite:", "rules: all\nsuite:").replace(
        "[old]", "[old, two-on-the-floor, a-fifth-of-launches]"
    )

    assert messages(checked({"a.yaml": EXPOSURE, "together_test.yaml": together, "b.yaml": STORES})) == []


def test_a_suite_can_name_the_rule_file_beside_it_that_it_tests() -> None:
    suite = sale("location: shop, available: 5", "{sellable: 3, because: [two-on-the-floor, a-fifth-of-launches]}")

    report = checked({"a.yaml": STORES, "b.yaml": EXPOSURE, "more_test.yaml": f"rules: a.yaml\n{suite}"})
    other = checked({"a.yaml": STORES, "more_test.yaml": f"rules: aa.yaml\n{suite}"})

    assert [result.passed for result in report.results] == [True]
    assert messages(other) == ["there is no rule file 'aa.yaml' beside this suite [no-rule-file]"]
    assert other.problems[0].help.startswith("did you mean 'a.yaml'?")


def test_a_suite_without_its_rules_is_a_problem() -> None:
    suite = sale("location: dc, available: 5", "{sellable: 5, because: []}")

    assert messages(checked({"a.yaml": STORES, "b_test.yaml": suite})) == [
        "this suite has no rule file of the same name beside it [no-rule-file]"
    ]


def test_every_untested_rule_is_reported_with_its_position() -> None:
    untested = [
        problem
        for problem in checked({"a.yaml": STORES, "b.yaml": ROUTING}).problems
        if problem.code == "rule-untested"
    ]

    assert [f"{problem.file}:{problem.line}: {problem.message}" for problem in untested] == [
        "rules/a.yaml:5: no test makes the buffer rule 'two-on-the-floor' fire",
        "rules/a.yaml:6: no test makes the buffer rule 'a-fifth-of-launches' fire",
        "rules/b.yaml:3: no test makes the routing policy 'pickup' fire",
        "rules/b.yaml:6: no test makes 'only' of the routing policy 'pickup' fire",
        "rules/b.yaml:9: no test makes the routing policy 'high-value' fire",
        "rules/b.yaml:12: no test makes the exclude rule 'no-stores' of the routing policy 'high-value' fire",
        "rules/b.yaml:16: no test makes the review rule 'split' of the routing policy 'high-value' fire",
        "rules/b.yaml:17: no test makes the routing policy 'rest' fire",
        "rules/z.yaml:2: no test makes the routing policy 'z-rest' fire",
    ]


def test_a_policy_that_passes_an_order_on_is_tested() -> None:
    given = "method: pickup, lines: {MUG: 2}, stock: {shop: {MUG: 1}, dc: {MUG: 9}}"
    suite = order(given, "{outcome: allocated, policy: high-value, because: [no-stores]}")
    report = checked({"a.yaml": ROUTING, "a_test.yaml": suite})

    assert messages(report) == []
    assert not [
        problem
        for problem in report.problems
        if "routing policy 'pickup' fire" in problem.message and "only" not in problem.message
    ]


def test_all_problems_of_a_suite_are_reported_at_once() -> None:
    suite = """\
suite: Bad
now: 2026-11-27
rules: some
locations:
  shop: {type: shop, status: opne}
  dc: {type: warehouse, ships_to: [USA], coordinates: [1, 2, 3]}
  spare: {type: store}
products: {MUG: {velocity_per_day: -1}, CUP: }
channels: {fair: {}}
test: []
tests:
  - {name: a, given: {channel: tiktokshop, product: MUGG, location: dc, available: 1}, expect: {sellable: x}}
  - {name: a, given: {channel: pos, location: dc, available: 1}, expect: {because: [tow-on-the-floor]}}
  - {name: b, given: {channel: pos, product: CUP, location: dc, available: 1, on_hand: 2}, expect: {because: []}}
  - {name: c, given: {channel: pos, product: CUP, stock: {dc: 1, shop: {on_hnd: 1}}, held: 2}, expect: {sellable: 1}}
  - {name: d, given: {channel: pos, lines: {CUP: 0}}, expect: {outcome: shipped, dropped: {dc: lost}, sellable: 1}}
"""
    report = checked({"a.yaml": STORES, "a_test.yaml": suite})

    assert [f"{problem.line}:{problem.column}: {problem.message} [{problem.code}]" for problem in report.problems] == [
        "2:6: 'now' has no time zone, or its year is not from 2000 to 2999 [wrong-type]",
        "3:8: 'rules' cannot be 'some' [unknown-value]",
        "5:16: 'type' cannot be 'shop' [unknown-value]",
        "5:30: 'status' cannot be 'opne' [unknown-value]",
        "6:36: 'ships_to' cannot be 'USA' [unknown-value]",
        "6:55: 'coordinates' must be two numbers, not a list [wrong-type]",
        "7:3: no test of this suite uses the location 'spare' [unused-fixture]",
        "8:12: no test of this suite uses the product 'MUG' [unused-fixture]",
        "8:36: 'velocity_per_day' is '-1', which is out of range [out-of-range]",
        "9:12: no test of this suite uses the channel 'fair' [unused-fixture]",
        "9:18: channel 'fair' has no 'kind' [missing-key]",
        "10:1: a test suite has no key 'test' [unknown-key]",
        "12:32: this suite has no channel 'tiktokshop' [unknown-fixture]",
        "12:53: this suite has no product 'MUGG' [unknown-fixture]",
        "12:96: 'expect' has no 'because' [missing-key]",
        "12:107: 'sellable' must be a number, not the text 'x' [wrong-type]",
        "13:12: a test named 'a' already exists in rules/a_test.yaml:12 [duplicate-name]",
        "13:22: 'given' has no 'product' or 'lines' [missing-key]",
        "13:74: 'expect' has no 'sellable' [missing-key]",
        "13:85: this suite has no rule 'tow-on-the-floor' [unknown-rule]",
        "14:88: 'available' and 'on_hand' exclude each other [conflicting-keys]",
        "14:100: 'expect' has no 'sellable' [missing-key]",
        "15:72: the stock has neither 'available' nor 'on_hand' [missing-key]",
        "15:73: the stock of 'CUP' at 'shop' has no key 'on_hnd' [unknown-key]",
        "15:92: 'held' and 'stock' exclude each other [conflicting-keys]",
        "15:104: 'expect' has no 'because' [missing-key]",
        "16:22: 'given' has no 'stock' [missing-key]",
        "16:50: the units of 'CUP' is '0', which is out of range [out-of-range]",
        "16:63: 'expect' has no 'because' [missing-key]",
        "16:73: 'outcome' cannot be 'shipped' [unknown-value]",
        "16:96: 'dropped' cannot be 'lost' [unknown-value]",
        "16:103: 'expect' has no key 'sellable' [unknown-key]",
    ]


def test_a_suite_is_checked_even_if_the_rules_have_problems() -> None:
    report = run_suites(
        None, {"a_test.yaml": b"suite: A\nnow: 2026-11-27T09:00:00Z\ntset: []\n", "a.yaml": b"kind: x\n"}
    )

    assert [problem.code for problem in report.problems] == ["missing-key", "unknown-key"]
    assert report.results == ()


@pytest.mark.parametrize(
    "content", [b"", b"- a", b"\xff", b"a: &a [*a]", b"tests: 5", b"[" * 99, b"a: !!python/object:x {}"]
)
def test_a_malformed_suite_is_reported_as_problems(content: bytes) -> None:
    reading = read({"z.yaml": REST.encode()})

    assert run_suites(reading.policy_set, {"z_test.yaml": content}).problems


def test_rules_are_not_reported_as_untested_while_a_suite_has_problems() -> None:
    report = checked({"a.yaml": STORES, "a_test.yaml": "suite: A\n"})

    assert {problem.code for problem in report.problems} == {"missing-key"}


def test_only_yaml_files_that_end_in_test_are_suites() -> None:
    names = ["a_test.yaml", "a_test.yml", "a.yaml", "a_test.txt", "_test.yaml", "test.yaml"]

    assert [name for name in names if is_suite(name)] == ["a_test.yaml", "a_test.yml", "_test.yaml"]


def test_codes_of_suites_are_not_those_of_rule_files() -> None:
    assert not suites.CODES.keys() & problems.CODES.keys()


def test_the_guide_is_in_step_with_the_code() -> None:
    text = GUIDE.read_text()

    assert guide(text) == text, "run: python -m tools.rules_guide"


def test_the_guide_names_every_kind_of_rule_file_and_of_exception() -> None:
    text = GUIDE.read_text()
    files = text.split("- Every file states its `kind`:")[1].split("\n- ")[0]
    exceptions = text.split("| `exception.kind` | what happened |")[1].split("\n\n")[0]

    assert [kind for kind in KINDS if f"`{kind}`" not in files] == []
    assert [kind for kind in EXCEPTION_KINDS if f"`{kind}`" not in exceptions] == []


def test_the_examples_of_the_guide_work() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    kinds = {match[1]: block for block in blocks if (match := re.match(r"kind: (\w+)", block))}
    suite = next(block for block in blocks if block.startswith("suite:"))
    files = {f"{kind}.yaml": block.encode() for kind, block in kinds.items()}

    reading = read(files)
    report = run_suites(reading.policy_set, {"buffer_test.yaml": suite.encode(), **files})

    of_listings = {"listing_requirements"}
    assert set(kinds) == {"exposure", "buffer", "routing", "delivery", "exception", "merchant"} | of_listings
    assert not reading.problems
    assert [result.passed for result in report.results] == [True, True]


def test_the_shipped_rules_pass_with_no_problem() -> None:
    paths = sorted((*RULES.rglob("*.yaml"), *RULES.rglob("*.csv")))
    files = {f"rules/{path.relative_to(RULES).as_posix()}": path.read_bytes() for path in paths}
    reading = read(files)
    report = run_suites(reading.policy_set, files)

    assert render([*reading.problems, *report.problems], {}) == ""
    assert len(report.results) > 60


def test_a_new_rule_that_changes_nothing_breaks_no_shipped_test() -> None:
    paths = sorted((*RULES.rglob("*.yaml"), *RULES.rglob("*.csv")))
    files = {f"rules/{path.relative_to(RULES).as_posix()}": path.read_bytes() for path in paths}
    files["rules/buffers/channels.yaml"] += b"  - {name: harmless, when: {channel.kind: social}, cap: 1000000}\n"

    report = run_suites(read(files).policy_set, files)

    assert render(report.problems, {}) == ""


def test_a_suite_states_what_a_location_can_handle_and_what_it_has_taken() -> None:
    world = WORLD.replace("offers_pickup: true", "capacity: {orders_per_day: 5, days_ahead: 1}")
    tests = """tests:
  - name: A store with a place left handles the order today
    given: {channel: shopify, lines: {MUG: 1}, stock: {shop: {MUG: 3}}, capacity_used: {shop: {orders: 4, units: 9}}}
    expect: {outcome: allocated, because: [], handled_on: {shop: 2026-11-27}}
  - name: A full store handles the order tomorrow
    given: {channel: shopify, lines: {MUG: 1}, stock: {shop: {MUG: 3}}, capacity_used: {shop: {orders: 5}}}
    expect: {outcome: allocated, because: [], handled_on: {shop: 2026-11-29}}
"""

    failed = failures(world + tests, "kind: routing\npolicies: [{name: rest, position: 500, rank: [nearest]}]\n")
    assert [message.partition("expected ")[2] for message in failed] == [
        "shop to handle it on 2026-11-29, got 2026-11-28: A full store handles the order tomorrow [test-failed]"
    ]
