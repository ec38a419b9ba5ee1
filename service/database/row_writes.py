"""Rows of several tables, written together: by one statement where they are few, by COPY where they are many.

A statement costs about the same for one row as for ten, so one for all tables makes a small transaction cheap. COPY
costs least for each row, and as much as a statement for each table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Table, Text, column, func, insert, literal_column, select
from sqlalchemy.sql.dml import UpdateBase

from service.database.columns import Texts
from service.database.database import Columns, Connection, Statement, parameters, planned_once, transposed

Row = Sequence[object]
"""A value for each column."""

STATEMENT_ROWS = 32
"""Rows of one table up to which all tables are written by one statement; with more of them COPY costs less."""

_SEPARATOR = "\x1f"
"""Joins the texts of a list: `unnest` flattens an array of arrays, so each list is sent as one text."""


class RowWrite:
    """Inserts rows into a table, or writes them otherwise: `statement_of` makes an UPDATE of their values by column."""

    def __init__(
        self,
        table: Table,
        columns: Columns,
        statement_of: Callable[[Mapping[str, ColumnElement[Any]]], UpdateBase] | None = None,
    ) -> None:
        self.name = f"changed_{table.name}" if statement_of else f"new_{table.name}"
        self.element = (statement_of or _insert_into(table))(_values(self.name, columns, statement_of is not None))
        self._table_name = table.name
        self._columns = tuple(columns)
        self._parameters = [_parameter(self.name, name) for name in columns]
        self._lists_of_texts = [_parameter(self.name, name) for name, type_ in columns.items() if type_ is Texts]
        self._is_insert = statement_of is None
        self._statement = Statement(self.element)

    def arguments(self, rows: Sequence[Row]) -> dict[str, list[Any]]:
        """The values of the statement's parameters."""
        lists = transposed(self._parameters, rows)
        for name in self._lists_of_texts:
            lists[name] = [None if texts is None else _SEPARATOR.join(texts) for texts in lists[name]]
        return lists

    async def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Writes rows by COPY if many are inserted, else by a statement of their own."""
        if self._is_insert and len(rows) > STATEMENT_ROWS:
            await connection.copy_records_to_table(self._table_name, records=rows, columns=self._columns)
        else:
            await self._statement.run(connection, **self.arguments(rows))


async def write_rows(connection: Connection, writes: Iterable[tuple[RowWrite, Sequence[Row]]]) -> None:
    """Writes rows of several tables, each after those that its foreign keys refer to."""
    parts = [(write, rows) for write, rows in writes if rows]
    if any(len(rows) > STATEMENT_ROWS for _, rows in parts):
        for write, rows in parts:
            await write.run(connection, rows)
    elif parts:
        values = {name: list_ for write, rows in parts for name, list_ in write.arguments(rows).items()}
        await _joint_statement(tuple(write for write, _ in parts)).run(connection, **values)


@lru_cache
def _joint_statement(writes: tuple[RowWrite, ...]) -> Statement:
    """One statement that does all of these writes, each of other rows."""
    parts = [write.element.cte(write.name) for write in writes]
    return Statement(select(literal_column("1")).add_cte(*parts))


def _parameter(write_name: str, column_name: str) -> str:
    # With one underscore, `batch_id` of `decision` would have the name of `id` of `decision_batch`.
    return f"{write_name}__{column_name}"


def _values(name: str, columns: Columns, finds_rows: bool) -> dict[str, ColumnElement[Any]]:
    """The values of rows that are sent as one list per column, each a parameter whose name starts with `name`.

    A statement that `finds_rows` in a table, not only adds them, would be planned anew each time.
    """
    types = {key: Text if type_ is Texts else type_ for key, type_ in columns.items()}
    lists = [parameters(_parameter(name, key), type_) for key, type_ in types.items()]
    shape = [column(key, type_() if isinstance(type_, type) else type_) for key, type_ in types.items()]
    sent = func.unnest(*lists).table_valued(*shape, name=f"{name}_row").render_derived()
    rows = planned_once(sent) if finds_rows else sent
    return {
        key: func.string_to_array(rows.c[key], literal_column("chr(31)")) if type_ is Texts else rows.c[key]
        for key, type_ in columns.items()
    }


def _insert_into(table: Table) -> Callable[[Mapping[str, ColumnElement[Any]]], UpdateBase]:
    return lambda values: insert(table).from_select(list(values), select(*values.values()))
