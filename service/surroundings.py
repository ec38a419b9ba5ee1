"""What orders are planned in: the rules, the catalogue, and the products that they name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from policies.model import Channel, Location, Product
from policies.policy import PolicySet
from service import catalogue
from service.catalogue import Catalogue, CatalogueCache
from service.database import Connection


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the orders of one channel are planned in."""

    policy_set: PolicySet
    locations: Mapping[str, Location]
    channel: Channel
    products: Mapping[str, Product]


@dataclass(frozen=True, slots=True)
class Scene:
    """What the orders of any channel are planned in: one set of rules and one catalogue."""

    policy_set: PolicySet
    catalogue: Catalogue
    products: Mapping[str, Product]

    def of(self, channel_id: str) -> Surroundings:
        """The surroundings of one channel's orders. Raises KeyError where the catalogue has no such channel."""
        known = self.catalogue
        return Surroundings(self.policy_set, known.locations, known.channels[channel_id], self.products)


async def scene(connection: Connection, cache: CatalogueCache, policy_set: PolicySet, skus: Iterable[str]) -> Scene:
    """The scene for orders of these SKUs."""
    version, products = await catalogue.products(connection, skus)
    return Scene(policy_set, await cache.at(connection, version), products)
