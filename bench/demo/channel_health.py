"""The health of one channel, from the page of metrics that Prometheus scrapes."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from service.cli.console import count

NOT_YET = "not yet"
_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ChannelHealth:
    """The counters of one channel by name, summed over their other labels."""

    counters: dict[str, int]

    @classmethod
    def of(cls, page: str, channel_id: str) -> ChannelHealth:
        """Reads the counters of a channel from a page of metrics; those without a channel are included."""
        counters: dict[str, int] = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name.endswith("_total") and sample.labels.get("channel", channel_id) == channel_id:
                    name = sample.name.removeprefix("truestock_").removesuffix("_total")
                    counters[name] = counters.get(name, 0) + int(sample.value)
        return cls(counters)

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yields each metric with its value and the figures that it is computed from."""
        yield "oversell rate", *self._share("oversold_units", "sold_units", "unit", "sold")
        yield "supplied only by a buffer", *self._share("buffer_saved_units", "sold_units", "unit", "sold")
        yield "cancellation rate", *self._share("cancelled_units", "sold_units", "unit", "sold")
        yield "exceptions", f"{self.counters['exceptions']:,}", "raised"
        yield "inventory mismatches", f"{self.counters['inventory_mismatches']:,}", "found"
        yield "orders that a person handles", *self._share("manual_interventions", "sold_orders", "order", "sold")

    def _share(self, part: str, whole: str, noun: str, done: str) -> tuple[str, str]:
        parts, total = self.counters[part], self.counters[whole]
        share = f"{parts / total:.1%}" if total else NOT_YET
        return share, f"{parts:,} of {count(total, noun)} {done}"


def read_metrics(address: str) -> str:
    """The page of metrics of the service at this address, HOST:PORT."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=_SECONDS) as response:
        page: str = response.read().decode()
        return page
