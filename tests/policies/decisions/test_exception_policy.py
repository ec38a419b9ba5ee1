"""Who resolves an exception: by the exception rules of a folder, or by the built-in rule without any."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from policies.decisions.exception_policy import BUILT_IN, handling_of
from policies.domain.model import EXCEPTION_KINDS, Channel, Context, Location, OrderFacts, Product
from policies.facts.fact_table import FACTS, RulePlace, fact_names
from policies.reading.rules_reader import read
from policies.testing.suites import Report, run_suites
from tests.policies.small_retailer import ANYWHERE, NOW, TIKTOK, rules

OWNERS = """\
kind: exception
rules:
  - {name: rest, position: 1000, do: review, owner: operations, due_in: 1d}
  - {name: dear, position: 20, when: {order.value: {at_least: 1000}}, do: hold, owner: order-desk, due_in: 30m}
  - name: tiktok-oversell
    position: 10
    when: {exception.kind: oversell, channel.id: tiktok_shop}
    do: backorder
    owner: marketplace-desk
    due_in: 2h
    escalate_to: operations-lead
"""
SHOPIFY = Channel("shopify", "web")


def test_the_lowest_position_that_applies_decides_wherever_it_stands() -> None:
    dear = OrderFacts(value=Decimal(2000))

    handling = handling_of(rules(ANYWHERE, OWNERS), Context(NOW, TIKTOK, dear, exception_kind="oversell"))

    assert (handling.rule, handling.action, handling.owner) == ("tiktok-oversell", "backorder", "marketplace-desk")
    assert (handling.due_in, handling.escalate_to) == (timedelta(hours=2), "operations-lead")
    assert str(handling.source) == "rules/file-1.yaml:5"


def test_the_default_rule_takes_exceptions_that_no_other_rule_takes() -> None:
    handling = handling_of(rules(ANYWHERE, OWNERS), Context(NOW, SHOPIFY, exception_kind="oversell"))

    assert (handling.rule, handling.owner, handling.due_in, handling.escalate_to) == (
        "rest",
        "operations",
        timedelta(days=1),
        None,
    )


def test_positions_count_over_all_files() -> None:
    first = "kind: exception\nrules: [{name: first, position: 1, when: {exception.kind: rejected}, do: reroute, "
    policy_set = rules(ANYWHERE, OWNERS, first + "owner: stores, due_in: 4h}]")

    assert [rule.name for rule in policy_set.exceptions] == ["first", "tiktok-oversell", "dear", "rest"]
    assert handling_of(policy_set, Context(NOW, exception_kind="rejected")).owner == "stores"


def test_a_folder_without_exception_rules_sends_everything_to_operations_for_a_day() -> None:
    policy_set = rules(ANYWHERE)

    for kind in EXCEPTION_KINDS:
        handling = handling_of(policy_set, Context(NOW, exception_kind=kind))
        assert (handling.action, handling.owner, handling.due_in) == ("review", "operations", timedelta(days=1))
        assert handling.is_built_in
    assert policy_set.exceptions == ()


def test_only_an_exception_can_be_resolved() -> None:
    with pytest.raises(ValueError, match="no exception kind"):
        handling_of(rules(ANYWHERE), Context(NOW))


def test_exception_rules_see_order_channel_product_location_and_destination_but_no_stock() -> None:
    groups = {FACTS[name].group for name in fact_names(RulePlace.EXCEPTION)}

    assert groups == {"order", "channel", "product", "location", "destination", "exception", "cancellation"}


def test_only_exception_rules_can_use_the_exception_kind() -> None:
    assert [place for place in RulePlace if "exception.kind" in fact_names(place)] == [RulePlace.EXCEPTION]


def test_an_unknown_fact_of_an_exception_meets_no_condition() -> None:
    here = "{name: here, position: 1, when: {location.type: {is_not: store}}, do: hold, owner: desk, due_in: 1h}"
    policy_set = rules(
        ANYWHERE,
        f"kind: exception\nrules:\n  - {here}\n  - {{name: rest, position: 2, do: review, owner: o, due_in: 1d}}",
    )
    at_a_warehouse = Context(NOW, location=Location("dc", "warehouse"), exception_kind="mismatch")

    assert handling_of(policy_set, at_a_warehouse).rule == "here"
    assert handling_of(policy_set, Context(NOW, exception_kind="mismatch")).rule == "rest"


def test_a_product_can_have_an_owner_of_its_own() -> None:
    launch = "{name: launch, position: 1, when: {product.tags: {contains: launch}}, do: hold, owner: brand, due_in: 1h}"
    policy_set = rules(
        ANYWHERE,
        f"kind: exception\nrules:\n  - {launch}\n  - {{name: rest, position: 2, do: review, owner: o, due_in: 1d}}",
    )
    mug, jacket = Product("MUG"), Product("JACKET", tags=frozenset({"launch"}))

    owners = [
        handling_of(policy_set, Context(NOW, product=product, exception_kind="oversell")).owner
        for product in (mug, jacket)
    ]

    assert owners == ["o", "brand"]


def test_the_owner_can_change_by_time_of_day() -> None:
    night = '{name: night, position: 1, during: {hours: "20:00-08:00"}, do: review, owner: phone, due_in: 30m}'
    policy_set = rules(
        ANYWHERE,
        "kind: merchant\ntime_zone: America/Chicago",
        f"kind: exception\nrules:\n  - {night}\n  - {{name: day, position: 2, do: review, owner: desk, due_in: 1h}}",
    )
    noon, evening = (datetime(2026, 11, 28, hour, tzinfo=UTC) for hour in (18, 2))
    # The time zone is the merchant's, even if the location has another one.
    place = Location("auckland", "store", time_zone="Pacific/Auckland")

    owners = [
        handling_of(policy_set, Context(now, location=place, exception_kind="stale_feed")).owner
        for now in (noon, evening)
    ]

    assert owners == ["desk", "phone"]


def test_the_built_in_rule_has_a_source_that_no_file_has() -> None:
    assert str(BUILT_IN.source) == "built-in:0"


SUITE = """\
suite: Owners
now: 2026-11-27T09:00:00Z
locations: {shop: {type: store}}
products: {MUG: {price: 600}}
tests:
"""


def report(*tests: str, owners: str = OWNERS) -> Report:
    files = {"owners.yaml": owners, "routing.yaml": ANYWHERE, "owners_test.yaml": SUITE + "".join(tests)}
    encoded = {path: text.encode() for path, text in files.items()}
    reading = read(encoded)
    assert reading.problems == ()
    return run_suites(reading.policy_set, encoded)


def messages(checked: Report) -> list[str]:
    return [problem.message for problem in checked.problems if problem.code not in ("rule-untested", "unused-fixture")]


def test_a_suite_can_test_who_resolves_an_exception() -> None:
    checked = report(
        "  - name: dear\n    given: {exception: review, channel: shopify, location: shop, lines: {MUG: 2}}\n"
        "    expect: {do: hold, owner: order-desk, due_in: 30m, escalate_to: nobody, because: [dear]}\n"
        "  - name: tiktok\n    given: {exception: oversell, channel: tiktok_shop, product: MUG}\n"
        "    expect: {do: backorder, owner: marketplace-desk, due_in: 120m, because: [tiktok-oversell]}\n"
        "  - name: rest\n    given: {exception: stale_feed}\n"
        "    expect: {do: review, owner: operations, because: [rest]}\n"
    )

    assert messages(checked) == []
    assert [problem.message for problem in checked.problems] == ["no test makes the routing policy 'everything' fire"]


def test_a_failing_test_says_what_differs_and_which_rule_decided() -> None:
    checked = report(
        "  - name: tiktok\n    given: {exception: oversell, channel: tiktok_shop}\n"
        "    expect: {do: hold, owner: stores, due_in: 1d, escalate_to: nobody, because: [rest]}\n"
    )

    assert messages(checked)[0].split("; ") == [
        "expected 'do: hold', got 'do: backorder'",
        "expected the owner stores, got marketplace-desk",
        "expected to be due in 1d, got 2h",
        "expected to escalate to nobody, got operations-lead",
        "rule 'tiktok-oversell' fired but is not in 'because'",
        "rule 'rest' is in 'because' but did not fire: tiktok",
    ]
    assert checked.results[0].evidence == (
        "marketplace-desk: backorder within 2h, then operations-lead",
        "  tiktok-oversell (owners.yaml:5)   <- not in 'because'",
    )


def test_a_suite_does_not_test_the_default_rule_of_another_file() -> None:
    files = {
        "rest.yaml": "kind: exception\nrules: [{name: rest, position: 9, do: review, owner: operations, due_in: 1d}]",
        "owners.yaml": OWNERS.replace(
            "  - {name: rest, position: 1000, do: review, owner: operations, due_in: 1d}\n", ""
        ),
        "routing.yaml": ANYWHERE,
        "owners_test.yaml": SUITE.replace("locations: {shop: {type: store}}\nproducts: {MUG: {price: 600}}\n", "")
        + "  - name: rest\n    given: {exception: stale_feed}\n"
        "    expect: {do: review, owner: operations, because: [rest]}\n",
    }
    encoded = {path: text.encode() for path, text in files.items()}
    everything = encoded | {"owners_test.yaml": encoded["owners_test.yaml"].replace(b"now:", b"rules: all\nnow:")}
    policy_set = read(encoded | {"rest.yaml": encoded["rest.yaml"].replace(b"9,", b"9000,")}).policy_set

    assert messages(run_suites(policy_set, encoded))[0].startswith("this suite has no rule 'rest'")
    assert messages(run_suites(policy_set, everything)) == []


def test_without_exception_rules_a_suite_tests_the_built_in_rule() -> None:
    files = {
        "routing.yaml": ANYWHERE.encode(),
        "routing_test.yaml": b"suite: S\nnow: 2026-11-27T09:00:00Z\ntests:\n  - name: any\n"
        b"    given: {exception: mismatch}\n    expect: {do: review, owner: operations, due_in: 1d, because: []}\n",
    }

    assert messages(run_suites(read(files).policy_set, files)) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("exception: oversold", "'exception' cannot be 'oversold'"),
        ("exception: oversell, stock: 3", "'given' in test"),
        ("exception: oversell, location: nowhere", "this suite has no location 'nowhere'"),
    ],
)
def test_a_wrong_question_is_a_problem(given: str, message: str) -> None:
    checked = report(
        f"  - name: wrong\n    given: {{{given}}}\n    expect: {{do: review, owner: operations, because: []}}\n"
    )

    assert message.partition(" in test")[0] in " ".join(messages(checked))


def test_a_test_can_have_its_own_time() -> None:
    bounded = OWNERS.replace("position: 20, when", "position: 20, from: 2026-12-01, when")
    tests = "".join(
        f"  - name: at {now}\n    now: {now}\n    given: {{exception: review, value: 1000}}\n"
        f"    expect: {{do: {do}, owner: {owner}, because: [{rule}]}}\n"
        for now, do, owner, rule in (
            ("2026-11-30T23:59:59Z", "review", "operations", "rest"),
            ("2026-12-01T00:00:00Z", "hold", "order-desk", "dear"),
        )
    )

    assert messages(report(tests, owners=bounded)) == []


def test_an_exception_of_no_kind_is_handled_by_no_rule() -> None:
    with pytest.raises(ValueError, match=r"^the context has no exception kind; set exception_kind$"):
        handling_of(rules(ANYWHERE, OWNERS), Context(NOW))
