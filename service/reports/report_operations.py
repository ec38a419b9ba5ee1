"""Reads reports, one at a time, each from one snapshot of the database or of its replica."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import asyncpg

from policies.domain.cancellation_limits import limit_of
from policies.domain.model import Channel
from policies.reports import rates
from service import limits
from service.catalog import catalog_store, unknown_records
from service.catalog.catalog_store import Catalog, CatalogCache
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import ReportTooLarge, no_channel
from service.replica.replica import Source
from service.reports import oversell_remedies, report_messages, report_requests, report_store
from service.reports.oversell_remedies import OversellList
from service.reports.report_requests import ReportRequest
from service.reports.report_store import CountQuery
from service.rpc.call_limit import LimitedTurns
from truestock.v1 import report_service_pb2 as report_pb


@dataclass(frozen=True, slots=True)
class _Found:
    """What one snapshot of the database says: sums of the window and of the one before, and what is listed."""

    sums: Sequence[asyncpg.Record]
    sums_before: Sequence[asyncpg.Record]
    open_exceptions: tuple[int, int]
    headrooms: Sequence[report_pb.ReportHeadroom]
    oversells: OversellList | None


class ReportOperations:
    """Reports of one service."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self._turns = LimitedTurns(at_once=1, waiting=limits.REPORTS_WAITING, subject="reports")

    async def get(self, request: report_pb.GetReportRequest) -> report_pb.GetReportResponse:
        """One report. Raises InvalidFields, NotFound, ReportTooLarge, Overloaded and NotReady."""
        policies = self._deps.policies()
        checked = report_requests.report_request(request, policies.time_zone, policies.currency)
        async with self._turns.turn():
            try:
                async with asyncio.timeout(limits.REPORT_SECONDS):
                    found = await self._deps.reads.answer(partial(self._read_from, request=checked))
                    # Seconds of work for many periods and groups: other calls go on meanwhile.
                    return await asyncio.to_thread(_report, checked, found)
            except TimeoutError as error:
                raise ReportTooLarge(f"{limits.REPORT_SECONDS} seconds") from error

    async def _read_from(self, source: Source, request: ReportRequest) -> _Found:
        return await source.database.snapshot(
            "report", partial(self._read, request=request, cache=source.catalog_cache)
        )

    async def _read(self, connection: Connection, request: ReportRequest, cache: CatalogCache) -> _Found:
        await report_store.limit_resources(connection)
        catalog = await cache.at(connection, await catalog_store.version(connection))
        await self._check_names(connection, request, catalog)
        filters = {rates.CHANNEL: request.channel_ids, rates.LOCATION: request.location_ids}
        filters = {dimension: ids for dimension, ids in filters.items() if ids}
        whole = CountQuery(request.boundaries, request.dimensions, filters)
        previous = CountQuery((request.before, request.since), (), filters)
        return _Found(
            await report_store.sums(connection, whole),
            await report_store.sums(connection, previous) if request.with_previous else (),
            await report_store.open_exceptions(connection),
            () if request.location_ids else tuple(self._headrooms(catalog, cache.as_read.channels, request)),
            await oversell_remedies.read(connection, request) if request.with_oversells else None,
        )

    def _headrooms(
        self, catalog: Catalog, stated: Mapping[str, Channel], request: ReportRequest
    ) -> Iterator[report_pb.ReportHeadroom]:
        """The headroom of each channel that has one, as rules see it now; `stated` are the channels as upserted."""
        today = datetime.now(UTC).date()
        for id in sorted(set(request.channel_ids) or catalog.channels.keys()):
            left = catalog.channels[id].cancellation_headroom
            if left is not None:
                is_stated = id in stated and stated[id].cancellation_headroom is not None
                channel = catalog.channels[id]
                limit = None if is_stated else limit_of(channel.platform, today, channel.markets)
                yield report_messages.headroom(id, left, limit)

    async def _check_names(self, connection: Connection, request: ReportRequest, catalog: Catalog) -> None:
        """Raises NotFound: an empty report of a channel that does not exist would look like one without problems."""
        unknown = _unknown("channel_ids", request.channel_ids, catalog.channels.keys())
        if unknown:
            raise no_channel(unknown, catalog.channels)
        unknown = _unknown("location_ids", request.location_ids, catalog.locations.keys())
        if unknown:
            raise await unknown_records.location_error(connection, unknown)


def _report(request: ReportRequest, found: _Found) -> report_pb.GetReportResponse:
    counts, before = (report_store.counts_of(rows) for rows in (found.sums, found.sums_before))
    answer = report_messages.report(request, counts, before.get("", ()), found.open_exceptions)
    answer.headrooms.extend(found.headrooms)
    if found.oversells is not None:
        answer.oversells.extend(found.oversells.oversells)
        answer.oversells_are_truncated = found.oversells.is_truncated
    return answer


def _unknown(field: str, ids: Sequence[str], known: Set[str]) -> dict[str, str]:
    return {f"{field}[{index}]": id for index, id in enumerate(ids) if id not in known}
