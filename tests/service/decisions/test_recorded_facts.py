"""Which facts stored inputs lack, so that nothing is guessed and nothing that can be decided is refused."""

from __future__ import annotations

import pytest

from policies.domain.model import Product
from policies.policy_set import PolicySet
from policies.reading.rules_reader import read
from service.decisions.recorded_facts import INPUTS_VERSION, lacking_facts
from truestock.v1 import decision_pb2

TAGGED, PLAIN = Product("MILK", tags=frozenset({"fresh"})), Product("MUG")
AGE = frozenset({"stock.oldest_days"})


def rules(rank: str, applies_to: str = "") -> PolicySet:
    """The rules of a folder with one policy more than the one for all orders."""
    some = f"  - {{name: some, position: 10, rank: [{rank}], otherwise: exception{applies_to}}}"
    last = "  - {name: last, position: 90, rank: [priority], otherwise: exception}"
    reading = read({"rules/routing.yaml": f"kind: routing\npolicies:\n{some}\n{last}\n".encode()})
    assert reading.policy_set is not None, reading.problems
    return reading.policy_set


NEVER = rules("priority", ", applies_to: {order.method: pickup}")
OF_FRESH = rules("oldest_stock, priority", ", applies_to: {order.product_tags: {contains: fresh}}")
OF_ALL = rules("oldest_stock, priority", ", applies_to: {order.method: pickup}")


@pytest.mark.parametrize(
    ("past", "candidate", "product", "lacking"),
    [
        (NEVER, NEVER, TAGGED, frozenset()),
        (NEVER, OF_FRESH, TAGGED, AGE),
        (NEVER, OF_FRESH, PLAIN, frozenset()),
        (NEVER, OF_ALL, PLAIN, AGE),
        (OF_FRESH, OF_FRESH, TAGGED, frozenset()),
        (OF_FRESH, OF_FRESH, PLAIN, frozenset()),
        (OF_FRESH, OF_ALL, PLAIN, AGE),
        (OF_FRESH, OF_ALL, TAGGED, frozenset()),
        (OF_ALL, OF_FRESH, TAGGED, frozenset()),
    ],
)
def test_the_age_of_stock_is_lacking_where_only_the_other_rules_ask_for_it(
    past: PolicySet, candidate: PolicySet, product: Product, lacking: frozenset[str]
) -> None:
    message = decision_pb2.DecisionInputs(inputs_version=INPUTS_VERSION)

    assert lacking_facts(message, [product], past, candidate) == lacking


def test_the_age_of_stock_is_there_if_a_level_has_it() -> None:
    message = decision_pb2.DecisionInputs(inputs_version=INPUTS_VERSION)
    message.levels.add().oldest_receipt_time.GetCurrentTime()

    assert lacking_facts(message, [PLAIN], NEVER, OF_ALL) == frozenset()
