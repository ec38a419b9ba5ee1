"""What carriers charge by zone: the rows of a rate table, of which the first that applies to a shipment counts.

Weights are in grams. An unknown weight is infinite: no zone that asks for it applies, and a cost by it is infinite.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from math import inf, isinf

from policies.domain.model import Destination

UNKNOWN_WEIGHT = inf
INFINITE_COST = Decimal("Infinity")
"""An unknown cost, which sorts last."""

_GRAMS_PER_KG = 1_000

KEPT_PLACES = 1_024
"""Places whose zones are kept."""


@dataclass(frozen=True, slots=True)
class ShippingCost:
    """Cost of a shipment in the merchant's currency: amounts per shipment, per unit and per kilogram."""

    per_shipment: Decimal = Decimal(0)
    per_unit: Decimal = Decimal(0)
    per_kg: Decimal = Decimal(0)

    def of(self, unit_count: int, grams: float = UNKNOWN_WEIGHT) -> Decimal:
        """The cost of a shipment of this many units and this weight; infinite if it is unknown."""
        cost = self.per_shipment + self.per_unit * unit_count
        if not self.per_kg:
            return cost
        return INFINITE_COST if isinf(grams) else cost + self.per_kg * Decimal(grams) / _GRAMS_PER_KG

    @property
    def sees_weight(self) -> bool:
        """Whether the cost depends on the weight."""
        return bool(self.per_kg)

    @property
    def least(self) -> ShippingCost:
        """Amounts that no shipment costs less than: these."""
        return self


@dataclass(frozen=True, slots=True)
class WeightBands:
    """Costs of a shipment by its weight: each up to so many grams, inclusive; the first that it fits counts.

    The cost of a shipment that fits none is unknown.
    """

    bands: tuple[tuple[float, ShippingCost], ...]

    def of(self, unit_count: int, grams: float = UNKNOWN_WEIGHT) -> Decimal:
        """The cost of a shipment of this many units and this weight; infinite if it is unknown."""
        for up_to_grams, cost in self.bands:
            if grams <= up_to_grams:
                return cost.of(unit_count, grams)
        return INFINITE_COST

    @property
    def sees_weight(self) -> bool:
        """Always: it has bands because the cost depends on the weight."""
        return True

    @property
    def least(self) -> ShippingCost:
        """Amounts that no shipment costs less than: the lowest of each kind."""
        costs = [cost for _, cost in self.bands]
        return ShippingCost(
            min(cost.per_shipment for cost in costs),
            min(cost.per_unit for cost in costs),
            min(cost.per_kg for cost in costs),
        )


ShippingRates = ShippingCost | WeightBands
"""What shipments from one location cost."""


@dataclass(frozen=True, slots=True)
class ShipmentSize:
    """The units of a shipment, and their weight in grams."""

    unit_count: int
    grams: float = UNKNOWN_WEIGHT


FREE = ShippingCost()


@dataclass(frozen=True, slots=True)
class Zone:
    """One row: shipments that it applies to, and their cost. None applies to all, also to those of unknown places.

    `postal_code` is the beginning of the codes, as `plain_postal_code` writes them. `up_to_km` and `up_to_kg`, which is
    of the shipment, are inclusive. An order with a value of `free_from` or more costs nothing.
    """

    line: int
    cost: ShippingCost
    country: str | None = None
    region: str | None = None
    postal_code: str | None = None
    up_to_km: float | None = None
    free_from: Decimal | None = None
    up_to_kg: Decimal | None = None

    @property
    def up_to_grams(self) -> float:
        """The heaviest shipment of the zone, also one of unknown weight where it is infinite."""
        return inf if self.up_to_kg is None else float(self.up_to_kg * _GRAMS_PER_KG)

    def cost_of(self, order_value: Decimal | None) -> ShippingCost:
        """The cost of a shipment in the zone; an order of unknown value pays."""
        is_free = self.free_from is not None and order_value is not None and order_value >= self.free_from
        return FREE if is_free else self.cost


@dataclass(frozen=True, slots=True, eq=False)
class RateTable:
    """The zones of a file, in its order."""

    file: str
    zones: tuple[Zone, ...]

    def zone_of(
        self, destination: Destination | None, distance_km: float | None, grams: float = UNKNOWN_WEIGHT
    ) -> Zone | None:
        """The first zone that a shipment is in; None if it is in none, and its cost is unknown.

        What is unknown of a shipment is in no zone that asks for it.
        """
        return next((zone for zone in self._zones_near(destination, distance_km) if grams <= zone.up_to_grams), None)

    def rates_to(
        self, destination: Destination | None, distance_km: float | None, order_value: Decimal | None
    ) -> ShippingRates | None:
        """What shipments of any weight cost; None if their cost is unknown."""
        bands: list[tuple[float, ShippingCost]] = []
        for zone in self._zones_near(destination, distance_km):
            bands.append((zone.up_to_grams, zone.cost_of(order_value)))
            if zone.up_to_kg is None:
                break
        if len(bands) == 1 and isinf(bands[0][0]):
            return bands[0][1]
        return WeightBands(tuple(bands)) if bands else None

    @property
    def sees_weight(self) -> bool:
        """Whether any cost depends on the weight of a shipment."""
        return any(zone.up_to_kg is not None or zone.cost.sees_weight for zone in self.zones)

    def _zones_near(self, destination: Destination | None, distance_km: float | None) -> Iterator[Zone]:
        """The zones of a destination at this distance, for shipments of any weight."""
        place = destination or Destination()
        for zone in _zones_at(self, place.country, place.region, plain_postal_code(place.postal_code or "")):
            if zone.up_to_km is None or (distance_km is not None and distance_km <= zone.up_to_km):
                yield zone


@lru_cache(KEPT_PLACES)
def _zones_at(table: RateTable, country: str | None, region: str | None, postal_code: str) -> tuple[Zone, ...]:
    """The zones of a place, at any distance; the locations of one order ask for them in turn."""
    return tuple(
        zone
        for zone in table.zones
        if zone.country in (None, country)
        and zone.region in (None, region)
        and (zone.postal_code is None or postal_code.startswith(zone.postal_code))
    )


def plain_postal_code(text: str) -> str:
    """A postal code in upper case without spaces and punctuation."""
    return "".join(x for x in text.upper() if x.isalnum())
