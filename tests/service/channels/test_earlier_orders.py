"""What had left before the connectors knew its shop is not promised again, and what comes back of it is told."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from service.channels.store.inbox import STATES
from tests.connector_site import Site, until
from tests.fakes.tiktok_shop.records import Order

COMPLETE = "RETURN_OR_REFUND_REQUEST_COMPLETE"


async def test_what_had_left_before_is_not_promised_and_what_waits_is(site: Site) -> None:
    in_transit, delivered, completed, waiting = (_bought(site) for _ in range(4))
    books = site.shop.books
    for order in (in_transit, delivered, completed):
        books.ship(order)
    for order in (delivered, completed):
        books.deliver(order)
    books.complete(completed)
    async with site.running():
        await until(lambda: site.order(waiting.id))
        await site.settled()

    assert [await site.order(order.id) for order in (in_transit, delivered, completed)] == [None] * 3
    assert (await site.retailer.level("MUG", "dc")).available_count == 9
    assert await site.retailer.open_exceptions() == []


async def test_a_part_that_had_left_before_is_told_to_a_person_who_ends_it(site: Site) -> None:
    order = _bought(site, units=2)
    site.shop.books.set_status(order, "PARTIALLY_SHIPPING")
    async with site.running():
        (raised,) = await until(site.retailer.open_exceptions)
        await site.store.inbox.end("", order.id)
        await until(lambda: _no_exception(site))

    assert f"a part of order {order.id} had left before it was read here; send the rest by hand" in raised.description
    assert await site.order(order.id) is None


async def test_an_order_that_left_unheard_after_the_shop_was_known_takes_stock_as_ever(site: Site) -> None:
    async with site.running():
        await until(lambda: _is_read(site))
        start = (await site.store.states.listed())[0]["start_time"]
    await asyncio.to_thread(site.shop.pass_time, timedelta(minutes=65))
    order = _bought(site)
    site.shop.books.ship(order)
    async with site.running():
        await until(lambda: site.order(order.id))

    assert (await site.store.states.listed())[0]["start_time"] == start
    assert (await site.retailer.level("MUG", "dc")).available_count == 9


async def test_goods_of_an_earlier_order_are_told_of_and_money_and_tiktoks_own_orders_are_not(site: Site) -> None:
    books = site.shop.books
    goods, money = _bought(site), _bought(site)
    own = books.place_order({"MUG": 1}, fulfilled_by_tiktok=True)
    assert own
    books.pay(own)
    books.end_remorse(own)
    for order in (goods, money, own):
        books.ship(order)
    # The first is in the counts already.
    books.set_return(books.request_return(goods), COMPLETE)
    async with site.running():
        await until(lambda: _is_read(site))
        await asyncio.to_thread(site.shop.pass_time, timedelta(minutes=65))
        for order, kind in ((goods, "RETURN_AND_REFUND"), (money, "REFUND"), (own, "RETURN_AND_REFUND")):
            books.set_return(books.request_return(order, kind=kind), COMPLETE)
        (raised,) = await until(site.retailer.open_exceptions)
        await site.settled()
    failed = [row for row in await site.store.inbox.listed("", "", STATES, 20) if row["state"] != "done"]

    assert f"units of order {goods.id}, which had left before it was read here, came back" in raised.description
    assert [(row["kind"], row["state"]) for row in failed] == [("return", "parked")]


def _bought(site: Site, units: int = 1) -> Order:
    order: Order | None = site.shop.books.buy({"MUG": units})
    assert order is not None
    return order


async def _no_exception(site: Site) -> bool:
    return await site.retailer.open_exceptions() == []


async def _is_read(site: Site) -> Any:
    states = await site.store.states.listed()
    polled = {row["kind"] for row in await site.store.cursors.listed() if row["poll_time"]}
    return states[0]["start_time"] and polled >= {"order", "cancellation", "return"}
