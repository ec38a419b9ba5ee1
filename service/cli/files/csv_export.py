"""`truestock export`: writes the CSV files that `truestock import` reads."""

from __future__ import annotations

import csv
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from service import limits
from service.cli.client import Client
from service.cli.console import UserError
from service.cli.files.file_kind import FileKind
from service.cli.files.file_kinds import KINDS
from service.cli.spreadsheets.cell_text import guarded
from truestock.v1.catalog_service_pb2 import (
    ListChannelsRequest,
    ListFeedsRequest,
    ListLocationsRequest,
    ListProductsRequest,
)
from truestock.v1.kit_pb2 import ListKitsRequest
from truestock.v1.listing_pb2 import ListListingsRequest
from truestock.v1.outlet_pb2 import ListOutletsRequest, ListPoolsRequest
from truestock.v1.stock_service_pb2 import ListStockLevelsRequest

Advance = Callable[[int], None]
"""Called with the number of rows written since the last call."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written: `rows`, without the `uncounted` stock levels that have no figure yet.

    `below_zero` of the rows have a figure below 0, or more units that are not sellable than are on hand, and are
    written as the nearest count that somebody could have made.
    """

    kind: str
    rows: int = 0
    uncounted: int = 0
    below_zero: int = 0

    def as_dict(self) -> dict[str, object]:
        """The report for `--json`."""
        counts = {"kind": self.kind, "rows": self.rows}
        if self.kind != "stock":
            return counts
        return counts | {"uncounted_count": self.uncounted, "below_zero_count": self.below_zero}


async def export_records(
    client: Client, name: str, stream: TextIO, *, advance: Advance = lambda _: None
) -> ExportReport:
    """Writes all records of one of KINDS, page by page. Raises ServiceError."""
    table = CsvWriter(KINDS[name], stream)
    rows = uncounted = below_zero = 0
    request, call, entries = _lists(client)[name]
    request.page_size = limits.PAGE_SIZE_LIMIT
    while True:
        page = await client.ask(call, request)
        records = list(getattr(page, entries))
        if name == "stock":
            known = [level for level in records if level.HasField("as_of_time")]
            uncounted += len(records) - len(known)
            below_zero += sum(level.on_hand_count < max(0, level.unavailable_count) for level in known)
            records = known
        table.write(records)
        rows += len(records)
        advance(len(records))
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return ExportReport(name, rows, uncounted, below_zero)


class CsvWriter:
    """Writes messages of one kind as rows under a header, which it writes first."""

    def __init__(self, kind: FileKind, stream: TextIO) -> None:
        self._kind = kind
        self._columns = [column for column in kind.columns if not column.import_only]
        self._writer = csv.writer(stream, lineterminator="\n")
        self._writer.writerow([column.name for column in self._columns])

    def write(self, messages: Iterable[Any]) -> None:
        """Writes one row for each message."""
        for message in messages:
            cells = self._kind.cells(message)
            self._writer.writerow(
                [guarded(cells.get(column.name, ""), free_text=column.free_text) for column in self._columns]
            )


def write_table(stream: TextIO, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes rows that are no records to import, under a header."""
    csv.writer(stream, lineterminator="\n").writerow(columns)
    write_rows(stream, rows)


def write_rows(stream: TextIO, rows: Iterable[Sequence[object]]) -> None:
    """Writes further rows of such a table."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([guarded(str(cell), free_text=True) for cell in row] for row in rows)


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A text file that appears under its name, in place of an older one, only once the block has ended without error.

    Raises UserError if it cannot be written.
    """
    # The name has the process, because two commands may write the same file at once; the last to end wins.
    # A pipe or a device, such as /dev/stdout, is written at once.
    in_place = path.exists() and not path.is_file()
    path = path if in_place else path.resolve()
    partial = path if in_place else path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        if not in_place:
            partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if not in_place:
            partial.unlink(missing_ok=True)


def _lists(client: Client) -> dict[str, tuple[Any, Callable[..., Awaitable[Any]], str]]:
    """By kind: the request for a page, the call, and the field of its answer with the records."""
    return {
        "locations": (ListLocationsRequest(), client.catalog.ListLocations, "locations"),
        "products": (ListProductsRequest(), client.catalog.ListProducts, "products"),
        "channels": (ListChannelsRequest(), client.catalog.ListChannels, "channels"),
        "pools": (ListPoolsRequest(), client.catalog.ListPools, "pools"),
        "outlets": (ListOutletsRequest(), client.catalog.ListOutlets, "outlets"),
        "listings": (ListListingsRequest(), client.catalog.ListListings, "listings"),
        "kits": (ListKitsRequest(), client.catalog.ListKits, "kits"),
        "feeds": (ListFeedsRequest(), client.catalog.ListFeeds, "feeds"),
        "stock": (ListStockLevelsRequest(), client.stock.ListStockLevels, "stock_levels"),
    }
