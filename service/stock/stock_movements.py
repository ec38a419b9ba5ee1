"""Lists movements of the ledger, newest first, including those that changed no figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from uuid import UUID

import asyncpg
from sqlalchemy import ColumnElement, Integer, Text, Uuid, select, tuple_

from policies.stock.counting import MOVEMENT_KINDS
from service import limits
from service.database.database import Connection, Statement, any_of, parameter
from service.database.tables import Moment, stock_movement
from service.rpc.page_tokens import NEWEST, PageTokens
from service.rpc.proto_values import timestamp
from service.rpc.validation import Fields
from truestock.v1 import stock_service_pb2 as stock_pb

_movement = stock_movement.c
_FILTERS: dict[str, ColumnElement[bool]] = {
    "skus": _movement.sku == any_of("skus", Text),
    "location_ids": _movement.location_id == any_of("location_ids", Text),
    "kinds": _movement.kind == any_of("kinds", Text),
    "allocation_id": _movement.allocation_id == parameter("allocation_id", Uuid),
    "start_time": _movement.ingest_time >= parameter("start_time", Moment),
    "end_time": _movement.ingest_time < parameter("end_time", Moment),
}


@dataclass(frozen=True, slots=True)
class MovementsPage:
    """Which movements to list: those before (ingest time, id) that pass every filter; an empty filter matches all."""

    skus: Sequence[str]
    location_ids: Sequence[str]
    kinds: Sequence[str]
    allocation_id: UUID | None
    start_time: datetime | None
    end_time: datetime | None
    before: tuple[datetime, UUID]
    count: int
    tokens: PageTokens


def movements_page(request: stock_pb.ListStockMovementsRequest) -> MovementsPage:
    """Raises InvalidFields."""
    fields = Fields()
    if fields.size("skus", request.skus, 0, limits.SKUS):
        for index, sku in enumerate(request.skus):
            fields.sku(f"skus[{index}]", sku)
    if fields.size("location_ids", request.location_ids, 0, limits.LOCATION_FILTER):
        for index, location_id in enumerate(request.location_ids):
            fields.text(f"location_ids[{index}]", location_id, longest=limits.ID_LENGTH, required=True)
    if fields.size("kinds", request.kinds, 0, limits.MOVEMENT_KINDS):
        for index, kind in enumerate(request.kinds):
            if kind not in MOVEMENT_KINDS:
                fields.wrong(f"kinds[{index}]", f"'{kind[:64]}' is not one of {', '.join(MOVEMENT_KINDS)}")
    allocation_id = fields.uuid("allocation_id", request.allocation_id)
    start_time, end_time = _optional_time(fields, request, "start_time"), _optional_time(fields, request, "end_time")
    if start_time is not None and end_time is not None and end_time <= start_time:
        fields.wrong("end_time", "must be after start_time")
    count = fields.page_size(request.page_size)
    tokens = PageTokens(request)
    before = tokens.time_and_id(fields) or (NEWEST, UUID(int=0))
    fields.finish()
    return MovementsPage(
        skus=list(request.skus),
        location_ids=list(request.location_ids),
        kinds=list(request.kinds),
        allocation_id=allocation_id,
        start_time=start_time,
        end_time=end_time,
        before=before,
        count=count,
        tokens=tokens,
    )


async def rows(connection: Connection, page: MovementsPage, count: int) -> list[asyncpg.Record]:
    """At most `count` movements of a page, newest first."""
    filters = {name: getattr(page, name) for name in _FILTERS if getattr(page, name)}
    statement = _listing(frozenset(filters))
    return await statement.rows(
        connection, before_time=page.before[0], before_id=page.before[1], count=count, **filters
    )


def token(page: MovementsPage, row: asyncpg.Record) -> str:
    """The token of the page that starts after this movement of the page before."""
    return page.tokens.after_time(row["ingest_time"], row["id"])


def message(row: asyncpg.Record) -> stock_pb.StockMovementRecord:
    """A row of `stock_movement` as a message of the API."""
    return stock_pb.StockMovementRecord(
        movement_id=str(row["id"]),
        sku=row["sku"],
        location_id=row["location_id"],
        kind=row["kind"],
        result=row["result"],
        on_hand_delta=row["on_hand_delta"],
        unavailable_delta=row["unavailable_delta"],
        held_delta=row["held_delta"],
        allocated_delta=row["allocated_delta"],
        reported_count=row["reported_count"],
        source=row["source"],
        change_id=row["change_id"] or "",
        allocation_id=str(row["allocation_id"] or ""),
        line_id=row["line_id"] or "",
        effective_time=timestamp(row["effective_time"]),
        ingest_time=timestamp(row["ingest_time"]),
        reason=row["reason"] or "",
    )


@cache
def _listing(filters: frozenset[str]) -> Statement:
    """The statement with exactly these filters: an optional condition would keep PostgreSQL from using an index."""
    before = tuple_(_movement.ingest_time, _movement.id) < tuple_(
        parameter("before_time", Moment), parameter("before_id", Uuid)
    )
    return Statement(
        select(stock_movement)
        .where(before, *(_FILTERS[name] for name in sorted(filters)))
        .order_by(_movement.ingest_time.desc(), _movement.id.desc())
        .limit(parameter("count", Integer))
    )


def _optional_time(fields: Fields, request: stock_pb.ListStockMovementsRequest, name: str) -> datetime | None:
    if not request.HasField(name):  # type: ignore[arg-type]
        return None
    return fields.moment(name, getattr(request, name), given=True)
