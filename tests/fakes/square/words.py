"""Records of a Square merchant as its API writes them. Quantities are texts there."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from tests.fakes.square.books import Books
from tests.fakes.square.records import (
    IN_STOCK,
    Location,
    Order,
    Refund,
    StockChange,
    Subscription,
    Variation,
)

CLOSED_AFTER_COUNT = 0.2
"""Seconds by which the time of an order's closing is after that of the count that its units already left."""

_SHORT = {"order.created": "order_created", "order.updated": "order_updated"}


def moment(seconds: float) -> str:
    """A time as Square writes it, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def order_json(order: Order) -> dict[str, Any]:
    """An order; what came back is in `returns` of an order of its own."""
    content: dict[str, Any] = {
        "id": order.id,
        "location_id": order.location.id,
        "state": order.state,
        "version": order.version,
        "created_at": moment(order.created),
        "updated_at": moment(order.updated),
        "source": {"name": order.source},
        "net_amount_due_money": {"amount": 0 if order.paid else 1_200, "currency": "USD"},
    }
    if order.state in ("COMPLETED", "CANCELED"):
        content["closed_at"] = moment(order.updated + CLOSED_AFTER_COUNT)
    if order.returned_from:
        content["returns"] = [_return(order)]
        content["refunds"] = [{"id": order.refund_id, "status": "APPROVED", "location_id": order.location.id}]
    else:
        content["line_items"] = [
            {
                "uid": line.uid,
                "catalog_object_id": line.variation.id,
                "name": f"Product {line.variation.sku}",
                "quantity": str(line.units),
                "item_type": "ITEM",
            }
            for line in order.lines
        ]
    if order.fulfillment_type:
        content["fulfillments"] = [_fulfillment(order)]
    return content


def refund_json(refund: Refund) -> dict[str, Any]:
    """A refund."""
    return {
        "id": refund.id,
        "status": refund.status,
        "location_id": refund.order.location.id,
        "order_id": refund.order.id,
        "payment_id": f"P{refund.id}",
        "amount_money": {"amount": 1_200, "currency": "USD"},
        "created_at": moment(refund.created),
        "updated_at": moment(refund.updated),
    }


def count_json(books: Books, variation: Variation, location: Location, state: str = IN_STOCK) -> dict[str, Any]:
    """How many there are in a state, and when that was worked out."""
    return {
        "catalog_object_id": variation.id,
        "catalog_object_type": "ITEM_VARIATION",
        "state": state,
        "location_id": location.id,
        "quantity": str(books.quantity(variation, location, state)),
        "calculated_at": moment(books.calculated[variation.id, location.id]),
    }


def change_json(change: StockChange) -> dict[str, Any]:
    """A count by staff, or units that went from one state to another."""
    details = {
        "id": change.id,
        "catalog_object_id": change.variation.id,
        "catalog_object_type": "ITEM_VARIATION",
        "location_id": change.location.id,
        "quantity": str(change.units),
        "occurred_at": moment(change.occurred),
        "created_at": moment(change.created),
    }
    if change.counted:
        return {"type": "PHYSICAL_COUNT", "physical_count": {**details, "state": IN_STOCK}}
    states = {"from_state": change.from_state, "to_state": change.to_state}
    marks = {"reference_id": change.reference_id, "refund_id": change.refund_id}
    told = {name: value for name, value in marks.items() if value}
    return {"type": "ADJUSTMENT", "adjustment": {**details, **states, **told}}


def location_json(location: Location) -> dict[str, Any]:
    """A shop."""
    return {"id": location.id, "name": location.name, "status": location.status, "merchant_id": "MADEUPMERCHANT"}


def items_json(variations: Iterable[Variation]) -> list[dict[str, Any]]:
    """Items of the catalog, each with its variation."""
    return [
        {
            "type": "ITEM",
            "id": variation.item_id,
            "version": variation.version,
            "item_data": {
                "name": f"Product {variation.sku}",
                "variations": [
                    {
                        "type": "ITEM_VARIATION",
                        "id": variation.id,
                        "version": variation.version,
                        "item_variation_data": {
                            "item_id": variation.item_id,
                            "name": "Regular",
                            "sku": variation.sku,
                            "track_inventory": True,
                        },
                    }
                ],
            },
        }
        for variation in variations
    ]


def subscription_json(subscription: Subscription) -> dict[str, Any]:
    """A webhook subscription with its key."""
    return {
        "id": subscription.id,
        "name": subscription.name,
        "enabled": subscription.enabled,
        "event_types": subscription.event_types,
        "notification_url": subscription.notification_url,
        "api_version": "2026-09-16",
        "signature_key": subscription.signature_key,
    }


def event_data(books: Books, event_type: str, record: Any) -> dict[str, Any]:
    """What an event says. A move of units has two counts: of the state they left and of that they came to."""
    match record:
        case StockChange():
            states = sorted({record.from_state, record.to_state} - {"", "NONE"}) or [IN_STOCK]
            counts = [count_json(books, record.variation, record.location, state) for state in states]
            return {"type": "inventory_counts", "id": record.id, "object": {"inventory_counts": counts}}
        case Refund():
            return {"type": "refund", "id": record.id, "object": {"refund": refund_json(record)}}
        case Location():
            return {"type": "location", "id": record.id}
    short = _SHORT.get(event_type, "order_fulfillment_updated")
    fields = {"order_id": record.id, "location_id": record.location.id, "state": record.state}
    times = {"created_at": moment(record.created), "updated_at": moment(record.updated), "version": record.version}
    return {"type": short, "id": record.id, "object": {short: {**fields, **times}}}


def _return(order: Order) -> dict[str, Any]:
    lines = [
        {
            "uid": line.uid,
            "source_line_item_uid": line.source_uid,
            "catalog_object_id": line.variation.id,
            "quantity": str(line.units),
            "item_type": "ITEM",
        }
        for line in order.lines
    ]
    return {"uid": f"R{order.id}", "source_order_id": order.returned_from, "return_line_items": lines}


def _fulfillment(order: Order) -> dict[str, Any]:
    shopper = order.shopper
    assert shopper is not None
    address = {
        "address_line_1": shopper.street,
        "administrative_district_level_1": shopper.region,
        "postal_code": shopper.postal_code,
        "country": shopper.country,
    }
    recipient = {"display_name": shopper.name, "email_address": shopper.mail, "phone_number": shopper.phone}
    details = {"recipient": {**recipient, "address": address}, "placed_at": moment(order.created)}
    return {
        "uid": f"F{order.id}",
        "type": order.fulfillment_type,
        "state": order.fulfillment_state,
        f"{order.fulfillment_type.lower()}_details": details,
    }
