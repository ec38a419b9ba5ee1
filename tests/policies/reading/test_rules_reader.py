"""Rule files are read into one policy set, or into all of their problems at once."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from policies.domain.model import Channel, Context, Location, OrderFacts, StockLevel
from policies.engine.conditions import All, Always, Comparison, Operator
from policies.policy_set import Combine, HoldBack, PolicySet, Scope
from policies.reading.rules_reader import Reading, read
from policies.source.problems import CODES, render

CASES = Path(__file__).parents[2] / "cases"
NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)

DEFAULT = b"""\
kind: routing
policies: [{name: everything-else, position: 1000000, rank: [nearest]}]
"""

EXPOSURE = b"""\
kind: exposure
name: trusted-stock
rules:
  - name: counts-not-trusted
    description: Stores are counted by hand.
    when: {location.type: store, stock.count_confidence: {less_than: 0.9}, channel.kind: [marketplace, social]}
    block: counts at this store are not trusted yet
  - {name: paused, when: {location.status: paused}, block: the location is paused}
"""

BUFFERS = b"""\
kind: buffer
name: store-floor
scope: location
combine: sum
rules:
  - {name: two, when: {location.type: store}, hold_back: {units: 2}}
  - {name: a-tenth, hold_back: {percent: 10, minimum: 1, maximum: 9}}
  - {name: three-days, hold_back: {days_of_cover: {days: 3}}}
  - {name: half-a-day, hold_back: {days_of_cover: 0.5}}
  - {name: fresh, hold_back: {expected_sales: {during: stock_age, service_level: 0.99}}}
  - {name: two-hours, hold_back: {expected_sales: {during: 2h, service_level: 0.9}}}
"""

CHANNEL = b"""\
kind: buffer
name: channel-total
scope: channel
rules:
  - {name: nearly-gone, when: {channel.id: tiktok_shop}, publish_zero_at_or_below: 3, cap: 50}
"""

ROUTING = b"""\
kind: routing
policies:
  - name: everything-else
    position: 100
    exclude:
      - {name: stocktake, when: {location.status: stocktake}}
    rank: [fewest_shipments, {nearest: {band_km: 25}}, {prefer: {when: {location.type: warehouse}}}, deepest_stock]
    max_shipments: 2
    min_split_value: 40
    ship_complete: true
    sold_may_use: [buffer, blocked]
    review:
      - {name: high-value-split, when: {order.value: {at_least: 1000}, plan.shipment_count: {more_than: 1}}}
  - name: pick-up-in-store
    position: 10
    applies_to: {order.method: pickup}
    only: {location.offers_pickup: true}
    rank: [chosen_by_shopper]
    otherwise: next
"""

GOOD = {"exposure.yaml": EXPOSURE, "buffers.yaml": BUFFERS, "channel.yaml": CHANNEL, "routing.yaml": ROUTING}


def good(files: dict[str, bytes]) -> PolicySet:
    reading = read(files)
    assert reading.policy_set is not None, render(reading.problems, files)
    return reading.policy_set


def exposure(when: str) -> Reading:
    text = f"kind: exposure\nname: one\nrules: [{{name: only-rule, when: {when}, block: reason}}]\n"
    return read({"one.yaml": text.encode(), "routing.yaml": DEFAULT})


def codes(reading: Reading) -> list[str]:
    return [problem.code for problem in reading.problems]


def case_files(case: Path) -> dict[str, bytes]:
    if case.is_dir():
        return {path.name: path.read_bytes() for path in case.glob("*.yaml")}
    return {case.name: case.read_bytes(), "zz-default.yaml": DEFAULT}


ALL_CASES = sorted(path for path in CASES.iterdir() if path.is_dir() or path.suffix == ".yaml")


@pytest.mark.parametrize("case", ALL_CASES, ids=lambda case: case.stem)
def test_a_bad_file_gives_exactly_the_expected_messages(case: Path) -> None:
    files = case_files(case)
    reading = read(files)

    assert reading.policy_set is None
    assert render(reading.problems, files) == case.with_suffix(".txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("space", "\u00a0\u200b\u2009\u3000")
@pytest.mark.parametrize("line", ["    hold_back: {units: 2}", "    when: {location.type: store}"])
def test_a_key_that_begins_with_what_only_looks_like_a_space_is_said_to(space: str, line: str) -> None:
    file = b"kind: buffer\nname: b\nscope: location\nrules:\n  - name: a\n    hold_back: {units: 1}\n"
    at = line.index("location") if "location" in line else 0
    problems = read({"b.yaml": file + f"{line[:at]}{space}{line[at:]}\n".encode(), "d.yaml": DEFAULT}).problems

    assert any(problem.help.startswith(f"replace the character U+{ord(space):04X}") for problem in problems), problems


def test_every_code_is_documented_and_shown_in_a_case_or_a_test() -> None:
    shown = {
        code
        for path in CASES.glob("*.txt")
        for code in re.findall(r"^\S+: .* \[([a-z0-9-]+)\]$", path.read_text(encoding="utf-8"), re.MULTILINE)
    }

    assert shown - set(CODES) == set()
    assert set(CODES) - shown == {
        # Of files that are not there, too large, or rate tables, which have tests of their own.
        *("not-readable", "rule-too-large", "too-large", "too-many-problems"),
        *("no-such-file", "wrong-cell-count"),
    }


def test_files_of_every_kind_are_read() -> None:
    policy_set = good(GOOD)

    assert [rule.name for rule in policy_set.exposure] == ["counts-not-trusted", "paused"]
    assert [file.name for file in policy_set.buffers] == ["channel-total", "store-floor"]
    assert [policy.name for policy in policy_set.routing] == ["pick-up-in-store", "everything-else"]


def test_owners_may_be_declared_in_a_file_of_their_own_and_rules_without_any_keep_working() -> None:
    rules = b"kind: exception\nrules: [{name: all, position: 1, do: review, owner: desk, due_in: 1d}]\n"
    owners = b"kind: exception\nowners: [{name: desk, contact: desk@shop.example}]\n"

    assert good({**GOOD, "rules.yaml": rules}).owners == {}
    assert good({**GOOD, "rules.yaml": rules, "owners.yaml": owners}).owners == {"desk": "desk@shop.example"}


def test_an_exposure_rule_has_its_reason_its_position_and_its_condition() -> None:
    rule = good(GOOD).exposure[0]

    assert rule.reason == "counts at this store are not trusted yet"
    assert str(rule.source) == "exposure.yaml:4"
    assert rule.when == All(
        (
            Comparison("location.type", Operator.IS, ("store",)),
            Comparison("stock.count_confidence", Operator.LESS_THAN, (0.9,)),
            Comparison("channel.kind", Operator.IN, ("marketplace", "social")),
        )
    )


def test_every_form_of_hold_back_is_read() -> None:
    _, floor = good(GOOD).buffers

    assert (floor.scope, floor.combine) == (Scope.LOCATION, Combine.SUM)
    assert [rule.hold_back for rule in floor.rules] == [
        HoldBack("units", units=2),
        HoldBack("percent", percent=10, minimum=1, maximum=9),
        HoldBack("days_of_cover", days=3),
        HoldBack("days_of_cover", days=0.5),
        HoldBack("expected_sales", service_level=0.99),
        HoldBack("expected_sales", during_seconds=7200, service_level=0.9),
    ]


def test_a_channels_total_has_a_cut_off_and_a_cap() -> None:
    (rule,) = good(GOOD).buffers[0].rules

    assert (rule.hold_back, rule.publish_zero_at_or_below, rule.cap) == (None, 3, 50)


def test_a_routing_policy_is_read_with_all_its_keys() -> None:
    pickup, everything = good(GOOD).routing

    assert [(step.kind, step.band_km) for step in everything.rank] == [
        ("fewest_shipments", None),
        ("nearest", 25),
        ("prefer", None),
        ("deepest_stock", None),
    ]
    assert (everything.max_shipments, everything.min_split_value, everything.ship_complete) == (2, 40, True)
    assert everything.sold_may_use == {"buffer", "blocked"}
    assert (everything.otherwise, pickup.otherwise) == ("exception", "next")
    assert (pickup.only is not None, [rule.name for rule in everything.exclude]) == (True, ["stocktake"])
    assert [rule.name for rule in everything.review] == ["high-value-split"]
    assert isinstance(everything.applies_to, Always)


def test_the_matchers_of_a_policy_set_fire_its_rules() -> None:
    policy_set = good(GOOD)
    doubtful = Context(
        NOW,
        channel=Channel("tiktok_shop", "social"),
        location=Location("high-street", "store"),
        stock=StockLevel("MUG", "high-street", 5, count_confidence=0.4),
    )
    pickup, ship = (Context(NOW, order=OrderFacts(method=method)) for method in ("pickup", "ship"))

    assert [rule.name for rule in policy_set.exposure_matcher.fired(doubtful)] == ["counts-not-trusted"]
    assert [rule.name for rule in policy_set.buffers[0].matcher.fired(doubtful)] == ["nearly-gone"]
    assert len(policy_set.routing_matcher.fired(pickup)) == 2
    assert len(policy_set.routing_matcher.fired(ship)) == 1


def test_the_result_depends_on_neither_the_order_of_files_nor_their_names() -> None:
    halves = EXPOSURE.split(b"  - {name: paused")
    other = b"kind: exposure\nname: paused-stock\nrules:\n  - {name: paused" + halves[1]
    split = {"z.yaml": halves[0], "a.yaml": other, "routing.yaml": ROUTING}
    renamed = {"a.yaml": halves[0], "routing.yaml": ROUTING, "z.yaml": other}

    names = [[rule.name for rule in good(files).exposure] for files in (split, renamed, dict(reversed(split.items())))]

    assert names == [["counts-not-trusted", "paused"]] * 3


def test_the_revision_changes_with_the_rules_and_not_with_their_tests() -> None:
    revision = good(GOOD).revision

    assert good(dict(reversed(GOOD.items()))).revision == revision
    assert good({**GOOD, "exposure_test.yaml": b"not: [read", "README.md": b"#"}).revision == revision
    assert good({**GOOD, "channel.yaml": CHANNEL.replace(b"50", b"60")}).revision != revision
    assert re.fullmatch("[0-9a-f]{16}", revision)


def test_files_that_are_not_rules_are_ignored() -> None:
    other_files = {
        "README.md": b"\xff",
        "schema/buffer.schema.json": b"{",
        "floor_test.yaml": b"[",
        "floor_test.yml": b"[",
    }

    assert good({**GOOD, **other_files}).files == tuple(sorted(GOOD))


def test_an_empty_folder_lacks_a_routing_policy() -> None:
    (problem,) = read({}).problems

    assert (problem.file, problem.line, problem.code) == (".", 0, "no-default-policy")


def test_the_country_no_is_norway_and_a_number_can_be_a_sku() -> None:
    assert codes(exposure("{location.country: NO, product.sku: 1234, product.brand: true}")) == []


def test_several_comparisons_of_one_fact_must_all_be_true() -> None:
    reading = exposure("{stock.on_hand: {at_least: 2, less_than: 9}}")

    assert reading.policy_set is not None
    assert reading.policy_set.exposure[0].when == All(
        (
            Comparison("stock.on_hand", Operator.AT_LEAST, (2.0,)),
            Comparison("stock.on_hand", Operator.LESS_THAN, (9.0,)),
        )
    )


def test_groups_can_be_nested() -> None:
    when = (
        "{any: [{all: [{location.type: store}, {none: [{channel.kind: pos}]}]}, {location.distance_km.known: false}]}"
    )

    assert codes(exposure(when)) == []


def test_a_rule_that_lists_five_thousand_skus_is_read() -> None:
    assert codes(exposure(f"{{product.sku: [{', '.join(f'SKU-{number}' for number in range(5_000))}]}}")) == []


def test_a_rule_that_exceeds_the_engines_bounds_is_a_problem() -> None:
    pairs = [f"{{location.id: a{row}, product.sku: b{row}}}" for row in range(12)]
    others = [f"{{product.category: a{row}, channel.id: b{row}}}" for row in range(12)]

    assert codes(exposure(f"{{none: [{', '.join(pairs)}], any: [{', '.join(others)}]}}")) == ["rule-too-large"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"kind: exposure\n#" + b"x" * (1 << 20), "too-large"),
        (b"a" * (50 << 20), "too-large"),
        (b"[" + b"a," * 400_000 + b"]", "too-large"),
        (b"\n".join(b"k%d: 1" % number for number in range(80_000)), "too-large"),
        (b"[" * 5_000, "too-deep"),
        (b"- " * 500_000, "too-deep"),
        (b"{a: " * 200_000, "too-deep"),
        (b"? " * 500_000, "too-deep"),
        (b":" * 1_000_000, "not-yaml"),
        (b"\x00" * 1_000_000, "not-yaml"),
        (b"\xff\xfea\x00", "not-utf-8"),
        (b"a: &a [x]\n" + b"b: [*a, *a]\n" * 1_000, "alias"),
    ],
    ids=range(12),
)
def test_a_hostile_file_is_refused_quickly(content: bytes, code: str) -> None:
    started = time.thread_time()
    reported = codes(read({"hostile.yaml": content}))

    assert set(reported) == {code}
    assert time.thread_time() - started < 5


def test_only_the_first_problems_of_a_file_are_reported() -> None:
    rules = b"".join(b"  - {name: r%d, hold_back: {units: -1}}\n" % number for number in range(1_000))
    reported = codes(
        read({"many.yaml": b"kind: buffer\nname: many\nscope: location\nrules:\n" + rules, "r.yaml": DEFAULT})
    )

    assert reported[0] == "too-many-problems"
    assert reported[1:].count("out-of-range") == 200


def test_a_folder_of_more_than_a_thousand_files_is_refused() -> None:
    assert codes(read({f"{number}.yaml": DEFAULT for number in range(1_001)})) == ["too-large"]


@pytest.mark.long
def test_truncated_files_never_make_reading_raise() -> None:
    for path in sorted(CASES.glob("*.yaml")):
        content = path.read_bytes()
        for cut in range(0, len(content), 7):
            read({"cut.yaml": content[:cut], "torn.yaml": content[cut:]})


def test_problems_can_be_written_as_json() -> None:
    reading = exposure("{location.type: shop}")

    assert json.loads(json.dumps([problem.as_dict() for problem in reading.problems])) == [
        {
            "file": "one.yaml",
            "line": 3,
            "column": 49,
            "end_line": 3,
            "end_column": 53,
            "code": "unknown-value",
            "message": "'location.type' is never 'shop', so rule 'only-rule' can never fire",
            "help": "'location.type' is one of: store, warehouse, supplier, pop-up.",
        }
    ]


def test_two_thousand_rules_are_read_in_bounded_time() -> None:
    rules = b"".join(
        b"  - {name: r%d, when: {product.sku: S%d, stock.available: {at_most: %d}}, hold_back: {units: 1}}\n"
        % (number, number, number % 50)
        for number in range(2_000)
    )
    started = time.thread_time()
    policy_set = good({"many.yaml": b"kind: buffer\nname: many\nscope: location\nrules:\n" + rules, "r.yaml": DEFAULT})

    assert len(policy_set.buffers[0].rules) == 2_000
    assert time.thread_time() - started < 10
