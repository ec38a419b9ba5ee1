"""What a Grafana dashboard consists of, and expressions that its panels have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SHARE, PER_SECOND, SECONDS, COUNT = "percentunit", "ops", "s", "short"
"""Units, as Grafana names them."""
CHANNEL, LOCATION, INSTANCE = 'channel=~"$channel"', 'location=~"$location"', 'instance=~"$instance"'


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot: what it asks, a description for whoever does not know the metric, and a legend for each expression."""

    title: str
    unit: str
    description: str
    queries: Mapping[str, str]
    """Legends by expression."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading; three stand side by side."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard, and the labels that whoever looks at it can choose: a variable for each, from a metric with it."""

    uid: str
    title: str
    description: str
    chosen: Mapping[str, str]
    has_windows: bool
    rows: tuple[Row, ...]


def increase(metric: str, by: str, where: str) -> str:
    """How much a counter, named without prefix and `_total`, grew; `where` are matchers of its labels."""
    return f"sum by ({by}) (increase(truestock_{metric}_total{{{where}}}[$__rate_interval]))"


def quantile(share: float, metric: str, by: str, where: str = "") -> str:
    """Seconds within which this share of what a histogram observed lies."""
    rates = f"sum by (le, {by}) (rate(truestock_{metric}_bucket{{{where}}}[$__rate_interval]))"
    return f"histogram_quantile({share}, {rates})"


def recorded(title: str, rate: str, where: str, legend: str, description: str) -> Panel:
    """A panel of a rate that recording rules compute, over the window that its reader chooses."""
    return Panel(title, SHARE, description, {f"{rate}:ratio_$window{{{where}}}": legend})


def rate(metric: str, by: str, where: str = "") -> str:
    """A counter, named without prefix, per second."""
    return f"sum by ({by}) (rate(truestock_{metric}{{{where}}}[$__rate_interval]))"


def mean(metric: str) -> str:
    """The mean of what a histogram of a service observed."""
    return f"{rate(f'{metric}_sum', 'instance')} / ({rate(f'{metric}_count', 'instance')} > 0)"
