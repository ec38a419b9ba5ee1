"""What a channel really shows of a product, beside what was published to it: evidence for oversells, and drift."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
    """How many of one item a channel shows, over all its outlets, and since when all of that has been observed.

    With an `outlet_id` it is what the channel shows in that outlet alone.
    """

    item_id: str
    count: int
    unit_count: int
    observe_time: datetime
    outlet_id: str = ""

    @property
    def units(self) -> int:
        """The units of the product that it shows."""
        return self.count * self.unit_count


def shown_items(latest: Iterable[ShownCount]) -> list[ShownItem]:
    """The figure of each item, from the latest count of each of its outlets.

    A count that names no outlet is of all outlets. If there are both, those that were observed last apply.
    """
    return [
        ShownItem(item_id, sum(x.count for x in parts), parts[0].unit_count, min(x.last_time for x in parts))
        for item_id, parts in _applying(latest)
    ]


def shown_in_outlets(latest: Iterable[ShownCount]) -> list[ShownItem]:
    """The figure of each item in each outlet, from the same counts; none of an item whose counts are of all outlets."""
    return [
        ShownItem(item_id, x.count, x.unit_count, x.last_time, x.outlet_id)
        for item_id, parts in _applying(latest)
        for x in parts
        if x.outlet_id
    ]


def _applying(latest: Iterable[ShownCount]) -> Iterator[tuple[str, Sequence[ShownCount]]]:
    """The counts of each item that apply, the newest first: those of its outlets, or the one of all of them."""
    by_item: dict[str, list[ShownCount]] = {}
    for count in sorted(latest, key=lambda x: (x.last_time, not x.outlet_id), reverse=True):
        by_item.setdefault(count.item_id, []).append(count)
    for item_id, counts in sorted(by_item.items()):
        yield item_id, [x for x in counts if bool(x.outlet_id) == bool(counts[0].outlet_id)]


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
