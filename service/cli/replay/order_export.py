"""Reads a CSV export of order lines into orders to replay, with the lines that each sells and cancels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from service import limits
from service.cli.spreadsheets.cell_values import text
from service.cli.spreadsheets.countries import country_code
from service.cli.spreadsheets.csv_table import CsvProblem, CsvRow, CsvTable, read_table
from service.cli.spreadsheets.decimal_marks import DecimalMark, decimal_mark
from service.rpc import proto_values

DESCRIPTION_COLUMN = "Description"
_AMERICAN_TIMES = ("%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%y %H:%M", "%m/%d/%Y")
MAX_INT32 = 2_147_483_647


@dataclass(frozen=True, slots=True)
class OrderColumns:
    """The names of the file's columns; an empty name means that the file has no such column."""

    order: str
    sku: str
    quantity: str
    time: str = ""
    price: str = ""
    country: str = ""
    only_locations: str = ""
    not_locations: str = ""
    keep_together: str = ""

    def required(self) -> list[str]:
        """The columns that the file must have."""
        return [name for name in (*self._of_every_file(), *self._of_placements()) if name]

    def _of_every_file(self) -> tuple[str, ...]:
        return self.order, self.sku, self.quantity, self.time, self.price, self.country

    def _of_placements(self) -> tuple[str, ...]:
        return self.only_locations, self.not_locations, self.keep_together


@dataclass(frozen=True, slots=True)
class FileLine:
    """One line of the file: units of a SKU that are sold or cancelled, and where they may ship from."""

    line: int
    sku: str
    unit_count: int
    price: Decimal | None = None
    only_locations: tuple[str, ...] = ()
    not_locations: tuple[str, ...] = ()
    keep_together: str = ""


@dataclass(slots=True)
class FileOrder:
    """The lines of one order, in the order of the file. `country` is a code, None if it is missing or unknown."""

    order_id: str
    line: int
    time: datetime | None = None
    country: str | None = None
    unknown_country: str = ""
    sales: list[FileLine] = field(default_factory=list)
    cancellations: list[FileLine] = field(default_factory=list)
    excluded_cancellations: list[FileLine] = field(default_factory=list)
    """Cancelling lines of excluded SKUs: nothing was sold that they could cancel."""
    problem_count: int = 0


@dataclass(frozen=True, slots=True)
class FileProduct:
    """A SKU with its first description and its first price above 0 in the file."""

    sku: str
    name: str
    price: Decimal | None


@dataclass(slots=True)
class OrderFile:
    """The orders of a file, sorted by their first line. `excluded_line_count` includes cancelling lines."""

    file: str
    orders: list[FileOrder] = field(default_factory=list)
    products: dict[str, FileProduct] = field(default_factory=dict)
    problems: list[CsvProblem] = field(default_factory=list)
    line_count: int = 0
    excluded_line_count: int = 0


def read_orders(
    path: Path,
    columns: OrderColumns,
    *,
    cancel_prefix: str = "",
    excluded_skus: frozenset[str] = frozenset(),
    limit: int | None = None,
    decimal: DecimalMark | None = None,
    encoding: str = "utf-8",
) -> OrderFile:
    """The first `limit` orders of a file. Invalid lines become problems of the result; the others are read.

    A line cancels units if its quantity is below 0 or its order number starts with `cancel_prefix`.
    `decimal` is the mark of its decimals; if None, its cells show it. Raises CsvError if the whole file cannot be read.
    """
    table = read_table(
        path,
        columns.required(),
        known=[DESCRIPTION_COLUMN],
        free_text={DESCRIPTION_COLUMN, columns.country},
        encoding=encoding,
    )
    mark = decimal_mark(table, [name for name in (columns.price, columns.quantity) if name], decimal)
    reader = _OrderReader(table, columns, cancel_prefix, excluded_skus, mark)
    return reader.read(limit)


def time_of(cell: str) -> datetime:
    """Reads an ISO 8601 or American time such as `12/1/2010 8:26`; UTC without a time zone. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(cell)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    except ValueError:
        pass
    for time_format in _AMERICAN_TIMES:
        try:
            return datetime.strptime(cell, time_format).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise ValueError(f"{cell!r} is not a time; write 2010-12-01T08:26 or, month first, 12/1/2010 8:26")


def quantity_of(cell: str) -> int:
    """Reads a whole number of units except 0, negative for a cancellation. Raises ValueError for anything else."""
    if not re.fullmatch(r"[+-]?[0-9]+(\.0+)?", cell):
        raise ValueError(f"{cell!r} is not a whole number; write units such as 6, or -6 to cancel")
    units = int(cell.partition(".")[0]) if len(cell) <= 20 else MAX_INT32 + 1
    if units == 0:
        raise ValueError("0 units are neither an order nor a cancellation; remove the line")
    if abs(units) > MAX_INT32:
        raise ValueError(f"{cell} units are more than {limits.LINE_UNITS:,}; split the order")
    return units


@dataclass(slots=True)
class _OrderReader:
    """Groups the rows of one table by order."""

    table: CsvTable
    columns: OrderColumns
    cancel_prefix: str
    excluded_skus: frozenset[str]
    mark: DecimalMark
    order_file: OrderFile = field(init=False)

    def read(self, limit: int | None) -> OrderFile:
        self.order_file = OrderFile(self.table.file)
        orders: dict[str, FileOrder] = {}
        for row in self._rows():
            order_id = row.cells[self.columns.order]
            if not order_id:
                self._problem(row, self.columns.order, "is empty; every line needs an order number")
                continue
            if order_id not in orders:
                if limit is not None and len(orders) >= limit:
                    continue
                orders[order_id] = FileOrder(order_id, row.line)
            self.order_file.line_count += 1
            self._add(orders[order_id], row)
        self.order_file.orders = list(orders.values())
        return self.order_file

    def _rows(self) -> Iterator[CsvRow]:
        for row in self.table.rows():
            if isinstance(row, CsvProblem):
                self.order_file.problems.append(row)
            else:
                yield row

    def _add(self, order: FileOrder, row: CsvRow) -> None:
        cells = row.cells
        sku = cells[self.columns.sku]
        if not sku:
            order.problem_count += 1
            self._problem(row, self.columns.sku, "is empty; every line needs a SKU")
            return
        line = self._line(order, row, sku)
        if line is None:
            order.problem_count += 1
            return
        self._read_country(order, cells)
        cancels = line.unit_count < 0 or self._cancels(order)
        units = replace(line, unit_count=abs(line.unit_count))
        if sku in self.excluded_skus:
            self.order_file.excluded_line_count += 1
            if cancels:
                order.excluded_cancellations.append(units)
            return
        (order.cancellations if cancels else order.sales).append(units)
        self._add_product(units, cells.get(DESCRIPTION_COLUMN, ""))

    def _line(self, order: FileOrder, row: CsvRow, sku: str) -> FileLine | None:
        """The line, with the sign of its quantity; None, and a recorded problem, if a cell is invalid."""
        column = self.columns.sku
        try:
            text(limits.SKU_LENGTH)(sku)
            column = self.columns.quantity
            units = quantity_of(self.mark.with_point(row.cells[column]))
            column = self.columns.price
            price = (
                proto_values.price(self.mark.with_point(row.cells[column])) if column and row.cells[column] else None
            )
            column = self.columns.time
            if column and row.cells[column]:
                time = time_of(row.cells[column])
                order.time = order.time or time
        except ValueError as error:
            self._problem(row, column, str(error))
            return None
        columns, cells = self.columns, row.cells
        return FileLine(
            row.line,
            sku,
            units,
            price,
            _ids(cells, columns.only_locations),
            _ids(cells, columns.not_locations),
            cells[columns.keep_together] if columns.keep_together else "",
        )

    def _cancels(self, order: FileOrder) -> bool:
        return bool(self.cancel_prefix) and order.order_id.startswith(self.cancel_prefix)

    def _read_country(self, order: FileOrder, cells: dict[str, str]) -> None:
        name = cells[self.columns.country] if self.columns.country else ""
        if not name or order.country or order.unknown_country:
            return
        order.country = country_code(name)
        if order.country is None:
            order.unknown_country = name

    def _add_product(self, line: FileLine, name: str) -> None:
        product = self.order_file.products.get(line.sku, FileProduct(line.sku, "", None))
        price = line.price or None
        self.order_file.products[line.sku] = FileProduct(line.sku, product.name or name, product.price or price)

    def _problem(self, row: CsvRow, column: str, message: str) -> None:
        problem, _, help = message.partition("; ")
        self.order_file.problems.append(self.table.problem(row.line, column, problem, help))


def _ids(cells: Mapping[str, str], column: str) -> tuple[str, ...]:
    """The ids in a cell, separated by commas; none without the column."""
    return tuple(part.strip() for part in cells[column].split(",") if part.strip()) if column else ()
