"""Metrics of the audit log: whether its events are sealed in time, and whether the chain is whole."""

from __future__ import annotations

from service.metrics.kinds import Across, MetricMaker


class AuditMetrics:
    """Gauges of the hash chain."""

    def __init__(self, make: MetricMaker) -> None:
        self.unsealed_seconds = make.gauge(
            "audit_unsealed_age_seconds",
            "Age of the oldest audit event that is not sealed; 0 if all are.",
            across=Across.DATABASE,
        )
        self.sealed_events = make.gauge(
            "audit_sealed_events",
            "Audit events sealed since the first; it never falls unless the log was cut.",
            across=Across.DATABASE,
        )
        self.broken = make.gauge(
            "audit_broken", "1 if the last check found the audit log changed; else 0.", across=Across.DATABASE
        )
        self.verified = make.gauge(
            "audit_verified_timestamp_seconds",
            "Unix time of the last check of the audit log; 0 if none yet.",
            across=Across.DATABASE,
        )
