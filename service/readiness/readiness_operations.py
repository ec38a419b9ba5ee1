"""Checks channels, one at a time, each from one snapshot of the database; and lists earlier checks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from policies.domain.model import Channel, World
from policies.policy_set import PolicySet
from policies.readiness import (
    buffer_answers,
    connection_answers,
    owner_answers,
    path_answers,
    product_answers,
    routing_answers,
    service_answers,
    stock_answers,
)
from policies.readiness.answers import Answer
from policies.readiness.buffer_answers import TestRun
from policies.readiness.path_answers import Exercise
from policies.readiness.routing_answers import Demand
from policies.readiness.service_answers import LedgerResult, PrometheusState, ReloadState, Scrape
from policies.readiness.unreported_sales import hot_hours
from policies.source.problems import Problem
from service import limits
from service.catalog import catalog_store
from service.catalog.catalog_store import Catalog
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import NotReady, Overloaded, no_channel
from service.policy.rule_tests import RuleTests
from service.readiness import (
    connection_operations,
    path_reading,
    product_reading,
    readiness_messages,
    readiness_requests,
    readiness_store,
    stock_reading,
)
from service.readiness.exercised_paths import PathSubject
from service.readiness.readiness_messages import Owner
from service.rpc.call_limit import LimitedTurns
from service.stock.ledger_monitor import LedgerMonitor
from truestock.v1 import readiness_service_pb2 as readiness_pb

_ONE_PROCESSOR = "SET LOCAL max_parallel_workers_per_gather = 0"
"""A check may take longer, and leaves the other processors to orders."""
_TRIED_PRODUCTS = 50
"""Best sellers of which the first that can be sold is ordered to exercise paths."""
_WORST_HOURS = 100
"""Products with hot hours whose buffers are looked at: those that lost the most units at once."""


ExercisePaths = Callable[[PathSubject, int], Awaitable[Exercise]]
"""Takes orders through the paths; the number is the version of the catalog."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What one snapshot of the database says."""

    catalog: Catalog
    answers: Sequence[Answer]
    path_subject: PathSubject | None
    last_real: Mapping[str, datetime]


@dataclass(frozen=True, slots=True)
class _Subject:
    """What one check is about."""

    policy_set: PolicySet
    catalog: Catalog
    channel: Channel
    location_ids: Sequence[str]
    """The locations that contribute to the channel: its own that are not closed, sorted."""
    test_run: TestRun


class ReadinessOperations:
    """Checks of one service."""

    def __init__(
        self, deps: Dependencies, rule_tests: RuleTests, ledger: LedgerMonitor, exercise: ExercisePaths
    ) -> None:
        self._deps = deps
        self._rule_tests = rule_tests
        self._ledger = ledger
        self._exercise = exercise
        self._turns = LimitedTurns(at_once=1, waiting=limits.READINESS_WAITING, subject="readiness checks")

    async def check(self, request: readiness_pb.CheckReadinessRequest) -> readiness_pb.CheckReadinessResponse:
        """One check. Raises InvalidFields, NotFound, Overloaded and NotReady."""
        channel_id, prometheus = readiness_requests.check_request(request)
        async with self._turns.turn():
            try:
                async with asyncio.timeout(limits.READINESS_SECONDS):
                    return await self._check(channel_id, prometheus)
            except TimeoutError as error:
                raise NotReady(f"the check took longer than {limits.READINESS_SECONDS} seconds") from error

    async def checks(
        self, request: readiness_pb.ListReadinessChecksRequest
    ) -> readiness_pb.ListReadinessChecksResponse:
        """The checks of a channel that are kept. Raises InvalidFields, NotFound and NotReady."""
        channel_id = readiness_requests.list_request(request)

        async def read(connection: Connection) -> readiness_pb.ListReadinessChecksResponse:
            await self._catalog(connection, channel_id)
            rows = await readiness_store.checks(connection, channel_id)
            return readiness_pb.ListReadinessChecksResponse(checks=map(readiness_messages.check_message, rows))

        return await self._deps.database.unlocked("list", read)

    async def _check(self, channel_id: str, prometheus: PrometheusState | None) -> readiness_pb.CheckReadinessResponse:
        policy_set = self._deps.policies()
        # Tests run in a process of their own, so no transaction waits for them.
        test_run = await self._test_run()
        found = await self._deps.database.snapshot(
            "readiness", partial(self._read, policy_set=policy_set, channel_id=channel_id, test_run=test_run)
        )
        exercise = await self._exercised(found)
        now, channel = datetime.now(UTC), found.catalog.channels[channel_id]
        answers = [*found.answers, *path_answers.path_answers(exercise, found.last_real, now)]
        who = owner_answers.owners_of(policy_set, channel, now)
        answers.append(owner_answers.owners_declared(who, policy_set.owners))
        answers += await self._service_answers(policy_set, prometheus)
        history = await self._deps.database.transaction(
            "record_readiness",
            partial(
                readiness_store.record,
                channel_id=channel_id,
                now=now,
                policy_revision=policy_set.revision,
                answers=answers,
            ),
            after_commit=lambda _: self._deps.metrics.readiness.set_answers(
                channel_id, [answer.result.value for answer in answers]
            ),
        )
        owners = {
            x.question.name: Owner(name := who[x.question.exception_kind][0], policy_set.owners.get(name, ""))
            for x in answers
        }
        return readiness_messages.check_response(
            channel_id, now, policy_set.revision, answers, history=history, owners=owners
        )

    async def _read(self, connection: Connection, policy_set: PolicySet, channel_id: str, test_run: TestRun) -> _Found:
        await connection.execute(_ONE_PROCESSOR)
        catalog = await self._catalog(connection, channel_id)
        channel = catalog.channels[channel_id]
        ids = [
            id
            for id in sorted(catalog.locations)
            if channel.may_sell_from(id) and catalog.locations[id].status != "closed"
        ]
        subject = _Subject(policy_set, catalog, channel, ids, test_run)
        best = await stock_reading.best_sellers(connection, ids)
        world = await stock_reading.world_of(connection, catalog, best, ids)
        demands = await self._demands(connection, subject)
        answers = [
            *await self._catalog_answers(connection, subject),
            *await self._connection_answers(connection, subject),
            *await self._stock_answers(connection, subject, world),
            *await self._routing_answers(connection, subject, demands),
        ]
        path_subject = path_reading.path_subject(policy_set, world, channel, best[:_TRIED_PRODUCTS], demands)
        return _Found(catalog, answers, path_subject, await path_reading.last_real(connection, channel_id))

    async def _exercised(self, found: _Found) -> Exercise:
        if found.path_subject is None:
            advice = "count stock of products that the rules let the channel sell, then check again."
            return Exercise(datetime.now(UTC), not_run="no product could be sold", advice=advice)
        return await self._exercise(found.path_subject, found.catalog.version)

    async def _catalog(self, connection: Connection, channel_id: str) -> Catalog:
        """The catalog. Raises NotFound if it has no such channel."""
        catalog = await self._deps.catalog_cache.at(connection, await catalog_store.version(connection))
        if channel_id not in catalog.channels:
            raise no_channel({"channel_id": channel_id}, catalog.channels)
        return catalog

    async def _catalog_answers(self, connection: Connection, subject: _Subject) -> list[Answer]:
        channel = subject.channel
        products = await product_reading.product_facts(connection, subject.policy_set, channel)
        outlets = {outlet.id: outlet.location_ids for outlet in subject.catalog.outlets.get(channel.id, ())}
        return [
            product_answers.product_data(products, channel.kind),
            product_answers.items_mapped(await product_reading.item_facts(connection, channel.id)),
            product_answers.outlets_mapped(outlets, subject.location_ids),
            product_answers.locations_decided(channel.location_ids, len(outlets), subject.location_ids),
        ]

    async def _connection_answers(self, connection: Connection, subject: _Subject) -> list[Answer]:
        found = await connection_operations.connected(connection, subject.catalog, subject.channel)
        return connection_answers.connection_answers(found, datetime.now(UTC))

    async def _stock_answers(self, connection: Connection, subject: _Subject, world: World) -> list[Answer]:
        policy_set, channel, ids = subject.policy_set, subject.channel, subject.location_ids
        locations = await stock_reading.location_stock(connection, ids, world)
        hours = hot_hours(await stock_reading.losses(connection, ids, world.now))
        hot = sorted({hour.sku for hour in sorted(hours, key=lambda hour: -hour.units)[:_WORST_HOURS]})
        hot_world = await stock_reading.world_of(connection, subject.catalog, hot, ids)
        kept = buffer_answers.hold_backs_at(policy_set, hot_world, channel, hours)
        cover = buffer_answers.buffer_cover(policy_set, world, channel)
        return [
            stock_answers.counts_fresh(locations, world.now),
            stock_answers.counts_right(locations),
            buffer_answers.buffers_in_place(cover, channel.kind),
            buffer_answers.buffers_tested(subject.test_run, has_buffers=cover.has_rules),
            buffer_answers.buffers_wide_enough(hours, kept, has_buffers=cover.has_rules),
        ]

    async def _demands(self, connection: Connection, subject: _Subject) -> Sequence[Demand]:
        """What the channel's orders ask for, then its other markets."""
        ordered = await stock_reading.demands(connection, subject.channel.id, datetime.now(UTC))
        asked = {(demand.method, demand.country, demand.region) for demand in ordered}
        locations = [subject.catalog.locations[id] for id in subject.location_ids]
        possible = routing_answers.markets(subject.channel, locations)
        return [*ordered, *(x for x in possible if (x.method, x.country, x.region) not in asked)]

    async def _routing_answers(
        self, connection: Connection, subject: _Subject, demands: Sequence[Demand]
    ) -> list[Answer]:
        channel, ids = subject.channel, subject.location_ids
        locations = [subject.catalog.locations[id] for id in ids]
        world = await stock_reading.world_of(connection, subject.catalog, [], ids)
        not_served = routing_answers.unserved(subject.policy_set, world, channel, demands)
        shipments = await stock_reading.shipments(connection, channel.id, ids, world.now)
        return [
            routing_answers.destinations_covered(channel, demands, not_served),
            routing_answers.capacity_stated(locations, shipments),
        ]

    async def _service_answers(self, policy_set: PolicySet, prometheus: PrometheusState | None) -> list[Answer]:
        ledger = await self._ledger_result()
        loaded, now = self._deps.active_policies.current, datetime.now(UTC)
        state = ReloadState(
            policy_set.revision, loaded.load_time, loaded.refuse_time, tuple(map(_problem_text, loaded.problems))
        )
        return [
            service_answers.metrics_scraped(self._scrape(), now),
            service_answers.alerts_loaded(prometheus),
            service_answers.ledger_verified(ledger, now),
            service_answers.rules_reload(state),
        ]

    def _scrape(self) -> Scrape | None:
        last = self._deps.scrapes.last
        return None if last is None else Scrape(last.time, service_answers.scraped_by(last.agent, last.address))

    async def _ledger_result(self) -> LedgerResult | None:
        """The last result of this service; if it has none yet, the ledger is verified now."""
        if self._ledger.last is None:
            await self._ledger.verify()
        last = self._ledger.last
        return None if last is None else LedgerResult(last.time, last.difference_count)

    async def _test_run(self) -> TestRun:
        """The last run of the tests beside the rules in force; if there is none yet, they run now."""
        try:
            run = await self._rule_tests.of_rules_in_force()
        except (NotReady, Overloaded) as error:
            return TestRun(not_run=str(error))
        failures, untested = (tuple(map(_problem_text, x)) for x in (run.failures, run.untested))
        return TestRun(run.test_count, failures, untested, run.not_run)


def _problem_text(problem: Problem) -> str:
    return f"{problem.file}:{problem.line}: {problem.message}"
