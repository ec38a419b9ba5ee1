"""What goes wrong with one entity, kind or account holds up no other."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import grpc

from service.channels import connectors
from service.channels.adapter import Delivery, Hint
from service.channels.connector_metrics import ConnectorMetrics
from service.channels.store.schema import SCHEMA
from service.channels.upkeep import Upkeep
from tests.connector_site import ACCOUNT, Site, until
from tests.fakes.tiktok_shop.records import Order


async def test_an_order_on_which_the_platform_crashes_holds_up_no_order_that_is_read_with_it(site: Site) -> None:
    orders = [_bought(site) for _ in range(4)]
    site.shop.conditions.crashes_on.add(orders[0].id)
    deliveries = [Delivery(order.id, "type_1", (Hint("order", order.id),)) for order in orders]
    await site.store.inbox.accept(ACCOUNT, deliveries)
    async with site.running(subscribe=False, poll_seconds=3_600):
        for order in orders[1:]:
            await until(lambda order=order: site.order(order.id))  # type: ignore[misc]
        unread = await site.order(orders[0].id)
        site.shop.conditions.crashes_on.clear()
        await until(lambda: site.order(orders[0].id))

    assert unread is None


async def test_returns_that_are_slow_to_read_hold_up_no_order(site: Site) -> None:
    site.shop.conditions.delays["POST /return_refund/202602/returns/search"] = 10.0
    async with site.running(subscribe=False, poll_seconds=3_600):
        await site.store.inbox.accept(ACCOUNT, [Delivery("1", "type_12", (Hint("return", "1"),))])
        # The returns are being read when the order comes.
        await until(lambda: _is_claimed(site))
        order, start = _bought(site), time.monotonic()
        await site.store.inbox.accept(ACCOUNT, [Delivery("2", "type_1", (Hint("order", order.id),))])
        await until(lambda: site.order(order.id))
        seconds = time.monotonic() - start

    assert seconds < 5


async def test_tokens_that_cannot_be_refreshed_hold_up_those_of_no_other_account(site: Site) -> None:
    account = site.setup.accounts.accounts[0]
    other = replace(account, name="first")
    await site.store.pool.rows(
        f"INSERT INTO {SCHEMA}.accounts (account, tokens, token_version) VALUES ($1, $2, 1)",
        other.name,
        b"encrypted with a key that is lost",
    )
    await site.store.pool.rows(f"UPDATE {SCHEMA}.accounts SET refresh_time = now()")
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(site.grpc_address))
        running = {
            each.name: await stack.enter_async_context(connectors.opened(each, site.setup, site.store, channel))
            for each in (other, account)
        }
        upkeep = Upkeep(running, site.store, ConnectorMetrics())
        await upkeep.look()
        await upkeep.refresh_tokens()

    assert site.shop.tokens.refreshes == 1


def _bought(site: Site) -> Order:
    order: Order | None = site.shop.books.buy({"MUG": 1})
    assert order is not None
    return order


async def _is_claimed(site: Site) -> Any:
    return site.shop.conditions.calls["POST /return_refund/202602/returns/search"] > 1
