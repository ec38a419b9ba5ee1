"""The dependencies of every operation: settings, database, rules in force, catalog, metrics, ids, shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

from policies.policy_set import PolicySet
from service.catalog.catalog_store import CatalogCache
from service.database.database import Database
from service.demand.shortfall_log import ShortfallLog
from service.geocoding.destination_points import DestinationPoints
from service.geocoding.postal_codes import PostalCodes
from service.metrics import Metrics
from service.observability.scrape_log import ScrapeLog
from service.policy.active_policies import ActivePolicies
from service.replica.reads import Reads
from service.replica.replica import Source
from service.rpc.streams import ShutdownSignal
from service.settings import Settings
from service.stock.publication_log import PublicationLog

Background = Callable[[asyncio.Event], Awaitable[None]]
"""Work that runs until its event is set."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The parts of one service that its servicers, operations and background work share. `new_id` returns a UUIDv7."""

    settings: Settings
    database: Database
    active_policies: ActivePolicies
    metrics: Metrics
    new_id: Callable[[], UUID]
    catalog_cache: CatalogCache = field(default_factory=CatalogCache)
    publication_log: PublicationLog = field(default_factory=PublicationLog)
    shortfall_log: ShortfallLog = field(default_factory=ShortfallLog)
    scrapes: ScrapeLog = field(default_factory=ScrapeLog)
    shutdown: ShutdownSignal = field(default_factory=ShutdownSignal)
    background: list[Background] = field(default_factory=list)
    """Background work, which runs while the service accepts calls, in each of its processes."""
    upkeep: list[Background] = field(default_factory=list)
    """Background work that one process does for all."""
    destination_points: DestinationPoints = field(init=False)
    reads: Reads = field(init=False)
    """Answers reads that promise nothing, from a replica if there is one."""

    def __post_init__(self) -> None:
        postal_codes = PostalCodes()
        self.background.append(postal_codes.run)
        object.__setattr__(self, "reads", Reads(Source(self.database, self.catalog_cache)))
        object.__setattr__(self, "destination_points", DestinationPoints(postal_codes, self.metrics))

    def policies(self) -> PolicySet:
        """The rules in force."""
        return self.active_policies.in_force()
