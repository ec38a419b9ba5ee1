"""Metrics of the readiness of channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from service.metrics.kinds import Across, MetricMaker
from service.metrics.labels import READINESS_RESULTS


class ReadinessMetrics:
    """The results of the last check of each channel by this service; a channel that it never checked has none."""

    def __init__(self, make: MetricMaker) -> None:
        self.answers = make.gauge(
            "readiness_answers",
            "Questions of the readiness checklist by result, as of the last check of the channel by this service.",
            "channel",
            "result",
            across=Across.LATEST,
        )
        self.checked = make.gauge(
            "readiness_checked_timestamp_seconds",
            "When this service last checked the channel.",
            "channel",
            across=Across.LATEST,
        )

    def set_answers(self, channel_id: str, results: Iterable[str]) -> None:
        """Sets the results of a check of a channel of the catalog."""
        counts = Counter(results)
        for result in READINESS_RESULTS:
            self.answers.labels(channel_id, result).set(counts[result])
        self.checked.labels(channel_id).set_to_current_time()
