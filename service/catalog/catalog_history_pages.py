"""Lists what changed in the catalog, and finds what a record was at a time in the past."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from service import limits
from service.catalog import catalog_messages, listing_store
from service.catalog.catalog_store import CHANNELS, FEEDS, LOCATIONS, PRODUCTS
from service.catalog.kit_store import KITS
from service.catalog.outlets import outlet_store
from service.database.database import Connection, Database
from service.database.tables import catalog_history
from service.errors import NotFound
from service.history import catalog_history as history, history_requests
from service.history.catalog_history import CREATED, DELETED, UPDATED, HistoryOf, Record
from service.history.history_pages import HistoryList
from service.rpc.proto_values import timestamp
from service.rpc.validation import Fields
from truestock.v1 import catalog_history_pb2 as history_pb, catalog_service_pb2 as catalog_pb

_HISTORY = HistoryList(
    catalog_history, "change_time", {"record_ids": "record_id", "kinds": "kind"}, leading=("record_ids",)
)
_CHANGES = {
    CREATED: history_pb.CatalogChange.KIND_CREATED,
    UPDATED: history_pb.CatalogChange.KIND_UPDATED,
    DELETED: history_pb.CatalogChange.KIND_DELETED,
}
_HISTORIES: dict[str, HistoryOf] = {
    recorded.table.name: recorded
    for recorded in (
        *(table.history for table in (LOCATIONS, PRODUCTS, CHANNELS, FEEDS, KITS)),
        outlet_store.POOL_HISTORY,
        outlet_store.HISTORY,
        listing_store.HISTORY,
    )
}
_MESSAGES: dict[str, Callable[[Any], Any]] = {
    "location": catalog_messages.location_message,
    "product": catalog_messages.product_message,
    "channel": catalog_messages.channel_message,
}


async def listed(
    database: Database, request: history_pb.ListCatalogHistoryRequest
) -> history_pb.ListCatalogHistoryResponse:
    """The answer to a request for changes. Raises InvalidFields and NotReady."""
    fields = Fields()
    if fields.size("kinds", request.kinds, 0, limits.HISTORY_FILTER):
        for index, kind in enumerate(request.kinds):
            _check_kind(fields, f"kinds[{index}]", kind)
    ids = history_requests.names(
        fields, "record_ids", request.record_ids, most=limits.SKUS, longest=limits.RECORD_ID_LENGTH
    )
    page = history_requests.history_page(fields, request, {"kinds": request.kinds, "record_ids": ids})
    rows, end = await database.unlocked(
        "list",
        lambda connection: _HISTORY.page(connection, page.count, page.before, since=page.since, filters=page.filters),
    )
    return history_pb.ListCatalogHistoryResponse(
        changes=[_change(row) for row in rows], next_page_token=page.tokens.after_time(*end) if end else ""
    )


async def record_as_of(
    database: Database, request: catalog_pb.GetCatalogRecordRequest, retention: timedelta
) -> catalog_pb.GetCatalogRecordResponse:
    """The answer to the question what a record was at a time. Raises InvalidFields, NotFound and NotReady."""
    fields = Fields()
    _check_kind(fields, "kind", request.kind)
    fields.text("record_id", request.record_id, longest=limits.RECORD_ID_LENGTH, required=True)
    moment = _moment(fields, request, retention)
    recorded = _HISTORIES.get(request.kind)
    if recorded is not None and not fields.violations:
        try:
            recorded.key_of(request.record_id)
        except ValueError as error:
            fields.wrong("record_id", f"{error}; write it as channel_id/id")
    fields.finish()
    assert recorded is not None
    record = await database.snapshot("get", lambda connection: _read(connection, recorded, request.record_id, moment))
    if record is None:
        advice = f"there was none at {moment:%Y-%m-%d %H:%M:%S} UTC; ListCatalogHistory says when it was created"
        raise NotFound(request.kind, {"record_id": request.record_id}, advice)
    return _answer(recorded, record)


async def _read(connection: Connection, recorded: HistoryOf, record_id: str, moment: datetime) -> Record | None:
    is_known, record = await history.as_of(connection, recorded.table.name, record_id, moment)
    if is_known:
        return None if record is None else history.typed(recorded.table, record)
    key = recorded.key_of(record_id)
    current = (await recorded.read(connection, [key])).get(key)
    if current is None or current["create_time"] > moment:
        return None
    # Without what the service has learned, as for records of the past.
    return {**dict.fromkeys(recorded.table.columns.keys()), **recorded.stated(current)}


def _moment(fields: Fields, request: catalog_pb.GetCatalogRecordRequest, retention: timedelta) -> datetime:
    now = datetime.now(UTC)
    if not request.HasField("time"):
        # Changes of this moment have times by the database's clock, which may be ahead.
        return now + limits.CLOCK_SKEW
    moment = fields.past_moment("time", request.time)
    if moment is not None and moment < now - retention:
        fields.wrong("time", f"is more than {retention.days:,} days ago; the history of the catalog begins later")
    return moment or now


def _check_kind(fields: Fields, field: str, kind: str) -> None:
    if kind not in _HISTORIES:
        fields.wrong(field, f"'{kind[:64]}' is not one of {', '.join(_HISTORIES)}")


def _change(row: asyncpg.Record) -> history_pb.CatalogChange:
    before: Mapping[str, Any] = json.loads(row["before"])
    after: Mapping[str, Any] = json.loads(row["after"] or "{}")
    names = after if row["change"] == CREATED else before
    changes = [(name, _text(before.get(name)), _text(after.get(name))) for name in names]
    return history_pb.CatalogChange(
        change=_CHANGES[row["change"]],
        change_time=timestamp(row["change_time"]),
        kind=row["kind"],
        record_id=row["record_id"],
        call=row["call"],
        fields=[
            history_pb.FieldChange(field=name, before=old, after=new)
            for name, old, new in sorted(changes)
            if old is not None or new is not None
        ],
    )


def _answer(recorded: HistoryOf, record: Record) -> catalog_pb.GetCatalogRecordResponse:
    plain = json.loads(history.as_json(recorded.stated(record)))
    answer = catalog_pb.GetCatalogRecordResponse(
        fields=[
            history_pb.FieldValue(field=name, value=text)
            for name, value in sorted(plain.items())
            if (text := _text(value)) is not None
        ]
    )
    message = _MESSAGES.get(recorded.table.name)
    if message is not None:
        getattr(answer, recorded.table.name).CopyFrom(message(record))
    return answer


def _text(value: Any) -> str | None:
    """A value as text; None for no value."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
