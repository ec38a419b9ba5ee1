"""Lost database, lost responses, killed servers, callers that give up: no unit is lost or promised twice."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from prometheus_client.parser import text_string_to_metric_families

from service import limits
from service.app.application import running
from service.app.drain import EXIT_SECONDS
from service.database.database import plain_url
from service.database.roles import SERVICE_ROLE
from service.rpc.page_tokens import PageTokens
from service.settings import Settings
from tests.conftest import PLAIN_RULES, REPOSITORY, RetailerMaker, _addresses_of, service_settings
from tests.counters import counted, written
from tests.retailer import HOLD, SOLD, Retailer, State, change, eventually, movement, promised, request_id
from tests.server_socket import socket_of, url_by
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    allocation_service_pb2_grpc as allocation_grpc,
    catalog_service_pb2 as catalog_pb,
    exception_pb2,
    exception_service_pb2 as exception_pb,
    order_pb2,
    stock_service_pb2 as stock_pb,
)

Code = grpc.StatusCode


class FaultyProxy:
    """A proxy between a service and PostgreSQL that can disconnect, and lose or delay a COMMIT or its confirmation."""

    def __init__(self, target: str, path: Path) -> None:
        self.lose_commits = self.lose_confirmations = 0
        self.pause_before = b"\x00 nothing"
        self.delay_confirmation = False
        self.paused, self.resume = asyncio.Event(), asyncio.Event()
        self._target, self._path = target, path
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        self._server = await asyncio.start_unix_server(self._forward, self._path)

    async def disconnect(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        far_reader, far_writer = await asyncio.open_unix_connection(self._target)
        lost, delayed = asyncio.Event(), asyncio.Event()
        directions = [
            asyncio.create_task(self._to_database(reader, far_writer, lost, delayed)),
            asyncio.create_task(self._to_service(far_reader, writer, lost, delayed)),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass
        finally:
            self._connections.discard(task)
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            writer.close()
            far_writer.close()

    async def _to_database(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event, delayed: asyncio.Event
    ) -> None:
        while data := await reader.read(1 << 16):
            if self.pause_before in data:
                self.paused.set()
                await self.resume.wait()
            if b"COMMIT" in data and self.lose_commits:
                self.lose_commits -= 1
                return
            if b"COMMIT" in data and self.lose_confirmations:
                self.lose_confirmations -= 1
                lost.set()
            if b"COMMIT" in data and self.delay_confirmation:
                self.delay_confirmation = False
                delayed.set()
            writer.write(data)

    async def _to_service(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event, delayed: asyncio.Event
    ) -> None:
        while data := await reader.read(1 << 16):
            if lost.is_set():
                return
            if delayed.is_set():
                delayed.clear()
                self.paused.set()
                await self.resume.wait()
            writer.write(data)


@pytest.fixture
async def proxied(database_url: str) -> AsyncIterator[tuple[Retailer, FaultyProxy]]:
    """A service connected to the database by a FaultyProxy, with a hundred mugs in stock."""
    folder = Path(tempfile.mkdtemp(prefix="proxy-"))
    socket = socket_of(database_url)
    proxy = FaultyProxy(str(socket), folder / socket.name)
    await proxy.connect()
    async with AsyncExitStack() as stack:
        shop = await RetailerMaker(url_by(folder, database_url), stack).make()
        shop.database_url = database_url
        await shop.stock({("MUG", "dc"): 100})
        yield shop, proxy
    await proxy.disconnect()
    shutil.rmtree(folder)


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 100})
    return retailer


@pytest.mark.long
async def test_a_service_stops_in_time_while_no_message_of_it_reaches_the_database(database_url: str) -> None:
    """As when a firewall drops the packets of its connections: nothing is refused, and nothing answers."""
    folder = Path(tempfile.mkdtemp(prefix="proxy-"))
    socket = socket_of(database_url)
    proxy = FaultyProxy(str(socket), folder / socket.name)
    await proxy.connect()
    async with AsyncExitStack() as stack:
        retailers = RetailerMaker(url_by(folder, database_url), stack)
        shop = await retailers.make()
        proxy.pause_before = b""
        orders = [asyncio.ensure_future(shop.allocate(f"A-{number}", {"MUG": 1})) for number in range(20)]
        await asyncio.wait_for(proxy.paused.wait(), 10)
        # gRPC cancels calls that have not begun when the service stops.
        await are_queued(shop, len(orders))
        began = time.monotonic()
        await retailers.stop(shop)
        seconds = time.monotonic() - began
        answers = await asyncio.gather(*orders, return_exceptions=True)
    await proxy.disconnect()
    shutil.rmtree(folder)

    assert seconds < service_settings(database_url, PLAIN_RULES).drain_seconds + EXIT_SECONDS
    assert {answer.code() for answer in answers if isinstance(answer, grpc.aio.AioRpcError)} == {Code.UNAVAILABLE}


# Lost commits


@pytest.mark.parametrize("fault", ["lose_commits", "lose_confirmations"])
async def test_after_a_lost_commit_every_write_happens_once(proxied: tuple[Retailer, FaultyProxy], fault: str) -> None:
    shop, proxy = proxied
    received = movement(stock_pb.MOVEMENT_KIND_RECEIVED, 3)

    async def with_fault(call: Awaitable[Any]) -> Any:
        setattr(proxy, fault, 2)
        response = await call
        assert getattr(proxy, fault) == 0
        return response

    held = await with_fault(shop.allocate("A-1", {"MUG": 5}, HOLD))
    await with_fault(shop.confirm(held.allocation_id))
    await with_fault(shop.cancel(held.allocation_id, {"1": 2}))
    released = await with_fault(shop.allocate("A-2", {"MUG": 4}, HOLD))
    await with_fault(shop.release(released.allocation_id))
    await with_fault(shop.record(change("MUG", "dc", movement=received)))

    level = await shop.level("MUG", "dc")
    assert (level.on_hand_count, level.allocated_count, level.held_count) == (103, 3, 0)
    assert (await shop.ledger()).balanced


@pytest.mark.parametrize("fault", ["lose_commits", "lose_confirmations"])
async def test_an_order_whose_commit_was_lost_is_counted_once(
    proxied: tuple[Retailer, FaultyProxy], fault: str
) -> None:
    shop, proxy = proxied

    setattr(proxy, fault, 1)
    held = await shop.allocate("A-1", {"MUG": 2}, SOLD)
    setattr(proxy, fault, 1)
    await shop.cancel(held.allocation_id, {"1": 1})

    assert shop.metric("sold_units_total", channel="web") == 2
    assert shop.metric("allocated_units_total", channel="web", location="dc") == 2
    assert shop.metric("cancelled_units_total", channel="web") == 1


# Database unavailable


async def test_without_the_database_every_call_is_refused_with_a_retry_time(
    proxied: tuple[Retailer, FaultyProxy],
) -> None:
    shop, proxy = proxied
    held = await shop.allocate("A-1", {"MUG": 2}, HOLD)
    calls = database_calls(shop, held.allocation_id)

    await proxy.disconnect()
    errors = dict(zip(calls, await asyncio.gather(*(refusal(call()) for call in calls.values())), strict=True))
    await proxy.connect()
    for call in calls.values():
        await call()

    assert {name: error.code for name, error in errors.items()} == dict.fromkeys(calls, Code.UNAVAILABLE)
    assert all(error.retry_seconds for error in errors.values())
    assert (await shop.ledger()).balanced


@pytest.mark.long
async def test_a_metric_shows_that_the_database_is_away_although_nobody_calls(
    proxied: tuple[Retailer, FaultyProxy],
) -> None:
    shop, proxy = proxied

    async def is_up() -> bool:
        return shop.metric("database_up") == 1

    async def is_away() -> bool:
        return not await is_up()

    before = await is_up()
    await proxy.disconnect()
    await eventually(is_away)
    await proxy.connect()
    await eventually(is_up)

    assert before


async def test_terminated_connections_under_load_lose_no_order(shop: Retailer) -> None:
    async def end_connections() -> None:
        for _ in range(5):
            await asyncio.sleep(0.1)
            await shop.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'truestock'"
            )

    unit_counts, _ = await asyncio.gather(
        asyncio.gather(*(allocate_in_turn(shop, f"A-{n}", 15) for n in range(10))), end_connections()
    )

    assert sum(unit_counts) == 100
    assert await shop.sellable("MUG") == 0
    assert (await shop.ledger()).balanced


async def allocate_in_turn(shop: Retailer, name: str, count: int) -> int:
    """Allocates orders of one unit each, one after the other; returns the promised units."""
    return sum([sum(promised(await shop.allocate(f"{name}-{n}", {"MUG": 1})).values()) for n in range(count)])


# Database errors


async def test_a_serialization_failure_is_retried(shop: Retailer) -> None:
    await break_movements(shop, "nextval('faults') <= 3", errcode="40001")

    response = await shop.allocate("A-1", {"MUG": 2})

    assert promised(response) == {"dc": 2}
    assert shop.metric("database_retries_total", operation="allocate") == 3
    assert shop.metric("sold_orders_total", channel="web") == 1
    assert (await shop.ledger()).balanced


async def test_a_permanent_failure_uses_no_request_id_and_leaves_no_rows(shop: Retailer) -> None:
    same_id = request_id()
    await break_movements(shop, "true", errcode="40001")

    error = await refusal(shop.allocate("A-1", {"MUG": 2}, request_id=same_id))

    assert (error.code, error.reason, error.retry_seconds) == (Code.UNAVAILABLE, "NOT_READY", 1)
    assert not await shop.sql("SELECT FROM allocation UNION ALL SELECT FROM request WHERE method = 'AllocateOrder'")
    await shop.sql("DROP TRIGGER broken ON stock_movement")
    assert promised(await shop.allocate("A-1", {"MUG": 3}, request_id=same_id)) == {"dc": 3}


@pytest.mark.parametrize(
    "errcode", ["57014", "53100", "53200", "25006", "55P03"], ids=["cancelled", "disk", "memory", "standby", "lock"]
)
async def test_a_transient_database_error_is_retried(shop: Retailer, errcode: str) -> None:
    """A cancelled statement, a full disk, no memory, a failover to a standby, a lock timeout."""
    await break_movements(shop, "nextval('faults') <= 1", errcode=errcode)

    assert promised(await shop.allocate("A-1", {"MUG": 2})) == {"dc": 2}


async def test_an_order_with_an_unexpected_error_fails_alone(shop: Retailer) -> None:
    await shop.sql("CREATE FUNCTION broken() RETURNS trigger AS 'BEGIN RAISE division_by_zero; END' LANGUAGE plpgsql")
    await shop.sql(
        "CREATE TRIGGER broken BEFORE INSERT ON allocation FOR EACH ROW WHEN (new.order_id = 'A-13') "
        "EXECUTE FUNCTION broken()"
    )

    responses = await asyncio.gather(*(shop.allocate(f"A-{n}", {"MUG": 1}) for n in range(50)), return_exceptions=True)

    failed = {n: response for n, response in enumerate(responses) if isinstance(response, BaseException)}
    assert list(failed) == [13], failed
    assert await shop.sellable("MUG") == 51
    assert (await shop.ledger()).balanced


async def break_movements(shop: Retailer, condition: str, *, errcode: str) -> None:
    """Makes every new movement of an order raise a database error while the condition holds."""
    await shop.sql("CREATE SEQUENCE faults")
    await shop.sql(f"GRANT USAGE ON SEQUENCE faults TO {SERVICE_ROLE}")
    await shop.sql(
        f"CREATE FUNCTION broken() RETURNS trigger AS $$ BEGIN IF {condition} THEN "
        f"RAISE EXCEPTION 'injected' USING ERRCODE = '{errcode}'; END IF; RETURN new; END $$ LANGUAGE plpgsql"
    )
    await shop.sql(
        "CREATE TRIGGER broken BEFORE INSERT ON stock_movement FOR EACH ROW WHEN (new.source = 'orders') "
        "EXECUTE FUNCTION broken()"
    )


# Callers that give up, and overload


async def test_an_order_retried_after_a_timeout_is_promised_once(shop: Retailer) -> None:
    ids = [request_id() for _ in range(20)]
    async with locked(shop, "stock_level"):
        orders = [order(f"A-{n}", request_id=id) for n, id in enumerate(ids)]
        errors = await asyncio.gather(*(refusal(shop.allocations.AllocateOrder(x, timeout=0.4)) for x in orders))
    responses = await asyncio.gather(*(shop.allocations.AllocateOrder(x) for x in orders))

    assert {error.code for error in errors} == {Code.DEADLINE_EXCEEDED}
    assert {tuple(promised(response.allocation).items()) for response in responses} == {(("dc", 1),)}
    assert await shop.sellable("MUG") == 80
    assert shop.metric("sold_units_total", channel="web") == 20
    assert (await shop.ledger()).balanced


async def test_a_call_cut_during_its_commit_is_counted_all_the_same(proxied: tuple[Retailer, FaultyProxy]) -> None:
    """The metrics are the same whether callers wait for their answers or give up while the database commits."""
    shop, proxy = proxied

    async def cut(call: Callable[[str], Awaitable[Any]]) -> None:
        same_id = request_id()
        proxy.delay_confirmation, task = True, asyncio.ensure_future(call(same_id))
        proxy.paused.clear()
        proxy.resume.clear()
        await asyncio.wait_for(proxy.paused.wait(), 60)
        task.cancel()
        # The service learns of the cancellation before the database's confirmation.
        await asyncio.sleep(0.05)
        proxy.resume.set()
        # The commit may have been that of a sweep, and the call rolled back. The caller cannot know, and repeats it.
        await call(same_id)

    async def patient(call: Callable[[str], Awaitable[Any]]) -> None:
        await call(request_id())

    counted = []
    for name, caller in (("A", patient), ("B", cut)):
        before = business_counters(shop)
        await life_of_orders(shop, name, caller)
        await asyncio.sleep(0.2)
        counted.append(increases(before, business_counters(shop)))

    async def is_counted_alike() -> bool:
        counted[1] = increases(before, business_counters(shop))
        return bool(counted[0] == counted[1])

    # What was cut may be counted a moment after its call was repeated.
    with suppress(AssertionError):
        await eventually(is_counted_alike)
    assert counted[0] == counted[1]
    assert len(counted[0]) >= 10
    assert (await shop.ledger()).balanced


async def test_orders_of_callers_that_timed_out_leave_no_tasks_or_queue(shop: Retailer) -> None:
    tasks_before = len(asyncio.all_tasks())
    async with locked(shop, "stock_level"):
        first = asyncio.create_task(shop.allocate("A", {"MUG": 1}))
        await are_queued(shop, 1)
        await asyncio.gather(
            *(refusal(shop.allocations.AllocateOrder(order(f"A-{n}"), timeout=0.4)) for n in range(99))
        )
    await first

    async def is_idle() -> bool:
        return len(asyncio.all_tasks()) <= tasks_before and shop.metric("allocator_queued_orders") == 0

    await eventually(is_idle)
    # The order already in a transaction is carried out; queued ones are not.
    assert [row["order_id"] for row in await shop.sql("SELECT order_id FROM allocation")] == ["A"]


async def test_a_timed_out_call_is_counted_as_cancelled(shop: Retailer) -> None:
    calls = partial(shop.metric, "rpc_duration_seconds_count", method="AllocationService/AllocateOrder")
    async with locked(shop, "stock_level"):
        for seconds in (0.3, 3, 30):
            await refusal(shop.allocations.AllocateOrder(order("A-1"), timeout=seconds))
            # On a busy machine the call may end before it reaches the service.
            if shop.metric("allocator_queued_orders"):
                break

        async def is_counted() -> bool:
            return calls(code="CANCELLED") == 1

        await eventually(is_counted)
    assert calls(code="OK") == 0


async def are_queued(shop: Retailer, count: int) -> None:
    """Waits until so many orders are queued or being allocated."""

    async def they_are() -> bool:
        return shop.metric("allocator_queued_orders") == count

    await eventually(they_are)


async def test_orders_beyond_the_queue_limit_are_refused_at_once(
    shop: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "QUEUED_ORDERS", 50)
    async with locked(shop, "stock_level"):
        first = asyncio.create_task(shop.allocate("A-0", {"MUG": 1}))
        await are_queued(shop, 1)
        waiting = [asyncio.create_task(shop.allocate(f"A-{n}", {"MUG": 1})) for n in range(1, 51)]
        await are_queued(shop, 51)
        # They are answered while the others still wait.
        errors = await asyncio.gather(*(refusal(shop.allocate(f"B-{n}", {"MUG": 1})) for n in range(50)))

    responses = [await first, *await asyncio.gather(*waiting)]
    assert {(error.code, error.reason) for error in errors} == {(Code.RESOURCE_EXHAUSTED, "OVERLOADED")}
    assert all(error.retry_seconds for error in errors)
    assert {tuple(promised(response).items()) for response in responses} == {(("dc", 1),)}
    assert shop.metric("allocator_shed_orders_total") == 50


async def test_a_refused_caller_learns_how_many_orders_are_queued_now(
    shop: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with locked(shop, "stock_level"):
        first = asyncio.create_task(shop.allocate("A-0", {"MUG": 1}))
        await are_queued(shop, 1)
        monkeypatch.setattr(limits, "QUEUED_ORDERS", 0)
        refused = [await refusal(shop.allocate("B-0", {"MUG": 1}))]
    await first
    await are_queued(shop, 0)
    refused.append(await refusal(shop.allocate("B-1", {"MUG": 1})))

    assert [error.metadata["queued_count"] for error in refused] == ["1", "0"]


async def test_a_batch_of_orders_is_refused_whole(shop: Retailer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "QUEUED_ORDERS", 0)
    order = allocation_pb.AllocateOrderRequest(channel_id="web", order_id="A-1")

    error = await refusal(
        shop.allocations.BatchAllocateOrders(allocation_pb.BatchAllocateOrdersRequest(requests=[order] * 3))
    )

    assert (error.code, error.reason) == (Code.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert error.retry_seconds
    assert shop.metric("allocator_shed_orders_total") == 3
    assert shop.metric("shed_calls_total", method="AllocationService/BatchAllocateOrders") == 1


async def test_a_service_with_too_many_calls_refuses_reads_and_new_orders_unread(
    shop: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sold, held = await shop.allocate("A-1", {"MUG": 2}, SOLD), await shop.allocate("A-2", {"MUG": 1}, HOLD)
    monkeypatch.setattr(limits, "CALLS_AT_ONCE", 0)

    async with grpc.aio.insecure_channel(shop.service.address) as channel:
        unread = await refusal(
            channel.unary_unary("/truestock.v1.AllocationService/AllocateOrder", None, None)(b"no message")
        )
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    calls = (shop.sellable("MUG"), shop.get(sold.allocation_id), shop.allocate("A-3", {"MUG": 1}))
    errors = [await refusal(call) for call in calls]

    assert {(error.code, error.reason) for error in (unread, *errors)} == {(Code.RESOURCE_EXHAUSTED, "OVERLOADED")}
    assert all(error.retry_seconds for error in errors)
    assert shop.metric("shed_calls_total", method="AvailabilityService/CheckAvailability") == 1
    assert shop.metric("shed_calls_total", method="AllocationService/AllocateOrder") == 2
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert (await shop.confirm(held.allocation_id)).state == State.STATE_CONFIRMED
    await shop.cancel(sold.allocation_id, {"1": 1})
    await shop.ship(sold.shipments[0], {"1": 1})
    await shop.stock({("MUG", "dc"): 50})


async def test_calls_count_while_they_are_in_progress(shop: Retailer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CALLS_AT_ONCE", 2)
    async with locked(shop, "stock_level"):
        order = asyncio.create_task(shop.allocate("A-1", {"MUG": 1}))
        await eventually(lambda: _queued(shop, 1))
        assert await shop.sellable("MUG") == 100
        other = asyncio.create_task(shop.allocate("A-2", {"MUG": 1}))
        await eventually(lambda: _queued(shop, 2))
        error = await refusal(shop.sellable("MUG"))

    await asyncio.gather(order, other)
    assert error.reason == "OVERLOADED"
    assert await shop.sellable("MUG") == 98


async def _queued(shop: Retailer, orders: int) -> bool:
    return shop.metric("allocator_queued_orders") == orders


async def test_holds_can_be_confirmed_and_released_while_orders_are_refused(
    shop: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.stock({("CUP", "dc"): 2})
    to_confirm, to_release = [await shop.allocate(f"C-{n}", {"CUP": 1}, HOLD) for n in range(2)]
    monkeypatch.setattr(limits, "QUEUED_ORDERS", 0)

    error = await refusal(shop.allocate("A-1", {"MUG": 1}))

    assert error.code == Code.RESOURCE_EXHAUSTED
    assert (await shop.confirm(to_confirm.allocation_id)).state == State.STATE_CONFIRMED
    assert (await shop.release(to_release.allocation_id)).state == State.STATE_RELEASED


async def test_a_partly_held_order_can_be_confirmed_while_orders_are_refused(
    shop: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await shop.allocate("A-1", {"MUG": 101}, HOLD)
    monkeypatch.setattr(limits, "QUEUED_ORDERS", 0)

    paid = await shop.confirm(held.allocation_id)

    assert paid.state == State.STATE_CONFIRMED


async def test_a_burst_of_orders_is_served_after_a_slow_transaction(shop: Retailer) -> None:
    async with locked(shop, "stock_level"):
        slow = asyncio.create_task(shop.allocate("A-0", {"MUG": 1}))
        await asyncio.sleep(3)
    await slow

    burst = [order(f"A-{n}") for n in range(1, 21)]
    responses = await asyncio.gather(
        *(shop.allocations.AllocateOrder(x, timeout=2.5) for x in burst), return_exceptions=True
    )

    # Only a machine that is busy with others makes some of them late.
    late = [response for response in responses if isinstance(response, BaseException)]
    assert {error.code() for error in late if isinstance(error, grpc.aio.AioRpcError)} <= {Code.DEADLINE_EXCEEDED}
    assert shop.metric("allocator_shed_orders_total") == 0


# Invalid values


async def test_values_that_the_database_cannot_store_are_refused_as_invalid(shop: Retailer) -> None:
    ancient = change("MUG", "dc", at=datetime(1, 1, 1, tzinfo=UTC), count=stock_pb.StockCount(on_hand_count=3))
    levels = stock_pb.ListStockLevelsRequest()
    levels.page_token = PageTokens(levels).after("\x00", "dc")

    errors = [
        await refusal(shop.record(ancient)),
        await refusal(shop.stock_service.ListStockLevels(levels)),
        await refusal(shop.catalog.ListProducts(catalog_pb.ListProductsRequest(skus=["\x00"]))),
    ]

    assert {error.code for error in errors} == {Code.INVALID_ARGUMENT}


# Reads


async def test_availability_can_be_read_while_a_writer_holds_locks(shop: Retailer) -> None:
    async with locked(shop, "stock_level", "allocation"):
        async with asyncio.timeout(20):
            count = await shop.sellable("MUG")

    assert count == 100


async def test_an_order_is_read_consistently_while_it_is_replanned(proxied: tuple[Retailer, FaultyProxy]) -> None:
    shop, proxy = proxied
    held = await shop.allocate("A-1", {"MUG": 2}, HOLD)
    async with AsyncExitStack() as stack:
        second = await RetailerMaker(shop.database_url, stack).make()
        proxy.pause_before = b"FROM promise JOIN order_line"
        reading = asyncio.create_task(shop.get(held.allocation_id))
        await proxy.paused.wait()
        await second.allocate("A-1", {"MUG": 3}, HOLD)
        proxy.resume.set()

        latest = (await reading).allocation

    line = latest.lines[0]
    assert line.unit_count == line.promised_count == sum(promised(latest).values())


# Servers that stop


async def test_a_service_that_stops_answers_its_open_orders(shop: Retailer) -> None:
    settings = Settings(
        address="127.0.0.1:0", metrics_address="127.0.0.1:0", database_url=shop.database_url, rules=PLAIN_RULES
    )
    async with AsyncExitStack() as stack:
        async with running(settings) as service:
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(service.address))
            stub: Any = allocation_grpc.AllocationServiceStub(channel)
            await stub.AllocateOrder(order("A"))
            calls = [asyncio.ensure_future(outcome(stub.AllocateOrder(order(f"A-{n}")))) for n in range(60)]
            await asyncio.sleep(0.02)
        responses = await asyncio.gather(*calls)

    counts = Counter([Code.OK, *(code for code, _ in responses)])
    # gRPC itself cancels a call that has not reached a handler when the server closes.
    assert set(counts) <= {Code.OK, Code.UNAVAILABLE, Code.CANCELLED}
    assert 100 - counts[Code.OK] - counts[Code.CANCELLED] <= await shop.sellable("MUG") <= 100 - counts[Code.OK]
    assert (await shop.ledger()).balanced


@pytest.mark.parametrize(
    "kill_after", [300, pytest.param(1, marks=pytest.mark.long), pytest.param(600, marks=pytest.mark.long)]
)
async def test_a_killed_service_loses_no_acknowledged_order(shop: Retailer, kill_after: int) -> None:
    await shop.count({("MUG", "dc"): 5_000})
    orders = [order(f"A-{n}", request_id=request_id()) for n in range(4_000)]
    acknowledged: dict[str, str] = {}

    async with killable(shop.database_url) as (process, stub, metrics_address):
        pages = [await asyncio.to_thread(_page_of, metrics_address)]

        async def scrape() -> None:
            while process.poll() is None:
                with suppress(OSError, HTTPException):
                    pages.append(await asyncio.to_thread(_page_of, metrics_address))

        async def send(requests: list[allocation_pb.AllocateOrderRequest]) -> None:
            for request in requests:
                code, response = await outcome(stub.AllocateOrder(request))
                if code != Code.OK:
                    return
                acknowledged[request.order_id] = response.allocation.allocation_id
                if len(acknowledged) == kill_after:
                    process.send_signal(signal.SIGKILL)

        await asyncio.gather(scrape(), *(send(orders[n::40]) for n in range(40)))
    # What the killed service counted last is at most what it had written, and was.
    last, tables = counted(text_string_to_metric_families(pages[-1])), await written(shop)
    assert all(count <= tables[key] for key, count in last.items()), (last, tables)
    retries = [request for request in orders if request.order_id in acknowledged or int(request.order_id[2:]) < 600]
    responses = await asyncio.gather(*(shop.allocations.AllocateOrder(request) for request in retries))

    ids = {response.allocation.order_id: response.allocation.allocation_id for response in responses}
    stored = {row["order_id"]: str(row["id"]) for row in await shop.sql("SELECT order_id, id FROM allocation")}
    assert kill_after <= len(acknowledged) < 4_000
    assert acknowledged.items() <= ids.items() <= stored.items()
    assert await shop.sellable("MUG") == 5_000 - len(stored)
    assert (await shop.ledger()).balanced


@asynccontextmanager
async def killable(database_url: str) -> AsyncIterator[tuple[subprocess.Popen[str], Any, str]]:
    """A service in its own process, which the test may kill, a stub and the address of its metrics."""
    flags = ["--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", "--rules", str(PLAIN_RULES)]
    process = await asyncio.to_thread(
        subprocess.Popen,
        [sys.executable, "-m", "service", "serve", "--database-url", database_url, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # Nobody reads the output beyond the address, and a service whose output is full stands still.
        env={**os.environ, "TRUESTOCK_LOG_CALLS_PER_SECOND": "0"},
        text=True,
        cwd=REPOSITORY,
    )
    try:
        addresses = await asyncio.to_thread(_addresses_of, process)
        async with grpc.aio.insecure_channel(addresses.grpc) as channel:
            yield process, allocation_grpc.AllocationServiceStub(channel), addresses.metrics
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate)


def _page_of(metrics_address: str) -> str:
    with urllib.request.urlopen(f"http://{metrics_address}/metrics", timeout=5) as answer:
        page: str = answer.read().decode()
    return page


def order(order_id: str, **fields: Any) -> allocation_pb.AllocateOrderRequest:
    """A sold order for one mug."""
    line = order_pb2.OrderLine(sku="MUG", unit_count=1)
    return allocation_pb.AllocateOrderRequest(
        channel_id="web", order_id=order_id, commitment=SOLD, lines=[line], **fields
    )


def database_calls(shop: Retailer, allocation_id: str) -> dict[str, Callable[[], Awaitable[Any]]]:
    """One call of every kind that needs the database."""
    return {
        "AllocateOrder": lambda: shop.allocate("A-2", {"MUG": 2}),
        "AllocateOrder, dry": lambda: shop.allocate("A-3", {"MUG": 2}, validate_only=True),
        "ConfirmAllocation": lambda: shop.confirm(allocation_id),
        "CancelOrderLines": lambda: shop.cancel(allocation_id, {"1": 1}),
        "GetAllocation": lambda: shop.get(allocation_id),
        "CheckAvailability": lambda: shop.sellable("MUG"),
        "ListStockLevels": lambda: shop.level("MUG", "dc"),
        "RecordStockChanges": lambda: shop.count({("MUG", "dc"): 50}),
        "ListProducts": lambda: shop.catalog.ListProducts(catalog_pb.ListProductsRequest()),
        "UpsertChannels": shop.set_up,
    }


async def life_of_orders(
    shop: Retailer, name: str, caller: Callable[[Callable[[str], Awaitable[Any]]], Awaitable[None]]
) -> None:
    """Every kind of call that writes and counts, each made by `caller` with a request id of its choice."""

    async def assign(id: str) -> None:
        request = exception_pb.AssignExceptionRequest(
            exception_id=rejected.exception_id, assignee="Anna", actor="Anna", request_id=id
        )
        await shop.exceptions.AssignException(request)

    received = change("MUG", "dc", movement=movement(stock_pb.MOVEMENT_KIND_RECEIVED, 3))

    async def receive(id: str) -> None:
        request = stock_pb.RecordStockChangesRequest(source="counter", changes=[received], request_id=id)
        await shop.stock_service.RecordStockChanges(request)

    held = await shop.allocate(f"{name}-1", {"MUG": 5}, HOLD)
    await caller(lambda id: shop.confirm(held.allocation_id, request_id=id))
    await caller(lambda id: shop.cancel(held.allocation_id, {"1": 1}, request_id=id))
    shipment = (await shop.get(held.allocation_id)).allocation.shipments[0]
    await caller(lambda id: shop.ship(shipment, {"1": 3}, request_id=id))
    await caller(
        lambda id: shop.record_return(
            held.allocation_id, {"1": 1}, "sellable", "dc", event_id=f"return-{name}", request_id=id
        )
    )
    await caller(lambda id: shop.reject(shipment, "not_found", {"1": 1}, request_id=id))
    [rejected] = await shop.open_exceptions()
    await caller(assign)
    cancelled = exception_pb2.EXCEPTION_RESOLUTION_CANCELLED
    await caller(lambda id: shop.resolve(rejected.exception_id, cancelled, request_id=id))
    other = await shop.allocate(f"{name}-2", {"MUG": 4}, HOLD)
    await caller(lambda id: shop.release(other.allocation_id, request_id=id))
    await caller(receive)


def business_counters(shop: Retailer) -> dict[tuple[str, ...], float]:
    """The counters of what happened to orders, stock and exceptions; not those of calls, retries and bytes."""
    return {
        (sample.name, *map(str, sorted(sample.labels.items()))): sample.value
        for family in shop.service.metrics.registry.collect()
        for sample in family.samples
        if family.type == "counter"
        and sample.name.endswith("_total")
        and not any(word in sample.name for word in ("rpc_", "database_", "_bytes_"))
    }


def increases(before: Mapping[tuple[str, ...], float], after: Mapping[tuple[str, ...], float]) -> Any:
    return {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}


async def outcome(call: Awaitable[Any]) -> tuple[grpc.StatusCode, Any]:
    try:
        return Code.OK, await call
    except grpc.aio.AioRpcError as error:
        return error.code(), None


class Refusal:
    """The error of a refused call: its code, reason, metadata and retry time."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code, self.reason, self.retry_seconds = error.code(), "", 0.0
        self.metadata: dict[str, str] = {}
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
        for detail in status.details if status else ():
            info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                self.reason, self.metadata = info.reason, dict(info.metadata)
            if detail.Unpack(retry):
                self.retry_seconds = retry.retry_delay.ToTimedelta().total_seconds()


async def refusal(call: Awaitable[Any]) -> Refusal:
    try:
        response = await call
    except grpc.aio.AioRpcError as error:
        return Refusal(error)
    raise AssertionError(f"expected an error, got {response}")


@asynccontextmanager
async def locked(shop: Retailer, *tables: str) -> AsyncIterator[None]:
    """Locks every row of the tables while the block lasts, like a slow writer."""
    connection = await asyncpg.connect(plain_url(shop.database_url))
    try:
        async with connection.transaction():
            for table in tables:
                await connection.execute(f"SELECT FROM {table} FOR UPDATE")
            yield
    finally:
        await connection.close()
