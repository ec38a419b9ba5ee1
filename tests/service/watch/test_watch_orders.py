"""WatchOrders: neither the last state of an order nor an event is ever missed."""

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
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    catalog_service_pb2 as catalog_pb,
    order_pb2,
    shipment_pb2,
)

Code = grpc.StatusCode


class OrderClient:
    """A client that keeps the last state of each order that it received. Fails where a version falls."""

    def __init__(self) -> None:
        self.orders: dict[str, allocation_pb.Allocation] = {}
        self.events: dict[str, list[str]] = {}
        self.exceptions: dict[str, set[str]] = {}
        self.exception_ids: list[str] = []
        self.received: list[str] = []
        self.token = ""
        self.heartbeats = 0

    async def read_all(self, call: Any) -> None:
        async for message in call:
            self.receive(message)

    def receive(self, message: allocation_pb.WatchOrdersResponse) -> None:
        for change in message.changes:
            key = change.allocation.allocation_id
            assert change.allocation.version >= (self.orders[key].version if key in self.orders else 0)
            self.orders[key] = change.allocation
            self.events.setdefault(change.allocation.order_id, []).extend(event.event for event in change.events)
            self.exceptions[change.allocation.order_id] = {exception.kind for exception in change.exceptions}
            self.received.append(change.allocation.order_id)
        self.exception_ids.extend(exception.exception_id for exception in message.exceptions)
        self.heartbeats += not message.changes
        self.token = message.resume_token

    async def is_ready(self) -> None:
        """Waits until the stream has started."""
        await until(lambda: bool(self.token))

    async def receives(self, order_id: str, *events: str) -> None:
        """Waits until these events of the order, and no others, were received."""
        await until(lambda: self.events.get(order_id) == list(events), lambda: self.events)


def watch_request(*channel_ids: str, token: str = "", heartbeat: float = 1) -> Any:
    request = allocation_pb.WatchOrdersRequest(channel_ids=channel_ids, resume_token=token)
    request.heartbeat_interval.FromMilliseconds(round(heartbeat * 1000))
    return request


@asynccontextmanager
async def watching_orders(
    shop: Retailer, *channel_ids: str, into: OrderClient | None = None, token: str = ""
) -> AsyncIterator[OrderClient]:
    """A client that watches while the block lasts, from its start on."""
    client = into or OrderClient()
    call = shop.allocations.WatchOrders(watch_request(*channel_ids, token=token))
    reading = asyncio.create_task(client.read_all(call))
    try:
        await client.is_ready()
        yield client
    finally:
        call.cancel()
        await asyncio.wait([reading])
        error = None if reading.cancelled() else reading.exception()
        assert error is None or isinstance(error, grpc.aio.AioRpcError), error


async def add_channel(shop: Retailer, channel_id: str) -> None:
    channel = catalog_pb.Channel(channel_id=channel_id, kind=catalog_pb.Channel.KIND_WEB)
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[channel]))


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 10, ("PAN", "dc"): 5})
    return retailer


async def test_an_order_on_hold_is_no_work_until_its_release_is_sent(shop: Retailer) -> None:
    async with watching_orders(shop) as client:
        held = await shop.allocate("A-1", {"MUG": 2}, hold=order_pb2.OrderHold(reason="fraud check"))
        await client.receives("A-1", "sold", "on_hold")
        on_hold = client.orders[held.allocation_id]
        request = allocation_pb.ReleaseOrderHoldRequest(allocation_id=held.allocation_id)
        await shop.allocations.ReleaseOrderHold(request)
        await client.receives("A-1", "sold", "on_hold", "hold_released")
        released = client.orders[held.allocation_id]

    states = [order.shipments[0].state for order in (on_hold, released)]
    assert states == [shipment_pb2.Shipment.STATE_ON_HOLD, shipment_pb2.Shipment.STATE_ASSIGNED]
    assert [order.hold.reason for order in (on_hold, released)] == ["fraud check", ""]


async def test_events_of_an_order_are_sent_with_its_latest_state(shop: Retailer) -> None:
    await shop.allocate("A-0", {"MUG": 1})
    async with watching_orders(shop) as client:
        held = await shop.allocate("A-1", {"MUG": 2}, HOLD)
        await client.receives("A-1", "held")
        await shop.confirm(held.allocation_id)
        await client.receives("A-1", "held", "confirmed")
        await shop.cancel(held.allocation_id, {"1": 1})
        await client.receives("A-1", "held", "confirmed", "cancelled")

    assert set(client.orders) == {held.allocation_id}
    assert client.orders[held.allocation_id] == (await shop.get(held.allocation_id)).allocation


async def test_an_expired_hold_is_sent_before_the_sweep(shop: Retailer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_sweep(_: object) -> int:
        return 0

    monkeypatch.setattr("service.allocation.lifecycle.Lifecycle.sweep", no_sweep)
    async with watching_orders(shop) as client:
        held = await shop.allocate("A-1", {"MUG": 2}, HOLD, hold_duration={"seconds": 1})
        await client.receives("A-1", "held")
        await until(lambda: client.orders[held.allocation_id].state == State.STATE_EXPIRED)

    assert client.events["A-1"] == ["held"]


async def test_only_orders_of_the_named_channels_are_sent(shop: Retailer) -> None:
    await add_channel(shop, "tiktok")
    async with watching_orders(shop, "tiktok") as client, watching_orders(shop) as other:
        await shop.allocate("A-1", {"MUG": 2})
        await shop.allocate("T-1", {"MUG": 2}, channel_id="tiktok")
        await client.receives("T-1", "sold")
        await other.receives("A-1", "sold")

    assert client.received == ["T-1"]


async def test_an_order_is_also_sent_to_the_channel_of_its_copy(shop: Retailer) -> None:
    await add_channel(shop, "shopify")
    held = await shop.allocate("A-1", {"MUG": 2}, HOLD)
    await shop.sql("INSERT INTO allocation_copy VALUES ('shopify', 'S-1', $1::uuid)", held.allocation_id)
    async with watching_orders(shop, "shopify") as client:
        await shop.confirm(held.allocation_id)
        await client.receives("A-1", "confirmed")


async def test_an_oversold_order_is_sent_with_its_exception(shop: Retailer) -> None:
    async with watching_orders(shop) as client:
        await shop.allocate("A-1", {"MUG": 99})
        await client.receives("A-1", "sold")

    assert client.exceptions["A-1"] == {"oversell"}


async def test_an_exception_without_an_order_is_sent_beside_the_orders(shop: Retailer) -> None:
    async with watching_orders(shop) as client, watching_orders(shop, "web") as other:
        raised = await raise_stale_feed(shop)
        await until(lambda: raised in client.exception_ids)

    assert other.exception_ids == []


async def raise_stale_feed(shop: Retailer) -> str:
    rows = await shop.sql(
        """WITH raised AS (INSERT INTO exception (id, kind, state, subject, description, policy_revision, create_time,
        owner, due_time, action, rule, source) VALUES (gen_random_uuid(), 'stale_feed', 'open', 'wms', 'quiet', 'r',
        clock_timestamp(), 'ops', clock_timestamp(), 'review', 'r', 'wms') RETURNING id)
        INSERT INTO exception_event (id, exception_id, event, actor, description, event_time)
        SELECT gen_random_uuid(), id, 'raised', 'policy', 'quiet', clock_timestamp() FROM raised
        RETURNING exception_id"""
    )
    return str(rows[0]["exception_id"])


async def test_an_event_that_commits_late_is_sent_after_a_later_one(shop: Retailer) -> None:
    first = await shop.allocate("A-1", {"MUG": 1}, HOLD)
    slow = await asyncpg.connect(plain_url(shop.database_url))
    async with watching_orders(shop) as client:
        transaction = slow.transaction()
        await transaction.start()
        await write_order_event(slow, first.allocation_id)
        await shop.allocate("A-2", {"MUG": 1})
        await client.receives("A-2", "sold")
        token = client.token
        await transaction.commit()
        await client.receives("A-1", "noted")
    await slow.close()
    async with watching_orders(shop, token=token) as resumed:
        await resumed.receives("A-1", "noted")


async def write_order_event(connection: Any, allocation_id: str) -> None:
    await connection.execute(
        """INSERT INTO order_event (id, allocation_id, event, description, policy_revision, event_time)
        VALUES (gen_random_uuid(), $1::uuid, 'noted', 'Written by the test.', '', clock_timestamp())""",
        allocation_id,
    )


async def test_a_resumed_stream_starts_with_the_events_since_its_token(
    retailers: RetailerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.watch.order_watch.PAGE_EVENTS", 3)
    monkeypatch.setattr("service.watch.order_changes.PAGE_EVENTS", 3)
    first = await retailers.make()
    await first.stock({("MUG", "dc"): 100})
    async with watching_orders(first) as client:
        await first.allocate("A-0", {"MUG": 1})
        await client.receives("A-0", "sold")
        await until(lambda: client.heartbeats > 1)
    await retailers.stop(first)
    second = await retailers.make()
    orders = [await second.allocate(f"A-{number}", {"MUG": 1}) for number in range(1, 9)]
    await second.cancel(orders[0].allocation_id, {"1": 1})
    async with watching_orders(second, token=client.token, into=client):
        await until(lambda: len(client.orders) == 9 and client.events["A-1"][-1:] == ["cancelled"])
        await second.allocate("A-9", {"MUG": 1})
        await client.receives("A-9", "sold")

    assert client.received[0] == "A-0"
    assert client.received.count("A-0") == 1


async def test_a_client_that_falls_behind_receives_the_last_states_from_the_database(
    shop: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WATCH_PENDING", 5)
    may_send = asyncio.Event()
    call = shop.allocations.WatchOrders(watch_request())
    client = OrderClient()
    client.receive(await call.read())
    async with slow_messages(monkeypatch, may_send):
        orders = [await shop.allocate(f"A-{number}", {"MUG": 1}, HOLD) for number in range(9)]
        for order in orders:
            await shop.release(order.allocation_id)
        await asyncio.sleep(0.3)
    # A message has an order's latest state; events that the service has found since come with the next one.
    while len(client.events) < 9 or any(events[-1] != "released" for events in client.events.values()):
        client.receive(await call.read())
    call.cancel()

    assert {tuple(events[-2:]) for events in client.events.values()} == {("held", "released")}
    assert {order.state for order in client.orders.values()} == {State.STATE_RELEASED}


@asynccontextmanager
async def slow_messages(monkeypatch: pytest.MonkeyPatch, may_send: asyncio.Event) -> AsyncIterator[None]:
    """No message is sent while the block lasts, as if the client did not read."""
    message = OrderWatch._message

    async def slowly(self: OrderWatch, *arguments: Any) -> Any:
        await may_send.wait()
        return await message(self, *arguments)

    monkeypatch.setattr(OrderWatch, "_message", slowly)
    yield
    may_send.set()


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (watch_request("web", "web"), "channel_ids[1]"),
        (watch_request(token="AAAA"), "resume_token"),
        (watch_request(heartbeat=0.2), "heartbeat_interval"),
        (watch_request(*(f"c-{number}" for number in range(101))), "channel_ids"),
    ],
)
async def test_an_invalid_watch_request_is_refused(shop: Retailer, request_: Any, field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await shop.allocations.WatchOrders(request_).read()

    assert error.value.code() is Code.INVALID_ARGUMENT
    assert field in (error.value.details() or "")


async def test_a_token_of_another_watch_or_database_is_refused(shop: Retailer) -> None:
    async with watching_orders(shop) as client:
        pass
    token_of_all_channels = await refusal(shop.allocations.WatchOrders(watch_request("web", token=client.token)).read())
    token_of_later_transaction = await refusal(
        shop.allocations.WatchOrders(watch_request(token=later(client.token))).read()
    )

    assert (token_of_all_channels.code, token_of_all_channels.reason) == (Code.INVALID_ARGUMENT, "INVALID_FIELD")
    assert (token_of_later_transaction.code, token_of_later_transaction.reason) == (
        Code.INVALID_ARGUMENT,
        "INVALID_FIELD",
    )


async def test_an_unknown_channel_is_not_found(shop: Retailer) -> None:
    assert (await refusal(shop.allocations.WatchOrders(watch_request("nowhere")).read())).code is Code.NOT_FOUND


async def test_a_stream_above_the_limit_is_refused(retailers: RetailerMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WATCHERS", 1)
    shop = await retailers.make()
    async with watching_orders(shop):
        assert shop.metric("order_watchers") == 1
        refused = await refusal(shop.allocations.WatchOrders(watch_request()).read())

    assert (refused.code, refused.reason) == (Code.RESOURCE_EXHAUSTED, "OVERLOADED")


async def test_a_service_that_stops_ends_its_streams_at_once(retailers: RetailerMaker) -> None:
    # The streams would otherwise be ended with the calls in flight, after this time.
    shop = await retailers.make(drain_seconds=60)
    call = shop.allocations.WatchOrders(watch_request())
    await call.read()
    stopping = asyncio.create_task(retailers.stop(shop))

    refused = await asyncio.wait_for(refusal(call.read()), 30)
    await stopping

    assert (refused.code, refused.reason) == (Code.UNAVAILABLE, "NOT_READY")
