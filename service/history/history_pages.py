"""Pages of the history tables, newest first: by SKU, channel or whatever else has an index with the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import asyncpg
from sqlalchemy import BigInteger, ColumnElement, Table, Text, func, literal_column, select, tuple_

from service.database.columns import Moment
from service.database.database import Connection, Statement, any_of, parameter, parameters
from service.database.keyset import COUNT, EXAMINED, Listing, end_of, first_of_each, ordered

Position = tuple[datetime, int]
"""Where a page starts: after the row of this time and number."""

_LEAST: ColumnElement[Any] = literal_column("0::bigint")


class HistoryList:
    """Rows of a history table by time and number, newest first.

    `filters` are text columns by the name of their filter, which takes a list of values. Those of `leading` have an
    index with the time and the number; the first of them that is set leads, and the others pass what it finds.
    """

    def __init__(self, table: Table, time: str, filters: Mapping[str, str], leading: Sequence[str]) -> None:
        self._table = table
        self._key = (time, "id")
        self._filters = filters
        self._leading = leading
        self._listing = cache(self._make_listing)

    async def page(
        self,
        connection: Connection,
        count: int,
        before: Position,
        *,
        since: datetime,
        filters: Mapping[str, Sequence[str]],
    ) -> tuple[list[asyncpg.Record], Position | None]:
        """At most `count` rows before a position and not before `since` that pass every filter by one of its values.

        Also returns the position of the next page; None after the last one. An empty filter matches everything.
        """
        time, id = self._key
        values = {name: sorted(set(entries)) for name, entries in filters.items() if entries}
        after: dict[str, Any] = {f"after_{time}": before[0], f"after_{id}": before[1]}
        rows, end = await self._listing(frozenset(values)).rows(connection, count + 1, after, since=since, **values)
        if len(rows) > count:
            return rows[:count], (rows[count - 1][time], rows[count - 1][id])
        return rows, None if end is None else (end[f"after_{time}"], end[f"after_{id}"])

    def _make_listing(self, filters: frozenset[str]) -> Listing:
        """Lists with exactly these filters: an optional condition would keep PostgreSQL from using an index."""
        lead = next((name for name in self._leading if name in filters), None)
        others = sorted(filters - {lead})
        limit = EXAMINED if others else COUNT
        leading = (self._all(limit) if lead is None else self._of_each(lead, limit)).subquery("leading")
        page = (
            select(leading)
            .where(*(leading.c[self._filters[name]] == any_of(name, Text) for name in others))
            .order_by(*ordered([leading.c[name] for name in self._key], descending=True))
            .limit(COUNT)
        )
        return Listing(Statement(page), end_of(leading, *self._key, descending=True) if others else None)

    def _bounds(self) -> tuple[tuple[ColumnElement[Any], ...], tuple[ColumnElement[Any], ...]]:
        time, id = self._key
        before = parameter(f"after_{time}", Moment), parameter(f"after_{id}", BigInteger)
        return before, (parameter("since", Moment), _LEAST)

    def _all(self, limit: ColumnElement[Any]) -> Any:
        order, (before, since) = [self._table.c[name] for name in self._key], self._bounds()
        in_range = tuple_(*order) < tuple_(*before), tuple_(*order) >= tuple_(*since)
        return select(self._table).where(*in_range).order_by(*ordered(order, descending=True)).limit(limit)

    def _of_each(self, lead: str, limit: ColumnElement[Any]) -> Any:
        """The newest rows of each value of the leading filter, merged."""
        order, (before, since) = [self._table.c[name] for name in self._key], self._bounds()
        values = func.unnest(parameters(lead, Text)).table_valued("value", name="listed").render_derived()
        column = self._table.c[self._filters[lead]]
        key = tuple_(column, *order)
        # An equality would let PostgreSQL read all rows by time, in the hope of finding some of this value.
        of_value = (
            select(self._table)
            .where(key < tuple_(values.c.value, *before), key >= tuple_(values.c.value, *since))
            .order_by(column.desc(), *ordered(order, descending=True))
        )
        return first_of_each(values, of_value, limit, *self._key, descending=True)
