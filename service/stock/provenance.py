"""Where the figures of stock levels come from, in PostgreSQL: source, time, last count, and confidence in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import asyncpg
from sqlalchemy import BigInteger, Boolean, Double, Integer, Text, case, func, select, update

from policies.stock.confidence import NOT_FOUND, updated_confidence
from policies.stock.counting import Anchor
from service.database.database import Columns, Connection, Statement, any_of, parameter, transposed, unnested
from service.database.tables import Moment, stock_level
from service.stock.stock_book import Book, Key

_level = stock_level.c

_READ_BASES = Statement(
    select(
        *(_level.sku, _level.location_id, _level.counted_time, _level.counted_units),
        *(_level.counted_source, _level.counted_sequence, _level.unavailable_time),
    ).where(_level.sku == any_of("skus", Text))
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
    "count_confidence": Double,
    "tracked": Boolean,
}
_figure = unnested("figure", **_FIGURE)
_KEPT_IF_NONE = ("counted_time", "counted_units", "counted_source", "unavailable_time", "count_confidence", "tracked")
_RECORD = Statement(
    update(stock_level)
    .values(
        as_of_time=func.greatest(_level.as_of_time, _figure.c.as_of_time),
        **{name: func.coalesce(_figure.c[name], _level[name]) for name in _KEPT_IF_NONE},
        # A count without a sequence clears the sequence of the count before it.
        counted_sequence=case(
            (_figure.c.counted_time.is_not(None), _figure.c.counted_sequence), else_=_level.counted_sequence
        ),
        physical_count_time=func.greatest(_level.physical_count_time, _figure.c.physical_count_time),
        ingest_time=parameter("now", Moment),
        source=_figure.c.source,
        version=_level.version + case((_figure.c.tracked != _level.tracked, 1), else_=0),
    )
    .where(_level.sku == _figure.c.sku, _level.location_id == _figure.c.location_id)
)
_lowered = unnested("lowered", sku=Text, location_id=Text, confidence=Double)
_SET_CONFIDENCE = Statement(
    update(stock_level)
    .values(count_confidence=_lowered.c.confidence)
    .where(_level.sku == _lowered.c.sku, _level.location_id == _lowered.c.location_id)
)


@dataclass(frozen=True, slots=True)
class ReportedFigure:
    """What a source reports of one level: the time at which the figure is true, and the count if it is a count.

    Fields that are None keep their stored value. `unavailable_time` is set if the count states unavailable units,
    `physical_count_time` if a person counted, `tracked` if tracking starts or stops.
    """

    sku: str
    location_id: str
    as_of_time: datetime
    source: str
    anchor: Anchor | None = None
    unavailable_time: datetime | None = None
    physical_count_time: datetime | None = None
    count_confidence: float | None = None
    tracked: bool | None = None


@dataclass(frozen=True, slots=True)
class CountBasis:
    """The counts that a level is based on: its last accepted count, and the time of the last with unavailable units."""

    anchor: Anchor | None
    unavailable_time: datetime | None


async def record(connection: Connection, now: datetime, figures: Iterable[ReportedFigure]) -> None:
    """Stores the source, the time and the count behind each figure."""
    rows = [_figure_row(figure) for figure in figures]
    if rows:
        await _RECORD.run(connection, now=now, **transposed(list(_FIGURE), rows))


def _figure_row(figure: ReportedFigure) -> tuple[object, ...]:
    count = figure.anchor
    return (
        *(figure.sku, figure.location_id, figure.as_of_time, figure.source),
        *((count.time, count.units, count.source, count.sequence) if count else (None, None, None, None)),
        *(figure.unavailable_time, figure.physical_count_time, figure.count_confidence, figure.tracked),
    )


async def lower_confidence(connection: Connection, book: Book, keys: Sequence[Key]) -> None:
    """Lowers the confidence in locked levels of a book, because a location did not find units that should be there.

    Confidence falls once for each key: a key that occurs twice lowers it twice.
    """
    for key in keys:
        level = book.levels[key]
        confidence = updated_confidence(level.count_confidence, NOT_FOUND)
        book.levels[key] = replace(level, count_confidence=confidence)
    rows = [(*key, book.levels[key].count_confidence) for key in sorted(set(keys))]
    if rows:
        await _SET_CONFIDENCE.run(connection, **transposed(["sku", "location_id", "confidence"], rows))


async def anchors(connection: Connection, locked: set[Key]) -> dict[Key, Anchor]:
    """The last accepted counts of locked levels."""
    bases_by_key = await bases(connection, locked)
    return {key: basis.anchor for key, basis in bases_by_key.items() if basis.anchor is not None}


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
    )
