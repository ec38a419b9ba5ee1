"""A TikTok shop and Truestock behave as one: each scenario with real processes over real HTTP.

In every scenario a fifth of the webhooks comes twice, they come in any order, and two connectors share the work. Each
ends with a ledger in which every stock level is the sum of its movements.

`TRUESTOCK_KILLS=50 pytest -m long tests/acceptance/channels/test_tiktok_scenarios.py -k killed` kills a connector 50
times.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.acceptance.channels.connector_processes import CHANNEL, Processes, processes
from tests.acceptance.channels.findings import asks, everything_in, found, nothing_waits, page, reaches
from tests.acceptance.channels.test_a_day_of_orders import (
    a_remorse_hour_keeps_units_from_others_and_orders_from_stores,
)
from tests.acceptance.channels.tiktok_orders import bought, key_of
from tests.connector_site import WAIT_SECONDS, until
from tests.fakes.tiktok_shop.records import Order
from tests.fakes.tiktok_shop.shop import TikTokShop
from truestock.v1 import allocation_service_pb2 as allocation_pb, order_pb2

ON_HOLD, READY = order_pb2.ORDER_STATUS_ON_HOLD, order_pb2.ORDER_STATUS_READY_TO_FULFILL
CANCELLED = order_pb2.ORDER_STATUS_CANCELLED
REQUEST = allocation_pb.CancellationRequest
KILLS = int(os.environ.get("TRUESTOCK_KILLS", "8"))


@contextmanager
def shop_behind(hours: float) -> Iterator[TikTokShop]:
    """A shop whose clock is hours behind, so that they can pass without being in the future of the service."""
    start = datetime.now(UTC) - timedelta(hours=hours)
    with TikTokShop(start=start).serving() as shop:
        shop.faults.duplicates, shop.faults.reorder_seconds = 0.2, 0.5
        yield shop


@pytest.mark.long
async def test_a_remorse_hour_keeps_units_from_others_and_orders_from_stores(database_url: str, tmp_path: Path) -> None:
    with shop_behind(1.1) as shop:
        async with processes(database_url, tmp_path, shop, replicas=2) as running:
            running.subscribe()
            await a_remorse_hour_keeps_units_from_others_and_orders_from_stores(running, shop)
            running.verify_ledger()


@pytest.mark.long
async def test_cancellations_and_requests_end_alike_whatever_comes_first(database_url: str, tmp_path: Path) -> None:
    with shop_behind(26) as shop:
        books = shop.books
        async with processes(database_url, tmp_path, shop, replicas=2) as running:
            running.subscribe()
            shop.faults.reorder_seconds = 60
            before = bought(shop, {"MUG": 2})
            books.cancel(before, "BUYER")
            part = bought(shop, {"MUG": 3, "TRAY": 1})
            books.cancel(part, "SELLER", part.lines[:1])
            unanswered = bought(shop, {"TRAY": 1})
            books.request_cancel(unanswered)
            await asyncio.to_thread(shop.pass_time, timedelta(hours=25))
            ended = [await reaches(running, key_of(order), CANCELLED) for order in (before, unanswered)]
            # From here on a day after a request is in the future of Truestock, too: its deadline does not answer it.
            answered, refused, open_ = (bought(shop, {"TRAY": 1}) for _ in range(3))
            requests = [books.request_cancel(order) for order in (answered, refused, open_)]
            books.answer_cancel(requests[1], approve=False)
            await asyncio.to_thread(shop.pass_time, timedelta(minutes=2))
            await asks(running, key_of(open_), REQUEST.STATE_REQUESTED)
            books.answer_cancel(requests[0], approve=True)
            await asyncio.to_thread(shop.pass_time, timedelta(minutes=2))
            ended.append(await reaches(running, key_of(answered), CANCELLED))
            withdrawn = await asks(running, key_of(refused), REQUEST.STATE_WITHDRAWN)
            partly = await found(
                running, key_of(part), lambda found: sum(line.promised_count for line in found.lines) == 3
            )
            levels = {sku: (await running.retailer.level(sku, "dc")).available_count for sku in ("MUG", "TRAY")}
            running.verify_ledger()

    assert [sum(line.promised_count for line in one.lines) for one in ended] == [0, 0, 0]
    assert withdrawn.status == READY
    assert partly.status == READY
    # TikTok says CANCEL in the webhook and CANCELLED in the order; both are one cancellation.
    assert levels == {"MUG": 100 - 2, "TRAY": 100 - 1 - 1 - 1}


@pytest.mark.long
async def test_after_two_hours_without_webhooks_one_poll_brings_everything_and_the_retries_change_nothing(
    database_url: str, tmp_path: Path
) -> None:
    with shop_behind(19) as shop:
        async with processes(database_url, tmp_path, shop, replicas=2) as running:
            running.subscribe()
            for replica in running.replicas:
                replica.stop()
            orders = [bought(shop, {"MUG": 1}) for _ in range(40)]
            for order in orders[:10]:
                shop.books.cancel(order)
            await asyncio.to_thread(shop.settle)
            calls = shop.conditions.calls["GET /order/202507/orders"]
            for replica in running.replicas:
                replica.start()
            for order in orders:
                await reaches(running, key_of(order), CANCELLED if order in orders[:10] else READY)
            reads = shop.conditions.calls["GET /order/202507/orders"] - calls
            versions = await _versions(running, orders)
            missed = sum(shop.webhooks.results.values())
            await asyncio.to_thread(shop.pass_time, timedelta(hours=16))
            await nothing_waits(running)
            after = await _versions(running, orders)
            available = (await running.retailer.level("MUG", "dc")).available_count
            running.verify_ledger()

    assert missed >= 130
    assert reads <= 6
    assert after == versions
    assert available == 70


@pytest.mark.long
async def test_one_order_that_nobody_can_read_does_not_hold_up_five_hundred(database_url: str, tmp_path: Path) -> None:
    with shop_behind(1.1) as shop:
        units = {"MUG": 600, "TRAY": 10}
        async with processes(database_url, tmp_path, shop, replicas=2, units=units, poll_seconds=60) as running:
            running.subscribe()
            poison = bought(shop, {"TRAY": 1})
            shop.books.set_status(poison, "ON_THE_MOON")
            orders = [bought(shop, {"MUG": 1}) for _ in range(500)]
            await _all_reach(running, orders, READY)
            (parked,) = await until(lambda: _parked(running), "one parked order")
            (failure,) = await until(lambda: running.retailer.open_exceptions(kinds=["sync_failed"]), "an exception")
            shop.api.webhooks.clear()
            shop.books.set_status(poison, "AWAITING_SHIPMENT")
            running.run("inbox", "replay", poison.id)
            await reaches(running, key_of(poison), READY)

            async def nothing_open() -> bool:
                return not await running.retailer.open_exceptions(kinds=["sync_failed"])

            await until(nothing_open, "the end of the exception")
            running.verify_ledger()

    assert parked["entity_id"] == poison.id
    assert "ON_THE_MOON" in parked["failure"]
    assert failure.order_id == poison.id


@pytest.mark.long
async def test_connectors_that_are_killed_at_random_lose_nothing_and_double_nothing(
    database_url: str, tmp_path: Path
) -> None:
    random, units = Random(7), 30 * KILLS
    with shop_behind(1.1) as shop:
        async with processes(database_url, tmp_path, shop, replicas=2, units={"MUG": units, "TRAY": 10}) as running:
            running.subscribe()
            orders: list[Order] = []
            restarts: list[asyncio.Task[None]] = []
            for kill in range(KILLS):
                orders += [bought(shop, {"MUG": random.randint(1, 3)}) for _ in range(10)]
                shop.books.cancel(orders[-1], "BUYER")
                shop.books.cancel(orders[-2], "SELLER", orders[-2].lines[:1])
                await _reading_begins(shop)
                await asyncio.sleep(random.uniform(0, 0.2))
                await asyncio.gather(*restarts[-2:-1])
                replica = running.replicas[kill % 2]
                replica.kill()
                restarts.append(asyncio.create_task(asyncio.to_thread(replica.start)))
            await asyncio.gather(*restarts)
            await _all_reach(running, [order for order in orders if order.open_lines()], READY)
            await _all_reach(running, [order for order in orders if not order.open_lines()], CANCELLED)
            await nothing_waits(running)
            sold = shop.books.sold()["MUG"]

            async def all_freed() -> bool:
                return (await running.retailer.level("MUG", "dc")).available_count == units - sold

            await until(all_freed, f"{sold} promised units")
            timelines = [(await running.retailer.find_order(key_of(order))).timeline for order in orders]
            running.verify_ledger()

    assert all(sum(event.event == "sold" for event in timeline) <= 1 for timeline in timelines)


@pytest.mark.long
async def test_no_shoppers_name_street_phone_or_mail_address_is_in_the_database_a_log_or_a_metric(
    database_url: str, tmp_path: Path
) -> None:
    with shop_behind(1.1) as shop:
        async with processes(database_url, tmp_path, shop, replicas=2) as running:
            running.subscribe()
            orders = [bought(shop, {"MUG": 1}) for _ in range(10)]
            shop.books.cancel(orders[0])
            shop.books.request_cancel(orders[1])
            poison = bought(shop, {"TRAY": 1})
            shop.books.set_status(poison, "ON_THE_MOON")
            for order in orders[1:]:
                await reaches(running, key_of(order), READY)
            await until(lambda: _parked(running), "a parked order")
            dump = await everything_in(database_url)
            metrics = "".join([await page(replica.metrics) for replica in running.replicas])
            running.verify_ledger()
        log = "".join(line for replica in running.replicas for line in replica.log)

    assert orders[1].id in dump
    assert "truestock_channel_deliveries_total" in metrics
    for text in (dump, metrics, log):
        assert [data for data in shop.personal_data() if data in text] == []


async def _all_reach(running: Processes, orders: list[Order], status: order_pb2.OrderStatus.ValueType) -> None:
    """Waits for many orders with few questions, which would slow the service that they are asked of."""
    wanted, request = {order.id for order in orders}, allocation_pb.ListAllocationsRequest
    end = time.monotonic() + WAIT_SECONDS
    while True:
        found: set[str] = set()
        page = request(channel_ids=[CHANNEL], statuses=[status], page_size=500)
        while True:
            response = await running.retailer.allocations.ListAllocations(page)
            found |= {one.order_id for one in response.allocations}
            page.page_token = response.next_page_token
            if not page.page_token:
                break
        if wanted <= found:
            return
        assert time.monotonic() < end, f"{len(wanted - found)} orders did not come"
        await asyncio.sleep(0.5)


async def _versions(running: Processes, orders: list[Order]) -> list[int]:
    return [(await running.retailer.find_order(key_of(order))).allocation.version for order in orders]


async def _reading_begins(shop: TikTokShop) -> None:
    before = shop.conditions.calls["GET /order/202507/orders"]

    async def has_begun() -> bool:
        return shop.conditions.calls["GET /order/202507/orders"] > before

    await until(has_begun, "another read of orders")


async def _parked(running: Processes) -> Any:
    return await asyncio.to_thread(running.json, "inbox", "--state", "parked")
