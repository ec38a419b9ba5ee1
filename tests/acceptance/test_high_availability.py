"""A Patroni cluster loses its primary twenty times under load: no answered order is lost, and two services follow."""

from __future__ import annotations

import asyncio
import itertools
import math
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.cli.commands import database_commands
from service.settings import Settings
from tests.patroni_cluster import PatroniCluster, PatroniNode, needs_patroni, patroni_cluster
from tests.retailer import Retailer, eventually
from tests.server_processes import ServerProcess, server_processes
from tests.steady_shoppers import REPEATED, Shoppers, check_each_order_is_there_once
from tests.waiting import wait_until
from truestock.v1 import allocation_service_pb2 as allocation_pb, allocation_service_pb2_grpc as allocation_grpc

pytestmark = [pytest.mark.database, pytest.mark.long, needs_patroni]

SKUS = [f"SKU-{number}" for number in range(10)]
STOCK = {(sku, location): 50_000 for sku in SKUS for location in ("dc", "store")}
SERVING_SECONDS = 10.0
"""How soon after the new primary both services must be SERVING."""
ORDERS_BETWEEN = 20
CANCELLED_BETWEEN = 3


@pytest.fixture
def cluster() -> Iterator[PatroniCluster]:
    with patroni_cluster() as running:
        yield running


@dataclass(slots=True)
class Failover:
    """What one loss was like, in seconds.

    `primary`: until there was a new primary. `serving`: from then until both services were SERVING. `answered`: from
    then until an order was answered that was asked for after it, which needs a standby that follows the new primary.
    `gap`: the longest time without an answer to any order. `wait`: the longest that one order was repeated for.
    """

    kind: str
    begin: float
    primary: float
    serving: float
    answered: float
    gap: float = 0.0
    wait: float = 0.0


Event = tuple[str, str, int]
"""Of which order, what, and when in nanoseconds."""


class Watcher:
    """Follows all orders at one server, and resumes where it was when its stream ends."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._token = ""
        self.events: set[Event] = set()
        self.resumed = 0

    async def sees(self, events: set[Event]) -> None:
        """Waits until it has seen these events."""

        async def has_seen() -> bool:
            return self.events >= events

        await eventually(has_seen, 30)

    async def follow(self, started: asyncio.Event) -> None:
        """Follows until it is cancelled; sets `started` once nothing that changes from now on is missed."""
        async with grpc.aio.insecure_channel(self._address) as channel:
            stub = allocation_grpc.AllocationServiceStub(channel)
            while True:
                request = allocation_pb.WatchOrdersRequest(
                    resume_token=self._token, heartbeat_interval=Duration(seconds=1)
                )
                try:
                    async for message in stub.WatchOrders(request):
                        for change in message.changes:
                            order_id = change.allocation.order_id
                            self.events.update(
                                (order_id, event.event, event.event_time.ToNanoseconds()) for event in change.events
                            )
                        self._token = message.resume_token
                        started.set()
                except grpc.aio.AioRpcError as error:
                    if error.code() not in REPEATED:
                        raise
                    self.resumed += 1
                    await asyncio.sleep(0.05)


@asynccontextmanager
async def following(addresses: Sequence[str]) -> AsyncIterator[list[Watcher]]:
    """A watcher at each address, for the block."""
    watchers = [Watcher(address) for address in addresses]
    events = [asyncio.Event() for _ in watchers]
    tasks = [asyncio.create_task(watcher.follow(event)) for watcher, event in zip(watchers, events, strict=True)]
    try:
        await asyncio.gather(*(event.wait() for event in events))
        yield watchers
        assert not any(task.done() for task in tasks), [task.exception() for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def postgres_is_killed(cluster: PatroniCluster, primary: PatroniNode) -> PatroniNode:
    """kill -9 of the primary's PostgreSQL. It is started again in its place where Patroni finds no other to promote."""
    killed = primary.postgres_pid()
    primary.kill_postgres()
    return cluster.wait_for_primary(primary, killed)


def switched_over(cluster: PatroniCluster, primary: PatroniNode) -> PatroniNode:
    """Through Patroni's REST API."""
    primary.switch_over()
    return cluster.wait_for_primary(primary)


def patroni_is_killed(cluster: PatroniCluster, primary: PatroniNode) -> PatroniNode:
    """kill -9 of the primary's Patroni: its PostgreSQL goes on by itself until Patroni is started again."""
    primary.program.kill()
    new = cluster.wait_for_primary(primary)
    primary.program.start()
    return new


def etcd_leader_is_killed(cluster: PatroniCluster, primary: PatroniNode) -> PatroniNode:
    """The primary stays the primary unless it cannot renew its key in time."""
    leader = next(member for member in cluster.etcd if member.is_leader())
    leader.program.kill()
    wait_until(lambda: any(member.is_leader() for member in cluster.etcd), 60, "etcd has a new leader")
    new = cluster.wait_for_primary()
    leader.program.start()
    return new


def both_are_killed(cluster: PatroniCluster, primary: PatroniNode) -> PatroniNode:
    """As if the machine were gone: Patroni and its PostgreSQL at once, which are started again after it."""
    primary.program.kill()
    primary.kill_postgres()
    new = cluster.wait_for_primary(primary)
    primary.program.start()
    return new


Loss = Callable[[PatroniCluster, PatroniNode], PatroniNode]
LOSSES: list[Loss] = [
    *(postgres_is_killed, switched_over, postgres_is_killed, etcd_leader_is_killed, postgres_is_killed),
    *(switched_over, postgres_is_killed, patroni_is_killed, switched_over, postgres_is_killed),
    *(postgres_is_killed, etcd_leader_is_killed, switched_over, postgres_is_killed, switched_over),
    *(both_are_killed, postgres_is_killed, switched_over, postgres_is_killed, switched_over),
    *(postgres_is_killed, switched_over),
]
"""Twenty that make another node the primary, and two that must not lose anything either."""


async def test_twenty_failovers_lose_and_double_no_answered_order(cluster: PatroniCluster) -> None:
    await asyncio.to_thread(database_commands.migrate_database, Settings(database_url=cluster.url))
    servers = [ServerProcess(cluster.url, is_owner=True) for _ in range(2)]
    with server_processes(*servers):
        async with (
            Retailer.connect_to_process(servers[0].address, cluster.url) as shop,
            Shoppers.connect([server.address for server in servers], 2) as shoppers,
            following([server.address for server in servers]) as watchers,
        ):
            await shop.set_up()
            await shop.stock(STOCK)
            stop = asyncio.Event()
            working = asyncio.gather(shoppers.order(stop, SKUS, at_once=4), shoppers.receive(stop, STOCK))
            failovers = [await lived_through(loss, cluster, servers, shoppers) for loss in LOSSES]
            await shoppers.more_orders(ORDERS_BETWEEN)
            stop.set()
            await working
            await shoppers.ask_again()
            await check_each_order_is_there_once(shop, shoppers, STOCK)
            events = await all_events(shop)
            for watcher in watchers:
                await watcher.sees(events)
    ledger = await asyncio.to_thread(database_commands.verify_ledger, Settings(database_url=cluster.url))
    report(failovers, shoppers, watchers)

    assert ledger.balanced
    assert {order_id for order_id, event, _ in events if event == "cancelled"} == shoppers.cancelled
    assert shoppers.repeats > 0
    assert max(failover.serving for failover in failovers) < SERVING_SECONDS


async def lived_through(
    loss: Loss, cluster: PatroniCluster, servers: Sequence[ServerProcess], shoppers: Shoppers
) -> Failover:
    """Loses the primary of a whole cluster, and waits until both services serve."""
    await asyncio.to_thread(cluster.wait_until_whole)
    await shoppers.more_orders(ORDERS_BETWEEN)
    await shoppers.cancel(CANCELLED_BETWEEN)
    old = await asyncio.to_thread(cluster.wait_for_primary)
    begin = time.monotonic()
    new = await asyncio.to_thread(loss, cluster, old)
    promoted = time.monotonic()
    assert new is not old or loss in (etcd_leader_is_killed, postgres_is_killed)
    await asyncio.gather(*(until_serving(server) for server in servers))
    serving = time.monotonic()
    await shoppers.ordered_after(promoted)
    answered = time.monotonic()
    if answered - promoted > SERVING_SECONDS:
        sys.stdout.write(f"{loss.__name__}: no order for {answered - promoted:.2f} s\n{cluster.logs()}\n")
    return Failover(loss.__name__, begin, promoted - begin, serving - promoted, answered - promoted)


async def all_events(shop: Retailer) -> set[Event]:
    """Every event of every order, as the database has them."""
    rows = await shop.sql(
        "SELECT order_id, event, (extract(epoch FROM event_time) * 1000000)::bigint * 1000 AS nanoseconds "
        "FROM order_event JOIN allocation ON allocation.id = allocation_id"
    )
    return {(row["order_id"], row["event"], row["nanoseconds"]) for row in rows}


async def until_serving(server: ServerProcess) -> None:
    """Returns when the server's health service says SERVING."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)

        async def is_serving() -> bool:
            answer = await stub.Check(health_pb2.HealthCheckRequest())
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

        await eventually(is_serving, 60)


def report(failovers: Sequence[Failover], shoppers: Shoppers, watchers: Sequence[Watcher]) -> None:
    """Prints what the callers noticed; pytest shows it with -s."""
    lines = [""]
    ends = [*(failover.begin for failover in failovers[1:]), math.inf]
    for failover, end in zip(failovers, ends, strict=True):
        answers = sorted(answered for _, answered in shoppers.waits if failover.begin <= answered < end)
        failover.gap = max(b - a for a, b in itertools.pairwise([failover.begin, *answers]))
        failover.wait = max(b - a for a, b in shoppers.waits if failover.begin <= b < end)
        lines.append(
            f"{failover.kind:22} new primary {failover.primary:5.2f} s, serving after {failover.serving:5.2f} s, "
            f"orders after {failover.answered:5.2f} s, no answer for {failover.gap:5.2f} s, "
            f"longest order {failover.wait:5.2f} s"
        )
    resumed = [watcher.resumed for watcher in watchers]
    lines.append(f"{len(shoppers.answers)} orders, {shoppers.repeats} repeats, watches resumed {resumed} times")
    sys.stdout.write("\n".join(lines))
