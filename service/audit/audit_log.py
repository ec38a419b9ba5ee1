"""Writes audit events in the transaction of the changes that they describe."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Text, insert, select

from service.audit.origin import current_origin
from service.database.database import Columns, Connection, Statement, transposed, unnested
from service.database.tables import audit_event, audit_unsealed

CATALOG, STOCK, EXCEPTIONS, POLICY, ACCESS = AREAS = ("catalog", "stock", "exceptions", "policy", "access")
VALUE_LENGTH = 500
"""Characters of one value, as JSON, that an event keeps; a longer one is replaced by its length."""
VALUES_LENGTH = 4_000
"""Characters of all values before or after, as JSON; values beyond it are left out, and counted."""

_COLUMNS: Columns = dict.fromkeys(
    (
        *("principal", "credential", "actor", "peer", "rpc", "request_id"),
        *("area", "entity", "entity_id", "change", "before", "after"),
    ),
    Text,
)
_new = unnested("new", **_COLUMNS)
_events = insert(audit_event).from_select([*_COLUMNS], select(*(_new.c[name] for name in _COLUMNS)))
_written = _events.returning(audit_event.c.id).cte("written")
_WRITE = Statement(insert(audit_unsealed).from_select(["event_id"], select(_written.c.id)))


@dataclass(frozen=True, slots=True)
class AuditedChange:
    """What happened to one thing. `before` and `after` have the values that changed by name; None where it was not."""

    area: str
    entity: str
    entity_id: str
    change: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


async def record(connection: Connection, changes: Iterable[AuditedChange]) -> None:
    """Writes an event for each change, with the origin of the call that is being answered."""
    origin = current_origin()
    sender = (origin.principal, origin.credential, origin.actor, origin.peer, origin.rpc, origin.request_id)
    rows = [
        (*sender, x.area, x.entity, x.entity_id, x.change, bounded_json(x.before), bounded_json(x.after))
        for x in changes
    ]
    if rows:
        await _WRITE.run(connection, **transposed(list(_COLUMNS), rows))


def bounded_json(values: Mapping[str, Any] | None) -> str | None:
    """Values by name as a JSON object, sorted by name, of at most VALUES_LENGTH characters and a little more."""
    if values is None:
        return None
    kept: dict[str, Any] = {}
    length = 0
    for name, value in sorted(values.items()):
        text = _json(value)
        is_short = len(text) <= VALUE_LENGTH
        length += len(name) + min(len(text), VALUE_LENGTH)
        if length > VALUES_LENGTH:
            kept["omitted"] = len(values) - len(kept)
            break
        kept[name] = value if is_short else f"({len(text):,} characters)"
    return _json(kept)


def _json(value: Any) -> str:
    """JSON in which times, dates and amounts are text."""
    return json.dumps(value, default=str, ensure_ascii=False)
