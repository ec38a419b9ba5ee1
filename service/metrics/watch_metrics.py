"""Metrics of the streams of availability and of orders."""

from __future__ import annotations

from service.metrics.kinds import Across, MetricMaker


class WatchMetrics:
    """Open streams, and what is published on them."""

    def __init__(self, make: MetricMaker) -> None:
        self.availability_watchers = make.gauge(
            "availability_watchers", "Open WatchAvailability calls.", across=Across.SUM
        )
        self.order_watchers = make.gauge("order_watchers", "Open WatchOrders calls.", across=Across.SUM)
        self.availability_changes_published = make.counter(
            "availability_changes_published", "Availability changes published by WatchAvailability.", "channel"
        )
        self.availability_delay = make.histogram(
            "availability_delay_seconds",
            "Time from receiving a stock change to publishing the availability after it.",
        )
        self.availability_refresh = make.gauge(
            "availability_refresh_seconds",
            "Duration of the last full refresh of watched availability; above 15 s, changes by time are late.",
        )

    def start(self, channel: str) -> None:
        """Starts the counter of a channel at 0."""
        self.availability_changes_published.labels(channel)
