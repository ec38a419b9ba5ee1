"""Reads CSV files as people export them: byte order marks, CRLF, `sep=;`, column names in any letter case, guarded
zeros, quoted line breaks. Errors name line and cell.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from policies.domain.near_names import near_name
from service.cli.console import FieldProblem, UserError, first_lines
from service.cli.spreadsheets.cell_text import plain, stripped

DELIMITERS = (",", ";", "\t", "|")
MAX_FILE_BYTES = 256 * 1024 * 1024
MAX_PROBLEMS_SHOWN = 100
INVALID_FILE = "INVALID_FILE"
"""The code of errors about a file."""
_SEPARATOR_LINE = re.compile(r'(\s*)"?sep=([^\w\s"]|\t)"?[;,\t ]*(?=[\r\n]|$)', re.IGNORECASE)
"""The line `sep=;` with which a spreadsheet is told the delimiter."""
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


class _CsvReader(Protocol):
    """The type of csv.reader, which has no public name."""

    @property
    def line_num(self) -> int: ...
    def __iter__(self) -> Iterator[list[str]]: ...


@dataclass(frozen=True, slots=True, order=True)
class CsvProblem:
    """One problem of a file. Line and column (a cell) count from 1; column 0 means the whole line."""

    file: str
    line: int
    column: int
    message: str
    help: str = ""

    def __str__(self) -> str:
        field = self.as_field()
        return f"{field.field}: {field.problem}"

    def as_field(self) -> FieldProblem:
        """The place and the problem, apart from each other."""
        position = f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"
        return FieldProblem(position, f"{self.message}{', ' + self.help if self.help else ''}")


class CsvError(UserError):
    """A file that cannot be used; the message lists its first MAX_PROBLEMS_SHOWN problems."""

    def __init__(self, problems: Sequence[CsvProblem]) -> None:
        super().__init__(
            "\n".join(first_lines(problems, MAX_PROBLEMS_SHOWN)),
            code=INVALID_FILE,
            fields=[problem.as_field() for problem in problems[:MAX_PROBLEMS_SHOWN]],
        )
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One row: the line of the file in which it starts, and its cells by column, without spaces and guards."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A file with a valid header. `columns` are the names in the order of the file, spelled as they are known here.

    In the `free_text` columns an apostrophe at the front is part of the text more often than a guard.
    """

    file: str
    columns: tuple[str, ...]
    delimiter: str
    text: str
    free_text: Collection[str] = ()
    header_line: int = 1

    def rows(self) -> Iterator[CsvRow | CsvProblem]:
        """Yields every row after the header except blank ones, and a problem instead of a row that cannot be read."""
        reader = _reader(self.text, self.delimiter)
        header_seen = False
        line = 1
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    if header_seen:
                        yield self._row(line, cells)
                    header_seen = True
                line = reader.line_num + 1
        except csv.Error as error:
            # After a broken quote it is unclear where rows start, so reading ends here.
            help = "correct the quotes near this row: a quote inside a quoted cell is written twice"
            yield CsvProblem(self.file, line, 0, f"this row cannot be read ({error})", help)

    def column_number(self, column: str) -> int:
        """The number of a column, from 1; 0 if the file does not have it."""
        return self.columns.index(column) + 1 if column in self.columns else 0

    def problem(self, line: int, column: str, message: str, help: str = "") -> CsvProblem:
        """A problem with the cell of one column."""
        return CsvProblem(self.file, line, self.column_number(column), f"{column}: {message}", help)

    def _row(self, line: int, cells: list[str]) -> CsvRow | CsvProblem:
        if len(cells) > len(self.columns) and not any(cell.strip() for cell in cells[len(self.columns) :]):
            cells = cells[: len(self.columns)]
        if len(cells) != len(self.columns):
            message = f"this row has {len(cells)} cells, the header has {len(self.columns)}"
            return CsvProblem(self.file, line, 0, message, f"quote cells that contain {self.delimiter!r}")
        return CsvRow(
            line,
            {
                name: plain(cell, free_text=name in self.free_text)
                for name, cell in zip(self.columns, cells, strict=True)
            },
        )


def read_table(
    path: Path,
    required: Collection[str],
    *,
    known: Collection[str] = (),
    free_text: Collection[str] = (),
    encoding: str = "utf-8",
) -> CsvTable:
    """Opens a file whose header has at least the `required` columns; the header shows which delimiter it uses.

    Column names may be in any letter case; those that are required or `known` are then spelled as here. Raises CsvError
    if the file cannot be read, is empty or lacks a column; the error names the closest column.
    """
    file = str(path)
    text = read_text(path, encoding)
    separator = _SEPARATOR_LINE.match(text)
    if separator is not None:
        # The line stays, empty, so that lines are counted as in the file.
        text = separator[1] + text[separator.end() :]
    names = [*required, *known]
    delimiter, columns = _header(text, required, separator[2] if separator else None, names)
    if not columns:
        raise CsvError([CsvProblem(file, 1, 0, "the file is empty", f"start it with a header: {','.join(required)}")])
    line = _header_line(text)
    problems = [
        CsvProblem(file, line, columns.index(name) + 1, f"column {name!r} appears twice", "rename one of them")
        for name in dict.fromkeys(columns)
        if name and columns.count(name) > 1
    ]
    problems += [_missing_column(file, line, name, columns) for name in required if name not in columns]
    if problems:
        raise CsvError(problems)
    return CsvTable(file, columns, delimiter, text, free_text, line)


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """A file's text without byte order mark. Raises UserError if it is missing or too large or has another encoding."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise UserError(
                f"{path}: {size:,} bytes are more than {MAX_FILE_BYTES:,}; split the file", code=INVALID_FILE
            )
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}", code=INVALID_FILE) from error
    for mark, marked_encoding in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            encoding = marked_encoding
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"byte 0x{content[error.start]:02X} is not {error.encoding.upper()}"
        help = "save the file as UTF-8, or name its encoding, such as --encoding cp1252"
        raise CsvError([CsvProblem(str(path), line, 0, message, help)]) from error
    except LookupError as error:
        raise UserError(f"unknown encoding {encoding!r}; use one such as utf-8, cp1252 or utf-16") from error


def _header(
    text: str, required: Collection[str], separator: str | None, names: Sequence[str]
) -> tuple[str, tuple[str, ...]]:
    """The delimiter that splits the first row into most of the required names, and that row's names.

    `names` are the column names in the spelling that is known here; `separator` is the delimiter that the file states.
    """
    best: tuple[tuple[int, int], str, tuple[str, ...]] = ((-1, -1), separator or ",", ())
    for delimiter in (separator,) if separator else DELIMITERS:
        columns = _known_spelling(_first_row(text, delimiter), names)
        fit = (len(set(columns) & set(required)), len(columns))
        if columns and fit > best[0]:
            best = (fit, delimiter, columns)
    return best[1], best[2]


def _known_spelling(columns: tuple[str, ...], names: Sequence[str]) -> tuple[str, ...]:
    """The columns with known names in their known spelling: `Display Name` is `display_name`, unless both are there."""
    by_key = {spelling_key(name): name for name in reversed(names) if name not in columns}
    return tuple(column if column in names else by_key.get(spelling_key(column), column) for column in columns)


def spelling_key(name: str) -> str:
    """What two spellings of one column name have in common."""
    return re.sub(r"[\s_-]+", "_", name.casefold())


def _first_row(text: str, delimiter: str) -> tuple[str, ...]:
    try:
        for cells in _reader(text, delimiter):
            names = [stripped(cell) for cell in cells]
            while names and not names[-1]:
                names.pop()
            if names:
                return tuple(names)
    except csv.Error:
        return ()
    return ()


def _header_line(text: str) -> int:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            return number
    return 1


def _missing_column(file: str, line: int, name: str, columns: tuple[str, ...]) -> CsvProblem:
    near = near_name(name, columns)
    if near:
        position, help = columns.index(near) + 1, f"did you mean {near!r}?"
        return CsvProblem(file, line, position, f"there is no column {name!r}", help)
    help = f"the header has {', '.join(map(repr, columns))}"
    return CsvProblem(file, line, 0, f"there is no column {name!r}", help)


def _reader(text: str, delimiter: str) -> _CsvReader:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
