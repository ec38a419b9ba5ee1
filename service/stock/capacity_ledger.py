"""What one transaction knows of the locations' capacity: the figures that it has read, and what its orders take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from policies.domain.capacity import NOTHING_USED, WHOLE_DAY, CapacityFigures, CapacityPeriod, CapacityUse
from policies.domain.handling_times import HandlingTime
from policies.domain.model import Location

Uses = Mapping[CapacityPeriod, CapacityUse]
NO_USES: Uses = {}


class ShipmentUse(NamedTuple):
    """What one shipment takes: one order and its units, of a day and perhaps of an hour of it."""

    location_id: str
    handling: HandlingTime
    unit_count: int

    def periods(self) -> tuple[CapacityPeriod, ...]:
        """The periods that it takes of."""
        location_id, (day, hour), _ = self
        whole_day = CapacityPeriod(location_id, day, WHOLE_DAY)
        return (whole_day,) if hour is None else (whole_day, CapacityPeriod(location_id, day, hour))


def total_uses(shipments: list[ShipmentUse]) -> Uses:
    """What these shipments take together."""
    uses: dict[CapacityPeriod, CapacityUse] = {}
    for shipment in shipments:
        for period in shipment.periods():
            orders, units = uses.get(period, NOTHING_USED)
            uses[period] = CapacityUse(orders + 1, units + shipment.unit_count)
    return uses


@dataclass(slots=True)
class CapacityLedger:
    """What the orders of the transaction took before it and take now, at the locations whose figures were read."""

    figures: dict[CapacityPeriod, CapacityUse] = field(default_factory=dict)
    """What is taken of each period now, by others and by these orders; periods of which nothing is are left out."""
    locations: dict[str, Location] = field(default_factory=dict)
    """The locations whose figures were read, by id."""
    _before: dict[UUID, Uses] = field(default_factory=dict)
    _now: dict[UUID, Uses] = field(default_factory=dict)

    def read(self, locations: Iterable[Location], figures: Mapping[CapacityPeriod, CapacityUse]) -> None:
        """Adds what is taken at locations whose figures have just been read: nothing of a hold that has expired."""
        self.locations.update({location.id: location for location in locations})
        _add(self.figures, figures, 1)

    def load(self, order_id: UUID, uses: Uses, *, is_expired: bool) -> None:
        """Notes what a stored order takes."""
        known, now = self._now.get(order_id), NO_USES if is_expired else uses
        if known is not None:
            # It is read again as it is stored: what it was going to take no longer counts.
            _replace(self.figures, known, now)
        self._before[order_id], self._now[order_id] = uses, now

    def note(self, order_id: UUID, uses: Uses) -> None:
        """Notes what an order takes from now on, for the orders that are planned after it."""
        known = self._now.get(order_id)
        if known is None and not uses:
            return
        if known != uses:
            _replace(self.figures, known or NO_USES, uses)
            self._now[order_id] = uses

    def figures_for(self, order_id: UUID, uses: Uses) -> CapacityFigures | None:
        """What is taken if this order takes these uses, which it keeps; None if no figures were read."""
        if not self.locations:
            return None
        figures = dict(self.figures)
        _replace(figures, self._now.get(order_id, NO_USES), uses)
        return CapacityFigures(figures)

    def changes(self) -> dict[CapacityPeriod, CapacityUse]:
        """By how much this transaction changes what is stored, in the order in which rows are locked."""
        changes: dict[CapacityPeriod, CapacityUse] = {}
        for id, now in self._now.items():
            before = self._before.get(id, NO_USES)
            if now is not before:
                _replace(changes, before, now)
        return {period: changes[period] for period in sorted(changes) if changes[period] != NOTHING_USED}


def _replace(figures: dict[CapacityPeriod, CapacityUse], known: Uses, uses: Uses) -> None:
    if known:
        _add(figures, known, -1)
    if uses:
        _add(figures, uses, 1)


def _add(figures: dict[CapacityPeriod, CapacityUse], uses: Uses, sign: int) -> None:
    for period, (orders, units) in uses.items():
        known_orders, known_units = figures.get(period, NOTHING_USED)
        total = CapacityUse(known_orders + sign * orders, known_units + sign * units)
        if total == NOTHING_USED:
            figures.pop(period, None)
        else:
            figures[period] = total
