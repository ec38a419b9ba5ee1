"""Why an answer came out as it did, as it is told and stored: the same whether decided now or once more."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from policies.routing import Decision
from service import answers
from truestock.v1 import decision_pb2


def explained(decision: Decision, policy_revision: str, decision_id: UUID, now: datetime) -> decision_pb2.Decision:
    """A decision under its id; `now` is the clock that it was decided by."""
    return decision_pb2.Decision(
        decision_id=str(decision_id),
        policy_revision=policy_revision,
        routing_policy=decision.policy.name,
        routing_policy_source=str(decision.policy.source),
        fired_rules=[answers.fired_rule(fired) for fired in decision.fired],
        dropped_candidates=[answers.dropped_candidate(dropped) for dropped in decision.dropped],
        stock_read_time=answers.timestamp(now),
        search_bounded=not decision.searched_exhaustively,
    )
