"""Imports a file of stock: each row is a count, with an id that makes the same file count once a day."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import cast
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp

from policies.domain.near_names import near_names
from service import limits
from service.cli.client import Client, ServiceError
from service.cli.files.import_calls import Advance, ImportReport, batches, located_error
from service.cli.files.import_file import ImportFile, Record
from service.cli.spreadsheets.csv_table import CsvError, CsvProblem
from truestock.v1.catalog_service_pb2 import Feed, ListFeedsRequest
from truestock.v1.stock_service_pb2 import (
    RecordStockChangesRequest,
    RecordStockChangesResponse,
    StockChange,
    StockChangeResult,
)

NEAR_LOCATIONS = 50
"""Unknown locations that are compared with all others: who names more imports the wrong file."""
_Result = tuple[Record, StockChangeResult]


@dataclass(frozen=True, slots=True)
class StockImport:
    """How a stock file is to be taken.

    `computed` says whether a program wrote the figures or people counted, for rows that do not say it themselves; None:
    as the feed declares. `again` counts rows that were imported on the same day before.
    """

    source: str = "import"
    computed: bool | None = None
    again: bool = False


async def import_stock(
    client: Client, file: ImportFile, stock: StockImport, now: datetime, advance: Advance
) -> ImportReport:
    """Records the counts of all rows. Raises CsvError for rows that the service cannot know, ServiceError otherwise."""
    _refuse_future_counts(file, now)
    zones = await _time_zones(client, file)
    feeds, _ = await client.list_entries(client.catalog.ListFeeds, ListFeedsRequest(), lambda page: page.feeds)
    feed = next((feed for feed in feeds if feed.source == stock.source), None)
    run = f"-{uuid.uuid4().hex[:12]}" if stock.again else ""
    results: list[_Result] = []
    follow_ups: list[_Result] = []
    dropped = 0
    for batch in batches(file.records):
        counts = [_stock_change(file, record, stock, now=now, zones=zones, run=run) for record in batch]
        answer = await _record(client, file, stock.source, batch, counts)
        results += zip(batch, answer.results, strict=True)
        dropped += answer.dropped_count
        followed = [(record, count) for record, count in zip(batch, counts, strict=True) if record.follow_up]
        if followed:
            records = [record for record, _ in followed]
            changes = [_follow_up(cast(StockChange, record.follow_up), count) for record, count in followed]
            answer = await _record(client, file, stock.source, records, changes)
            follow_ups += zip(records, answer.results, strict=True)
            dropped += answer.dropped_count
        advance(len(batch))
    return replace(_stock_report(file, results, follow_ups, stock, feed), dropped=dropped)


async def _record(
    client: Client, file: ImportFile, source: str, records: Sequence[Record], changes: Sequence[StockChange]
) -> RecordStockChangesResponse:
    try:
        request = RecordStockChangesRequest(source=source, changes=changes)
        return await client.ask(client.stock.RecordStockChanges, request)
    except ServiceError as error:
        raise located_error(error, file, records) from error


def _follow_up(change: StockChange, count: StockChange) -> StockChange:
    """The change that follows a count, as soon as times can tell them apart."""
    followed = StockChange()
    followed.CopyFrom(change)
    followed.change_id = f"{count.change_id}-next"
    followed.effective_time.FromDatetime(count.effective_time.ToDatetime(UTC) + timedelta(microseconds=1))
    return followed


def _stock_report(
    file: ImportFile, results: list[_Result], follow_ups: list[_Result], stock: StockImport, feed: Feed | None
) -> ImportReport:
    silent = sum(not cast(StockChange, record.message).count.HasField("computed") for record in file.records)
    computed = sum(cast(StockChange, record.message).count.computed for record in file.records)
    if stock.computed or (stock.computed is None and feed is not None and feed.computed):
        computed += silent

    def rows_with(
        outcome: StockChangeResult.ChangeResult.ValueType, among: Sequence[_Result]
    ) -> tuple[CsvProblem, ...]:
        return tuple(
            CsvProblem(file.table.file, record.line, 0, result.reason)
            for record, result in among
            if result.result == outcome
        )

    return ImportReport(
        file.table.file,
        file.name,
        len(results),
        accepted=len(rows_with(StockChangeResult.CHANGE_RESULT_ACCEPTED, results)),
        duplicates=len(rows_with(StockChangeResult.CHANGE_RESULT_DUPLICATE, results)),
        observed=len(rows_with(StockChangeResult.CHANGE_RESULT_OBSERVED, results)),
        computed=computed,
        by_default=silent if stock.computed is None and feed is None else 0,
        stale=rows_with(StockChangeResult.CHANGE_RESULT_STALE, [*results, *follow_ups]),
        quarantined=rows_with(StockChangeResult.CHANGE_RESULT_QUARANTINED, [*results, *follow_ups])
        + rows_with(StockChangeResult.CHANGE_RESULT_REFUSED, [*results, *follow_ups]),
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
    unknown = dict.fromkeys(count.sku for _, count in counts if count.sku not in skus)
    near_skus = await client.near_skus(list(unknown))
    unknown_places = dict.fromkeys(count.location_id for _, count in counts if count.location_id not in locations)
    near_places = near_names(islice(unknown_places, NEAR_LOCATIONS), locations)
    problems: list[CsvProblem] = []
    for line, count in counts:
        if count.sku not in skus:
            near = near_skus.get(count.sku)
            help = f"did you mean {near!r}?" if near else "import it first with `truestock import products`"
            problems.append(file.table.problem(line, "sku", f"there is no product {count.sku!r}", help))
        if count.location_id not in locations:
            near = near_places.get(count.location_id)
            help = f"did you mean {near!r}?" if near else "import it first with `truestock import locations`"
            problems.append(
                file.table.problem(line, "location_id", f"there is no location {count.location_id!r}", help)
            )
    if problems:
        raise CsvError(problems)
    return locations
