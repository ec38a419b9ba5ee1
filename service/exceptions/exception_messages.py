"""Exceptions and their history as messages of the API."""

from __future__ import annotations

import asyncpg

from policies.domain.resolutions import ALLOWED
from service.rpc.proto_values import timestamp
from truestock.v1 import (
    exception_pb2,
)

EXCEPTION_STATES = {
    "open": exception_pb2.ExceptionRecord.STATE_OPEN,
    "resolved": exception_pb2.ExceptionRecord.STATE_RESOLVED,
    "superseded": exception_pb2.ExceptionRecord.STATE_SUPERSEDED,
}


RESOLUTIONS = {
    name.removeprefix("EXCEPTION_RESOLUTION_").lower(): number
    for name, number in exception_pb2.ExceptionResolution.items()
    if number
}
"""Resolutions of the API by the words that the database stores."""


SYNC_FAILURE_KINDS = {
    number: name.removeprefix("SYNC_FAILURE_KIND_").lower()
    for name, number in exception_pb2.SyncFailureKind.items()
    if number
}
"""What failed, by its number in the API."""


def exception_record(row: asyncpg.Record) -> exception_pb2.ExceptionRecord:
    """A row of `exception_record`."""
    return exception_pb2.ExceptionRecord(
        exception_id=str(row["id"]),
        kind=row["kind"],
        owner=row["owner"],
        action=row["action"],
        due_time=timestamp(row["due_time"]),
        escalate_to=row["escalate_to"] or "",
        rule=row["rule"],
        description=row["description"],
        state=EXCEPTION_STATES[row["state"]],
        allocation_id=str(row["allocation_id"] or ""),
        shipment_id=str(row["shipment_id"] or ""),
        channel_id=row["channel_id"] or "",
        order_id=row["order_id"] or "",
        sku=row["sku"] or "",
        location_id=row["location_id"] or "",
        source=row["source"] or "",
        assignee=row["assignee"] or "",
        needs_person=row["needs_person"],
        create_time=timestamp(row["create_time"]),
        update_time=timestamp(row["update_time"]),
        escalate_time=timestamp(row["escalate_time"]),
        resolve_time=timestamp(row["resolve_time"]),
        resolution=RESOLUTIONS.get(row["resolution"], exception_pb2.EXCEPTION_RESOLUTION_UNSPECIFIED),
        resolved_by=row["resolved_by"] or "",
        note=row["note"] or "",
        policy_revision=row["policy_revision"],
        repeat_count=row["repeat_count"],
        sub_kind=row["sub_kind"] or "",
        outlet_id=row["outlet_id"] or "",
        allowed_resolutions=[RESOLUTIONS[word] for word in ALLOWED[row["kind"]]] if row["state"] == "open" else [],
    )


def exception_event(row: asyncpg.Record) -> exception_pb2.ExceptionEvent:
    """A row of `exception_event`."""
    return exception_pb2.ExceptionEvent(
        event_time=timestamp(row["event_time"]),
        event=row["event"],
        actor=row["actor"],
        description=row["description"],
    )
