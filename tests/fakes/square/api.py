"""The API of a fake Square merchant: orders, counts, catalog, webhooks and past events."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fakes.conditions import Conditions
from tests.fakes.square.books import Books
from tests.fakes.square.records import IN_STOCK, Event, StockChange, Subscription
from tests.fakes.square.tokens import MERCHANT_ID, Tokens
from tests.fakes.square.words import (
    change_json,
    count_json,
    items_json,
    location_json,
    moment,
    order_json,
    refund_json,
    subscription_json,
)

MOST_CHANGES = 100
MOST_SEARCHED_LOCATIONS = 10
KEPT_EVENTS = 28 * 86_400


@dataclass(frozen=True, slots=True)
class ApiError(Exception):
    """An answer that is an error."""

    status: int
    category: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Call:
    """One authorized call."""

    path: dict[str, str]
    query: dict[str, str]
    body: dict[str, Any]


Handler = Callable[[Call], dict[str, Any]]


class Api:
    """Answers calls from the books of one merchant."""

    def __init__(self, books: Books, tokens: Tokens, conditions: Conditions) -> None:
        self._books, self._tokens, self._conditions = books, tokens, conditions
        self.subscriptions: dict[str, Subscription] = {}
        self.events: list[Event] = []
        self.batches: dict[str, dict[str, Any]] = {}
        """Answers to batches of changes by their idempotency key."""

    def routes(self) -> list[Route]:
        """The calls that this merchant knows."""
        handlers: list[tuple[str, str, Handler]] = [
            ("GET", "/v2/locations", self._locations),
            ("GET", "/v2/catalog/list", self._catalog),
            ("POST", "/v2/orders/search", self._search_orders),
            ("POST", "/v2/orders/batch-retrieve", self._get_orders),
            ("GET", "/v2/orders/{id}", self._get_order),
            ("GET", "/v2/refunds", self._list_refunds),
            ("GET", "/v2/refunds/{id}", self._get_refund),
            ("POST", "/v2/inventory/counts/batch-retrieve", self._counts),
            ("POST", "/v2/inventory/changes/batch-create", self._change),
            ("POST", "/v2/inventory/changes/batch-retrieve", self._changes),
            ("POST", "/oauth2/token/status", self._token_status),
        ]
        owners_handlers: list[tuple[str, str, Handler]] = [
            ("GET", "/v2/webhooks/subscriptions", self._list_subscriptions),
            ("POST", "/v2/webhooks/subscriptions", self._subscribe),
            ("PUT", "/v2/webhooks/subscriptions/{id}", self._change_subscription),
            ("DELETE", "/v2/webhooks/subscriptions/{id}", self._unsubscribe),
            ("POST", "/v2/events", self._events),
        ]
        return [
            Route("/oauth2/token", self._grant, methods=["POST"]),
            *(self._route(method, path, handler, self._tokens.is_good) for method, path, handler in handlers),
            # Subscriptions and past events belong to the application, not to a merchant.
            *(
                self._route(method, path, handler, lambda token: token == self._tokens.personal_token)
                for method, path, handler in owners_handlers
            ),
        ]

    async def _grant(self, request: Request) -> Response:
        self._conditions.calls["POST /oauth2/token"] += 1
        if self._conditions.outage:
            return Response(status_code=503)
        status, body = self._tokens.grant(await request.json())
        if self._tokens.lost_grants > 0:
            self._tokens.lost_grants -= 1
            return Response("Bad Gateway", 502)
        return self._sent(JSONResponse(body, status))

    def _route(self, method: str, path: str, handler: Handler, is_good: Callable[[str], bool]) -> Route:
        async def answer(request: Request) -> Response:
            self._conditions.calls[f"{method} {path}"] += 1
            content = await request.body()
            try:
                self._check(request, is_good)
                if self._conditions.answer_delay_seconds:
                    await asyncio.sleep(self._conditions.answer_delay_seconds)
                paths = {name: str(value) for name, value in request.path_params.items()}
                call = Call(paths, dict(request.query_params), json.loads(content) if content else {})
                with self._books.lock:
                    return self._sent(JSONResponse(handler(call)))
            except ApiError as error:
                return self._refused(error)

        return Route(path, answer, methods=[method])

    def _check(self, request: Request, is_good: Callable[[str], bool]) -> None:
        if self._conditions.outage:
            raise ApiError(503, "API_ERROR", "SERVICE_UNAVAILABLE", "Service unavailable")
        if not self._conditions.may_call():
            raise ApiError(429, "RATE_LIMIT_ERROR", "RATE_LIMITED", "Too many requests")
        if self._conditions.failures:
            status, _, message = self._conditions.failures.popleft()
            raise ApiError(status, "API_ERROR", "INTERNAL_SERVER_ERROR", message)
        if not is_good(request.headers.get("authorization", "").removeprefix("Bearer ")):
            raise ApiError(401, "AUTHENTICATION_ERROR", "UNAUTHORIZED", "This request could not be authorized.")

    def _refused(self, error: ApiError) -> Response:
        body = {"errors": [{"category": error.category, "code": error.code, "detail": error.detail}]}
        wait = self._conditions.retry_after_seconds if error.status == 429 else None
        return JSONResponse(body, error.status, headers={} if wait is None else {"retry-after": str(wait)})

    def _sent(self, response: Response) -> Response:
        if self._conditions.lost_answers > 0:
            self._conditions.lost_answers -= 1
            return Response("Bad Gateway", 502)
        return response

    def _locations(self, call: Call) -> dict[str, Any]:
        return {"locations": [location_json(location) for location in self._books.locations.values()]}

    def _catalog(self, call: Call) -> dict[str, Any]:
        return _page("objects", items_json(self._books.variations.values()), call.query.get("cursor"), 100)

    def _search_orders(self, call: Call) -> dict[str, Any]:
        wanted = set(call.body.get("location_ids") or [])
        if not 1 <= len(wanted) <= MOST_SEARCHED_LOCATIONS:
            detail = f"1 to {MOST_SEARCHED_LOCATIONS} location_ids must be stated"
            raise ApiError(400, "INVALID_REQUEST_ERROR", "MISSING_REQUIRED_PARAMETER", detail)
        query = call.body.get("query") or {}
        field, descending = _sorting(query)
        since, until = _range(query, field)
        orders = [order for order in self._books.orders.values() if order.location.id in wanted]
        orders = [order for order in orders if since <= getattr(order, field) < until]
        orders.sort(key=lambda order: (getattr(order, field), order.id), reverse=descending)
        limit = int(call.body.get("limit") or 500)
        return _page("orders", [order_json(order) for order in orders], call.body.get("cursor"), min(limit, 1_000))

    def _get_orders(self, call: Call) -> dict[str, Any]:
        found = [self._books.orders[each] for each in call.body["order_ids"] if each in self._books.orders]
        return {"orders": [order_json(order) for order in found]}

    def _get_order(self, call: Call) -> dict[str, Any]:
        order = self._books.orders.get(call.path["id"])
        if order is None:
            raise ApiError(404, "INVALID_REQUEST_ERROR", "NOT_FOUND", "Order not found")
        return {"order": order_json(order)}

    def _list_refunds(self, call: Call) -> dict[str, Any]:
        refunds = sorted(self._books.refunds.values(), key=lambda refund: refund.created)
        since = _seconds(call.query.get("begin_time"), 0.0)
        rows = [refund_json(refund) for refund in refunds if refund.created >= since]
        return _page("refunds", rows, call.query.get("cursor"), int(call.query.get("limit") or 100))

    def _get_refund(self, call: Call) -> dict[str, Any]:
        refund = self._books.refunds.get(call.path["id"])
        if refund is None:
            raise ApiError(404, "INVALID_REQUEST_ERROR", "NOT_FOUND", "Refund not found")
        return {"refund": refund_json(refund)}

    def _counts(self, call: Call) -> dict[str, Any]:
        items, places = call.body.get("catalog_object_ids"), call.body.get("location_ids")
        since = _seconds(call.body.get("updated_after"), 0.0)
        states = call.body.get("states") or [IN_STOCK]
        keys = sorted(
            (calculated, item, place)
            for (item, place), calculated in self._books.calculated.items()
            if calculated > since and (not items or item in items) and (not places or place in places)
        )
        keys.reverse()  # The newest first.
        rows = [
            count_json(self._books, self._books.variations[item], self._books.locations[place], state)
            for _, item, place in keys
            for state in states
        ]
        return _page("counts", rows, call.body.get("cursor"), int(call.body.get("limit") or 100))

    def _changes(self, call: Call) -> dict[str, Any]:
        items, places = call.body.get("catalog_object_ids"), call.body.get("location_ids")
        since, kinds = _seconds(call.body.get("updated_after"), 0.0), call.body.get("types")
        changes = sorted(self._books.changes, key=lambda change: -change.created)
        rows = [
            change_json(change)
            for change in changes
            if change.created > since
            and (not items or change.variation.id in items)
            and (not places or change.location.id in places)
        ]
        rows = [row for row in rows if not kinds or row["type"] in kinds]
        return _page("changes", rows, call.body.get("cursor"), int(call.body.get("limit") or 100))

    def _token_status(self, call: Call) -> dict[str, Any]:
        return {"scopes": self._tokens.scopes, "client_id": self._tokens.client_id, "merchant_id": MERCHANT_ID}

    def _change(self, call: Call) -> dict[str, Any]:
        key, changes = call.body.get("idempotency_key", ""), call.body.get("changes") or []
        if not key or not 1 <= len(changes) <= MOST_CHANGES:
            detail = f"idempotency_key and 1 to {MOST_CHANGES} changes must be stated"
            raise ApiError(400, "INVALID_REQUEST_ERROR", "BAD_REQUEST", detail)
        if key not in self.batches:
            parsed = [self._parsed(change) for change in changes]
            self.batches[key] = {"counts": [self._changed(*each) for each in parsed], "errors": []}
        return self.batches[key]

    def _parsed(self, change: dict[str, Any]) -> tuple[dict[str, Any], float, bool]:
        counted = change["type"] == "PHYSICAL_COUNT"
        stated = change["physical_count" if counted else "adjustment"]
        occurred = _seconds(stated.get("occurred_at"), 0.0)
        age = self._books.clock.seconds() - occurred
        if stated["catalog_object_id"] not in self._books.variations:
            raise ApiError(404, "INVALID_REQUEST_ERROR", "NOT_FOUND", "The catalog object does not exist")
        if not -60 <= age <= 86_400:
            raise ApiError(400, "INVALID_REQUEST_ERROR", "INVALID_TIME", "occurred_at is more than 24 hours ago")
        return stated, age, counted

    def _changed(self, stated: dict[str, Any], age: float, counted: bool) -> dict[str, Any]:
        variation = self._books.variations[stated["catalog_object_id"]]
        location = self._books.locations[stated.get("location_id") or stated["from_location_id"]]
        now = self._books.clock.seconds()
        states = {} if counted else {"from_state": stated["from_state"], "to_state": stated["to_state"]}
        change = StockChange(
            self._books.new_id(), variation, location, now - age, now, int(stated["quantity"]), counted, **states,
            reference_id=stated.get("reference_id", ""),
        )  # fmt: skip
        self._books.changes.append(change)
        self._books.calculated[variation.id, location.id] = now
        self._books.on_change("inventory.count.updated", change)
        return count_json(self._books, variation, location)

    def _list_subscriptions(self, call: Call) -> dict[str, Any]:
        rows = [subscription_json(each) for each in self.subscriptions.values()]
        return _page("subscriptions", rows, call.query.get("cursor"), 100)

    def _subscribe(self, call: Call) -> dict[str, Any]:
        stated = call.body["subscription"]
        subscription = Subscription(
            f"wbhk_{self._books.new_id().lower()}",
            stated["name"],
            list(stated["event_types"]),
            stated["notification_url"],
            self._books.new_id(22),
        )
        self.subscriptions[subscription.id] = subscription
        return {"subscription": subscription_json(subscription)}

    def _change_subscription(self, call: Call) -> dict[str, Any]:
        subscription = self.subscriptions.get(call.path["id"])
        if subscription is None:
            raise ApiError(404, "INVALID_REQUEST_ERROR", "NOT_FOUND", "Subscription not found")
        stated = call.body["subscription"]
        subscription.enabled = bool(stated.get("enabled", subscription.enabled))
        subscription.event_types = list(stated.get("event_types") or subscription.event_types)
        return {"subscription": subscription_json(subscription)}

    def _unsubscribe(self, call: Call) -> dict[str, Any]:
        self.subscriptions.pop(call.path["id"], None)
        return {}

    def _events(self, call: Call) -> dict[str, Any]:
        filters = (call.body.get("query") or {}).get("filter") or {}
        created = filters.get("created_at") or {}
        oldest = self._books.clock.seconds() - KEPT_EVENTS
        since = max(_seconds(created.get("start_at"), 0.0), oldest)
        until = _seconds(created.get("end_at"), float("inf"))
        kinds = filters.get("event_types")
        events = [each for each in self.events if since <= each.created < until]
        rows = [event_json(each) for each in events if not kinds or each.type in kinds]
        return _page("events", rows, call.body.get("cursor"), int(call.body.get("limit") or 100))


def event_json(event: Event) -> dict[str, Any]:
    """An event as webhooks bring it."""
    return {
        "merchant_id": MERCHANT_ID,
        "type": event.type,
        "event_id": event.id,
        "created_at": moment(event.created),
        "data": event.data,
    }


def _sorting(query: dict[str, Any]) -> tuple[str, bool]:
    """The field to sort by, and whether it descends. Square wants a filter of times to be of the same field."""
    sort = query.get("sort") or {}
    stated = str(sort.get("sort_field", "CREATED_AT")).lower()
    filtered = set((query.get("filter") or {}).get("date_time_filter") or {})
    if filtered - {stated}:
        detail = f"sort_field must be {', '.join(sorted(filtered)).upper()}, by which date_time_filter filters"
        raise ApiError(400, "INVALID_REQUEST_ERROR", "BAD_REQUEST", detail)
    return stated.removesuffix("_at"), sort.get("sort_order", "DESC") == "DESC"


def _range(query: dict[str, Any], field: str) -> tuple[float, float]:
    times = ((query.get("filter") or {}).get("date_time_filter") or {}).get(f"{field}_at") or {}
    return _seconds(times.get("start_at"), 0.0), _seconds(times.get("end_at"), float("inf"))


def _seconds(text: str | None, absent: float) -> float:
    return datetime.fromisoformat(text).timestamp() if text else absent


def _page(name: str, rows: list[dict[str, Any]], cursor: str | None, limit: int) -> dict[str, Any]:
    start = int(base64.urlsafe_b64decode(cursor)) if cursor else 0
    page: dict[str, Any] = {name: rows[start : start + limit]}
    if start + limit < len(rows):
        page["cursor"] = base64.urlsafe_b64encode(str(start + limit).encode()).decode()
    return page
