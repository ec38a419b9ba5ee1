"""Records unmet demand that channels and tills report, and lists all unmet demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from google.type.date_pb2 import Date

from policies.decisions import unmet_demand
from policies.domain.listings import ItemKey, Listing
from service import limits
from service.catalog import catalog_store, listing_store, unknown_records
from service.catalog.catalog_store import CatalogCache
from service.database.database import Connection, Database
from service.demand import demand_requests, demand_store
from service.demand.demand_requests import KINDS, METHODS, DemandEvent, SumsPage
from service.demand.demand_store import RULE_SEPARATOR
from service.errors import no_channel
from service.metrics import NO_CHANNEL, Metrics
from service.replica.reads import Reads
from service.rpc.idempotency import IdempotentRequest, once
from service.rpc.proto_values import timestamp
from truestock.v1 import demand_pb2 as demand_pb, order_pb2

_KIND_NUMBERS: dict[str, Any] = {word: number for number, word in KINDS.items()}
_METHOD_NUMBERS: dict[str, Any] = {word: number for number, word in METHODS.items()}


class DemandOperations:
    """Unmet demand, as channels report it and as planners ask for it."""

    def __init__(
        self,
        database: Database,
        cache: CatalogCache,
        metrics: Metrics,
        *,
        reads: Reads,
        retention: timedelta,
        new_id: Callable[[], UUID],
    ) -> None:
        self._database = database
        self._cache = cache
        self._reads = reads
        self._metrics = metrics
        self._retention = retention
        self._new_id = new_id

    async def record(self, request: demand_pb.RecordUnmetDemandRequest) -> demand_pb.RecordUnmetDemandResponse:
        """Records each event once. Raises InvalidFields, NotFound for a channel or location, and NotReady."""
        events, request_id = demand_requests.events_request(request, self._retention)
        idempotent = IdempotentRequest.of("RecordUnmetDemand", request, request_id, self._new_id)

        async def work(
            connection: Connection,
        ) -> tuple[demand_pb.RecordUnmetDemandResponse, list[tuple[str | None, str, int]]]:
            items = {(event.channel_id or "", event.item_id) for event in events if event.item_id}
            listings = await listing_store.read(connection, items) if items else {}
            by_sku = [x for x in (_of_sku(event, listings) for event in events) if x is not None]
            version, products = await catalog_store.products(connection, {event.sku for event in by_sku})
            await self._check_places(connection, events, version)
            known = {(event.channel_id, event.event_id): event for event in by_sku if event.sku in products}
            rows = await demand_store.write_events(connection, [_row(event) for event in known.values()])
            answer = demand_pb.RecordUnmetDemandResponse(
                recorded_count=len(rows),
                duplicate_count=len(known) - len(rows),
                unknown_skus=sorted({event.sku for event in by_sku} - products.keys()),
                unknown_item_ids=sorted({item_id for _, item_id in items - listings.keys()}),
            )
            return answer, [(row["channel_id"], row["kind"], row["unmet_count"]) for row in rows]

        def count(recorded: Sequence[tuple[str | None, str, int]]) -> None:
            for channel_id, kind, units in recorded:
                self._metrics.orders.unmet_demand_units.labels(channel_id or NO_CHANNEL, kind).inc(units)

        answer_type = demand_pb.RecordUnmetDemandResponse
        return await once(self._database, "record_demand", idempotent, answer_type, work, count=count)

    async def listed(self, request: demand_pb.ListUnmetDemandRequest) -> demand_pb.ListUnmetDemandResponse:
        """Unmet demand, newest first. Raises InvalidFields and NotReady."""
        page = demand_requests.demands_page(request)
        rows, end = await self._reads.answer(
            lambda source: source.database.unlocked(
                "list",
                lambda connection: demand_store.LISTED.page(
                    connection, page.count, page.before, since=page.since, filters=page.filters
                ),
            )
        )
        return demand_pb.ListUnmetDemandResponse(
            demands=[_message(row) for row in rows], next_page_token=page.tokens.after_time(*end) if end else ""
        )

    async def sums(self, request: demand_pb.SumUnmetDemandRequest) -> demand_pb.SumUnmetDemandResponse:
        """Unmet demand by day, newest first. Raises InvalidFields and NotReady."""
        page = demand_requests.sums_page(request)
        start = max(page.since, _midnight(page.until - limits.DEMAND_SUM_PAGE))
        rows = await self._reads.answer(
            lambda source: source.database.unlocked(
                "list",
                lambda connection: demand_store.daily_sums(
                    connection, start, page.until, filters=page.filters, offset=page.offset, count=page.count + 1
                ),
            )
        )
        return demand_pb.SumUnmetDemandResponse(
            sums=[_sum(row) for row in rows[: page.count]], next_page_token=_next_sums(page, start, len(rows))
        )

    async def _check_places(self, connection: Connection, events: Sequence[DemandEvent], version: int) -> None:
        catalog = await self._cache.at(connection, version)
        channels = _missing(events, "channel_id", catalog.channels)
        if channels:
            raise no_channel(channels, catalog.channels)
        locations = _missing(events, "location_id", catalog.locations)
        if locations:
            raise await unknown_records.location_error(connection, locations)


def _of_sku(event: DemandEvent, listings: Mapping[ItemKey, Listing]) -> DemandEvent | None:
    """The event in units of a SKU; None if it names an item that is not mapped."""
    if not event.item_id:
        return event
    listing = listings.get((event.channel_id or "", event.item_id))
    if listing is None:
        return None
    units = listing.unit_count
    return replace(event, sku=listing.sku, wanted=event.wanted * units, met=event.met * units, item_id="")


def _missing(events: Sequence[DemandEvent], field: str, known: Mapping[str, Any]) -> dict[str, str]:
    """By field, the ids that events name and the catalog does not have."""
    ids = {f"events[{index}].{field}": getattr(event, field) for index, event in enumerate(events)}
    return {name: id for name, id in ids.items() if id is not None and id not in known}


def _row(event: DemandEvent) -> tuple[object, ...]:
    """Values for EVENT_COLUMNS."""
    counts = (event.wanted, event.met, event.wanted - event.met)
    reported = (event.method, unmet_demand.REPORTED, None, 1, event.location_id, event.event_id)
    return (event.time, event.kind, event.channel_id, event.sku, *counts, *reported)


def _next_sums(page: SumsPage, start: datetime, row_count: int) -> str:
    """The token of the page after one of days from `start` on; empty if there is none."""
    if row_count > page.count:
        return page.tokens.after_time(page.until, page.offset + page.count)
    return page.tokens.after_time(start, 0) if start > page.since else ""


def _midnight(moment: datetime) -> datetime:
    return datetime.combine(moment.astimezone(UTC).date(), time(), UTC)


def _sum(row: asyncpg.Record) -> demand_pb.DailyUnmetDemand:
    day = row["day"]
    return demand_pb.DailyUnmetDemand(
        date=Date(year=day.year, month=day.month, day=day.day),
        sku=row["sku"],
        channel_id=row["channel_id"] or "",
        kind=_KIND_NUMBERS[row["kind"]],
        cause=row["cause"],
        unmet_count=row["units"],
        demand_count=row["demands"],
        call_count=row["calls"],
    )


def _message(row: asyncpg.Record) -> demand_pb.UnmetDemand:
    is_event = row["kind"] in (demand_store.MISSED_SALE, demand_store.REPORTED)
    return demand_pb.UnmetDemand(
        kind=_KIND_NUMBERS[row["kind"]],
        demand_time=timestamp(row["demand_time"]),
        channel_id=row["channel_id"] or "",
        sku=row["sku"],
        wanted_count=row["wanted_count"],
        met_count=row["met_count"],
        unmet_count=row["unmet_count"],
        call_count=row["call_count"],
        method=_METHOD_NUMBERS.get(row["method"] or "", order_pb2.FULFILLMENT_METHOD_UNSPECIFIED),
        cause=row["cause"],
        rules=row["rules"].split(RULE_SEPARATOR) if row["rules"] else [],
        policy_revision=row["policy_revision"] or "",
        location_id=row["location_id"] or "",
        order_id=row["order_id"] or "",
        allocation_id=str(row["allocation_id"] or ""),
        line_id=row["line_id"] or "",
        event_id=row["event_id"] if is_event else "",
    )
