"""Which facts the inputs of a stored decision record: older software knew fewer."""

from __future__ import annotations

from collections.abc import Collection

from policies.domain.model import Product
from policies.facts.measures import OLDEST_DAYS, READY_FOR_CHANNEL
from policies.policy_set import PolicySet
from truestock.v1 import decision_pb2

INPUTS_VERSION = 2
"""The version of the inputs that are stored now."""
_FACTS_SINCE = {
    1: frozenset({"stock.days_since_count"}),
    2: frozenset({"product.weight_grams", "order.weight_grams", "order.product_tags"}),
}
"""The facts that inputs before each version lack: there, unknown may mean that nothing was recorded."""


def lacking_facts(
    message: decision_pb2.DecisionInputs, products: Collection[Product], past: PolicySet, candidate: PolicySet
) -> frozenset[str]:
    """The facts that the candidate rules compare and the inputs do not record.

    Inputs lack facts that older software did not know, and those that are read only where rules ask for them: when the
    stock of these products came in, and whether they are ready for a channel. What the rules that decided asked for was
    read, and is unknown where the inputs say nothing of it.
    """
    lacking = {fact for version, facts in _FACTS_SINCE.items() if message.inputs_version < version for fact in facts}
    has_receipts = any(level.HasField("oldest_receipt_time") for level in message.levels)
    if not (has_receipts or past.reads_receipts_of(products)) and candidate.reads_receipts_of(products):
        lacking.add(OLDEST_DAYS)
    has_readiness = any(product.ready_platforms or product.unready_platforms for product in message.products)
    if not (has_readiness or past.reads_readiness):
        lacking.add(READY_FOR_CHANNEL)
    return candidate.facts & lacking
