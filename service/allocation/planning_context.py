"""The rules, the catalog and the products with which orders are planned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from policies.domain.model import Channel, Location, Product
from policies.domain.outlets import Outlet
from policies.policy_set import PolicySet
from service.capacity import capacity_store
from service.catalog import catalog_store
from service.catalog.catalog_store import Catalog, CatalogCache
from service.database.database import Connection
from service.stock import stock_age
from service.stock.stock_book import Book


@dataclass(slots=True, unsafe_hash=True)
class ChannelContext:
    """The rules, locations and products with which the orders of one channel are planned.

    `catalog_version` is that of the locations, the channel and its outlets.
    """

    policy_set: Final[PolicySet]
    locations: Final[Mapping[str, Location]]
    channel: Final[Channel]
    products: Final[Mapping[str, Product]]
    catalog_version: Final[int] = 0
    outlets: Final[tuple[Outlet, ...]] = ()


@dataclass(slots=True, unsafe_hash=True)
class PlanningContext:
    """The rules, catalog and products with which the orders of any channel are planned."""

    policy_set: Final[PolicySet]
    catalog: Final[Catalog]
    products: Final[Mapping[str, Product]]
    _channels: Final[dict[str, ChannelContext]] = field(default_factory=dict, compare=False)

    def of(self, channel_id: str) -> ChannelContext:
        """The context of one channel's orders. Raises KeyError if the catalog has no such channel."""
        known = self._channels.get(channel_id)
        if known is not None:
            return known
        catalog = self.catalog
        channel = catalog.channels[channel_id]
        outlets = catalog.outlets.get(channel_id, ())
        context = ChannelContext(self.policy_set, catalog.locations, channel, self.products, catalog.version, outlets)
        self._channels[channel_id] = context
        return context


CONTENT_FACTS = frozenset({"order.weight_grams", "order.product_tags"})
"""Facts of an order that depend on the catalog's products."""


async def products_for_dates(connection: Connection, policy_set: PolicySet, skus: Iterable[str]) -> dict[str, Product]:
    """The products of an order by which its shipments are dated; none where no delivery rule tests its contents."""
    if CONTENT_FACTS.isdisjoint(policy_set.delivery_matcher.facts):
        return {}
    return (await catalog_store.products(connection, skus))[1]


async def context(
    connection: Connection,
    cache: CatalogCache,
    policy_set: PolicySet,
    skus: Iterable[str],
    *,
    book: Book | None = None,
) -> PlanningContext:
    """Reads the planning context for orders of these SKUs, and what is taken of the capacity of the book's locations.

    A `book` is needed where units are planned.
    """
    version, products = await catalog_store.products(connection, skus)
    products = await cache.readiness.added(connection, policy_set, version, products)
    catalog = await cache.at(connection, version)
    if book is not None:
        await capacity_store.read_figures(connection, book, catalog)
        await stock_age.read_receipts(connection, book, policy_set, products)
    return PlanningContext(policy_set, catalog, products)
