"""The working copy of stock within one transaction: figures that shrink as orders are planned, and every movement.

Nothing here reads or writes the database; `levels` does, before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from policies.model import StockLevel

Key = tuple[str, str]
"""(SKU, location id)."""

ORDERS = "orders"
"""The source of movements that orders cause."""
TRANSFERS = "transfers"
"""The source of movements that transfers cause; their `reason` is the transfer's id."""
OWN_SOURCES = (ORDERS, TRANSFERS)
"""Sources that no feed may call itself."""


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
    fate: str = "accepted"
    stated: int | None = None
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


class Book:
    """Stock figures of one transaction, read under lock at `now`."""

    def __init__(self, now: datetime, levels: dict[Key, StockLevel], new_id: Callable[[], UUID]) -> None:
        self.now = now
        self.levels = levels
        self.movements: list[Movement] = []
        self.lapsed: list[PromisedUnits] = []
        self.new_id = new_id

    def hold(self, allocation_id: UUID, line_id: str, key: Key, units: int) -> None:
        """Promises available units to an order that is not paid yet."""
        self._order_movement("held", key, allocation_id, line_id, held=units)

    def allocate(self, allocation_id: UUID, line_id: str, key: Key, units: int) -> None:
        """Promises available units to an order that is sold."""
        self._order_movement("allocated", key, allocation_id, line_id, allocated=units)

    def confirm(self, allocation_id: UUID, line_id: str, key: Key, units: int) -> None:
        """Held units become allocated ones."""
        self._order_movement("confirmed", key, allocation_id, line_id, held=-units, allocated=units)

    def release(self, allocation_id: UUID, line_id: str, key: Key, units: int, *, was_held: bool) -> None:
        """Gives promised units back."""
        taken = {"held": -units} if was_held else {"allocated": -units}
        self._order_movement("released", key, allocation_id, line_id, **taken)

    def expire(self, promises: Iterable[PromisedUnits]) -> None:
        """Gives back holds whose time is over; their rows are emptied when the book is written."""
        for promise in promises:
            key = (promise.sku, promise.location_id)
            self._order_movement("expired", key, promise.allocation_id, promise.line_id, held=-promise.unit_count)
            self.lapsed.append(promise)

    def move(self, movement: Movement) -> None:
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

    def _order_movement(
        self, kind: str, key: Key, allocation_id: UUID, line_id: str, *, held: int = 0, allocated: int = 0
    ) -> None:
        self.move(
            Movement(
                id=self.new_id(),
                sku=key[0],
                location_id=key[1],
                kind=kind,
                on_hand=0,
                unavailable=0,
                held=held,
                allocated=allocated,
                source=ORDERS,
                effective_time=self.now,
                allocation_id=allocation_id,
                line_id=line_id,
            )
        )

    def changes(self) -> dict[Key, tuple[int, int, int, int]]:
        """What the movements add up to: (on hand, unavailable, held, allocated) by key, in lock order."""
        sums: dict[Key, tuple[int, int, int, int]] = {}
        for m in self.movements:
            a, b, c, d = sums.get((m.sku, m.location_id), (0, 0, 0, 0))
            sums[m.sku, m.location_id] = (a + m.on_hand, b + m.unavailable, c + m.held, d + m.allocated)
        return dict(sorted(sums.items()))
