"""Effects of events on shipment lines, stored so that each event takes effect once, however often it is sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Integer, Text, Uuid, insert, select

from service.database.database import Columns, Connection, Statement, any_of, parameter, transposed, unnested
from service.database.tables import stock_effect

_EFFECT: Columns = {
    "shipment_id": Uuid,
    "line_id": Text,
    "effect": Text,
    "event_id": Text,
    "unit_count": Integer,
}
_new = unnested("new", **_EFFECT)
_RECORD = Statement(insert(stock_effect).from_select(list(_EFFECT), select(*(_new.c[name] for name in _EFFECT))))
_APPLIED_LINES = Statement(
    select(stock_effect.c.line_id).where(
        stock_effect.c.shipment_id == any_of("shipment_ids", Uuid),
        stock_effect.c.effect == parameter("effect", Text),
        stock_effect.c.event_id == parameter("event_id", Text),
    )
)


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of an event on units of one shipment line."""

    shipment_id: UUID
    line_id: str
    effect: str
    event_id: str
    unit_count: int


async def applied_lines(connection: Connection, shipment_ids: Iterable[UUID], effect: str, event_id: str) -> set[str]:
    """The lines on which this event has already had this effect. The caller has locked the order."""
    rows = await _APPLIED_LINES.rows(connection, shipment_ids=list(shipment_ids), effect=effect, event_id=event_id)
    return {row["line_id"] for row in rows}


async def record(connection: Connection, effects: Iterable[Effect]) -> None:
    """Stores the effects of an event."""
    rows = [(x.shipment_id, x.line_id, x.effect, x.event_id, x.unit_count) for x in effects]
    if rows:
        await _RECORD.run(connection, **transposed(list(_EFFECT), rows))
