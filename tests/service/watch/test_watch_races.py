"""Many write through two services while others watch both: whoever watches ends up knowing what is true."""

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
from tests.conftest import PLAIN_RULES, RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, State
from tests.service.watch.test_watch_availability import Ear, checked, keep, moved_by_hand, until, watching
from tests.service.watch.test_watch_orders import OrderEar, watching_orders
from truestock.v1 import catalog_service_pb2 as catalog_pb

SKUS = [f"S-{number}" for number in range(12)]
PLACES = ("dc", "shop", "store")


async def write(dice: random.Random, shop: Retailer, writer: int) -> None:
    """Orders, counts, cancellations, confirmations and holds that nobody confirms, in any order."""
    live: list[str] = []
    for number in range(12):
        sku = dice.choice(SKUS)
        step = dice.randrange(6)
        if step == 0:
            await shop.count({(sku, dice.choice(PLACES)): dice.randrange(9)}, source=f"w-{writer}")
        elif step in (1, 2):
            lines = {one: dice.randint(1, 3) for one in dice.sample(SKUS, 2)}
            made = await shop.allocate(f"{writer}-{number}", lines, SOLD)
            live.append(made.allocation_id)
        elif step == 3:
            await shop.allocate(f"{writer}-{number}", {sku: 2}, HOLD, hold_duration={"seconds": 1})
        elif step == 4:
            made = await shop.allocate(f"{writer}-{number}", {sku: 2}, HOLD)
            if made.state == State.STATE_HELD:
                # A count that another writer records meanwhile may take all units of the hold.
                await tolerated(dice.choice((shop.confirm, shop.release))(made.allocation_id))
        elif live:
            await tolerated(shop.cancel(live.pop(), {"1": 1}))


async def tolerated(call: Awaitable[object]) -> None:
    """What the state of an order does not allow is refused, which is fine here."""
    with suppress(grpc.aio.AioRpcError):
        await call


async def edit(shop: Retailer, rules: Path) -> None:
    """Locations and rules change while all that goes on."""
    await asyncio.sleep(0.2)
    await shop.locations("shop", status=catalog_pb.Location.STATUS_CLOSED)
    keep(rules, units=1)
    await asyncio.sleep(0.2)
    await shop.locations("store", status=catalog_pb.Location.STATUS_CLOSED)
    await shop.locations("shop")


async def write_slowly(shop: Retailer) -> None:
    """By hand: a transaction that began before others and is committed after them."""
    connection = await asyncpg.connect(plain_url(shop.database_url))
    async with connection.transaction():
        await connection.execute("SELECT pg_current_xact_id()")
        await asyncio.sleep(0.4)
        await moved_by_hand(connection, SKUS[0], 1)
    await connection.close()


async def cut_and_go_on(shop: Retailer, ear: Ear, over: asyncio.Event) -> None:
    """Watches in many short watches, each of which goes on from the token of the one before."""
    while not over.is_set():
        async with watching(shop, into=ear, token=ear.token):
            await asyncio.sleep(0.15)


@pytest.mark.parametrize("seed", range(3))
async def test_the_last_value_told_is_the_true_one_for_every_product(
    retailers: RetailerMaker, tmp_path: Path, seed: int
) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(PLAIN_RULES, rules)
    # Rounds take longer than this test, so that what is told was noticed.
    one, two = [await retailers.make(rules, watch_refresh_seconds=15) for _ in range(2)]
    await one.stock({(sku, place): 5 for sku in SKUS for place in PLACES})
    dice = random.Random(seed)
    over = asyncio.Event()
    async with AsyncExitStack() as stack:
        ears = [await stack.enter_async_context(watching(shop)) for shop in (one, two)]
        ears.append(await stack.enter_async_context(watching(two, *SKUS[:5])))
        order_ears = [await stack.enter_async_context(watching_orders(shop)) for shop in (one, two)]
        await asyncio.gather(*(ear.catches_up() for ear in ears))
        broken = Ear()
        cutting = asyncio.create_task(cut_and_go_on(one, broken, over))
        writers = [write(random.Random(dice.random()), dice.choice((one, two)), number) for number in range(6)]
        await asyncio.gather(*writers, edit(one, rules), write_slowly(one))
        await settled(one)
        over.set()
        await cutting
        final = await stack.enter_async_context(watching(one, into=broken, token=broken.token))

        await all_true(one, [*ears, final])
        await all_known(one, order_ears)
    assert (await one.ledger()).balanced


async def settled(shop: Retailer) -> None:
    """Waits until the clock has ended every short hold."""
    for _ in range(100):
        if not await shop.sql("SELECT FROM allocation WHERE state = 'held'"):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("holds are not swept")


async def all_true(shop: Retailer, ears: list[Ear]) -> None:
    """Every ear has last heard what CheckAvailability says, and never of a version that fell."""
    truth = await checked(shop, SKUS)
    for ear in ears:
        await until(
            lambda ear=ear: all((ear.sellable[sku], ear.largest[sku]) == truth[sku] for sku in ear.sellable),  # type: ignore[misc]
            lambda ear=ear: {sku: (ear.sellable[sku], truth[sku]) for sku in ear.sellable},  # type: ignore[misc]
        )
    assert len(ears[0].sellable) == len(SKUS)


async def all_known(shop: Retailer, ears: list[OrderEar]) -> None:
    """Every ear has last heard of each order what GetAllocation says."""
    ids = [str(row["id"]) for row in await shop.sql("SELECT id FROM allocation")]
    truth = {key: (await shop.get(key)).allocation for key in ids}
    for ear in ears:
        await until(lambda ear=ear: ear.orders == truth, seconds=5)  # type: ignore[misc]
