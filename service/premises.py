"""Where everything that writes works: the database, what is known of the catalogue, and the rules in force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from policies.policy import PolicySet
from service.catalogue import CatalogueCache
from service.database import Database
from service.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Premises:
    """What every writer is made of. `new_id` makes a UUIDv7; `policies` gives the rules in force."""

    database: Database
    cache: CatalogueCache
    metrics: Metrics
    new_id: Callable[[], UUID]
    policies: Callable[[], PolicySet]
