"""Where the figures of stock levels come from in PostgreSQL: who said them, the count that they rest on, and trust."""

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

_HEARD: Columns = {
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
_heard = unnested("heard", **_HEARD)
_stays = ("counted_time", "counted_units", "counted_source", "unavailable_time", "count_confidence", "tracked")
_HEAR = Statement(
    update(stock_level)
    .values(
        as_of_time=func.greatest(_level.as_of_time, _heard.c.as_of_time),
        **{name: func.coalesce(_heard.c[name], _level[name]) for name in _stays},
        # A count without a sequence leaves none of the one before it.
        counted_sequence=case(
            (_heard.c.counted_time.is_not(None), _heard.c.counted_sequence), else_=_level.counted_sequence
        ),
        physical_count_time=func.greatest(_level.physical_count_time, _heard.c.physical_count_time),
        ingest_time=parameter("now", Moment),
        source=_heard.c.source,
        version=_level.version + case((_heard.c.tracked != _level.tracked, 1), else_=0),
    )
    .where(_level.sku == _heard.c.sku, _level.location_id == _heard.c.location_id)
)
_trusted = unnested("trusted", sku=Text, location_id=Text, confidence=Double)
_TRUST = Statement(
    update(stock_level)
    .values(count_confidence=_trusted.c.confidence)
    .where(_level.sku == _trusted.c.sku, _level.location_id == _trusted.c.location_id)
)


@dataclass(frozen=True, slots=True)
class ReportedFigure:
    """What a source said of one level: since when the figure is true, and the count that it rests on, if it is one.

    What is None stays as it was. `unavailable_time` is set where the count says what is not sellable,
    `physical_count_time` where a person counted, `tracked` where that changes.
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
    """What a level's figures rest on: its last accepted count, and the last that said what is not sellable."""

    anchor: Anchor | None
    unavailable_time: datetime | None


async def record(connection: Connection, now: datetime, figures: Iterable[ReportedFigure]) -> None:
    """Notes who said a figure, when it was true, and what it rests on."""
    rows = [_heard_row(figure) for figure in figures]
    if rows:
        await _HEAR.run(connection, now=now, **transposed(list(_HEARD), rows))


def _heard_row(figure: ReportedFigure) -> tuple[object, ...]:
    count = figure.anchor
    return (
        *(figure.sku, figure.location_id, figure.as_of_time, figure.source),
        *((count.time, count.units, count.source, count.sequence) if count else (None, None, None, None)),
        *(figure.unavailable_time, figure.physical_count_time, figure.count_confidence, figure.tracked),
    )


async def lower_confidence(connection: Connection, book: Book, keys: Sequence[Key]) -> None:
    """Lowers the confidence in levels of a book, which are locked: somebody could not find there what they should.

    Once for each time that it happened; a key that is named twice is doubted twice.
    """
    for key in keys:
        level = book.levels[key]
        confidence = updated_confidence(level.count_confidence, NOT_FOUND)
        book.levels[key] = replace(level, count_confidence=confidence)
    rows = [(*key, book.levels[key].count_confidence) for key in sorted(set(keys))]
    if rows:
        await _TRUST.run(connection, **transposed(["sku", "location_id", "confidence"], rows))


async def anchors(connection: Connection, locked: set[Key]) -> dict[Key, Anchor]:
    """The last accepted counts of locked levels."""
    found = await bases(connection, locked)
    return {key: basis.anchor for key, basis in found.items() if basis.anchor is not None}


async def bases(connection: Connection, locked: set[Key]) -> dict[Key, CountBasis]:
    """What the figures of locked levels rest on."""
    rows = await _READ_BASES.rows(connection, skus=sorted({sku for sku, _ in locked}))
    return {key: _basis(r) for r in rows if (key := (r["sku"], r["location_id"])) in locked}


def _basis(row: asyncpg.Record) -> CountBasis:
    counted = row["counted_time"] is not None
    named = (row["counted_source"] or "", row["counted_sequence"])
    return CountBasis(
        Anchor(row["counted_time"], row["counted_units"], *named) if counted else None, row["unavailable_time"]
    )
