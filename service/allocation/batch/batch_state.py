"""What was read and decided for a batch of orders so far."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from uuid import UUID

from policies.domain.listings import ItemKey, Listing
from policies.domain.model import Product
from policies.policy_set import PolicySet
from service.allocation.allocation_queue import Ticket
from service.allocation.planner import AllocationChange
from service.allocation.planning_context import PlanningContext
from service.allocation.unit_of_work import UnitOfWork
from service.catalog import catalog_store
from service.catalog.catalog_store import Catalog, CatalogCache
from service.database.database import Connection
from service.errors import TruestockError
from service.orders.order_identity import OrderKey
from truestock.v1 import allocation_service_pb2 as allocation_pb


@dataclass(slots=True)
class BatchState:
    """What one transaction has read and decided so far."""

    catalog: Catalog
    products: dict[str, Product]
    listings: dict[ItemKey, Listing] = field(default_factory=dict)
    """The listings of the items that the orders name."""
    known_keys: Set[OrderKey] = frozenset()
    """Keys of which an order, a copy or a cancellation was stored before anything was locked."""
    outcomes: dict[UUID, allocation_pb.Allocation | TruestockError] = field(default_factory=dict)
    changes: dict[UUID, AllocationChange] = field(default_factory=dict)
    """What changed about the orders, by request id."""
    unit_of_work: UnitOfWork | None = None
    receipt_id: UUID | None = None
    """Of the row that shows, after a commit whose confirmation was lost, whether it succeeded."""
    version: int = -1
    """Of the catalog when the products were read."""
    checked_products: dict[str, dict[str, Product]] = field(default_factory=dict)
    """The products with their readiness, by the revision of the rules that ask for it."""
    _context: PlanningContext | None = None
    """The one that was asked for last: most orders of a batch have the same rules."""

    def skus_of(self, tickets: Iterable[Ticket]) -> set[str]:
        """The SKUs that these orders name, those of their items, and the components of those that are kits."""
        skus = {line.sku for ticket in tickets for line in ticket.request.order.lines}
        if self.listings:
            skus |= {listing.sku for listing in self.listings.values()}
        return skus | self.catalog.kits.components_of(skus)

    async def load_products(self, connection: Connection, skus: set[str]) -> None:
        """Reads the products of stored orders that no request names."""
        missing = skus - self.products.keys()
        if missing:
            self.products |= (await catalog_store.products(connection, missing))[1]

    async def check_products(
        self, connection: Connection, cache: CatalogCache, policy_sets: Iterable[PolicySet]
    ) -> None:
        """Finds out which products can be listed, for those of the rules that ask for it."""
        for policy_set in policy_sets:
            if policy_set.reads_readiness and policy_set.revision not in self.checked_products:
                checked = await cache.readiness.added(connection, policy_set, self.version, self.products)
                self.checked_products[policy_set.revision] = checked

    def context(self, policy_set: PolicySet) -> PlanningContext:
        """The rules, catalog and products with which orders are planned."""
        products = self.checked_products.get(policy_set.revision, self.products)
        known = self._context
        if known is None or known.policy_set is not policy_set or known.products is not products:
            known = self._context = PlanningContext(policy_set, self.catalog, products)
        return known
