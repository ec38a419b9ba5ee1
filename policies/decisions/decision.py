"""What was decided for one order: its shipments, what is short, and the reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from policies.decisions.shortages import Shortage
from policies.domain.handling_times import HandlingTime
from policies.domain.model import Outcome
from policies.explanation import DroppedLocation, FiredRule
from policies.policy_set import RoutingPolicy


@dataclass(frozen=True, slots=True)
class ShipmentLine:
    """Units of one order line in one shipment."""

    line_id: str
    sku: str
    unit_count: int


@dataclass(frozen=True, slots=True)
class PlannedShipment:
    """Units shipped from one location, or picked up there. `distance_km` is None if unknown.

    `method` is set where it is not the order's: `transfer` to the store of a pickup order, or `ship` to its shopper.
    """

    location_id: str
    lines: tuple[ShipmentLine, ...]
    distance_km: float | None = None
    method: str | None = None
    handling: HandlingTime | None = None
    """The day, and perhaps the hour, of whose capacity it takes; None at a location without a limit."""

    @property
    def unit_count(self) -> int:
        """All its units."""
        return sum([line.unit_count for line in self.lines])


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision for one order. `plan` is in fill order, best-ranked location first.

    `tried` names earlier policies that passed the order on with `otherwise: next`. `reviews` are the review rules that
    fired; the plan's units stay promised. If the search was not exhaustive, no plan of as many units has fewer than
    `fewest_shipments`. `buffer_saved` has the units of each SKU that only the buffer could supply.
    """

    policy: RoutingPolicy
    outcome: Outcome
    plan: tuple[PlannedShipment, ...]
    shortages: tuple[Shortage, ...]
    dropped: tuple[DroppedLocation, ...]
    fired: tuple[FiredRule, ...]
    reviews: tuple[FiredRule, ...] = ()
    tried: tuple[str, ...] = ()
    searched_exhaustively: bool = True
    fewest_shipments: int = 0
    buffer_saved: Mapping[str, int] = field(default_factory=dict)

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
        promised: dict[tuple[str, str], int] = {}
        for shipment in self.plan:
            for line in shipment.lines:
                key = (line.sku, shipment.location_id)
                promised[key] = promised.get(key, 0) + line.unit_count
        return promised
