"""All connectors of one process: opens accounts, runs intake, workers, polls and upkeep until it is stopped."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import uvicorn
from cryptography.fernet import MultiFernet
from grpc import aio
from starlette.applications import Starlette

from service.background import every
from service.channels import health
from service.channels.accounts import Account, Accounts
from service.channels.adapter import Platform
from service.channels.connector_metrics import ConnectorMetrics
from service.channels.intake import Intake
from service.channels.polling import Polling
from service.channels.routine import Routine
from service.channels.running_account import RunningAccount
from service.channels.store.account_states import StoredTokens
from service.channels.store.connector_store import ConnectorStore
from service.channels.truestock_api import TruestockApi
from service.channels.upkeep import Upkeep
from service.channels.worker import Worker
from service.settings import Address

POLL_LOOK_SECONDS = 1.0
LOOK_SECONDS = 2.0
COUNT_SECONDS = 5.0
TOKEN_SECONDS = 15.0
ROUTINE_SECONDS = 30.0
PURGE_SECONDS = 3_600.0
STOP_SECONDS = 5
MOST_CONNECTIONS = 1_000


@dataclass(frozen=True, slots=True)
class Setup:
    """What the accounts file says, with what it needs: its platforms, and the cipher of tokens."""

    accounts: Accounts
    platforms: Mapping[str, Platform]
    cipher: MultiFernet


@dataclass(frozen=True, slots=True)
class Options:
    """How a process runs."""

    address: Address
    metrics_address: Address
    database_url: str
    poll_interval: timedelta = timedelta(minutes=2)
    metrics_token: health.MetricsToken | None = None
    """The token that /metrics asks for; without it, nobody is asked."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a running process answers."""

    webhooks: Address
    metrics: Address


@asynccontextmanager
async def opened(
    account: Account, setup: Setup, store: ConnectorStore, connection: aio.Channel
) -> AsyncIterator[RunningAccount]:
    """An account with its adapter, which is closed at the end."""
    platform = setup.platforms[account.platform]
    tokens = StoredTokens(
        store.pool,
        setup.cipher,
        account,
        platform.refresh,
        expires=platform.token_life,
        refresh_after=platform.refresh_after,
    )
    adapter = platform.open(account, tokens)
    try:
        yield RunningAccount(account, platform, adapter, tokens, TruestockApi(connection, account))
    finally:
        await adapter.close()


async def run(
    setup: Setup,
    options: Options,
    connect: Callable[[], aio.Channel],
    stop: asyncio.Event,
    *,
    started: Callable[[Listening], None],
) -> None:
    """Runs the connectors of all accounts until `stop` is set. Raises Away and OSError where it cannot start."""
    async with AsyncExitStack() as stack:
        store = await ConnectorStore.open(options.database_url)
        stack.push_async_callback(store.close)
        connection = await stack.enter_async_context(connect())
        running = {
            account.name: await stack.enter_async_context(opened(account, setup, store, connection))
            for account in setup.accounts.accounts
        }
        webhooks = stack.enter_context(_listener(options.address))
        metrics = stack.enter_context(_listener(options.metrics_address))
        work = _work(running, store, options, stop, webhooks=webhooks, metrics_socket=metrics)
        started(Listening(_address(webhooks), _address(metrics)))
        async with asyncio.TaskGroup() as group:
            for task in work:
                group.create_task(task)


def _work(
    running: Mapping[str, RunningAccount],
    store: ConnectorStore,
    options: Options,
    stop: asyncio.Event,
    *,
    webhooks: socket.socket,
    metrics_socket: socket.socket,
) -> list[Coroutine[Any, Any, None]]:
    metrics = ConnectorMetrics()
    metrics.start(one.account for one in running.values())
    intake = Intake(running, store.inbox, store.states, metrics)
    workers = {name: Worker(one, store.inbox, store.states, metrics) for name, one in running.items()}
    pollers = [
        Polling(one, store.inbox, store.cursors, store.states, interval=options.poll_interval)
        for one in running.values()
    ]
    routines = [Routine(one, store, metrics) for one in running.values()]
    upkeep = Upkeep(running, store, metrics)
    return [
        _serve(intake.app(), webhooks, stop),
        _serve(health.app(metrics.registry, lambda: upkeep.is_ready, options.metrics_token), metrics_socket, stop),
        every(LOOK_SECONDS, stop, upkeep.look, spread=0),
        every(COUNT_SECONDS, stop, upkeep.count),
        every(TOKEN_SECONDS, stop, upkeep.refresh_tokens),
        every(LOOK_SECONDS, stop, upkeep.report),
        *(every(ROUTINE_SECONDS, stop, routine.do_due, first_after=ROUTINE_SECONDS) for routine in routines),
        every(PURGE_SECONDS, stop, upkeep.purge, first_after=20),
        *(worker.run(stop) for worker in workers.values()),
        *(every(POLL_LOOK_SECONDS, stop, polling.poll_due, first_after=LOOK_SECONDS) for polling in pollers),
    ]


async def _serve(app: Starlette, door: socket.socket, stop: asyncio.Event) -> None:
    """Serves one port until `stop` is set; requests in progress get a few seconds."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=STOP_SECONDS,
        lifespan="off",
    )
    server = _Server(config)

    async def stop_server() -> None:
        await stop.wait()
        server.should_exit = True

    async with asyncio.TaskGroup() as group:
        group.create_task(stop_server())
        await server.serve(sockets=[door])
        stop.set()


class _Server(uvicorn.Server):
    """A server that leaves signals to the process, which has two of them."""

    def capture_signals(self) -> Any:
        """Captures none."""
        return nullcontext()


def _listener(address: Address) -> socket.socket:
    """Listens at once, so that a port that is taken is known before anything starts. Raises OSError."""
    return socket.create_server((address.host, address.port), family=address.family, backlog=256)


def _address(listener: socket.socket) -> Address:
    host, port = listener.getsockname()[:2]
    return Address(host, port)
