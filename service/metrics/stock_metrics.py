"""Metrics of stock figures: what was reported of them, what differs, and whether the ledger adds up."""

from __future__ import annotations

from policies.stock.counting import ChangeResult
from service.metrics.kinds import MetricMaker
from service.metrics.labels import OTHER_SOURCES, SOURCE_LABELS


class StockMetrics:
    """Counters of stock changes and mismatches, and gauges of the ledger check."""

    def __init__(self, make: MetricMaker) -> None:
        self._sources: set[str] = set()
        self.stock_changes = make.counter("stock_changes", "Counts and movements processed, by result.", "result")
        self.dropped_stock_changes = make.counter(
            "dropped_stock_changes",
            "Stock changes dropped from a full quarantine; source is other where it had no room for a new source.",
            "source",
        )
        self.inventory_mismatches = make.counter(
            "inventory_mismatches",
            "Counts that were only compared and differed from on hand by more than the tolerance.",
            "location",
        )
        self.inventory_mismatch_units = make.counter(
            "inventory_mismatch_units", "Units by which these counts differed from on hand, without sign.", "location"
        )
        self.inventory_comparisons = make.counter(
            "inventory_comparisons",
            "Counts that were only compared with on hand, those that differed included.",
            "location",
        )
        self.channel_mismatches = make.counter(
            "channel_mismatches", "New figures of a channel that differed from what was published to it.", "channel"
        )
        self.channel_mismatch_units = make.counter(
            "channel_mismatch_units", "Units or items by which these figures differed, without sign.", "channel"
        )
        self.dropped_stock_changes.labels(OTHER_SOURCES)
        for result in ChangeResult:
            self.stock_changes.labels(result.value)
        self.ledger_differences = make.gauge("ledger_differences", "Differences that the last ledger check found.")
        self.ledger_verified = make.gauge(
            "ledger_verified_timestamp_seconds", "Unix time of the last ledger check by this service; 0 if none yet."
        )

    def start_channel(self, channel: str) -> None:
        """Starts the counters of what a channel shows at 0."""
        self.channel_mismatches.labels(channel)
        self.channel_mismatch_units.labels(channel)

    def start_location(self, location: str) -> None:
        """Starts the counters of a location at 0."""
        self.inventory_mismatches.labels(location)
        self.inventory_mismatch_units.labels(location)
        self.inventory_comparisons.labels(location)

    def count_dropped_changes(self, source: str, count: int) -> None:
        """Counts changes that a full quarantine dropped; sources beyond SOURCE_LABELS are counted as one."""
        if source not in self._sources and len(self._sources) >= SOURCE_LABELS:
            source = OTHER_SOURCES
        self._sources.add(source)
        self.dropped_stock_changes.labels(source).inc(count)
