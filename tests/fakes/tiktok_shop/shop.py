"""A fake TikTok shop that runs: its books, its API and its webhooks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from starlette.applications import Starlette

from tests.fakes.clock import Clock
from tests.fakes.conditions import Conditions
from tests.fakes.server import serving
from tests.fakes.tiktok_shop.api import Api
from tests.fakes.tiktok_shop.books import Books
from tests.fakes.tiktok_shop.records import Cancellation, Order, Return
from tests.fakes.tiktok_shop.tokens import Tokens, webhook_headers
from tests.fakes.webhooks import Delivery, Faults, WebhookSender

RETRY_AFTER = (120.0, 1_800.0, 10_800.0, 43_200.0)
"""2 min, 30 min, 3 h and 12 h, each after the attempt before. Source: TikTok Shop, webhook configuration guide."""
ANSWER_WITHIN = 3.0


class TikTokShop:
    """One shop. Its methods may be called from any thread while it is served."""

    app_key, app_secret = "6a1b2c3d4e5f6", "9f8e7d6c5b4a39281706f5e4d3c2b1a0"
    shop_id, cipher = "7495987383262087496", "GCP_made-up_cipher"

    def __init__(self, seed: int = 1, start: datetime | None = None, speed: float = 1.0) -> None:
        """`start` and `speed` are of the shop's own clock; see `Clock`."""
        self.clock = Clock(start, speed)
        self.books = Books(self.clock, seed)
        self.tokens = Tokens(self.app_key, self.app_secret)
        self.conditions = Conditions()
        self.api = Api(self.books, self.tokens, self.conditions, self.cipher, self.shop_id)
        self.webhooks = WebhookSender(
            self.clock,
            lambda url, body: webhook_headers(self.app_key, self.app_secret, body),
            retry_after=RETRY_AFTER,
            answer_within=ANSWER_WITHIN,
            seed=seed,
        )
        self.books.on_change = self._tell
        self.address = ""

    def unsubscribe(self) -> None:
        """Sends no more webhooks."""
        self.api.webhooks.clear()

    @property
    def faults(self) -> Faults:
        """What goes wrong with webhooks."""
        return self.webhooks.faults

    def settle(self, timeout: float = 60.0) -> None:
        """Waits until each webhook has been attempted once."""
        self.webhooks.settle(timeout)

    def pass_time(self, duration: timedelta) -> None:
        """Moves the shop's clock ahead: remorse hours end, requests are granted, webhooks are tried again."""
        self.webhooks.pass_time(duration)

    def subscribe(self, url: str, *event_types: str) -> None:
        """Sends webhooks to a URL, as if the app had subscribed; without types those of orders and what follows."""
        wanted = event_types or ("ORDER_STATUS_CHANGE", "CANCELLATION_STATUS_CHANGE", "RETURN_STATUS_CHANGE")
        self.api.webhooks.update(dict.fromkeys(wanted, url))

    def deauthorize(self) -> None:
        """The merchant ends the app's access."""
        self.tokens.authorized = False
        self._send(6, "SELLER_DEAUTHORIZATION", {"message": f"Authorization of shop_id {self.shop_id} is cancelled."})

    def personal_data(self) -> list[str]:
        """Names, streets, phones, mails of all who bought: nobody else may have them."""
        return self.books.shoppers.personal_data()

    @contextmanager
    def serving(self, port: int = 0) -> Iterator[TikTokShop]:
        """Serves the shop at `address` until the block ends."""
        with serving(Starlette(routes=self.api.routes(), lifespan=self.webhooks.lifespan), port) as address:
            self.address = address
            yield self

    def _tell(self, name: str, record: Order | Cancellation | Return) -> None:
        tell: Mapping[type, Callable[[Any], None]] = {
            Order: self._tell_order,
            Cancellation: self._tell_cancellation,
            Return: self._tell_return,
        }
        tell[type(record)](record)

    def _tell_order(self, order: Order) -> None:
        # The webhook has another word for a cancelled order than the API.
        status = "CANCEL" if order.status == "CANCELLED" else order.status
        on_hold = order.status == "ON_HOLD"
        fields = {"order_id": order.id, "order_status": status, "is_on_hold_order": on_hold}
        self._send(1, "ORDER_STATUS_CHANGE", {**fields, "update_time": order.updated})

    def _tell_cancellation(self, cancellation: Cancellation) -> None:
        fields = {
            "order_id": cancellation.order.id,
            "cancel_id": cancellation.id,
            "cancel_status": cancellation.status,
            "cancellations_role": cancellation.role,
            "create_time": cancellation.created,
        }
        self._send(11, "CANCELLATION_STATUS_CHANGE", fields)

    def _tell_return(self, record: Return) -> None:
        fields = {
            "order_id": record.order.id,
            "return_id": record.id,
            "return_role": "BUYER",
            "return_type": record.type,
            "return_status": record.status,
            "create_time": record.created,
            "update_time": record.updated,
        }
        self._send(12, "RETURN_STATUS_CHANGE", fields)

    def _send(self, number: int, event_type: str, data: dict[str, Any]) -> None:
        url = self.api.webhooks.get(event_type)
        if url is None:
            return
        envelope = {"type": number, "tts_notification_id": self.books.new_id(), "shop_id": self.shop_id}

        def body(attempted: float) -> bytes:
            # The time is that of the attempt, not of the event.
            return json.dumps({**envelope, "timestamp": int(attempted), "data": data}, separators=(",", ":")).encode()

        self.webhooks.send(Delivery(url, body))
