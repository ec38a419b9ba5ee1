"""Reads reports, one at a time, each from one snapshot of the database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence, Set
from functools import partial

from policies.reports import rates
from service import limits
from service.catalog import catalog_store, unknown_records
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import ReportTooLarge, no_channel
from service.reports import oversell_remedies, report_messages, report_requests, report_store
from service.reports.report_requests import ReportRequest
from service.reports.report_store import CountQuery
from service.rpc.call_limit import LimitedTurns
from truestock.v1 import report_service_pb2 as report_pb


class ReportOperations:
    """Reports of one service."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self._turns = LimitedTurns(at_once=1, waiting=limits.REPORTS_WAITING, subject="reports")

    async def get(self, request: report_pb.GetReportRequest) -> report_pb.GetReportResponse:
        """One report. Raises InvalidFields, NotFound, ReportTooLarge, Overloaded and NotReady."""
        checked = report_requests.report_request(request, self._deps.policies().time_zone)
        async with self._turns.turn():
            try:
                async with asyncio.timeout(limits.REPORT_SECONDS):
                    return await self._deps.database.snapshot("report", partial(self._read, request=checked))
            except TimeoutError as error:
                raise ReportTooLarge(f"{limits.REPORT_SECONDS} seconds") from error

    async def _read(self, connection: Connection, request: ReportRequest) -> report_pb.GetReportResponse:
        await report_store.limit_resources(connection)
        await self._check_names(connection, request)
        filters = {rates.CHANNEL: request.channel_ids, rates.LOCATION: request.location_ids}
        filters = {dimension: ids for dimension, ids in filters.items() if ids}
        counts = await report_store.counts(connection, CountQuery(request.boundaries, request.dimensions, filters))
        before = []
        if request.with_previous:
            before = await report_store.counts(connection, CountQuery((request.before, request.since), (), filters))
        answer = report_messages.report(request, counts, before, await report_store.open_exceptions(connection))
        if request.with_oversells:
            listed = await oversell_remedies.read(connection, request)
            answer.oversells.extend(listed.oversells)
            answer.oversells_are_truncated = listed.is_truncated
        return answer

    async def _check_names(self, connection: Connection, request: ReportRequest) -> None:
        """Raises NotFound: an empty report of a channel that does not exist would look like one without problems."""
        if not request.filtered:
            return
        catalog = await self._deps.catalog_cache.at(connection, await catalog_store.version(connection))
        unknown = _unknown("channel_ids", request.channel_ids, catalog.channels.keys())
        if unknown:
            raise no_channel(unknown, catalog.channels)
        unknown = _unknown("location_ids", request.location_ids, catalog.locations.keys())
        if unknown:
            raise await unknown_records.location_error(connection, unknown)


def _unknown(field: str, ids: Sequence[str], known: Set[str]) -> dict[str, str]:
    return {f"{field}[{index}]": id for index, id in enumerate(ids) if id not in known}
