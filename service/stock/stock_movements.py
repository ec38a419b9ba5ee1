"""Lists movements of the ledger, newest first, including those that changed no figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import ColumnElement, Text, Uuid, func, literal_column, select, tuple_

from policies.stock.counting import MOVEMENT_KINDS
from service import limits
from service.database.database import Connection, Statement, any_of, parameter, parameters
from service.database.keyset import COUNT, EXAMINED, Listing, Position, end_of, first_of_each, ordered
from service.database.tables import Moment, stock_movement
from service.rpc.page_tokens import NEWEST, PageTokens
from service.rpc.proto_values import timestamp
from service.rpc.validation import Fields
from truestock.v1 import stock_service_pb2 as stock_pb

_movement = stock_movement.c
_FILTERS = ("skus", "location_ids", "kinds", "allocation_id")
_LEAST_ID: ColumnElement[Any] = literal_column("'00000000-0000-0000-0000-000000000000'::uuid")
_KEY = ("ingest_time", "id")


def _conditions(columns: Any) -> dict[str, ColumnElement[bool]]:
    """The conditions of the filters on a row with these columns."""
    return {
        "skus": columns.sku == any_of("skus", Text),
        "location_ids": columns.location_id == any_of("location_ids", Text),
        "kinds": columns.kind == any_of("kinds", Text),
        "allocation_id": columns.allocation_id == parameter("allocation_id", Uuid),
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
        skus=sorted(set(request.skus)),
        location_ids=list(request.location_ids),
        kinds=list(request.kinds),
        allocation_id=allocation_id,
        start_time=start_time,
        end_time=end_time,
        before=before,
        count=count,
        tokens=tokens,
    )


async def rows(connection: Connection, page: MovementsPage) -> tuple[list[asyncpg.Record], Position | None]:
    """The movements of a page, newest first, and the position of the next page; None after the last one."""
    filters = {name: getattr(page, name) for name in _FILTERS if getattr(page, name)}
    before = min(page.before, (page.end_time or NEWEST, UUID(int=0)))
    earliest = page.start_time or limits.EARLIEST
    listing = _listing(frozenset(filters))
    return await listing.page_after(connection, page.count, before, _KEY, earliest=earliest, **filters)


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
def _listing(filters: frozenset[str]) -> Listing:
    """Lists movements with exactly these filters: an optional condition would keep PostgreSQL from using an index."""
    order = [_movement[name] for name in _KEY]
    newest_first = ordered(order, descending=True)
    before = (parameter("after_ingest_time", Moment), parameter("after_id", Uuid))
    earliest = parameter("earliest", Moment)
    # An order has few movements.
    led = filters if "allocation_id" in filters else frozenset()
    others = filters - led - {"skus"}
    limit = EXAMINED if others else COUNT
    if "skus" in filters - led:
        skus = func.unnest(parameters("skus", Text)).table_valued("sku", name="listed").render_derived()
        key = tuple_(_movement.sku, *order)
        # An equality would let PostgreSQL read the movements of all products, in the hope of finding some of this one.
        of_sku = (
            select(stock_movement)
            .where(key < tuple_(skus.c.sku, *before), key >= tuple_(skus.c.sku, earliest, _LEAST_ID))
            .order_by(_movement.sku.desc(), *newest_first)
        )
        in_order = first_of_each(skus, of_sku, limit, *_KEY, descending=True)
    else:
        conditions = _conditions(_movement)
        in_order = (
            select(stock_movement)
            .where(tuple_(*order) < tuple_(*before), _movement.ingest_time >= earliest)
            .where(*(conditions[name] for name in sorted(led)))
            .order_by(*newest_first)
        )
    leading = in_order.limit(limit).subquery("leading")
    passed = _conditions(leading.c)
    page = (
        select(leading)
        .where(*(passed[name] for name in sorted(others)))
        .order_by(*ordered([leading.c[name] for name in _KEY], descending=True))
        .limit(COUNT)
    )
    return Listing(Statement(page), end_of(leading, *_KEY, descending=True) if others else None)


def _optional_time(fields: Fields, request: stock_pb.ListStockMovementsRequest, name: str) -> datetime | None:
    if not request.HasField(name):  # type: ignore[arg-type]
        return None
    return fields.moment(name, getattr(request, name), given=True)
