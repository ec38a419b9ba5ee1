"""AuditService: who changed what."""

from __future__ import annotations

from typing import Any

from service.database.database import Database
from service.history import audit_pages
from truestock.v1 import audit_service_pb2 as audit_pb, audit_service_pb2_grpc as audit_grpc

Context = Any


class AuditServicer(audit_grpc.AuditServiceServicer):
    """Reads the audit log; what changes something writes its own events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ListAuditEvents(
        self, request: audit_pb.ListAuditEventsRequest, context: Context
    ) -> audit_pb.ListAuditEventsResponse:
        return await audit_pages.listed(self._database, request)
