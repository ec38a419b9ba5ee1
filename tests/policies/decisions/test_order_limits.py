"""Units that one order may use: what the buffers saved for it, and why a location supplies nothing."""

from policies.decisions.eligibility import WholeOrder
from policies.decisions.routing import route
from policies.domain.model import OrderFacts, Outcome
from policies.explanation import DropReason
from tests.policies.decisions.test_routing import (
    FLOOR,
    LOCATIONS,
    TRUST,
    WHOLE,
    decide,
    reasons,
    shipped,
    short,
    stocked,
)
from tests.policies.small_retailer import ANYWHERE, TIKTOK, level, order, policy, rules, sold, store, world


def test_all_units_are_saved_by_a_buffer_that_exceeds_the_stock() -> None:
    waived = decide(rules(WHOLE, policy(sold_may_use="[buffer]")), stocked(oslo=4), sold({"MUG": 4}))
    limited = decide(rules(WHOLE, ANYWHERE), stocked(oslo=4), sold({"MUG": 4}))

    assert (waived.outcome, waived.buffer_saved) == (Outcome.ALLOCATED, {"MUG": 4})
    assert (limited.plan, short(limited)) == ((), [("1", 4, "held_by_buffer")])


def test_the_buffer_of_the_chosen_store_saves_units_whatever_the_other_stores_have() -> None:
    request = sold({"MUG": 4}, method="pickup", pickup_location_id="bergen")

    decision = decide(rules(FLOOR, WHOLE, policy(sold_may_use="[buffer]")), stocked(oslo=90, bergen=4), request)

    assert (shipped(decision), decision.buffer_saved) == ([("bergen", {"1": 4})], {"MUG": 2})


def test_what_a_percentage_saves_is_of_the_stock_that_the_order_may_use() -> None:
    half = "kind: buffer\nname: half\nscope: channel\nrules:\n  - {name: half, hold_back: {percent: 50}}\n"
    doubtful = [level("MUG", "oslo", 4), level("MUG", "bergen", 6, count_confidence=0.1)]
    may_use_all = rules(half, TRUST, policy(sold_may_use="[buffer, blocked]"))

    decision = decide(may_use_all, world(LOCATIONS, doubtful), sold({"MUG": 10}))

    assert (decision.outcome, decision.buffer_saved) == (Outcome.ALLOCATED, {"MUG": 5})


def test_a_closed_location_without_stock_is_dropped_because_it_is_closed() -> None:
    snapshot = world([store("gone", status="closed"), store("open")], [level("MUG", "open", 1)])

    assert reasons(decide(rules(ANYWHERE), snapshot, order({"MUG": 1}))) == {"gone": DropReason.CLOSED}


def test_a_location_that_rules_keep_from_a_product_is_dropped_with_the_rule_and_what_it_saw() -> None:
    snapshot = world(LOCATIONS, [level("MUG", "oslo", 2), level("MUG", "bergen", 9, count_confidence=0.5)])

    blocked, held_back = decide(rules(FLOOR, TRUST, ANYWHERE), snapshot, order({"MUG": 1})).dropped[:2]

    assert (blocked.location_id, blocked.sku, blocked.rule) == ("bergen", "MUG", "counts-not-trusted")
    assert (str(blocked.source), blocked.evidence and blocked.evidence.facts()) == (
        "rules/file-1.yaml:5",
        (("stock.count_confidence", "0.5"),),
    )
    assert (held_back.location_id, held_back.sku, held_back.rule) == ("oslo", "MUG", "two-on-the-shop-floor")
    assert (str(held_back.source), held_back.evidence and held_back.evidence.facts()) == (
        "rules/file-0.yaml:6",
        (("location.type", "store"),),
    )


def test_a_location_whose_units_the_order_keeps_all_is_dropped_for_that_product_only() -> None:
    snapshot = world(LOCATIONS, [level("MUG", "oslo", 3, allocated=3), level("CAP", "oslo", 1)])
    whole = WholeOrder(OrderFacts(unit_count=5), {("MUG", "oslo"): 3})

    decision = route(rules(ANYWHERE), snapshot, TIKTOK, sold({"MUG": 1, "CAP": 1}), whole=whole)

    dropped = [(item.location_id, item.sku, item.reason) for item in decision.dropped if item.location_id == "oslo"]
    assert dropped == [("oslo", "MUG", DropReason.NO_STOCK)]
