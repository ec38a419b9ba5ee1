"""The working copy of stock within one transaction: its levels, which change as orders are planned, and every movement.

Nothing here reads or writes the database; `levels` does that before and after.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from policies.domain.model import StockLevel
from policies.stock.confidence import moves_goods
from policies.stock.counting import SHIP_UNDONE, ChangeResult, on_hand_effect
from policies.stock.feeds import ORDERS, TRANSFERS
from service.stock.capacity_ledger import CapacityLedger

Key = tuple[str, str]
"""(SKU, location id)."""


@dataclass(slots=True, unsafe_hash=True)
class Movement:
    """One change of the stock of one product at one location, in units, with its kind and reason."""

    id: Final[UUID]
    sku: Final[str]
    location_id: Final[str]
    kind: Final[str]
    on_hand: Final[int]
    unavailable: Final[int]
    held: Final[int]
    allocated: Final[int]
    source: Final[str]
    effective_time: Final[datetime]
    result: Final[ChangeResult] = ChangeResult.ACCEPTED
    reported_count: Final[int | None] = None
    change_id: Final[str | None] = None
    allocation_id: Final[UUID | None] = None
    line_id: Final[str | None] = None
    reason: Final[str | None] = None
    """Why units became unavailable or sellable again, or why a location could not supply them."""


@dataclass(frozen=True, slots=True)
class PromisedUnits:
    """The columns of a row of `promise` that are needed to release it."""

    shipment_id: UUID
    line_id: str
    allocation_id: UUID
    sku: str
    location_id: str
    unit_count: int


@dataclass(slots=True, unsafe_hash=True)
class LineUnits:
    """Units of one order line at one location; the key is (SKU, location id)."""

    allocation_id: Final[UUID]
    line_id: Final[str]
    key: Final[Key]
    unit_count: Final[int]


@dataclass(slots=True, unsafe_hash=True)
class Deltas:
    """Changes of the figures of a level, in units."""

    on_hand: Final[int] = 0
    unavailable: Final[int] = 0
    held: Final[int] = 0
    allocated: Final[int] = 0


@dataclass(frozen=True, slots=True)
class Occurrence:
    """When units moved; `is_counted` if a later count includes the movement already, so that on hand stays."""

    time: datetime
    is_counted: bool = False


class Book:
    """Stock levels of one transaction, read under lock at `now`."""

    def __init__(self, now: datetime, levels: dict[Key, StockLevel], new_id: Callable[[], UUID]) -> None:
        self.now = now
        self.levels = levels
        self.movements: list[Movement] = []
        self.expired_promises: list[PromisedUnits] = []
        self.backordered_skus: set[str] = set()
        """SKUs with open backorders."""
        self.new_id = new_id
        self.capacity = CapacityLedger()
        """What the transaction knows of the locations' capacity."""

    def hold(self, units: LineUnits) -> None:
        """Holds available units for an order that is not paid yet."""
        self._move("held", units, Deltas(held=units.unit_count))

    def allocate(self, units: LineUnits) -> None:
        """Allocates available units to a sold order."""
        self._move("allocated", units, Deltas(allocated=units.unit_count))

    def confirm(self, units: LineUnits) -> None:
        """Turns held units into allocated ones."""
        self._move("confirmed", units, Deltas(held=-units.unit_count, allocated=units.unit_count))

    def release(self, units: LineUnits, *, was_held: bool, reason: str | None = None) -> None:
        """Releases promised units."""
        deltas = Deltas(held=-units.unit_count) if was_held else Deltas(allocated=-units.unit_count)
        self._move("released", units, deltas, reason=reason)

    def fulfill(self, kind: str, units: LineUnits, occurrence: Occurrence) -> Movement:
        """Subtracts `shipped` or `collected` units from on hand and from allocated; returns the movement."""
        on_hand = 0 if occurrence.is_counted else -units.unit_count
        self._move(kind, units, Deltas(on_hand=on_hand, allocated=-units.unit_count), occurrence=occurrence)
        return self.movements[-1]

    def undo_shipping(self, units: LineUnits, occurrence: Occurrence, *, reason: str) -> None:
        """Adds units that have not left to on hand and allocated again, effective when they were said to leave."""
        on_hand = 0 if occurrence.is_counted else units.unit_count
        deltas = Deltas(on_hand=on_hand, allocated=units.unit_count)
        self._move(SHIP_UNDONE, units, deltas, reason=reason, occurrence=occurrence)

    def write_off(self, units: LineUnits, occurrence: Occurrence, *, reason: str) -> None:
        """Subtracts units that were not found from on hand; their promise is released separately."""
        on_hand = 0 if occurrence.is_counted else -units.unit_count
        self._move("lost", units, Deltas(on_hand=on_hand), reason=reason, occurrence=occurrence)

    def make_unavailable(self, units: LineUnits, *, reason: str) -> None:
        """Makes units on hand unavailable."""
        self._move("set_aside", units, Deltas(unavailable=units.unit_count), reason=reason)

    def receive_return(self, units: LineUnits, occurrence: Occurrence, *, reason: str | None) -> None:
        """Adds returned units to on hand, and to unavailable if there is a `reason` why they are not sellable."""
        on_hand = 0 if occurrence.is_counted else units.unit_count
        self._move(
            "returned",
            units,
            Deltas(on_hand=on_hand, unavailable=on_hand if reason else 0),
            reason=reason,
            occurrence=occurrence,
        )

    def transfer(self, kind: str, key: Key, units: int, occurrence: Occurrence, *, transfer_id: str) -> None:
        """Changes on hand by the units of a transfer that left, arrived or are back at the origin."""
        self.apply(
            Movement(
                id=self.new_id(),
                sku=key[0],
                location_id=key[1],
                kind=kind,
                on_hand=0 if occurrence.is_counted else on_hand_effect(kind, units),
                unavailable=0,
                held=0,
                allocated=0,
                source=TRANSFERS,
                effective_time=self._effective_time(key, occurrence),
                result=ChangeResult.ABSORBED if occurrence.is_counted else ChangeResult.ACCEPTED,
                reported_count=units,
                reason=transfer_id,
            )
        )

    def expire(self, promises: Iterable[PromisedUnits]) -> None:
        """Releases holds that have expired; their rows are emptied when the book is written."""
        for promise in promises:
            units = LineUnits(
                promise.allocation_id, promise.line_id, (promise.sku, promise.location_id), promise.unit_count
            )
            self._move("expired", units, Deltas(held=-promise.unit_count))
            self.expired_promises.append(promise)

    def apply(self, movement: Movement) -> None:
        """Applies a movement to its level and keeps it for writing."""
        key = (movement.sku, movement.location_id)
        self.levels[key] = self.levels[key].changed_by(
            movement.on_hand, movement.unavailable, movement.held, movement.allocated
        )
        self.movements.append(movement)

    def _move(
        self,
        kind: str,
        units: LineUnits,
        deltas: Deltas,
        *,
        reason: str | None = None,
        occurrence: Occurrence | None = None,
    ) -> None:
        self.apply(
            Movement(
                id=self.new_id(),
                sku=units.key[0],
                location_id=units.key[1],
                kind=kind,
                on_hand=deltas.on_hand,
                unavailable=deltas.unavailable,
                held=deltas.held,
                allocated=deltas.allocated,
                source=ORDERS,
                effective_time=self._effective_time(units.key, occurrence),
                result=ChangeResult.ABSORBED if occurrence and occurrence.is_counted else ChangeResult.ACCEPTED,
                reported_count=units.unit_count if occurrence and occurrence.is_counted else None,
                allocation_id=units.allocation_id,
                line_id=units.line_id,
                reason=reason,
            )
        )

    def _effective_time(self, key: Key, occurrence: Occurrence | None) -> datetime:
        """When units moved: after the last count, unless that count includes them."""
        time = occurrence.time if occurrence else self.now
        counted_time = self.levels[key].counted_time
        if counted_time is None or counted_time < time or (occurrence is not None and occurrence.is_counted):
            return time
        # The clock of the count's source may be ahead of ours. A movement dated before the count would look included in
        # it, and the same count sent again would bring back units that have shipped since.
        return counted_time + timedelta(microseconds=1)

    def changed_keys(self) -> set[Key]:
        """The keys of the levels that have movements."""
        return {(m.sku, m.location_id) for m in self.movements}

    def risen_keys(self, since: int = 0) -> set[Key]:
        """The keys of the levels that have more available units than they had `since` that number of movements."""
        available: dict[Key, int] = {}
        for m in self.movements[since:]:
            key = (m.sku, m.location_id)
            available[key] = available.get(key, 0) + m.on_hand - m.unavailable - m.held - m.allocated
        return {key for key, units in available.items() if units > 0}

    def changes(self) -> dict[Key, tuple[int, int, int, int]]:
        """Sums of the movements as (on hand, unavailable, held, allocated) by key, in lock order."""
        sums: dict[Key, tuple[int, int, int, int]] = {}
        for m in self.movements:
            on_hand, unavailable, held, allocated = sums.get((m.sku, m.location_id), (0, 0, 0, 0))
            sums[m.sku, m.location_id] = (
                on_hand + m.on_hand,
                unavailable + m.unavailable,
                held + m.held,
                allocated + m.allocated,
            )
        return dict(sorted(sums.items()))

    def movements_of_goods(self) -> Counter[Key]:
        """How many movements brought or took goods, by key."""
        return Counter((m.sku, m.location_id) for m in self.movements if moves_goods(m.kind, m.on_hand))
