"""Bodies of Shopify's webhooks: those of its REST API, with ids as integers and with everything about the shopper."""

from __future__ import annotations

from typing import Any

from tests.fakes.shopify.nodes import moment
from tests.fakes.shopify.records import FulfillmentOrder, Level, Location, Order, Refund, gid

TOPICS = {
    "ORDERS_CREATE": "orders/create",
    "ORDERS_UPDATED": "orders/updated",
    "ORDERS_CANCELLED": "orders/cancelled",
    "ORDERS_EDITED": "orders/edited",
    "REFUNDS_CREATE": "refunds/create",
    "INVENTORY_LEVELS_UPDATE": "inventory_levels/update",
    "LOCATIONS_ACTIVATE": "locations/activate",
    "LOCATIONS_DEACTIVATE": "locations/deactivate",
    "FULFILLMENT_ORDERS_PLACED_ON_HOLD": "fulfillment_orders/placed_on_hold",
    "FULFILLMENT_ORDERS_HOLD_RELEASED": "fulfillment_orders/hold_released",
    "APP_UNINSTALLED": "app/uninstalled",
}
"""Topics as webhooks name them, by their names in GraphQL."""


def body_of(topic: str, record: Any) -> dict[str, Any]:
    """What a webhook says of a record, if it is asked for everything."""
    if topic == "ORDERS_EDITED":
        return {"order_edit": {"id": record.id, "order_id": record.id, "created_at": moment(record.updated)}}
    match record:
        case Order():
            return order_body(record)
        case Refund():
            return refund_body(record)
        case Level():
            return level_body(record)
        case Location():
            active = {"id": record.id, "name": record.name, "active": record.is_active}
            return {**active, "updated_at": moment(record.updated)}
        case FulfillmentOrder():
            return {"fulfillment_order": {"id": gid("FulfillmentOrder", record.id), "status": record.status.lower()}}
    return {"id": 1, "domain": "shop"}


def order_body(order: Order) -> dict[str, Any]:
    """An order."""
    shopper = order.shopper
    address = {
        "first_name": shopper.first_name,
        "last_name": shopper.last_name,
        "name": shopper.name,
        "address1": shopper.street,
        "phone": shopper.phone,
        "zip": shopper.postal_code,
        "province_code": shopper.region,
        "country_code": shopper.country,
    }
    return {
        "id": order.id,
        "admin_graphql_api_id": gid("Order", order.id),
        "name": order.name,
        "created_at": moment(order.created),
        "updated_at": moment(order.updated),
        "cancelled_at": moment(order.cancelled) if order.cancelled else None,
        "financial_status": order.financial_status.lower(),
        "source_name": order.source_name,
        "location_id": order.retail_location.id if order.retail_location else None,
        "note": order.note or None,
        "test": order.is_test,
        "email": shopper.mail,
        "phone": shopper.phone,
        "customer": {"first_name": shopper.first_name, "last_name": shopper.last_name, "email": shopper.mail},
        "shipping_address": address,
        "line_items": [
            {"id": line.id, "variant_id": line.item.variant_id, "sku": line.item.sku, "quantity": line.quantity}
            for line in order.lines
        ],
    }


def refund_body(refund: Refund) -> dict[str, Any]:
    """A refund."""
    return {
        "id": refund.id,
        "admin_graphql_api_id": gid("Refund", refund.id),
        "order_id": refund.order.id,
        "created_at": moment(refund.created),
        "processed_at": moment(refund.created),
        "refund_line_items": [
            {
                "line_item_id": line.line.id,
                "quantity": line.units,
                "restock_type": line.restock_type.lower(),
                "location_id": line.location.id if line.location else None,
            }
            for line in refund.lines
        ],
    }


def level_body(level: Level) -> dict[str, Any]:
    """A level; `available` is null where the item is not tracked."""
    key = f"{level.location.id}?inventory_item_id={level.item.id}"
    return {
        "inventory_item_id": level.item.id,
        "location_id": level.location.id,
        "available": level.quantity("available") if level.item.tracked else None,
        "updated_at": moment(level.updated),
        "admin_graphql_api_id": f"gid://shopify/InventoryLevel/{key}",
    }
