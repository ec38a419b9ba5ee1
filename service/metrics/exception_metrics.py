"""Metrics of business exceptions."""

from __future__ import annotations

from policies.domain.model import EXCEPTION_KINDS
from policies.domain.resolutions import ALLOWED
from service.metrics.kinds import MetricMaker
from service.metrics.labels import NO_CHANNEL


class ExceptionMetrics:
    """Exceptions raised, resolved, escalated and open."""

    def __init__(self, make: MetricMaker) -> None:
        self.raised = make.counter(
            "exceptions", "Exceptions raised; channel is none if no channel is concerned.", "kind", "channel"
        )
        self.resolved = make.counter("exceptions_resolved", "Exceptions resolved.", "kind", "resolution")
        self.escalated = make.counter(
            "exceptions_escalated", "Exceptions escalated when overdue, by new owner.", "owner"
        )
        self.open = make.gauge("exceptions_open", "Exceptions open.", "kind", "owner")
        for kind, allowed in ALLOWED.items():
            self.raised.labels(kind, NO_CHANNEL)
            for resolution in allowed:
                self.resolved.labels(kind, resolution)

    def start(self, channel: str) -> None:
        """Starts the counter of exceptions of a channel at 0."""
        for kind in EXCEPTION_KINDS:
            self.raised.labels(kind, channel)
