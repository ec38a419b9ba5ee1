"""SQL of unmet demand: rows are added, listed, summed up by day, and purged once they are old."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import BigInteger, Date, Integer, Interval, Text, Uuid, cast, delete, func, literal_column, select
from sqlalchemy.dialects.postgresql import insert

from service.database.database import Columns, Connection, Statement, any_of, parameter, transposed, unnested
from service.database.row_writes import RowWrite
from service.database.tables import Moment, unmet_demand
from service.history.history_pages import HistoryList

HOLD_REFUSED, HOLD_CUT, AVAILABILITY = "hold_refused", "hold_cut", "availability"
MISSED_SALE, REPORTED = "missed_sale", "reported"
RULE_SEPARATOR = ", "
"""Joins the names of the rules that kept units, as they are stored."""
PURGE_BATCH = 5_000
"""Old rows that one transaction deletes."""
FILTERS = {"skus": "sku", "channel_ids": "channel_id", "location_ids": "location_id", "kinds": "kind"}

_demand = unmet_demand.c
_COMMON: Columns = {
    "demand_time": Moment,
    "kind": Text,
    "channel_id": Text,
    "sku": Text,
    "wanted_count": Integer,
    "met_count": Integer,
    "unmet_count": Integer,
    "method": Text,
    "cause": Text,
    "policy_revision": Text,
}
HOLD_COLUMNS: Columns = {**_COMMON, "rules": Text, "order_id": Text, "allocation_id": Uuid, "line_id": Text}
HOLDS = RowWrite(unmet_demand, HOLD_COLUMNS)
"""Writes what HOLDs did not get, with the orders of their transaction."""
EVENT_COLUMNS: Columns = {**_COMMON, "call_count": Integer, "location_id": Text, "event_id": Text}
_new = unnested("new", **EVENT_COLUMNS)
_WRITE_EVENTS = Statement(
    insert(unmet_demand)
    .from_select(
        [*EVENT_COLUMNS],
        # Two transactions that record the same events queue by them and do not deadlock.
        select(*(_new.c[name] for name in EVENT_COLUMNS)).order_by(_new.c.channel_id, _new.c.event_id),
    )
    .on_conflict_do_nothing()
    .returning(_demand.channel_id, _demand.kind, _demand.unmet_count)
)
_COUNTED = Statement(
    select(_demand.allocation_id, _demand.sku, cast(func.sum(_demand.unmet_count), BigInteger).label("units"))
    .where(_demand.allocation_id == any_of("ids", Uuid))
    .group_by(_demand.allocation_id, _demand.sku)
)
_PURGE = Statement(
    delete(unmet_demand)
    .where(
        _demand.id.in_(
            select(_demand.id)
            .where(_demand.demand_time < func.clock_timestamp() - parameter("retention", Interval))
            .order_by(_demand.demand_time)
            .limit(parameter("count", Integer))
        )
    )
    .returning(_demand.id)
)
LISTED = HistoryList(unmet_demand, "demand_time", FILTERS, leading=("skus",))
"""By channel it reads by time: a retailer has few channels, and each refused HOLD would pay for their index."""


async def write_events(connection: Connection, rows: Sequence[Sequence[object]]) -> list[asyncpg.Record]:
    """Writes events with values for EVENT_COLUMNS, if they are new; returns the channel, kind and units of each."""
    return await _WRITE_EVENTS.rows(connection, **transposed(list(EVENT_COLUMNS), rows))


async def counted_units(connection: Connection, allocation_ids: Collection[UUID]) -> dict[UUID, dict[str, int]]:
    """The units that earlier attempts of orders count as unmet, by SKU."""
    counted: dict[UUID, dict[str, int]] = {}
    for row in await _COUNTED.rows(connection, ids=list(allocation_ids)):
        counted.setdefault(row["allocation_id"], {})[row["sku"]] = row["units"]
    return counted


async def daily_sums(
    connection: Connection,
    since: datetime,
    until: datetime,
    *,
    filters: Mapping[str, Sequence[str]],
    offset: int,
    count: int,
) -> list[asyncpg.Record]:
    """Sums by day, SKU, channel, kind and cause: the newest day first, and of a day the greatest sums first."""
    values = {name: list(entries) for name, entries in filters.items() if entries}
    statement = _daily_sums(frozenset(values))
    return await statement.rows(connection, since=since, until=until, offset=offset, count=count, **values)


async def purge(connection: Connection, retention: timedelta) -> int:
    """Deletes at most PURGE_BATCH rows older than `retention`; returns how many."""
    return len(await _PURGE.rows(connection, retention=retention, count=PURGE_BATCH))


@cache
def _daily_sums(filters: frozenset[str]) -> Statement:
    day = cast(func.timezone(literal_column("'UTC'"), _demand.demand_time), Date).label("day")
    groups: tuple[Any, ...] = (_demand.sku, _demand.channel_id, _demand.kind, _demand.cause)
    units = cast(func.sum(_demand.unmet_count), BigInteger).label("units")
    calls = cast(func.sum(_demand.call_count), BigInteger).label("calls")
    return Statement(
        select(day, *groups, units, func.count().label("demands"), calls)
        .where(_demand.demand_time >= parameter("since", Moment), _demand.demand_time < parameter("until", Moment))
        .where(*(_demand[FILTERS[name]] == any_of(name, Text) for name in sorted(filters)))
        .group_by(day, *groups)
        .order_by(day.desc(), units.desc(), *groups)
        .offset(parameter("offset", Integer))
        .limit(parameter("count", Integer))
    )
