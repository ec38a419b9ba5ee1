"""Exercises the paths of an order on a copy of a channel, in a scratch schema of the same database.

A service of its own works there, with the rules in force: it has no port but a socket that only this process reaches,
its metrics are thrown away, and its background work never runs. No list, watch or counter sees anything of it.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import grpc
import structlog
from prometheus_client import CollectorRegistry

from policies.domain.remembered import remember
from policies.readiness.path_answers import PATHS, Exercise, PathRun
from service import limits
from service.background import pause
from service.database import scratch_schema
from service.database.database import Connection, Database
from service.database.tables import channel, location, outlet, pool, product
from service.dependencies import Dependencies
from service.errors import NotReady
from service.metrics import Metrics
from service.policy.active_policies import ActivePolicies
from service.readiness.exercised_paths import PathSubject, exercise_paths
from service.resolution.location_sweep import LocationSweep
from service.stock import ledger_check

log = structlog.get_logger(__name__)

AddServices = Callable[[Dependencies, grpc.aio.Server], tuple[Any, Any]]
"""Registers the services of some dependencies; returns their queue of orders first."""
CONNECTIONS = 4
REMEMBERED = timedelta(hours=1)
"""How long the outcome stands for the same rules, catalog and order."""
MOST_REMEMBERED = 100
CLEAN_SECONDS = 10.0
_TRY_LATER = "check again in a minute."


class PathExercise:
    """Exercises paths, one channel at a time over all services of the database, and remembers the outcome."""

    def __init__(self, deps: Dependencies, add_services: AddServices) -> None:
        self._deps = deps
        self._add_services = add_services
        self._remembered: dict[tuple[str, int, PathSubject], Exercise] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Drops what a killed service has left, once no other service uses it."""
        while not stop.is_set():
            try:
                if await self._deps.database.transaction("drop_scratch_schema", self._clean):
                    return
            except (NotReady, asyncpg.PostgresError) as error:
                log.warning("the scratch schema was not dropped", error=type(error).__name__)
            await pause(stop, CLEAN_SECONDS)

    async def exercise(self, subject: PathSubject, catalog_version: int) -> Exercise:
        """The outcome of each path; never raises because of one."""
        key = (self._deps.policies().revision, catalog_version, subject)
        known = self._remembered.get(key)
        if known is not None and datetime.now(UTC) - known.time < REMEMBERED:
            return known
        try:
            async with asyncio.timeout(limits.EXERCISE_SECONDS):
                exercise = await self._exercised(subject)
        except (TimeoutError, NotReady, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("paths were not exercised", error=type(error).__name__)
            return _not_run("the database did not answer in time", _TRY_LATER)
        if not exercise.not_run:
            remember(self._remembered, key, exercise, at_most=MOST_REMEMBERED)
        return exercise

    async def _exercised(self, subject: PathSubject) -> Exercise:
        if self._deps.database.behind_pooler:
            advice = "check through a service that connects to PostgreSQL directly."
            return _not_run("a connection pooler keeps no schema of a session", advice)
        if not await self._deps.database.unlocked("may_create_schema", scratch_schema.is_allowed):
            advice = "let the service's role make one (GRANT CREATE ON DATABASE), or check with a role that may."
            return _not_run("the role of the service may not create a schema", advice)
        holder = self._deps.new_id()
        if not await self._deps.database.transaction(
            "create_scratch_schema", lambda connection: _prepare(connection, holder, subject)
        ):
            return _not_run("another service exercises paths at the moment", _TRY_LATER)
        try:
            return Exercise(datetime.now(UTC), await self._runs(subject))
        finally:
            # What cannot be dropped now is dropped by the next service that gets the lease.
            await asyncio.shield(
                self._deps.database.transaction(
                    "drop_scratch_schema", lambda connection: scratch_schema.give_back(connection, holder)
                )
            )

    async def _runs(self, subject: PathSubject) -> dict[str, PathRun]:
        async with self._scratch_dependencies() as deps, self._served(deps) as api:
            try:
                runs = dict(await exercise_paths(api, subject, LocationSweep(deps).run))
            except grpc.aio.AioRpcError as error:
                return dict.fromkeys(PATHS, PathRun(error=f"stock could not be counted: {error.details()}"))
            report = await deps.database.unlocked("verify_ledger", ledger_check.verify)
        if not report.balanced:
            return dict.fromkeys(runs, PathRun(error=f"figures and movements differ: {report.differences[0]}"))
        return runs

    @asynccontextmanager
    async def _scratch_dependencies(self) -> AsyncIterator[Dependencies]:
        """Dependencies of a service with the same rules on the scratch schema."""
        metrics = Metrics(CollectorRegistry())
        settings = self._deps.settings.model_copy(update={"database_pool_size": CONNECTIONS})
        assert settings.database_url is not None
        database = await Database.open(
            settings.database_url, metrics, connections=CONNECTIONS, search_path=scratch_schema.SCRATCH
        )
        current = self._deps.active_policies.current
        policies = ActivePolicies.fixed(current.policy_set, current.files, metrics)
        try:
            yield Dependencies(settings, database, policies, metrics, self._deps.new_id)
        finally:
            await database.close(2)

    @asynccontextmanager
    async def _served(self, deps: Dependencies) -> AsyncIterator[grpc.aio.Channel]:
        server = grpc.aio.server()
        queue, _ = self._add_services(deps, server)
        with tempfile.TemporaryDirectory(prefix="truestock-paths-") as folder:
            target = f"unix:{Path(folder) / 'socket'}"
            server.add_insecure_port(target)
            await server.start()
            try:
                async with grpc.aio.insecure_channel(target) as api:
                    yield api
            finally:
                await server.stop(None)
                await queue.close()

    async def _clean(self, connection: Connection) -> bool:
        holder = self._deps.new_id()
        if not await scratch_schema.take(connection, holder):
            return False
        await scratch_schema.give_back(connection, holder)
        return True


async def _prepare(connection: Connection, holder: UUID, subject: PathSubject) -> bool:
    """Creates the schema with a copy of the channel; False if another service has it."""
    if not await scratch_schema.take(connection, holder):
        return False
    copied = {
        location: ("id", subject.location_ids),
        channel: ("id", [subject.channel_id]),
        outlet: ("channel_id", [subject.channel_id]),
        pool: ("id", await connection.fetchval("SELECT coalesce(array_agg(id), '{}') FROM pool")),
        product: ("sku", [subject.sku]),
    }
    await scratch_schema.create(connection, copied)
    return True


def _not_run(reason: str, advice: str) -> Exercise:
    return Exercise(datetime.now(UTC), not_run=reason, advice=advice)
