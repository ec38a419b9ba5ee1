"""What one transaction knows of the locations' capacity: the figures that it has read, and what its orders take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from policies.domain.capacity import NOTHING_USED, CapacityFigures, CapacityPeriod, CapacityUse
from policies.domain.handling_times import HandlingTime
from policies.domain.model import Location


class ShipmentUse(NamedTuple):
    """What one shipment takes: one order and its units, of a day and perhaps of an hour of it."""

    location_id: str
    handling: HandlingTime
    unit_count: int

    def periods(self) -> tuple[CapacityPeriod, ...]:
        """The periods that it takes of."""
        location_id, (day, hour), _ = self
        whole_day = CapacityPeriod(location_id, day)
        return (whole_day,) if hour is None else (whole_day, CapacityPeriod(location_id, day, hour))


Shipments = Sequence[ShipmentUse]
_NONE: Shipments = []


@dataclass(slots=True)
class CapacityLedger:
    """What the orders of the transaction took before it and take now, at the locations whose figures were read."""

    figures: dict[CapacityPeriod, CapacityUse] = field(default_factory=dict)
    """What is taken of each period now, by others and by these orders; periods of which nothing is are left out."""
    locations: dict[str, Location] = field(default_factory=dict)
    """The locations whose figures were read, by id."""
    _stored: dict[CapacityPeriod, CapacityUse] = field(default_factory=dict)
    """What would be taken if the transaction changed nothing, and expired holds had not given back what they took."""
    _before: dict[UUID, Shipments] = field(default_factory=dict)
    _now: dict[UUID, Shipments] = field(default_factory=dict)

    def read(self, locations: Iterable[Location], figures: Mapping[CapacityPeriod, CapacityUse]) -> None:
        """Adds what is taken at locations whose figures have just been read: nothing of a hold that has expired."""
        self.locations.update({location.id: location for location in locations})
        for period, use in figures.items():
            _add(self.figures, period, *use)
            _add(self._stored, period, *use)

    def load(self, order_id: UUID, shipments: Shipments, *, is_expired: bool) -> None:
        """Notes what the shipments of a stored order take."""
        known, now = self._now.get(order_id), _NONE if is_expired else shipments
        if known is not None:
            # It is read again as it is stored: what it was going to take no longer counts.
            _replace(self.figures, known, now)
            _replace(self._stored, self._before.get(order_id, _NONE), shipments)
        elif is_expired:
            _replace(self._stored, _NONE, shipments)
        self._before[order_id], self._now[order_id] = shipments, now

    def note(self, order_id: UUID, shipments: Shipments) -> None:
        """Notes what the shipments of an order take from now on, for the orders that are planned after it."""
        known = self._now.get(order_id, _NONE)
        if known != shipments:
            _replace(self.figures, known, shipments)
            self._now[order_id] = shipments

    def figures_for(self, order_id: UUID, shipments: Shipments) -> CapacityFigures | None:
        """What is taken if this order takes what these of its shipments do; None if no figures were read."""
        if not self.locations:
            return None
        figures = dict(self.figures)
        _replace(figures, self._now.get(order_id, _NONE), shipments)
        return CapacityFigures(figures)

    def changes(self) -> dict[CapacityPeriod, CapacityUse]:
        """By how much this transaction changes what is stored, in the order in which rows are locked."""
        now, stored = self.figures, self._stored
        changed = [period for period in {**stored, **now} if now.get(period) != stored.get(period)]
        changes: dict[CapacityPeriod, CapacityUse] = {}
        for period in sorted(changed):
            (orders, units), (stored_orders, stored_units) = (x.get(period, NOTHING_USED) for x in (now, stored))
            changes[period] = CapacityUse(orders - stored_orders, units - stored_units)
        return changes


def _replace(figures: dict[CapacityPeriod, CapacityUse], known: Shipments, shipments: Shipments) -> None:
    for shipment in known:
        _take(figures, shipment, -1)
    for shipment in shipments:
        _take(figures, shipment, 1)


def _take(figures: dict[CapacityPeriod, CapacityUse], shipment: ShipmentUse, sign: int) -> None:
    for period in shipment.periods():
        _add(figures, period, sign, sign * shipment.unit_count)


def _add(figures: dict[CapacityPeriod, CapacityUse], period: CapacityPeriod, orders: int, units: int) -> None:
    known = figures.get(period)
    total = CapacityUse(orders, units) if known is None else CapacityUse(known[0] + orders, known[1] + units)
    if total == NOTHING_USED:
        figures.pop(period, None)
    else:
        figures[period] = total
