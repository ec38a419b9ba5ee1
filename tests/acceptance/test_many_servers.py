"""Several services on one database, alone and behind PgBouncer: kills lose no order and double none."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

import pytest

from tests.pooler import Pooler, needs_pgbouncer, pooler
from tests.retailer import Retailer
from tests.server_processes import ServerProcess, server_processes
from tests.steady_shoppers import Shoppers, check_each_order_is_there_once

pytestmark = [pytest.mark.database, pytest.mark.long]

SKUS = [f"SKU-{number}" for number in range(20)]
STOCK = {(sku, location): 5_000 for sku in SKUS for location in ("dc", "store")}
KILLS = 3
ORDERS_BETWEEN = 30
"""Orders that are answered between two kills."""

Step = Callable[[], None]


async def trade(database_url: str, servers: Sequence[ServerProcess], steps: Sequence[Step]) -> Shoppers:
    """Orders and receives units at all servers while the steps happen, and checks what is there then."""
    async with (
        Retailer.connect_to_process(servers[0].address, database_url) as shop,
        Shoppers.connect([server.address for server in servers], 3) as shoppers,
    ):
        await shop.set_up()
        await shop.stock(STOCK)
        stop = asyncio.Event()
        working = asyncio.gather(shoppers.order(stop, SKUS), shoppers.receive(stop, STOCK))
        for step in steps:
            await shoppers.more_orders(ORDERS_BETWEEN)
            await asyncio.to_thread(step)
        await shoppers.more_orders(ORDERS_BETWEEN)
        stop.set()
        await working
        await shoppers.ask_again()
        await check_each_order_is_there_once(shop, shoppers, STOCK)
        return shoppers


def replaced(server: ServerProcess) -> Step:
    """The server is killed and started again."""

    def step() -> None:
        server.kill()
        server.start()

    return step


async def test_three_servers_lose_and_double_nothing_while_they_are_killed(database_url: str) -> None:
    with server_processes(*(ServerProcess(database_url) for _ in range(3))) as servers:
        chosen = random.Random(17).choices(servers, k=KILLS)
        shoppers = await trade(database_url, servers, [replaced(server) for server in chosen])

    assert shoppers.repeats > 0


@needs_pgbouncer
async def test_servers_behind_pgbouncer_lose_and_double_nothing_while_they_and_it_are_killed(
    database_url: str,
) -> None:
    """Two of three are behind it, in transaction mode with fewer sessions than they have connections."""
    with pooler(database_url, pool_size=4) as pool:
        behind = [ServerProcess(pool.url), ServerProcess(pool.url)]
        with server_processes(*behind, ServerProcess(database_url)) as servers:
            assert "through a connection pooler" in servers[0].log.read_text()
            steps = [replaced(servers[0]), _restarted(pool), replaced(servers[1])]
            shoppers = await trade(database_url, servers, steps)

    assert shoppers.repeats > 0


def _restarted(pool: Pooler) -> Step:
    def step() -> None:
        pool.kill()
        pool.start()

    return step
