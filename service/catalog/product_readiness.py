"""Which products can be listed where: read and worked out only where rules in force ask for it, and then remembered."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sqlalchemy import Text, select

from policies.decisions.product_readiness import readiness_of
from policies.domain.model import Product
from policies.domain.product_details import ListingReadiness
from policies.policy_set import PolicySet
from service.catalog.product_details import DETAIL_COLUMNS, details_of
from service.database.database import Connection, Statement, any_of
from service.database.tables import product as product_table

MAX_REMEMBERED = 100_000
"""Products that are remembered for one policy set; beyond that all are worked out again."""
MAX_POLICY_SETS = 4

_DETAILS = Statement(
    select(*(product_table.c[name] for name in DETAIL_COLUMNS)).where(product_table.c.sku == any_of("skus", Text))
)


@dataclass(slots=True)
class _Remembered:
    """What was worked out of products as they were in one version of the catalog, or since."""

    version: int
    by_sku: dict[str, ListingReadiness] = field(default_factory=dict)


class ReadinessCache:
    """The readiness of products, worked out once for each version of the catalog and each policy set."""

    def __init__(self) -> None:
        self._by_revision: dict[str, _Remembered] = {}

    async def added(
        self, connection: Connection, policy_set: PolicySet, version: int, products: dict[str, Product]
    ) -> dict[str, Product]:
        """The products with their readiness, if the rules ask for it; they were read at this version of the catalog."""
        if not policy_set.reads_readiness or not products:
            return products
        remembered = self._of(policy_set.revision, version)
        missing = [sku for sku in products if sku not in remembered.by_sku]
        found: dict[str, ListingReadiness] = {}
        if missing:
            rows = await _DETAILS.rows(connection, skus=missing)
            found = {row["sku"]: readiness_of(policy_set, products[row["sku"]], details_of(row)) for row in rows}
            if remembered.version == version:
                # A transaction with an older snapshot may read an older product than those that come after it.
                remembered.by_sku.update(found)
        return {
            sku: replace(product, readiness=remembered.by_sku.get(sku) or found.get(sku))
            for sku, product in products.items()
        }

    def _of(self, revision: str, version: int) -> _Remembered:
        """What is remembered of a policy set; empty if that was of an earlier version, or is too much."""
        remembered = self._by_revision.get(revision)
        if remembered is None or remembered.version < version or len(remembered.by_sku) > MAX_REMEMBERED:
            if remembered is None and len(self._by_revision) >= MAX_POLICY_SETS:
                self._by_revision.pop(next(iter(self._by_revision)))
            remembered = self._by_revision[revision] = _Remembered(version)
        return remembered
