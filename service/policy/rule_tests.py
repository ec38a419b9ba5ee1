"""The tests beside the rules in force: run in the background, or where they are required, before a folder is used.

Each run is a process of its own with little priority, so that no tests can hold up the service.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from policies.reading.rules_reader import FOLDER
from policies.source.problems import Problem
from service.background import every, pause
from service.errors import NotReady, Overloaded, RulesTooCostly
from service.metrics import Metrics
from service.policy.active_policies import ActivePolicies
from service.policy.rule_sandbox import RuleSandbox

log = structlog.get_logger(__name__)

START_SECONDS = 5.0
"""A service that has just started has other work to do."""
CHECK_SECONDS = 1.0
"""How soon the tests of files that came into force run."""
RETRY_SECONDS = 30.0
"""How long after a run that failed, such as on a machine that was too busy, the tests of the same files run again."""


@dataclass(frozen=True, slots=True)
class RuleTestRun:
    """One run of the tests among `files`: what they show of the rules among them.

    `failures` are failed tests, and suites that cannot be read. `not_run` says why no test has run, if none could.
    """

    files: Mapping[str, bytes]
    test_time: datetime
    test_count: int = 0
    failures: tuple[Problem, ...] = ()
    untested: tuple[Problem, ...] = ()
    not_run: str = ""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that keeps rules out of force where tests are required."""
        help = "make the rules or their tests simpler, or start the service without --require-tests."
        not_run = [Problem(FOLDER, 0, 0, "not-tested", self.not_run, help)] if self.not_run else []
        return tuple(sorted((*not_run, *self.failures, *self.untested)))


async def tested(sandbox: RuleSandbox, files: Mapping[str, bytes]) -> RuleTestRun:
    """Runs the tests among files. Raises Overloaded or NotReady if the machine has no time for them."""
    try:
        report = await sandbox.run(files)
    except RulesTooCostly as error:
        return RuleTestRun(files, datetime.now(UTC), not_run=f"the tests did not run to their end: {error}")
    failed = [result.failure for result in report.results if result.failure is not None]
    failures = tuple(sorted((*report.problems, *failed)))
    return RuleTestRun(files, datetime.now(UTC), len(report.results), failures, report.untested)


class RuleTests:
    """Runs the tests of the rules in force whenever these or the tests have changed, and reports their results."""

    def __init__(self, active_policies: ActivePolicies, metrics: Metrics) -> None:
        self._active_policies = active_policies
        self._metrics = metrics
        self._sandbox = RuleSandbox()
        self._latest: RuleTestRun | None = None
        self._failed: Mapping[str, bytes] | None = None
        self._retry_time = 0.0
        """The files whose tests could not be run last, and when to try again."""

    def current(self) -> RuleTestRun | None:
        """The results for the files in force; None until their tests have run."""
        latest = self._latest
        return latest if latest is not None and latest.files is self._active_policies.current.files else None

    async def of_rules_in_force(self) -> RuleTestRun:
        """The results for the files in force; if their tests have not run yet, they run now.

        Raises Overloaded or NotReady if the machine has no time for them.
        """
        latest = self.current()
        return latest if latest is not None else await self._test()

    async def run(self, stop: asyncio.Event) -> None:
        """Keeps the results current until `stop`."""
        await pause(stop, START_SECONDS)
        testing = asyncio.ensure_future(every(CHECK_SECONDS, stop, self._test_if_changed))
        await stop.wait()
        # A service that stops does not wait for results that nobody would see.
        testing.cancel()
        await asyncio.wait([testing])

    async def _test_if_changed(self) -> None:
        loaded = self._active_policies.current
        is_waiting = self._failed is loaded.files and time.monotonic() < self._retry_time
        if self.current() is not None or is_waiting:
            return
        self._failed, self._retry_time = loaded.files, time.monotonic() + RETRY_SECONDS
        try:
            await self._test()
        except (NotReady, Overloaded) as error:
            log.warning("the tests of the rules in force will be run again later", error=str(error))

    async def _test(self) -> RuleTestRun:
        loaded = self._active_policies.current
        self._latest = latest = await tested(self._sandbox, loaded.files)
        self._failed = None
        self._report(latest, loaded.policy_set.revision)
        return latest

    def _report(self, latest: RuleTestRun, revision: str) -> None:
        failed, untested = len(latest.failures), len(latest.untested)
        self._metrics.policies.policy_failed_tests.set(failed)
        self._metrics.policies.policy_untested_rules.set(untested)
        result = "not_run" if latest.not_run else "failed" if failed else "passed"
        self._metrics.policies.policy_test_runs.labels(result).inc()
        if latest.not_run or failed:
            log.warning(
                "the rules in force have failing tests",
                revision=revision,
                failed=failed,
                untested=untested,
                first=latest.problems[0].message,
            )
