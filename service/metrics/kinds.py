"""Makes metrics: their names, and how their children are found at once."""

from __future__ import annotations

import re
from functools import cache
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LONG_SECONDS = (900, 3_600, 14_400, 43_200, 86_400, 172_800, 432_000)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

OTHER = "other"

# Every counter would have a second series with the time of its creation, which nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

_Metric = TypeVar("_Metric", Counter, Histogram)


def _with_kept_children(metric: _Metric) -> _Metric:
    """A metric, of which no child is ever removed, that finds its children at once.

    The client library checks the labels and takes a lock each time, which costs three times what counting does.
    """
    metric.labels = cache(metric.labels)  # type: ignore[method-assign]
    return metric


_ID = re.compile(r"(?=.*[a-z])[a-z0-9][a-z0-9._:-]{0,63}")
"""What an id or the name of a team looks like; names of people, addresses, phone numbers and mail do not."""


class BoundedLabel:
    """The values of a label that callers may invent: the first ones as they are, and "other" for all the rest.

    A value that does not look like an id is "other" too, for it may be a person's name. Those that the rules or the
    catalog declare are as they are.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._values: set[str] = set()

    def declare(self, value: str) -> str:
        """Takes a value whatever it looks like, and returns the one to count under."""
        if value not in self._values and len(self._values) >= self._count:
            return OTHER
        self._values.add(value)
        return value

    def value(self, stated: str) -> str:
        """The value to count under."""
        if stated in self._values:
            return stated
        return self.declare(stated) if _ID.fullmatch(stated) else OTHER


class MetricMaker:
    """Makes the metrics of one registry; every name starts with `truestock_`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        """A counter; `_total` is added to its name."""
        return _with_kept_children(Counter(f"truestock_{name}", text, labels, registry=self.registry))

    def gauge(self, name: str, text: str, *labels: str) -> Gauge:
        """A gauge."""
        return Gauge(f"truestock_{name}", text, labels, registry=self.registry)

    def histogram(self, name: str, text: str, *labels: str, buckets: tuple[float, ...] = SECONDS) -> Histogram:
        """A histogram with buckets up to these values."""
        made = Histogram(f"truestock_{name}", text, labels, buckets=buckets, registry=self.registry)
        return _with_kept_children(made)
