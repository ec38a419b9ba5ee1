"""What TikTok Shop's JSON means for Truestock. Pure; personal data are left behind here.

| TikTok Shop | becomes |
|---|---|
| order `UNPAID` | its stock is held for as long as the channel lets an order wait for payment |
| order `ON_HOLD` | sold and on hold: the shopper may cancel freely for an hour, and nobody may ship |
| order `AWAITING_SHIPMENT` and later | sold and released, from the warehouse that TikTok chose, with its ship-by time |
| order `CANCEL`, `CANCELLED`; a cancelled unit | the order, or the unit, is cancelled |
| cancellation `..._PENDING`; `..._CANCEL` | the shopper asks to cancel, by TikTok's deadline; takes that back |
| return `..._COMPLETE` with goods; without | the units came back; the units were refunded and stay with the shopper |

Sources: TikTok Shop Partner Center, "Order API overview", "Get Order Detail", "Search Cancellations", "Search Returns".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from service.channels.adapter import Delivery, Hint
from service.channels.effects import (
    CancelUnits,
    Effect,
    Fault,
    Hold,
    ItemUnits,
    Left,
    Place,
    Reading,
    RequestToCancel,
    TakeOrder,
    TakeReturn,
)
from service.channels.errors import Unreadable
from service.channels.utc_times import readable_time

ORDER, CANCELLATION, RETURN = "order", "cancellation", "return"
REMORSE = timedelta(hours=1, minutes=15)
"""How long an order is on hold after payment: an hour, and a quarter for news that is late."""

_CANCELLED = frozenset({"CANCEL", "CANCELLED"})
_SOLD = frozenset(
    {
        *("ON_HOLD", "AWAITING_SHIPMENT", "PARTIALLY_SHIPPING", "AWAITING_COLLECTION"),
        *("IN_TRANSIT", "DELIVERED", "COMPLETED"),
    }
)
_LEFT = {
    "PARTIALLY_SHIPPING": Left.A_PART,
    **dict.fromkeys(("IN_TRANSIT", "DELIVERED", "COMPLETED"), Left.ALL),
}
_REQUESTED = "CANCELLATION_REQUEST_PENDING"
_WITHDRAWN = "CANCELLATION_REQUEST_CANCEL"
_GRANTED = frozenset({"CANCELLATION_REQUEST_SUCCESS", "CANCELLATION_REQUEST_COMPLETE"})
_RETURNED = "RETURN_OR_REFUND_REQUEST_COMPLETE"
_RETURN_TYPES = frozenset({"RETURN_AND_REFUND", "REFUND"})
_MASK = "*"

_ORDER_TOPICS = {1: "order_status", 3: "address", 2: "reverse_status"}
_DEAUTHORIZED = 6


def delivery(body: bytes) -> Delivery:
    """What a verified webhook says. One that cannot be understood is a delivery without hints."""
    try:
        message = json.loads(body)
        topic, data = int(message["type"]), message["data"]
        key = str(message.get("tts_notification_id") or "") or _digest(message)
        hints = tuple(_hints(topic, data))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Delivery(hashlib.sha256(body).hexdigest(), "unreadable", (), is_readable=False)
    shop = str(message.get("shop_id") or "")
    return Delivery(key, f"type_{topic}", hints, ends_authorization=topic == _DEAUTHORIZED, shop=shop)


def order_reading(order: Mapping[str, Any]) -> Reading:
    """What an order means. Raises Unreadable."""
    try:
        status = str(order["status"])
        update_time = _time(order["update_time"])
        if order.get("fulfillment_type", "FULFILLMENT_BY_SELLER") != "FULFILLMENT_BY_SELLER":
            return Reading(update_time, left_out="fulfilled_by_channel")
        if order.get("order_type") == "VIRTUAL_ORDER":
            return Reading(update_time, left_out="not_shipped")
        return Reading(update_time, tuple(_order_effects(order, status, update_time)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unlike("an order", error) from error


def cancellation_reading(cancellation: Mapping[str, Any]) -> Reading:
    """What a cancellation means, beyond what its order says. Raises Unreadable."""
    try:
        status, update_time = str(cancellation["cancel_status"]), _time(cancellation["update_time"])
        order_id, cancel_id = str(cancellation["order_id"]), str(cancellation["cancel_id"])
        if status in _GRANTED:
            return Reading(update_time)
        if status == _WITHDRAWN:
            return Reading(update_time, (RequestToCancel(order_id, cancel_id, is_withdrawn=True),))
        if status != _REQUESTED:
            raise Unreadable(f"TikTok Shop says {status} of a cancellation, which is not a word that it documents")
        request = RequestToCancel(
            order_id,
            cancel_id,
            _units(cancellation["cancel_line_items"]),
            reason=_reason(cancellation.get("cancel_reason")),
            deadline=_deadline(cancellation.get("seller_next_action_response")),
        )
        return Reading(update_time, (request,))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unlike("a cancellation", error) from error


def return_reading(record: Mapping[str, Any]) -> Reading:
    """What a return means; nothing until it is complete. Raises Unreadable."""
    try:
        update_time = _time(record["update_time"])
        if record["return_status"] != _RETURNED or record["return_type"] not in _RETURN_TYPES:
            # A replacement or an exchange becomes an order of its own.
            return Reading(update_time)
        effect = TakeReturn(
            str(record["order_id"]),
            str(record["return_id"]),
            _units(record["return_line_items"]),
            has_goods=record["return_type"] == "RETURN_AND_REFUND" and not record.get("can_buyer_keep_item", False),
            time=update_time,
        )
        return Reading(update_time, (effect,))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unlike("a return", error) from error


def changed_hints(kind: str, entry: Mapping[str, Any]) -> tuple[Hint, ...]:
    """What an entry of a list hints at. Raises Unreadable."""
    try:
        update_time = readable_time(entry.get("update_time"), _time)
        if kind == ORDER:
            return (Hint(ORDER, _id(entry["id"]), update_time),)
        if kind == RETURN:
            return (Hint(RETURN, _id(entry["return_id"]), update_time),)
        # Units that were cancelled show on their order only.
        return (
            Hint(CANCELLATION, _id(entry["cancel_id"]), update_time),
            Hint(ORDER, _id(entry["order_id"]), update_time),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unlike(f"a list of {kind}s", error) from error


def _hints(topic: int, data: Mapping[str, Any]) -> Iterable[Hint]:
    if topic in _ORDER_TOPICS:
        yield Hint(ORDER, _id(data["order_id"]), readable_time(data.get("update_time"), _time))
    elif topic == 4:
        for package in data["package_list"]:
            for order_id in package["order_id_list"]:
                yield Hint(ORDER, _id(order_id))
    elif topic == 11:
        update_time = readable_time(data.get("update_time"), _time)
        yield Hint(CANCELLATION, _id(data["cancel_id"]), update_time)
        yield Hint(ORDER, _id(data["order_id"]), update_time)
    elif topic == 12:
        yield Hint(RETURN, _id(data["return_id"]), readable_time(data.get("update_time"), _time))


def _order_effects(order: Mapping[str, Any], status: str, update_time: datetime) -> Iterable[Effect]:
    order_id, lines = str(order["id"]), list(order["line_items"])
    if status in _CANCELLED:
        reason = _reason(order.get("cancel_reason"))
        fault = _fault(order.get("cancellation_initiator"), reason)
        is_sold = bool(order.get("paid_time") or order.get("is_cod"))
        if is_sold:
            yield CancelUnits(order_id, "cancelled", (), fault, reason, update_time)
        yield _taken(order, status, lines, update_time, is_sold=is_sold)
        return
    if status != "UNPAID" and status not in _SOLD:
        raise Unreadable(f"TikTok Shop says {status} of an order, which is not a word that it documents")
    for line in lines:
        if line.get("display_status") in _CANCELLED:
            yield _cancelled_unit(order_id, line, update_time)
    remaining = [line for line in lines if line.get("display_status") not in _CANCELLED]
    yield _taken(order, status, remaining or lines, update_time, is_sold=status in _SOLD)


def _taken(
    order: Mapping[str, Any], status: str, lines: Sequence[Mapping[str, Any]], update_time: datetime, *, is_sold: bool
) -> TakeOrder:
    due = [int(order[name]) for name in ("rts_sla_time", "tts_sla_time") if order.get(name)]
    return TakeOrder(
        str(order["id"]),
        status,
        is_sold,
        _units(lines),
        update_time,
        outlet_id=str(order.get("warehouse_id") or ""),
        # A label that is late and a parcel that is late both count against the shop.
        ship_by_time=_time(min(due)) if due else None,
        hold=Hold("remorse period", _hold_end(order)) if status == "ON_HOLD" else None,
        place=_place(order.get("recipient_address") or {}),
        placed_time=_optional_time(order.get("create_time")),
        left=_LEFT.get(status, Left.NOTHING),
    )


def _cancelled_unit(order_id: str, line: Mapping[str, Any], update_time: datetime) -> CancelUnits:
    reason = _reason(line.get("cancel_reason"))
    fault = _fault(line.get("cancel_user"), reason)
    return CancelUnits(order_id, f"unit/{line['id']}", _units([line]), fault, reason, update_time)


def _units(lines: Sequence[Mapping[str, Any]]) -> tuple[ItemUnits, ...]:
    """TikTok has a line for each unit; an item is a line here, with its units counted."""
    counts: dict[str, int] = {}
    for line in lines:
        item_id = _id(line["sku_id"])
        counts[item_id] = counts.get(item_id, 0) + 1
    return tuple(ItemUnits(item_id, item_id, count) for item_id, count in counts.items())


def _hold_end(order: Mapping[str, Any]) -> datetime | None:
    if order.get("release_date"):
        return _time(order["release_date"])
    return _time(order["paid_time"]) + REMORSE if order.get("paid_time") else None


def _place(address: Mapping[str, Any]) -> Place | None:
    """Country, region and postal code; what TikTok masks is left out."""
    regions = [
        str(district.get("address_name", ""))
        for district in address.get("district_info") or ()
        if str(district.get("address_level", "")) == "L1"
    ]
    country, postal_code = _plain(address.get("region_code"), 2), _plain(address.get("postal_code"), 16)
    place = Place(country, _plain(next(iter(regions), ""), 64), postal_code)
    return place if place != Place() else None


def _plain(value: object, longest: int) -> str:
    text = str(value or "").strip()
    return "" if _MASK in text or len(text) > longest else text


def _fault(initiator: object, reason: str) -> Fault:
    word = str(initiator or reason.partition("_")[0]).upper()
    return {"BUYER": Fault.BUYER, "SELLER": Fault.SELLER}.get(word, Fault.UNKNOWN)


def _reason(value: object) -> str:
    """TikTok's name of the reason, which is chosen from a list; anything else might be somebody's words."""
    text = str(value or "")
    return text[:128] if text.replace("_", "").isalnum() and text.isascii() else ""


def _deadline(actions: Iterable[Mapping[str, Any]] | None) -> datetime | None:
    deadlines = [int(action["deadline"]) for action in actions or () if action.get("deadline")]
    return _time(min(deadlines)) if deadlines else None


def _id(value: object) -> str:
    """TikTok writes ids as texts, and in some webhooks as whole numbers."""
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value) or len(str(value)) > 64:
        raise ValueError("an id is neither a text nor a whole number")
    return str(value)


def _time(value: object) -> datetime:
    seconds = int(str(value))
    if not 0 < seconds < 1 << 33:
        raise ValueError("a time is not in seconds since 1970")
    return datetime.fromtimestamp(seconds, UTC)


def _optional_time(value: object) -> datetime | None:
    return _time(value) if value else None


def _digest(message: Mapping[str, Any]) -> str:
    # `timestamp` is the time of the attempt, so it differs when the same message is sent again.
    content = {name: value for name, value in message.items() if name != "timestamp"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _unlike(what: str, error: Exception) -> Unreadable:
    # The error may repeat what the channel sent, so only its type and a missing key are told.
    detail = f"it has no {error}" if isinstance(error, KeyError) else f"a value is wrong ({type(error).__name__})"
    return Unreadable(f"{what} is not as TikTok Shop documents it: {detail}")
