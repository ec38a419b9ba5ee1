"""Makes metrics: their names, and how their children are found at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
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


class Across(Enum):
    """What a gauge of a service is whose work several processes share. Counters and histograms are sums."""

    SUM = auto()
    HIGHEST = auto()
    LOWEST = auto()
    LATEST = auto()
    """That of the process which checked the channel last."""
    DATABASE = auto()
    """A figure of the database: that of the one process which reports it."""


@dataclass(frozen=True, slots=True)
class LabelBound:
    """How many values a label has, counted with the labels `beside` it: the first ones; all others are "other"."""

    label: str
    count: int
    beside: tuple[str, ...] = ()


class MetricMaker:
    """Makes the metrics of one registry; every name starts with `truestock_`.

    `across` and `bounds` say by name what the metrics of several processes are together.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.across: dict[str, Across] = {}
        self.bounds: dict[str, LabelBound] = {}

    def counter(self, name: str, text: str, *labels: str, bound: LabelBound | None = None) -> Counter:
        """A counter; `_total` is added to its name."""
        self._bound(name, bound)
        return _with_kept_children(Counter(f"truestock_{name}", text, labels, registry=self.registry))

    def gauge(
        self, name: str, text: str, *labels: str, across: Across = Across.HIGHEST, bound: LabelBound | None = None
    ) -> Gauge:
        """A gauge."""
        self._bound(name, bound)
        self.across[f"truestock_{name}"] = across
        return Gauge(f"truestock_{name}", text, labels, registry=self.registry)

    def histogram(
        self,
        name: str,
        text: str,
        *labels: str,
        buckets: tuple[float, ...] = SECONDS,
        bound: LabelBound | None = None,
    ) -> Histogram:
        """A histogram with buckets up to these values."""
        self._bound(name, bound)
        made = Histogram(f"truestock_{name}", text, labels, buckets=buckets, registry=self.registry)
        return _with_kept_children(made)

    def _bound(self, name: str, bound: LabelBound | None) -> None:
        if bound is not None:
            self.bounds[f"truestock_{name}"] = bound
