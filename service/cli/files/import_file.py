"""A file to import: all its rows as messages, or all its problems at once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from policies.domain.near_names import near_name
from service.cli.files.file_kind import CsvColumn, FileKind
from service.cli.files.file_kinds import KINDS
from service.cli.spreadsheets.csv_table import CsvError, CsvProblem, CsvRow, CsvTable, read_table, spelling_key
from service.cli.spreadsheets.decimal_marks import DecimalMark, decimal_mark


@dataclass(frozen=True, slots=True)
class Record:
    """One valid row as a message; `follow_up` is sent after it, if there is one."""

    line: int
    message: Message
    follow_up: Message | None = None


@dataclass(frozen=True, slots=True)
class ImportFile:
    """A file whose rows are all valid. `digest` identifies its contents."""

    name: str
    kind: FileKind
    table: CsvTable
    records: tuple[Record, ...]
    digest: str


def read_import(path: Path, name: str, *, decimal: DecimalMark | None = None, encoding: str = "utf-8") -> ImportFile:
    """Reads a file of one of KINDS. Raises CsvError with all its problems at once.

    `decimal` is the mark of its decimals; if None, its cells show it.
    """
    kind = KINDS[name]
    table = read_table(
        path,
        [column.name for column in kind.columns if column.required],
        known=[column.name for column in kind.columns],
        free_text={column.name for column in kind.columns if column.free_text},
        encoding=encoding,
    )
    _refuse_unknown_columns(table, kind)
    mark = decimal_mark(table, [column.name for column in kind.columns if column.decimal], decimal)
    records: list[Record] = []
    problems: list[CsvProblem] = []
    lines_by_key: dict[tuple[Any, ...], int] = {}
    for row in table.rows():
        record = row if isinstance(row, CsvProblem) else _read_row(table, kind, row, lines_by_key, mark)
        if isinstance(record, Record):
            records.append(record)
        else:
            problems.extend([record] if isinstance(record, CsvProblem) else record)
    if not records and not problems:
        problems.append(
            CsvProblem(
                table.file, table.header_line, 0, "the file has a header but no rows", f"add a row for each {kind.noun}"
            )
        )
    if problems:
        raise CsvError(problems)
    return ImportFile(name, kind, table, tuple(records), hashlib.sha256(table.text.encode()).hexdigest())


def _refuse_unknown_columns(table: CsvTable, kind: FileKind) -> None:
    names = [column.name for column in kind.columns]
    problems = []
    for position, name in enumerate(table.columns, start=1):
        same = next((known for known in names if known != name and spelling_key(known) == spelling_key(name)), None)
        if name not in names and same is not None:
            problems.append(
                CsvProblem(
                    table.file, table.header_line, position, f"column {same!r} appears twice", "remove one of them"
                )
            )
        elif name not in names:
            near = near_name(name, names)
            hint = f"did you mean {near!r}?" if near else f"this kind of file has the columns {', '.join(names)}"
            problems.append(CsvProblem(table.file, table.header_line, position, f"unknown column {name!r}", hint))
    if problems:
        raise CsvError(problems)


def _read_row(
    table: CsvTable, kind: FileKind, row: CsvRow, lines_by_key: dict[tuple[Any, ...], int], mark: DecimalMark
) -> Record | list[CsvProblem]:
    values: dict[str, Any] = {}
    problems: list[CsvProblem] = []
    for column in kind.columns:
        problem = _read_cell(table, row, column, values, mark)
        if problem is not None:
            problems.append(problem)
    if problems:
        return problems
    key = tuple(values[name] for name in kind.key)
    if key in lines_by_key:
        message = f"{kind.noun} {' at '.join(map(repr, key))} is already in line {lines_by_key[key]}"
        return [table.problem(row.line, kind.key[0], message, "remove one of the two rows")]
    lines_by_key[key] = row.line
    try:
        return Record(row.line, kind.make(values), kind.follow_up(values))
    except ValueError as error:
        return [CsvProblem(table.file, row.line, 0, *_message_and_help(error))]


def _read_cell(
    table: CsvTable, row: CsvRow, column: CsvColumn, values: dict[str, Any], mark: DecimalMark
) -> CsvProblem | None:
    cell = row.cells.get(column.name, "")
    if not cell:
        return table.problem(row.line, column.name, "is empty", "fill it in") if column.required else None
    try:
        values[column.name] = column.read(mark.with_point(cell) if column.decimal else cell)
    except ValueError as error:
        return table.problem(row.line, column.name, *_message_and_help(error))
    return None


def _message_and_help(error: ValueError) -> tuple[str, str]:
    message, _, help = str(error).partition("; ")
    return message, help
