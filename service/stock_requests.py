"""Requests about stock, checked and turned into plain values."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from policies.counting import MOVEMENT_SIGNS
from service import bounds
from service.errors import InvalidFields, Violation
from service.fields import Fields
from truestock.v1 import stock_service_pb2 as stock_pb

_KINDS = {
    stock_pb.MOVEMENT_KIND_RECEIVED: "received",
    stock_pb.MOVEMENT_KIND_RETURNED: "returned",
    stock_pb.MOVEMENT_KIND_FOUND: "found",
    stock_pb.MOVEMENT_KIND_SOLD: "sold",
    stock_pb.MOVEMENT_KIND_DAMAGED: "damaged",
    stock_pb.MOVEMENT_KIND_LOST: "lost",
    stock_pb.MOVEMENT_KIND_ADJUSTED: "adjusted",
}
_APART = "\x1f"


@dataclass(frozen=True, slots=True)
class Change:
    """One count (`kind` is 'counted') or movement. `units` is what was said, `unavailable` only for counts."""

    change_id: str
    sku: str
    location_id: str
    kind: str
    units: int
    unavailable: int | None
    effective_time: datetime
    content: bytes

    @property
    def key(self) -> tuple[str, str]:
        """(SKU, location id)."""
        return self.sku, self.location_id

    @property
    def on_hand_delta(self) -> int:
        """What a movement does to the units on hand; 0 for a count."""
        return self.units * MOVEMENT_SIGNS.get(self.kind, 0)


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
    if source == "orders":
        fields.wrong("source", "'orders' is the service's own; name the till, the warehouse system or the person")
    request_id = fields.uuid("request_id", request.request_id)
    changes: list[Change] = []
    if fields.size("changes", request.changes, 1, bounds.STOCK_CHANGES):
        for index, change in enumerate(request.changes):
            made = _change(fields, f"changes[{index}]", change)
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


def _change(fields: Fields, at: str, change: stock_pb.StockChange) -> Change | None:
    before = len(fields.violations)
    fields.text(f"{at}.change_id", change.change_id, longest=bounds.CHANGE_ID_LENGTH, required=True)
    fields.sku(f"{at}.sku", change.sku)
    fields.text(f"{at}.location_id", change.location_id, longest=bounds.ID_LENGTH, required=True)
    given = change.HasField("effective_time")
    effective_time = fields.moment(f"{at}.effective_time", change.effective_time, given=given)
    kind, units, unavailable = _said(fields, at, change)
    if len(fields.violations) > before or effective_time is None:
        return None
    content = change.SerializeToString(deterministic=True)
    return Change(change.change_id, change.sku, change.location_id, kind, units, unavailable, effective_time, content)


def _said(fields: Fields, at: str, change: stock_pb.StockChange) -> tuple[str, int, int | None]:
    if change.WhichOneof("change") == "count":
        return _count(fields, f"{at}.count", change.count)
    if change.WhichOneof("change") == "movement":
        return _movement(fields, f"{at}.movement", change.movement)
    fields.wrong(f"{at}.change", "must be a count or a movement")
    return "", 0, None


def _count(fields: Fields, at: str, count: stock_pb.StockCount) -> tuple[str, int, int | None]:
    fields.whole(f"{at}.on_hand_count", count.on_hand_count, 0, bounds.COUNTED_UNITS)
    if not count.HasField("unavailable_count"):
        return "counted", count.on_hand_count, None
    if not 0 <= count.unavailable_count <= count.on_hand_count:
        wrong = f"is {count.unavailable_count}; it must be 0 to on_hand_count, {count.on_hand_count}"
        fields.wrong(f"{at}.unavailable_count", wrong)
    return "counted", count.on_hand_count, count.unavailable_count


def _movement(fields: Fields, at: str, movement: stock_pb.StockMovement) -> tuple[str, int, int | None]:
    kind = _KINDS.get(movement.kind, "")
    if not kind:
        fields.wrong(f"{at}.kind", "must be one of the MovementKinds, such as MOVEMENT_KIND_RECEIVED")
    lowest = -bounds.COUNTED_UNITS if kind == "adjusted" else 1
    fields.whole(f"{at}.unit_count", movement.unit_count, lowest, bounds.COUNTED_UNITS)
    if movement.unit_count == 0:
        fields.wrong(f"{at}.unit_count", "must not be 0")
    return kind, movement.unit_count, None
