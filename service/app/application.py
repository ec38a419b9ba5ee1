"""Starts and stops one service: rules, database, gRPC, metrics. Signals, logs and exit codes are in `process`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import asyncpg
import structlog
from prometheus_client import CollectorRegistry

from policies.policy_set import PolicySet
from policies.source.problems import Problem
from service.allocation.lifecycle import Lifecycle
from service.allocation.replanning.backorders import Backorders
from service.app.database_source import DatabaseSource, find_database
from service.app.drain import Drain
from service.app.event_loop_monitor import measure_delays
from service.app.first_rules import first_rules
from service.app.grpc_server import GrpcServer, start_grpc_server
from service.app.health_probe import HealthProbe
from service.app.housekeeping import Housekeeping
from service.app.listening import Listening, StartError, listening
from service.app.metrics_endpoint import MetricsServer
from service.app.postal_code_loading import PostalCodeLoading
from service.app.replica_connection import follow_replica
from service.app.reporting_lease import ReportingLease
from service.app.reserved_port import reserve
from service.app.sample_service import place_orders
from service.app.wiring import new_id
from service.app.worker import FIRST, Worker
from service.audit.access_audit import AccessAudit
from service.audit.audit_monitor import AuditMonitor
from service.audit.sealer import Sealer
from service.audit.signing import AuditKeyError, SigningKey
from service.background import FailureLog
from service.catalog import catalog_store
from service.catalog.catalog_store import Catalog
from service.catalog.destinations import load_regions
from service.database import migrate
from service.database.database import Database
from service.decisions.decision_retention import DecisionRetention
from service.dependencies import Background, Dependencies
from service.metrics import Metrics
from service.observability.scrape_log import ScrapeLog
from service.observability.trace_export import MissingPackages, close_tracing, open_tracing
from service.policy import policy_store
from service.policy.folder_watcher import FolderWatcher
from service.policy.policy_history import PolicyHistory
from service.policy.rule_sandbox import RuleSandbox
from service.policy.rule_tests import tested
from service.resolution.cancellation_deadlines import CancellationDeadlines
from service.resolution.exception_sweep import ExceptionSweep
from service.resolution.location_sweep import LocationSweep
from service.sample.sample_loading import load_sample
from service.sample.sample_retailer import WAREHOUSE
from service.settings import Address, Settings
from service.stock.velocity_learner import VelocityLearner

if TYPE_CHECKING:
    from service.observability.tracing import Tracing

log = structlog.get_logger(__name__)


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
        # The first process of a service with workers has reserved the address for them.
        address = reserve(listens.address, drain) if worker is None else listens.address
        tracing = _tracing(settings, drain)
        source, _ = await asyncio.gather(find_database(settings, drain), load_regions())
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
        server = await start_grpc_server(deps, tracing, listens, address)
        _keep_answers(deps, drain)
        await _accept_calls(server, drain, hurried or asyncio.Event())
        if is_first:
            _keep_house(deps, server.lifecycle, drain)
        _start_background(deps, policy_history, drain, worker)
        metrics_server.ready = True
        metrics.service.database_up.set(1)
        metrics.service.workers.set(1)
        drain.add("readiness", metrics_server.not_ready, at_once=True)
        lost = _probe_health(deps, source, server, metrics_server, drain)
        background(drain, "access file", access_audit.run)
        background(drain, "keys of the issuer", listens.authentication.follow_keys)
        if is_first:
            background(drain, "reporting", reporting_lease.run)
            _keep_audit(deps, signing_key, drain)
        background(drain, "event loop monitor", partial(measure_delays, metrics))
        yield Running(
            address=str(address),
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
        raise StartError(f"{error}; or start without --audit-key") from error


async def _test_problems(sandbox: RuleSandbox, files: Mapping[str, bytes]) -> tuple[Problem, ...]:
    return (await tested(sandbox, files)).problems


async def _open_database(settings: Settings, url: str, metrics: Metrics) -> Database:
    try:
        schema = await migrate.schema(url)
        if not schema.is_served:
            raise StartError(_refusal(schema))
        if schema.is_later:
            log.warning("a later version has migrated the database", schema=schema.revision)
        database = await Database.open(
            url,
            metrics,
            connections=settings.database_pool_size,
            statement_cache_size=settings.statement_cache_size,
            traced=settings.otel_endpoint is not None,
        )
        if not await database.takes_writes():
            await database.close()
            raise StartError(
                "the database takes no writes: it is a standby, or read-only by its settings; name the primary in "
                "--database-url, or all servers, such as postgresql://shop@db1,db2/shop?target_session_attrs=read-write"
            )
        return database
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


async def _accept_calls(server: GrpcServer, drain: Drain, hurried: asyncio.Event) -> None:
    drain.add("calls in flight", partial(server.end_calls, hurried), at_once=True)
    await server.set_health(alive=True)
    drain.add("health service", server.end_health, at_once=True)


def _probe_health(
    deps: Dependencies, source: DatabaseSource, server: GrpcServer, metrics_server: MetricsServer | Worker, drain: Drain
) -> asyncio.Event:
    """Says that the service is ready only while its database answers; returns what is set once that has ended."""
    lost = asyncio.Event()

    async def on_change(alive: bool) -> None:
        metrics_server.ready = alive
        deps.metrics.service.database_up.set(alive)
        await server.set_health(alive=alive)
        if source.has_ended:
            lost.set()

    background(drain, "health probe", HealthProbe(deps.database, on_change).run)
    return lost


def _start_background(deps: Dependencies, policy_history: PolicyHistory, drain: Drain, worker: Worker | None) -> None:
    """Starts what each process of a service does beside its calls."""
    background(drain, "postal codes of served countries", PostalCodeLoading(deps).run)
    if deps.settings.read_database_url is not None:
        deps.reads.replica = follow_replica(deps, deps.settings.read_database_url)
        background(drain, "replica", deps.reads.replica.run)
    else:
        deps.metrics.replica.leave_out()
    background(drain, "publications of others", partial(deps.publication_log.follow, deps.database))

    async def record_rules() -> None:
        if worker is not None:
            worker.on_rules(deps.active_policies.current.files)
        await policy_store.store_rules(deps.database, deps.active_policies)
        await policy_history.reloaded()

    tests = partial(_test_problems, RuleSandbox()) if deps.settings.require_tests else None
    background(drain, "rules folder", FolderWatcher(deps.active_policies, record_rules, tests).run)
    for work in deps.background:
        background(drain, "background work", work)


def _keep_answers(deps: Dependencies, drain: Drain) -> None:
    """Starts what stores facts of answers; it ends after the last call, so that those of the last answers are kept."""
    publications = partial(deps.publication_log.run, deps.database)
    background(drain, "publications", publications, at_once=False, needed_seconds=PUBLICATIONS_SECONDS)
    shortfalls = partial(deps.shortfall_log.run, deps.database, deps.metrics)
    background(drain, "unmet demand", shortfalls, at_once=False, needed_seconds=HISTORY_SECONDS)


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
