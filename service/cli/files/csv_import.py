"""`truestock import`: checks a CSV file row by row, then lets the service check it, and only then writes it."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from service import limits
from service.cli.client import Client, ServiceError
from service.cli.files.csv_columns import KINDS, CsvColumn, FileKind
from service.cli.files.csv_table import CsvError, CsvProblem, CsvRow, CsvTable, closest_name, read_table
from truestock.v1.catalog_service_pb2 import (
    Channel,
    Feed,
    ListFeedsRequest,
    Location,
    Product,
    UpsertChannelsRequest,
    UpsertFeedsRequest,
    UpsertLocationsRequest,
    UpsertProductsRequest,
)
from truestock.v1.stock_service_pb2 import RecordStockChangesRequest, StockChange, StockChangeResult

BATCH_BYTES = limits.REQUEST_BYTES * 8 // 10
"""Maximum size of the records in one call, which leaves room for the other fields of the request."""

Advance = Callable[[int], None]
"""Called with the number of rows finished since the last call."""


@dataclass(frozen=True, slots=True)
class Record:
    """One valid row as a message."""

    line: int
    message: Message


@dataclass(frozen=True, slots=True)
class ImportFile:
    """A file whose rows are all valid. `digest` identifies its contents."""

    name: str
    kind: FileKind
    table: CsvTable
    records: tuple[Record, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class StockImport:
    """How a stock file is to be taken.

    `computed` says whether a program wrote the figures or people counted, for rows that do not say it themselves; None:
    as the feed declares. `again` counts rows that were imported on the same day before.
    """

    source: str = "import"
    computed: bool | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The result of an import: `created` and `updated` of records, or the fields from `accepted` on of a stock file.

    `computed` are rows taken as written by a program, `by_default` those taken as counted by a person because nothing
    says who wrote them.
    """

    file: str
    kind: str
    rows: int
    created: int = 0
    updated: int = 0
    accepted: int = 0
    duplicates: int = 0
    observed: int = 0
    computed: int = 0
    by_default: int = 0
    stale: tuple[CsvProblem, ...] = ()
    quarantined: tuple[CsvProblem, ...] = ()
    dropped: int = 0
    """Quarantined changes of earlier imports that were dropped to make room for those of this one."""

    def as_dict(self) -> dict[str, object]:
        """The report for `--json`."""
        counts = {"file": self.file, "kind": self.kind, "rows": self.rows}
        if self.kind != "stock":
            return counts | {"created_count": self.created, "updated_count": self.updated}
        return counts | {
            "accepted_count": self.accepted,
            "duplicate_count": self.duplicates,
            "observed_count": self.observed,
            "computed_count": self.computed,
            "stale_count": len(self.stale),
            "quarantined_count": len(self.quarantined),
            "dropped_count": self.dropped,
        }


async def import_file(
    client: Client,
    file: ImportFile,
    *,
    stock: StockImport = StockImport(),
    now: datetime | None = None,
    advance: Advance = lambda _: None,
) -> ImportReport:
    """Sends all rows of a file or none. Raises CsvError for rows that the service refuses, ServiceError otherwise.

    Each call writes all of its rows or none. A file of several calls is checked whole before the first row is written;
    if the connection breaks between calls, importing the file again completes it.
    """
    if file.name == "stock":
        return await _import_stock(client, file, stock, now or datetime.now(UTC), advance)
    return await _import_catalog(client, file, advance)


def read_import(path: Path, name: str, *, encoding: str = "utf-8") -> ImportFile:
    """Reads a file of one of KINDS. Raises CsvError with all its problems at once."""
    kind = KINDS[name]
    table = read_table(path, [column.name for column in kind.columns if column.required], encoding=encoding)
    _refuse_unknown_columns(table, kind)
    records: list[Record] = []
    problems: list[CsvProblem] = []
    lines_by_key: dict[tuple[Any, ...], int] = {}
    for row in table.rows():
        record = row if isinstance(row, CsvProblem) else _read_row(table, kind, row, lines_by_key)
        if isinstance(record, Record):
            records.append(record)
        else:
            problems.extend([record] if isinstance(record, CsvProblem) else record)
    if not records and not problems:
        problems.append(
            CsvProblem(table.file, 1, 0, "the file has a header but no rows", f"add a row for each {kind.noun}")
        )
    if problems:
        raise CsvError(problems)
    return ImportFile(name, kind, table, tuple(records), hashlib.sha256(table.text.encode()).hexdigest())


def _refuse_unknown_columns(table: CsvTable, kind: FileKind) -> None:
    names = [column.name for column in kind.columns]
    problems = []
    for position, name in enumerate(table.columns, start=1):
        if name not in names:
            near = closest_name(name, names)
            hint = f"did you mean {near!r}?" if near else f"this kind of file has the columns {', '.join(names)}"
            problems.append(CsvProblem(table.file, 1, position, f"unknown column {name!r}", hint))
    if problems:
        raise CsvError(problems)


def _read_row(
    table: CsvTable, kind: FileKind, row: CsvRow, lines_by_key: dict[tuple[Any, ...], int]
) -> Record | list[CsvProblem]:
    values: dict[str, Any] = {}
    problems: list[CsvProblem] = []
    for column in kind.columns:
        problem = _read_cell(table, row, column, values)
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
        return Record(row.line, kind.make(values))
    except ValueError as error:
        return [CsvProblem(table.file, row.line, 0, *_message_and_help(error))]


def _read_cell(table: CsvTable, row: CsvRow, column: CsvColumn, values: dict[str, Any]) -> CsvProblem | None:
    cell = row.cells.get(column.name, "")
    if not cell:
        return table.problem(row.line, column.name, "is empty", "fill it in") if column.required else None
    try:
        values[column.name] = column.read(cell)
    except ValueError as error:
        return table.problem(row.line, column.name, *_message_and_help(error))
    return None


def _message_and_help(error: ValueError) -> tuple[str, str]:
    message, _, help = str(error).partition("; ")
    return message, help


async def _import_catalog(client: Client, file: ImportFile, advance: Advance) -> ImportReport:
    batches = list(_batches(file.records))
    for batch in batches:
        await _upsert(client, file, batch, validate_only=True)
    created = updated = 0
    for batch in batches:
        created_count, updated_count = await _upsert(client, file, batch, validate_only=False)
        created, updated = created + created_count, updated + updated_count
        advance(len(batch))
    return ImportReport(file.table.file, file.name, len(file.records), created=created, updated=updated)


async def _upsert(client: Client, file: ImportFile, batch: Sequence[Record], *, validate_only: bool) -> tuple[int, int]:
    """How many records were created and updated. Raises CsvError with the rows that the service refuses."""
    messages: list[Any] = [record.message for record in batch]
    try:
        response = await _UPSERTS[file.name](client, messages, validate_only)
    except ServiceError as error:
        raise _located_error(error, file, batch) from error
    return response.created_count, response.updated_count


async def _upsert_locations(client: Client, locations: list[Location], validate_only: bool) -> Any:
    request = UpsertLocationsRequest(locations=locations, validate_only=validate_only)
    return await client.ask(client.catalog.UpsertLocations, request)


async def _upsert_products(client: Client, products: list[Product], validate_only: bool) -> Any:
    request = UpsertProductsRequest(products=products, validate_only=validate_only)
    return await client.ask(client.catalog.UpsertProducts, request)


async def _upsert_channels(client: Client, channels: list[Channel], validate_only: bool) -> Any:
    request = UpsertChannelsRequest(channels=channels, validate_only=validate_only)
    return await client.ask(client.catalog.UpsertChannels, request)


async def _upsert_feeds(client: Client, feeds: list[Feed], validate_only: bool) -> Any:
    return await client.ask(client.catalog.UpsertFeeds, UpsertFeedsRequest(feeds=feeds, validate_only=validate_only))


_UPSERTS: dict[str, Callable[[Client, list[Any], bool], Awaitable[Any]]] = {
    "locations": _upsert_locations,
    "products": _upsert_products,
    "channels": _upsert_channels,
    "feeds": _upsert_feeds,
}


async def _import_stock(
    client: Client, file: ImportFile, stock: StockImport, now: datetime, advance: Advance
) -> ImportReport:
    _refuse_future_counts(file, now)
    zones = await _time_zones(client, file)
    feeds, _ = await client.list_entries(client.catalog.ListFeeds, ListFeedsRequest(), lambda page: page.feeds)
    feed = next((feed for feed in feeds if feed.source == stock.source), None)
    run = f"-{uuid.uuid4().hex[:12]}" if stock.again else ""
    results: list[tuple[Record, StockChangeResult]] = []
    dropped = 0
    for batch in _batches(file.records):
        changes = [_stock_change(file, record, stock, now=now, zones=zones, run=run) for record in batch]
        request = RecordStockChangesRequest(source=stock.source, changes=changes)
        try:
            response = await client.ask(client.stock.RecordStockChanges, request)
        except ServiceError as error:
            raise _located_error(error, file, batch) from error
        results += zip(batch, response.results, strict=True)
        dropped += response.dropped_count
        advance(len(batch))
    return replace(_stock_report(file, results, stock, feed), dropped=dropped)


def _stock_report(
    file: ImportFile, results: list[tuple[Record, StockChangeResult]], stock: StockImport, feed: Feed | None
) -> ImportReport:
    silent = sum(not cast(StockChange, record.message).count.HasField("computed") for record in file.records)
    computed = sum(cast(StockChange, record.message).count.computed for record in file.records)
    if stock.computed or (stock.computed is None and feed is not None and feed.computed):
        computed += silent

    def rows_with(outcome: StockChangeResult.ChangeResult.ValueType) -> tuple[CsvProblem, ...]:
        return tuple(
            CsvProblem(file.table.file, record.line, 0, result.reason)
            for record, result in results
            if result.result == outcome
        )

    return ImportReport(
        file.table.file,
        file.name,
        len(results),
        accepted=len(rows_with(StockChangeResult.CHANGE_RESULT_ACCEPTED)),
        duplicates=len(rows_with(StockChangeResult.CHANGE_RESULT_DUPLICATE)),
        observed=len(rows_with(StockChangeResult.CHANGE_RESULT_OBSERVED)),
        computed=computed,
        by_default=silent if stock.computed is None and feed is None else 0,
        stale=rows_with(StockChangeResult.CHANGE_RESULT_STALE),
        quarantined=rows_with(StockChangeResult.CHANGE_RESULT_QUARANTINED)
        + rows_with(StockChangeResult.CHANGE_RESULT_REFUSED),
    )


def _stock_change(
    file: ImportFile, record: Record, stock: StockImport, *, now: datetime, zones: Mapping[str, ZoneInfo], run: str
) -> StockChange:
    """The count of one row.

    Its id is made of the file's contents, the line and the location's date at the time of the count: importing the file
    again on that day changes nothing, and the next day the same figures are a new count. `run` makes the ids of an
    import unique that counts all rows again.
    """
    change = StockChange()
    change.CopyFrom(cast(StockChange, record.message))
    if not change.HasField("effective_time"):
        change.effective_time.FromDatetime(now)
    if stock.computed is not None and not change.count.HasField("computed"):
        change.count.computed = stock.computed
    date = change.effective_time.ToDatetime(UTC).astimezone(zones[change.location_id]).date()
    change.change_id = f"{file.digest[:32]}-{date}-{record.line}{run}"
    return change


def _refuse_future_counts(file: ImportFile, now: datetime) -> None:
    latest = Timestamp()
    latest.FromDatetime(now + limits.CLOCK_SKEW)
    problems = [
        file.table.problem(record.line, "counted_at", "is in the future", "correct the time or its time zone")
        for record in file.records
        if cast(StockChange, record.message).effective_time.ToNanoseconds() > latest.ToNanoseconds()
    ]
    if problems:
        raise CsvError(problems)


async def _time_zones(client: Client, file: ImportFile) -> dict[str, ZoneInfo]:
    """The time zones of locations. Raises CsvError for every row whose SKU or location the service does not know."""
    counts = [(record.line, cast(StockChange, record.message)) for record in file.records]
    locations = {x.location_id: ZoneInfo(x.time_zone or "UTC") for x in await client.locations()}
    skus = {product.sku for product in await client.products(list(dict.fromkeys(count.sku for _, count in counts)))}
    problems: list[CsvProblem] = []
    for line, count in counts:
        if count.sku not in skus:
            help = "import it first with `truestock import products`"
            problems.append(file.table.problem(line, "sku", f"there is no product {count.sku!r}", help))
        if count.location_id not in locations:
            near = closest_name(count.location_id, locations)
            help = f"did you mean {near!r}?" if near else "import it first with `truestock import locations`"
            problems.append(
                file.table.problem(line, "location_id", f"there is no location {count.location_id!r}", help)
            )
    if problems:
        raise CsvError(problems)
    return locations


def _batches(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Records in the order of the file, in batches as large as one call allows."""
    batch: list[Record] = []
    size = 0
    for record in records:
        record_bytes = record.message.ByteSize() + 100
        if batch and (len(batch) == limits.UPSERTS or size + record_bytes > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += record_bytes
    if batch:
        yield batch


def _located_error(error: ServiceError, file: ImportFile, batch: Sequence[Record]) -> Exception:
    """The service's error about `products[3].price` as an error of that line of the file; else the error unchanged."""
    problems: list[CsvProblem] = []
    for violation in error.violations:
        match = re.fullmatch(r"[a-z_]+\[([0-9]+)\]\.?(.*)", violation.field)
        if match is None or int(match[1]) >= len(batch):
            return error
        field = re.sub(r"\[[0-9]+\]$", "", match[2])
        column = file.kind.field_columns.get(field, file.kind.field_columns.get(field.split(".")[0], field))
        problems.append(file.table.problem(batch[int(match[1])].line, column, violation.description))
    return CsvError(problems) if problems else error
