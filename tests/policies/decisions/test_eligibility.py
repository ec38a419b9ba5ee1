"""Whether the rules let an order use a location at all, whatever the stock."""

import pytest

from policies.decisions.eligibility import RoutingQuestion, dropped_by_policy, reason_not_allowed
from policies.domain.model import Channel, OrderFacts
from policies.policy_set import PolicySet
from tests.policies.small_retailer import rules, store, warehouse, world

POLICIES = """\
kind: routing
policies:
  - {name: gifts, position: 10, applies_to: {order.tags: {contains: gift}}, only: {location.tags: {contains: wraps}},
     rank: [nearest], otherwise: OTHERWISE}
  - {name: rest, position: 100, rank: [nearest], exclude: [{name: on-stocktake, when: {location.status: stocktake}}]}
"""
LOCATIONS = [
    store("wrapper", tags=frozenset({"wraps"})),
    store("plain"),
    store("counting", status="stocktake"),
    store("wrapper-counting", tags=frozenset({"wraps"}), status="stocktake"),
    warehouse("shut", status="closed", tags=frozenset({"wraps"})),
]
EVERYWHERE = Channel("web", "web")


def reason(location_id: str, *tags: str, otherwise: str = "next", channel: Channel = EVERYWHERE) -> str | None:
    policy_set: PolicySet = rules(POLICIES.replace("OTHERWISE", otherwise))
    question = RoutingQuestion(world(LOCATIONS, []), channel, OrderFacts("ship", tags=frozenset(tags)))
    return reason_not_allowed(policy_set, question, location_id)


def test_a_location_that_the_deciding_policy_uses_is_allowed() -> None:
    assert reason("plain") is None
    assert reason("wrapper", "gift", otherwise="exception") is None


@pytest.mark.parametrize("otherwise", ["next", "exception"])
def test_a_policy_that_passes_orders_on_leaves_the_choice_to_the_next_one(otherwise: str) -> None:
    passes_on = otherwise == "next"

    assert (reason("plain", "gift", otherwise=otherwise) is None) is passes_on
    # The first policy uses it, whatever the next one says.
    assert reason("wrapper-counting", "gift", otherwise=otherwise) is None
    assert reason("counting", "gift") is not None


def test_the_reason_names_the_rule_and_the_location() -> None:
    excluding, demanding = reason("counting"), reason("plain", "gift", otherwise="exception")

    assert excluding is not None
    assert excluding.startswith("rule on-stocktake (")
    assert excluding.endswith(") excludes counting")
    assert demanding is not None
    assert demanding.endswith(") does not allow plain")


def test_a_closed_location_is_not_allowed_without_any_rule() -> None:
    assert reason("shut") == "shut is closed"
    assert reason("shut", "gift", otherwise="exception") == "shut is closed"


def test_a_location_outside_the_channel_or_the_catalog_is_not_allowed() -> None:
    assert reason("plain", channel=Channel("web", "web", "", frozenset({"wrapper"}))) == (
        "web no longer sells from plain"
    )
    assert reason("gone") == "gone is not in the catalog"


def test_a_location_that_a_policy_does_not_allow_is_dropped_with_what_the_condition_saw() -> None:
    policy_set = rules(POLICIES.replace("OTHERWISE", "next"))
    question = RoutingQuestion(world(LOCATIONS, []), EVERYWHERE, OrderFacts("ship", tags=frozenset({"gift"})))

    dropped = dropped_by_policy(policy_set.routing[0], store("plain"), question)

    assert dropped is not None
    assert dropped.evidence is not None
    assert [fact for fact, _ in dropped.evidence.facts()] == ["location.tags"]
