"""Metrics of shipments: whether locations keep their times, and how long they take."""

from __future__ import annotations

from itertools import product

from prometheus_client import Counter

from service.metrics.kinds import LONG_SECONDS, MetricMaker
from service.metrics.labels import DEADLINE_RESULTS, SHIPMENT_DEADLINES

_DUE = "Shipments whose time to ship or arrive was kept or has passed, each once, by whether it was kept."


class ShipmentMetrics:
    """Shipments that were due, by location and by channel, and durations by location."""

    def __init__(self, make: MetricMaker) -> None:
        self.due = make.counter("shipments_due", _DUE, "location", "deadline", "result")
        self.channel_due = make.counter("channel_shipments_due", _DUE, "channel", "deadline", "result")
        self.accept_seconds = make.histogram(
            "shipment_accept_seconds",
            "Time from assigning shipments until they were accepted.",
            "location",
            buckets=LONG_SECONDS,
        )
        self.ship_seconds = make.histogram(
            "shipment_ship_seconds",
            "Time from assigning shipments until shipped or ready.",
            "location",
            buckets=LONG_SECONDS,
        )

    def start_channel(self, channel: str) -> None:
        """Starts the counters of a channel at 0."""
        _start(self.channel_due, channel)

    def start_location(self, location: str) -> None:
        """Starts the counters and histograms of a location at 0."""
        self.accept_seconds.labels(location)
        self.ship_seconds.labels(location)
        _start(self.due, location)


def _start(due: Counter, place: str) -> None:
    for deadline, result in product(SHIPMENT_DEADLINES, DEADLINE_RESULTS):
        due.labels(place, deadline, result)
