"""The replica that a service reads from, as its settings name it."""

from __future__ import annotations

from functools import partial

from service.database.database import Database
from service.dependencies import Dependencies
from service.replica.replica import Replica, Source


def follow_replica(deps: Dependencies, url: str) -> Replica:
    """The replica at this URL; nothing is read from it before it runs."""
    settings = deps.settings
    return Replica(
        partial(
            Database.open_replica,
            url,
            deps.metrics,
            statement_cache_size=settings.statement_cache_size,
            traced=settings.otel_endpoint is not None,
        ),
        Source(deps.database, deps.catalog_cache),
        deps.metrics.replica,
        deps.new_id(),
        max_lag_seconds=settings.read_max_lag_seconds,
        connections=settings.database_pool_size,
    )
