"""The command explain: one order, why it got its plan, and what happened to it."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli import options
from service.cli.client import Client, ServiceError, call
from service.cli.console import UserError, json_value, print_json, stdout_console
from service.cli.views.order_views import print_explanation
from service.cli.views.plan_comparison_view import compared_plans
from truestock.v1.allocation_service_pb2 import GetAllocationRequest, GetAllocationResponse
from truestock.v1.policy_service_pb2 import ExplainDecisionRequest, ExplainDecisionResponse

_NOT_EXPLAINED = ("NOT_FOUND", "WRONG_STATE", "OVERLOADED", "UNIMPLEMENTED")
"""Codes of errors for which the plans of a decision cannot be compared; all else about its order is known."""


def explain(
    order: options.AllocationReference,
    decision: Annotated[
        str,
        typer.Option("--decision", metavar="ID", help="Explain this decision of the order, not its latest one."),
    ] = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Explains an order: its shipments and shortages, why it got them, and its timeline.

    Beside the chosen plan it shows the next best one and how that differs, such
    as "1 shipment more; 12.3 km farther; delivered 1 day later"; a split that
    the policy refused; the figures by which each location was ranked; the rules
    that fired, and why other locations were not used.

    \b
    Examples:
      truestock explain shopify/1001
      truestock explain 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
      truestock explain shopify/1001 --decision 0190a6a2
      truestock explain shopify/1001 --json
    """
    request: GetAllocationRequest = options.allocation_reference(order)

    async def ask(client: Client) -> tuple[GetAllocationResponse, ExplainDecisionResponse | None, str]:
        response = await client.ask(client.allocations.GetAllocation, request)
        decision_id = _decision_of(response, decision) if decision else response.allocation.decision.decision_id
        explained, reason = await _explained(client, decision_id)
        if decision and explained is not None:
            response.allocation.decision.CopyFrom(explained.decision)
        return response, explained, reason

    response, explained, reason = call(server, ask)
    if as_json:
        plans = {} if explained is None else {"explained_decision": json_value(explained)}
        print_json({**json_value(response), **plans})
    else:
        print_explanation(stdout_console(), response, compared_plans(explained, reason))


def _decision_of(response: GetAllocationResponse, part: str) -> str:
    """The decision of the order whose id begins or ends like this. Raises UserError."""
    ids = list(dict.fromkeys(event.decision_id for event in response.timeline if event.decision_id))
    found = [key for key in ids if key.startswith(options.decision_id(part).lower()) or key.endswith(part.lower())]
    if len(found) == 1:
        return found[0]
    problem = "stands for more than one of" if found else "is not one of"
    raise UserError(f"{part!r} {problem} the decisions of this order: {', '.join(ids) or 'none'}")


async def _explained(client: Client, decision_id: str) -> tuple[ExplainDecisionResponse | None, str]:
    """The plans of a decision compared, or why they cannot be."""
    if not decision_id:
        return None, ""
    try:
        request = ExplainDecisionRequest(decision_id=decision_id)
        return await client.ask(client.policies.ExplainDecision, request), ""
    except ServiceError as error:
        if error.code not in _NOT_EXPLAINED:
            raise
        return None, str(error)
