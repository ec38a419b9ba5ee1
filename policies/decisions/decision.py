"""What was decided for one order: its shipments, what is short, and the reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from policies.decisions.shortages import Shortage
from policies.domain.handling_times import HandlingTime
from policies.domain.model import Outcome
from policies.explanation import DroppedLocation, FiredRule
from policies.policy_set import RoutingPolicy


@dataclass(slots=True, unsafe_hash=True)
class ShipmentLine:
    """Units of one order line in one shipment."""

    line_id: Final[str]
    sku: Final[str]
    unit_count: Final[int]


@dataclass(slots=True, unsafe_hash=True)
class PlannedShipment:
    """Units shipped from one location, or picked up there. `distance_km` is None if unknown.

    `method` is set where it is not the order's: `transfer` to the store of a pickup order, or `ship` to its shopper.
    """

    location_id: Final[str]
    lines: Final[tuple[ShipmentLine, ...]]
    distance_km: Final[float | None] = None
    method: Final[str | None] = None
    handling: Final[HandlingTime | None] = None
    """The day, and perhaps the hour, of whose capacity it takes; None at a location without a limit."""

    @property
    def unit_count(self) -> int:
        """All its units."""
        return sum([line.unit_count for line in self.lines])


@dataclass(slots=True, unsafe_hash=True)
class Decision:
    """The decision for one order. `plan` is in fill order, best-ranked location first.

    `tried` names earlier policies that passed the order on with `otherwise: next`. `reviews` are the review rules that
    fired; the plan's units stay promised. If the search was not exhaustive, no plan of as many units has fewer than
    `fewest_shipments`. `buffer_saved` has the units of each SKU that only the buffer could supply.
    """

    policy: Final[RoutingPolicy]
    outcome: Final[Outcome]
    plan: Final[tuple[PlannedShipment, ...]]
    shortages: Final[tuple[Shortage, ...]]
    dropped: Final[tuple[DroppedLocation, ...]]
    fired: Final[tuple[FiredRule, ...]]
    reviews: Final[tuple[FiredRule, ...]] = ()
    tried: Final[tuple[str, ...]] = ()
    searched_exhaustively: Final[bool] = True
    fewest_shipments: Final[int] = 0
    buffer_saved: Final[Mapping[str, int]] = field(default_factory=dict)

    @property
    def needs_review(self) -> bool:
        """Whether a person must approve the plan before it is shipped."""
        return bool(self.reviews)

    @property
    def shipments_above_bound(self) -> int:
        """By how many shipments the plan exceeds `fewest_shipments`; 0 if the search was exhaustive."""
        return len(self.plan) - self.fewest_shipments if self.fewest_shipments else 0

    @property
    def units(self) -> dict[tuple[str, str], int]:
        """Promised units by (sku, location id)."""
        return units_of(self.plan)


def units_of(shipments: Iterable[PlannedShipment]) -> dict[tuple[str, str], int]:
    """Units of these shipments by (sku, location id)."""
    units: dict[tuple[str, str], int] = {}
    for shipment in shipments:
        for line in shipment.lines:
            key = (line.sku, shipment.location_id)
            units[key] = units.get(key, 0) + line.unit_count
    return units


def handling_days(handled: Iterable[tuple[str, HandlingTime | None]]) -> dict[str, date | None]:
    """The days on which locations handle their shipments; None where capacity is not limited."""
    return {location_id: None if time is None else time.day for location_id, time in handled}
