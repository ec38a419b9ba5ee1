"""ExceptionService: list, assign and resolve exceptions, and report sync failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from service.database.database import Connection
from service.exceptions import exception_messages, exception_requests
from service.replica.reads import Reads
from service.resolution import exception_list
from service.resolution.exception_operations import ExceptionOperations
from service.rpc.idempotency import IdempotentRequest
from truestock.v1 import exception_service_pb2 as exception_pb, exception_service_pb2_grpc as exception_grpc

Context = Any


class ExceptionServicer(exception_grpc.ExceptionServiceServicer):
    """Reads exceptions from the store; ExceptionOperations makes every change."""

    def __init__(self, reads: Reads, operations: ExceptionOperations, new_id: Callable[[], UUID]) -> None:
        self._reads = reads
        self._operations = operations
        self._new_id = new_id

    async def ListExceptions(
        self, request: exception_pb.ListExceptionsRequest, context: Context
    ) -> exception_pb.ListExceptionsResponse:
        page = exception_requests.exceptions_page(request)

        async def read(connection: Connection) -> exception_pb.ListExceptionsResponse:
            rows, end = await exception_list.page(connection, page)
            counts, is_partial = await exception_list.counts(connection, page) if page.with_counts else ([], False)
            return exception_pb.ListExceptionsResponse(
                exceptions=[exception_messages.exception_record(row) for row in rows],
                next_page_token=page.tokens.after_key(end) if end else "",
                counts=[exception_pb.ExceptionCount(**row) for row in counts],
                counts_are_partial=is_partial,
            )

        return await self._reads.answer(lambda source: source.database.unlocked("list", read))

    async def GetException(
        self, request: exception_pb.GetExceptionRequest, context: Context
    ) -> exception_pb.GetExceptionResponse:
        return await self._operations.get(exception_requests.exception_id(request))

    async def AssignException(
        self, request: exception_pb.AssignExceptionRequest, context: Context
    ) -> exception_pb.AssignExceptionResponse:
        parsed = exception_requests.assignment(request)
        idempotent = IdempotentRequest.of("AssignException", request, parsed.request_id, self._new_id)
        return await self._operations.assign(parsed, idempotent)

    async def ResolveException(
        self, request: exception_pb.ResolveExceptionRequest, context: Context
    ) -> exception_pb.ResolveExceptionResponse:
        parsed = exception_requests.resolution_request(request)
        if request.validate_only:
            return await self._operations.preview(parsed)
        idempotent = IdempotentRequest.of("ResolveException", request, parsed.request_id, self._new_id)
        return await self._operations.resolve(parsed, idempotent)

    async def ReportSyncFailure(
        self, request: exception_pb.ReportSyncFailureRequest, context: Context
    ) -> exception_pb.ReportSyncFailureResponse:
        failure = exception_requests.sync_failure(request)
        idempotent = IdempotentRequest.of("ReportSyncFailure", request, failure.request_id, self._new_id)
        return await self._operations.report(failure, idempotent)

    async def ReportSyncRecovery(
        self, request: exception_pb.ReportSyncRecoveryRequest, context: Context
    ) -> exception_pb.ReportSyncRecoveryResponse:
        recovery = exception_requests.sync_recovery(request)
        idempotent = IdempotentRequest.of("ReportSyncRecovery", request, recovery.request_id, self._new_id)
        return await self._operations.recover(recovery, idempotent)
