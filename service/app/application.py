"""Starts and stops one service: rules, database, gRPC, metrics. Signals, logs and exit codes are in `process`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, cast

import asyncpg
import grpc
import structlog
from grpc_health.v1 import _async as health_aio, health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import _async as reflection_async, reflection, reflection_pb2_grpc
from prometheus_client import CollectorRegistry

from policies.policy_set import PolicySet
from policies.source.problems import Problem
from service import limits
from service.allocation.allocation_queue import AllocationQueue
from service.allocation.lifecycle import Lifecycle
from service.allocation.replanning.backorders import Backorders
from service.app.database_source import find_database
from service.app.drain import Drain
from service.app.event_loop_monitor import measure_delays
from service.app.first_rules import first_rules
from service.app.health_probe import HealthProbe
from service.app.housekeeping import Housekeeping
from service.app.listening import Listening, StartError, listening
from service.app.metrics_endpoint import MetricsServer
from service.app.postal_code_loading import PostalCodeLoading
from service.app.reporting_lease import ReportingLease
from service.app.restarted_server import RestartedServer
from service.app.sample_service import place_orders
from service.app.wiring import SERVICE_NAMES, add_services, new_id
from service.app.worker import FIRST, Worker
from service.audit.access_audit import AccessAudit
from service.audit.audit_monitor import AuditMonitor
from service.audit.sealer import Sealer
from service.audit.signing import AuditKeyError, SigningKey
from service.background import FailureLog
from service.catalog import catalog_store
from service.catalog.catalog_store import Catalog
from service.database import migrate
from service.database.database import Database
from service.decisions.decision_retention import DecisionRetention
from service.dependencies import Background, Dependencies
from service.metrics import Metrics
from service.observability.call_log import CallLog
from service.observability.scrape_log import ScrapeLog
from service.observability.trace_export import MissingPackages, close_tracing, open_tracing
from service.orders import order_places
from service.policy import policy_store
from service.policy.folder_watcher import FolderWatcher
from service.policy.policy_history import PolicyHistory
from service.policy.rule_sandbox import RuleSandbox
from service.policy.rule_tests import tested
from service.resolution.cancellation_deadlines import CancellationDeadlines
from service.resolution.exception_sweep import ExceptionSweep
from service.resolution.location_sweep import LocationSweep
from service.rpc.bindings import Places
from service.rpc.call_interceptor import CallInterceptor
from service.rpc.caller import AccessCheck
from service.sample.sample_loading import load_sample
from service.sample.sample_retailer import WAREHOUSE
from service.settings import Address, Settings
from service.stock.velocity_learner import VelocityLearner

if TYPE_CHECKING:
    from service.observability.tracing import Tracing

log = structlog.get_logger(__name__)


GRPC_OPTIONS = (
    ("grpc.max_receive_message_length", limits.RECEIVE_BYTES),
    ("grpc.max_send_message_length", limits.RESPONSE_BYTES),
    # gRPC ends a connection on which pings come more often, every 5 minutes by default; clients look for dead
    # connections more often than that while a watch is silent.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)


CUT_OFF_SECONDS = 0.2
"""What calls get to answer that the service stops, once their connections to the database are cut off."""
PUBLICATIONS_SECONDS = 0.2
HISTORY_SECONDS = 0.1
METRICS_SECONDS = 0.2
CONNECTIONS_SECONDS = 0.3
TRACES_SECONDS = 0.3
"""What the parts that end after the last call get of a stop in any case, in this order."""


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
    has_tls: bool
    metrics: Metrics
    lost: asyncio.Event


@asynccontextmanager
async def running(
    settings: Settings, hurried: asyncio.Event | None = None, worker: Worker | None = None
) -> AsyncIterator[Running]:
    """Runs a service with these settings until the block ends; it then stops as `Drain` says.

    Setting `hurried` cuts off the calls in flight, for which the stop waits up to `drain_seconds`. As a `worker` it
    shares its address with other processes, and only the first of them does what one does for all.
    """
    listens, signing_key = listening(settings, is_worker=worker is not None), signing_key_of(settings)
    metrics = Metrics(CollectorRegistry())
    is_first = worker is None or worker.number == FIRST
    # Rules are read first, so that a refused folder leaves no process, port or database behind.
    active_policies = await first_rules(settings, metrics, worker.kept_rules if worker else None)
    async with Drain(settings.drain_seconds) as drain:
        tracing = _tracing(settings, drain)
        source = await find_database(settings, drain)
        database = await _open_database(settings, source.url, metrics)
        drain.add("database connections", database.close, needed_seconds=CONNECTIONS_SECONDS)
        loaded = await _load_sample(settings, database, active_policies.in_force())
        catalog = await _start_counters(database, metrics)
        reporting_lease = ReportingLease(database, metrics, new_id())
        if is_first:
            await reporting_lease.renew()
        await policy_store.store_rules(database, active_policies)
        instance = settings.instance or socket.gethostname()
        policy_history = PolicyHistory(database, active_policies, instance=instance, run_id=new_id())
        await policy_history.started()
        drain.add("history of rules", policy_history.stopped, needed_seconds=HISTORY_SECONDS)
        scrapes = worker.scrapes if worker else ScrapeLog()
        metrics_server = worker or metrics_server_of(listens, metrics.registry, drain, scrapes)
        if worker is not None:
            worker.begin(metrics.registry, active_policies.current.files)
        access_audit = AccessAudit(database, listens.authentication, instance, is_written=is_first)
        await access_audit.started()
        # Processes that answer by candidates read the same database, also if it is the embedded one.
        own_settings = settings.model_copy(update={"database_url": source.url})
        deps = Dependencies(own_settings, database, active_policies, metrics, new_id, scrapes=scrapes)
        if loaded and settings.sample_orders:
            await place_orders(deps)
        port, health_servicer = await _start_grpc(
            deps,
            policy_history,
            tracing,
            listens=listens,
            drain=drain,
            hurried=hurried,
            worker=worker,
        )
        metrics_server.ready = True
        metrics.service.database_up.set(1)
        metrics.service.workers.set(1)
        drain.add("readiness", metrics_server.not_ready, at_once=True)
        lost = asyncio.Event()

        async def on_change(alive: bool) -> None:
            metrics_server.ready = alive
            metrics.service.database_up.set(alive)
            await _set_health(health_servicer, alive=alive)
            if source.has_ended:
                lost.set()

        background(drain, "health probe", HealthProbe(database, on_change).run)
        background(drain, "access file", access_audit.run)
        background(drain, "keys of the issuer", listens.authentication.follow_keys)
        if is_first:
            background(drain, "reporting", reporting_lease.run)
            _keep_audit(deps, signing_key, drain)
        background(drain, "event loop monitor", partial(measure_delays, metrics))
        yield Running(
            address=str(Address(listens.address.host, port)),
            metrics_address=str(Address(listens.metrics_address.host, metrics_server.port)),
            database=source.description + (", through a connection pooler" if database.behind_pooler else ""),
            policy_revision=active_policies.current.policy_set.revision,
            loaded_sample=loaded,
            has_sample=WAREHOUSE in catalog.locations,
            has_tls=listens.certificates is not None,
            metrics=metrics,
            lost=lost,
        )


def signing_key_of(settings: Settings) -> SigningKey | None:
    """The key that signs the audit log. Raises StartError."""
    try:
        return None if settings.audit_key is None else SigningKey.read(settings.audit_key)
    except AuditKeyError as error:
        raise StartError(f"{error}, or start without --audit-key") from error


async def _test_problems(sandbox: RuleSandbox, files: Mapping[str, bytes]) -> tuple[Problem, ...]:
    return (await tested(sandbox, files)).problems


async def _open_database(settings: Settings, url: str, metrics: Metrics) -> Database:
    try:
        schema = await migrate.schema(url)
        if not schema.is_served:
            raise StartError(_refusal(schema))
        if schema.is_later:
            log.warning("a later version has migrated the database", schema=schema.revision)
        return await Database.open(
            url,
            metrics,
            connections=settings.database_pool_size,
            statement_cache_size=settings.statement_cache_size,
            traced=settings.otel_endpoint is not None,
        )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise StartError(f"the database cannot be reached: {_cause(error)}") from error


def _refusal(schema: migrate.Schema) -> str:
    needed = migrate.newest_revision()
    if schema.is_later:
        return (
            f"the database is at schema {schema.revision}, which versions since schema {schema.serves_since} may "
            f"serve; this version has {needed}; start a later one"
        )
    condition = f"is at schema {schema.revision}" if schema.revision else "has no Truestock tables yet"
    return (
        f"the database {condition}; this version needs schema {needed}; "
        "run `truestock migrate` with the same --database-url first"
    )


def _cause(error: Exception) -> str:
    """Why no connection can be used, and what to do."""
    if "statement pooling" in str(error):
        return f"its connection pooler allows no transactions ({error}); set pool_mode to transaction or session"
    return f"{str(error) or 'no answer in time'}; check --database-url and that PostgreSQL is running"


def _tracing(settings: Settings, drain: Drain) -> Tracing | None:
    """The traces of the service, None where they are off."""
    if settings.otel_endpoint is None:
        return None
    instance, failures = settings.instance or socket.gethostname(), FailureLog()
    try:
        tracing = open_tracing(
            settings.otel_endpoint,
            instance=instance,
            sample_ratio=settings.otel_sample_ratio,
            # A collector that is away is one line a minute.
            report=lambda error: failures.failed("traces are not exported", error, traceback=False),
        )
    except MissingPackages as error:
        raise StartError(str(error)) from error
    drain.add("traces", partial(close_tracing, tracing), needed_seconds=TRACES_SECONDS)
    return tracing


async def _load_sample(settings: Settings, database: Database, policy_set: PolicySet) -> bool:
    load = settings.sample if settings.sample is not None else settings.database_url is None
    return await load_sample(database, new_id, policy_set) if load else False


async def _start_counters(database: Database, metrics: Metrics) -> Catalog:
    catalog = await database.unlocked("start", catalog_store.read)
    metrics.start_channels(catalog.channels, catalog.locations)
    for feed in catalog.feeds.values():
        if not feed.owns:
            metrics.stock.start_observer(feed.source, feed.location_ids)
    return catalog


def metrics_server_of(
    listens: Listening, registry: CollectorRegistry, drain: Drain, scrapes: ScrapeLog
) -> MetricsServer:
    """Serves the metrics of a registry until the drain ends. Raises StartError."""
    address = listens.metrics_address
    try:
        server = MetricsServer(address, registry, listens.certificates, scrapes, listens.authentication)
    except OSError as error:
        raise StartError(
            f"metrics cannot be served on {address}: {error.strerror}; choose another --metrics-address"
        ) from error
    drain.add("metrics", lambda seconds: asyncio.to_thread(server.close, seconds), needed_seconds=METRICS_SECONDS)
    return server


async def _start_grpc(
    deps: Dependencies,
    policy_history: PolicyHistory,
    tracing: Tracing | None,
    *,
    listens: Listening,
    drain: Drain,
    hurried: asyncio.Event | None,
    worker: Worker | None,
) -> tuple[int, health_aio.HealthServicer]:
    """Starts gRPC and all background work; returns the port and the gRPC health service."""
    call_log = CallLog(deps.settings.log_calls_per_second, deps.settings.slow_call_seconds)

    async def find_places(field: str, id: str) -> Places | None:
        return await deps.database.unlocked(
            "find places", lambda connection: order_places.places(connection, field, id)
        )

    interceptor = CallInterceptor(
        deps.metrics, call_log, tracing, access=AccessCheck(listens.authentication, find_places)
    )
    # With port sharing, a second service on the same address would silently receive part of the calls.
    options = (*GRPC_OPTIONS, ("grpc.so_reuseport", int(worker is not None)))
    restarted = RestartedServer(lambda: grpc.aio.server(interceptors=[interceptor], options=options))
    server = cast(grpc.aio.Server, restarted)
    queue, lifecycle = add_services(deps, server)
    health_servicer = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    # `enable_server_reflection` would take a server that stands for another one for one with threads.
    names = (*SERVICE_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection_async.ReflectionServicer(names), server)
    try:
        port = _add_port(restarted, listens)
    except RuntimeError as error:
        raise StartError(
            f"gRPC cannot be served on {listens.address}; another program may use it; choose another --address"
        ) from error
    await server.start()
    # It ends after the last call, so that what the last answers published is kept too.
    background(
        drain,
        "publications",
        partial(deps.publication_log.run, deps.database),
        at_once=False,
        needed_seconds=PUBLICATIONS_SECONDS,
    )
    background(
        drain,
        "unmet demand",
        partial(deps.shortfall_log.run, deps.database, deps.metrics),
        at_once=False,
        needed_seconds=HISTORY_SECONDS,
    )
    drain.add("calls in flight", partial(_end_calls, server, queue, deps, hurried or asyncio.Event()), at_once=True)
    await _set_health(health_servicer, alive=True)
    drain.add("health service", lambda _: health_servicer.enter_graceful_shutdown(), at_once=True)
    if worker is None or worker.number == FIRST:
        _keep_house(deps, lifecycle, drain)
    background(drain, "postal codes of served countries", PostalCodeLoading(deps).run)
    background(drain, "publications of others", partial(deps.publication_log.follow, deps.database))

    async def record_rules() -> None:
        if worker is not None:
            worker.on_rules(deps.active_policies.current.files)
        await policy_store.store_rules(deps.database, deps.active_policies)
        await policy_history.reloaded()

    watch = FolderWatcher(
        deps.active_policies,
        record_rules,
        partial(_test_problems, RuleSandbox()) if deps.settings.require_tests else None,
    )
    background(drain, "rules folder", watch.run)
    for work in deps.background:
        background(drain, "background work", work)
    return port, health_servicer


def _keep_house(deps: Dependencies, lifecycle: Lifecycle, drain: Drain) -> None:
    """Starts what one process of a service does for all."""
    housekeeping = Housekeeping(
        deps.database,
        lifecycle,
        backorders=Backorders(deps),
        locations=LocationSweep(deps),
        exceptions=ExceptionSweep(deps),
        settings=deps.settings,
        cancellation_deadlines=CancellationDeadlines(deps),
    )
    background(drain, "housekeeping", housekeeping.run)
    retention = timedelta(days=deps.settings.decision_retention_days)
    background(
        drain,
        "retention of decisions",
        DecisionRetention(deps.database, deps.active_policies, deps.metrics, retention).run,
    )
    background(drain, "velocity", VelocityLearner(deps.database).run)
    for work in deps.upkeep:
        background(drain, "upkeep", work)


def _keep_audit(deps: Dependencies, signing_key: SigningKey | None, drain: Drain) -> None:
    """Starts what one process of a service does for the audit log."""
    retention = timedelta(days=deps.settings.audit_retention_days)
    sealer = Sealer(deps.database, deps.metrics, new_id(), signing_key=signing_key, retention=retention)
    background(drain, "audit seals", sealer.run)
    background(drain, "audit check", AuditMonitor(deps.database, deps.metrics).run)


def _add_port(server: RestartedServer, listens: Listening) -> int:
    """Raises RuntimeError if the port cannot be used."""

    def add_port(server: grpc.aio.Server, address: str) -> int:
        if listens.certificates is None:
            port: int = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, listens.certificates.grpc_credentials())
        return port

    return server.listen(str(listens.address), add_port)


async def _set_health(health_servicer: health_aio.HealthServicer, *, alive: bool) -> None:
    status = health_pb2.HealthCheckResponse.SERVING if alive else health_pb2.HealthCheckResponse.NOT_SERVING
    for name in ("", *SERVICE_NAMES):
        await health_servicer.set(name, status)


async def _end_calls(
    server: grpc.aio.Server, queue: AllocationQueue, deps: Dependencies, hurried: asyncio.Event, seconds: float
) -> None:
    """Ends streams, refuses new calls, and answers those in flight, after `drain_seconds` with UNAVAILABLE."""
    deps.shutdown.set()
    grace = min(seconds, deps.settings.drain_seconds)
    answered = asyncio.ensure_future(server.stop(grace + CUT_OFF_SECONDS))
    in_a_hurry = asyncio.ensure_future(hurried.wait())
    await asyncio.wait((answered, in_a_hurry), timeout=grace, return_when=asyncio.FIRST_COMPLETED)
    in_a_hurry.cancel()
    if not answered.done():
        # What waits for the database then answers that the call may be repeated; a call that gRPC cuts off cannot.
        deps.database.cut_off()
        await asyncio.wait([answered], timeout=CUT_OFF_SECONDS)
    if not answered.done():
        answered.cancel()
        await asyncio.wait([answered])
        await server.stop(None)
    await queue.close()


def background(drain: Drain, name: str, work: Background, *, at_once: bool = True, needed_seconds: float = 0) -> None:
    """Runs `work` until the drain ends it. An error that ends it earlier is logged."""
    stop = asyncio.Event()
    task = asyncio.ensure_future(work(stop))
    task.add_done_callback(_log_failure)

    async def end(_: float) -> None:
        stop.set()
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()

    drain.add(name, end, at_once=at_once, needed_seconds=needed_seconds)


def _log_failure(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a background task ended", exc_info=error)
