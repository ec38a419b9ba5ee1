"""Whether a file writes decimals with a point or with a comma: as its option says, or as its cells prove."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from service.cli.spreadsheets.csv_table import MAX_PROBLEMS_SHOWN, CsvError, CsvProblem, CsvRow, CsvTable

_GROUPED = {
    ".": re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3})+\.[0-9]*"),
    ",": re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{3})+,[0-9]*"),
}
"""Numbers with marks for thousands beside the decimal mark, which cannot be read in two ways."""
_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+")
_POINT = re.compile(r"[+-]?[0-9]*\.[0-9]+")
_COMMA_OR_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+")
"""`1,234` is one and a bit in Berlin, and more than a thousand in Boston."""
_POINT_OR_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}\.[0-9]{3}")
_HELP = "say which with --decimal comma or --decimal point"


class DecimalMark(StrEnum):
    """What separates the decimals of numbers."""

    COMMA = "comma"
    POINT = "point"

    def with_point(self, cell: str) -> str:
        """A number of a cell, as the readers of numbers expect it: decimals after a point, no mark for thousands.

        What is no number in this notation is returned unchanged, and refused by its reader. Raises ValueError for a
        point where the file has commas.
        """
        if self is DecimalMark.POINT:
            return cell.replace(",", "") if _GROUPED["."].fullmatch(cell) else cell
        if _GROUPED[","].fullmatch(cell):
            return cell.replace(".", "").replace(",", ".")
        if _POINT.fullmatch(cell):
            raise ValueError(f"{cell!r} has a point, and this file writes decimals with a comma; write 35,15 or 3515")
        return cell.replace(",", ".") if _COMMA.fullmatch(cell) else cell


def decimal_mark(table: CsvTable, columns: Sequence[str], chosen: DecimalMark | None) -> DecimalMark:
    """The mark that the file uses in these columns, unless one is chosen.

    A file without commas uses points. Raises CsvError if its cells prove both marks, or if they can be read either way:
    `1,234` anywhere, and `1.234` where cells are separated by semicolons, as they are where decimals have commas.
    """
    if chosen is not None:
        return chosen
    found = _Found(table)
    present = [column for column in columns if column in table.columns]
    for row in table.rows() if present else ():
        if isinstance(row, CsvRow):
            for column in present:
                found.look_at(row, column)
    if found.commas and found.points:
        raise _error("this file has decimals with a comma and with a point", [found.commas[0], found.points[0]])
    if found.unclear and not found.commas:
        raise _error("these numbers may have decimals after the comma, or thousands before it", found.unclear)
    if table.delimiter == ";" and found.points and found.only_thousands:
        raise _error("these numbers may have decimals after the point, or thousands before it", found.points)
    return DecimalMark.COMMA if found.commas else DecimalMark.POINT


@dataclass(slots=True)
class _Found:
    """The first cells of a file that show a comma, a point, or what could be either."""

    table: CsvTable
    commas: list[CsvProblem] = field(default_factory=list)
    points: list[CsvProblem] = field(default_factory=list)
    unclear: list[CsvProblem] = field(default_factory=list)
    only_thousands: bool = True
    """Whether each cell with a point may have thousands before it."""

    def look_at(self, row: CsvRow, column: str) -> None:
        cell = row.cells[column]
        if "," in cell:
            if _GROUPED["."].fullmatch(cell):
                self.only_thousands = False
                self._add(self.points, row, column)
            elif _COMMA_OR_THOUSANDS.fullmatch(cell):
                self._add(self.unclear, row, column)
            elif _GROUPED[","].fullmatch(cell) or _COMMA.fullmatch(cell):
                self._add(self.commas, row, column)
        elif "." in cell and (self.only_thousands or not self.points) and _POINT.fullmatch(cell):
            self.only_thousands = self.only_thousands and _POINT_OR_THOUSANDS.fullmatch(cell) is not None
            self._add(self.points, row, column)

    def _add(self, problems: list[CsvProblem], row: CsvRow, column: str) -> None:
        if len(problems) < MAX_PROBLEMS_SHOWN:
            problems.append(self.table.problem(row.line, column, f"{row.cells[column]!r}", _HELP))


def _error(message: str, problems: Sequence[CsvProblem]) -> CsvError:
    first = problems[0]
    return CsvError([CsvProblem(first.file, first.line, 0, message, _HELP), *problems])
