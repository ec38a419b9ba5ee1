"""What servicers, and what works beside them, are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

from policies.policy_set import PolicySet
from service.catalog.catalog_store import CatalogueCache
from service.database.database import Database
from service.metrics import Metrics
from service.policy.active_policies import PolicyFolder
from service.rpc.streams import Closing
from service.settings import Settings

Background = Callable[[asyncio.Event], Awaitable[None]]
"""Work that goes on until the event is set."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the servicers are made of."""

    settings: Settings
    database: Database
    folder: PolicyFolder
    metrics: Metrics
    closing: Closing = field(default_factory=Closing)
    background: list[Background] = field(default_factory=list)
    """What works beside the calls, from when they are served to when they end."""


@dataclass(frozen=True, slots=True)
class Premises:
    """What every writer is made of. `new_id` makes a UUIDv7; `policies` gives the rules in force."""

    database: Database
    cache: CatalogueCache
    metrics: Metrics
    new_id: Callable[[], UUID]
    policies: Callable[[], PolicySet]
