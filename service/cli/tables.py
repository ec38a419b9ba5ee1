"""Tables that stay readable at any width: one line for each row, else a few lines, else one line for each value.

No word of a heading or of a cell is broken, so no id and no SKU is, unless it is wider than the terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

PROSE_WIDTH = 30
"""Cells with spaces that are wider than this are sentences, which may wrap; a sentence gets at least this width."""
FOLDED_LINES = 3
"""A row takes at most this many lines side by side; above that, each value has a line of its own."""
SHORT_ID_LENGTH = 8
INDENT = 2
GAP = 2

# Only ids that Truestock made: their end is random, while ids made in one moment begin alike.
_OWN_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


class ListTable(Table):
    """A table that chooses its layout when it is printed. In a narrow one, ids are cut to their last characters."""

    def __init__(self, *, title: str | None = None) -> None:
        super().__init__(title=title)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table within the width of the console."""
        width = options.max_width
        columns = [
            # `add_row` makes every cell a text.
            _Column.of(
                column.header if self.show_header else "", tuple(cast("Iterable[Text]", column.cells)), column.justify
            )
            for column in self.columns
        ]
        title = [Text(str(self.title), "bold")] if self.title else []
        for shown in (columns, list(map(_with_short_ids, columns))):
            widths = _widths(shown, width - GAP * len(shown))
            if widths is not None:
                yield from title
                yield _grid(shown, widths, has_header=self.show_header)
                return
        yield from title
        lines = _folded(shown, width)
        yield from _side_by_side(console, lines) if len(lines) <= FOLDED_LINES else _listed(console, shown, width)
        yield Text()


@dataclass(frozen=True, slots=True)
class _Column:
    """A column with its widths in characters: of its longest word, and of its longest line."""

    heading: str
    cells: tuple[Text, ...]
    justify: Literal["left", "right"]
    narrowest: int
    widest: int

    @classmethod
    def of(cls, heading: object, cells: tuple[Text, ...], justify: str) -> _Column:
        texts = [str(heading), *(cell.plain for cell in cells)]
        is_prose = any(cell_len(cell.plain) > PROSE_WIDTH and " " in cell.plain for cell in cells)
        widest = max(map(cell_len, texts))
        # A heading may wrap between its words, and so may sentences; other cells stay on one line.
        words = [word for text in (texts if is_prose else texts[:1]) for word in text.split()]
        whole = [PROSE_WIDTH] if is_prose else [cell_len(text) for text in texts[1:]]
        narrowest = max([1, *map(cell_len, words), *whole])
        return cls(str(heading), cells, "right" if justify == "right" else "left", narrowest, max(1, widest))

    @property
    def is_prose(self) -> bool:
        """Whether its cells may wrap."""
        return any(cell_len(cell.plain) > self.narrowest for cell in self.cells)


def short_id(id: str) -> str:
    """The end of an id, which commands take in place of the whole."""
    return id[-SHORT_ID_LENGTH:]


def _with_short_ids(column: _Column) -> _Column:
    """The column with the ids that Truestock made cut short, except where two of them would look alike."""
    ids = {cell.plain for cell in column.cells if _OWN_ID.fullmatch(cell.plain)}
    if not ids or len({short_id(id) for id in ids}) < len(ids):
        return column
    cells = [Text(short_id(cell.plain), cell.style) if cell.plain in ids else cell for cell in column.cells]
    return _Column.of(column.heading, tuple(cells), column.justify)


def _widths(columns: Sequence[_Column], available: int) -> list[int] | None:
    """The width of each column in a table of this width; None if it is too narrow for some word."""
    widths = [column.narrowest for column in columns]
    remaining = available - sum(widths)
    if remaining < 0:
        return None
    # Headings first: a heading of two lines is worth less than a sentence of two lines.
    for index in sorted(range(len(columns)), key=lambda index: columns[index].is_prose):
        added = min(remaining, columns[index].widest - widths[index])
        widths[index] += added
        remaining -= added
    return widths


def _grid(columns: Sequence[_Column], widths: Sequence[int], *, has_header: bool) -> Table:
    """A table with one line for each row."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, GAP - 1, 0, 0), show_header=has_header)
    for column, width in zip(columns, widths, strict=True):
        table.add_column(Text(column.heading), justify=column.justify, width=width, overflow="fold")
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*cells)
    return table


@dataclass(frozen=True, slots=True)
class _Line:
    """Columns that stand side by side, each with its width, in one of the lines of a row."""

    indent: int
    columns: list[tuple[_Column, int]]

    @property
    def width(self) -> int:
        return self.indent + sum(width for _, width in self.columns) + GAP * (len(self.columns) - 1)


def _folded(columns: Sequence[_Column], width: int) -> list[_Line]:
    """The columns in their order, as many in each line as fit."""
    lines: list[_Line] = []
    for column in columns:
        room = width - (lines[-1].width + GAP) if lines else 0
        wanted = column.narrowest if column.is_prose else column.widest
        if not lines or room < wanted:
            lines.append(_Line(INDENT if lines else 0, []))
            room = width - lines[-1].indent
        lines[-1].columns.append((column, max(1, min(column.widest, room))))
    return lines


def _side_by_side(console: Console, lines: Sequence[_Line]) -> Iterator[Text]:
    """The headings and each row in several lines."""
    for line in lines:
        yield from _cells(console, line, [Text(column.heading, "bold") for column, _ in line.columns])
    yield Text("─" * max(line.width for line in lines))
    for row in range(len(lines[0].columns[0][0].cells)):
        for line in lines:
            yield from _cells(console, line, [column.cells[row] for column, _ in line.columns])


def _cells(console: Console, line: _Line, cells: Sequence[Text]) -> Iterator[Text]:
    """One line of cells, or several if a sentence wraps."""
    wrapped = [cell.wrap(console, width) for cell, (_, width) in zip(cells, line.columns, strict=True)]
    for number in range(max(map(len, wrapped))):
        text = Text(" " * line.indent)
        for index, (column, width) in enumerate(line.columns):
            part = wrapped[index][number].copy() if number < len(wrapped[index]) else Text()
            part.rstrip()
            part.align(column.justify, width)
            text.append(" " * GAP if index else "").append_text(part)
        text.rstrip()
        yield text


def _listed(console: Console, columns: Sequence[_Column], width: int) -> Iterator[Text]:
    """A line for each value, with its heading; an empty line between rows."""
    headings_width = max(cell_len(column.heading) for column in columns)
    room = width - headings_width - GAP
    for row in range(len(columns[0].cells)):
        if row:
            yield Text()
        for column in columns:
            cell, heading = column.cells[row], Text(column.heading, "bold")
            if max([0, *map(cell_len, cell.plain.split())]) > room:
                yield heading
                yield from _cells(console, _Line(INDENT, [(column, max(1, width - INDENT))]), [cell])
                continue
            line = _Line(0, [(_HEADINGS, headings_width), (_VALUES, max(1, room))])
            yield from _cells(console, line, [heading, cell])


_HEADINGS = _VALUES = _Column.of("", (), "left")
