"""Starts and stops one service: rules, database, gRPC, metrics. Signals, logs and exit codes are in `process`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import asyncpg
import grpc
import structlog
from grpc_health.v1 import _async as health_aio, health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from policies.policy_set import PolicySet
from policies.source.problems import Problem
from service import limits
from service.allocation.allocation_queue import AllocationQueue
from service.allocation.backorders import Backorders
from service.app.health_probe import HealthProbe
from service.app.housekeeping import Housekeeping
from service.app.metrics_endpoint import MetricsServer
from service.app.reporting_lease import ReportingLease
from service.app.wiring import SERVICE_NAMES, add_services, new_id
from service.catalog import catalog_store
from service.catalog.catalog_store import Catalog
from service.database import migrate
from service.database.database import Database
from service.database.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError
from service.decisions.decision_retention import DecisionRetention
from service.dependencies import Background, Dependencies
from service.errors import NotReady, Overloaded
from service.metrics import Metrics
from service.policy import policy_store
from service.policy.active_policies import ActivePolicies
from service.policy.folder_watcher import FolderWatcher
from service.policy.rule_sandbox import RuleSandbox
from service.policy.rule_tests import tested
from service.policy.rules_folder import problems_text
from service.resolution.exception_sweep import ExceptionSweep
from service.resolution.location_sweep import LocationSweep
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
    # With port sharing, a second service on the same address would silently receive part of the calls.
    ("grpc.so_reuseport", 0),
    # gRPC ends a connection on which pings come more often, every 5 minutes by default; clients look for dead
    # connections more often than that while a watch is silent.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)


class StartError(Exception):
    """The service cannot start. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Running:
    """A service that accepts calls. `loaded_sample`: this start loaded the sample into an empty database.

    `has_sample`: the database holds the sample retailer. `lost` is set when the embedded PostgreSQL has exited.
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
class _DatabaseSource:
    """The database: its URL, a description for the start message, and its server if it is the embedded one."""

    url: str
    description: str
    embedded: EmbeddedPostgres | None = None

    @property
    def has_ended(self) -> bool:
        return self.embedded is not None and not self.embedded.running


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Runs a service with these settings until the block ends; parts stop in the reverse order of their start."""
    address, metrics_address = _address(settings.address), _address(settings.metrics_address)
    metrics = Metrics(CollectorRegistry())
    # Rules are read first, so that a refused folder leaves no process, port or database behind.
    active_policies = ActivePolicies(settings.rules, metrics)
    if settings.require_tests:
        await _require_tests(active_policies)
    _check_free(address)
    async with AsyncExitStack() as stack:
        source = await _find_database(settings, stack)
        database = await _open_database(settings, source.url, metrics)
        stack.push_async_callback(database.close)
        loaded = await _load_sample(settings, database, active_policies.in_force())
        catalog = await _start_counters(database, metrics)
        reporting_lease = ReportingLease(database, metrics, new_id())
        await reporting_lease.renew()
        await policy_store.store_rules(database, active_policies)
        metrics_server = _metrics_server(metrics_address, metrics, stack)
        port, health_servicer = await _start_grpc(
            Dependencies(settings, database, active_policies, metrics, new_id), address, stack
        )
        metrics_server.ready = True
        stack.callback(metrics_server.not_ready)
        lost = asyncio.Event()

        async def on_change(alive: bool) -> None:
            metrics_server.ready = alive
            await _set_health(health_servicer, alive=alive)
            if source.has_ended:
                lost.set()

        _background(stack, HealthProbe(database, on_change).run)
        _background(stack, reporting_lease.run)
        yield Running(
            address=str(Address(address.host, port)),
            metrics_address=str(Address(metrics_address.host, metrics_server.port)),
            database=source.description + (", through a connection pooler" if database.behind_pooler else ""),
            policy_revision=active_policies.current.policy_set.revision,
            loaded_sample=loaded,
            has_sample=WAREHOUSE in catalog.locations,
            metrics=metrics,
            lost=lost,
        )


async def _require_tests(active_policies: ActivePolicies) -> None:
    """Raises StartError if the rules folder has failing tests or rules without a test."""
    files = active_policies.current.files
    try:
        problems = (await tested(RuleSandbox(), files)).problems
    except (NotReady, Overloaded) as error:
        raise StartError(f"the tests of the rules could not be run: {error}") from error
    if problems:
        raise StartError(
            f"{problems_text(problems, dict(files))}\n"
            f"--require-tests refuses {active_policies.folder}; correct what fails, test what is untested, or start "
            "without it"
        )


async def _test_problems(sandbox: RuleSandbox, files: Mapping[str, bytes]) -> tuple[Problem, ...]:
    return (await tested(sandbox, files)).problems


async def _find_database(settings: Settings, stack: AsyncExitStack) -> _DatabaseSource:
    """The database of the settings, unchanged; without one, the embedded PostgreSQL, started and migrated."""
    if settings.database_url is not None:
        return _DatabaseSource(settings.database_url, "the PostgreSQL that --database-url or DATABASE_URL names")
    try:
        server = await asyncio.to_thread(EmbeddedPostgres.start, settings.data_dir)
    except EmbeddedPostgresError as error:
        raise StartError(str(error)) from error
    stack.push_async_callback(asyncio.to_thread, server.stop)
    await migrate.migrate(server.database_url)
    return _DatabaseSource(server.database_url, f"embedded PostgreSQL, data in {server.data_dir}", server)


async def _open_database(settings: Settings, url: str, metrics: Metrics) -> Database:
    try:
        revision = await migrate.revision(url)
        if revision != migrate.newest_revision():
            condition = f"is at schema {revision}" if revision else "has no Truestock tables yet"
            raise StartError(
                f"the database {condition}; this version needs schema {migrate.newest_revision()}; "
                "run `truestock migrate` with the same --database-url first"
            )
        return await Database.open(
            url,
            metrics,
            connections=settings.database_pool_size,
            statement_cache_size=settings.statement_cache_size,
        )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise StartError(f"the database cannot be reached: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    """Why no connection can be used, and what to do."""
    if "statement pooling" in str(error):
        return f"its connection pooler allows no transactions ({error}); set pool_mode to transaction or session"
    return f"{str(error) or 'no answer in time'}; check --database-url and that PostgreSQL is running"


async def _load_sample(settings: Settings, database: Database, policy_set: PolicySet) -> bool:
    load = settings.sample if settings.sample is not None else settings.database_url is None
    return await load_sample(database, new_id, policy_set) if load else False


async def _start_counters(database: Database, metrics: Metrics) -> Catalog:
    catalog = await database.unlocked("start", catalog_store.read)
    metrics.start_channels(catalog.channels, catalog.locations)
    return catalog


def _metrics_server(address: Address, metrics: Metrics, stack: AsyncExitStack) -> MetricsServer:
    try:
        server = MetricsServer(address, metrics.registry)
    except OSError as error:
        raise StartError(
            f"metrics cannot be served on {address}: {error.strerror}; choose another --metrics-address"
        ) from error
    stack.callback(server.close)
    return server


async def _start_grpc(
    deps: Dependencies, address: Address, stack: AsyncExitStack
) -> tuple[int, health_aio.HealthServicer]:
    """Starts gRPC and all background work; returns the port and the gRPC health service."""
    server = grpc.aio.server(interceptors=[CallInterceptor(deps.metrics)], options=GRPC_OPTIONS)
    queue, lifecycle = add_services(deps, server)
    health_servicer = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    reflection.enable_server_reflection((*SERVICE_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    try:
        port: int = server.add_insecure_port(str(address))
    except RuntimeError as error:
        raise StartError(
            f"gRPC cannot be served on {address}; another program may use it; choose another --address"
        ) from error
    await server.start()
    # It ends after the last call, so that what the last answers published is kept too.
    _background(stack, partial(deps.publication_log.run, deps.database))
    stack.push_async_callback(_drain, server, queue, deps)
    await _set_health(health_servicer, alive=True)
    stack.push_async_callback(health_servicer.enter_graceful_shutdown)
    housekeeping = Housekeeping(
        deps.database,
        lifecycle,
        backorders=Backorders(deps),
        locations=LocationSweep(deps),
        exceptions=ExceptionSweep(deps),
        publication_retention=timedelta(days=deps.settings.publication_retention_days),
    )
    _background(stack, housekeeping.run)
    retention = timedelta(days=deps.settings.decision_retention_days)
    _background(stack, DecisionRetention(deps.database, deps.active_policies, deps.metrics, retention).run)
    _background(stack, VelocityLearner(deps.database).run)
    _background(stack, partial(deps.publication_log.follow, deps.database))
    _background(stack, LedgerMonitor(deps.database, deps.metrics, deps.settings.verify_ledger_seconds).run)
    watch = FolderWatcher(
        deps.active_policies,
        lambda: policy_store.store_rules(deps.database, deps.active_policies),
        partial(_test_problems, RuleSandbox()) if deps.settings.require_tests else None,
    )
    _background(stack, watch.run)
    for work in deps.background:
        _background(stack, work)
    return port, health_servicer


async def _set_health(health_servicer: health_aio.HealthServicer, *, alive: bool) -> None:
    status = health_pb2.HealthCheckResponse.SERVING if alive else health_pb2.HealthCheckResponse.NOT_SERVING
    for name in ("", *SERVICE_NAMES):
        await health_servicer.set(name, status)


async def _drain(server: grpc.aio.Server, queue: AllocationQueue, deps: Dependencies) -> None:
    """Ends streams, refuses new calls and answers the calls in flight, within a bounded time."""
    seconds = deps.settings.drain_seconds
    deps.shutdown.set()
    with suppress(TimeoutError):
        await asyncio.wait_for(server.stop(seconds), timeout=seconds + 5)
    await queue.close()


def _background(stack: AsyncExitStack, work: Background) -> None:
    """Runs `work` until the stack unwinds. An error that ends it earlier is logged."""
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
    """Raises StartError if the gRPC address is in use, before the database is started."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        socket.create_server((address.host, address.port), family=family).close()
    except OSError as error:
        # Python appends the address as a tuple, which our sentence has already.
        reason, _, _ = (error.strerror or str(error)).partition(" (while attempting")
        raise StartError(f"gRPC cannot be served on {address}: {reason}; choose another --address") from error


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise StartError(str(error)) from error
