"""ReportService: the six rates of any window of time."""

from __future__ import annotations

from typing import Any

from service.reports.report_operations import ReportOperations
from truestock.v1 import report_service_pb2 as report_pb, report_service_pb2_grpc as report_grpc

Context = Any


class ReportServicer(report_grpc.ReportServiceServicer):
    """ReportOperations reads every report."""

    def __init__(self, operations: ReportOperations) -> None:
        self._operations = operations

    async def GetReport(self, request: report_pb.GetReportRequest, context: Context) -> report_pb.GetReportResponse:
        return await self._operations.get(request)
