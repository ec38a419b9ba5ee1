"""What Square's JSON means for Truestock. Pure; personal data are left behind here.

| Square | becomes |
|---|---|
| order without a fulfillment, `COMPLETED` | a sale at that shop's till; until then it is an open ticket, and nothing |
| order with a fulfillment | sold if nothing is due any more, else held; from the shop that it names |
| order with a fulfillment, `COMPLETED` | it has left the shop: sent, or collected where it was to be picked up |
| order with a fulfillment, `CANCELED` | the order is cancelled |
| order with `returns` of a sale at a till | the units that Square put back on the shelf came back at that shop |
| order with `returns` of an order with a fulfillment | the same for that order; the other units were refunded only |
| count of units `IN_STOCK` | how many Square says there are; below 0 there are none |
| draft; order without anything that is counted | nothing |

Units that are weighed or cut are no whole units: such an order is not guessed, but parked.
Sources: developer.squareup.com, Orders API: Order, Fulfillment, OrderReturn; Webhooks: events of orders and refunds.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from service.channels.adapter import COUNT, Delivery, Hint
from service.channels.effects import (
    CancelUnits,
    CountUnits,
    Effect,
    Fault,
    HandOver,
    ItemUnits,
    Left,
    Place,
    Reading,
    TakeOrder,
    TakeReturn,
    TillMovement,
)
from service.channels.errors import NotYet, Unreadable
from service.channels.utc_times import readable_time, utc_time

ORDER = "order"
IN_STOCK = "IN_STOCK"
Json = Mapping[str, Any]

_STATES = frozenset({"OPEN", "COMPLETED", "CANCELED", "DRAFT"})
_FULFILLMENT_STATES = frozenset({"PROPOSED", "RESERVED", "PREPARED", "COMPLETED", "CANCELED", "FAILED"})
_ORDER_OBJECTS = ("order_created", "order_updated", "order_fulfillment_updated")
# What units that were sold are called until they are on the shelf again.
_SOLD_STATES = frozenset({"SOLD", "RETURNED_BY_CUSTOMER", "UNLINKED_RETURN"})
_SOON = timedelta(minutes=10)
_MOST_DIGITS = 18
# Square closes an order and works out its counts in two places. A count that already lacks the order's units may have
# a time just before that of the closing; the units are taken off earlier, so that they do not leave twice.
_CLOSED_AFTER_COUNT = timedelta(seconds=2)
_REVOKED = "oauth.authorization.revoked"


def delivery(body: bytes) -> Delivery:
    """What a verified webhook says. One that cannot be understood is a delivery without hints."""
    try:
        message = json.loads(body)
        topic, key = str(message["type"]), str(message["event_id"])
        content = message["data"]["object"] if topic.startswith(("order.", "refund.", "inventory.")) else {}
        hints = tuple(_hints(topic, content))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Delivery(hashlib.sha256(body).hexdigest(), "unreadable", (), is_readable=False)
    merchant = str(message.get("merchant_id") or "")
    return Delivery(key, topic, hints, ends_authorization=topic == _REVOKED, shop=merchant)


def source_order_ids(order: Json) -> tuple[str, ...]:
    """The orders whose units came back by this one; they have to be read too. Raises Unreadable."""
    try:
        ids = [str(each["source_order_id"]) for each in order.get("returns") or () if each.get("source_order_id")]
        return tuple(dict.fromkeys(ids))
    except (KeyError, TypeError, AttributeError) as error:
        raise _unlike("an order", error) from error


@dataclass(frozen=True, slots=True)
class RestockQuestion:
    """Which changes of counts say what became of returned units: of these items, at this outlet, since this time."""

    item_ids: tuple[str, ...]
    outlet_id: str
    since: datetime


def restock_question(order: Json) -> RestockQuestion | None:
    """What to ask of an order with returned units; None for any other. Raises Unreadable."""
    try:
        entries = [line for entry in order.get("returns") or () for line in entry.get("return_line_items") or ()]
        item_ids = tuple(sorted({line.item_id for line in _units(entries, "uid")}))
        if not item_ids:
            return None
        return RestockQuestion(item_ids, str(order["location_id"]), utc_time(order["created_at"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unlike("an order", error) from error


def order_hint(order: Json) -> Hint:
    """What an entry of the list of changed orders hints at. Raises Unreadable."""
    try:
        return Hint(ORDER, str(order["id"]), readable_time(order.get("updated_at")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unlike("a list of orders", error) from error


def listed_count_hint(count: Json) -> Hint:
    """What an entry of the list of changed counts hints at: its item and its outlet. Raises Unreadable."""
    try:
        return _count_hint(count)
    except (KeyError, TypeError, AttributeError) as error:
        raise _unlike("a list of counts", error) from error


def _count_hint(count: Json) -> Hint:
    return Hint(COUNT, count_key(count), readable_time(count.get("calculated_at")))


def count_key(count: Json) -> str:
    """The entity that a count is of: `item_of` and `outlet_of` take it apart."""
    return f"{count['catalog_object_id']}/{count['location_id']}"


def item_of(key: str) -> str:
    """The item of a count's key."""
    return key.partition("/")[0]


def outlet_of(key: str) -> str:
    """The outlet of a count's key."""
    return key.partition("/")[2]


def count_reading(count: Json) -> Reading:
    """What a count means. Raises Unreadable."""
    try:
        time, quantity = utc_time(count["calculated_at"]), _number(count["quantity"])
        if quantity != int(quantity):
            return Reading(time, left_out="parts_of_a_unit")
        units = _whole(max(quantity, Decimal(0)))
        return Reading(time, (CountUnits(str(count["catalog_object_id"]), str(count["location_id"]), units, time),))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unlike("a count", error) from error


def order_reading(
    order: Json, sources: Mapping[str, Json], changes: Sequence[Json] = (), *, is_settled: bool = True
) -> Reading:
    """What an order means.

    `sources` has the orders of `source_order_ids`, `changes` the answer to `restock_question`, which may still be
    incomplete unless `is_settled`. Raises Unreadable, and NotYet where what is missing may still come.
    """
    try:
        update_time, state = utc_time(order["updated_at"]), str(order["state"])
        if state not in _STATES:
            raise Unreadable(f"Square says {state} of an order, which is not a word that it documents")
        if state == "DRAFT":
            return Reading(update_time, left_out="draft")
        effects: list[Effect] = [*_returns(order, sources, changes, is_settled=is_settled)]
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
) -> Iterable[TakeOrder | HandOver | CancelUnits]:
    fulfillment = order["fulfillments"][0]
    status = "CANCELED" if state == "CANCELED" else str(fulfillment["state"])
    if status not in _FULFILLMENT_STATES:
        raise Unreadable(f"Square says {status} of a fulfillment, which is not a word that it documents")
    order_id, is_sold = str(order["id"]), not _due(order)
    is_pickup = fulfillment.get("type") == "PICKUP"
    if status == "CANCELED" and is_sold:
        closed = utc_time(order.get("closed_at") or order["updated_at"])
        yield CancelUnits(order_id, "cancelled", (), Fault.UNKNOWN, "", closed)
    yield TakeOrder(
        order_id,
        status,
        is_sold,
        lines,
        update_time,
        outlet_id=str(order["location_id"]),
        place=_place(fulfillment),
        is_pickup=is_pickup,
        placed_time=utc_time(order["created_at"]),
        left=Left.ALL if status == "COMPLETED" and is_sold else Left.NOTHING,
    )
    if status == "COMPLETED" and is_sold:
        closed = utc_time(order.get("closed_at") or order["updated_at"])
        yield HandOver(order_id, "completed", closed - _CLOSED_AFTER_COUNT, is_pickup)


def _returns(
    order: Json, sources: Mapping[str, Json], changes: Sequence[Json], *, is_settled: bool
) -> Iterable[TakeReturn | TillMovement]:
    time, outlet_id = utc_time(order["created_at"]), str(order["location_id"])
    restocked = _restocked(order, changes, time)
    for number, entry in enumerate(order.get("returns") or ()):
        source_id, event = str(entry.get("source_order_id") or ""), f"return/{order['id']}/{number}"
        source = sources.get(source_id)
        is_of_till = source is None or not source.get("fulfillments")
        lines = _units(entry.get("return_line_items") or (), "uid" if is_of_till else "source_line_item_uid")
        back, away = _parted(lines, restocked)
        if away and not is_settled:
            raise NotYet("Square has not said yet what became of the returned units", retry_after_seconds=15.0)
        if back and is_of_till:
            yield _till(order, event, back, is_return=True)
        elif back:
            yield TakeReturn(source_id, event, back, True, time, outlet_id=outlet_id)
        if away and not is_of_till:
            yield TakeReturn(source_id, f"refund/{order['id']}/{number}", away, False, time)


def _restocked(order: Json, changes: Sequence[Json], time: datetime) -> Counter[str]:
    """Units by item that this return put back on the shelf: by the id of its refund, or else by their time."""
    refunds = {str(refund["id"]) for refund in order.get("refunds") or ()}
    units: Counter[str] = Counter()
    for change in changes:
        moved = change.get("adjustment") or {}
        if moved.get("to_state") != IN_STOCK or moved.get("from_state") not in _SOLD_STATES:
            continue
        refund = str(moved.get("refund_id") or "")
        if refund in refunds or (not refund and abs(utc_time(moved["occurred_at"]) - time) < _SOON):
            units[str(moved["catalog_object_id"])] += _whole(moved["quantity"])
    return units


def _parted(lines: Sequence[ItemUnits], restocked: Counter[str]) -> tuple[tuple[ItemUnits, ...], tuple[ItemUnits, ...]]:
    """Units that are on the shelf again, and those that are not; takes the former off `restocked`."""
    back, away = [], []
    for line in lines:
        count = min(line.count, restocked[line.item_id])
        restocked[line.item_id] -= count
        back += [ItemUnits(line.line_id, line.item_id, count)] if count else []
        away += [ItemUnits(line.line_id, line.item_id, line.count - count)] if count < line.count else []
    return tuple(back), tuple(away)


def _till(order: Json, event: str, lines: tuple[ItemUnits, ...], *, is_return: bool = False) -> TillMovement:
    time = utc_time(order["created_at"])
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
    count = _number(quantity)
    if count != int(count) or not 0 <= count < 1 << 31:
        raise Unreadable("an item is sold in parts of a unit, which Truestock does not count")
    return int(count)


def _number(quantity: object) -> Decimal:
    try:
        number = Decimal(str(quantity))
    except InvalidOperation as error:
        raise ValueError("a quantity is no number") from error
    # With an exponent, a few characters are a number that takes all memory to write out.
    if not number.is_finite() or number.adjusted() > _MOST_DIGITS:
        raise ValueError("a quantity is no number of units")
    return number


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
    if topic == "inventory.count.updated":
        # One event has the counts of every state that units left or came to.
        yield from (_count_hint(count) for count in content["inventory_counts"] if count["state"] == IN_STOCK)
        return
    if topic.startswith("refund."):
        # The refund's order is that of the return, which names the order that was returned.
        if content["refund"].get("order_id"):
            yield Hint(ORDER, str(content["refund"]["order_id"]))
        return
    for name in _ORDER_OBJECTS:
        if name in content:
            yield Hint(ORDER, str(content[name]["order_id"]), readable_time(content[name].get("updated_at")))


def _unlike(what: str, error: Exception) -> Unreadable:
    # The error may repeat what the channel sent, so only its type and a missing key are told.
    detail = f"it has no {error}" if isinstance(error, KeyError) else f"a value is wrong ({type(error).__name__})"
    return Unreadable(f"{what} is not as Square documents it: {detail}")
