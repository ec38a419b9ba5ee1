"""SQL of reports: what was counted in a window of time, added up by period, part and group.

The rows of a window are found by their time or, where an index of times would cost each order, by their ids, which
begin with the time at which a service made them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import asyncpg
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Subquery,
    Text,
    Uuid,
    case,
    cast,
    func,
    literal_column,
    select,
    true,
    tuple_,
)

from policies.reports import rates
from policies.reports.rates import CHANNEL, LOCATION, REVISION, RULE, SOURCE, Count
from service import limits
from service.database.database import Connection, Statement, any_of, parameter, parameters
from service.database.monthly_partitions import first_id
from service.database.tables import (
    Moment,
    allocation,
    exception,
    order_count,
    order_event,
    shipment_deadline,
    stock_comparison,
    unmet_demand,
)
from service.errors import ReportTooLarge

_CLOCK_MARGIN = 2 * limits.CLOCK_SKEW
"""By how much the clock of the service that made an id, and that of the database, may differ."""
_MEMORY = "64MB"
_LIMIT_RESOURCES = Statement(
    select(
        func.set_config("statement_timeout", parameter("milliseconds", Text), true()),
        # A report may take longer, and leaves the other processors to orders.
        func.set_config("max_parallel_workers_per_gather", "0", true()),
        # Sums of many groups are added up in memory instead of sorting all rows on disk.
        func.set_config("work_mem", _MEMORY, true()),
    )
)
_open = exception.c.state == literal_column("'open'")
_OPEN_EXCEPTIONS = Statement(
    select(
        func.count().label("open"),
        func.count().filter(exception.c.due_time < func.statement_timestamp()).label("overdue"),
    ).where(_open)
)


@dataclass(frozen=True, slots=True)
class _Source:
    """One kind of rows that are counted: `units` and `orders` of a row, and its groups by dimension."""

    rows: FromClause
    time: ColumnElement[Any]
    measure: ColumnElement[Any]
    part: ColumnElement[Any]
    units: ColumnElement[Any]
    orders: ColumnElement[Any]
    keys: Mapping[str, ColumnElement[Any]]
    lists: Mapping[str, ColumnElement[Any]] = field(default_factory=dict)
    """Dimensions of which a row has a list of keys."""
    joins: Mapping[str, FromClause] = field(default_factory=dict)
    """What `rows` are joined with for the keys of a dimension, if these are asked for."""
    id: ColumnElement[Any] | None = None
    value: tuple[ColumnElement[Any], ColumnElement[Any], ColumnElement[Any]] | None = None
    """Of the units, those with a price, their value, and its currency."""
    where: tuple[ColumnElement[bool], ...] = ()


def _text(value: str) -> ColumnElement[Any]:
    return literal_column(f"'{value}'", Text)


_event, _count, _exception = order_event.c, order_count.c, exception.c
_comparison, _unmet, _deadline = stock_comparison.c, unmet_demand.c, shipment_deadline.c
_NOTHING = literal_column("0", Integer)
_ONE = literal_column("1", Integer)
_NO_TEXT = literal_column("NULL::text", Text)
_SOURCES = (
    _Source(
        order_event,
        time=_event.event_time,
        measure=_text(rates.SOLD),
        part=_text(""),
        units=_event.sold_units,
        orders=cast(func.coalesce(_event.is_sale, literal_column("false")), Integer),
        keys={CHANNEL: allocation.c.channel_id, REVISION: _event.policy_revision},
        joins={CHANNEL: order_event.join(allocation, allocation.c.id == _event.allocation_id)},
        id=_event.id,
        where=(_event.sold_units.is_not(None),),
    ),
    _Source(
        order_count,
        time=_count.count_time,
        measure=_count.kind,
        part=_count.cause,
        units=_count.unit_count,
        orders=cast(_count.is_first, Integer),
        keys={
            CHANNEL: _count.channel_id,
            REVISION: _count.policy_revision,
        },
        lists={RULE: _count.rules},
        value=(_count.priced_units, _count.value, _count.currency),
    ),
    _Source(
        exception,
        time=_exception.create_time,
        measure=_text(rates.RAISED),
        part=_exception.kind,
        units=_NOTHING,
        orders=_ONE,
        keys={
            CHANNEL: _exception.channel_id,
            LOCATION: _exception.location_id,
            REVISION: _exception.policy_revision,
            # Stored with its file and line.
            RULE: func.split_part(_exception.rule, literal_column("' ('"), literal_column("1")),
        },
        id=_exception.id,
        where=(_exception.channel_id.is_not(None),),
    ),
    _Source(
        stock_comparison,
        time=_comparison.count_time,
        measure=_text(rates.COMPARED),
        part=_comparison.source,
        units=_NOTHING,
        orders=_ONE,
        keys={LOCATION: _comparison.location_id, SOURCE: _comparison.source},
    ),
    _Source(
        stock_comparison,
        time=_comparison.count_time,
        measure=_text(rates.DIFFERED),
        part=_comparison.source,
        units=func.abs(_comparison.difference),
        orders=_ONE,
        keys={LOCATION: _comparison.location_id, SOURCE: _comparison.source},
        where=(_comparison.is_mismatch,),
    ),
    *(
        _Source(
            shipment_deadline,
            time=_deadline.count_time,
            measure=_text(measure),
            part=_text(""),
            units=func.coalesce(_deadline.unit_count, _NOTHING),
            orders=_ONE,
            keys={CHANNEL: _deadline.channel_id, LOCATION: _deadline.location_id},
            value=(_deadline.priced_units, _deadline.value, _deadline.currency),
            where=(_deadline.deadline == _text("ship_by"), *where),
        )
        for measure, where in ((rates.DUE, ()), (rates.LATE, (_deadline.result == _text("late"),)))
    ),
    _Source(
        unmet_demand,
        time=_unmet.demand_time,
        measure=_text(rates.UNMET),
        part=_unmet.cause,
        units=_unmet.unmet_count,
        orders=_NOTHING,
        keys={CHANNEL: _unmet.channel_id, LOCATION: _unmet.location_id},
    ),
)
_COUNTS = ("units", "orders", "priced")


@dataclass(frozen=True, slots=True)
class CountQuery:
    """What to add up: the periods between `boundaries`, by `dimensions`, of these ids by dimension if there are any."""

    boundaries: Sequence[datetime]
    dimensions: Collection[str] = ()
    filters: Mapping[str, Sequence[str]] = field(default_factory=dict)


async def limit_resources(connection: Connection) -> None:
    """Bounds the time of each further statement of the transaction, and keeps it on one processor."""
    await _LIMIT_RESOURCES.run(connection, milliseconds=str(limits.REPORT_SECONDS * 1_000))


async def sums(connection: Connection, query: CountQuery) -> list[asyncpg.Record]:
    """The sums of a window, for `counts_of`: in all, and by each dimension for itself. Raises ReportTooLarge."""
    found: list[asyncpg.Record] = []
    for number, source in enumerate(_SOURCES):
        # A filter by what these rows do not have leaves none of them.
        if not query.filters.keys() <= source.keys.keys():
            continue
        grouped = frozenset(query.dimensions) & source.keys.keys()
        for dimensions in (grouped, *({name} for name in source.lists if name in query.dimensions)):
            found += await _rows(connection, number, query, frozenset(dimensions))
            if len(found) > limits.REPORT_ROWS:
                raise ReportTooLarge(f"{limits.REPORT_ROWS:,} combinations of periods and groups")
    return found


def counts_of(rows: Iterable[asyncpg.Record]) -> dict[str, list[Count]]:
    """What was counted, by dimension; in all under an empty name. There may be many: not for the event loop."""
    counts: dict[str, list[Count]] = {}
    for row in rows:
        counts.setdefault(row["dimension"], []).append(_counted(row))
    return counts


async def open_exceptions(connection: Connection) -> tuple[int, int]:
    """Exceptions that are open, and those of them that are overdue."""
    row = await _OPEN_EXCEPTIONS.row(connection)
    return (row["open"], row["overdue"]) if row is not None else (0, 0)


async def _rows(
    connection: Connection, number: int, query: CountQuery, dimensions: frozenset[str]
) -> Sequence[asyncpg.Record]:
    since, until = query.boundaries[0], query.boundaries[-1]
    values: dict[str, Any] = {"starts": list(query.boundaries[:-1]), "since": since, "until": until}
    if _SOURCES[number].id is not None:
        values |= {"first_id": first_id(_before(since)), "last_id": first_id(until + _CLOCK_MARGIN)}
    values |= {f"only_{dimension}": list(ids) for dimension, ids in query.filters.items()}
    statement = _statement(number, dimensions, frozenset(query.filters))
    try:
        return await statement.rows(connection, **values, count=limits.REPORT_ROWS + 1)
    except asyncpg.QueryCanceledError as error:
        raise ReportTooLarge(f"{limits.REPORT_SECONDS} seconds") from error


def _before(moment: datetime) -> datetime:
    return max(limits.EARLIEST, moment - _CLOCK_MARGIN) if moment > limits.EARLIEST + timedelta(days=1) else moment


@cache
def _statement(number: int, dimensions: frozenset[str], filters: frozenset[str]) -> Statement:
    """The sums of a source by period, measure, part and currency: in all and by each of these dimensions for itself.

    By one of the source's lists alone, for each of its entries, and not in all. Rows are first added up by everything
    at once, which leaves few to add up in each way.
    """
    source = _SOURCES[number]
    grouped = _grouped_rows(source, dimensions, filters)
    rows: FromClause = grouped
    keys: dict[str, ColumnElement[Any]] = {name: grouped.c[name] for name in rates.DIMENSIONS if name in dimensions}
    base = [grouped.c[name] for name in ("period", "measure", "part", "currency")]
    sets = [tuple_(*base)]
    if dimensions & source.lists.keys():
        entries = func.unnest(*keys.values()).table_valued("entry", name="entries").render_derived()
        rows, keys, sets = grouped.join(entries, true()), dict.fromkeys(dimensions, entries.c.entry), []
    sets += [tuple_(*base, key) for key in keys.values()]
    dimension = case(*((func.grouping(key) == _NOTHING, _text(name)) for name, key in keys.items()), else_=_text(""))
    return Statement(
        select(
            *base,
            (dimension if keys else _text("")).label("dimension"),
            (func.coalesce(*keys.values(), _NO_TEXT) if keys else _NO_TEXT).label("key"),
            *(cast(func.sum(grouped.c[name]), BigInteger).label(name) for name in _COUNTS),
            func.sum(grouped.c.value).label("value"),
        )
        .select_from(rows)
        .group_by(func.grouping_sets(*sets))
        .limit(parameter("count", Integer))
    )


def _grouped_rows(source: _Source, dimensions: frozenset[str], filters: frozenset[str]) -> Subquery:
    """The rows of a source in the window, added up by period, measure, part, currency and all dimensions together."""
    rows = next((join for name, join in source.joins.items() if name in dimensions | filters), source.rows)
    keys = {name: key for name, key in {**source.keys, **source.lists}.items() if name in dimensions}
    priced, value, currency = source.value or (_NOTHING, _NOTHING, _NO_TEXT)
    groups = {
        "period": func.width_bucket(source.time, parameters("starts", Moment)) - 1,
        "measure": source.measure,
        "part": source.part,
        "currency": currency,
        **keys,
    }
    query = (
        select(
            *(group.label(name) for name, group in groups.items()),
            func.sum(source.units).label("units"),
            func.sum(source.orders).label("orders"),
            func.sum(priced).label("priced"),
            func.sum(value).label("value"),
        )
        .select_from(rows)
        .where(source.time >= parameter("since", Moment), source.time < parameter("until", Moment), *source.where)
        .where(*(source.keys[name] == any_of(f"only_{name}", Text) for name in sorted(filters)))
    )
    if source.id is not None:
        query = query.where(source.id >= parameter("first_id", Uuid), source.id < parameter("last_id", Uuid))
    numbers: list[ColumnElement[Any]] = [literal_column(str(position)) for position in range(1, len(groups) + 1)]
    return query.group_by(*numbers).subquery("counted")


def _counted(row: asyncpg.Record) -> Count:
    dimension, key = row["dimension"], row["key"]
    return Count(
        *(row["measure"], row["part"], row["units"], row["orders"], row["period"]),
        keys={dimension: (key,)} if dimension and key else {},
        currency=row["currency"] or "",
        priced=row["priced"] or 0,
        value=Decimal(row["value"] or 0),
    )
