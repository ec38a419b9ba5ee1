"""The Partner API of a fake TikTok Shop: what calls must have, and what each of them answers."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fakes.conditions import Conditions
from tests.fakes.tiktok_shop.books import Books
from tests.fakes.tiktok_shop.records import Sku
from tests.fakes.tiktok_shop.tokens import Tokens, request_signature
from tests.fakes.tiktok_shop.words import (
    cancellation_json,
    inventory_json,
    product_json,
    return_json,
    warehouse_json,
)

LARGEST_PAGE = 100
MOST_PRODUCTS, MOST_SKUS = 100, 600
HIGHEST_QUANTITY = 99_999

EXPIRED_TOKEN, BAD_SIGNATURE, BAD_REQUEST, THROTTLED, FROZEN = 105_002, 106_001, 36_009_004, 36_009_002, 12_052_217
"""Codes of errors. What a caller may rely on are the status and, inside a 200, that the code is not 0."""


@dataclass(frozen=True, slots=True)
class ApiError(Exception):
    """An answer that is an error; `status` may be 200."""

    code: int
    message: str
    status: int = 200


Handler = Callable[["Call"], Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One call that is signed and authorized."""

    path: dict[str, str]
    query: dict[str, str]
    body: dict[str, Any]


class Api:
    """Answers calls from the books of one shop."""

    def __init__(self, books: Books, tokens: Tokens, conditions: Conditions, cipher: str, shop_id: str) -> None:
        self._books, self._tokens, self._conditions = books, tokens, conditions
        self._cipher, self._shop_id = cipher, shop_id
        self.webhooks: dict[str, str] = {}
        """The address of each type of event that is subscribed."""
        self.writes: list[tuple[str, dict[str, int]]] = []
        """Every accepted write: SKU id, units by warehouse."""
        self.overlapping_writes = 0
        self._being_written: set[str] = set()

    def routes(self) -> list[Route]:
        """The calls that this shop knows."""
        plain: list[tuple[str, str, Handler]] = [
            ("POST", "/order/202309/orders/search", self._search_orders),
            ("GET", "/order/202507/orders", self._get_orders),
            ("POST", "/order/202406/orders/external_orders", self._add_external_orders),
            ("POST", "/return_refund/202602/cancellations/search", self._search_cancellations),
            ("POST", "/return_refund/202602/cancellations", self._cancel_order),
            ("POST", "/return_refund/202309/cancellations/{id}/approve", self._approve),
            ("POST", "/return_refund/202309/cancellations/{id}/reject", self._reject),
            ("POST", "/return_refund/202602/returns/search", self._search_returns),
            ("POST", "/product/202309/inventory/search", self._search_inventory),
            ("POST", "/product/202502/products/search", self._search_products),
            ("GET", "/product/202309/products/{id}", self._get_product),
            ("POST", "/product/202309/products/{id}/inventory/update", self._update_inventory),
            ("GET", "/logistics/202309/warehouses", self._get_warehouses),
            ("GET", "/event/202309/webhooks", self._get_webhooks),
            ("PUT", "/event/202309/webhooks", self._put_webhook),
            ("DELETE", "/event/202309/webhooks", self._delete_webhook),
        ]
        return [
            Route("/api/v2/token/get", self._answer_token(self._exchange), methods=["GET"]),
            Route("/api/v2/token/refresh", self._answer_token(self._refresh), methods=["GET"]),
            self._route("GET", "/authorization/202309/shops", self._get_shops, needs_cipher=False),
            *(self._route(method, path, handler) for method, path, handler in plain),
        ]

    def _route(self, method: str, path: str, handler: Handler, *, needs_cipher: bool = True) -> Route:
        async def answer(request: Request) -> Response:
            self._conditions.calls[f"{method} {path}"] += 1
            body = await request.body()
            try:
                self._check(request, body, needs_cipher)
                if any(text in f"{request.url.query}{body.decode()}" for text in self._conditions.crashes_on):
                    raise ApiError(36_009_003, "Internal error", 500)
                await asyncio.sleep(self._conditions.delays.get(f"{method} {path}", 0))
                call = Call(
                    {name: str(value) for name, value in request.path_params.items()},
                    dict(request.query_params),
                    json.loads(body) if body else {},
                )
                return await self._carry_out(handler, call)
            except ApiError as error:
                return _error(error, self._conditions)

        return Route(path, answer, methods=[method])

    async def _carry_out(self, handler: Handler, call: Call) -> Response:
        skus = [str(sku["id"]) for sku in call.body.get("skus", [])] if handler == self._update_inventory else []
        self.overlapping_writes += any(sku in self._being_written for sku in skus)
        self._being_written.update(skus)
        try:
            if self._conditions.answer_delay_seconds:
                await asyncio.sleep(self._conditions.answer_delay_seconds)
            with self._books.lock:
                data = handler(call)
        finally:
            self._being_written.difference_update(skus)
        if self._conditions.lost_answers > 0:
            self._conditions.lost_answers -= 1
            return Response("Bad Gateway", 502)
        return _success(data)

    def _check(self, request: Request, body: bytes, needs_cipher: bool) -> None:
        query = request.query_params.multi_items()
        parameters = dict(query)
        self._check_conditions()
        if parameters.get("app_key") != self._tokens.app_key:
            raise ApiError(BAD_REQUEST, "app_key is invalid", 400)
        if abs(time.time() - int(parameters.get("timestamp", 0))) > 300:
            raise ApiError(BAD_SIGNATURE, "timestamp is not within 5 minutes", 401)
        expected = request_signature(request.url.path, query, body, self._tokens.app_secret)
        if parameters.get("sign") != expected:
            raise ApiError(BAD_SIGNATURE, "sign is invalid", 401)
        if not self._tokens.is_good(request.headers.get("x-tts-access-token", "")):
            raise ApiError(EXPIRED_TOKEN, "access token is expired or invalid", 401)
        if needs_cipher and parameters.get("shop_cipher") != self._cipher:
            raise ApiError(BAD_REQUEST, "shop_cipher is invalid", 400)

    def _check_conditions(self) -> None:
        if self._conditions.outage:
            raise ApiError(36_009_003, "Internal error", 503)
        if not self._conditions.may_call():
            raise ApiError(THROTTLED, "Request limit exceeded", 429)
        if self._conditions.failures:
            status, code, message = self._conditions.failures.popleft()
            raise ApiError(code, message, status)

    def _answer_token(self, exchange: Callable[[dict[str, str]], dict[str, Any] | None]) -> Any:
        async def answer(request: Request) -> Response:
            self._conditions.calls[f"GET {request.url.path}"] += 1
            query = dict(request.query_params)
            if (query.get("app_key"), query.get("app_secret")) != (self._tokens.app_key, self._tokens.app_secret):
                return _error(ApiError(36_004_001, "app_key or app_secret is invalid"), self._conditions)
            if self._conditions.outage:
                return _error(ApiError(36_009_003, "Internal error", 503), self._conditions)
            data = exchange(query)
            if data is None:
                return _error(ApiError(36_004_004, "the code or refresh token is invalid or expired"), self._conditions)
            if self._conditions.lost_answers > 0:
                self._conditions.lost_answers -= 1
                return Response("Bad Gateway", 502)
            return _success(data)

        return answer

    def _exchange(self, query: dict[str, str]) -> dict[str, Any] | None:
        return self._tokens.exchange(query.get("auth_code", ""))

    def _refresh(self, query: dict[str, str]) -> dict[str, Any] | None:
        return self._tokens.refresh(query.get("refresh_token", ""))

    def _get_shops(self, call: Call) -> Any:
        shop = {"id": self._shop_id, "cipher": self._cipher, "name": "A made-up shop", "region": "US"}
        return {"shops": [{**shop, "code": "USLCTEST01", "seller_type": "LOCAL"}]}

    def _search_orders(self, call: Call) -> Any:
        orders = [order for order in map(self._visible, self._books.orders) if order is not None]
        wanted = call.body
        if wanted.get("order_status"):
            orders = [order for order in orders if order["status"] == wanted["order_status"]]
        if wanted.get("warehouse_ids"):
            orders = [order for order in orders if order["warehouse_id"] in wanted["warehouse_ids"]]
        if "is_buyer_request_cancel" in wanted:
            orders = [o for o in orders if o["is_buyer_request_cancel"] == wanted["is_buyer_request_cancel"]]
        return _page("orders", orders, call, "id")

    def _get_orders(self, call: Call) -> Any:
        ids = [order_id for order_id in call.query.get("ids", "").split(",") if order_id]
        if not 1 <= len(ids) <= 50:
            raise ApiError(BAD_REQUEST, "ids must have 1 to 50 order ids", 400)
        return {"orders": [order for order in map(self._visible, ids) if order is not None]}

    def _visible(self, order_id: str) -> dict[str, Any] | None:
        order = self._books.orders.get(order_id)
        seen_at = self._books.clock.seconds() - self._conditions.read_age_seconds
        versions = order.versions if order else []
        return next((version for at, version in reversed(versions) if at <= seen_at), None)

    def _add_external_orders(self, call: Call) -> Any:
        errors = []
        for stated in call.body.get("orders", []):
            order, external = self._books.orders.get(stated["id"]), stated["external_order"]
            if order is None:
                detail = {"order_id": stated["id"], "external_order": external}
                errors.append({"code": BAD_REQUEST, "message": "order does not exist", "detail": detail})
            else:
                order.external_ids[external["platform"]] = external["id"]
        return {"errors": errors}

    def _search_cancellations(self, call: Call) -> Any:
        rows = [cancellation_json(record) for record in self._books.cancellations.values()]
        rows = _wanted(rows, call, ("cancel_ids", "cancel_id"), ("order_ids", "order_id"))
        if call.body.get("cancel_status"):
            rows = [row for row in rows if row["cancel_status"] in call.body["cancel_status"]]
        return _page("cancellations", rows, call, "cancel_id")

    def _cancel_order(self, call: Call) -> Any:
        order = self._books.orders.get(call.body.get("order_id", ""))
        if order is None or order.status in ("IN_TRANSIT", "DELIVERED", "COMPLETED", "CANCELLED"):
            raise ApiError(25_001_021, "this order cannot be cancelled with this reason")
        stated = [line["order_line_item_id"] for line in call.body.get("order_line_list", [])]
        wanted = stated or call.body.get("order_line_item_ids", [])
        lines = [line for line in order.open_lines() if line.id in wanted]
        reason = call.body["cancel_reason"]
        cancellation = self._books.cancel(order, "SELLER", lines, reason=reason)
        return {"cancel_id": cancellation.id, "cancel_status": cancellation.status}

    def _approve(self, call: Call) -> Any:
        return self._answer_cancel(call, approve=True)

    def _reject(self, call: Call) -> Any:
        return self._answer_cancel(call, approve=False)

    def _answer_cancel(self, call: Call, *, approve: bool) -> Any:
        cancellation = self._books.cancellations.get(call.path["id"])
        if cancellation is None or not self._books.answer_cancel(cancellation, approve=approve):
            raise ApiError(25_001_003, "the cancellation is not waiting for the seller")
        return {}

    def _search_returns(self, call: Call) -> Any:
        rows = [return_json(record) for record in self._books.returns.values()]
        rows = _wanted(rows, call, ("return_ids", "return_id"), ("order_ids", "order_id"))
        return _page("return_orders", rows, call, "return_id")

    def _search_inventory(self, call: Call) -> Any:
        sku_ids, product_ids = call.body.get("sku_ids", []), call.body.get("product_ids", [])
        if not 0 < len(sku_ids or product_ids) <= (MOST_SKUS if sku_ids else MOST_PRODUCTS):
            raise ApiError(BAD_REQUEST, f"state up to {MOST_SKUS} sku_ids or up to {MOST_PRODUCTS} product_ids", 400)
        skus = [
            s for s in self._books.skus.values() if s.id in sku_ids or (not sku_ids and s.product_id in product_ids)
        ]
        seen_at = self._books.clock.seconds() - self._conditions.read_age_seconds
        products: dict[str, list[Any]] = {}
        for sku in skus:
            products.setdefault(sku.product_id, []).append(inventory_json(sku, seen_at))
        return {"inventory": [{"product_id": product, "skus": rows} for product, rows in products.items()]}

    def _search_products(self, call: Call) -> Any:
        products = sorted({sku.product_id for sku in self._books.skus.values()})
        return _page("products", [product_json(self._skus_of(product)) for product in products], call, "id")

    def _get_product(self, call: Call) -> Any:
        skus = self._skus_of(call.path["id"])
        if not skus:
            raise ApiError(12_052_048, "the product does not exist")
        return product_json(skus)

    def _update_inventory(self, call: Call) -> Any:
        errors = []
        for stated in call.body.get("skus", []):
            sku = self._books.skus.get(str(stated["id"]))
            code, problem = self._problem(sku, call.path["id"], stated)
            if problem or sku is None:
                detail = {"sku_id": str(stated["id"]), "extra_errors": []}
                errors.append({"code": code, "message": problem, "detail": detail})
            else:
                self._write(sku, {row["warehouse_id"]: row["quantity"] for row in stated["inventory"]})
        return {"errors": errors}

    def _problem(self, sku: Sku | None, product_id: str, stated: dict[str, Any]) -> tuple[int, str]:
        rows = stated.get("inventory", [])
        if sku is None or sku.product_id != product_id:
            return 12_052_223, "the SKU does not belong to the product"
        if sku.frozen:
            return FROZEN, "the SKU is frozen"
        if {row.get("warehouse_id") for row in rows} != set(sku.stock) or len(rows) != len(sku.stock):
            return 12_052_233, "every warehouse of the SKU must be stated, and no other"
        if not all(0 <= row["quantity"] <= HIGHEST_QUANTITY for row in rows):
            return 12_052_230, f"the quantity is not between 0 and {HIGHEST_QUANTITY}"
        return 0, ""

    def _write(self, sku: Sku, units: dict[str, int]) -> None:
        self.writes.append((sku.id, units))

        def take_effect() -> None:
            for warehouse, number in units.items():
                self._books.set_available(sku, warehouse, number)

        if self._conditions.write_lag_seconds:
            self._books.clock.call_after(self._conditions.write_lag_seconds, take_effect)
        else:
            take_effect()

    def _get_warehouses(self, call: Call) -> Any:
        return {"warehouses": [warehouse_json(warehouse) for warehouse in self._books.warehouses.values()]}

    def _get_webhooks(self, call: Call) -> Any:
        rows = [{"event_type": name, "address": address} for name, address in sorted(self.webhooks.items())]
        return {"webhooks": rows, "total_count": len(rows)}

    def _put_webhook(self, call: Call) -> Any:
        self.webhooks[call.body["event_type"]] = call.body["address"]
        return {}

    def _delete_webhook(self, call: Call) -> Any:
        self.webhooks.pop(call.body.get("event_type", ""), None)
        return {}

    def _skus_of(self, product_id: str) -> list[Sku]:
        return [sku for sku in self._books.skus.values() if sku.product_id == product_id]


def _wanted(rows: list[dict[str, Any]], call: Call, *filters: tuple[str, str]) -> list[dict[str, Any]]:
    for filter_name, field in filters:
        if call.body.get(filter_name):
            rows = [row for row in rows if row[field] in call.body[filter_name]]
    return rows


def _page(name: str, rows: list[dict[str, Any]], call: Call, id_field: str) -> dict[str, Any]:
    """One page of rows. The token says after which row the next one begins, so rows that change move on meanwhile."""
    size = int(call.query.get("page_size", 20))
    if not 1 <= size <= LARGEST_PAGE:
        raise ApiError(BAD_REQUEST, f"page_size must be 1 to {LARGEST_PAGE}", 400)
    for field in ("create_time", "update_time"):
        least, below = call.body.get(f"{field}_ge", 0), call.body.get(f"{field}_lt", 2**62)
        rows = [row for row in rows if least <= row[field] < below]
    sort_field, descending = call.query.get("sort_field", "create_time"), call.query.get("sort_order", "DESC") == "DESC"
    rows = sorted(rows, key=lambda row: (row[sort_field], row[id_field]), reverse=descending)
    total = len(rows)
    if call.query.get("page_token"):
        after = tuple(json.loads(base64.urlsafe_b64decode(call.query["page_token"])))
        rows = [
            r
            for r in rows
            if ((r[sort_field], r[id_field]) < after if descending else (r[sort_field], r[id_field]) > after)
        ]
    page, token = rows[:size], ""
    if len(rows) > size:
        token = base64.urlsafe_b64encode(json.dumps([page[-1][sort_field], page[-1][id_field]]).encode()).decode()
    return {name: page, "next_page_token": token, "total_count": total}


def _success(data: Any) -> Response:
    return JSONResponse({"code": 0, "message": "Success", "request_id": _request_id(), "data": data})


def _error(error: ApiError, conditions: Conditions) -> Response:
    headers = {}
    if error.status == 429 and conditions.retry_after_seconds is not None:
        headers["retry-after"] = str(conditions.retry_after_seconds)
    body = {"code": error.code, "message": error.message, "request_id": _request_id(), "data": None}
    return JSONResponse(body, error.status, headers)


def _request_id() -> str:
    return f"{time.time_ns():032X}"
