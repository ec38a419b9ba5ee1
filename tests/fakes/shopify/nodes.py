"""Records of a Shopify shop as objects of its GraphQL schema, and which fields of that schema the fake has."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from graphql import GraphQLError

from tests.fakes.shopify.books import Books
from tests.fakes.shopify.records import (
    Fulfillment,
    FulfillmentOrder,
    Item,
    Level,
    Line,
    Location,
    Order,
    Refund,
    RefundLine,
    Subscription,
    gid,
    number,
)

_CONNECTION = ("nodes", "pageInfo")
FIELDS: dict[str, Sequence[str]] = {
    "QueryRoot": (
        "order", "orders", "fulfillmentOrders", "nodes", "locations", "productVariants", "webhookSubscriptions", "shop",
        "currentAppInstallation", "inventoryItem", "location",
    ),
    "Mutation": (
        "webhookSubscriptionCreate", "webhookSubscriptionDelete", "inventorySetQuantities", "inventoryMoveQuantities",
    ),
    "Node": ("id",),
    "PageInfo": ("hasNextPage", "endCursor", "hasPreviousPage", "startCursor"),
    "Order": (
        "id", "name", "createdAt", "updatedAt", "cancelledAt", "cancelReason", "closed", "test", "requiresShipping",
        "edited", "sourceName", "sourceIdentifier", "note", "customAttributes", "displayFinancialStatus",
        "displayFulfillmentStatus", "retailLocation", "shippingAddress", "email", "phone", "lineItems",
        "fulfillmentOrders", "fulfillments", "refunds", "returns",
    ),
    "OrderConnection": _CONNECTION,
    "Attribute": ("key", "value"),
    "MailingAddress": (
        "id", "countryCodeV2", "provinceCode", "zip", "latitude", "longitude", "firstName", "lastName", "name",
        "address1", "phone",
    ),
    "LineItem": (
        "id", "quantity", "currentQuantity", "unfulfilledQuantity", "requiresShipping", "isGiftCard", "sku",
        "variant",
    ),
    "LineItemConnection": _CONNECTION,
    "ProductVariant": ("id", "sku", "inventoryItem"),
    "ProductVariantConnection": _CONNECTION,
    "FulfillmentOrder": (
        "id", "orderId", "updatedAt", "status", "requestStatus", "fulfillBy", "fulfillmentHolds", "assignedLocation",
    ),
    "FulfillmentOrderConnection": _CONNECTION,
    "FulfillmentHold": ("id", "reason"),
    "Fulfillment": ("id", "status", "fulfillmentLineItems"),
    "FulfillmentLineItem": ("id", "quantity", "lineItem"),
    "FulfillmentLineItemConnection": _CONNECTION,
    "FulfillmentOrderAssignedLocation": ("location",),
    "Refund": ("id", "createdAt", "updatedAt", "order", "refundLineItems"),
    "RefundLineItem": ("id", "quantity", "restockType", "restocked", "location", "lineItem"),
    "RefundLineItemConnection": _CONNECTION,
    "Return": ("id", "status"),
    "ReturnConnection": _CONNECTION,
    "Location": ("id", "name", "inventoryLevels", "isActive", "shipsInventory", "fulfillsOnlineOrders"),
    "LocationConnection": _CONNECTION,
    "InventoryItem": (
        "id", "sku", "tracked", "updatedAt", "inventoryLevel", "inventoryLevels", "variants",
    ),
    "InventoryLevel": ("id", "isActive", "updatedAt", "location", "item", "quantities"),
    "InventoryLevelConnection": _CONNECTION,
    "InventoryQuantity": ("id", "name", "quantity", "updatedAt"),
    "Shop": ("id", "name", "myshopifyDomain"),
    "AppInstallation": ("id", "accessScopes"),
    "AccessScope": ("handle",),
    "WebhookSubscription": ("id", "topic", "uri", "includeFields", "createdAt"),
    "WebhookSubscriptionConnection": _CONNECTION,
    "WebhookSubscriptionCreatePayload": ("webhookSubscription", "userErrors"),
    "WebhookSubscriptionDeletePayload": ("deletedWebhookSubscriptionId", "userErrors"),
    "UserError": ("field", "message"),
    "InventorySetQuantitiesPayload": ("inventoryAdjustmentGroup", "userErrors"),
    "InventorySetQuantitiesUserError": ("code", "field", "message"),
    "InventoryMoveQuantitiesPayload": ("inventoryAdjustmentGroup", "userErrors"),
    "InventoryMoveQuantitiesUserError": ("code", "field", "message"),
    "InventoryAdjustmentGroup": ("id", "createdAt", "reason", "referenceDocumentUri", "changes"),
    "InventoryChange": ("name", "delta", "quantityAfterChange", "ledgerDocumentUri", "item", "location"),
}  # fmt: skip
"""What the fake can answer; anything else of Shopify's schema is refused like a misspelled field."""

Node = dict[str, Any]
_UPDATED = re.compile(r"updated_at:>=?'?([0-9T:.Z+-]+)'?")
Record = TypeVar("Record")


class Nodes:
    """Makes nodes of the records of one shop."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def find(self, global_id: str) -> Node | None:
        """The record with a global id; None where there is none."""
        kind, key = global_id.split("/")[3:4], number(global_id)
        finders: dict[str, Callable[[], Node | None]] = {
            "Order": lambda: _made(self._books.orders.get(key), self.order),
            "Refund": lambda: _made(self._books.refunds.get(key), self.refund),
            "InventoryItem": lambda: _made(self._books.items.get(key), self.item),
            "Location": lambda: _made(self._books.locations.get(key), self.location),
            "FulfillmentOrder": lambda: self._find_fulfillment_order(key),
        }
        return finders[kind[0]]() if kind and kind[0] in finders else None

    def _find_fulfillment_order(self, key: int) -> Node | None:
        owners = ((order, each) for order in self._books.orders.values() for each in order.fulfillment_orders)
        return next((self.fulfillment_order(order, each) for order, each in owners if each.id == key), None)

    def order(self, order: Order) -> Node:
        """An order."""
        return {
            "__typename": "Order",
            "id": gid("Order", order.id),
            "name": order.name,
            "createdAt": moment(order.created),
            "updatedAt": moment(order.updated),
            "cancelledAt": moment(order.cancelled) if order.cancelled else None,
            "cancelReason": order.cancel_reason or None,
            "closed": order.closed,
            "test": order.is_test,
            "edited": order.edited,
            "requiresShipping": order.retail_location is None,
            "sourceName": order.source_name,
            "sourceIdentifier": order.source_identifier or None,
            "note": order.note or None,
            "customAttributes": [{"key": key, "value": value} for key, value in order.attributes.items()],
            "displayFinancialStatus": order.financial_status,
            "displayFulfillmentStatus": fulfillment_status(order),
            "retailLocation": self.location(order.retail_location) if order.retail_location else None,
            "shippingAddress": None if order.retail_location else _address(order),
            "email": order.shopper.mail,
            "phone": order.shopper.phone,
            "lineItems": connection([self.line(line) for line in order.lines]),
            "fulfillmentOrders": connection([self.fulfillment_order(order, each) for each in order.fulfillment_orders]),
            "refunds": lambda info, first=None: [self.refund(refund) for refund in order.refunds[:first]],
            "returns": connection([]),
            "fulfillments": lambda info, first=None: [self.fulfillment(order, f) for f in order.fulfillments[:first]],
        }

    def line(self, line: Line) -> Node:
        """A line of an order."""
        return {
            "id": gid("LineItem", line.id),
            "quantity": line.quantity,
            "currentQuantity": line.current,
            "unfulfilledQuantity": line.unfulfilled,
            "requiresShipping": line.requires_shipping,
            "isGiftCard": False,
            "sku": line.item.sku,
            "variant": self.variant(line.item),
        }

    def variant(self, item: Item) -> Node:
        """A variant."""
        return {
            "__typename": "ProductVariant",
            "id": gid("ProductVariant", item.variant_id),
            "sku": item.sku,
            "inventoryItem": lambda info: self.item(item),
        }

    def fulfillment(self, order: Order, fulfillment: Fulfillment) -> Node:
        """A parcel that left."""
        rows = [
            {"id": gid("FulfillmentLineItem", line_id), "quantity": units, "lineItem": self.line(order.line(line_id))}
            for line_id, units in fulfillment.units.items()
        ]
        return {
            "id": gid("Fulfillment", fulfillment.id),
            "status": "SUCCESS",
            "fulfillmentLineItems": connection(rows),
        }

    def fulfillment_order(self, order: Order, fulfillment_order: FulfillmentOrder) -> Node:
        """What one location is to ship."""
        return {
            "__typename": "FulfillmentOrder",
            "id": gid("FulfillmentOrder", fulfillment_order.id),
            "orderId": gid("Order", order.id),
            "updatedAt": moment(fulfillment_order.updated or order.created),
            "status": fulfillment_order.status,
            "requestStatus": "UNSUBMITTED",
            "fulfillBy": None,
            "fulfillmentHolds": [
                {"id": "gid://shopify/FulfillmentHold/1", "reason": r} for r in fulfillment_order.holds
            ],
            "assignedLocation": {"location": self.location(fulfillment_order.location)},
        }

    def refund(self, refund: Refund) -> Node:
        """A refund."""
        return {
            "__typename": "Refund",
            "id": gid("Refund", refund.id),
            "createdAt": moment(refund.created),
            "updatedAt": moment(refund.created),
            "order": lambda info: self.order(refund.order),
            "refundLineItems": connection([self.refund_line(line) for line in refund.lines]),
        }

    def refund_line(self, line: RefundLine) -> Node:
        """Units that were refunded."""
        return {
            "id": None,
            "quantity": line.units,
            "restockType": line.restock_type,
            "restocked": line.restock_type in ("RETURN", "CANCEL"),
            "location": self.location(line.location) if line.location else None,
            "lineItem": self.line(line.line),
        }

    def location(self, location: Location) -> Node:
        """A location."""
        return {
            "__typename": "Location",
            "id": gid("Location", location.id),
            "name": location.name,
            "isActive": location.is_active,
            "shipsInventory": True,
            "fulfillsOnlineOrders": True,
            "inventoryLevels": lambda info, query="", **page: connection(self._levels_at(location, since(query)))(
                info, **{name: page[name] for name in ("first", "after") if name in page}
            ),
        }

    def item(self, item: Item) -> Node:
        """An inventory item with its levels."""
        levels = [level for level in self._books.levels.values() if level.item is item]
        updated = max((level.updated for level in levels), default=self._books.clock.seconds())
        return {
            "__typename": "InventoryItem",
            "id": gid("InventoryItem", item.id),
            "sku": item.sku,
            "tracked": item.tracked,
            "updatedAt": moment(updated),
            "inventoryLevels": connection([self.level(level) for level in levels]),
            "inventoryLevel": lambda info, locationId, **_: next(
                (self.level(level) for level in levels if level.location.id == number(locationId)), None
            ),
            "variants": connection([{"id": gid("ProductVariant", item.variant_id), "sku": item.sku}]),
        }

    def _levels_at(self, location: Location, since: float) -> list[Node]:
        found = [each for each in self._books.levels.values() if each.location is location and each.updated >= since]
        return [self.level(level) for level in found]

    def level(self, level: Level) -> Node:
        """Stock of an item at a location."""
        key = f"{level.location.id}?inventory_item_id={level.item.id}"

        def quantities(info: Any, names: list[str]) -> list[Node]:
            at = moment(level.updated)
            ids = f"gid://shopify/InventoryQuantity/{key}&name="
            return [{"id": ids + n, "name": n, "quantity": level.quantity(n), "updatedAt": at} for n in names]

        return {
            "__typename": "InventoryLevel",
            "id": f"gid://shopify/InventoryLevel/{key}",
            "isActive": level.is_active,
            "updatedAt": moment(level.updated),
            "location": self.location(level.location),
            "item": lambda info: self.item(level.item),
            "quantities": quantities,
        }

    def subscription(self, subscription: Subscription) -> Node:
        """A webhook that the app asked for."""
        return {
            "__typename": "WebhookSubscription",
            "id": gid("WebhookSubscription", subscription.id),
            "topic": subscription.topic,
            "uri": subscription.uri,
            "includeFields": subscription.include_fields,
            "createdAt": moment(subscription.created),
        }


def since(query: str) -> float:
    """The time of a search by the last change; the fake knows no other search."""
    if not query:
        return 0.0
    stated = _UPDATED.fullmatch(query)
    if stated is None:
        raise GraphQLError(f"the fake channel does not know the search {query!r}")
    return datetime.fromisoformat(stated[1]).timestamp()


def moment(seconds: float) -> str:
    """A time as Shopify writes it: whole seconds in UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def fulfillment_status(order: Order) -> str:
    """What the order page shows."""
    if any(each.status == "ON_HOLD" for each in order.fulfillment_orders):
        return "ON_HOLD"
    left, shipped = sum(line.unfulfilled for line in order.lines), bool(order.fulfillments)
    return {(True, True): "PARTIALLY_FULFILLED", (True, False): "UNFULFILLED", (False, True): "FULFILLED"}.get(
        (left > 0, shipped), "UNFULFILLED"
    )


def connection(nodes: list[Node]) -> Callable[..., Node]:
    """A list in pages. A cursor is the id after which the next page begins."""

    def page(info: Any, first: int | None = None, after: str | None = None, **_: Any) -> Node:
        start = next((at for at, node in enumerate(nodes, 1) if node["id"] == after), 0) if after else 0
        rows = nodes[start : start + (first or 50)]
        end = rows[-1].get("id") if rows else None
        more = start + len(rows) < len(nodes)
        return {"nodes": rows, "pageInfo": {"hasNextPage": more, "endCursor": end, "hasPreviousPage": start > 0}}

    return page


def _made(record: Record | None, make: Callable[[Record], Node]) -> Node | None:
    return make(record) if record is not None else None


def _address(order: Order) -> Node:
    shopper = order.shopper
    return {
        "id": gid("MailingAddress", order.id),
        "countryCodeV2": shopper.country,
        "provinceCode": shopper.region,
        "zip": shopper.postal_code,
        "latitude": None,
        "longitude": None,
        "firstName": shopper.first_name,
        "lastName": shopper.last_name,
        "name": shopper.name,
        "address1": shopper.street,
        "phone": shopper.phone,
    }
