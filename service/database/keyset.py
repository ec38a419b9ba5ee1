"""Pages of lists by keyset: what a page reads does not grow with the table.

One filter of a list leads: by its index come the entries that pass it, in the order of the list. The other filters look
at a limited number of them, so that a page ends, at the latest, after `limits.EXAMINED` entries. It may then have fewer
entries than were asked for, or none, although others follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import ColumnElement, FromClause, Integer, Select, literal_column, select, true, tuple_

from service import limits
from service.database.database import Connection, Statement, parameter

COUNT: ColumnElement[Any] = parameter("count", Integer)
EXAMINED: ColumnElement[Any] = parameter("examined", Integer)
EXAMINED_FOR_EACH = 4
"""Entries that are examined at first for each that a page may have."""

Position = tuple[datetime, UUID]
"""Where a page of a list starts whose key is a time and an id."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The statements of a list with certain filters, where its pages start after `after_` and each name of the key.

    `page` returns at most COUNT entries that pass all filters, in order. `end` returns the key of the last of the next
    EXAMINED entries that lead, or nothing if there are fewer; it is None if no filter remains for them to pass.
    """

    page: Statement
    end: Statement | None = None

    async def rows(
        self, connection: Connection, count: int, after: dict[str, Any], **values: Any
    ) -> tuple[list[asyncpg.Record], dict[str, Any] | None]:
        """At most `count` entries after a key; if they are fewer and others may follow, the key of the last examined.

        `after` and that key have their values by the names of the parameters.
        """
        rows: list[asyncpg.Record] = []
        window = EXAMINED_FOR_EACH * count
        remaining = max(limits.EXAMINED, window)
        while True:
            rows += await self.page.rows(connection, count=count - len(rows), examined=window, **after, **values)
            if self.end is None or len(rows) == count:
                return rows, None
            end = await self.end.row(connection, examined=window, **after, **values)
            if end is None:
                return rows, None
            after = {f"after_{name}": value for name, value in end.items()}
            remaining -= window
            if remaining <= 0:
                return rows, after
            window = min(2 * window, remaining)

    async def page_after(
        self, connection: Connection, count: int, position: tuple[Any, ...], key: Sequence[str], **values: Any
    ) -> tuple[list[asyncpg.Record], tuple[Any, ...] | None]:
        """At most `count` entries after a position, and the position of the next page; None after the last one.

        `key` names the columns of the position.
        """
        after = {f"after_{name}": value for name, value in zip(key, position, strict=True)}
        rows, end = await self.rows(connection, count + 1, after, **values)
        if len(rows) > count:
            return rows[:count], tuple(rows[count - 1][name] for name in key)
        return rows, None if end is None else tuple(end[f"after_{name}"] for name in key)


def is_after(
    columns: Sequence[ColumnElement[Any]], position: Sequence[ColumnElement[Any]], *, descending: bool = False
) -> ColumnElement[bool]:
    """Whether an entry with this key comes after a position."""
    return tuple_(*columns) < tuple_(*position) if descending else tuple_(*columns) > tuple_(*position)


def passing(leading: FromClause, entry: Select[Any]) -> FromClause:
    """The entries that lead and pass the other filters: those for which `entry` returns a row.

    `entry` looks one of them up by its id. PostgreSQL would join them as it likes, and read a whole table where it
    expects that few pass; a subquery with a limit it runs for each.
    """
    found = entry.limit(literal_column("1")).lateral("entry")
    return leading.join(found, true())


def end_of(leading: FromClause, *key: str, descending: bool = False) -> Statement:
    """The `end` of a listing, from the entries that lead, at most EXAMINED of them."""
    columns = [leading.c[name] for name in key]
    in_order = select(*columns).order_by(*ordered(columns, descending=descending))
    return Statement(in_order.offset(EXAMINED - literal_column("1")))


def first_of_each(
    groups: FromClause, of_group: Select[Any], limit: ColumnElement[Any], *key: str, descending: bool = False
) -> Select[Any]:
    """The first entries of all groups, merged by key. `of_group` selects the entries of one of the `groups` in order.

    PostgreSQL reads several values of an index's first column, but not in the order of its last ones. So each group
    is read for itself.
    """
    entries = of_group.limit(limit).lateral("entries")
    order = ordered([entries.c[name] for name in key], descending=descending)
    return select(entries).select_from(groups.join(entries, true())).order_by(*order).limit(limit)


def ordered(columns: Sequence[ColumnElement[Any]], *, descending: bool) -> list[ColumnElement[Any]]:
    """What to order by."""
    return [column.desc() if descending else column.asc() for column in columns]
