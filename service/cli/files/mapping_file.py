"""The file of `truestock channels map`: which outlet and item of a channel is what in Truestock."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from service.channels.mapping import POOL, Proposal
from service.cli.files.csv_export import write_table
from service.cli.spreadsheets.csv_table import CsvError, CsvProblem, CsvRow, CsvTable, read_table
from truestock.v1.listing_pb2 import Listing
from truestock.v1.outlet_pb2 import Outlet

COLUMNS = ("what", "external_id", "external_name", "truestock_id", "unit_count", "match", "reason")
_REQUIRED = ("what", "external_id", "truestock_id")
HIGHEST_UNITS = 10_000


def write_proposals(stream: TextIO, proposals: Iterable[Proposal]) -> None:
    """Writes proposals; people fill in or change `truestock_id` and `unit_count`."""
    rows = (
        (p.what, p.external_id, p.external_name, p.truestock_id, p.unit_count, p.match, p.reason) for p in proposals
    )
    write_table(stream, COLUMNS, rows)


def read_mapping(path: Path, channel_id: str) -> tuple[list[Outlet], list[Listing]]:
    """The outlets and listings that a file states; rows without a `truestock_id` state nothing. Raises CsvError."""
    table = read_table(path, _REQUIRED, known=COLUMNS, free_text=("external_name", "reason"))
    problems: list[CsvProblem] = []
    outlets, listings = [], []
    for row in table.rows():
        if isinstance(row, CsvProblem):
            problems.append(row)
        elif row.cells["truestock_id"]:
            entry = _entry(table, row, channel_id, problems)
            if isinstance(entry, Outlet):
                outlets.append(entry)
            elif entry is not None:
                listings.append(entry)
    if problems:
        raise CsvError(problems)
    return outlets, listings


def _entry(table: CsvTable, row: CsvRow, channel_id: str, problems: list[CsvProblem]) -> Outlet | Listing | None:
    what, external_id, truestock_id = (row.cells[name] for name in _REQUIRED)
    if what == "outlet":
        return outlet_of(channel_id, external_id, truestock_id)
    units = row.cells.get("unit_count") or "1"
    if what != "item":
        problems.append(table.problem(row.line, "what", f"{what!r} is neither 'outlet' nor 'item'"))
    elif not (units.isdigit() and units.isascii() and 1 <= int(units) <= HIGHEST_UNITS):
        problems.append(
            table.problem(row.line, "unit_count", f"{units!r} is no whole number from 1 to {HIGHEST_UNITS:,}")
        )
    else:
        return listing_of(channel_id, external_id, truestock_id, int(units))
    return None


def outlet_of(channel_id: str, outlet_id: str, truestock_id: str) -> Outlet:
    """An outlet that is a location, or a pool after `pool:`."""
    outlet = Outlet(channel_id=channel_id, outlet_id=outlet_id)
    if truestock_id.startswith(POOL):
        outlet.pool_id = truestock_id.removeprefix(POOL)
    else:
        outlet.location_id = truestock_id
    return outlet


def listing_of(channel_id: str, item_id: str, sku: str, units: int) -> Listing:
    """An item that is so many units of a SKU."""
    return Listing(channel_id=channel_id, item_id=item_id, sku=sku, unit_count=units)
