"""A fake Square merchant that runs: its books, its API and its webhooks."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from starlette.applications import Starlette

from tests.fakes.clock import Clock
from tests.fakes.conditions import Conditions
from tests.fakes.server import serving
from tests.fakes.square.api import Api, event_json
from tests.fakes.square.books import Books
from tests.fakes.square.records import Event, Subscription
from tests.fakes.square.tokens import Tokens, webhook_signature
from tests.fakes.square.words import event_data
from tests.fakes.webhooks import Delivery, Faults, WebhookSender

RETRY_AFTER = (60.0, 120.0, 240.0, 480.0, 960.0, 1_920.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0, 28_620.0)
"""For 24 hours, each later than the one before. Source: developer.squareup.com; the single times are not published."""
ANSWER_WITHIN = 10.0
EVENT_TYPES = (
    "inventory.count.updated",
    "order.created",
    "order.updated",
    "order.fulfillment.updated",
    "refund.created",
    "location.updated",
    "oauth.authorization.revoked",
)


class SquareMerchant:
    """One merchant. Its methods may be called from any thread while it is served."""

    client_id, client_secret = "sq0idp-made-up-application", "sq0csp-made-up-secret-of-the-application"
    signature_key = "made-up-key-of-the-tests-subscription"

    def __init__(self, seed: int = 1, start: datetime | None = None, speed: float = 1.0) -> None:
        """`start` and `speed` are of the merchant's own clock; see `Clock`."""
        self.clock = Clock(start, speed)
        self.books = Books(self.clock, seed)
        self.tokens = Tokens(self.client_id, self.client_secret)
        self.conditions = Conditions()
        self.api = Api(self.books, self.tokens, self.conditions)
        self.webhooks = WebhookSender(
            self.clock, self._sign, retry_after=RETRY_AFTER, answer_within=ANSWER_WITHIN, seed=seed
        )
        self._signed_as: dict[str, Subscription] = {}
        """By where their webhooks arrive."""
        self.books.on_change = self._tell
        self.address = ""

    @property
    def faults(self) -> Faults:
        """What goes wrong with webhooks."""
        return self.webhooks.faults

    def settle(self, timeout: float = 60.0) -> None:
        """Waits until each webhook has been attempted once."""
        self.webhooks.settle(timeout)

    def pass_time(self, duration: timedelta) -> None:
        """Moves the merchant's clock ahead: webhooks are tried again."""
        self.webhooks.pass_time(duration)

    def subscribe(self, url: str, event_types: Sequence[str] = EVENT_TYPES, *, leads_to: str = "") -> Subscription:
        """Sends webhooks to a URL, as if the application had subscribed with `signature_key`.

        `leads_to`: where they arrive, as if a proxy stood at the URL.
        """
        subscription = Subscription(
            f"wbhk_{self.books.new_id().lower()}", "Test", list(event_types), url, self.signature_key, leads_to=leads_to
        )
        self.api.subscriptions[subscription.id] = subscription
        return subscription

    def unsubscribe(self) -> None:
        """Sends no more webhooks."""
        self.api.subscriptions.clear()

    def revoke(self) -> None:
        """The merchant ends the application's access."""
        self.tokens.authorized = False
        revocation = {"revoked_at": "now", "revoker_type": "MERCHANT"}
        self._record("oauth.authorization.revoked", {"type": "revocation", "object": {"revocation": revocation}})

    def personal_data(self) -> list[str]:
        """Names, streets, phones, mails of all who bought: nobody else may have them."""
        return self.books.shoppers.personal_data()

    @contextmanager
    def serving(self, port: int = 0) -> Iterator[SquareMerchant]:
        """Serves the merchant at `address` until the block ends."""
        with serving(Starlette(routes=self.api.routes(), lifespan=self.webhooks.lifespan), port) as address:
            self.address = address
            yield self

    def _tell(self, event_type: str, record: Any) -> None:
        self._record(event_type, event_data(self.books, event_type, record))

    def _record(self, event_type: str, data: dict[str, Any]) -> None:
        number = self.books.random.getrandbits(128)
        event = Event(str(uuid.UUID(int=number, version=4)), event_type, self.clock.seconds(), data)
        self.api.events.append(event)
        body = json.dumps(event_json(event)).encode()
        for subscription in list(self.api.subscriptions.values()):
            if subscription.enabled and event_type in subscription.event_types:
                url = subscription.leads_to or subscription.notification_url
                self._signed_as[url] = subscription
                self.webhooks.send(Delivery(url, lambda attempted: body, {}, subscription.id))

    def _sign(self, url: str, body: bytes) -> dict[str, str]:
        subscription = self._signed_as[url]
        signature = webhook_signature(subscription.signature_key, subscription.notification_url, body)
        return {"x-square-hmacsha256-signature": signature}
