"""What changed in the catalog, when and by which call; only real changes are recorded.

A change has the values before of what changed, and the whole record after it. So what a record was at any time is in
the last change before that time, or in the first one after it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
from sqlalchemy import Column, Integer, Interval, Table, Text, and_, delete, func, select
from sqlalchemy.dialects.postgresql import JSONB

from service.audit import audit_log
from service.audit.audit_log import AuditedChange
from service.database.columns import Moment
from service.database.database import Columns, Connection, Statement, parameter, transposed, unnested
from service.database.row_writes import RowWrite
from service.database.tables import catalog_history

CHANGED_BY: ContextVar[str] = ContextVar("CHANGED_BY", default="")
"""What changes the catalog in this context, if it is no call of the API."""
CREATED, UPDATED, DELETED = "created", "updated", "deleted"
PURGE_BATCH = 5_000
"""Old changes that one transaction deletes."""

Record = Mapping[str, Any] | asyncpg.Record
"""Values by column."""
Key = tuple[str, ...]
"""The key of a record."""
ID_SEPARATOR = "/"
"""Joins the parts of a key: an outlet is `tiktok_shop/online`. Ids of channels, which come first, do not have it."""
_NOT_STATED = frozenset(
    ("create_time", "update_time", "recheck_version", "learned_velocity", "learned_velocity_time", "ingest_time")
)
"""Columns that the service writes, and no caller of the catalog."""

_history = catalog_history.c
_COLUMNS: Columns = {
    "kind": Text,
    "record_id": Text,
    "change": Text,
    "call": Text,
    "before": JSONB,
    "after": JSONB,
}
_WRITE = RowWrite(catalog_history, _COLUMNS)
_of_record = (_history.kind == parameter("kind", Text)) & (_history.record_id == parameter("record_id", Text))
_LAST_UNTIL = Statement(
    select(catalog_history)
    .where(_of_record, _history.change_time <= parameter("time", Moment))
    .order_by(_history.change_time.desc(), _history.id.desc())
    .limit(1)
)
_FIRST_AFTER = Statement(
    select(catalog_history)
    .where(_of_record, _history.change_time > parameter("time", Moment))
    .order_by(_history.change_time, _history.id)
    .limit(1)
)
_PURGE = Statement(
    delete(catalog_history)
    .where(
        _history.id.in_(
            select(_history.id)
            .where(_history.change_time < func.clock_timestamp() - parameter("retention", Interval))
            .order_by(_history.change_time)
            .limit(parameter("count", Integer))
        )
    )
    .returning(_history.id)
)


class HistoryOf:
    """The history of one table of the catalog, of the columns that callers state."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._key = tuple(column.name for column in table.primary_key)
        self._columns = tuple(column.name for column in table.columns if column.name not in _NOT_STATED)
        requested = unnested("requested", **{name: table.c[name].type for name in self._key})
        is_requested = [table.c[name] == requested.c[name] for name in self._key]
        self._rows = Statement(select(table).select_from(table.join(requested, and_(*is_requested))))

    @asynccontextmanager
    async def recorded(self, connection: Connection, keys: Iterable[Key], call: str) -> AsyncIterator[set[Key]]:
        """Records what the block changes of the records of these keys; yields the keys of those that exist before.

        Like every edit of the catalog, the block runs under its lock: changes are recorded in the order of commits.
        """
        every_key = sorted(set(keys))
        before = await self.read(connection, every_key)
        yield set(before)
        after = await self.read(connection, every_key)
        call = CHANGED_BY.get() or call
        changes = [self._change(key, before.get(key), after.get(key), call) for key in every_key]
        rows = [change for change in changes if change is not None]
        if rows:
            await _WRITE.run(connection, rows)
            await audit_log.record(connection, self._audited(every_key, before, after))

    async def read(self, connection: Connection, keys: Iterable[Key]) -> dict[Key, asyncpg.Record]:
        """The records of these keys that exist."""
        rows = await self._rows.rows(connection, **transposed(list(self._key), list(keys)))
        return {tuple(row[name] for name in self._key): row for row in rows}

    def key_of(self, record_id: str) -> Key:
        """The key that an id in the history stands for. Raises ValueError if it is not one of this table."""
        parts = tuple(record_id.split(ID_SEPARATOR, len(self._key) - 1))
        if len(parts) != len(self._key):
            raise ValueError(f"'{record_id}' is not the id of a {self.table.name}")
        return parts

    def stated(self, record: Record) -> dict[str, Any]:
        """The values of the columns that callers state."""
        return {name: record[name] for name in self._columns}

    def _audited(
        self, keys: Iterable[Key], before: Mapping[Key, Record], after: Mapping[Key, Record]
    ) -> Iterator[AuditedChange]:
        """What changed of the records, with the values of the columns that changed."""
        for key in keys:
            old, new = (None if x is None else self.stated(x) for x in (before.get(key), after.get(key)))
            if old == new:
                continue
            change = CREATED if old is None else DELETED if new is None else UPDATED
            if old is not None and new is not None:
                names = [name for name in old if old[name] != new[name]]
                old, new = ({name: values[name] for name in names} for values in (old, new))
            else:
                old, new = (None if values is None else _set(values) for values in (old, new))
            yield AuditedChange(audit_log.CATALOG, self.table.name, ID_SEPARATOR.join(key), change, old, new)

    def _change(self, key: Key, old: Record | None, new: Record | None, call: str) -> tuple[object, ...] | None:
        if old is None and new is None:
            return None
        changed = {name: old[name] for name in self._columns if new is None or old[name] != new[name]} if old else {}
        if old is not None and new is not None and not changed:
            return None
        change = CREATED if old is None else DELETED if new is None else UPDATED
        after = None if new is None else as_json(self.stated(new))
        return self.table.name, ID_SEPARATOR.join(key), change, call, as_json(changed), after


def _set(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values without those of columns that are null or empty."""
    return {name: value for name, value in values.items() if value not in (None, "", [])}


async def as_of(connection: Connection, kind: str, record_id: str, moment: datetime) -> tuple[bool, Record | None]:
    """Whether the history says what a record was at a moment, and its values by column; None if there was none.

    If it does not, the record has not changed since: it is as it is now.
    """
    values = {"kind": kind, "record_id": record_id, "time": moment}
    last = await _LAST_UNTIL.row(connection, **values)
    if last is not None:
        return True, None if last["after"] is None else json.loads(last["after"])
    following = await _FIRST_AFTER.row(connection, **values)
    if following is None:
        return False, None
    if following["change"] == CREATED:
        return True, None
    return True, json.loads(following["after"] or "{}") | json.loads(following["before"])


async def purge(connection: Connection, retention: timedelta) -> int:
    """Deletes at most PURGE_BATCH changes older than `retention`; returns how many."""
    return len(await _PURGE.rows(connection, retention=retention, count=PURGE_BATCH))


def typed(table: Table, record: Record) -> dict[str, Any]:
    """A stored record with the values that a row of its table has.

    What its table did not have then is null, or empty where nothing may be null.
    """
    return {
        column.name: _value(column.type, record.get(column.name)) if column.name in record else _unset(column)
        for column in table.columns
    }


def _unset(column: Column[Any]) -> Any:
    type_ = column.type.python_type
    return type_() if not column.nullable and type_ in (list, str, int, float, bool) else None


def _value(type_: Any, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, list):
        return [_value(type_.item_type, item) for item in value]
    readers: dict[type, Any] = {Decimal: Decimal, time: time.fromisoformat, date: date.fromisoformat}
    reader = readers.get(type_.python_type, lambda plain: plain)
    return reader(value)


def as_json(values: Record) -> str:
    """Values by column as JSON; times, dates and amounts are text."""
    return json.dumps(values, default=str, ensure_ascii=False)
