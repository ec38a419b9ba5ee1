"""What is done every hour and every night: subscriptions that went missing, and orders that nobody heard of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import grpc
import pytest

from service.channels import connectors
from service.channels.connector_metrics import ConnectorMetrics
from service.channels.routine import SUBSCRIPTIONS, SWEEP, Routine
from service.channels.store.schema import SCHEMA
from service.channels.tiktok_shop.adapter import TOPICS
from tests.connector_site import ACCOUNT, Site, until
from truestock.v1 import order_pb2

pytestmark = pytest.mark.long


@asynccontextmanager
async def routine_of(site: Site) -> AsyncIterator[Routine]:
    async with grpc.aio.insecure_channel(site.grpc_address) as channel:
        account = site.setup.accounts.accounts[0]
        async with connectors.opened(account, site.setup, site.store, channel) as running:
            running.is_paused = False
            yield Routine(running, site.store, ConnectorMetrics())


async def make_due(site: Site, kind: str) -> None:
    connection = await asyncpg.connect(site.retailer.database_url)
    await connection.execute(f"UPDATE {SCHEMA}.cursors SET next_poll_time = now() WHERE kind = $1", kind)
    await connection.close()


async def hints(site: Site) -> dict[str, int]:
    rows = await site.store.inbox.listed("", "", ("waiting", "done"), 100)
    return {row["entity_id"]: row["hint_count"] for row in rows}


async def test_a_subscription_that_the_platform_dropped_is_set_up_again_within_the_hour(site: Site) -> None:
    async with routine_of(site) as routine:
        await routine.do_due()
        site.shop.api.webhooks.clear()
        await routine.do_due()
        before_the_hour = dict(site.shop.api.webhooks)
        await make_due(site, SUBSCRIPTIONS)
        await routine.do_due()

    assert before_the_hour == {}
    account = site.setup.accounts.by_name[ACCOUNT]
    assert site.shop.api.webhooks == dict.fromkeys(TOPICS, account.webhook_url)


async def test_a_sweep_reads_open_orders_again_and_lists_what_no_poll_has_found(site: Site) -> None:
    async with site.running():
        seen = site.shop.books.buy({"MUG": 1})
        assert seen

        async def is_ready() -> bool:
            found = await site.order(seen.id)
            return found is not None and found.allocation.status == order_pb2.ORDER_STATUS_READY_TO_FULFILL

        await until(is_ready)
        await site.settled()
    unheard = site.shop.books.buy({"MUG": 1})
    assert unheard
    before = await hints(site)
    async with routine_of(site) as routine:
        await routine.do_due()
        await make_due(site, SWEEP)
        await routine.do_due()
        after = await hints(site)
        await asyncio.gather(routine.do_due(), routine.do_due())
        again = await hints(site)

    assert after[seen.id] == before[seen.id] + 1
    assert unheard.id in after
    assert again == after
