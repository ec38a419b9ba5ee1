"""An order that waits for stock has locked no row of its own: what others store about it meanwhile is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from service.database.database import plain_url
from service.orders import order_store
from tests.conftest import RetailerMaker
from tests.retailer import SOLD, Retailer, eventually, order_request, promised, request_id
from truestock.v1 import allocation_service_pb2 as allocation_pb, order_pb2

CANCELLED = allocation_pb.Allocation.STATE_CANCELLED
INSERT = """
INSERT INTO allocation (id, channel_id, order_id, state, outcome, commitment, method, priority, tags)
VALUES ($1, $2, $3, 'refused', 'unfillable', 'hold', 'ship', 0, '{}')
"""


@pytest.fixture
async def shops(retailers: RetailerMaker) -> tuple[Retailer, Retailer]:
    """Two services on one database."""
    first, second = [await retailers.make() for _ in range(2)]
    await first.stock({("MUG", "dc"): 9, ("CUP", "dc"): 9})
    return first, second


@asynccontextmanager
async def waiting_for_stock(shop: Retailer, call: Awaitable[Any]) -> AsyncIterator[asyncio.Future[Any]]:
    """A call that waits for the stock of mugs while the block lasts."""
    connection = await asyncpg.connect(plain_url(shop.database_url))
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM stock_level WHERE sku = 'MUG' FOR UPDATE")
            waiting = asyncio.ensure_future(call)
            await eventually(lambda: _is_blocked(shop, connection.get_server_pid()))
            yield waiting
    finally:
        await connection.close()


async def _is_blocked(shop: Retailer, by: int) -> bool:
    rows = await shop.sql("SELECT FROM pg_stat_activity WHERE $1 = any(pg_blocking_pids(pid))", by)
    return bool(rows)


async def order_ids(shop: Retailer) -> list[str]:
    return [row["order_id"] for row in await shop.sql("SELECT order_id FROM allocation ORDER BY order_id")]


async def test_an_order_that_is_cancelled_while_it_waits_promises_nothing(shops: tuple[Retailer, Retailer]) -> None:
    first, second = shops
    async with waiting_for_stock(first, first.allocate("A-1", {"MUG": 2})) as waiting:
        await second.cancel_order("web/A-1")

    answer = await waiting

    assert (answer.state, promised(answer)) == (CANCELLED, {})
    assert (await first.level("MUG", "dc")).allocated_count == 0
    assert (await first.get(answer.allocation_id)).allocation.state == CANCELLED


async def test_units_of_an_order_that_are_cancelled_while_it_waits_are_not_promised(
    shops: tuple[Retailer, Retailer],
) -> None:
    first, second = shops
    async with waiting_for_stock(first, first.allocate("A-1", {"MUG": 3})) as waiting:
        await second.cancel_order("web/A-1", {"1": 1}, event_id="early")

    assert promised(await waiting) == {"dc": 2}
    assert (await first.level("MUG", "dc")).allocated_count == 2


async def test_an_order_that_another_service_stores_while_it_waits_is_one_order(
    shops: tuple[Retailer, Retailer],
) -> None:
    first, second = shops
    async with waiting_for_stock(first, first.allocate("A-1", {"MUG": 2}, request_id=request_id())) as waiting:
        stored = await second.allocate("A-1", {"CUP": 1})

    answer = await waiting

    assert answer.allocation_id == stored.allocation_id
    assert [line.sku for line in answer.lines] == ["MUG"]
    assert (await first.level("CUP", "dc")).allocated_count == 0
    assert (await first.level("MUG", "dc")).allocated_count == 2
    assert (await first.ledger()).balanced


async def test_forty_orders_of_which_another_service_stores_one_are_stored_once(
    shops: tuple[Retailer, Retailer],
) -> None:
    first, second = shops
    await first.stock({("MUG", "dc"): 50})
    requests = [order_request(f"A-{n}", {"MUG": 1}, tags=["gift, wrapped", "\u00fcber"]) for n in range(40)]

    # So many orders are copied into the tables, and COPY fails where a row exists.
    async with waiting_for_stock(first, first.allocate_together(requests)) as waiting:
        stored = await second.allocate("A-7", {"CUP": 1})

    answers = await waiting

    assert len(await order_ids(first)) == len({answer.allocation_id for answer in answers}) == 40
    assert answers[7].allocation_id == stored.allocation_id
    assert [promised(answer) for answer in answers] == [{"dc": 1}] * 40
    assert (await first.level("MUG", "dc")).allocated_count == 40
    assert (await first.ledger()).balanced


async def test_an_order_that_becomes_a_copy_while_it_waits_is_one_order(shops: tuple[Retailer, Retailer]) -> None:
    first, second = shops
    original = order_pb2.OrderReference(channel_id="web", order_id="A-1")
    async with waiting_for_stock(first, first.allocate("COPY-1", {"MUG": 2})) as waiting:
        linked = await second.allocate("COPY-1", {"CUP": 1}, SOLD, copy_of=original)

    answer = await waiting

    assert (answer.allocation_id, answer.order_id) == (linked.allocation_id, "A-1")
    assert await order_ids(first) == ["A-1"]
    assert (await first.ledger()).balanced


async def test_who_locks_an_order_by_its_key_lets_an_insert_of_the_same_order_fail_at_once(
    shops: tuple[Retailer, Retailer],
) -> None:
    """The insert holds the stock that the other transaction needs next: if it waited, the two would deadlock."""
    shop, _ = shops
    stored = await shop.allocate("A-1", {"MUG": 1})
    locking, inserting = [await asyncpg.connect(plain_url(shop.database_url)) for _ in range(2)]
    try:
        async with locking.transaction():
            ids = await order_store.lock_or_create(locking, [(uuid4(), "web", "A-1"), (uuid4(), "web", "A-2")])
            async with asyncio.timeout(5):
                with pytest.raises(asyncpg.UniqueViolationError):
                    await inserting.execute(INSERT, uuid4(), "web", "A-1")
    finally:
        await locking.close()
        await inserting.close()

    assert str(ids["web", "A-1"]) == stored.allocation_id
