"""Reads rate tables: CSV files beside the delivery rules that name them, with one zone a line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from policies.domain.rate_table import RateTable, ShippingCost, Zone, plain_postal_code
from policies.source.problems import Problem, quoted
from policies.source.rule_file import RuleFile
from policies.source.yaml_nodes import Node

EXTENSION = ".csv"
PLACE_COLUMNS = ("country", "region", "postal_code", "up_to_km")
LIMIT_COLUMNS = ("up_to_km", "up_to_kg")
COST_COLUMNS = ("per_shipment", "per_unit", "per_kg")
COLUMNS = (*PLACE_COLUMNS, "up_to_kg", *COST_COLUMNS, "free_from")
MAX_ZONES = 1_000
MAX_BYTES = 1 << 20
MAX_CELLS = 50
"""Cells of a line that are looked at."""
MAX_AMOUNT = 1_000_000
"""The highest amount, in the merchant's currency, and the highest distance in km and weight in kg."""
MAX_PROBLEMS = 20

_COUNTRY = re.compile(r"[A-Z]{2}")
_AMOUNT = re.compile(r"\d+(\.\d+)?")


def is_rate_file(path: str) -> bool:
    """Whether a file of a rules folder is a rate table, in any letter case."""
    return path.lower().endswith(EXTENSION)


def read_rate_table(path: str, content: bytes) -> tuple[RateTable | None, list[Problem]]:
    """The table of a file, or the problems for which it is refused. Never raises because of its contents."""
    reader = _Reader(path)
    table = reader.table(content)
    return (None if reader.problems else table), reader.problems[:MAX_PROBLEMS]


@dataclass(slots=True)
class RateFiles:
    """The rate tables of a rules folder, each read once, when a rule first names it."""

    files: Mapping[str, bytes]
    """The files of the folder by path."""
    problems: list[Problem] = field(default_factory=list)
    _tables: dict[str, RateTable | None] = field(default_factory=dict)

    def table(self, rule_file: RuleFile, node: Node, title: str) -> RateTable | None:
        """The table that a rule names; None if the name, or the table, has problems."""
        name = rule_file.text(node, f"'rates' in {title}", "write the name of a CSV file, such as zones.csv.")
        if name is None:
            return None
        path = f"{rule_file.file.rpartition('/')[0]}/{name}".lstrip("/")
        if "/" in name or not is_rate_file(name) or path not in self.files:
            message = f"there is no rate table {quoted(name)} beside this file"
            beside = [x.rpartition("/")[2] for x in self.files if is_rate_file(x) and _folder(x) == _folder(path)]
            known = f"there is {', '.join(sorted(beside)[:5])}" if beside else "add a CSV file to the same folder"
            rule_file.note(node, "no-such-file", message, f"write the name of a CSV file, such as zones.csv; {known}.")
            return None
        if path not in self._tables:
            self._tables[path], problems = read_rate_table(path, self.files[path])
            self.problems += problems
        return self._tables[path]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    line: int
    column: int


@dataclass(slots=True)
class _Reader:
    path: str
    problems: list[Problem] = field(default_factory=list)

    def table(self, content: bytes) -> RateTable | None:
        if len(content) > MAX_BYTES:
            message = f"the table has more than {MAX_BYTES:,} bytes"
            self._note(_Cell("", 0, 0), "too-large", message, "keep only the zones in it.")
            return None
        try:
            lines = content.decode("utf-8-sig").splitlines()
        except UnicodeDecodeError:
            self._note(_Cell("", 0, 0), "not-utf-8", "this file is not UTF-8 text", "save it as CSV UTF-8.")
            return None
        filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip(" ,\t")]
        rows = [(number, _cells(line, number)) for number, line in filled[: MAX_ZONES + 2]]
        header = self._header(rows[0][1] if rows else [_Cell("", 1, 1)])
        if header is None:
            return None
        if len(rows) - 1 > MAX_ZONES:
            self._note(rows[-1][1][0], "too-large", f"the table has more than {MAX_ZONES:,} zones", "split it.")
            return None
        zones: list[Zone] = []
        for line, cells in rows[1:]:
            zone = self._zone(line, header, cells)
            if zone is not None:
                self._check_reached(cells[0], zone, zones)
                zones.append(zone)
        if not zones and not self.problems:
            self._note(_Cell("", 0, 0), "missing-key", "the table has no zone", "add a line with a cost.")
        return RateTable(self.path, tuple(zones))

    def _header(self, cells: Sequence[_Cell]) -> list[str] | None:
        names = [cell.text for cell in cells]
        help = f"write some of: {', '.join(COLUMNS)}; with commas between them, and {' or '.join(COST_COLUMNS)}."
        for number, cell in enumerate(cells):
            if cell.text not in COLUMNS:
                self._note(cell, "unknown-key", f"there is no column {quoted(cell.text)}", help)
            elif cell.text in names[:number]:
                self._note(cell, "duplicate-key", f"the column '{cell.text}' is there twice", "remove one of them.")
        if not self.problems and not set(names) & set(COST_COLUMNS):
            self._note(cells[0], "missing-key", "no column states a cost", help)
        return None if self.problems else names

    def _zone(self, line: int, header: Sequence[str], cells: Sequence[_Cell]) -> Zone | None:
        before = len(self.problems)
        if len(cells) != len(header):
            message = f"this line has {len(cells)} cells, and the first line has {len(header)}"
            self._note(
                cells[0], "wrong-cell-count", message, "write one cell for each column; an empty one is any place."
            )
            return None
        stated = {name: cell for name, cell in zip(header, cells, strict=True) if cell.text}
        if not stated.keys() & set(COST_COLUMNS):
            help = f"fill in {' or '.join(COST_COLUMNS)}; write 0 for what costs nothing."
            self._note(cells[0], "missing-key", "this zone has no cost", help)
        country = stated.get("country")
        if country is not None and not _COUNTRY.fullmatch(country.text):
            message = f"{quoted(country.text)} is not a country"
            self._note(country, "unknown-value", message, "write two capital letters, such as US.")
        for name in ("region", "postal_code"):
            if name in stated and country is None:
                help = "fill in the country too; other countries have the same ones."
                self._note(stated[name], "missing-key", f"this {name} is of no country", help)
        amounts = {name: self._amount(stated.get(name), name) for name in (*LIMIT_COLUMNS, *COST_COLUMNS, "free_from")}
        if len(self.problems) > before:
            return None
        up_to_km, postal_code = amounts["up_to_km"], stated.get("postal_code")
        return Zone(
            line,
            ShippingCost(*(amounts[name] or Decimal(0) for name in COST_COLUMNS)),
            country.text if country else None,
            stated["region"].text if "region" in stated else None,
            plain_postal_code(postal_code.text) if postal_code else None,
            None if up_to_km is None else float(up_to_km),
            amounts["free_from"],
            amounts["up_to_kg"],
        )

    def _amount(self, cell: _Cell | None, name: str) -> Decimal | None:
        if cell is None:
            return None
        help = f"write a number from 0 to {MAX_AMOUNT:,}, such as 4.90."
        if not _AMOUNT.fullmatch(cell.text):
            self._note(cell, "wrong-type", f"{quoted(cell.text)} is not a number for '{name}'", help)
            return None
        if Decimal(cell.text) > MAX_AMOUNT:
            self._note(cell, "out-of-range", f"{quoted(cell.text)} is too large for '{name}'", help)
            return None
        return Decimal(cell.text)

    def _check_reached(self, cell: _Cell, zone: Zone, before: Sequence[Zone]) -> None:
        """Every zone needs shipments that no zone before it takes as a whole."""
        for earlier in before:
            if _takes_all(earlier, zone):
                message = f"no shipment reaches this zone: line {earlier.line} takes all of them"
                self._note(
                    cell, "shadowed-rule", message, "put the narrower zone first; the first that applies counts."
                )
                return

    def _note(self, cell: _Cell, code: str, message: str, help: str) -> None:
        end = cell.column + max(1, len(cell.text))
        self.problems.append(Problem(self.path, cell.line, cell.column, code, message, help, cell.line, end))


def _takes_all(earlier: Zone, later: Zone) -> bool:
    """Whether a zone contains another."""
    same = all(a in (None, b) for a, b in ((earlier.country, later.country), (earlier.region, later.region)))
    codes = earlier.postal_code is None or (later.postal_code or "").startswith(earlier.postal_code)
    near = earlier.up_to_km is None or (later.up_to_km is not None and later.up_to_km <= earlier.up_to_km)
    return same and codes and near and later.up_to_grams <= earlier.up_to_grams


def _cells(line: str, number: int) -> list[_Cell]:
    """The cells of a line without the spaces around them. No value that a table may have contains a comma."""
    cells, column = [], 1
    for text in line.split(",", MAX_CELLS):
        bare = text.strip()
        cells.append(_Cell(bare, number, column + len(text) - len(text.lstrip()) if bare else column))
        column += len(text) + 1
    return cells
