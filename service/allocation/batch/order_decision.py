"""Decides one order and makes the answer to it; a large order takes turns with everything else."""

from __future__ import annotations

import time
from datetime import datetime

from service import limits
from service.allocation.allocation_queue import Ticket
from service.allocation.batch.batch_state import BatchState
from service.allocation.intake.order_intake import Intake
from service.allocation.planner import AllocationChange
from service.allocation.planning_context import PlanningContext
from service.background import in_turns
from service.catalog.catalog_store import Catalog
from service.observability.calls import current_call
from service.orders import order_messages
from truestock.v1 import allocation_service_pb2 as allocation_pb


async def decide(
    intake: Intake, ticket: Ticket, context: PlanningContext, *, in_transaction: bool = True
) -> AllocationChange:
    """What the request changes, with the time that it took to decide."""
    started = time.perf_counter()
    change = await _receive(intake, ticket, context)
    ended, work = time.perf_counter(), current_call.get()
    if work is not None:
        work.decided(ended - started, in_transaction=in_transaction)
        if work.trace is not None:
            of = ticket.served_call.trace if ticket.served_call is not None else None
            work.trace.add("decision", started, ended, _decision_attributes(ticket, change), of=of)
    return change


def _decision_attributes(ticket: Ticket, change: AllocationChange) -> dict[str, str | int]:
    """What a trace says of a decision: nothing that the order's sender wrote."""
    attributes: dict[str, str | int] = {
        "truestock.policy_revision": ticket.policy_set.revision,
        "truestock.lines": ticket.line_count,
    }
    if change.decision is not None:
        attributes["truestock.outcome"] = change.decision.outcome.value
        attributes["truestock.policy"] = change.decision.policy.name
        attributes["truestock.decision_id"] = str(change.record.decision_id)
    return attributes


async def _receive(intake: Intake, ticket: Ticket, context: PlanningContext) -> AllocationChange:
    """What the request changes; a large order is planned in turns with everything else."""
    if _is_large(ticket, context.catalog):
        return await in_turns(intake.receive, ticket.request, context)
    return intake.receive(ticket.request, context)


async def answer(
    ticket: Ticket, change: AllocationChange, batch: BatchState, now: datetime
) -> allocation_pb.Allocation:
    """The answer to an order; that to a large one is built in turns with everything else."""
    if _is_large(ticket, batch.catalog):
        return await in_turns(order_messages.allocation, change.record, now, change_refused=change.change_refused)
    return order_messages.allocation(change.record, now, change_refused=change.change_refused)


def _is_large(ticket: Ticket, catalog: Catalog) -> bool:
    return len(ticket.request.order.lines) * len(catalog.locations) > limits.LEVELS_AT_ONCE
