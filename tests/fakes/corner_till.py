"""A made-up till and its whole connector: what it takes to add a platform, and proof that the core needs no change."""

from __future__ import annotations

import hmac
import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.channels import adapter as core
from service.channels.accounts import Account
from service.channels.effects import ItemUnits, Reading, TillMovement
from service.channels.errors import AuthorizationLost
from service.channels.platform_calls import new_http_client, sent
from tests.fakes.clock import Clock
from tests.fakes.conditions import Conditions
from tests.fakes.server import serving
from tests.fakes.webhooks import Delivery, WebhookSender

KEY = "made-up-key-of-the-till"


def _signed(url: str, body: bytes) -> dict[str, str]:
    return {"x-till-signature": hmac.new(KEY.encode(), body, "sha256").hexdigest()}


@dataclass(slots=True)
class CornerTill:
    """The till: sales of mugs, to whoever has its token."""

    sales: dict[str, dict[str, Any]] = field(default_factory=dict)
    conditions: Conditions = field(default_factory=Conditions)
    hook: str = ""
    address: str = ""
    token: str = "first"
    refreshes: int = 0
    authorized: bool = True
    webhooks: WebhookSender = field(init=False)

    def __post_init__(self) -> None:
        self.webhooks = WebhookSender(Clock(), _signed, retry_after=(60.0,), answer_within=5.0)

    def sell(self) -> str:
        sale_id, now = secrets.token_hex(8), int(time.time())
        self.sales[sale_id] = {"id": sale_id, "units": 2, "at": now, "customer": "Ysolda Quonsett"}
        body = json.dumps({"sale": sale_id, "at": now}).encode()
        if self.hook:
            self.webhooks.send(Delivery(self.hook, lambda time: body, {}, "1"))
        return sale_id

    async def answer(self, request: Request) -> Response:
        if self.conditions.outage:
            return Response(status_code=503)
        if request.url.path == "/token":
            self.refreshes += 1
            self.token = secrets.token_hex(8)
            return JSONResponse({"token": self.token}, 200 if self.authorized else 403)
        if not self.authorized or request.headers.get("x-token") != self.token:
            return Response(status_code=401)
        query, since = request.query_params, int(request.query_params.get("since", 0))
        wanted = [s for s in self.sales.values() if s["at"] >= since and s["id"] in query.get("ids", s["id"])]
        start = int(query.get("page") or 0)
        return JSONResponse({"sales": wanted[start : start + 50], "next": start + 50 if wanted[start + 50 :] else ""})

    @contextmanager
    def serving(self) -> Iterator[CornerTill]:
        route = Route("/{path:path}", self.answer, methods=["GET", "POST"])
        with serving(Starlette(routes=[route], lifespan=self.webhooks.lifespan)) as self.address:
            yield self


class TillAdapter:
    """The connector."""

    def __init__(self, account: Account, tokens: core.Tokens) -> None:
        self._account, self._tokens, self._http = account, tokens, new_http_client()

    async def close(self) -> None:
        await self._http.aclose()

    def verify(self, headers: Mapping[str, str], url: str, body: bytes) -> bool:
        return hmac.compare_digest(headers.get("x-till-signature", ""), _signed(url, body)["x-till-signature"])

    def delivery(self, headers: Mapping[str, str], body: bytes) -> core.Delivery:
        try:
            sale = json.loads(body)
            return core.Delivery(sale["sale"], "sale", (_hint(sale["sale"], sale["at"]),))
        except (ValueError, KeyError, TypeError, RecursionError):
            return core.Delivery("unreadable", "unreadable", (), is_readable=False)

    async def read(self, kind: str, entity_ids: Sequence[str]) -> Mapping[str, Reading | Exception]:
        return {sale["id"]: _reading(sale) for sale in (await self._call({"ids": ",".join(entity_ids)}))["sales"]}

    async def changed(self, kind: str, since: datetime, page: str) -> core.Page:
        answer = await self._call({"since": str(int(since.timestamp())), "page": page})
        return core.Page(tuple(_hint(sale["id"], sale["at"]) for sale in answer["sales"]), str(answer["next"]))

    async def connect(self, code: str) -> list[core.Check]:
        await self._tokens.store({"token": code, "access_expires": str(int(time.time()) + 3_600)})
        return await self.check()

    async def check(self) -> list[core.Check]:
        return [core.Check("token", bool(await self._call({"ids": ""})))]

    async def outlets(self) -> list[core.ExternalOutlet]:
        return [core.ExternalOutlet("corner", "The corner shop")]

    async def items(self) -> list[core.ExternalItem]:
        return [core.ExternalItem("mug", "MUG")]

    async def _call(self, query: Mapping[str, str]) -> Any:
        tokens = await self._tokens.current()
        for _ in range(2):
            url, headers = f"{self._account.api_url}/sales", {"x-token": tokens["token"]}
            request = self._http.build_request("GET", url, params=query, headers=headers)
            response, content = await sent(self._http, request, "The till")
            if response.status_code != 401:
                return json.loads(content)
            tokens = await self._tokens.renewed(tokens)
        raise AuthorizationLost("the till refuses new tokens too")


def _hint(sale_id: str, at: int) -> core.Hint:
    return core.Hint("sale", sale_id, datetime.fromtimestamp(at, UTC))


def _reading(sale: Mapping[str, Any]) -> Reading:
    at = datetime.fromtimestamp(sale["at"], UTC)
    return Reading(at, (TillMovement(sale["id"], "sale", "corner", (ItemUnits("1", "mug", sale["units"]),), at),))


async def refresh(account: Account, tokens: Mapping[str, str]) -> Mapping[str, str]:
    async with new_http_client() as http:
        response, content = await sent(http, http.build_request("POST", f"{account.api_url}/token"), "The till")
    if response.status_code != 200:
        raise AuthorizationLost("the till gives no token")
    return {"token": json.loads(content)["token"], "access_expires": str(int(time.time()) + 3_600)}


PLATFORM = core.Platform("corner_till", core.Abilities(("sale",), 50, timedelta(hours=1)), (), (), TillAdapter, refresh)
