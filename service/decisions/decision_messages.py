"""Decisions as messages of the API: the same message when a decision is made, stored or replayed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from policies.decisions.decision import Decision
from policies.domain.model import Commitment
from policies.explanation import DroppedLocation, FiredRule, RuleEvidence
from policies.stock.oversell import OutletEvidence, OversellEvidence, oversell_cause
from service.decisions.former_words import in_current_words
from service.rpc import proto_values
from service.rpc.message_differences import differing_field, serialized
from truestock.v1 import (
    decision_pb2,
    order_pb2,
)


def decision_message(
    decision: Decision,
    policy_revision: str,
    decision_id: UUID,
    now: datetime,
    oversells: Iterable[OversellEvidence] = (),
) -> decision_pb2.Decision:
    """A decision under its id; `now` is the time of its stock read. The causes of its oversells are found here."""
    return decision_pb2.Decision(
        decision_id=str(decision_id),
        policy_revision=policy_revision,
        routing_policy=decision.policy.name,
        routing_policy_source=str(decision.policy.source),
        fired_rules=[fired_rule(fired) for fired in decision.fired],
        dropped_candidates=[dropped_candidate(dropped) for dropped in decision.dropped],
        stock_read_time=proto_values.timestamp(now),
        search_truncated=not decision.searched_exhaustively,
        oversells=[oversell(evidence, oversell_cause(evidence)) for evidence in oversells],
        fewest_shipments_bound=decision.fewest_shipments,
        shipments_above_bound=decision.shipments_above_bound,
    )


def difference(explanation: bytes, replayed: decision_pb2.Decision) -> str:
    """The first field in which a replayed decision differs from the stored bytes; empty if it has the same bytes.

    Stored words of an earlier version count as those that this one has for them.
    """
    if serialized(replayed) == explanation:
        return ""
    stored = in_current_words(explanation)
    if serialized(replayed) == stored:
        return ""
    return differing_field(decision_pb2.Decision.FromString(stored), replayed)


def oversell(evidence: OversellEvidence, cause: str = "") -> decision_pb2.OversellEvidence:
    """The evidence of an oversell, with its cause in a decision and without in its inputs."""
    figure, published = evidence.published, None
    if figure is not None:
        published = decision_pb2.PublishedFigure(
            sellable_count=figure.sellable,
            publish_time=proto_values.timestamp(figure.publish_time),
            policy_revision=figure.policy_revision,
        )
    return decision_pb2.OversellEvidence(
        sku=evidence.sku,
        ordered_count=evidence.ordered,
        short_count=evidence.short,
        published=published,
        own_promised_count=evidence.own_units,
        other_promised_count=evidence.other_units,
        stale=evidence.is_stale,
        cause=cause,
        shown_count=evidence.shown.units if evidence.shown else None,
        observe_time=proto_values.timestamp(evidence.shown.observe_time) if evidence.shown else None,
        outlet=_outlet(evidence.outlet) if evidence.outlet else None,
    )


def _outlet(evidence: OutletEvidence) -> decision_pb2.OutletEvidence:
    return decision_pb2.OutletEvidence(
        outlet_id=evidence.outlet_id,
        published_count=evidence.published,
        publish_time=proto_values.timestamp(evidence.publish_time),
        shown_count=evidence.shown,
        observe_time=proto_values.timestamp(evidence.observe_time),
    )


COMMITMENTS = {
    Commitment.HOLD: order_pb2.COMMITMENT_HOLD,
    Commitment.SOLD: order_pb2.COMMITMENT_SOLD,
}


def fired_rule(fired: FiredRule) -> decision_pb2.FiredRule:
    """A rule that influenced the decision."""
    return decision_pb2.FiredRule(
        rule=fired.name,
        source=str(fired.source),
        location_id=fired.location_id or "",
        sku=fired.sku or "",
        effect=fired.effect,
        facts=_fact_values(fired.evidence),
    )


def dropped_candidate(dropped: DroppedLocation) -> decision_pb2.DroppedCandidate:
    """A location that was dropped, and why."""
    return decision_pb2.DroppedCandidate(
        location_id=dropped.location_id,
        sku=dropped.sku or "",
        reason=dropped.reason,
        rule=dropped.rule or "",
        source=str(dropped.source) if dropped.source else "",
        facts=_fact_values(dropped.evidence),
        line_id=dropped.line_id or "",
    )


def _fact_values(evidence: RuleEvidence | None) -> list[decision_pb2.FactSeen]:
    facts = evidence.facts() if evidence else ()
    return [decision_pb2.FactSeen(fact=fact, value=value) for fact, value in facts]
