"""The database goes away, answers get lost, servers are killed, callers give up: no unit is lost or promised twice."""

from __future__ import annotations

import asyncio
import base64
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from service import limits
from service.app.application import running
from service.database.database import plain_url
from service.settings import Settings
from tests.conftest import PLAIN_RULES, REPOSITORY, RetailerMaker, _address_of
from tests.retailer import HOLD, SOLD, Retailer, State, change, movement, promised, request_id
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    allocation_service_pb2_grpc as allocation_grpc,
    catalog_service_pb2 as catalog_pb,
    order_pb2,
    stock_service_pb2 as stock_pb,
)

Code = grpc.StatusCode


class Wire:
    """What lies between a service and PostgreSQL: it can be cut, and lose a COMMIT or its answer."""

    def __init__(self, target: str, path: Path) -> None:
        self.lose_commits = self.lose_commit_answers = 0
        self.pause_before = b"\x00 nothing"
        self.paused, self.go_on = asyncio.Event(), asyncio.Event()
        self._target, self._path = target, path
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def mend(self) -> None:
        self._server = await asyncio.start_unix_server(self._carry, self._path)

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        far_reader, far_writer = await asyncio.open_unix_connection(self._target)
        lost = asyncio.Event()
        ways = [
            asyncio.create_task(self._up(reader, far_writer, lost)),
            asyncio.create_task(self._down(far_reader, writer, lost)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass
        finally:
            self._connections.discard(task)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.close()
            far_writer.close()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        while data := await reader.read(1 << 16):
            if self.pause_before in data:
                self.paused.set()
                await self.go_on.wait()
            if b"COMMIT" in data and self.lose_commits:
                self.lose_commits -= 1
                return
            if b"COMMIT" in data and self.lose_commit_answers:
                self.lose_commit_answers -= 1
                lost.set()
            writer.write(data)

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        while data := await reader.read(1 << 16):
            if lost.is_set():
                return
            writer.write(data)


@pytest.fixture
async def wired(database_url: str) -> AsyncIterator[tuple[Retailer, Wire]]:
    """A service whose way to the database is a wire, with a hundred mugs."""
    folder = Path(tempfile.mkdtemp(prefix="wire-"))
    before, query = database_url.split("?host=")
    host, port = query.split("&port=")
    wire = Wire(f"{host}/.s.PGSQL.{port}", folder / f".s.PGSQL.{port}")
    await wire.mend()
    async with AsyncExitStack() as stack:
        shop = await RetailerMaker(f"{before}?host={folder}&port={port}", stack).make()
        shop.database_url = database_url
        await shop.stock({("MUG", "dc"): 100})
        yield shop, wire
    await wire.cut()
    shutil.rmtree(folder)


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 100})
    return retailer


# Lost commits


@pytest.mark.parametrize("what", ["lose_commits", "lose_commit_answers"])
async def test_a_lost_commit_is_noticed_and_every_write_happens_once(wired: tuple[Retailer, Wire], what: str) -> None:
    shop, wire = wired
    received = movement(stock_pb.MOVEMENT_KIND_RECEIVED, 3)

    async def unlucky(call: Awaitable[Any]) -> Any:
        setattr(wire, what, 2)
        answer = await call
        assert getattr(wire, what) == 0
        return answer

    held = await unlucky(shop.allocate("A-1", {"MUG": 5}, HOLD))
    await unlucky(shop.confirm(held.allocation_id))
    await unlucky(shop.cancel(held.allocation_id, {"1": 2}))
    other = await unlucky(shop.allocate("A-2", {"MUG": 4}, HOLD))
    await unlucky(shop.release(other.allocation_id))
    await unlucky(shop.record(change("MUG", "dc", movement=received)))

    level = await shop.level("MUG", "dc")
    assert (level.on_hand_count, level.allocated_count, level.held_count) == (103, 3, 0)
    assert (await shop.ledger()).balanced


async def test_an_order_whose_commit_was_lost_is_counted_once(wired: tuple[Retailer, Wire]) -> None:
    shop, wire = wired

    wire.lose_commit_answers = 1
    held = await shop.allocate("A-1", {"MUG": 2}, SOLD)
    wire.lose_commit_answers = 1
    await shop.cancel(held.allocation_id, {"1": 1})

    assert shop.metric("sold_units_total", channel="web") == 2
    assert shop.metric("allocated_units_total", channel="web", location="dc") == 2
    assert shop.metric("cancelled_units_total", channel="web") == 1


# The database away


async def test_while_the_database_is_away_every_call_is_told_to_try_again(wired: tuple[Retailer, Wire]) -> None:
    shop, wire = wired
    held = await shop.allocate("A-1", {"MUG": 2}, HOLD)
    calls = everything(shop, held.allocation_id)

    await wire.cut()
    while_away = dict(zip(calls, await asyncio.gather(*(refusal(call()) for call in calls.values())), strict=True))
    await wire.mend()
    for call in calls.values():
        await call()

    assert {name: error.code for name, error in while_away.items()} == dict.fromkeys(calls, Code.UNAVAILABLE)
    assert all(error.retry_seconds for error in while_away.values())
    assert (await shop.ledger()).balanced


async def test_connections_that_are_ended_under_load_lose_nothing(shop: Retailer) -> None:
    async def end_connections() -> None:
        for _ in range(5):
            await asyncio.sleep(0.1)
            await shop.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'truestock'"
            )

    answers, _ = await asyncio.gather(
        asyncio.gather(*(in_turn(shop, f"A-{n}", 15) for n in range(10))), end_connections()
    )

    assert sum(answers) == 100
    assert await shop.sellable("MUG") == 0
    assert (await shop.ledger()).balanced


async def in_turn(shop: Retailer, name: str, count: int) -> int:
    """Units that orders of one unit each, one after the other, were promised."""
    return sum([sum(promised(await shop.allocate(f"{name}-{n}", {"MUG": 1})).values()) for n in range(count)])


# Errors of the database


async def test_a_serialization_failure_is_tried_again(shop: Retailer) -> None:
    await break_movements(shop, "nextval('faults') <= 3", errcode="40001")

    answer = await shop.allocate("A-1", {"MUG": 2})

    assert promised(answer) == {"dc": 2}
    assert shop.metric("database_retries_total", operation="allocate") == 3
    assert shop.metric("sold_orders_total", channel="web") == 1
    assert (await shop.ledger()).balanced


async def test_a_failure_that_does_not_end_uses_up_no_id_and_leaves_no_rows(shop: Retailer) -> None:
    same = request_id()
    await break_movements(shop, "true", errcode="40001")

    error = await refusal(shop.allocate("A-1", {"MUG": 2}, request_id=same))

    assert (error.code, error.reason, error.retry_seconds) == (Code.UNAVAILABLE, "NOT_READY", 1)
    assert not await shop.sql("SELECT FROM allocation UNION ALL SELECT FROM request WHERE method = 'AllocateOrder'")
    await shop.sql("DROP TRIGGER broken ON stock_movement")
    assert promised(await shop.allocate("A-1", {"MUG": 3}, request_id=same)) == {"dc": 3}


@pytest.mark.parametrize(
    "errcode", ["57014", "53100", "53200", "25006", "55P03"], ids=["cancelled", "disk", "memory", "standby", "lock"]
)
async def test_a_moment_of_trouble_in_the_database_is_tried_again(shop: Retailer, errcode: str) -> None:
    """A cancelled statement, a full disk, no memory, a failover to another server, a lock that came too late."""
    await break_movements(shop, "nextval('faults') <= 1", errcode=errcode)

    assert promised(await shop.allocate("A-1", {"MUG": 2})) == {"dc": 2}


async def test_an_order_that_fails_unexpectedly_fails_alone(shop: Retailer) -> None:
    await shop.sql("CREATE FUNCTION broken() RETURNS trigger AS 'BEGIN RAISE division_by_zero; END' LANGUAGE plpgsql")
    await shop.sql(
        "CREATE TRIGGER broken BEFORE INSERT ON allocation FOR EACH ROW WHEN (new.order_id = 'A-13') "
        "EXECUTE FUNCTION broken()"
    )

    answers = await asyncio.gather(*(shop.allocate(f"A-{n}", {"MUG": 1}) for n in range(50)), return_exceptions=True)

    failed = [n for n, answer in enumerate(answers) if isinstance(answer, BaseException)]
    assert failed == [13]
    assert await shop.sellable("MUG") == 51
    assert (await shop.ledger()).balanced


async def break_movements(shop: Retailer, condition: str, *, errcode: str) -> None:
    """Every new movement of an order raises a database error while the condition holds."""
    await shop.sql("CREATE SEQUENCE faults")
    await shop.sql(
        f"CREATE FUNCTION broken() RETURNS trigger AS $$ BEGIN IF {condition} THEN "
        f"RAISE EXCEPTION 'injected' USING ERRCODE = '{errcode}'; END IF; RETURN new; END $$ LANGUAGE plpgsql"
    )
    await shop.sql(
        "CREATE TRIGGER broken BEFORE INSERT ON stock_movement FOR EACH ROW WHEN (new.source = 'orders') "
        "EXECUTE FUNCTION broken()"
    )


# Callers that give up, and too many of them


async def test_an_order_whose_caller_gave_up_is_promised_once_when_it_comes_again(shop: Retailer) -> None:
    ids = [request_id() for _ in range(20)]
    async with locked(shop, "stock_level"):
        orders = [order(f"A-{n}", request_id=same) for n, same in enumerate(ids)]
        errors = await asyncio.gather(*(refusal(shop.allocations.AllocateOrder(x, timeout=0.4)) for x in orders))
    answers = await asyncio.gather(*(shop.allocations.AllocateOrder(x) for x in orders))

    assert {error.code for error in errors} == {Code.DEADLINE_EXCEEDED}
    assert {tuple(promised(answer.allocation).items()) for answer in answers} == {(("dc", 1),)}
    assert await shop.sellable("MUG") == 80
    assert shop.metric("sold_units_total", channel="web") == 20
    assert (await shop.ledger()).balanced


async def test_orders_whose_callers_gave_up_leave_nothing_behind(shop: Retailer) -> None:
    tasks_before = len(asyncio.all_tasks())
    async with locked(shop, "stock_level"):
        await asyncio.gather(
            *(refusal(shop.allocations.AllocateOrder(order(f"A-{n}"), timeout=0.4)) for n in range(99))
        )
    await asyncio.sleep(0.3)

    assert len(asyncio.all_tasks()) <= tasks_before
    # What was in flight already is carried out; what waited behind it is not.
    assert len(await shop.sql("SELECT FROM allocation")) <= 20
    assert shop.metric("allocator_queued_orders") == 0


async def test_a_call_that_its_caller_gave_up_is_not_counted_as_answered(shop: Retailer) -> None:
    async with locked(shop, "stock_level"):
        await refusal(shop.allocations.AllocateOrder(order("A-1"), timeout=0.3))
        await asyncio.sleep(0.1)

    method = "AllocationService/AllocateOrder"
    assert shop.metric("rpc_duration_seconds_count", method=method, code="OK") == 0
    assert shop.metric("rpc_duration_seconds_count", method=method, code="CANCELLED") == 1


async def test_past_the_bound_of_the_queue_orders_are_refused_at_once(
    shop: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "QUEUED_ORDERS", 50)
    async with locked(shop, "stock_level"):
        first = asyncio.create_task(shop.allocate("A-0", {"MUG": 1}))
        await asyncio.sleep(0.2)
        waiting = [asyncio.create_task(shop.allocate(f"A-{n}", {"MUG": 1})) for n in range(1, 51)]
        await asyncio.sleep(0.3)
        started = time.perf_counter()
        errors = await asyncio.gather(*(refusal(shop.allocate(f"B-{n}", {"MUG": 1})) for n in range(50)))
        seconds = time.perf_counter() - started

    answers = [await first, *await asyncio.gather(*waiting)]
    assert {(error.code, error.reason) for error in errors} == {(Code.RESOURCE_EXHAUSTED, "OVERLOADED")}
    assert all(error.retry_seconds for error in errors)
    assert seconds < 1
    assert {tuple(promised(answer).items()) for answer in answers} == {(("dc", 1),)}
    assert shop.metric("allocator_shed_orders_total") == 50


async def test_what_is_promised_can_be_confirmed_and_given_back_while_orders_are_refused(
    shop: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.stock({("CUP", "dc"): 2})
    paid, left = [await shop.allocate(f"C-{n}", {"CUP": 1}, HOLD) for n in range(2)]
    monkeypatch.setattr(limits, "QUEUED_ORDERS", 0)

    error = await refusal(shop.allocate("A-1", {"MUG": 1}))

    assert error.code == Code.RESOURCE_EXHAUSTED
    assert (await shop.confirm(paid.allocation_id)).state == State.STATE_CONFIRMED
    assert (await shop.release(left.allocation_id)).state == State.STATE_RELEASED


async def test_a_part_of_an_order_that_is_held_can_be_confirmed_while_orders_are_refused(
    shop: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await shop.allocate("A-1", {"MUG": 101}, HOLD)
    monkeypatch.setattr(limits, "QUEUED_ORDERS", 0)

    paid = await shop.confirm(held.allocation_id)

    assert paid.state == State.STATE_CONFIRMED


async def test_after_a_slow_moment_a_burst_of_orders_is_served(shop: Retailer) -> None:
    async with locked(shop, "stock_level"):
        slow = asyncio.create_task(shop.allocate("A-0", {"MUG": 1}))
        await asyncio.sleep(3)
    await slow

    burst = [order(f"A-{n}") for n in range(1, 21)]
    answers = await asyncio.gather(
        *(shop.allocations.AllocateOrder(x, timeout=0.5) for x in burst), return_exceptions=True
    )

    assert not [answer for answer in answers if isinstance(answer, BaseException)]


# Nonsense is the caller's fault, not ours


async def test_what_the_database_cannot_store_is_refused_and_named(shop: Retailer) -> None:
    ancient = change("MUG", "dc", at=datetime(1, 1, 1, tzinfo=UTC), count=stock_pb.StockCount(on_hand_count=3))
    nul = base64.urlsafe_b64encode(b"\x00\x1fdc").decode()

    errors = [
        await refusal(shop.record(ancient)),
        await refusal(shop.stock_service.ListStockLevels(stock_pb.ListStockLevelsRequest(page_token=nul))),
        await refusal(shop.catalog.ListProducts(catalog_pb.ListProductsRequest(skus=["\x00"]))),
    ]

    assert {error.code for error in errors} == {Code.INVALID_ARGUMENT}


# What reads see


async def test_what_may_be_sold_is_told_while_a_writer_is_at_work(shop: Retailer) -> None:
    async with locked(shop, "stock_level", "allocation"):
        async with asyncio.timeout(2):
            count = await shop.sellable("MUG")

    assert count == 100


async def test_an_order_is_shown_whole_while_it_is_planned_anew(wired: tuple[Retailer, Wire]) -> None:
    shop, wire = wired
    held = await shop.allocate("A-1", {"MUG": 2}, HOLD)
    async with AsyncExitStack() as stack:
        other = await RetailerMaker(shop.database_url, stack).make()
        wire.pause_before = b"FROM promise JOIN order_line"
        look = asyncio.create_task(shop.get(held.allocation_id))
        await wire.paused.wait()
        await other.allocate("A-1", {"MUG": 3}, HOLD)
        wire.go_on.set()

        seen = (await look).allocation

    line = seen.lines[0]
    assert line.unit_count == line.promised_count == sum(promised(seen).values())


# Servers that stop


async def test_a_service_that_stops_answers_the_orders_that_it_has(shop: Retailer) -> None:
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
        answers = await asyncio.gather(*calls)

    counts = Counter([Code.OK, *(code for code, _ in answers)])
    # A call that no handler has seen yet is cancelled by gRPC itself when the server closes.
    assert set(counts) <= {Code.OK, Code.UNAVAILABLE, Code.CANCELLED}
    assert 100 - counts[Code.OK] - counts[Code.CANCELLED] <= await shop.sellable("MUG") <= 100 - counts[Code.OK]
    assert (await shop.ledger()).balanced


async def test_a_killed_service_loses_no_order_that_it_acknowledged(shop: Retailer) -> None:
    await shop.count({("MUG", "dc"): 5_000})
    orders = [order(f"A-{n}", request_id=request_id()) for n in range(4_000)]
    acknowledged: dict[str, str] = {}

    async with killable(shop.database_url) as (process, stub):

        async def send(part: list[allocation_pb.AllocateOrderRequest]) -> None:
            for one in part:
                code, answer = await outcome(stub.AllocateOrder(one))
                if code != Code.OK:
                    return
                acknowledged[one.order_id] = answer.allocation.allocation_id
                if len(acknowledged) == 300:
                    process.send_signal(signal.SIGKILL)

        await asyncio.gather(*(send(orders[n::40]) for n in range(40)))
    sent_again = [one for one in orders if one.order_id in acknowledged or int(one.order_id[2:]) < 600]
    answers = await asyncio.gather(*(shop.allocations.AllocateOrder(one) for one in sent_again))

    ids = {answer.allocation.order_id: answer.allocation.allocation_id for answer in answers}
    stored = {row["order_id"]: str(row["id"]) for row in await shop.sql("SELECT order_id, id FROM allocation")}
    assert 300 <= len(acknowledged) < 4_000
    assert acknowledged.items() <= ids.items() <= stored.items()
    assert await shop.sellable("MUG") == 5_000 - len(stored)
    assert (await shop.ledger()).balanced


@asynccontextmanager
async def killable(database_url: str) -> AsyncIterator[tuple[subprocess.Popen[str], Any]]:
    """A service in a process of its own."""
    flags = ["--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", "--rules", str(PLAIN_RULES)]
    process = await asyncio.to_thread(
        subprocess.Popen,
        [sys.executable, "-m", "service", "serve", "--database-url", database_url, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=REPOSITORY,
    )
    try:
        address = await asyncio.to_thread(_address_of, process)
        async with grpc.aio.insecure_channel(address) as channel:
            yield process, allocation_grpc.AllocationServiceStub(channel)
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate)


def order(order_id: str, **fields: Any) -> allocation_pb.AllocateOrderRequest:
    """A sold order for one mug."""
    line = order_pb2.OrderLine(sku="MUG", unit_count=1)
    return allocation_pb.AllocateOrderRequest(
        channel_id="web", order_id=order_id, commitment=SOLD, lines=[line], **fields
    )


def everything(shop: Retailer, allocation_id: str) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Every kind of call that needs the database."""
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


async def outcome(call: Awaitable[Any]) -> tuple[grpc.StatusCode, Any]:
    try:
        return Code.OK, await call
    except grpc.aio.AioRpcError as error:
        return error.code(), None


class Refusal:
    """What a refused caller hears."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code, self.reason, self.retry_seconds = error.code(), "", 0.0
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
        for detail in status.details if status else ():
            info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                self.reason = info.reason
            if detail.Unpack(retry):
                self.retry_seconds = retry.retry_delay.ToTimedelta().total_seconds()


async def refusal(call: Awaitable[Any]) -> Refusal:
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return Refusal(error)
    raise AssertionError(f"expected an error, got {answer}")


@asynccontextmanager
async def locked(shop: Retailer, *tables: str) -> AsyncIterator[None]:
    """Every row of the tables is locked, as by a writer that takes its time."""
    connection = await asyncpg.connect(plain_url(shop.database_url))
    try:
        async with connection.transaction():
            for table in tables:
                await connection.execute(f"SELECT FROM {table} FOR UPDATE")
            yield
    finally:
        await connection.close()
