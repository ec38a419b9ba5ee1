"""Lists audit events: who changed what, newest first."""

from __future__ import annotations

import asyncpg

from service import limits
from service.audit import origin
from service.audit.audit_log import AREAS
from service.database.database import Database
from service.database.tables import audit_event
from service.history import history_requests
from service.history.history_pages import HistoryList
from service.rpc.proto_values import timestamp
from service.rpc.validation import Fields
from truestock.v1 import audit_service_pb2 as audit_pb

_EVENTS = HistoryList(
    audit_event,
    "event_time",
    {
        "entity_ids": "entity_id",
        "principals": "principal",
        "rpcs": "rpc",
        "entities": "entity",
        "areas": "area",
    },
    leading=("entity_ids", "principals", "rpcs"),
)
_CREDENTIALS = {
    origin.NONE: audit_pb.AuditEvent.CREDENTIAL_NONE,
    origin.TOKEN: audit_pb.AuditEvent.CREDENTIAL_TOKEN,
    origin.JSON_WEB_TOKEN: audit_pb.AuditEvent.CREDENTIAL_JSON_WEB_TOKEN,
    origin.CERTIFICATE: audit_pb.AuditEvent.CREDENTIAL_CERTIFICATE,
    origin.SERVICE: audit_pb.AuditEvent.CREDENTIAL_SERVICE,
}


async def listed(database: Database, request: audit_pb.ListAuditEventsRequest) -> audit_pb.ListAuditEventsResponse:
    """The answer to a request. Raises InvalidFields and NotReady."""
    fields = Fields()
    filters = {
        name: history_requests.names(
            fields, name, getattr(request, name), most=limits.HISTORY_FILTER, longest=limits.RECORD_ID_LENGTH
        )
        for name in ("principals", "entities", "entity_ids", "areas", "rpcs")
    }
    for index, area in enumerate(request.areas):
        if area not in AREAS:
            fields.wrong(f"areas[{index}]", f"'{area[:64]}' is not one of {', '.join(AREAS)}")
    page = history_requests.history_page(fields, request, filters)
    rows, end = await database.unlocked(
        "list",
        lambda connection: _EVENTS.page(connection, page.count, page.before, since=page.since, filters=page.filters),
    )
    return audit_pb.ListAuditEventsResponse(
        events=[_message(row) for row in rows], next_page_token=page.tokens.after_time(*end) if end else ""
    )


def _message(row: asyncpg.Record) -> audit_pb.AuditEvent:
    return audit_pb.AuditEvent(
        event_number=row["id"],
        event_time=timestamp(row["event_time"]),
        principal=row["principal"],
        credential=_CREDENTIALS.get(row["credential"], audit_pb.AuditEvent.CREDENTIAL_UNSPECIFIED),
        actor=row["actor"] or "",
        peer=row["peer"] or "",
        rpc=row["rpc"] or "",
        request_id=row["request_id"] or "",
        area=row["area"],
        entity=row["entity"],
        entity_id=row["entity_id"],
        change=row["change"],
        before_json=row["before"] or "",
        after_json=row["after"] or "",
    )
