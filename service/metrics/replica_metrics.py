"""Metrics of the replica that a service may read from; a service without one has none of its gauges."""

from __future__ import annotations

from typing import Literal

from prometheus_client import CollectorRegistry

from service.metrics.kinds import Across, MetricMaker

AnsweredBy = Literal["replica", "database"]


class ReplicaMetrics:
    """Who answers what a replica may answer, and how far it is behind."""

    def __init__(self, make: MetricMaker) -> None:
        self._registry: CollectorRegistry = make.registry
        self.reads = make.counter(
            "replica_reads",
            "Reads that a replica may answer, by what answered them: the replica, or the database in its place.",
            "answered_by",
        )
        self.up = make.gauge(
            "replica_up",
            "1 while calls read from the replica; 0 while it is away, promoted or too far behind.",
            across=Across.LOWEST,
        )
        self.lag_seconds = make.gauge(
            "replica_lag_seconds",
            "How old at most what the replica lacks is: the time since a moment of which it has everything.",
            across=Across.HIGHEST,
        )

    def leave_out(self) -> None:
        """Reports no gauges: this service has no replica."""
        for gauge in (self.up, self.lag_seconds):
            self._registry.unregister(gauge)

    def start(self) -> None:
        """Starts the counter at 0: this service has a replica."""
        for name in ("replica", "database"):
            self.reads.labels(name)

    def count(self, answered_by: AnsweredBy) -> None:
        """Counts one read."""
        self.reads.labels(answered_by).inc()
