"""Why a decision that is not stored would choose its plan: the decision of a preview, explained by its inputs."""

from __future__ import annotations

from dataclasses import replace

from policies.decisions.alternatives.decision_explanation import explain
from policies.policy_set import PolicySet
from service.background import pause_of_turn
from service.decisions.decision_inputs import destination_message, inputs_of
from service.decisions.decision_log import DecisionInputs
from service.decisions.explanation_messages import explanation_message
from truestock.v1 import decision_explanation_pb2 as explanation_pb, decision_pb2


def explained(inputs: DecisionInputs, policy_set: PolicySet) -> explanation_pb.DecisionExplanation | None:
    """The explanation by the rules that decided; None if the inputs are too long to be explained. Takes long.

    The inputs are read back as from the database, so that a preview is explained by what a stored decision has. The
    channel and the locations are those of the catalog, for which planning remembers what rules say of them.
    """
    by_value = inputs.by_value()
    if by_value is None:
        return None
    snapshot = inputs.snapshot
    message = decision_pb2.DecisionInputs.FromString(snapshot.stored_catalog().content + by_value)
    destination = destination_message(inputs.order.destination)
    if destination is not None:
        message.order.destination.CopyFrom(destination)
    read = inputs_of(message)
    world = replace(read.world, locations=snapshot.locations, pause=pause_of_turn())
    return explanation_message(explain(replace(read, world=world, channel=snapshot.channel).routed(policy_set)))
