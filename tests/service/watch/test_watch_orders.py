"""Watching orders: what an order came to last is never missed, and neither is what happened on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import grpc
import pytest

from service import limits
from service.database.database import plain_url
from service.watch.order_watch import OrderWatch
from tests.conftest import RetailerMaker
from tests.retailer import HOLD, Retailer, State
from tests.service.test_faults import refusal
from tests.service.watch.test_watch_availability import later, until
from truestock.v1 import allocation_service_pb2 as allocation_pb, catalog_service_pb2 as catalog_pb

Code = grpc.StatusCode


class OrderEar:
    """One who watches orders and keeps what was last told. Fails where a version falls."""

    def __init__(self) -> None:
        self.orders: dict[str, allocation_pb.Allocation] = {}
        self.events: dict[str, list[str]] = {}
        self.exceptions: dict[str, set[str]] = {}
        self.loose: list[str] = []
        self.told: list[str] = []
        self.token = ""
        self.heartbeats = 0

    async def listen(self, call: Any) -> None:
        async for message in call:
            self.hear(message)

    def hear(self, message: allocation_pb.WatchOrdersResponse) -> None:
        for change in message.changes:
            key = change.allocation.allocation_id
            assert change.allocation.version >= (self.orders[key].version if key in self.orders else 0)
            self.orders[key] = change.allocation
            self.events.setdefault(change.allocation.order_id, []).extend(event.event for event in change.events)
            self.exceptions[change.allocation.order_id] = {one.kind for one in change.exceptions}
            self.told.append(change.allocation.order_id)
        self.loose.extend(one.exception_id for one in message.exceptions)
        self.heartbeats += not message.changes
        self.token = message.resume_token

    async def catches_up(self) -> None:
        """Waits until the watch has begun."""
        await until(lambda: bool(self.token))

    async def hears(self, order_id: str, *events: str) -> None:
        """Waits until these events, and no others, were told of the order."""
        await until(lambda: self.events.get(order_id) == list(events), lambda: self.events)


def wish(*channel_ids: str, token: str = "", heartbeat: float = 1) -> Any:
    request = allocation_pb.WatchOrdersRequest(channel_ids=channel_ids, resume_token=token)
    request.heartbeat_interval.FromMilliseconds(round(heartbeat * 1000))
    return request


@asynccontextmanager
async def watching_orders(
    shop: Retailer, *channel_ids: str, into: OrderEar | None = None, token: str = ""
) -> AsyncIterator[OrderEar]:
    """Somebody who watches while the block lasts, from its start on."""
    ear = into or OrderEar()
    call = shop.allocations.WatchOrders(wish(*channel_ids, token=token))
    listening = asyncio.create_task(ear.listen(call))
    try:
        await ear.catches_up()
        yield ear
    finally:
        call.cancel()
        await asyncio.wait([listening])
        error = None if listening.cancelled() else listening.exception()
        assert error is None or isinstance(error, grpc.aio.AioRpcError), error


async def add_channel(shop: Retailer, channel_id: str) -> None:
    channel = catalog_pb.Channel(channel_id=channel_id, kind=catalog_pb.Channel.KIND_WEB)
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[channel]))


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 10, ("PAN", "dc"): 5})
    return retailer


async def test_what_happens_to_an_order_is_told_with_its_latest_state(shop: Retailer) -> None:
    await shop.allocate("A-0", {"MUG": 1})
    async with watching_orders(shop) as ear:
        held = await shop.allocate("A-1", {"MUG": 2}, HOLD)
        await ear.hears("A-1", "held")
        await shop.confirm(held.allocation_id)
        await ear.hears("A-1", "held", "confirmed")
        await shop.cancel(held.allocation_id, {"1": 1})
        await ear.hears("A-1", "held", "confirmed", "cancelled")

    assert set(ear.orders) == {held.allocation_id}
    assert ear.orders[held.allocation_id] == (await shop.get(held.allocation_id)).allocation


async def test_a_hold_that_the_clock_ends_is_told_before_anybody_sweeps_it(
    shop: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asleep(_: object) -> int:
        return 0

    monkeypatch.setattr("service.allocation.lifecycle.Lifecycle.sweep", asleep)
    async with watching_orders(shop) as ear:
        made = await shop.allocate("A-1", {"MUG": 2}, HOLD, hold_duration={"seconds": 1})
        await ear.hears("A-1", "held")
        await until(lambda: ear.orders[made.allocation_id].state == State.STATE_EXPIRED)

    assert ear.events["A-1"] == ["held"]


async def test_only_the_orders_of_the_channels_that_are_named_are_told(shop: Retailer) -> None:
    await add_channel(shop, "tiktok")
    async with watching_orders(shop, "tiktok") as ear, watching_orders(shop) as other:
        await shop.allocate("A-1", {"MUG": 2})
        await shop.allocate("T-1", {"MUG": 2}, channel_id="tiktok")
        await ear.hears("T-1", "sold")
        await other.hears("A-1", "sold")

    assert ear.told == ["T-1"]


async def test_an_order_is_told_to_the_channel_of_its_copy_too(shop: Retailer) -> None:
    await add_channel(shop, "shopify")
    made = await shop.allocate("A-1", {"MUG": 2}, HOLD)
    await shop.sql("INSERT INTO allocation_copy VALUES ('shopify', 'S-1', $1::uuid)", made.allocation_id)
    async with watching_orders(shop, "shopify") as ear:
        await shop.confirm(made.allocation_id)
        await ear.hears("A-1", "confirmed")


async def test_an_oversell_is_told_with_the_exception_that_somebody_has_to_settle(shop: Retailer) -> None:
    async with watching_orders(shop) as ear:
        await shop.allocate("A-1", {"MUG": 99})
        await ear.hears("A-1", "sold")

    assert ear.exceptions["A-1"] == {"oversell"}


async def test_an_exception_about_no_order_is_told_beside_the_orders(shop: Retailer) -> None:
    async with watching_orders(shop) as ear, watching_orders(shop, "web") as other:
        raised = await raise_stale_feed(shop)
        await until(lambda: raised in ear.loose)

    assert other.loose == []


async def raise_stale_feed(shop: Retailer) -> str:
    rows = await shop.sql(
        """WITH made AS (INSERT INTO exception (id, kind, state, subject, description, policy_revision, create_time,
        owner, due_time, action, rule, source) VALUES (gen_random_uuid(), 'stale_feed', 'open', 'wms', 'quiet', 'r',
        clock_timestamp(), 'ops', clock_timestamp(), 'review', 'r', 'wms') RETURNING id)
        INSERT INTO exception_event (id, exception_id, event, actor, description, event_time)
        SELECT gen_random_uuid(), id, 'raised', 'policy', 'quiet', clock_timestamp() FROM made RETURNING exception_id"""
    )
    return str(rows[0]["exception_id"])


async def test_a_slow_writer_is_told_although_a_faster_one_was_told_before(shop: Retailer) -> None:
    first = await shop.allocate("A-1", {"MUG": 1}, HOLD)
    slow = await asyncpg.connect(plain_url(shop.database_url))
    async with watching_orders(shop) as ear:
        transaction = slow.transaction()
        await transaction.start()
        await noted_by_hand(slow, first.allocation_id)
        await shop.allocate("A-2", {"MUG": 1})
        await ear.hears("A-2", "sold")
        token = ear.token
        await transaction.commit()
        await ear.hears("A-1", "noted")
    await slow.close()
    async with watching_orders(shop, token=token) as again:
        await again.hears("A-1", "noted")


async def noted_by_hand(connection: Any, allocation_id: str) -> None:
    await connection.execute(
        """INSERT INTO order_event (id, allocation_id, event, description, policy_revision, event_time)
        VALUES (gen_random_uuid(), $1::uuid, 'noted', 'By hand.', '', clock_timestamp())""",
        allocation_id,
    )


async def test_a_watch_that_was_cut_goes_on_with_what_happened_meanwhile(
    retailers: RetailerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.watch.order_watch.PAGE_EVENTS", 3)
    monkeypatch.setattr("service.watch.order_changes.PAGE_EVENTS", 3)
    first = await retailers.make()
    await first.stock({("MUG", "dc"): 100})
    async with watching_orders(first) as ear:
        await first.allocate("A-0", {"MUG": 1})
        await ear.hears("A-0", "sold")
        await until(lambda: ear.heartbeats > 1)
    await retailers.stop(first)
    second = await retailers.make()
    made = [await second.allocate(f"A-{number}", {"MUG": 1}) for number in range(1, 9)]
    await second.cancel(made[0].allocation_id, {"1": 1})
    async with watching_orders(second, token=ear.token, into=ear):
        await until(lambda: len(ear.orders) == 9 and ear.events["A-1"][-1:] == ["cancelled"])
        await second.allocate("A-9", {"MUG": 1})
        await ear.hears("A-9", "sold")

    assert ear.told[0] == "A-0"
    assert ear.told.count("A-0") == 1


async def test_who_reads_too_slowly_is_told_the_last_states_from_the_database(
    shop: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WATCH_PENDING", 5)
    reading = asyncio.Event()
    call = shop.allocations.WatchOrders(wish())
    ear = OrderEar()
    ear.hear(await call.read())
    async with held_up(monkeypatch, reading):
        made = [await shop.allocate(f"A-{number}", {"MUG": 1}, HOLD) for number in range(9)]
        for one in made:
            await shop.release(one.allocation_id)
        await asyncio.sleep(0.3)
    while len(ear.orders) < 9 or any(one.state != State.STATE_RELEASED for one in ear.orders.values()):
        ear.hear(await call.read())
    call.cancel()

    assert {tuple(events[-2:]) for events in ear.events.values()} == {("held", "released")}


@asynccontextmanager
async def held_up(monkeypatch: pytest.MonkeyPatch, reading: asyncio.Event) -> AsyncIterator[None]:
    """Messages are not made while the block lasts, as if their reader did not take them."""
    message = OrderWatch._message

    async def slowly(self: OrderWatch, *arguments: Any) -> Any:
        await reading.wait()
        return await message(self, *arguments)

    monkeypatch.setattr(OrderWatch, "_message", slowly)
    yield
    reading.set()


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (wish("web", "web"), "channel_ids[1]"),
        (wish(token="AAAA"), "resume_token"),
        (wish(heartbeat=0.2), "heartbeat_interval"),
        (wish(*(f"c-{number}" for number in range(101))), "channel_ids"),
    ],
)
async def test_a_wish_that_makes_no_sense_is_refused(shop: Retailer, request_: Any, field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await shop.allocations.WatchOrders(request_).read()

    assert error.value.code() is Code.INVALID_ARGUMENT
    assert field in (error.value.details() or "")


async def test_a_token_of_another_watch_or_database_is_refused(shop: Retailer) -> None:
    async with watching_orders(shop) as ear:
        pass
    of_all_at_one = await refusal(shop.allocations.WatchOrders(wish("web", token=ear.token)).read())
    from_beyond = await refusal(shop.allocations.WatchOrders(wish(token=later(ear.token))).read())

    assert (of_all_at_one.code, of_all_at_one.reason) == (Code.INVALID_ARGUMENT, "INVALID_FIELD")
    assert (from_beyond.code, from_beyond.reason) == (Code.INVALID_ARGUMENT, "INVALID_FIELD")


async def test_a_channel_that_nobody_knows_is_not_found(shop: Retailer) -> None:
    assert (await refusal(shop.allocations.WatchOrders(wish("nowhere")).read())).code is Code.NOT_FOUND


async def test_no_more_may_watch_than_there_are_places(
    retailers: RetailerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WATCHERS", 1)
    shop = await retailers.make()
    async with watching_orders(shop):
        assert shop.metric("order_watchers") == 1
        refused = await refusal(shop.allocations.WatchOrders(wish()).read())

    assert (refused.code, refused.reason) == (Code.RESOURCE_EXHAUSTED, "OVERLOADED")


async def test_a_service_that_stops_ends_its_watches_at_once(retailers: RetailerMaker) -> None:
    shop = await retailers.make()
    call = shop.allocations.WatchOrders(wish())
    await call.read()
    stopping = asyncio.create_task(retailers.stop(shop))

    refused = await asyncio.wait_for(refusal(call.read()), 1)
    await stopping

    assert (refused.code, refused.reason) == (Code.UNAVAILABLE, "NOT_READY")
