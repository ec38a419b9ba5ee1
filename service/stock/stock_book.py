"""The working copy of stock within one transaction: figures that shrink as orders are planned, and every movement.

Nothing here reads or writes the database; `levels` does, before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from policies.domain.model import StockLevel
from policies.stock.feeds import ORDERS

Key = tuple[str, str]
"""(SKU, location id)."""


@dataclass(frozen=True, slots=True)
class Movement:
    """One change of the figures of one product at one location, in units, and why."""

    id: UUID
    sku: str
    location_id: str
    kind: str
    on_hand: int
    unavailable: int
    held: int
    allocated: int
    source: str
    effective_time: datetime
    result: str = "accepted"
    reported_count: int | None = None
    change_id: str | None = None
    allocation_id: UUID | None = None
    line_id: str | None = None
    reason: str | None = None
    """Why units became unavailable or sellable again, or why a location could not supply them."""


@dataclass(frozen=True, slots=True)
class PromisedUnits:
    """A row of `promise`, as far as giving it back needs."""

    shipment_id: UUID
    line_id: str
    allocation_id: UUID
    sku: str
    location_id: str
    unit_count: int


@dataclass(frozen=True, slots=True)
class LineUnits:
    """Units of one order line at one location; the key is (SKU, location id)."""

    allocation_id: UUID
    line_id: str
    key: Key
    unit_count: int


@dataclass(frozen=True, slots=True)
class Deltas:
    """By how many units figures change."""

    on_hand: int = 0
    unavailable: int = 0
    held: int = 0
    allocated: int = 0


@dataclass(frozen=True, slots=True)
class Occurrence:
    """When units moved, and whether a count that was made since has it in already, so that on hand stays."""

    time: datetime
    is_counted: bool = False


class Book:
    """Stock figures of one transaction, read under lock at `now`."""

    def __init__(self, now: datetime, levels: dict[Key, StockLevel], new_id: Callable[[], UUID]) -> None:
        self.now = now
        self.levels = levels
        self.movements: list[Movement] = []
        self.expired_promises: list[PromisedUnits] = []
        self.backordered_skus: set[str] = set()
        """SKUs that backorders wait for."""
        self.new_id = new_id

    def hold(self, part: LineUnits) -> None:
        """Promises available units to an order that is not paid yet."""
        self._move("held", part, Deltas(held=part.unit_count))

    def allocate(self, part: LineUnits) -> None:
        """Promises available units to an order that is sold."""
        self._move("allocated", part, Deltas(allocated=part.unit_count))

    def confirm(self, part: LineUnits) -> None:
        """Held units become allocated ones."""
        self._move("confirmed", part, Deltas(held=-part.unit_count, allocated=part.unit_count))

    def release(self, part: LineUnits, *, was_held: bool, reason: str | None = None) -> None:
        """Gives promised units back."""
        back = Deltas(held=-part.unit_count) if was_held else Deltas(allocated=-part.unit_count)
        self._move("released", part, back, reason=reason)

    def fulfill(self, kind: str, part: LineUnits, at: Occurrence) -> None:
        """Promised units leave the location, `shipped` or `collected`: on hand falls, and so does the promise."""
        gone = 0 if at.is_counted else -part.unit_count
        self._move(kind, part, Deltas(on_hand=gone, allocated=-part.unit_count), at=at)

    def write_off(self, part: LineUnits, at: Occurrence, *, reason: str) -> None:
        """Units turn out not to be there. Their promise is released apart."""
        gone = 0 if at.is_counted else -part.unit_count
        self._move("lost", part, Deltas(on_hand=gone), reason=reason, at=at)

    def make_unavailable(self, part: LineUnits, *, reason: str) -> None:
        """Units that are there are not sellable any more."""
        self._move("set_aside", part, Deltas(unavailable=part.unit_count), reason=reason)

    def receive_return(self, part: LineUnits, at: Occurrence, *, reason: str | None) -> None:
        """Units came back to a location: sellable where there is no `reason` why they are not."""
        here = 0 if at.is_counted else part.unit_count
        self._move("returned", part, Deltas(on_hand=here, unavailable=here if reason else 0), reason=reason, at=at)

    def expire(self, promises: Iterable[PromisedUnits]) -> None:
        """Gives back holds whose time is over; their rows are emptied when the book is written."""
        for promise in promises:
            part = LineUnits(
                promise.allocation_id, promise.line_id, (promise.sku, promise.location_id), promise.unit_count
            )
            self._move("expired", part, Deltas(held=-promise.unit_count))
            self.expired_promises.append(promise)

    def apply(self, movement: Movement) -> None:
        """Changes the figures by a movement and keeps it for writing."""
        key = (movement.sku, movement.location_id)
        level = self.levels[key]
        self.levels[key] = replace(
            level,
            on_hand=level.on_hand + movement.on_hand,
            unavailable=level.unavailable + movement.unavailable,
            held=level.held + movement.held,
            allocated=level.allocated + movement.allocated,
        )
        self.movements.append(movement)

    def _move(
        self, kind: str, part: LineUnits, deltas: Deltas, *, reason: str | None = None, at: Occurrence | None = None
    ) -> None:
        self.apply(
            Movement(
                id=self.new_id(),
                sku=part.key[0],
                location_id=part.key[1],
                kind=kind,
                on_hand=deltas.on_hand,
                unavailable=deltas.unavailable,
                held=deltas.held,
                allocated=deltas.allocated,
                source=ORDERS,
                effective_time=self._effective_time(part.key, at),
                result="absorbed" if at and at.is_counted else "accepted",
                allocation_id=part.allocation_id,
                line_id=part.line_id,
                reason=reason,
            )
        )

    def _effective_time(self, key: Key, at: Occurrence | None) -> datetime:
        """When units moved: after the last count, unless that has them in, even where its source's clock is ahead."""
        time = at.time if at else self.now
        counted = self.levels[key].counted_time
        if counted is None or counted < time or (at is not None and at.is_counted):
            return time
        return counted + timedelta(microseconds=1)

    def changed_keys(self) -> set[Key]:
        """The levels that something happened to."""
        return {(m.sku, m.location_id) for m in self.movements}

    def changes(self) -> dict[Key, tuple[int, int, int, int]]:
        """What the movements add up to: (on hand, unavailable, held, allocated) by key, in lock order."""
        sums: dict[Key, tuple[int, int, int, int]] = {}
        for m in self.movements:
            a, b, c, d = sums.get((m.sku, m.location_id), (0, 0, 0, 0))
            sums[m.sku, m.location_id] = (a + m.on_hand, b + m.unavailable, c + m.held, d + m.allocated)
        return dict(sorted(sums.items()))
