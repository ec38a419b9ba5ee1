"""Metrics of business exceptions: raised, resolved, escalated, open, overdue, and how long they were open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product

from prometheus_client import Gauge

from policies.domain.model import EXCEPTION_KINDS
from policies.domain.resolutions import ALLOWED
from service.metrics.kinds import Across, BoundedLabel, MetricMaker
from service.metrics.labels import NO_CHANNEL, OWNER_BOUND, OWNER_LABELS

RESOLVE_SECONDS = (60, 300, 900, 3_600, 14_400, 43_200, 86_400, 172_800, 604_800)

CountByOwner = Mapping[tuple[str, str], int]
"""Exceptions by kind and owner."""


class ExceptionMetrics:
    """Counters by kind with channel, owner or resolution, and the gauges of what is open in the database."""

    def __init__(self, make: MetricMaker) -> None:
        self.raised = make.counter(
            "exceptions", "Exceptions raised; channel is none if no channel is concerned.", "kind", "channel"
        )
        self.raised_of_owner = make.counter(
            "owner_exceptions",
            "Exceptions raised, by the owner that the rules name.",
            "kind",
            "owner",
            bound=OWNER_BOUND,
        )
        self.resolved = make.counter("exceptions_resolved", "Exceptions resolved.", "kind", "resolution")
        self.superseded = make.counter(
            "exceptions_superseded", "Exceptions superseded: their order was replanned, or the problem is gone.", "kind"
        )
        self.resolve_seconds = make.histogram(
            "exception_resolve_seconds",
            "Time from raising exceptions until they were resolved, of those that were open.",
            "kind",
            "owner",
            buckets=RESOLVE_SECONDS,
            bound=OWNER_BOUND,
        )
        self.escalated = make.counter(
            "exceptions_escalated", "Exceptions escalated when overdue, by new owner.", "owner"
        )
        self.open = make.gauge("exceptions_open", "Exceptions open.", "kind", "owner", across=Across.DATABASE)
        self.overdue = make.gauge(
            "exceptions_overdue", "Exceptions open after they were due.", "kind", "owner", across=Across.DATABASE
        )
        self._owners = BoundedLabel(OWNER_LABELS)
        for kind, allowed in ALLOWED.items():
            self.raised.labels(kind, NO_CHANNEL)
            self.superseded.labels(kind)
            for resolution in allowed:
                self.resolved.labels(kind, resolution)

    def start(self, channel: str) -> None:
        """Starts the counter of exceptions of a channel at 0."""
        for kind in EXCEPTION_KINDS:
            self.raised.labels(kind, channel)

    def start_owners(self, owners: Iterable[str], escalated_to: Iterable[str]) -> None:
        """Starts the metrics of the owners that rules name at 0."""
        for kind, owner in product(EXCEPTION_KINDS, owners):
            labels = (kind, self._owners.declare(owner))
            self.raised_of_owner.labels(*labels)
            self.resolve_seconds.labels(*labels)
            self.open.labels(*labels)
            self.overdue.labels(*labels)
        for owner in escalated_to:
            self.escalated.labels(owner)

    def count_raised(self, kind: str, channel: str | None, owner: str) -> None:
        """Counts a new exception."""
        self.raised.labels(kind, channel or NO_CHANNEL).inc()
        self.raised_of_owner.labels(kind, self._owners.value(owner)).inc()

    def observe_resolved(self, kind: str, owner: str, seconds: float) -> None:
        """Observes how long an exception was open."""
        self.resolve_seconds.labels(kind, self._owners.value(owner)).observe(seconds)

    def set_open(self, open_counts: CountByOwner, overdue_counts: CountByOwner) -> None:
        """Sets how many are open and overdue, by kind and owner; those that are not named are 0."""
        self._set(self.open, open_counts)
        self._set(self.overdue, overdue_counts)

    def _set(self, gauge: Gauge, counts: CountByOwner) -> None:
        values: dict[tuple[str, str], int] = {}
        for (kind, owner), count in counts.items():
            labels = (kind, self._owners.value(owner))
            values[labels] = values.get(labels, 0) + count
        known = {(x.labels["kind"], x.labels["owner"]) for metric in gauge.collect() for x in metric.samples}
        for labels in known | values.keys():
            gauge.labels(*labels).set(values.get(labels, 0))
