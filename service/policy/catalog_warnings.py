"""Warnings about rules in force that name values which the live catalog does not have."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Protocol

from policies.linting.catalog_values import KnownValues, NamedValue, by_fact, catalog_warnings, named_values
from policies.source.problems import Problem
from service.background import every
from service.metrics import Metrics
from service.policy.active_policies import ActivePolicies, LoadedPolicies

CHECK_SECONDS = 5.0
"""How often the rules in force are held against the catalog if one of them has changed."""
RECHECK_SECONDS = 300.0
"""How often also if none has changed: orders and stock feeds show new regions and sources without an edit."""
WAIT_SECONDS = 2.0
"""How long an answer waits for warnings that are being found anew; then it has the last ones."""


class FactValues(Protocol):
    """What the catalog knows of the values of facts."""

    async def version(self) -> int:
        """The version of the catalog, which rises with every edit."""
        ...

    async def known(self, named: Mapping[str, Collection[str]]) -> dict[str, KnownValues]:
        """By fact, the known values that concern the named ones; a fact is missing if it cannot be checked."""
        ...


class CatalogWarnings:
    """The warnings of the rules in force. They are found again when the rules or the catalog have changed."""

    def __init__(self, active_policies: ActivePolicies, fact_values: FactValues, metrics: Metrics) -> None:
        self._active_policies = active_policies
        self._fact_values = fact_values
        self._metrics = metrics
        self._warnings: tuple[Problem, ...] = ()
        self._checked = ("", -1)
        """Revision of the rules and version of the catalog that the warnings are of."""
        self._check_again_at = 0.0
        self._named: tuple[NamedValue, ...] = ()
        self._checking: asyncio.Future[None] | None = None
        self._lock = asyncio.Lock()

    async def run(self, stop: asyncio.Event) -> None:
        """Keeps the warnings current until `stop`."""
        await every(CHECK_SECONDS, stop, self._check)

    async def current(self) -> tuple[Problem, ...]:
        """The warnings, sorted by position. While the database does not answer, those found last."""
        if self._checking is None or self._checking.done():
            self._checking = asyncio.ensure_future(self._check_now())
        # The wait leaves the check running, so that a later answer has its result.
        await asyncio.wait({self._checking}, timeout=WAIT_SECONDS)
        return self._warnings

    async def _check_now(self) -> None:
        # What goes wrong here is logged when `run` tries the same.
        with suppress(Exception):
            await self._check()

    async def _check(self) -> None:
        async with self._lock:
            await self._check_if_changed()

    async def _check_if_changed(self) -> None:
        loaded = self._active_policies.current
        revision = loaded.policy_set.revision
        version = await self._fact_values.version()
        if self._checked == (revision, version) and time.monotonic() < self._check_again_at:
            return
        if self._checked[0] != revision:
            self._named = await asyncio.to_thread(named_values, loaded.policy_set)
        await self._find(loaded)
        self._checked = (revision, version)
        self._check_again_at = time.monotonic() + RECHECK_SECONDS

    async def _find(self, loaded: LoadedPolicies) -> None:
        known = await self._fact_values.known(by_fact(self._named))
        self._warnings = await asyncio.to_thread(catalog_warnings, self._named, loaded.files, known)
        self._metrics.policies.policy_warnings.set(len(self._warnings))
