"""What carriers charge by zone: the rows of a rate table, of which the first that applies to a shipment counts."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from policies.domain.model import Destination

KEPT_PLACES = 1_024
"""Places whose zones are kept."""


@dataclass(frozen=True, slots=True)
class ShippingCost:
    """Cost of a shipment in the merchant's currency: an amount per shipment plus an amount per unit."""

    per_shipment: Decimal = Decimal(0)
    per_unit: Decimal = Decimal(0)

    def of(self, unit_count: int) -> Decimal:
        """The cost of a shipment of this many units."""
        return self.per_shipment + self.per_unit * unit_count


FREE = ShippingCost()


@dataclass(frozen=True, slots=True)
class Zone:
    """One row: shipments that it applies to, and their cost. None applies to all, also to those of unknown places.

    `postal_code` is the beginning of the codes, as `plain_postal_code` writes them. `up_to_km` is inclusive. An order
    with a value of `free_from` or more costs nothing.
    """

    line: int
    cost: ShippingCost
    country: str | None = None
    region: str | None = None
    postal_code: str | None = None
    up_to_km: float | None = None
    free_from: Decimal | None = None

    def cost_of(self, order_value: Decimal | None) -> ShippingCost:
        """The cost of a shipment in the zone; an order of unknown value pays."""
        is_free = self.free_from is not None and order_value is not None and order_value >= self.free_from
        return FREE if is_free else self.cost


@dataclass(frozen=True, slots=True, eq=False)
class RateTable:
    """The zones of a file, in its order."""

    file: str
    zones: tuple[Zone, ...]

    def zone_of(self, destination: Destination | None, distance_km: float | None) -> Zone | None:
        """The first zone that a shipment is in; None if it is in none, and its cost is unknown.

        What is unknown of a shipment is in no zone that asks for it.
        """
        place = destination or Destination()
        for zone in _zones_at(self, place.country, place.region, plain_postal_code(place.postal_code or "")):
            if zone.up_to_km is None or (distance_km is not None and distance_km <= zone.up_to_km):
                return zone
        return None


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
