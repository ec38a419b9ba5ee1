"""ReadinessService: whether a channel can be operated."""

from __future__ import annotations

from typing import Any

from service.readiness.readiness_operations import ReadinessOperations
from truestock.v1 import readiness_service_pb2 as readiness_pb, readiness_service_pb2_grpc as readiness_grpc

Context = Any


class ReadinessServicer(readiness_grpc.ReadinessServiceServicer):
    """ReadinessOperations makes every check."""

    def __init__(self, operations: ReadinessOperations) -> None:
        self._operations = operations

    async def CheckReadiness(
        self, request: readiness_pb.CheckReadinessRequest, context: Context
    ) -> readiness_pb.CheckReadinessResponse:
        return await self._operations.check(request)

    async def ListReadinessChecks(
        self, request: readiness_pb.ListReadinessChecksRequest, context: Context
    ) -> readiness_pb.ListReadinessChecksResponse:
        return await self._operations.checks(request)
