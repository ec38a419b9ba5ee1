"""How little of a destination a stored decision needs: the coarsest of several erasures that lead to the same decision.

Each is tried by deciding again, so that whatever rules look at, an erased decision replays to the byte. An explanation
names the values of the facts that rules compared; those of a destination are replaced by what is left of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from policies.decisions.decision import Decision
from policies.domain.model import Coordinates, Destination
from policies.policy_set import PolicySet
from service.decisions import erased_destination
from service.decisions.decision_inputs import RoutingInputs
from service.decisions.decision_messages import difference
from service.decisions.erased_destination import EXACTLY
from service.rpc.message_differences import serialized
from truestock.v1 import decision_pb2

DISTANCE_STEPS_KM = (50, 10, 1, EXACTLY)
"""How distances are rounded, coarsest first."""
DROPPED = "dropped"
"""The value of a fact of a destination in the explanation of a decision that cannot be replayed."""

_DISTANCE_FACTS = frozenset({"location.distance_km", "plan.distance_km"})
_FACTS = _DISTANCE_FACTS | {"destination.postal_code"}
_FACT_BYTES = tuple(fact.encode() for fact in sorted(_FACTS))


@dataclass(frozen=True, slots=True)
class Erasure:
    """What stays of a decision's destination, None if it had none, and the serialized Decision without it."""

    destination: Final[decision_pb2.ErasedDestination | None]
    explanation: Final[bytes]
    is_rewritten: Final[bool] = False
    """Whether the explanation said more before."""


def tells_destination(explanation: bytes) -> bool:
    """Whether a serialized Decision may name a fact from which a destination can be told."""
    return any(fact in explanation for fact in _FACT_BYTES)


def erasure(inputs: RoutingInputs, policy_set: PolicySet, decision_id: UUID, explanation: bytes) -> Erasure:
    """What stays of a decision that was made by these rules: decided again, it has the same plan and explanation.

    A decision that this version decides otherwise than its explanation says keeps as little as possible.
    """
    destination = inputs.order.destination
    if destination is None:
        return Erasure(None, explanation)
    original = inputs.decide(policy_set)
    message = inputs.message_of(original, policy_set, decision_id)
    if difference(explanation, message):
        return unreplayable(explanation, inputs)
    expected = _without_facts(message)
    for kept in _erasures(inputs, destination):
        erased = _with_erased(inputs, destination, kept)
        decision = erased.decide(policy_set)
        message = erased.message_of(decision, policy_set, decision_id)
        if _plan(decision) == _plan(original) and _without_facts(message) == expected:
            rewritten = serialized(message)
            return Erasure(kept, rewritten, rewritten != explanation)
    raise AssertionError("a decision depends on more of a destination than its erasures keep")


def unreplayable(explanation: bytes, inputs: RoutingInputs | None = None) -> Erasure:
    """What stays of a decision that is not replayed: as little as possible."""
    destination = None if inputs is None else inputs.order.destination
    kept = None if inputs is None or destination is None else next(_erasures(inputs, destination))
    if not tells_destination(explanation):
        return Erasure(kept, explanation)
    message = decision_pb2.Decision.FromString(explanation)
    for fact in _destination_facts(message):
        fact.value = DROPPED
    return Erasure(kept, serialized(message), is_rewritten=True)


def _plan(decision: Decision) -> tuple[object, ...]:
    """What was decided, but for distances."""
    shipments = tuple((x.location_id, x.lines, x.method, x.handling) for x in decision.plan)
    return decision.outcome, shipments, decision.shortages, decision.needs_review, decision.buffer_saved


def _without_facts(message: decision_pb2.Decision) -> bytes:
    copy = decision_pb2.Decision()
    copy.CopyFrom(message)
    for fact in _destination_facts(copy):
        fact.value = ""
    return serialized(copy)


def _destination_facts(message: decision_pb2.Decision) -> Iterator[decision_pb2.FactSeen]:
    rules: Iterable[decision_pb2.FiredRule | decision_pb2.DroppedCandidate]
    for rules in (message.fired_rules, message.dropped_candidates):
        for rule in rules:
            yield from (fact for fact in rule.facts if fact.fact in _FACTS)


def compares_more(policy_set: PolicySet, erased: decision_pb2.ErasedDestination) -> bool:
    """Whether rules may look at more of a destination than was kept of it, so that they might decide otherwise."""
    has_rates = any(rule.rates is not None for rule in policy_set.delivery)
    reads_distance = bool(policy_set.facts & _DISTANCE_FACTS) or any(
        step.kind == "nearest" for policy in policy_set.routing for step in policy.rank
    )
    return (erased.postal_code_shortened and (has_rates or "destination.postal_code" in policy_set.facts)) or (
        erased.distance_step_km != EXACTLY and (has_rates or reads_distance)
    )


def _erasures(inputs: RoutingInputs, destination: Destination) -> Iterator[decision_pb2.ErasedDestination]:
    """From the coarsest to one that keeps all that a decision can use."""
    locations, whole_code = inputs.world.locations, len(destination.postal_code or "")
    steps = DISTANCE_STEPS_KM if isinstance(destination.coordinates, Coordinates) else (EXACTLY,)
    for length in range(whole_code + 1):
        for step in steps:
            yield erased_destination.erased(destination, locations, postal_code_length=length, distance_step_km=step)


def _with_erased(
    inputs: RoutingInputs, destination: Destination, message: decision_pb2.ErasedDestination
) -> RoutingInputs:
    erased = erased_destination.destination_of(message, inputs.world.locations)
    located = replace(erased, located_by=destination.located_by)
    return replace(inputs, order=replace(inputs.order, destination=located))
