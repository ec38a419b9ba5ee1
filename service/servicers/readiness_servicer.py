"""ReadinessService: whether a channel can be operated."""

from __future__ import annotations

from typing import Any

from service.readiness import connection_requests
from service.readiness.connection_operations import ConnectionOperations
from service.readiness.readiness_operations import ReadinessOperations
from truestock.v1 import (
    connection_pb2 as connection_pb,
    readiness_service_pb2 as readiness_pb,
    readiness_service_pb2_grpc as readiness_grpc,
)

Context = Any


class ReadinessServicer(readiness_grpc.ReadinessServiceServicer):
    """ReadinessOperations makes every check; ConnectionOperations keeps what connectors say."""

    def __init__(self, operations: ReadinessOperations, connections: ConnectionOperations) -> None:
        self._operations = operations
        self._connections = connections

    async def CheckReadiness(
        self, request: readiness_pb.CheckReadinessRequest, context: Context
    ) -> readiness_pb.CheckReadinessResponse:
        return await self._operations.check(request)

    async def ListReadinessChecks(
        self, request: readiness_pb.ListReadinessChecksRequest, context: Context
    ) -> readiness_pb.ListReadinessChecksResponse:
        return await self._operations.checks(request)

    async def UpsertConnection(
        self, request: connection_pb.UpsertConnectionRequest, context: Context
    ) -> connection_pb.UpsertConnectionResponse:
        await self._connections.upsert(connection_requests.connection_request(request))
        return connection_pb.UpsertConnectionResponse()

    async def DeleteConnection(
        self, request: connection_pb.DeleteConnectionRequest, context: Context
    ) -> connection_pb.DeleteConnectionResponse:
        await self._connections.delete(connection_requests.delete_request(request))
        return connection_pb.DeleteConnectionResponse()
