"""What a channel really shows of a product, beside what was published to it: evidence for oversells, and drift."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from policies.stock.oversell import PublishedFigure, ShownFigure


@dataclass(frozen=True, slots=True)
class ShownCount:
    """A count that a channel showed from `first_time` to `last_time`, of one product.

    `item_id` and `outlet_id` are empty if the channel named none; one item is `unit_count` units.
    """

    sku: str
    item_id: str
    outlet_id: str
    count: int
    unit_count: int
    first_time: datetime
    last_time: datetime


@dataclass(frozen=True, slots=True)
class ShownItem:
    """How many of one item a channel shows, over all its outlets, and since when all of that has been observed."""

    item_id: str
    count: int
    unit_count: int
    observe_time: datetime

    @property
    def units(self) -> int:
        """The units of the product that it shows."""
        return self.count * self.unit_count


def shown_items(latest: Iterable[ShownCount]) -> list[ShownItem]:
    """The figure of each item, from the latest count of each of its outlets.

    A count that names no outlet is of all outlets. If there are both, those that were observed last apply.
    """
    by_item: dict[str, list[ShownCount]] = {}
    for count in latest:
        by_item.setdefault(count.item_id, []).append(count)
    return [_of_item(item_id, counts) for item_id, counts in sorted(by_item.items())]


def _of_item(item_id: str, counts: Sequence[ShownCount]) -> ShownItem:
    newest = max(counts, key=lambda x: (x.last_time, not x.outlet_id))
    parts = [x for x in counts if bool(x.outlet_id) == bool(newest.outlet_id)]
    return ShownItem(item_id, sum(x.count for x in parts), newest.unit_count, min(x.last_time for x in parts))


def shown_evidence(items: Iterable[ShownItem]) -> ShownFigure | None:
    """The figure that an oversell rests on: of several items of a product, the one that shows most units."""
    most = max(items, key=lambda x: (x.units, x.observe_time), default=None)
    return None if most is None else ShownFigure(most.units, most.observe_time)


def drift(shown: ShownItem, published: PublishedFigure | None, lag: timedelta, own_units: int) -> int | None:
    """By how many items a channel shows another figure than was published to it; 0 if it shows what it should.

    None if that cannot be judged: nothing was published, or it was published so lately that it may be on its way.
    `own_units` were promised to the channel's orders since then, and it may have taken them off by itself.
    """
    if published is None or shown.observe_time < published.publish_time + lag:
        return None
    most = published.sellable // shown.unit_count
    least = max(0, published.sellable - own_units) // shown.unit_count
    return shown.count - most if shown.count > most else min(0, shown.count - least)
