"""What Shopify's JSON means for Truestock. Pure; personal data are left behind here.

| Shopify | becomes |
|---|---|
| order, payment `PENDING` | its stock is held for as long as the channel lets an order wait for payment |
| order, payment `PAID`, `AUTHORIZED`, `PARTIALLY_REFUNDED` | sold, with what is left to ship and what has shipped |
| order, payment `PARTIALLY_PAID`, `EXPIRED`; fulfillment order `ON_HOLD`, `SCHEDULED` | sold and on hold |
| order edited | the same order with its new contents |
| order cancelled; refund `CANCEL`, or `NO_RESTOCK` before shipping | the order, or these units, are cancelled |
| refund `RETURN` | the units came back, at the location that the refund names |
| refund `NO_RESTOCK` after shipping | the units were refunded and stay with the shopper |
| order of a register without an address | a sale at that location's till; its refunds `RETURN` come back there |
| order that another connector made | a copy of its original; or, where it does not say of which, an exception |
| test order; order without anything to ship | nothing |

Sources: shopify.dev, GraphQL Admin API: Order, LineItem, FulfillmentOrder, Refund, RefundLineItemRestockType.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from policies.domain.channel_statuses import ORIGINAL_IS_DUE
from service.channels.adapter import COUNT, Delivery, Hint
from service.channels.copies import ORIGINAL_WITHIN, Copies, CopyPlace, OrderTexts, Original
from service.channels.effects import (
    CancelUnits,
    CountUnits,
    Effect,
    Fault,
    Hold,
    ItemUnits,
    Left,
    Place,
    Reading,
    TakeOrder,
    TakeReturn,
    TillMovement,
)
from service.channels.errors import Unreadable
from service.channels.utc_times import readable_time, utc_time

ORDER, FULFILLMENT_ORDER = "order", "fulfillment_order"
Json = Mapping[str, Any]

_UNPAID = frozenset({"PENDING", "VOIDED"})
_INCOMPLETE = frozenset({"PARTIALLY_PAID", "EXPIRED"})
_PAID = frozenset({"PAID", "AUTHORIZED", "PARTIALLY_REFUNDED", "REFUNDED"})
_HELD = frozenset({"ON_HOLD", "SCHEDULED"})
# Shopify writes these in another form as statuses of an order in its webhooks, which is the form that Truestock knows.
_STATUS_WORDS = {"UNFULFILLED": "unfulfilled", "FULFILLED": "fulfilled", "RESTOCKED": "restocked"}
_FAULTS = {"CUSTOMER": Fault.BUYER, "INVENTORY": Fault.SELLER, "STAFF": Fault.SELLER}
_RETURNED = ("RETURN", "LEGACY_RESTOCK")
_ENDS_AUTHORIZATION = "app/uninstalled"
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_SHIPPED_STATES = frozenset({"CANCELLED", "ERROR", "FAILURE"})


def delivery(headers: Mapping[str, str], body: bytes) -> Delivery:
    """What a verified webhook says; its names of headers are in lower case. One without sense has no hints."""
    topic = headers.get("x-shopify-topic", "")
    key = headers.get("x-shopify-webhook-id", "") or hashlib.sha256(body).hexdigest()
    try:
        message = json.loads(body)
        hints = tuple(_hints(topic, message))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Delivery(key, "unreadable", (), is_readable=False)
    shop = headers.get("x-shopify-shop-domain", "")
    return Delivery(key, topic, hints, ends_authorization=topic == _ENDS_AUTHORIZATION, shop=shop)


def order_reading(order: Json, refunds: Sequence[Json], copies: Sequence[Copies] = ()) -> Reading:
    """What an order means, with its refunds and their lines; `copies` tell which are of other channels.

    Raises Unreadable.
    """
    try:
        update_time = utc_time(order["updatedAt"])
        if order["test"]:
            return Reading(update_time, left_out="test_order")
        if order.get("retailLocation") and not order.get("shippingAddress"):
            return Reading(update_time, tuple(_till_effects(order, refunds)))
        lines = [_Line(line, order, refunds) for line in order["lineItems"]["nodes"] if line["requiresShipping"]]
        if not lines:
            return Reading(update_time, left_out="not_shipped")
        original = _original(order, copies)
        if original is not None:
            return Reading(update_time, tuple(_copy_effects(order, lines, original, update_time)))
        return Reading(update_time, tuple(_order_effects(order, lines, refunds, update_time)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unlike("an order", error) from error


def order_hint(entry: Json) -> Hint:
    """What an entry of the list of changed orders hints at. Raises Unreadable."""
    try:
        return Hint(ORDER, number(entry["id"]), readable_time(entry.get("updatedAt")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unlike("a list of orders", error) from error


def fulfillment_order_hint(entry: Json) -> Hint:
    """What an entry of the list of changed fulfillment orders hints at. Raises Unreadable."""
    try:
        return Hint(FULFILLMENT_ORDER, number(entry["id"]), readable_time(entry.get("updatedAt")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unlike("a list of fulfillment orders", error) from error


def count_hint(entry: Json) -> Hint:
    """What an entry of the list of changed levels hints at: the inventory item and the location. Raises Unreadable."""
    try:
        key = _count_key(number(entry["item"]["id"]), number(entry["location"]["id"]))
        return Hint(COUNT, key, readable_time(entry.get("updatedAt")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unlike("a list of levels", error) from error


def item_and_location(key: str) -> tuple[str, str]:
    """Shopify's global ids of the inventory item and the location that a count's key is of."""
    item_id, _, location_id = key.partition("/")
    return f"gid://shopify/InventoryItem/{item_id}", f"gid://shopify/Location/{location_id}"


def count_reading(item: Json | None) -> Reading:
    """What the level of an inventory item at a location means: how many Shopify says are on hand there.

    Orders name variants, so the count is that of the item's first variant. Raises Unreadable.
    """
    try:
        level, variants = (item["inventoryLevel"], item["variants"]["nodes"]) if item else (None, ())
        if item is None or level is None or not item["tracked"] or not variants:
            return Reading(LONG_AGO, left_out="not_counted")
        time, units = utc_time(level["updatedAt"]), int(level["quantities"][0]["quantity"])
        effect = CountUnits(number(variants[0]["id"]), number(level["location"]["id"]), max(0, units), time)
        return Reading(time, (effect,))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise _unlike("a level", error) from error


def fulfillment_order_reading(entry: Json, order: Reading) -> Reading:
    """What a fulfillment order means: what its order does. It may have changed later than that. Raises Unreadable."""
    try:
        return replace(order, update_time=max(order.update_time, utc_time(entry["updatedAt"])))
    except (KeyError, TypeError, ValueError) as error:
        raise _unlike("a fulfillment order", error) from error


def number(global_id: object) -> str:
    """The number in a global id, which is what Shopify's webhooks and its admin call a record by."""
    text = str(global_id)
    digits = text.rpartition("/")[2].partition("?")[0]
    if not digits.isdigit() or len(digits) > 20:
        raise ValueError("an id has no number")
    return digits


class _Line:
    """A line of an order: units ordered, left to ship, and shipped. Refunds tell which units came back or stay away."""

    def __init__(self, line: Json, order: Json, refunds: Sequence[Json]) -> None:
        self.id = number(line["id"])
        self.item_id = number(line["variant"]["id"]) if line.get("variant") else f"deleted-variant-of-{self.id}"
        self.ordered = int(line["quantity"])
        self.unshipped = int(line["unfulfilledQuantity"])
        kept = int(line["currentQuantity"]) - self.unshipped
        returned = sum(_refunded(refunds, line["id"], restock_type) for restock_type in _RETURNED)
        # Where not all parcels are listed: what the shopper has, and what came back, has shipped.
        self.shipped = max(_shipped(order, line["id"]), kept + returned)
        self.refunded_and_away = max(0, self.shipped - kept - returned)

    def units(self, count: int) -> ItemUnits:
        """So many units of the line."""
        return ItemUnits(self.id, self.item_id, count)


@dataclass(slots=True)
class _RefundedUnits:
    """What one refund says of units, by what became of them."""

    cancelled: list[ItemUnits] = field(default_factory=list)
    back: dict[str, list[ItemUnits]] = field(default_factory=dict)
    away: list[ItemUnits] = field(default_factory=list)


def _refunded_units(lines: Mapping[str, _Line], refunds: Sequence[Json]) -> dict[str, _RefundedUnits]:
    """By the id of the refund. Whoever is refunded last has the parcel: an earlier refund without goods cancelled."""
    away = {line.id: line.refunded_and_away for line in lines.values()}
    units_of: dict[str, _RefundedUnits] = {number(refund["id"]): _RefundedUnits() for refund in refunds}
    for refund in sorted(refunds, key=lambda each: (str(each["createdAt"]), str(each["id"])), reverse=True):
        found = units_of[number(refund["id"])]
        for entry in refund["refundLineItems"]["nodes"]:
            line, units = lines.get(number(entry["lineItem"]["id"])), int(entry["quantity"])
            if line is None or not units:
                continue
            if entry["restockType"] in _RETURNED:
                found.back.setdefault(_location(entry), []).append(line.units(units))
                continue
            stays_away = min(units, away[line.id]) if entry["restockType"] == "NO_RESTOCK" else 0
            away[line.id] -= stays_away
            found.away += [line.units(stays_away)] if stays_away else []
            found.cancelled += [line.units(units - stays_away)] if units > stays_away else []
    return units_of


def _order_effects(
    order: Json, lines: Sequence[_Line], refunds: Sequence[Json], update_time: datetime
) -> Iterable[Effect]:
    order_id, payment = number(order["id"]), str(order["displayFinancialStatus"] or "PENDING")
    if payment not in _UNPAID | _INCOMPLETE | _PAID:
        raise Unreadable(f"Shopify says {payment} of a payment, which is not a word that it documents")
    is_sold = payment not in _UNPAID
    refunded = _refunded_units({line.id: line for line in lines}, refunds)
    if order["cancelledAt"] and is_sold:
        cancel_time, reason = utc_time(order["cancelledAt"]), str(order.get("cancelReason") or "")
        yield CancelUnits(order_id, "cancelled", (), _FAULTS.get(reason, Fault.UNKNOWN), reason.lower(), cancel_time)
    elif is_sold:
        for refund in refunds:
            yield from _cancelled(order_id, refund, refunded[number(refund["id"])])
    yield _taken(order, lines, payment, update_time)
    for refund in refunds:
        yield from _returns(order_id, refund, refunded[number(refund["id"])])


def _taken(order: Json, lines: Sequence[_Line], payment: str, update_time: datetime) -> TakeOrder:
    remaining = [line.units(line.unshipped + line.shipped) for line in lines if line.unshipped + line.shipped]
    status = _status(order, payment)
    due = [utc_time(each["fulfillBy"]) for each in _fulfillment_orders(order) if each.get("fulfillBy")]
    return TakeOrder(
        number(order["id"]),
        status,
        payment not in _UNPAID,
        tuple(remaining) or tuple(line.units(line.ordered) for line in lines if line.ordered),
        update_time,
        ship_by_time=min(due) if due else None,
        hold=_hold(order, payment),
        place=_place(order.get("shippingAddress") or {}),
        placed_time=utc_time(order["createdAt"]),
        left=_left(lines),
    )


def _left(lines: Sequence[_Line]) -> Left:
    if not any(line.shipped for line in lines):
        return Left.NOTHING
    return Left.A_PART if any(line.unshipped for line in lines) else Left.ALL


def _original(order: Json, copies: Sequence[Copies]) -> Original | None:
    attributes = {str(each["key"]): str(each.get("value") or "") for each in order.get("customAttributes") or ()}
    names = {CopyPlace.NAME: "name", CopyPlace.NOTE: "note", CopyPlace.SOURCE_IDENTIFIER: "sourceIdentifier"}
    by_place = {place: str(order.get(name) or "") for place, name in names.items()}
    texts = OrderTexts(str(order.get("sourceName") or ""), by_place, attributes)
    return next((found for each in copies if (found := each.original(texts)) is not None), None)


def _copy_effects(
    order: Json, lines: Sequence[_Line], original: Original, update_time: datetime
) -> Iterable[TakeOrder]:
    """Only the link: what becomes of the order is told by the channel of its original, and until then it is on hold."""
    units = tuple(line.units(line.ordered) for line in lines if line.ordered)
    is_sold = str(order["displayFinancialStatus"] or "PENDING") not in _UNPAID
    if units and not order["cancelledAt"]:
        place = _place(order.get("shippingAddress") or {})
        hold = Hold(ORIGINAL_IS_DUE, update_time + ORIGINAL_WITHIN) if is_sold else None
        yield TakeOrder(
            number(order["id"]),
            "",
            is_sold,
            units,
            update_time,
            hold=hold,
            place=place,
            original=original,
            placed_time=utc_time(order["createdAt"]),
            left=_left(lines),
        )


def _status(order: Json, payment: str) -> str:
    """One of the words that Truestock knows of Shopify: of the cancellation, the payment or the fulfillment."""
    if order["cancelledAt"]:
        return "CANCELLED"
    if payment in _UNPAID or payment == "REFUNDED":
        return payment.lower()
    if payment in _INCOMPLETE:
        return "ON_HOLD"
    fulfillment = str(order["displayFulfillmentStatus"])
    return _STATUS_WORDS.get(fulfillment, fulfillment)


def _hold(order: Json, payment: str) -> Hold | None:
    if order["cancelledAt"] or payment in _UNPAID or payment == "REFUNDED":
        return None
    if payment in _INCOMPLETE:
        return Hold("payment is incomplete")
    held = [each for each in _fulfillment_orders(order) if each["status"] in _HELD]
    reasons = sorted(
        {str(hold["reason"]).lower().replace("_", " ") for each in held for hold in each["fulfillmentHolds"]}
    )
    if str(order["displayFulfillmentStatus"]) not in _HELD:
        return None
    return Hold(", ".join(reasons)[:128] or "scheduled")


def _cancelled(order_id: str, refund: Json, units: _RefundedUnits) -> Iterable[CancelUnits]:
    """What a refund cancels before it shipped. Its own time counts, so that the same refund is the same always."""
    if units.cancelled:
        event, time = f"refund/{number(refund['id'])}", utc_time(refund["createdAt"])
        yield CancelUnits(order_id, event, tuple(units.cancelled), Fault.UNKNOWN, "refunded", time)


def _returns(order_id: str, refund: Json, units: _RefundedUnits) -> Iterable[TakeReturn]:
    """What came back by a refund, one effect a location, and what was refunded after it shipped and stays away."""
    event, time = f"refund/{number(refund['id'])}", utc_time(refund["createdAt"])
    for location, lines in units.back.items():
        yield TakeReturn(order_id, f"{event}/{location}", tuple(lines), True, time, outlet_id=location)
    if units.away:
        yield TakeReturn(order_id, f"{event}/away", tuple(units.away), False, time)


def _till_effects(order: Json, refunds: Sequence[Json]) -> Iterable[Effect]:
    order_id, location = number(order["id"]), number(order["retailLocation"]["id"])
    sold = [
        ItemUnits(number(line["id"]), number(line["variant"]["id"]), int(line["quantity"]))
        for line in order["lineItems"]["nodes"]
        if _is_of_stock(line) and int(line["quantity"])
    ]
    if sold:
        yield TillMovement(order_id, "sale", location, tuple(sold), utc_time(order["createdAt"]))
    for refund in refunds:
        back: dict[str, list[ItemUnits]] = {}
        for entry in refund["refundLineItems"]["nodes"]:
            line, count = entry["lineItem"], int(entry["quantity"])
            if count and entry["restockType"] in (*_RETURNED, "CANCEL") and _is_of_stock(line):
                units = ItemUnits(number(line["id"]), number(line["variant"]["id"]), count)
                back.setdefault(_location(entry) or location, []).append(units)
        for place, units_of in back.items():
            event, time = f"refund/{number(refund['id'])}/{place}", utc_time(refund["createdAt"])
            yield TillMovement(order_id, event, place, tuple(units_of), time, is_return=True)


def _is_of_stock(line: Json) -> bool:
    """Whether a line of a register is of units: a gift card is none, and an amount that was typed in has no variant."""
    return bool(line.get("variant")) and not line.get("isGiftCard")


def _shipped(order: Json, line_id: str) -> int:
    """Units in parcels that left, as far as these are listed."""
    return sum(
        int(entry["quantity"] or 0)
        for parcel in order.get("fulfillments") or ()
        if parcel["status"] not in _NOT_SHIPPED_STATES
        for entry in parcel["fulfillmentLineItems"]["nodes"]
        if entry["lineItem"]["id"] == line_id
    )


def _refunded(refunds: Sequence[Json], line_id: str, restock_type: str) -> int:
    return sum(
        int(entry["quantity"])
        for refund in refunds
        for entry in refund["refundLineItems"]["nodes"]
        if entry["lineItem"]["id"] == line_id and entry["restockType"] == restock_type
    )


def _fulfillment_orders(order: Json) -> Sequence[Json]:
    """Those that are still to be shipped."""
    return [each for each in order["fulfillmentOrders"]["nodes"] if each["status"] not in ("CLOSED", "CANCELLED")]


def _location(entry: Json) -> str:
    return number(entry["location"]["id"]) if entry.get("location") else ""


def _place(address: Json) -> Place | None:
    """Country, region and postal code; nothing else of an address is asked for."""
    place = Place(
        str(address.get("countryCodeV2") or "")[:2],
        str(address.get("provinceCode") or "")[:64],
        str(address.get("zip") or "")[:16],
    )
    return place if place != Place() else None


def _hints(topic: str, message: Json) -> Iterable[Hint]:
    kind, _, _ = topic.partition("/")
    if topic == "orders/edited":
        yield Hint(ORDER, _id(message["order_edit"]["order_id"]))
    elif kind == "orders":
        yield Hint(ORDER, _id(message["id"]), readable_time(message.get("updated_at")))
    elif kind == "refunds":
        yield Hint(ORDER, _id(message["order_id"]))
    elif kind == "fulfillment_orders":
        yield Hint(FULFILLMENT_ORDER, number(message["fulfillment_order"]["id"]))
    elif kind == "inventory_levels":
        key = _count_key(_id(message["inventory_item_id"]), _id(message["location_id"]))
        yield Hint(COUNT, key, readable_time(message.get("updated_at")))


def _count_key(item_id: str, location_id: str) -> str:
    return f"{item_id}/{location_id}"


def _id(value: object) -> str:
    """Ids are whole numbers above 2^53 in webhooks, which Python keeps as they are."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError("an id is neither a text nor a whole number")
    return number(value)


def _unlike(what: str, error: Exception) -> Unreadable:
    # The error may repeat what the channel sent, so only its type and a missing key are told.
    detail = f"it has no {error}" if isinstance(error, KeyError) else f"a value is wrong ({type(error).__name__})"
    return Unreadable(f"{what} is not as Shopify documents it: {detail}")
