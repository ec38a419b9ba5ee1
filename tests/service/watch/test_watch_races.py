"""Many clients write through two services while others watch both: every stream ends with the true values."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import asyncpg
import grpc
import pytest

from service.database.database import plain_url
from tests.conftest import PLAIN_RULES, RetailerMaker, seeds
from tests.retailer import HOLD, SOLD, Retailer, State, eventually
from tests.service.watch.test_watch_availability import (
    AvailabilityClient,
    add_buffer,
    checked,
    until,
    watching,
    write_movement,
)
from tests.service.watch.test_watch_orders import OrderClient, watching_orders
from truestock.v1 import catalog_service_pb2 as catalog_pb

SKUS = [f"S-{number}" for number in range(12)]
LOCATION_IDS = ("dc", "shop", "store")


async def write(dice: random.Random, shop: Retailer, writer: int) -> None:
    """Orders, counts, cancellations, confirmations and holds that expire, in random order."""
    sold_ids: list[str] = []
    for number in range(12):
        sku = dice.choice(SKUS)
        step = dice.randrange(6)
        if step == 0:
            await shop.count({(sku, dice.choice(LOCATION_IDS)): dice.randrange(9)}, source=f"w-{writer}")
        elif step in (1, 2):
            lines = {line_sku: dice.randint(1, 3) for line_sku in dice.sample(SKUS, 2)}
            sold = await shop.allocate(f"{writer}-{number}", lines, SOLD)
            sold_ids.append(sold.allocation_id)
        elif step == 3:
            await shop.allocate(f"{writer}-{number}", {sku: 2}, HOLD, hold_duration={"seconds": 1})
        elif step == 4:
            held = await shop.allocate(f"{writer}-{number}", {sku: 2}, HOLD)
            if held.state == State.STATE_HELD:
                # A count that another writer records meanwhile may take all units of the hold.
                await tolerated(dice.choice((shop.confirm, shop.release))(held.allocation_id))
        elif sold_ids:
            await tolerated(shop.cancel(sold_ids.pop(), {"1": 1}))


async def tolerated(call: Awaitable[object]) -> None:
    """Ignores a refusal: the state of the order may not allow the call."""
    with suppress(grpc.aio.AioRpcError):
        await call


async def edit(shop: Retailer, rules: Path) -> None:
    """Changes locations and rules while others write."""
    await asyncio.sleep(0.2)
    await shop.locations("shop", status=catalog_pb.Location.STATUS_CLOSED)
    add_buffer(rules, units=1)
    await asyncio.sleep(0.2)
    await shop.locations("store", status=catalog_pb.Location.STATUS_CLOSED)
    await shop.locations("shop")


async def write_slowly(shop: Retailer) -> None:
    """A transaction that starts before others and commits after them."""
    connection = await asyncpg.connect(plain_url(shop.database_url))
    async with connection.transaction():
        await connection.execute("SELECT pg_current_xact_id()")
        await asyncio.sleep(0.4)
        await write_movement(connection, SKUS[0], 1)
    await connection.close()


async def watch_with_resumes(shop: Retailer, client: AvailabilityClient, stop: asyncio.Event) -> None:
    """Watches in many short streams, each resumed from the token of the one before."""
    while not stop.is_set():
        async with watching(shop, into=client, token=client.token):
            await asyncio.sleep(0.15)


@pytest.mark.parametrize("seed", seeds(1, of_long_tests=8))
async def test_the_last_value_sent_is_the_true_one_for_every_product(
    retailers: RetailerMaker, tmp_path: Path, seed: int
) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(PLAIN_RULES, rules)
    # Refreshes take longer than this test, so every value sent was found by a poll.
    first, second = [await retailers.make(rules, watch_refresh_seconds=15) for _ in range(2)]
    await first.stock({(sku, location_id): 5 for sku in SKUS for location_id in LOCATION_IDS})
    dice = random.Random(seed)
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(watching(shop)) for shop in (first, second)]
        clients.append(await stack.enter_async_context(watching(second, *SKUS[:5])))
        order_clients = [await stack.enter_async_context(watching_orders(shop)) for shop in (first, second)]
        await asyncio.gather(*(client.is_ready() for client in clients))
        resuming_client = AvailabilityClient()
        resuming = asyncio.create_task(watch_with_resumes(first, resuming_client, stop))
        writers = [write(random.Random(dice.random()), dice.choice((first, second)), number) for number in range(6)]
        await asyncio.gather(*writers, edit(first, rules), write_slowly(first))
        await no_holds(first)
        stop.set()
        await resuming
        final = await stack.enter_async_context(watching(first, into=resuming_client, token=resuming_client.token))

        await all_true(first, [*clients, final])
        await all_orders_true(first, order_clients)
    assert (await first.ledger()).balanced


async def no_holds(shop: Retailer) -> None:
    """Waits until every short hold has expired."""
    for _ in range(100):
        if not await shop.sql("SELECT FROM allocation WHERE state = 'held'"):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("holds are not swept")


async def all_true(shop: Retailer, clients: list[AvailabilityClient]) -> None:
    """The last values of every client are those of CheckAvailability."""
    truth = await checked(shop, SKUS)
    for client in clients:
        await until(
            lambda client=client: all(
                (client.sellable[sku], client.largest[sku]) == truth[sku] for sku in client.sellable
            ),  # type: ignore[misc]
            lambda client=client: {sku: (client.sellable[sku], truth[sku]) for sku in client.sellable},  # type: ignore[misc]
        )
    assert len(clients[0].sellable) == len(SKUS)


async def all_orders_true(shop: Retailer, clients: list[OrderClient]) -> None:
    """The last state of each order at every client is that of GetAllocation, once sweeps change none any more."""
    ids = [str(row["id"]) for row in await shop.sql("SELECT id FROM allocation")]

    async def are_true() -> bool:
        truth = {key: (await shop.get(key)).allocation for key in ids}
        return all(client.orders == truth for client in clients)

    await eventually(are_true)
