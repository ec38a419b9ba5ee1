"""SQL of reports: what was counted in a window of time, added up by period, part and group.

The rows of a window are found by their time or, where an index of times would cost each order, by their ids, which
begin with the time at which a service made them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import asyncpg
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Text,
    Uuid,
    cast,
    func,
    literal_column,
    select,
    true,
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
_LIMIT_RESOURCES = Statement(
    select(
        func.set_config("statement_timeout", parameter("milliseconds", Text), true()),
        # A report may take longer, and leaves the other processors to orders.
        func.set_config("max_parallel_workers_per_gather", "0", true()),
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
    id: ColumnElement[Any] | None = None
    where: tuple[ColumnElement[bool], ...] = ()


def _text(value: str) -> ColumnElement[Any]:
    return literal_column(f"'{value}'", Text)


_event, _count, _exception = order_event.c, order_count.c, exception.c
_comparison, _unmet, _deadline = stock_comparison.c, unmet_demand.c, shipment_deadline.c
_NOTHING = literal_column("0", Integer)
_ONE = literal_column("1", Integer)
_SOURCES = (
    _Source(
        order_event.join(allocation, allocation.c.id == _event.allocation_id),
        time=_event.event_time,
        measure=_text(rates.SOLD),
        part=_text(""),
        units=_event.sold_units,
        orders=cast(func.coalesce(_event.is_sale, literal_column("false")), Integer),
        keys={CHANNEL: allocation.c.channel_id, REVISION: _event.policy_revision},
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
            RULE: func.array_to_string(_count.rules, literal_column("chr(31)")),
        },
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
            units=_NOTHING,
            orders=_ONE,
            keys={CHANNEL: _deadline.channel_id, LOCATION: _deadline.location_id},
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
_RULE_SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True)
class CountQuery:
    """What to add up: the periods between `boundaries`, by `dimensions`, of these ids by dimension if there are any."""

    boundaries: Sequence[datetime]
    dimensions: Collection[str] = ()
    filters: Mapping[str, Sequence[str]] = field(default_factory=dict)


async def limit_resources(connection: Connection) -> None:
    """Bounds the time of each further statement of the transaction, and keeps it on one processor."""
    await _LIMIT_RESOURCES.run(connection, milliseconds=str(limits.REPORT_SECONDS * 1_000))


async def counts(connection: Connection, query: CountQuery) -> list[Count]:
    """What was counted in the window. Raises ReportTooLarge."""
    found: list[Count] = []
    for number, source in enumerate(_SOURCES):
        # A filter by what these rows do not have leaves none of them.
        if source.keys.keys() >= query.filters.keys():
            rows = await _rows(connection, number, query)
            if len(found) + len(rows) > limits.REPORT_ROWS:
                raise ReportTooLarge(f"{limits.REPORT_ROWS:,} combinations of periods and groups")
            found += map(_counted, rows)
    return found


async def open_exceptions(connection: Connection) -> tuple[int, int]:
    """Exceptions that are open, and those of them that are overdue."""
    row = await _OPEN_EXCEPTIONS.row(connection)
    return (row["open"], row["overdue"]) if row is not None else (0, 0)


async def _rows(connection: Connection, number: int, query: CountQuery) -> Sequence[asyncpg.Record]:
    since, until = query.boundaries[0], query.boundaries[-1]
    values: dict[str, Any] = {"starts": list(query.boundaries[:-1]), "since": since, "until": until}
    if _SOURCES[number].id is not None:
        values |= {"first_id": first_id(_before(since)), "last_id": first_id(until + _CLOCK_MARGIN)}
    values |= {f"only_{dimension}": list(ids) for dimension, ids in query.filters.items()}
    statement = _statement(number, frozenset(query.dimensions), frozenset(query.filters))
    try:
        return await statement.rows(connection, **values, count=limits.REPORT_ROWS + 1)
    except asyncpg.QueryCanceledError as error:
        raise ReportTooLarge(f"{limits.REPORT_SECONDS} seconds") from error


def _before(moment: datetime) -> datetime:
    return max(limits.EARLIEST, moment - _CLOCK_MARGIN) if moment > limits.EARLIEST + timedelta(days=1) else moment


@cache
def _statement(number: int, dimensions: frozenset[str], filters: frozenset[str]) -> Statement:
    """The sums of a source by period, measure, part and the groups that it has of these dimensions."""
    source = _SOURCES[number]
    period = (func.width_bucket(source.time, parameters("starts", Moment)) - 1).label("period")
    keys = [source.keys[name].label(name) for name in rates.DIMENSIONS if name in dimensions & source.keys.keys()]
    groups = [period, source.measure.label("measure"), source.part.label("part"), *keys]
    query = (
        select(
            *groups,
            cast(func.sum(source.units), BigInteger).label("units"),
            cast(func.sum(source.orders), BigInteger).label("orders"),
        )
        .select_from(source.rows)
        .where(source.time >= parameter("since", Moment), source.time < parameter("until", Moment), *source.where)
        .where(*(source.keys[name] == any_of(f"only_{name}", Text) for name in sorted(filters)))
    )
    if source.id is not None:
        query = query.where(source.id >= parameter("first_id", Uuid), source.id < parameter("last_id", Uuid))
    numbers: list[ColumnElement[Any]] = [literal_column(str(position)) for position in range(1, len(groups) + 1)]
    return Statement(query.group_by(*numbers).limit(parameter("count", Integer)))


def _counted(row: asyncpg.Record) -> Count:
    keys = {name: tuple(_keys(name, row[name])) for name in rates.DIMENSIONS if row.get(name)}
    return Count(row["measure"], row["part"], row["units"], row["orders"], row["period"], keys)


def _keys(dimension: str, value: str) -> Iterator[str] | Iterable[str]:
    return value.split(_RULE_SEPARATOR) if dimension == RULE else (value,)
