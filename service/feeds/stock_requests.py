"""Requests about stock, checked and turned into plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from policies.stock.feeds import OWN_SOURCES
from service import limits
from service.errors import InvalidFields, Violation
from service.feeds.stock_change import StockChange, checked_change
from service.rpc.page_tokens import PageTokens
from service.rpc.validation import Fields
from truestock.v1 import stock_service_pb2 as stock_pb


@dataclass(frozen=True, slots=True)
class RecordRequest:
    """A valid RecordStockChanges request."""

    source: str
    changes: Sequence[StockChange]
    request_id: UUID | None


@dataclass(frozen=True, slots=True)
class LevelsPage:
    """Which levels to list: an empty filter matches everything; `after` is the last key of the page before."""

    skus: Sequence[str]
    location_ids: Sequence[str]
    after: tuple[str, str]
    count: int
    tokens: PageTokens


def record_request(request: stock_pb.RecordStockChangesRequest) -> RecordRequest:
    """Raises InvalidFields with every problem."""
    fields = Fields()
    source = fields.text("source", request.source, longest=limits.ID_LENGTH, required=True)
    if source in OWN_SOURCES:
        fields.wrong(
            "source", f"'{source}' is reserved for Truestock; name the POS, the warehouse system or the person"
        )
    request_id = fields.uuid("request_id", request.request_id)
    changes: list[StockChange] = []
    if fields.size("changes", request.changes, 1, limits.STOCK_CHANGES):
        for index, change in enumerate(request.changes):
            checked = checked_change(fields, f"changes[{index}]", source or "", change)
            if checked is not None:
                changes.append(checked)
    fields.finish()
    return RecordRequest(source or "", changes, request_id)


def streamed_request(message: stock_pb.StreamStockChangesRequest, source: str) -> RecordRequest:
    """One message of a stream; `source` is from its earlier messages, empty for the first. Raises InvalidFields."""
    if source and message.source not in ("", source):
        problem = f"is '{message.source}', but this stream is for '{source}'; open one stream for each source"
        raise InvalidFields([Violation("source", problem)])
    return record_request(stock_pb.RecordStockChangesRequest(source=source or message.source, changes=message.changes))


def levels_page(request: stock_pb.ListStockLevelsRequest) -> LevelsPage:
    """Raises InvalidFields."""
    fields = Fields()
    if fields.size("skus", request.skus, 0, limits.SKUS):
        for index, sku in enumerate(request.skus):
            fields.sku(f"skus[{index}]", sku)
    if fields.size("location_ids", request.location_ids, 0, limits.LOCATION_FILTER):
        for index, location_id in enumerate(request.location_ids):
            fields.text(f"location_ids[{index}]", location_id, longest=limits.ID_LENGTH, required=True)
    count = fields.page_size(request.page_size)
    tokens = PageTokens(request)
    after = tokens.names(fields) or ("", "")
    fields.finish()
    return LevelsPage(list(request.skus), list(request.location_ids), after, count, tokens)
