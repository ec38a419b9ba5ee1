"""A retailer's stock and orders as anybody would keep them on paper: sums, and nothing else.

It knows what was counted, what moved and when, and what each order asked for, got and gave back. It chooses no
location: where units are promised is read from the service, and must fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

Key = tuple[str, str]
"""(SKU, location id)."""


@dataclass(slots=True)
class Line:
    """Units of one order line: asked for, left, came back, and taken off by a person or by policy."""

    sku: str
    asked: int
    shipped: int = 0
    returned: int = 0
    cancelled: int = 0

    @property
    def wanted(self) -> int:
        return self.asked - self.cancelled


@dataclass(frozen=True, slots=True)
class Way:
    """How an order reaches its shopper."""

    pickup_at: str | None = None
    country: str | None = None
    is_pickup: bool = False


@dataclass(slots=True)
class PaperOrder:
    """One order's lines by line id, and how it goes."""

    way: Way = field(default_factory=Way)
    lines: dict[str, Line] = field(default_factory=dict)
    sold: bool = False

    def contents(self) -> Mapping[str, tuple[str, int]]:
        """What is still asked for, by line id."""
        return {line_id: (line.sku, line.wanted) for line_id, line in self.lines.items() if line.wanted}

    def stated(self) -> Mapping[str, tuple[str, int]]:
        """What was asked for, whatever was taken off since."""
        return {line_id: (line.sku, line.asked) for line_id, line in self.lines.items()}

    def left(self, lines: Mapping[str, tuple[str, int]]) -> Mapping[str, tuple[str, int]]:
        """What of some contents has not left yet."""
        shipped = {line_id: line.shipped for line_id, line in self.lines.items()}
        units = {line_id: (sku, count - shipped.get(line_id, 0)) for line_id, (sku, count) in lines.items()}
        return {line_id: (sku, count) for line_id, (sku, count) in units.items() if count > 0}

    def state(self, way: Way, lines: Mapping[str, tuple[str, int]], *, sold: bool) -> None:
        """Takes over the contents of a request; what has left stays."""
        before = self.lines
        self.way, self.sold, self.lines = way, sold, {}
        for line_id, (sku, units) in lines.items():
            old = before.pop(line_id, None)
            left = old if old is not None and old.sku == sku else Line(sku, 0)
            self.lines[line_id] = Line(sku, max(units, left.shipped), left.shipped, left.returned)
        for line_id, line in before.items():
            if line.shipped:
                self.lines[line_id] = Line(line.sku, line.shipped, line.shipped, line.returned)


class Paper:
    """Counts, movements and orders."""

    def __init__(self) -> None:
        self._counts: dict[Key, tuple[datetime, int]] = {}
        self._moves: dict[Key, list[tuple[datetime, int]]] = {}
        self._unavailable: dict[Key, int] = {}
        self.orders: dict[str, PaperOrder] = {}

    def levels(self) -> Iterable[Key]:
        """The levels that anything was ever said about."""
        return sorted({*self._counts, *self._moves, *self._unavailable})

    def on_hand(self, key: Key) -> int:
        """The last count, and what moved after it."""
        time, units = self._counts.get(key, (None, 0))
        return units + sum(delta for when, delta in self._moves.get(key, []) if time is None or when > time)

    def unavailable(self, key: Key) -> int:
        return self._unavailable.get(key, 0)

    def has_counted(self, key: Key, when: datetime) -> bool:
        """Whether a count has in already what happened then."""
        return key in self._counts and when <= self._counts[key][0]

    def count(self, key: Key, when: datetime, units: int, unavailable: int | None) -> None:
        """An older count than the last says nothing, nor does another number for its very moment."""
        if key in self._counts and (when, units) < self._counts[key]:
            return
        if key in self._counts and when == self._counts[key][0] and units != self._counts[key][1]:
            return
        self._counts[key] = (when, units)
        if unavailable is not None:
            self._unavailable[key] = unavailable

    def move(self, key: Key, when: datetime, delta: int) -> None:
        self._moves.setdefault(key, []).append((when, delta))

    def set_aside(self, key: Key, units: int) -> None:
        self._unavailable[key] = self.unavailable(key) + units
