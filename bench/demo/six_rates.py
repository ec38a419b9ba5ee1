"""The six rates of the demo, from the page of metrics that Prometheus scrapes, and what to change about each."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from service.cli.console import count

NOT_YET = "not yet"
_SECONDS = 5.0

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Rate:
    """One rate: a share of `noun`s, its label whose values name where it comes from, and advice for these values."""

    title: str
    part: str
    whole: str
    noun: str
    label: str
    advice: Mapping[str, str]
    """What to change by the value that counted most; "" if no other applies."""
    where: Labels | None = None
    """Labels of the whole."""
    part_where: Labels | None = None
    """Labels of the part beside those of the whole."""


@dataclass(frozen=True, slots=True)
class RateValue:
    """A rate of a channel, or of everything: counted parts of a whole, and what the most of them have in common."""

    rate: Rate
    parts: int
    total: int
    most: str

    @property
    def share(self) -> str:
        """The rate in percent; NOT_YET if there is nothing to divide by."""
        return f"{self.parts / self.total:.1%}" if self.total else NOT_YET

    @property
    def counted(self) -> str:
        """Its part and its whole."""
        return f"{self.parts:,} of {count(self.total, self.rate.noun)}"

    @property
    def advice(self) -> str:
        """What to change; empty if nothing happened."""
        if not self.parts:
            return ""
        return self.rate.advice.get(self.most, self.rate.advice[""]).format(self.most)


SHIP_BY = {"deadline": "ship_by"}
RATES = (
    Rate(
        "oversell",
        "oversold_units",
        "sold_units",
        "unit",
        "cause",
        {
            "not_applied": "the channel sold more than it was told: publish faster, or raise its buffer",
            "not_told": "no figure was published to the channel: let it follow WatchAvailability",
            "race": "another channel took the units first: raise the buffer of the slower channel",
            "stale_feed": "a figure was too old: let its feed report more often",
            "": "look at the orders with the cause {}",
        },
    ),
    Rate(
        "cancellation",
        "cancelled_units",
        "sold_units",
        "unit",
        "fault",
        {
            "seller": "the shop could not supply: what lowers oversells lowers these",
            "": "the fault is with {}: nothing to change in the rules",
        },
    ),
    Rate(
        "exceptions of an order",
        "exceptions",
        "sold_orders",
        "order",
        "kind",
        {
            "oversell": "lower the oversells first, from which most of them come",
            "": "see who owns {} in rules/exceptions, and whether a rule can resolve it",
        },
    ),
    Rate(
        "counts that differed",
        "inventory_mismatches",
        "inventory_comparisons",
        "count",
        "location",
        {"": "count {} again, and find out why its till is wrong"},
    ),
    Rate(
        "late shipments",
        "shipments_due",
        "shipments_due",
        "shipment",
        "location",
        {"": "give {} fewer orders (capacity), or more time to handle them"},
        where=SHIP_BY,
        part_where={"result": "late"},
    ),
    Rate(
        "orders for a person",
        "manual_interventions",
        "sold_orders",
        "order",
        "reason",
        {
            "oversell": "let a rule backorder or cancel what may wait or go",
            "": "see whether a rule in rules/exceptions can resolve {}",
        },
    ),
)


class MetricsPage:
    """The counters of one page of metrics."""

    def __init__(self, page: str) -> None:
        self._samples: dict[str, list[tuple[Labels, int]]] = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name.endswith("_total"):
                    name = sample.name.removeprefix("truestock_").removesuffix("_total")
                    self._samples.setdefault(name, []).append((sample.labels, int(sample.value)))

    def total(self, name: str, labels: Labels) -> int:
        """A counter with these labels, added up over its other labels."""
        return sum(value for has, value in self._samples.get(name, []) if labels.items() <= has.items())

    def most(self, name: str, labels: Labels, label: str) -> str:
        """The value of a label that counted most with these labels; empty if nothing is counted."""
        sums: dict[str, int] = {}
        for has, value in self._samples.get(name, []):
            if value and labels.items() <= has.items():
                sums[has[label]] = sums.get(has[label], 0) + value
        return max(sorted(sums), key=lambda value: sums[value], default="")

    def rates(self, channel_id: str) -> list[RateValue]:
        """The six rates: of this channel those that have one, of all locations the others."""
        return [self._value(rate, {"channel": channel_id}) for rate in RATES]

    def _value(self, rate: Rate, channel: Labels) -> RateValue:
        scope = {} if rate.label == "location" else channel
        whole = {**scope, **(rate.where or {})}
        part = {**whole, **(rate.part_where or {})}
        return RateValue(
            rate, self.total(rate.part, part), self.total(rate.whole, whole), self.most(rate.part, part, rate.label)
        )


def read_metrics(address: str) -> str:
    """The page of metrics of the service at this address, HOST:PORT."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=_SECONDS) as response:
        page: str = response.read().decode()
        return page
