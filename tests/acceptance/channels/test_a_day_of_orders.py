"""A day of orders of TikTok Shop and Square, with what goes wrong on one: real processes over real HTTP.

Each part is a scenario that `test_tiktok_scenarios` and `test_square_scenarios` play longer, by itself and with two
connectors. They share processes here, because starting these takes most of the time. A fifth of the webhooks comes
twice, and they come in any order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.acceptance.channels.connector_processes import Processes, processes
from tests.acceptance.channels.findings import asks, everything_in, found, has, nothing_waits, page, reaches
from tests.acceptance.channels.tiktok_orders import bought, key_of, placed
from tests.connector_site import accounts_text, environment, map_everything, send_webhooks, until
from tests.fakes.square.merchant import SquareMerchant
from tests.fakes.tiktok_shop.shop import TikTokShop
from truestock.v1 import allocation_service_pb2 as allocation_pb, fulfillment_service_pb2 as fulfillment_pb, order_pb2

ON_HOLD, READY = order_pb2.ORDER_STATUS_ON_HOLD, order_pb2.ORDER_STATUS_READY_TO_FULFILL
CANCELLED = order_pb2.ORDER_STATUS_CANCELLED
REQUEST = allocation_pb.CancellationRequest


async def test_orders_end_as_their_channels_say_whatever_happens_to_them_on_the_way(
    database_url: str, tmp_path: Path
) -> None:
    start = datetime.now(UTC) - timedelta(hours=1.1)
    with TikTokShop(start=start).serving() as tiktok, SquareMerchant(seed=6).serving() as square:
        for shop in (tiktok, square):
            shop.faults.duplicates, shop.faults.reorder_seconds = 0.2, 0.3
        async with both_connected(database_url, tmp_path, tiktok, square) as running:
            await a_remorse_hour_keeps_units_from_others_and_orders_from_stores(running, tiktok)
            await cancellations_end_alike_whatever_comes_first(running, tiktok)
            await what_is_refunded_comes_back_once_and_nowhere_without_goods(running, square)
            await a_token_that_dies_is_refreshed_once(running, square)
            await an_order_that_nobody_can_read_does_not_hold_up_others(running, tiktok)
            await what_happens_while_the_connectors_are_dead_is_read_once(running, tiktok)
            await nobody_learns_who_the_shoppers_are(running, tiktok)
            assert (await running.retailer.ledger()).balanced


@asynccontextmanager
async def both_connected(
    database_url: str, folder: Path, tiktok: TikTokShop, square: SquareMerchant
) -> AsyncIterator[Processes]:
    """TikTok Shop sells mugs and trays of the warehouse `dc`; Square cups in `austin` and `boston`."""
    account = accounts_text(square).partition("accounts:\n")[2]
    more = {"more_accounts": account, "more_secrets": environment(square)}
    async with processes(database_url, folder, tiktok, **more) as running:  # type: ignore[arg-type]
        await map_everything(running.retailer, square, {"CUP": 10})
        running.run("connect", "square-us", "--code", square.tokens.code)
        running.subscribe()
        send_webhooks(square, f"http://{running.replicas[0].address}/webhooks/square-us")
        yield running


async def a_remorse_hour_keeps_units_from_others_and_orders_from_stores(running: Processes, shop: TikTokShop) -> None:
    order, regretted = placed(shop, {"MUG": 2}), placed(shop, {"MUG": 1})
    for one in (order, regretted):
        shop.books.pay(one)
    on_hold = [await reaches(running, key_of(one), ON_HOLD) for one in (order, regretted)]
    work_list = await running.retailer.fulfillment.ListShipments(fulfillment_pb.ListShipmentsRequest())
    shop.books.cancel(regretted)
    await reaches(running, key_of(regretted), CANCELLED)
    await asyncio.to_thread(shop.pass_time, timedelta(hours=1))
    ready = await reaches(running, key_of(order), READY)
    level = await running.retailer.level("MUG", "dc")

    assert [sum(line.promised_count for line in one.lines) for one in on_hold] == [2, 1]
    assert list(work_list.shipments) == []
    assert not ready.HasField("hold")
    assert (level.on_hand_count, level.available_count) == (100, 98)


async def cancellations_end_alike_whatever_comes_first(running: Processes, shop: TikTokShop) -> None:
    books = shop.books
    early, part, asked, refused = (bought(shop, {"TRAY": 2}) for _ in range(4))
    books.cancel(early, "BUYER")
    books.cancel(part, "SELLER", part.lines[:1])
    books.answer_cancel(books.request_cancel(refused), approve=False)
    request = books.request_cancel(asked)
    await asks(running, key_of(asked), REQUEST.STATE_REQUESTED)
    books.answer_cancel(request, approve=True)
    for order in (early, asked):
        await reaches(running, key_of(order), CANCELLED)
    await asks(running, key_of(refused), REQUEST.STATE_WITHDRAWN)
    await found(running, key_of(part), lambda allocation: allocation.lines[0].promised_count == 1)

    assert (await running.retailer.level("TRAY", "dc")).available_count == 100 - 1 - 2


async def what_is_refunded_comes_back_once_and_nowhere_without_goods(
    running: Processes, merchant: SquareMerchant
) -> None:
    books = merchant.books
    austin, boston = books.locations.values()
    sale = books.sell_at_till({"CUP": 3}, austin)
    await has(running, "CUP", "austin", 10 - 3)
    books.give_back(sale, {"CUP": 1}, boston)
    await has(running, "CUP", "boston", 11)
    books.give_back(sale, {"CUP": 1}, austin, restock=False)
    # It is read after the refund that brought nothing back.
    books.sell_at_till({"CUP": 1}, boston)
    await has(running, "CUP", "boston", 10)

    assert (await running.retailer.level("CUP", "austin")).on_hand_count == 10 - 3


async def a_token_that_dies_is_refreshed_once(running: Processes, merchant: SquareMerchant) -> None:
    austin = next(iter(merchant.books.locations.values()))
    for number in range(6):
        merchant.books.sell_at_till({"CUP": 1}, austin)
        if number == 2:
            merchant.tokens.expire_access()
    await has(running, "CUP", "austin", 7 - 6)

    assert merchant.tokens.refreshes == 1


async def an_order_that_nobody_can_read_does_not_hold_up_others(running: Processes, shop: TikTokShop) -> None:
    unreadable = bought(shop, {"MUG": 1})
    shop.books.set_status(unreadable, "ON_THE_MOON")
    for order in [bought(shop, {"MUG": 1}) for _ in range(20)]:
        await reaches(running, key_of(order), READY)
    [failure] = await until(lambda: _failures(running), "an exception")
    shop.books.set_status(unreadable, "AWAITING_SHIPMENT")
    running.run("inbox", "replay", unreadable.id)
    await reaches(running, key_of(unreadable), READY)

    async def nothing_fails() -> bool:
        return not await _failures(running)

    await until(nothing_fails, "the end of the exception")
    assert failure.order_id == unreadable.id
    assert "ON_THE_MOON" in failure.description


async def what_happens_while_the_connectors_are_dead_is_read_once(running: Processes, shop: TikTokShop) -> None:
    [connectors] = running.replicas
    connectors.kill()
    orders = [bought(shop, {"MUG": 1}) for _ in range(8)]
    for order in orders[:3]:
        shop.books.cancel(order)
    await asyncio.to_thread(shop.settle)
    missed = sum(shop.webhooks.results.values())
    connectors.start()
    for order in orders:
        await reaches(running, key_of(order), CANCELLED if order in orders[:3] else READY)
    versions = [(await found(running, key_of(order), bool)).version for order in orders]
    # TikTok Shop tries those webhooks again for half a day, which the new connectors' first poll has already made up.
    await asyncio.to_thread(shop.pass_time, timedelta(hours=16))
    await asyncio.to_thread(shop.settle)
    await nothing_waits(running)
    level = await running.retailer.level("MUG", "dc")

    assert missed
    assert [(await found(running, key_of(order), bool)).version for order in orders] == versions
    assert level.available_count == 98 - 21 - 5


async def nobody_learns_who_the_shoppers_are(running: Processes, shop: TikTokShop) -> None:
    [connectors] = running.replicas
    dump, metrics = await everything_in(running.database_url), await page(connectors.metrics)
    connectors.stop()

    assert "truestock_channel_deliveries_total" in metrics
    for text in (dump, metrics, "".join(connectors.log)):
        assert [data for data in shop.personal_data() if data in text] == []


async def _failures(running: Processes) -> list[Any]:
    return await running.retailer.open_exceptions(kinds=["sync_failed"])
