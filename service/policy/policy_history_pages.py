"""Lists which rules were in force when, on which service."""

from __future__ import annotations

import asyncpg

from service import limits
from service.database.database import Database
from service.database.tables import policy_history
from service.history import history_requests
from service.history.history_pages import HistoryList
from service.policy.policy_history import LOADED, REFUSED, STARTED, STOPPED
from service.rpc.proto_values import timestamp
from service.rpc.validation import Fields
from truestock.v1 import policy_history_pb2 as history_pb

_HISTORY = HistoryList(
    policy_history,
    "event_time",
    {"instances": "instance", "policy_revisions": "revision"},
    leading=("policy_revisions", "instances"),
)
_KINDS = {
    STARTED: history_pb.PolicyEvent.KIND_STARTED,
    LOADED: history_pb.PolicyEvent.KIND_LOADED,
    REFUSED: history_pb.PolicyEvent.KIND_REFUSED,
    STOPPED: history_pb.PolicyEvent.KIND_STOPPED,
}


async def listed(
    database: Database, request: history_pb.ListPolicyHistoryRequest
) -> history_pb.ListPolicyHistoryResponse:
    """The answer to a request. Raises InvalidFields and NotReady."""
    fields = Fields()
    bounds = {"most": limits.HISTORY_FILTER, "longest": limits.TEXT_LENGTH}
    filters = {
        "instances": history_requests.names(fields, "instances", request.instances, **bounds),
        "policy_revisions": history_requests.names(fields, "policy_revisions", request.policy_revisions, **bounds),
    }
    page = history_requests.history_page(fields, request, filters)
    rows, end = await database.unlocked(
        "list",
        lambda connection: _HISTORY.page(connection, page.count, page.before, since=page.since, filters=page.filters),
    )
    return history_pb.ListPolicyHistoryResponse(
        events=[_message(row) for row in rows], next_page_token=page.tokens.after_time(*end) if end else ""
    )


def _message(row: asyncpg.Record) -> history_pb.PolicyEvent:
    return history_pb.PolicyEvent(
        kind=_KINDS[row["event"]],
        event_time=timestamp(row["event_time"]),
        instance=row["instance"],
        run_id=str(row["run_id"]),
        policy_revision=row["revision"],
        load_time=timestamp(row["load_time"]),
        problem_count=row["problem_count"],
        problem=row["problem"] or "",
    )
