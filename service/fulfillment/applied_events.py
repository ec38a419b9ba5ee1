"""Effects of events on shipment lines, stored so that each event takes effect once, however often it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Boolean, Integer, Text, Uuid, func, insert, select

from service.database.database import Columns, Connection, Statement, listed, transposed, unnested
from service.database.tables import Moment, stock_effect
from service.errors import EventIdReused

UNDONE = "undone"
"""The effect of taking an event back, under the id of that event."""

_EFFECT: Columns = {
    "shipment_id": Uuid,
    "line_id": Text,
    "effect": Text,
    "event_id": Text,
    "unit_count": Integer,
    "effective_time": Moment,
    "is_absorbed": Boolean,
}
_new = unnested("new", **_EFFECT)
_RECORD = Statement(insert(stock_effect).from_select(list(_EFFECT), select(*(_new.c[name] for name in _EFFECT))))
_READ = Statement(
    # Events of earlier versions have no effective time; they were recorded when they happened, or later.
    select(
        *(stock_effect.c[name] for name in _EFFECT if name != "effective_time"),
        func.coalesce(stock_effect.c.effective_time, stock_effect.c.create_time).label("effective_time"),
    ).where(stock_effect.c.shipment_id.in_(listed("shipment_ids", Uuid)))
)


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of an event on units of one shipment line."""

    shipment_id: UUID
    line_id: str
    effect: str
    event_id: str
    unit_count: int
    effective_time: datetime | None = None
    """When its units left, if they did."""
    is_absorbed: bool = False
    """Whether a count had included that already, so that on hand did not change."""


@dataclass(frozen=True, slots=True)
class AppliedEvents:
    """The stored effects of events on some shipments."""

    effects: tuple[Effect, ...] = ()

    def of_event(self, effect: str, event_id: str) -> dict[str, int]:
        """The units, by line, on which this event has had this effect; empty if it has not been received."""
        units: dict[str, int] = {}
        for applied in self.effects:
            if (applied.effect, applied.event_id) == (effect, event_id):
                units[applied.line_id] = units.get(applied.line_id, 0) + applied.unit_count
        return units

    def total(self, effect: str, line_id: str) -> int:
        """The units of a line on which events have had this effect."""
        return sum(x.unit_count for x in self.effects if (x.effect, x.line_id) == (effect, line_id))


def check_same_units(event_id: str, applied: Mapping[str, int], units_by_line: Mapping[str, int]) -> None:
    """Checks that an event that is sent again states the units that it had before, `applied`. Raises EventIdReused."""
    for line_id, units in units_by_line.items():
        if applied.get(line_id, units) != units:
            raise EventIdReused(event_id, line_id, applied[line_id], str(units))


async def read(connection: Connection, shipment_ids: Iterable[UUID]) -> AppliedEvents:
    """The effects of all events on these shipments. The caller has locked the order."""
    rows = await _READ.rows(connection, shipment_ids=list(shipment_ids))
    return AppliedEvents(tuple(Effect(**row) for row in rows))


async def record(connection: Connection, effects: Iterable[Effect]) -> None:
    """Stores the effects of an event."""
    rows = [
        (x.shipment_id, x.line_id, x.effect, x.event_id, x.unit_count, x.effective_time, x.is_absorbed) for x in effects
    ]
    if rows:
        await _RECORD.run(connection, **transposed(list(_EFFECT), rows))
