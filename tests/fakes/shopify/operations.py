"""What the queries and mutations of a fake Shopify shop do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from graphql import GraphQLError, GraphQLResolveInfo
from graphql.execution.values import get_directive_values

from tests.fakes.conditions import Conditions
from tests.fakes.shopify.books import Books
from tests.fakes.shopify.nodes import Node, Nodes, connection, moment, since
from tests.fakes.shopify.records import UNAVAILABLE, Level, Subscription, gid, number

MOST_ENTRIES = 250
Info = GraphQLResolveInfo[Any]


class Operations:
    """Of one shop. `root` has the resolvers by field."""

    def __init__(self, books: Books, conditions: Conditions, domain: str, scopes: list[str]) -> None:
        self._books, self._nodes, self._conditions = books, Nodes(books), conditions
        self._domain, self._scopes = domain, scopes
        self.subscriptions: dict[int, Subscription] = {}
        self.one_stale_entry_refuses_all = True
        """Shopify does not say whether it does."""
        self.level_reads = 0
        self.writes: list[tuple[str, str, int]] = []
        """Every accepted change: SKU, state, units afterwards."""
        self._answers: dict[str, tuple[str, Node]] = {}
        self.root: dict[str, Callable[..., Any]] = {
            "order": self._order,
            "orders": self._orders,
            "fulfillmentOrders": self._fulfillment_orders,
            "nodes": lambda info, ids: [self._nodes.find(each) for each in ids],
            "locations": self._locations,
            "location": lambda info, id: self._nodes.find(id),
            "inventoryItem": self._inventory_item,
            "productVariants": self._variants,
            "webhookSubscriptions": self._webhooks,
            "shop": lambda info: {"id": gid("Shop", 1), "name": "A made-up shop", "myshopifyDomain": domain},
            "currentAppInstallation": self._installation,
            "webhookSubscriptionCreate": self._subscribe,
            "webhookSubscriptionDelete": self._unsubscribe,
            "inventorySetQuantities": lambda info, **given: self._once(info, given["input"], self._set_quantities),
            "inventoryMoveQuantities": lambda info, **given: self._once(info, given["input"], self._move_quantities),
        }

    def _order(self, info: Info, id: str) -> Node | None:
        return self._nodes.find(id)

    def _inventory_item(self, info: Info, id: str) -> Node | None:
        self.level_reads += 1
        return self._nodes.find(id)

    def _orders(self, info: Info, query: str = "", **page: Any) -> Node:
        orders = sorted(self._books.orders.values(), key=lambda order: (int(order.updated), order.id))
        orders = [order for order in orders if int(order.updated) >= since(query)]
        return connection([self._nodes.order(order) for order in orders])(info, **_paging(page))

    def _fulfillment_orders(self, info: Info, query: str = "", **page: Any) -> Node:
        owners = [(order, each) for order in self._books.orders.values() for each in order.fulfillment_orders]
        shown = [(order, each) for order, each in owners if each.status not in ("CLOSED", "CANCELLED")]
        nodes = [self._nodes.fulfillment_order(order, each) for order, each in shown]
        changed_after = moment(since(query))
        nodes = sorted((n for n in nodes if n["updatedAt"] >= changed_after), key=lambda n: (n["updatedAt"], n["id"]))
        return connection(nodes)(info, **_paging(page))

    def _locations(self, info: Info, *, includeInactive: bool = False, **page: Any) -> Node:
        shown = [each for each in self._books.locations.values() if each.is_active or includeInactive]
        return connection([self._nodes.location(each) for each in shown])(info, **_paging(page))

    def _variants(self, info: Info, **page: Any) -> Node:
        return connection([self._nodes.variant(each) for each in self._books.items.values()])(info, **_paging(page))

    def _webhooks(self, info: Info, **page: Any) -> Node:
        rows = [self._nodes.subscription(each) for each in self.subscriptions.values()]
        return connection(rows)(info, **_paging(page))

    def _installation(self, info: Info) -> Node:
        return {"id": gid("AppInstallation", 1), "accessScopes": [{"handle": scope} for scope in self._scopes]}

    def _subscribe(self, info: Info, topic: str, webhookSubscription: Node) -> Node:
        uri = webhookSubscription.get("uri") or webhookSubscription.get("callbackUrl") or ""
        if any((each.topic, each.uri) == (topic, uri) for each in self.subscriptions.values()):
            taken = {
                "field": ["webhookSubscription", "callbackUrl"],
                "message": "Address for this topic has already been taken",
            }
            return {"webhookSubscription": None, "userErrors": [taken]}
        fields = list(webhookSubscription.get("includeFields") or [])
        subscription = Subscription(self._books.new_id(), topic, uri, fields, self._books.clock.seconds())
        self.subscriptions[subscription.id] = subscription
        return {"webhookSubscription": self._nodes.subscription(subscription), "userErrors": []}

    def _unsubscribe(self, info: Info, id: str) -> Node:
        if self.subscriptions.pop(number(id), None) is None:
            error = {"field": ["id"], "message": "Webhook subscription does not exist"}
            return {"deletedWebhookSubscriptionId": None, "userErrors": [error]}
        return {"deletedWebhookSubscriptionId": id, "userErrors": []}

    def _once(self, info: Info, asked: Node, change: Callable[[Node], Node]) -> Node:
        """A change by its idempotency key: repeated, it answers as before; with other contents it is refused."""
        directive = info.schema.get_directive("idempotent")
        assert directive is not None
        values = get_directive_values(directive, info.field_nodes[0], info.variable_values)
        if not values or not values.get("key"):
            raise GraphQLError(
                "The @idempotent directive is required for this mutation", extensions={"code": "BAD_REQUEST"}
            )
        key, contents = str(values["key"]), json.dumps(asked, sort_keys=True)
        if key in self._answers:
            before, answer = self._answers[key]
            return answer if before == contents else _refused("IDEMPOTENCY_KEY_PARAMETER_MISMATCH", ["input"])
        answer = change(asked)
        self._answers[key] = (contents, answer)
        return answer

    def _set_quantities(self, asked: Node) -> Node:
        if len(asked["quantities"]) > MOST_ENTRIES:
            raise GraphQLError(f"The input array size is greater than the maximum allowed of {MOST_ENTRIES}")
        if asked["name"] not in ("available", "on_hand"):
            return _refused("INVALID_NAME", ["input", "name"])
        entries: list[tuple[Level, int]] = []
        errors: list[Node] = []
        for at, stated in enumerate(asked["quantities"]):
            level, error = self._level_to_set(stated, asked["name"])
            if level is None or error:
                errors.append(_error(error, ["input", "quantities", str(at)]))
            else:
                entries.append((level, stated["quantity"]))
        if errors and self.one_stale_entry_refuses_all:
            return {"inventoryAdjustmentGroup": None, "userErrors": errors}
        changes = [self._set(level, asked["name"], units) for level, units in entries]
        return {**self._group(asked, changes), "userErrors": errors}

    def _level_to_set(self, stated: Node, name: str) -> tuple[Level | None, str]:
        if "changeFromQuantity" not in stated:
            raise GraphQLError("changeFromQuantity must be present; null opts out", extensions={"code": "BAD_REQUEST"})
        level = self._books.levels.get((number(stated["inventoryItemId"]), number(stated["locationId"])))
        if level is None:
            return None, "ITEM_NOT_STOCKED_AT_LOCATION"
        if stated["quantity"] < 0:
            return None, "INVALID_QUANTITY_NEGATIVE"
        expected = stated["changeFromQuantity"]
        if expected is not None and expected != level.quantity(name):
            return None, "CHANGE_FROM_QUANTITY_STALE"
        return level, ""

    def _set(self, level: Level, name: str, units: int) -> Node:
        delta = units - level.quantity(name)
        # A new figure of what is on hand is for sale at once.
        return self._change(level, "available", delta) | {"name": name, "quantityAfterChange": units}

    def _move_quantities(self, asked: Node) -> Node:
        errors: list[Node] = []
        moves: list[tuple[Level, Node]] = []
        ledgers: set[str] = set()
        for at, stated in enumerate(asked["changes"]):
            error = self._move_problem(stated)
            ledgers |= {
                end["ledgerDocumentUri"] for end in (stated["from"], stated["to"]) if end.get("ledgerDocumentUri")
            }
            level = self._books.levels.get((number(stated["inventoryItemId"]), number(stated["from"]["locationId"])))
            if error or level is None:
                errors.append(_error(error or "ITEM_NOT_STOCKED_AT_LOCATION", ["input", "changes", str(at)]))
            else:
                moves.append((level, stated))
        if len(ledgers) > 2:
            return _refused("MAXIMUM_LEDGER_DOCUMENT_URIS", ["input", "changes"])
        if errors and self.one_stale_entry_refuses_all:
            return {"inventoryAdjustmentGroup": None, "userErrors": errors}
        changes = [change for level, stated in moves for change in self._move(level, stated)]
        return {**self._group(asked, changes), "userErrors": errors}

    def _move_problem(self, stated: Node) -> str:
        source, target = stated["from"], stated["to"]
        if source["locationId"] != target["locationId"]:
            return "DIFFERENT_LOCATIONS"
        for end in (source, target):
            if end["name"] not in ("available", *UNAVAILABLE):
                return "INVALID_QUANTITY_NAME"
            if (end["name"] != "available") != bool(end.get("ledgerDocumentUri")):
                return "INVALID_LEDGER_DOCUMENT" if end.get("ledgerDocumentUri") else "INVALID_QUANTITY_DOCUMENT"
            level = self._books.levels.get((number(stated["inventoryItemId"]), number(end["locationId"])))
            expected = end.get("changeFromQuantity")
            if level and expected is not None and expected != level.quantity(end["name"]):
                return "CHANGE_FROM_QUANTITY_STALE"
        return ""

    def _move(self, level: Level, stated: Node) -> list[Node]:
        source, target, units = stated["from"], stated["to"], stated["quantity"]
        return [self._change(level, source["name"], -units), self._change(level, target["name"], units)]

    def _change(self, level: Level, name: str, delta: int) -> Node:
        after = level.quantity(name) + delta
        self._books.set_state(level, name, after)
        self.writes.append((level.item.sku, name, after))
        return {
            "name": name,
            "delta": delta,
            "quantityAfterChange": after,
            "ledgerDocumentUri": None,
            "item": self._nodes.item(level.item),
            "location": self._nodes.location(level.location),
        }

    def _group(self, asked: Node, changes: list[Node]) -> Node:
        group = {
            "id": gid("InventoryAdjustmentGroup", self._books.new_id()),
            "createdAt": moment(self._books.clock.seconds()),
            "reason": asked["reason"],
            "referenceDocumentUri": asked.get("referenceDocumentUri"),
            "changes": lambda info, **_: changes,
        }
        return {"inventoryAdjustmentGroup": group if changes else None}


def _paging(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: arguments[name] for name in ("first", "after") if name in arguments}


def _refused(code: str, field: list[str]) -> Node:
    return {"inventoryAdjustmentGroup": None, "userErrors": [_error(code, field)]}


def _error(code: str, field: list[str]) -> Node:
    return {"code": code, "field": field, "message": code.replace("_", " ").capitalize()}
