"""Unavailable units of stock levels by reason, in PostgreSQL. Changed only under the lock of their level.

`levels.write` keeps these sums up to date from the movements of a book; no other caller has to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Integer, Text, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert

from policies.stock.unavailable import reason_of
from service.database.database import Connection, Statement, any_of, transposed, unnested
from service.database.tables import stock_unavailable
from service.stock.stock_book import Key, Movement

_units = stock_unavailable.c
_new = unnested("new", sku=Text, location_id=Text, reason=Text)
_ENSURE = Statement(
    insert(stock_unavailable)
    .from_select(
        ["sku", "location_id", "reason", "unit_count"],
        select(_new.c.sku, _new.c.location_id, _new.c.reason, literal_column("0")),
    )
    .on_conflict_do_nothing()
)
_delta = unnested("delta", sku=Text, location_id=Text, reason=Text, units=Integer)
_CHANGE = Statement(
    update(stock_unavailable)
    .values(unit_count=_units.unit_count + _delta.c.units)
    .where(_units.sku == _delta.c.sku, _units.location_id == _delta.c.location_id, _units.reason == _delta.c.reason)
)
_READ = Statement(
    select(stock_unavailable).where(
        _units.sku == any_of("skus", Text), _units.location_id == any_of("location_ids", Text)
    )
)


def changes_of(movements: Iterable[Movement]) -> dict[tuple[str, str, str], int]:
    """Sums of unavailable units of movements by (SKU, location, reason), without sums of 0."""
    sums: dict[tuple[str, str, str], int] = {}
    for movement in movements:
        if movement.unavailable:
            key = (movement.sku, movement.location_id, reason_of(movement.reason))
            sums[key] = sums.get(key, 0) + movement.unavailable
    return {key: units for key, units in sorted(sums.items()) if units}


async def apply(connection: Connection, deltas: Mapping[tuple[str, str, str], int]) -> None:
    """Adds units by (SKU, location, reason); the caller has locked the levels and writes their totals."""
    if not deltas:
        return
    rows = sorted((*key, units) for key, units in deltas.items())
    await _ENSURE.run(connection, **transposed(["sku", "location_id", "reason"], [row[:3] for row in rows]))
    await _CHANGE.run(connection, **transposed(["sku", "location_id", "reason", "units"], rows))


async def read(connection: Connection, keys: Iterable[Key]) -> dict[Key, dict[str, int]]:
    """Unavailable units by reason of each of these levels; levels and reasons without units are left out."""
    requested = set(keys)
    if not requested:
        return {}
    skus, location_ids = sorted({sku for sku, _ in requested}), sorted({location_id for _, location_id in requested})
    units_by_reason: dict[Key, dict[str, int]] = {}
    for row in await _READ.rows(connection, skus=skus, location_ids=location_ids):
        key = (row["sku"], row["location_id"])
        if key in requested and row["unit_count"]:
            units_by_reason.setdefault(key, {})[row["reason"]] = row["unit_count"]
    return units_by_reason
