"""Metrics of stock figures: what was reported of them, what differs, and whether the ledger adds up."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from policies.stock.counting import ChangeResult
from service.metrics.kinds import Across, BoundedLabel, MetricMaker
from service.metrics.labels import (
    OBSERVED_BOUND,
    OBSERVED_PLACES,
    OTHER_SOURCES,
    SOURCE_BOUND,
    SOURCE_LABELS,
    STOCK_ANSWERS,
)

AGE_SECONDS = (60, 300, 900, 3_600, 14_400, 43_200, 86_400, 172_800, 604_800, 2_592_000)


class StockMetrics:
    """Counters of stock changes and mismatches, and gauges of the ledger check."""

    def __init__(self, make: MetricMaker) -> None:
        self._sources = BoundedLabel(SOURCE_LABELS)
        self._observed_places: set[tuple[str, str]] = set()
        self._locations: set[str] = set()
        self._observers_everywhere: set[str] = set()
        self.stock_changes = make.counter("stock_changes", "Counts and movements processed, by result.", "result")
        self.dropped_stock_changes = make.counter(
            "dropped_stock_changes",
            "Stock changes dropped from a full quarantine; source is other where it had no room for a new source.",
            "source",
            bound=SOURCE_BOUND,
        )
        self.inventory_mismatches = make.counter(
            "inventory_mismatches",
            "Counts that were only compared and differed from on hand by more than the tolerance.",
            "source",
            "location",
            bound=OBSERVED_BOUND,
        )
        self.inventory_mismatch_units = make.counter(
            "inventory_mismatch_units",
            "Units by which these counts differed from on hand, without sign.",
            "source",
            "location",
            bound=OBSERVED_BOUND,
        )
        self.inventory_comparisons = make.counter(
            "inventory_comparisons",
            "Counts that were only compared with on hand, those that differed included.",
            "source",
            "location",
            bound=OBSERVED_BOUND,
        )
        self.channel_comparisons = make.counter(
            "channel_comparisons",
            "New figures of a channel that were compared with what was published to it.",
            "channel",
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
        self.age_seconds = make.histogram(
            "stock_age_seconds",
            "Age of the oldest figure behind an answer: of the levels that ship an order, or have stock in one read.",
            "answer",
            buckets=AGE_SECONDS,
        )
        for answer in STOCK_ANSWERS:
            self.age_seconds.labels(answer)
        self.ledger_differences = make.gauge(
            "ledger_differences", "Differences that the last ledger check found.", across=Across.DATABASE
        )
        self.ledger_verified = make.gauge(
            "ledger_verified_timestamp_seconds",
            "Unix time of the last ledger check by this service; 0 if none yet.",
            across=Across.DATABASE,
        )

    def start_channel(self, channel: str) -> None:
        """Starts the counters of what a channel shows at 0."""
        self.channel_comparisons.labels(channel)
        self.channel_mismatches.labels(channel)
        self.channel_mismatch_units.labels(channel)

    def start_location(self, location: str) -> None:
        """Starts the counters of a location at 0, for the feeds that observe every location."""
        self._locations.add(location)
        for source in self._observers_everywhere:
            self._start_observed(source, location)

    def start_observer(self, source: str, location_ids: Collection[str]) -> None:
        """Starts the counters of a feed that observes these locations at 0; none are all."""
        if not location_ids:
            self._observers_everywhere.add(source)
        for location in location_ids or self._locations:
            self._start_observed(source, location)

    def count_comparison(self, source: str, location: str, mismatch_units: int) -> None:
        """Counts an observed count; `mismatch_units` is 0 if it agrees within its tolerance."""
        labels = self._observed(source, location)
        self.inventory_comparisons.labels(*labels).inc()
        if mismatch_units:
            self.inventory_mismatches.labels(*labels).inc()
            self.inventory_mismatch_units.labels(*labels).inc(mismatch_units)

    def count_channel_comparisons(self, channel: str, differences: Sequence[int]) -> None:
        """Counts new figures of a channel by how much they differ, without sign, from what was published; 0 is not."""
        mismatches = [difference for difference in differences if difference]
        self.channel_comparisons.labels(channel).inc(len(differences))
        self.channel_mismatches.labels(channel).inc(len(mismatches))
        self.channel_mismatch_units.labels(channel).inc(sum(mismatches))

    def observe_age(self, answer: str, now: datetime, times: Iterable[datetime | None]) -> None:
        """Observes the age of the oldest of these figures, of those that were ever reported."""
        oldest = min([time for time in times if time is not None], default=None)
        if oldest is not None:
            self.age_seconds.labels(answer).observe(max(0.0, (now - oldest).total_seconds()))

    def count_dropped_changes(self, source: str, count: int) -> None:
        """Counts changes that a full quarantine dropped; sources beyond SOURCE_LABELS are counted as one."""
        self.dropped_stock_changes.labels(self._sources.value(source)).inc(count)

    def _start_observed(self, source: str, location: str) -> None:
        labels = self._observed(source, location)
        for counter in (self.inventory_comparisons, self.inventory_mismatches, self.inventory_mismatch_units):
            counter.labels(*labels)

    def _observed(self, source: str, location: str) -> tuple[str, str]:
        """The labels of counts of a source at a location; pairs beyond OBSERVED_PLACES have the source "other"."""
        key = (source, location)
        if key not in self._observed_places:
            if len(self._observed_places) >= OBSERVED_PLACES:
                return OTHER_SOURCES, location
            self._observed_places.add(key)
        return key
