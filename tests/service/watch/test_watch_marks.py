"""Marks of watches: a database that was restored is recognized by the watches that were sent more than it has."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg
import grpc
import pytest
from prometheus_client import CollectorRegistry

from service.database.database import Connection, Database, plain_url
from service.metrics import Metrics
from service.watch import watch_marks
from service.watch.watch_marks import Mark, MarksLost, WatchMarks
from tests.conftest import seeds
from tests.retailer import Retailer
from tests.service.test_faults import refusal
from tests.service.watch.test_watch_availability import (
    AvailabilityClient,
    watch_request as availability_request,
    watching,
)
from tests.service.watch.test_watch_orders import OrderClient, watch_request as order_request, watching_orders

Code = grpc.StatusCode


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(plain_url(database_url), Metrics(CollectorRegistry()), connections=2)
    yield database
    await database.close()


@dataclass(slots=True)
class Copy:
    """Tables as they were: the sales, and the marks."""

    sales: list[int]
    marks: list[asyncpg.Record]


@dataclass(slots=True)
class Watcher:
    """A watch of sales: reads them, writes a mark, and only then sends what it has read."""

    database: Database
    marks: WatchMarks
    sent: list[tuple[frozenset[int], Mark]] = field(default_factory=list)

    async def send(self) -> None:
        sales = frozenset(await self.marks.snapshot(read_sales))
        self.sent.append((sales, await self.marks.after(time.monotonic())))


async def read_sales(connection: Connection) -> list[int]:
    return [row["number"] for row in await connection.fetch("SELECT number FROM sale")]


async def execute(database: Database, statement: str, *arguments: object) -> None:
    async def work(connection: Connection) -> None:
        await connection.execute(statement, *arguments)

    await database.transaction("test", work)


async def is_kept(database: Database, mark: Mark) -> bool:
    return await database.unlocked("test", partial(watch_marks.is_kept, mark=mark))


async def copy_of(connection: Connection) -> Copy:
    return Copy(await read_sales(connection), await connection.fetch("SELECT * FROM watch_mark"))


async def restore(connection: Connection, copy: Copy) -> None:
    await connection.execute("DELETE FROM sale")
    await connection.execute("DELETE FROM watch_mark")
    await connection.executemany("INSERT INTO sale VALUES ($1)", [(number,) for number in copy.sales])
    await connection.executemany("INSERT INTO watch_mark VALUES ($1, $2, $3, $4)", [tuple(row) for row in copy.marks])


@pytest.mark.parametrize("seed", seeds(2, of_long_tests=20))
async def test_a_token_is_accepted_only_where_all_that_was_sent_with_it_is_there(database: Database, seed: int) -> None:
    """Sales, messages, backups and restores in random order; every token is tried after every restore."""
    dice = random.Random(seed)
    await execute(database, "CREATE TABLE sale (number int)")
    watcher = Watcher(database, WatchMarks(database))
    copies: list[Copy] = []
    accepted_count = refused_count = 0

    for number in range(60):
        step = dice.choice(("sell", "sell", "send", "send", "send", "back up", "restore"))
        if step == "sell":
            await execute(database, "INSERT INTO sale VALUES ($1)", number)
        elif step == "send":
            try:
                await watcher.send()
            except MarksLost:
                watcher.marks = WatchMarks(database)
        elif step == "back up":
            copies.append(await database.snapshot("test", copy_of))
        elif copies:
            copy = dice.choice(copies)
            await database.transaction("test", partial(restore, copy=copy))
            for sales, mark in watcher.sent:
                accepted = await is_kept(database, mark)
                accepted_count += accepted
                refused_count += not accepted
                assert not accepted or sales <= set(copy.sales)
                assert accepted == ((mark.id, mark.number) in kept_marks(copy))

    assert accepted_count
    assert refused_count


async def to_the_end(call: Any) -> None:
    while True:
        await call.read()


def kept_marks(copy: Copy) -> set[tuple[object, int]]:
    return {(row["id"], number) for row in copy.marks for number in range(1, row["number"] + 1)}


async def test_a_token_of_a_dump_in_another_cluster_is_refused(database: Database) -> None:
    mark = await WatchMarks(database).after(time.monotonic())
    assert await is_kept(database, mark)

    await execute(database, "UPDATE watch_mark SET system_identifier = 1")

    assert not await is_kept(database, mark)


async def test_a_mark_whose_commit_was_not_acknowledged_is_no_restore(database: Database) -> None:
    marks = WatchMarks(database)
    await marks.after(time.monotonic())
    await execute(database, "UPDATE watch_mark SET number = number + 1")
    marks._attempted += 1

    assert (await marks.after(time.monotonic())).number == 3


async def test_messages_of_one_moment_share_a_mark(database: Database) -> None:
    marks, moment = WatchMarks(database), time.monotonic()

    assert await marks.after(moment) == await marks.after(moment)
    assert (await marks.after(time.monotonic())).number == 2


async def test_marks_of_services_that_are_gone_are_deleted_after_their_retention(database: Database) -> None:
    mark = await WatchMarks(database).after(time.monotonic())

    await database.transaction("test", partial(watch_marks.purge, retention=timedelta(days=1)))
    kept = await is_kept(database, mark)
    await database.transaction("test", partial(watch_marks.purge, retention=timedelta(0)))

    assert kept
    assert not await is_kept(database, mark)


async def test_watches_begin_again_after_a_restore_and_skip_nothing(retailer: Retailer) -> None:
    shop = retailer
    await shop.stock({("MUG", "dc"): 10})
    early, late, orders = AvailabilityClient(), AvailabilityClient(), OrderClient()
    async with watching(shop, into=early), watching_orders(shop, into=orders):
        await early.receives(MUG=10)
        await early.is_ready()
    early_order_token = orders.token
    marks = await shop.sql("SELECT * FROM watch_mark")

    async with watching(shop, into=late), watching_orders(shop, into=orders):
        await shop.allocate("A-1", {"MUG": 1})
        await late.receives(MUG=9)
        await orders.receives("A-1", "sold")
    running = shop.availability.WatchAvailability(availability_request())
    running_orders = shop.allocations.WatchOrders(order_request())
    await running.read()
    await running_orders.read()
    await shop.sql("DELETE FROM watch_mark")
    for row in marks:
        await shop.sql("INSERT INTO watch_mark VALUES ($1, $2, $3, $4)", *row)
    ended = [await refusal(to_the_end(call)) for call in (running, running_orders)]
    late.sellable.clear()
    late.versions.clear()
    async with watching(shop, into=late, token=late.token):
        await late.receives(MUG=9)
    early.received.clear()
    async with watching(shop, into=early, token=early.token):
        await early.receives(MUG=9)
    refused = await refusal(shop.allocations.WatchOrders(order_request(token=orders.token)).read())
    async with watching_orders(shop, token=early_order_token) as resumed:
        await resumed.receives("A-1", "sold")

    assert [(error.code, error.reason) for error in ended] == [(Code.UNAVAILABLE, "NOT_READY")] * 2
    assert (refused.code, refused.reason) == (Code.INVALID_ARGUMENT, "INVALID_FIELD")
    assert early.received == ["MUG"]
    assert (late.starts_over_count, early.starts_over_count) == (1, 0)
