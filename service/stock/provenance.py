"""Where the figures of stock levels come from, in PostgreSQL: source, time, last count, and errors found by counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import asyncpg
from sqlalchemy import BigInteger, Boolean, Double, Integer, Text, case, func, select, update

from policies.stock.confidence import NEVER_COUNTED, NO_HISTORY, ErrorHistory, LastCount
from policies.stock.counting import Anchor
from policies.stock.feeds import Feed, count_includes
from service.database.database import Columns, Connection, Statement, listed, parameter, transposed, unnested
from service.database.tables import Moment, stock_level
from service.stock.stock_book import Key

_level = stock_level.c

_READ_BASES = Statement(
    select(
        *(_level.sku, _level.location_id, _level.counted_time, _level.counted_units),
        *(_level.counted_source, _level.counted_sequence, _level.unavailable_time),
        *(_level.physical_count_time, _level.movements_since_count, _level.not_found_since_count),
        *(_level.count_errors, _level.count_exposure_days),
    ).where(_level.sku.in_(listed("skus", Text)))
)

_FIGURE: Columns = {
    "sku": Text,
    "location_id": Text,
    "as_of_time": Moment,
    "source": Text,
    "counted_time": Moment,
    "counted_units": Integer,
    "counted_source": Text,
    "counted_sequence": BigInteger,
    "unavailable_time": Moment,
    "physical_count_time": Moment,
    "movements_since_count": Integer,
    "not_found_since_count": Integer,
    "count_errors": Double,
    "count_exposure_days": Double,
    "tracked": Boolean,
}
_OF_A_PHYSICAL_COUNT = (
    *("physical_count_time", "movements_since_count", "not_found_since_count"),
    *("count_errors", "count_exposure_days"),
)
_figure = unnested("figure", **_FIGURE)
_KEPT_IF_NONE = (
    *("counted_time", "counted_units", "counted_source", "unavailable_time", "tracked"),
    *_OF_A_PHYSICAL_COUNT,
)
_RECORD = Statement(
    update(stock_level)
    .values(
        as_of_time=func.greatest(_level.as_of_time, _figure.c.as_of_time),
        **{name: func.coalesce(_figure.c[name], _level[name]) for name in _KEPT_IF_NONE},
        # A count without a sequence clears the sequence of the count before it.
        counted_sequence=case(
            (_figure.c.counted_time.is_not(None), _figure.c.counted_sequence), else_=_level.counted_sequence
        ),
        ingest_time=parameter("now", Moment),
        source=_figure.c.source,
        version=_level.version + case((_figure.c.tracked != _level.tracked, 1), else_=0),
    )
    .where(_level.sku == _figure.c.sku, _level.location_id == _figure.c.location_id)
)


@dataclass(frozen=True, slots=True)
class PhysicalCount:
    """A level's last count by a person, what has happened since, and the errors that all counts have found."""

    last: LastCount = NEVER_COUNTED
    history: ErrorHistory = NO_HISTORY


@dataclass(frozen=True, slots=True)
class ReportedFigure:
    """What a source reports of one level: the time at which the figure is true, and the count if it is a count.

    Fields that are None keep their stored value. `unavailable_time` is set if the count states unavailable units,
    `physical_count` if a person counted, `tracked` if tracking starts or stops.
    """

    sku: str
    location_id: str
    as_of_time: datetime
    source: str
    anchor: Anchor | None = None
    unavailable_time: datetime | None = None
    physical_count: PhysicalCount | None = None
    tracked: bool | None = None


@dataclass(frozen=True, slots=True)
class CountBasis:
    """The counts that a level is based on.

    Its last accepted count, the time of the last count with unavailable units, and its last count by a person.
    """

    anchor: Anchor | None
    unavailable_time: datetime | None
    physical: PhysicalCount = PhysicalCount()


async def record(connection: Connection, now: datetime, figures: Iterable[ReportedFigure]) -> None:
    """Stores the source, the time and the count behind each figure."""
    rows = [_figure_row(figure) for figure in figures]
    if rows:
        await _RECORD.run(connection, now=now, **transposed(list(_FIGURE), rows))


def _figure_row(figure: ReportedFigure) -> tuple[object, ...]:
    count, physical = figure.anchor, figure.physical_count
    return (
        *(figure.sku, figure.location_id, figure.as_of_time, figure.source),
        *((count.time, count.units, count.source, count.sequence) if count else (None, None, None, None)),
        figure.unavailable_time,
        *((*physical.last, *physical.history) if physical else (None,) * len(_OF_A_PHYSICAL_COUNT)),
        figure.tracked,
    )


async def counted_levels(
    connection: Connection,
    times: Mapping[Key, datetime],
    feeds: Mapping[str, Feed] | None = None,
    promised_time: datetime | None = None,
) -> dict[Key, bool]:
    """Whether a count already includes what happened at the time of each locked level, if the level has a count.

    If that happened to units of an order, they were promised at `promised_time`, and the feed of the count may exclude
    open orders.
    """
    if not times:
        return {}
    return {
        key: count_includes((feeds or {}).get(anchor.source), anchor.time, times[key], promised_time)
        for key, basis in (await bases(connection, set(times))).items()
        if (anchor := basis.anchor) is not None
    }


async def bases(connection: Connection, locked: set[Key]) -> dict[Key, CountBasis]:
    """The counts that locked levels are based on."""
    rows = await _READ_BASES.rows(connection, skus=sorted({sku for sku, _ in locked}))
    return {key: _basis(r) for r in rows if (key := (r["sku"], r["location_id"])) in locked}


def _basis(row: asyncpg.Record) -> CountBasis:
    has_count = row["counted_time"] is not None
    source_and_sequence = (row["counted_source"] or "", row["counted_sequence"])
    return CountBasis(
        Anchor(row["counted_time"], row["counted_units"], *source_and_sequence) if has_count else None,
        row["unavailable_time"],
        PhysicalCount(
            LastCount(row["physical_count_time"], row["movements_since_count"], row["not_found_since_count"]),
            ErrorHistory(row["count_errors"], row["count_exposure_days"]),
        ),
    )
