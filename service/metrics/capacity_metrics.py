"""Metrics of the locations that state what they can handle."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import Gauge

from service.metrics.kinds import Across, MetricMaker

CountByLocation = Mapping[tuple[str, str], int]
"""Counts by location and by what is counted: "orders" or "units"."""


class CapacityMetrics:
    """Gauges of today's capacity, and a counter of decisions that a full location had no part in."""

    def __init__(self, make: MetricMaker) -> None:
        self.used = make.gauge(
            "capacity_used",
            "What shipments have taken of today's capacity of a location.",
            "location",
            "of",
            across=Across.DATABASE,
        )
        self.limit = make.gauge(
            "capacity_limit", "What a location can handle today.", "location", "of", across=Across.DATABASE
        )
        self.dropped = make.counter(
            "capacity_dropped",
            "Decisions about orders that a location was dropped from because it was full.",
            "location",
        )

    def start_location(self, location: str) -> None:
        """Starts the counter of a location at 0."""
        self.dropped.labels(location)

    def set_today(self, used: CountByLocation, limits: CountByLocation) -> None:
        """Sets the gauges; a location that states no capacity any more has none."""
        for gauge, counts in ((self.used, used), (self.limit, limits)):
            for gone in _labels(gauge).difference(counts):
                gauge.remove(*gone)
            for key, count in counts.items():
                gauge.labels(*key).set(count)


def _labels(gauge: Gauge) -> set[tuple[str, str]]:
    return {(x.labels["location"], x.labels["of"]) for metric in gauge.collect() for x in metric.samples}
