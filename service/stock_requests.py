"""Requests about stock, checked and turned into plain values."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from service import bounds
from service.book import OWN_SOURCES
from service.errors import InvalidFields, Violation
from service.fields import Fields
from service.stated_changes import Change, change_of
from truestock.v1 import stock_service_pb2 as stock_pb

_APART = "\x1f"


@dataclass(frozen=True, slots=True)
class RecordRequest:
    """A RecordStockChanges request that is well-formed."""

    source: str
    changes: Sequence[Change]
    request_id: UUID | None


@dataclass(frozen=True, slots=True)
class LevelsPage:
    """Which levels to list: filters that are empty let everything through, `after` is the last key already seen."""

    skus: Sequence[str]
    location_ids: Sequence[str]
    after: tuple[str, str]
    count: int


def record_request(request: stock_pb.RecordStockChangesRequest) -> RecordRequest:
    """Raises InvalidFields with everything that is wrong."""
    fields = Fields()
    source = fields.text("source", request.source, longest=bounds.ID_LENGTH, required=True)
    if source in OWN_SOURCES:
        fields.wrong("source", f"'{source}' is the service's own; name the till, the warehouse system or the person")
    request_id = fields.uuid("request_id", request.request_id)
    changes: list[Change] = []
    if fields.size("changes", request.changes, 1, bounds.STOCK_CHANGES):
        for index, change in enumerate(request.changes):
            made = change_of(fields, f"changes[{index}]", source or "", change)
            if made is not None:
                changes.append(made)
    fields.finish()
    return RecordRequest(source or "", changes, request_id)


def streamed_request(message: stock_pb.StreamStockChangesRequest, source: str) -> RecordRequest:
    """One message of a stream whose earlier ones named `source`, empty before the first. Raises InvalidFields."""
    if source and message.source not in ("", source):
        wrong = f"is '{message.source}', and this stream is '{source}'; open a stream for each source"
        raise InvalidFields([Violation("source", wrong)])
    return record_request(stock_pb.RecordStockChangesRequest(source=source or message.source, changes=message.changes))


def levels_page(request: stock_pb.ListStockLevelsRequest) -> LevelsPage:
    """Raises InvalidFields."""
    fields = Fields()
    if fields.size("skus", request.skus, 0, bounds.SKUS):
        for index, sku in enumerate(request.skus):
            fields.sku(f"skus[{index}]", sku)
    if fields.size("location_ids", request.location_ids, 0, bounds.LOCATION_FILTER):
        for index, location_id in enumerate(request.location_ids):
            fields.text(f"location_ids[{index}]", location_id, longest=bounds.ID_LENGTH, required=True)
    count, _ = fields.page(request.page_size, "")
    after = _key_of(fields, request.page_token)
    fields.finish()
    return LevelsPage(list(request.skus), list(request.location_ids), after, count)


def levels_token(sku: str, location_id: str) -> str:
    """The page token that starts behind this level."""
    return base64.urlsafe_b64encode(f"{sku}{_APART}{location_id}".encode()).decode()


def _key_of(fields: Fields, token: str) -> tuple[str, str]:
    if not token:
        return "", ""
    try:
        sku, location_id = base64.urlsafe_b64decode(token.encode()).decode().split(_APART)
        fields.text("page_token", sku + location_id)
    except (binascii.Error, ValueError):
        fields.wrong("page_token", "is not a next_page_token of this service")
        return "", ""
    return sku, location_id
