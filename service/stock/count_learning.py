"""What counts by people, and picks that found nothing, teach about a stock level and its location, in PostgreSQL.

`policies.stock.confidence` has the formulas.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Double, Integer, Text, select, update
from sqlalchemy.dialects.postgresql import insert

from policies.stock.confidence import NO_HISTORY, ErrorHistory, LastCount, count_confidence, count_evidence
from service.database.database import Columns, Connection, Statement, listed, transposed, unnested
from service.database.tables import location_count_history, stock_level
from service.stock import provenance
from service.stock.provenance import PhysicalCount
from service.stock.stock_book import Book, Key

_level, _history = stock_level.c, location_count_history.c

_READ = Statement(select(location_count_history).where(_history.location_id.in_(listed("location_ids", Text))))
_ADDED: Columns = {"location_id": Text, "errors": Double, "exposure_days": Double}
_added = unnested("added", **_ADDED)
_add = insert(location_count_history).from_select(
    list(_ADDED), select(*(_added.c[name] for name in _ADDED)).order_by(_added.c.location_id)
)
_ADD = Statement(
    _add.on_conflict_do_update(
        index_elements=["location_id"],
        set_={
            "errors": _history.errors + _add.excluded.errors,
            "exposure_days": _history.exposure_days + _add.excluded.exposure_days,
        },
    )
)
_FAILED_PICKS: Columns = {
    "sku": Text,
    "location_id": Text,
    "not_found": Integer,
    "errors": Double,
    "exposure_days": Double,
}
_failed = unnested("failed", **_FAILED_PICKS)
_RECORD_FAILED_PICKS = Statement(
    update(stock_level)
    .values(
        not_found_since_count=_level.not_found_since_count + _failed.c.not_found,
        count_errors=_level.count_errors + _failed.c.errors,
        count_exposure_days=_level.count_exposure_days + _failed.c.exposure_days,
    )
    .where(_level.sku == _failed.c.sku, _level.location_id == _failed.c.location_id)
)


@dataclass(slots=True)
class LocationHistories:
    """The errors that counts have found at locations: those stored, and those that the transaction at hand adds."""

    stored: dict[str, ErrorHistory]
    added: dict[str, ErrorHistory] = field(default_factory=dict)

    def of(self, location_id: str) -> ErrorHistory:
        """The errors found at a location."""
        return self.stored.get(location_id, NO_HISTORY).plus(self.added.get(location_id, NO_HISTORY))

    def learn(self, location_id: str, level: ErrorHistory, exposure_days: float, *, is_error: bool) -> ErrorHistory:
        """The history of a level at the location after one more count; adds that count to the location's history."""
        of_level, of_location = count_evidence(level, self.of(location_id), exposure_days, is_error=is_error)
        self.added[location_id] = self.added.get(location_id, NO_HISTORY).plus(of_location)
        return level.plus(of_level)

    async def write(self, connection: Connection) -> None:
        """Adds what was learned to the stored histories.

        To be called last in a transaction: counts of different products at one location wait for each other here.
        """
        rows = [(location_id, *history) for location_id, history in sorted(self.added.items())]
        if rows:
            await _ADD.run(connection, **transposed(list(_ADDED), rows))


async def read(connection: Connection, location_ids: Iterable[str]) -> LocationHistories:
    """The histories of these locations."""
    ids = sorted(set(location_ids))
    rows = await _READ.rows(connection, location_ids=ids) if ids else []
    return LocationHistories({row["location_id"]: ErrorHistory(row["errors"], row["exposure_days"]) for row in rows})


def after_count(
    before: PhysicalCount, counted: LastCount, location_id: str, locations: LocationHistories, *, is_error: bool
) -> PhysicalCount:
    """The state of a level after a person's count; `is_error` if the figure before it was wrong at its time.

    `counted` has the time of the count and the movements after it. A count that is not newer changes nothing.
    """
    last, history = before.last, before.history
    if counted.time is None or (last.time is not None and counted.time <= last.time):
        return before
    # A pick that has failed since the last count showed the error already.
    if last.time is not None and not last.not_found:
        earlier = last._replace(movements=max(0, last.movements - counted.movements))
        exposure_days = earlier.exposure_days(counted.time)
        history = locations.learn(location_id, history, exposure_days, is_error=is_error)
    return PhysicalCount(counted, history)


def confidence(physical: PhysicalCount, location_id: str, locations: LocationHistories, now: datetime) -> float | None:
    """The chance that the figure of a level is right at `now`; None if unknown."""
    return count_confidence(physical.last, physical.history, locations.of(location_id), now)


async def record_failed_picks(connection: Connection, book: Book, keys: Sequence[Key]) -> LocationHistories:
    """Lowers the confidence in locked levels of a book, because a location did not find units that should be there.

    A key that occurs twice lowers it twice. The caller writes the returned histories last.
    """
    picks = Counter(keys)
    locations = await read(connection, {location_id for _, location_id in picks})
    bases = await provenance.bases(connection, set(picks)) if picks else {}
    rows = []
    for key, count in sorted(picks.items()):
        before = bases[key].physical
        after = _after_failed_picks(before, key[1], locations, count, book.now)
        level_confidence = confidence(after, key[1], locations, book.now)
        book.levels[key] = replace(book.levels[key], count_confidence=level_confidence)
        errors = after.history.errors - before.history.errors
        rows.append((*key, count, errors, after.history.exposure_days - before.history.exposure_days))
    if rows:
        await _RECORD_FAILED_PICKS.run(connection, **transposed(list(_FAILED_PICKS), rows))
    return locations


def _after_failed_picks(
    before: PhysicalCount, location_id: str, locations: LocationHistories, count: int, now: datetime
) -> PhysicalCount:
    last, history = before.last, before.history
    # One error between two counts is evidence once. Where nobody has counted, it is unknown since when the figure could
    # be wrong, so it does not show how fast figures go wrong.
    if last.time is not None and not last.not_found:
        history = locations.learn(location_id, history, last.exposure_days(now), is_error=True)
    return PhysicalCount(last._replace(not_found=last.not_found + count), history)
