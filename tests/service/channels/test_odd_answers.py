"""Answers of platforms that are no outage by their status, and lists that have no end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import grpc
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.channels import connectors
from service.channels.accounts import Account, SecretSource
from service.channels.adapter import Adapter
from service.channels.errors import Away, Unreadable
from service.channels.platforms import installed_platforms
from service.channels.polling import Polling
from tests.connector_site import PUBLIC_URL, Site
from tests.fakes.server import serving
from tests.service.channels.conforming_shops import KeptTokens

MORE = {"hasNextPage": True, "endCursor": "again"}
PART = {"nodes": [], "pageInfo": MORE}
ENDLESS: dict[str, Any] = {
    "shopify": {"data": {"productVariants": PART, "order": {"lineItems": PART}}},
    "square": {"objects": [], "cursor": "again"},
    "tiktok_shop": {
        "code": 0,
        "data": {"products": [], "orders": [{"id": "9", "update_time": 1_790_000_000}], "next_page_token": "again"},
    },
}
PLATFORMS = list(ENDLESS)


class Answers:
    """An API that gives the same answer to everything."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, b"", dict[str, str]()
        self.calls = 0

    async def answer(self, request: Request) -> Response:
        self.calls += 1
        return Response(self.body, self.status, self.headers, "application/json")


@contextmanager
def answering(answers: Answers) -> Iterator[str]:
    routes = [Route("/{path:path}", answers.answer, methods=["GET", "POST"])]
    with serving(Starlette(routes=routes)) as address:
        yield address


def adapter_of(platform: str, address: str) -> Adapter:
    found = installed_platforms()[platform]
    secrets = {name: SecretSource("env", "PATH") for name in found.secret_names}
    account = Account("shop", platform, platform, "1", PUBLIC_URL, secrets, api_url=address)
    return found.open(account, KeptTokens(account, found, {"access_token": "token"}))


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_a_list_that_names_a_page_again_is_given_up(platform: str) -> None:
    answers = Answers()
    answers.body = json.dumps(ENDLESS[platform]).encode()
    with answering(answers) as address:
        adapter = adapter_of(platform, address)
        with pytest.raises(Unreadable, match="has no end"):
            await adapter.items()
        await adapter.close()

    assert answers.calls == 2


async def test_an_order_of_shopify_whose_lines_have_no_end_is_unreadable_by_itself() -> None:
    answers = Answers()
    answers.body = json.dumps(ENDLESS["shopify"]).encode()
    with answering(answers) as address:
        adapter = adapter_of("shopify", address)
        async with asyncio.timeout(20):
            readings = await adapter.read("order", ["9"])
        await adapter.close()

    assert isinstance(readings["9"], Unreadable)


async def test_a_poll_whose_pages_come_again_keeps_what_it_found_and_ends(site: Site) -> None:
    answers = Answers()
    answers.body = json.dumps(ENDLESS["tiktok_shop"]).encode()
    with answering(answers) as address:
        await _poll(site, address)
    waiting = await site.store.inbox.listed("", "", ["waiting"], 10)
    polled = {row["kind"]: row["poll_time"] for row in await site.store.cursors.listed()}

    assert [row["entity_id"] for row in waiting] == ["9"]
    assert polled["order"] is None


async def test_a_change_whose_time_has_not_come_hides_no_later_one_from_polls(site: Site) -> None:
    answers, in_2100 = Answers(), 4_102_444_800
    answers.body = json.dumps({"code": 0, "data": {"orders": [{"id": "9", "update_time": in_2100}]}}).encode()
    with answering(answers) as address:
        await _poll(site, address)
    positions = {row["kind"]: row["position"] for row in await site.store.cursors.listed()}

    assert positions["order"] <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("INTERNAL_SERVER_ERROR", "Sorry"),
        (None, "Internal error. Looks like it went wrong"),
        ("TIMEOUT", "Slow"),
    ],
)
async def test_an_outage_that_shopify_tells_inside_a_good_answer_is_an_outage(code: str | None, message: str) -> None:
    answers = Answers()
    error = {"message": message, **({"extensions": {"code": code}} if code else {})}
    answers.body = json.dumps({"errors": [error]}).encode()
    with answering(answers) as address:
        adapter = adapter_of("shopify", address)
        with pytest.raises(Away):
            await adapter.read("order", ["9"])
        await adapter.close()


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    ("stated", "least", "most"),
    [("7", 7, 7), ("2.5", 2.5, 2.5), (None, 100, 121), ("\xb2", 0, 0), ("soon", 0, 0), ("-1", 0, 0)],
)
async def test_a_platform_is_left_alone_as_long_as_it_asks(
    platform: str, stated: str | None, least: float, most: float
) -> None:
    answers = Answers()
    in_two_minutes = format_datetime(datetime.now(UTC) + timedelta(minutes=2), usegmt=True)
    answers.status, answers.headers = 429, {"retry-after": stated or in_two_minutes}
    with answering(answers) as address:
        adapter = adapter_of(platform, address)
        with pytest.raises(Away) as raised:
            await adapter.items()
        await adapter.close()

    assert least <= raised.value.retry_after_seconds <= most


async def _poll(site: Site, address: str) -> None:
    """Polls an API at an address once, for the account of the site."""
    account = replace(site.setup.accounts.accounts[0], api_url=address)
    async with (
        grpc.aio.insecure_channel(site.grpc_address) as channel,
        connectors.opened(account, site.setup, site.store, channel) as running,
    ):
        running.is_paused = False
        store, interval = site.store, timedelta(minutes=2)
        await Polling(running, store.inbox, store.cursors, store.states, interval=interval).poll_due()
