"""Which facts the inputs of a stored decision record: older software knew fewer."""

from __future__ import annotations

from policies.facts.measures import OLDEST_DAYS, READY_FOR_CHANNEL
from truestock.v1 import decision_pb2

INPUTS_VERSION = 2
"""The version of the inputs that are stored now."""
_FACTS_SINCE = {
    1: frozenset({"stock.days_since_count"}),
    2: frozenset({"product.weight_grams", "order.weight_grams", "order.product_tags"}),
}
"""The facts that inputs before each version lack: there, unknown may mean that nothing was recorded."""


def unrecorded_facts(message: decision_pb2.DecisionInputs) -> frozenset[str]:
    """The facts that the inputs do not record, because they were stored before these facts were."""
    unrecorded = [facts for version, facts in _FACTS_SINCE.items() if message.inputs_version < version]
    if not any(level.HasField("oldest_receipt_time") for level in message.levels):
        # Receipts are read only where a rule asks when stock came in.
        unrecorded.append(frozenset({OLDEST_DAYS}))
    if not any(product.ready_platforms or product.unready_platforms for product in message.products):
        # Requirements are checked only where a rule asks whether products are ready.
        unrecorded.append(frozenset({READY_FOR_CHANNEL}))
    return frozenset().union(*unrecorded)
