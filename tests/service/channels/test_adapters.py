"""What the core expects of every adapter, asked of each with its fake channel over real HTTP, and of a made-up till."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service.channels.adapter import Adapter, CheckKind, Hint, Page
from service.channels.effects import Reading, TakeOrder, TillMovement
from service.channels.errors import AuthorizationLost, Away
from tests.fakes import corner_till
from tests.fakes.receiver import receiving
from tests.service.channels import conforming_shops
from tests.service.channels.conforming_shops import ConformingShop, KeptTokens
from tests.vendors.presence import NEEDS_NPM

pytestmark = pytest.mark.long
LONG_AGO = timedelta(days=1)
SHOPS = [
    conforming_shops.tiktok_shop,
    pytest.param(conforming_shops.shopify, marks=NEEDS_NPM),
    conforming_shops.square,
    conforming_shops.corner_till,
]


@pytest.fixture(params=SHOPS)
def shop(request: pytest.FixtureRequest) -> Any:
    opened: AbstractContextManager[ConformingShop] = request.param()
    with opened as shop:
        yield shop


@pytest.fixture
async def adapter(shop: ConformingShop) -> AsyncIterator[Adapter]:
    adapter = shop.platform.open(shop.account, KeptTokens(shop.account, shop.platform))
    yield adapter
    await adapter.close()


def units(reading: Reading | Exception) -> int:
    assert isinstance(reading, Reading)
    return sum(
        line.count
        for effect in reading.effects
        if isinstance(effect, (TakeOrder, TillMovement))
        for line in effect.lines
    )


async def test_an_account_is_connected_twice_and_lists_outlets_and_items(
    shop: ConformingShop, adapter: Adapter
) -> None:
    checks = await adapter.connect(shop.code)
    again = await adapter.check()

    assert [check.todo for check in [*checks, *again] if not check.works] == []
    assert len(await adapter.outlets()) == 1
    assert [item.sku for item in await adapter.items()] == ["MUG"]


async def test_a_scope_that_a_tiktok_shop_did_not_grant_is_named_until_it_is() -> None:
    with conforming_shops.tiktok_shop() as shop:
        adapter = shop.platform.open(shop.account, KeptTokens(shop.account, shop.platform))
        scopes = shop.fake.tokens.scopes
        scopes.remove("seller.return_refund.basic")
        missing = [check.what for check in await adapter.connect(shop.code) if not check.works]
        scopes.append("seller.return_refund.basic")
        shop.expire()
        await adapter.outlets()
        missing_later = [check.what for check in await adapter.check() if not check.works]
        scopes.clear()
        shop.expire()
        await adapter.outlets()
        untold = [check for check in await adapter.check() if check.kind is CheckKind.SCOPE]
        await adapter.close()

    assert missing == ["scope seller.return_refund.basic"]
    assert missing_later == []
    assert untold == []


async def test_a_webhook_hints_at_what_is_then_read_and_says_nothing_of_a_person(
    shop: ConformingShop, adapter: Adapter
) -> None:
    await adapter.connect(shop.code)
    with receiving() as receiver:
        shop.subscribe(receiver.url)
        bought = shop.buy()
        await asyncio.to_thread(shop.fake.webhooks.settle)
        webhooks = list(receiver.received)
    deliveries = [adapter.delivery(headers, body) for headers, body in webhooks]
    readings = await adapter.read(shop.kind, [bought])

    assert all(adapter.verify(headers, shop.account.webhook_url, body) for headers, body in webhooks)
    assert {hint.entity_id for each in deliveries for hint in each.hints if hint.kind == shop.kind} == {bought}
    assert units(readings[bought]) == 2
    # An app hears of all its shops; the intake takes what is of this one.
    assert {delivery.shop for delivery in deliveries} <= {"", shop.account.shop}
    said = repr((deliveries, readings))
    assert [data for data in shop.personal_data() if data in said] == []


async def test_a_webhook_that_was_changed_or_has_no_signature_is_not_genuine(
    shop: ConformingShop, adapter: Adapter
) -> None:
    await adapter.connect(shop.code)
    with receiving() as receiver:
        shop.subscribe(receiver.url)
        shop.buy()
        await asyncio.to_thread(shop.fake.webhooks.settle)
        headers, body = receiver.received[0]

    assert not adapter.verify(headers, shop.account.webhook_url, body + b" ")
    assert not adapter.verify({"content-type": "application/json"}, shop.account.webhook_url, body)


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b'{"type": "x", "data": 3}', b"\xff\xfe", b"[" * 5_000])
def test_a_body_without_sense_is_a_delivery_without_hints(shop: ConformingShop, adapter: Adapter, body: bytes) -> None:
    assert adapter.delivery({"x-shopify-topic": "orders/create"}, body).hints == ()


async def test_everything_that_changed_is_listed_whole_however_many_pages_that_takes(
    shop: ConformingShop, adapter: Adapter
) -> None:
    await adapter.connect(shop.code)
    bought = {shop.buy() for _ in range(210)}
    listed = await _listed(shop, adapter, datetime.now(UTC) - LONG_AGO)

    assert {hint.entity_id for hint in listed} == bought
    assert all(hint.kind == shop.kind and hint.update_time is not None for hint in listed)
    assert await _listed(shop, adapter, datetime.now(UTC) + LONG_AGO) == []


async def test_what_the_channel_does_not_know_is_missing_and_the_rest_is_read(
    shop: ConformingShop, adapter: Adapter
) -> None:
    await adapter.connect(shop.code)
    bought = shop.buy()

    assert list(await adapter.read(shop.kind, [bought, "577000000000000009"])) == [bought]


async def test_an_outage_is_nothing_but_a_reason_to_try_again(shop: ConformingShop, adapter: Adapter) -> None:
    await adapter.connect(shop.code)
    bought = shop.buy()
    shop.fake.conditions.outage = True
    with pytest.raises(Away):
        await adapter.read(shop.kind, [bought])
    shop.fake.conditions.outage = False

    assert units((await adapter.read(shop.kind, [bought]))[bought]) == 2


async def test_a_token_that_ended_is_replaced_once_and_the_call_goes_on(shop: ConformingShop, adapter: Adapter) -> None:
    await adapter.connect(shop.code)
    bought, before = shop.buy(), shop.refreshes()
    shop.expire()

    assert units((await adapter.read(shop.kind, [bought]))[bought]) == 2
    assert shop.refreshes() == before + 1


async def test_a_shop_that_withdrew_its_permission_is_no_outage(shop: ConformingShop, adapter: Adapter) -> None:
    await adapter.connect(shop.code)
    bought = shop.buy()
    shop.revoke()

    with pytest.raises(AuthorizationLost):
        await adapter.read(shop.kind, [bought])


async def test_square_is_asked_for_its_locations_once_however_many_pages_its_orders_take() -> None:
    with conforming_shops.square() as shop:
        for number in range(10):
            shop.fake.books.add_location(f"Store {number}")
        adapter = shop.platform.open(shop.account, KeptTokens(shop.account, shop.platform))
        await adapter.connect(shop.code)
        pages = await _pages(shop, adapter, datetime.now(UTC) - LONG_AGO)
        await adapter.close()

    assert len(pages) == 2
    assert shop.fake.conditions.calls["GET /v2/locations"] == 1


def test_the_made_up_till_is_small() -> None:
    assert len(Path(corner_till.__file__).read_text(encoding="utf-8").splitlines()) <= 150


async def _listed(shop: ConformingShop, adapter: Adapter, since: datetime) -> list[Hint]:
    return [hint for page in await _pages(shop, adapter, since) for hint in page.hints]


async def _pages(shop: ConformingShop, adapter: Adapter, since: datetime) -> list[Page]:
    pages = [await adapter.changed(shop.kind, since, "")]
    while pages[-1].next_page:
        pages.append(await adapter.changed(shop.kind, since, pages[-1].next_page))
    return pages
