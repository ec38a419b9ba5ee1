"""Takes webhooks: bounds the body, verifies its bytes, stores what it hints at, and only then says 200.

It asks nothing of Truestock, so it answers as fast while the service is down.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from time import monotonic

import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from service.background import FailureLog
from service.channels.accounts import SecretMissing
from service.channels.adapter import Delivery
from service.channels.connector_metrics import ConnectorMetrics
from service.channels.errors import Away
from service.channels.running_account import RunningAccount
from service.channels.store.account_states import AccountStates
from service.channels.store.delivery_batches import DeliveryBatches
from service.channels.store.inbox import Inbox

LARGEST_BODY = 8 << 20
MOST_WAITING = 500_000
"""Unread entities of all accounts above which webhooks are refused: the channel keeps them better than a full disk."""
COUNT_SECONDS = 5.0
HEARD_SECONDS = 5.0
BODY_SECONDS = 20.0
LONGEST_ID = 256
RETRY_AFTER = {"Retry-After": "30"}

log = structlog.get_logger(__name__)


class Intake:
    """The door of all accounts."""

    def __init__(
        self,
        accounts: Mapping[str, RunningAccount],
        inbox: Inbox,
        states: AccountStates,
        metrics: ConnectorMetrics,
        *,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._accounts = accounts
        self._inbox = inbox
        self._batches = DeliveryBatches(inbox)
        self._states = states
        self._metrics = metrics
        self._most_waiting = most_waiting
        self._counted_at = -COUNT_SECONDS
        self._is_full = False
        self._heard_at: dict[str, float] = {}
        self._failures = FailureLog()

    def app(self) -> Starlette:
        """The application: one route."""
        return Starlette(routes=[Route("/webhooks/{account}", self._receive, methods=["POST"])])

    async def _receive(self, request: Request) -> Response:
        running = self._accounts.get(request.path_params["account"])
        if running is None:
            return Response("unknown account\n", 404)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _bounded_body(request)
        except ClientDisconnect:
            return Response(status_code=400)
        except TimeoutError:
            return self._answer(running, "refused", Response("the body came too slowly\n", 408))
        if body is None:
            return self._answer(running, "refused", Response(f"a body has at most {LARGEST_BODY:,} bytes\n", 413))
        try:
            headers = {name.lower(): value for name, value in request.headers.items()}
            if not running.adapter.verify(headers, running.account.webhook_url, body):
                return self._answer(running, "bad_signature", Response("the signature is missing or wrong\n", 401))
            return await self._store(running, headers, body)
        except (Away, SecretMissing) as error:
            self._failures.failed("webhooks cannot be taken", error, traceback=False, account=running.account.name)
            return self._answer(running, "refused", Response("try again later\n", 503, RETRY_AFTER))

    async def _store(self, running: RunningAccount, headers: Mapping[str, str], body: bytes) -> Response:
        name = running.account.name
        delivery = self._understood(running, headers, body)
        if delivery.shop and delivery.shop != running.account.shop:
            # Square sends what happens at every merchant of an application to each of its addresses.
            return self._answer(running, "another_shop", Response("ok\n"))
        if await self._inbox_is_full():
            return self._answer(running, "refused", Response("the inbox is full\n", 503, RETRY_AFTER))
        is_new = await self._batches.store(name, delivery)
        await self._note_heard(name)
        await self._end_authorization(running, delivery)
        self._failures.worked("webhooks are taken again", account=name)
        running.hinted.set()
        if not delivery.is_readable:
            log.warning("a webhook is not as the platform documents it", account=name, bytes=len(body))
            return self._answer(running, "unreadable", Response("ok\n"))
        return self._answer(running, "new" if is_new else "duplicate", Response("ok\n"))

    def _understood(self, running: RunningAccount, headers: Mapping[str, str], body: bytes) -> Delivery:
        try:
            return _storable(running.adapter.delivery(headers, body), body)
        except Exception as error:
            # The platform would send it again and again, and end the subscription. A poll finds what it hints at.
            self._failures.failed("a webhook is not understood", error, account=running.account.name)
            return _unreadable(body)

    async def _note_heard(self, name: str) -> None:
        """Notes every few seconds that the channel has sent something, not at each webhook."""
        if monotonic() - self._heard_at.get(name, -HEARD_SECONDS) >= HEARD_SECONDS:
            self._heard_at[name] = monotonic()
            await self._inbox.heard(name)

    async def _end_authorization(self, running: RunningAccount, delivery: Delivery) -> None:
        if delivery.ends_authorization:
            await self._states.pause(running.account.name, "the shop has withdrawn its permission")
            running.is_paused = True

    async def _inbox_is_full(self) -> bool:
        """Counted every few seconds, not at each webhook."""
        if monotonic() - self._counted_at >= COUNT_SECONDS:
            self._counted_at = monotonic()
            counts = await self._inbox.counts()
            self._is_full = sum(row["count"] for row in counts if row["state"] != "done") >= self._most_waiting
        return self._is_full

    def _answer(self, running: RunningAccount, result: str, response: Response) -> Response:
        self._metrics.deliveries.labels(running.account.name, result).inc()
        return response


def _storable(delivery: Delivery, body: bytes) -> Delivery:
    """The delivery; without its hints where an id is none that a platform gives and the inbox can keep."""
    texts = (delivery.key, delivery.topic, *(hint.entity_id for hint in delivery.hints))
    if all(len(text) <= LONGEST_ID and text.isprintable() for text in texts):
        return delivery
    return replace(_unreadable(body), ends_authorization=delivery.ends_authorization, shop=delivery.shop)


def _unreadable(body: bytes) -> Delivery:
    return Delivery(hashlib.sha256(body).hexdigest(), "unreadable", (), is_readable=False)


async def _bounded_body(request: Request) -> bytes | None:
    """The whole body; None if it is too large, of which no more is read than that takes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            return None
    return bytes(body)
