"""What Square's JSON means for Truestock. Pure; personal data are left behind here.

| Square | becomes |
|---|---|
| order without a fulfillment, `COMPLETED` | a sale at that shop's till; until then it is an open ticket, and nothing |
| order with a fulfillment | sold if nothing is due any more, else held; from the shop that it names |
| order with a fulfillment, `CANCELED` | the order is cancelled |
| order with `returns` of a sale at a till | the units came back at the shop of that order |
| order with `returns` of an order with a fulfillment | the same, for that order |
| draft; order without anything that is counted | nothing |

Units that are weighed or cut are no whole units: such an order is not guessed, but parked.
Sources: developer.squareup.com, Orders API: Order, Fulfillment, OrderReturn; Webhooks: events of orders and refunds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from service.channels.adapter import Delivery, Hint
from service.channels.effects import (
    CancelUnits,
    Effect,
    Fault,
    ItemUnits,
    Place,
    Reading,
    TakeOrder,
    TakeReturn,
    TillMovement,
)
from service.channels.errors import Unreadable

ORDER = "order"
Json = Mapping[str, Any]

_STATES = frozenset({"OPEN", "COMPLETED", "CANCELED", "DRAFT"})
_FULFILLMENT_STATES = frozenset({"PROPOSED", "RESERVED", "PREPARED", "COMPLETED", "CANCELED", "FAILED"})
_ORDER_OBJECTS = ("order_created", "order_updated", "order_fulfillment_updated")
_REVOKED = "oauth.authorization.revoked"


def delivery(body: bytes) -> Delivery:
    """What a verified webhook says. One that cannot be understood is a delivery without hints."""
    try:
        message = json.loads(body)
        topic, key = str(message["type"]), str(message["event_id"])
        hints = tuple(_hints(topic, message["data"]["object"])) if topic.startswith(("order.", "refund.")) else ()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Delivery(hashlib.sha256(body).hexdigest(), "unreadable", (), is_readable=False)
    return Delivery(key, topic, hints, ends_authorization=topic == _REVOKED)


def source_order_ids(order: Json) -> tuple[str, ...]:
    """The orders whose units came back by this one; they have to be read too. Raises Unreadable."""
    try:
        ids = [str(each["source_order_id"]) for each in order.get("returns") or () if each.get("source_order_id")]
        return tuple(dict.fromkeys(ids))
    except (KeyError, TypeError, AttributeError) as error:
        raise _unlike("an order", error) from error


def order_reading(order: Json, sources: Mapping[str, Json]) -> Reading:
    """What an order means; `sources` has the orders of `source_order_ids`. Raises Unreadable."""
    try:
        update_time, state = _time(order["updated_at"]), str(order["state"])
        if state not in _STATES:
            raise Unreadable(f"Square says {state} of an order, which is not a word that it documents")
        if state == "DRAFT":
            return Reading(update_time, left_out="draft")
        effects: list[Effect] = [*_returns(order, sources)]
        lines = _units(order.get("line_items") or (), "uid")
        if order.get("fulfillments") and lines:
            effects += _order_effects(order, lines, state, update_time)
        elif lines and state == "COMPLETED":
            effects.append(_till(order, "sale", lines))
        elif not lines and not order.get("returns"):
            return Reading(update_time, left_out="not_counted")
        return Reading(update_time, tuple(effects))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unlike("an order", error) from error


def _order_effects(
    order: Json, lines: tuple[ItemUnits, ...], state: str, update_time: datetime
) -> Iterable[TakeOrder | CancelUnits]:
    fulfillment = order["fulfillments"][0]
    status = "CANCELED" if state == "CANCELED" else str(fulfillment["state"])
    if status not in _FULFILLMENT_STATES:
        raise Unreadable(f"Square says {status} of a fulfillment, which is not a word that it documents")
    order_id, is_sold = str(order["id"]), not _due(order)
    if status == "CANCELED" and is_sold:
        closed = _time(order.get("closed_at") or order["updated_at"])
        yield CancelUnits(order_id, "cancelled", (), Fault.UNKNOWN, "", closed)
    yield TakeOrder(
        order_id,
        status,
        is_sold,
        lines,
        update_time,
        outlet_id=str(order["location_id"]),
        place=_place(fulfillment),
    )


def _returns(order: Json, sources: Mapping[str, Json]) -> Iterable[TakeReturn | TillMovement]:
    time = _time(order["created_at"])
    for number, entry in enumerate(order.get("returns") or ()):
        source_id = str(entry.get("source_order_id") or "")
        source, event = sources.get(source_id), f"return/{order['id']}/{number}"
        if source is not None and source.get("fulfillments"):
            lines = _units(entry.get("return_line_items") or (), "source_line_item_uid")
            if lines:
                yield TakeReturn(source_id, event, lines, True, time, outlet_id=str(order["location_id"]))
        elif lines := _units(entry.get("return_line_items") or (), "uid"):
            yield _till(order, event, lines, is_return=True)


def _till(order: Json, event: str, lines: tuple[ItemUnits, ...], *, is_return: bool = False) -> TillMovement:
    time = _time(order["created_at"])
    return TillMovement(str(order["id"]), event, str(order["location_id"]), lines, time, is_return=is_return)


def _units(lines: Sequence[Json], id_name: str) -> tuple[ItemUnits, ...]:
    """Lines of catalog items; an amount that somebody typed in has no item and no stock."""
    units = []
    for line in lines:
        if not line.get("catalog_object_id") or line.get("item_type", "ITEM") != "ITEM":
            continue
        count = _whole(line["quantity"])
        if count:
            item_id = str(line["catalog_object_id"])
            units.append(ItemUnits(str(line.get(id_name) or item_id), item_id, count))
    return tuple(units)


def _whole(quantity: object) -> int:
    try:
        count = Decimal(str(quantity))
    except InvalidOperation as error:
        raise ValueError("a quantity is no number") from error
    if not count.is_finite() or count != int(count) or not 0 <= count < 1 << 31:
        raise Unreadable("an item is sold in parts of a unit, which Truestock does not count")
    return int(count)


def _due(order: Json) -> bool:
    """Whether anything is left to be paid."""
    return int((order.get("net_amount_due_money") or {}).get("amount") or 0) > 0


def _place(fulfillment: Json) -> Place | None:
    """Country, region and postal code of what is sent; who picks up says no address that counts."""
    details = fulfillment.get("shipment_details") or fulfillment.get("delivery_details") or {}
    address = (details.get("recipient") or {}).get("address") or {}
    place = Place(
        str(address.get("country") or "")[:2],
        str(address.get("administrative_district_level_1") or "")[:64],
        str(address.get("postal_code") or "")[:16],
    )
    return place if place != Place() else None


def _hints(topic: str, content: Json) -> Iterable[Hint]:
    if topic.startswith("refund."):
        # The refund's order is that of the return, which names the order that was returned.
        if content["refund"].get("order_id"):
            yield Hint(ORDER, str(content["refund"]["order_id"]))
        return
    for name in _ORDER_OBJECTS:
        if name in content:
            time = content[name].get("updated_at")
            yield Hint(ORDER, str(content[name]["order_id"]), _time(time) if time else None)


def _time(value: object) -> datetime:
    time = datetime.fromisoformat(str(value))
    if time.tzinfo is None:
        raise ValueError("a time has no time zone")
    return time.astimezone(UTC)


def _unlike(what: str, error: Exception) -> Unreadable:
    # The error may repeat what the channel sent, so only its type and a missing key are told.
    detail = f"it has no {error}" if isinstance(error, KeyError) else f"a value is wrong ({type(error).__name__})"
    return Unreadable(f"{what} is not as Square documents it: {detail}")
