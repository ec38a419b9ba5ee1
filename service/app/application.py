"""One service from start to stop: rules, database, gRPC, metrics. How it runs as a process is in `process`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
import grpc
import structlog
from grpc_health.v1 import _async as health_aio, health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from policies.policy_set import PolicySet
from service import limits
from service.allocation.allocation_queue import AllocationQueue
from service.allocation.backorders import Backorders
from service.app.health_probe import HealthProbe
from service.app.housekeeping import Housekeeping
from service.app.metrics_endpoint import MetricsServer
from service.app.wiring import SERVICE_NAMES, add_services, new_id
from service.catalog import catalog_store
from service.catalog.catalog_store import Catalog
from service.database import migrate
from service.database.database import Database
from service.database.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError
from service.decisions.decision_retention import DecisionRetention
from service.dependencies import Background, Dependencies
from service.metrics import Metrics
from service.policy import policy_store
from service.policy.active_policies import ActivePolicies
from service.policy.folder_watcher import FolderWatcher
from service.resolution.exception_sweep import ExceptionSweep
from service.rpc.call_interceptor import CallInterceptor
from service.sample.sample_loading import load_sample
from service.sample.sample_retailer import WAREHOUSE
from service.settings import Address, Settings
from service.stock.ledger_monitor import LedgerMonitor
from service.stock.velocity_learner import VelocityLearner

log = structlog.get_logger(__name__)


GRPC_OPTIONS = (
    ("grpc.max_receive_message_length", limits.RECEIVE_BYTES),
    ("grpc.max_send_message_length", limits.RESPONSE_BYTES),
    # Two services on one address would each get some of the calls, and nobody would notice.
    ("grpc.so_reuseport", 0),
)


class StartError(Exception):
    """The service cannot start. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Running:
    """A service that answers. `loaded_sample` says whether it has just filled an empty database.

    `has_sample` says whether the sample retailer is there. `lost` is set when the embedded database has ended for good.
    """

    address: str
    metrics_address: str
    database: str
    policy_revision: str
    loaded_sample: bool
    has_sample: bool
    metrics: Metrics
    lost: asyncio.Event


@dataclass(frozen=True, slots=True)
class _Source:
    """The database: its URL, what it is in words, and its server where that is the embedded one."""

    url: str
    words: str
    embedded: EmbeddedPostgres | None = None

    @property
    def has_ended(self) -> bool:
        return self.embedded is not None and not self.embedded.running


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """A service on the addresses of `settings`, from its database to its open port; stopped in the opposite order."""
    address, metrics_address = _address(settings.address), _address(settings.metrics_address)
    metrics = Metrics(CollectorRegistry())
    # Rules come first: a folder that is refused leaves nothing started.
    folder = ActivePolicies(settings.rules, metrics)
    _check_free(address)
    async with AsyncExitStack() as stack:
        source = await _find_database(settings, stack)
        database = await _open_database(settings, source.url, metrics)
        stack.push_async_callback(database.close)
        loaded = await _load_sample(settings, database, folder.in_force())
        known = await _start_counters(database, metrics)
        await policy_store.keep(database, folder)
        metrics_server = _metrics_server(metrics_address, metrics, stack)
        port, healthy = await _start_grpc(Dependencies(settings, database, folder, metrics, new_id), address, stack)
        metrics_server.ready = True
        stack.callback(metrics_server.not_ready)
        lost = asyncio.Event()

        async def told(alive: bool) -> None:
            metrics_server.ready = alive
            await _set_health(healthy, alive=alive)
            if source.has_ended:
                lost.set()

        _background(stack, HealthProbe(database, told).run)
        yield Running(
            address=str(Address(address.host, port)),
            metrics_address=str(Address(metrics_address.host, metrics_server.port)),
            database=source.words,
            policy_revision=folder.current.policy_set.revision,
            loaded_sample=loaded,
            has_sample=WAREHOUSE in known.locations,
            metrics=metrics,
            lost=lost,
        )


async def _find_database(settings: Settings, stack: AsyncExitStack) -> _Source:
    """The database that is named, as it is; else the embedded one, started and migrated."""
    if settings.database_url is not None:
        return _Source(settings.database_url, "the PostgreSQL that --database-url or DATABASE_URL names")
    try:
        server = await asyncio.to_thread(EmbeddedPostgres.start, settings.data_dir)
    except EmbeddedPostgresError as error:
        raise StartError(str(error)) from error
    stack.push_async_callback(asyncio.to_thread, server.stop)
    await migrate.migrate(server.database_url)
    return _Source(server.database_url, f"embedded PostgreSQL, data in {server.data_dir}", server)


async def _open_database(settings: Settings, url: str, metrics: Metrics) -> Database:
    try:
        found = await migrate.revision(url)
        if found != migrate.newest_revision():
            has = f"has the tables of schema {found}" if found else "has no tables of Truestock yet"
            raise StartError(
                f"the database {has}, and this Truestock needs schema {migrate.newest_revision()}; "
                "run `truestock migrate` with the same --database-url first"
            )
        return await Database.open(
            url,
            metrics,
            connections=settings.database_pool_size,
            statement_cache_size=settings.statement_cache_size,
        )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise StartError(f"the database cannot be reached: {error}; check --database-url and that it runs") from error


async def _load_sample(settings: Settings, database: Database, policy_set: PolicySet) -> bool:
    wanted = settings.sample if settings.sample is not None else settings.database_url is None
    return await load_sample(database, new_id, policy_set) if wanted else False


async def _start_counters(database: Database, metrics: Metrics) -> Catalog:
    async with database.connection("start") as connection:
        known = await catalog_store.read(connection)
    metrics.start_channels(known.channels, known.locations)
    return known


def _metrics_server(address: Address, metrics: Metrics, stack: AsyncExitStack) -> MetricsServer:
    try:
        server = MetricsServer(address, metrics.registry)
    except OSError as error:
        raise StartError(
            f"metrics cannot be served on {address}: {error.strerror}; name another --metrics-address"
        ) from error
    stack.callback(server.close)
    return server


async def _start_grpc(
    deps: Dependencies, address: Address, stack: AsyncExitStack
) -> tuple[int, health_aio.HealthServicer]:
    """Starts everything that answers; returns the port, and what tells whether we are well."""
    server = grpc.aio.server(interceptors=[CallInterceptor(deps.metrics)], options=GRPC_OPTIONS)
    allocator, lifecycle = add_services(deps, server)
    healthy = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    reflection.enable_server_reflection((*SERVICE_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    try:
        port: int = server.add_insecure_port(str(address))
    except RuntimeError as error:
        raise StartError(
            f"gRPC cannot be served on {address}; is another service there? Name another --address"
        ) from error
    await server.start()
    stack.push_async_callback(_drain, server, allocator, deps)
    await _set_health(healthy, alive=True)
    stack.push_async_callback(healthy.enter_graceful_shutdown)
    _background(stack, Housekeeping(deps.database, lifecycle, Backorders(deps), ExceptionSweep(deps)).run)
    kept = timedelta(days=deps.settings.decision_retention_days)
    _background(stack, DecisionRetention(deps.database, deps.folder, deps.metrics, kept).run)
    _background(stack, VelocityLearner(deps.database).run)
    _background(stack, LedgerMonitor(deps.database, deps.metrics, deps.settings.verify_ledger_seconds).run)
    watch = FolderWatcher(deps.folder, lambda: policy_store.keep(deps.database, deps.folder))
    _background(stack, watch.run)
    for work in deps.background:
        _background(stack, work)
    return port, healthy


async def _set_health(healthy: health_aio.HealthServicer, *, alive: bool) -> None:
    status = health_pb2.HealthCheckResponse.SERVING if alive else health_pb2.HealthCheckResponse.NOT_SERVING
    for name in ("", *SERVICE_NAMES):
        await healthy.set(name, status)


async def _drain(server: grpc.aio.Server, allocator: AllocationQueue, deps: Dependencies) -> None:
    """Ends streams, refuses new calls and answers those in flight, within a bounded time."""
    seconds = deps.settings.drain_seconds
    deps.closing.set()
    with suppress(TimeoutError):
        await asyncio.wait_for(server.stop(seconds), timeout=seconds + 5)
    await allocator.close()


def _background(stack: AsyncExitStack, work: Background) -> None:
    """Runs `work` until the stack unwinds; what ends it before is logged, and ends with the service."""
    stop = asyncio.Event()
    task = asyncio.ensure_future(work(stop))
    task.add_done_callback(_log_failure)

    async def end() -> None:
        stop.set()
        await asyncio.wait([task])

    stack.push_async_callback(end)


def _log_failure(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a background task ended", exc_info=error)


def _check_free(address: Address) -> None:
    """Raises StartError where nothing could be served, before anything is started for it."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        socket.create_server((address.host, address.port), family=family).close()
    except OSError as error:
        raise StartError(f"gRPC cannot be served on {address}: {error.strerror}; name another --address") from error


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise StartError(str(error)) from error
