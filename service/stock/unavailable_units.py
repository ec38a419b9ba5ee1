"""The unavailable units of stock levels by reason, in PostgreSQL. Changed only under the lock of their level.

Nobody has to call this to keep the break-down right: `levels.write` books every unavailable unit of a book's movements
under its reason.
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
    """What movements add up to, in units by (SKU, location, reason); what comes to nothing is left out."""
    sums: dict[tuple[str, str, str], int] = {}
    for moved in movements:
        if moved.unavailable:
            at = (moved.sku, moved.location_id, reason_of(moved.reason))
            sums[at] = sums.get(at, 0) + moved.unavailable
    return {at: units for at, units in sorted(sums.items()) if units}


async def apply(connection: Connection, deltas: Mapping[tuple[str, str, str], int]) -> None:
    """Adds units by (SKU, location, reason); the levels are locked, and their own figures changed, by the caller."""
    if not deltas:
        return
    rows = sorted((*at, units) for at, units in deltas.items())
    await _ENSURE.run(connection, **transposed(["sku", "location_id", "reason"], [row[:3] for row in rows]))
    await _CHANGE.run(connection, **transposed(["sku", "location_id", "reason", "units"], rows))


async def read(connection: Connection, keys: Iterable[Key]) -> dict[Key, dict[str, int]]:
    """Units by reason of each of these levels that has any; a reason of which there are none is left out."""
    wanted = set(keys)
    if not wanted:
        return {}
    skus, places = sorted({sku for sku, _ in wanted}), sorted({place for _, place in wanted})
    found: dict[Key, dict[str, int]] = {}
    for row in await _READ.rows(connection, skus=skus, location_ids=places):
        key = (row["sku"], row["location_id"])
        if key in wanted and row["unit_count"]:
            found.setdefault(key, {})[row["reason"]] = row["unit_count"]
    return found
