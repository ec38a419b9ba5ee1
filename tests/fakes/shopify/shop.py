"""A fake Shopify shop that runs: its books, its API and its webhooks."""

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
from tests.fakes.shopify.api import Api
from tests.fakes.shopify.bodies import TOPICS, body_of
from tests.fakes.shopify.books import Books
from tests.fakes.shopify.nodes import moment
from tests.fakes.shopify.operations import Operations
from tests.fakes.shopify.records import Subscription
from tests.fakes.shopify.tokens import Tokens, webhook_signature
from tests.fakes.webhooks import Delivery, Faults, WebhookSender

RETRY_AFTER = (60.0, 120.0, 240.0, 480.0, 960.0, 1_920.0, 3_840.0, 6_780.0)
"""8 times in 4 hours, each later than the one before. Source: shopify.dev; the single times are not published."""
ANSWER_WITHIN = 5.0


class ShopifyShop:
    """One shop. Its methods may be called from any thread while it is served. Needs what `make vendors` installs."""

    client_id, client_secret = "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "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"
    domain = "made-up-shop.myshopify.com"
    scopes = (
        "read_orders", "read_inventory", "read_locations", "read_products", "read_returns",
        "read_merchant_managed_fulfillment_orders", "write_inventory",
    )  # fmt: skip

    def __init__(
        self, seed: int = 1, start: datetime | None = None, speed: float = 1.0, version: str = "2026-04"
    ) -> None:
        """`start` and `speed` are of the shop's own clock; see `Clock`."""
        self.clock = Clock(start, speed)
        self.books = Books(self.clock, seed)
        self.version = version
        self.tokens = Tokens(self.client_id, self.client_secret, list(self.scopes))
        self.conditions = Conditions()
        self.operations = Operations(self.books, self.conditions, self.domain, list(self.scopes))
        self.api = Api(self.books, self.tokens, self.conditions, self.operations, version)
        self.webhooks = WebhookSender(
            self.clock, self._sign, retry_after=RETRY_AFTER, answer_within=ANSWER_WITHIN, seed=seed
        )
        self.webhooks.on_given_up = self._drop_subscription
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
        """Moves the shop's clock ahead: webhooks are tried again."""
        self.webhooks.pass_time(duration)

    def subscribe(self, url: str, topics: Sequence[str] = tuple(TOPICS), include_fields: Sequence[str] = ()) -> None:
        """Sends webhooks to a URL, as if the app had subscribed; without fields whole bodies."""
        for topic in topics:
            subscription = Subscription(self.books.new_id(), topic, url, list(include_fields), self.clock.seconds())
            self.operations.subscriptions[subscription.id] = subscription

    def uninstall(self) -> None:
        """The merchant removes the app."""
        self.tokens.authorized = False
        self._tell("APP_UNINSTALLED", None)

    def personal_data(self) -> list[str]:
        """Names, streets, phones, mails of all who bought: nobody else may have them."""
        return self.books.shoppers.personal_data()

    @contextmanager
    def serving(self, port: int = 0) -> Iterator[ShopifyShop]:
        """Serves the shop at `address` until the block ends."""
        with serving(Starlette(routes=self.api.routes(), lifespan=self.webhooks.lifespan), port) as address:
            self.address = address
            yield self

    def _tell(self, topic: str, record: Any) -> None:
        # All that happens in one second has one event id, as all deliveries of one action of a merchant do.
        event = uuid.uuid5(uuid.NAMESPACE_URL, f"{self.domain}/{int(self.clock.seconds())}")
        for subscription in list(self.operations.subscriptions.values()):
            if subscription.topic == topic:
                self._send(subscription, topic, body_of(topic, record), str(event))

    def _send(self, subscription: Subscription, topic: str, fields: dict[str, Any], event: str) -> None:
        if subscription.include_fields:
            fields = {name: value for name, value in fields.items() if name in subscription.include_fields}
        body = json.dumps(fields, ensure_ascii=False).encode()
        headers = {
            "x-shopify-topic": TOPICS[topic],
            "x-shopify-shop-domain": self.domain,
            "x-shopify-api-version": self.version,
            "x-shopify-webhook-id": str(uuid.UUID(int=self.books.random.getrandbits(128), version=4)),
            "x-shopify-event-id": event,
            "x-shopify-triggered-at": moment(self.clock.seconds()),
        }
        self.webhooks.send(Delivery(subscription.uri, lambda attempted: body, headers, str(subscription.id)))

    def _sign(self, url: str, body: bytes) -> dict[str, str]:
        return {"x-shopify-hmac-sha256": webhook_signature(self.client_secret, body)}

    def _drop_subscription(self, delivery: Delivery) -> None:
        self.operations.subscriptions.pop(int(delivery.subscription), None)
