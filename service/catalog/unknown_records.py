"""Errors about products and locations that the catalog does not have, with those that were probably meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

from sqlalchemy import Integer, Text, literal_column, select

from policies.domain.near_names import near_by_keys, near_keys
from service import limits
from service.database.database import Connection, Statement, any_of, parameter
from service.database.tables import location, product
from service.errors import NotFound, no_location, no_product

CANDIDATES = 500

_NEAR = Statement(
    select(product.c.sku)
    .where(literal_column("lower(ltrim(product.sku, '0'))") == any_of("keys", Text))
    .order_by(product.c.sku)
    .limit(parameter("count", Integer))
)
_LOCATION_IDS = Statement(select(location.c.id))


async def near_products(connection: Connection, skus: Iterable[str]) -> dict[str, str]:
    """By unknown SKU, the SKU that was probably meant, if there is one; of the first NEAR_SKUS only."""
    wanted = list(islice(skus, limits.NEAR_SKUS))
    return near_by_keys(wanted, await near_candidates(connection, wanted))


async def near_candidates(connection: Connection, skus: Iterable[str]) -> list[str]:
    """All SKUs that are near one of these, at most CANDIDATES."""
    keys = sorted({key for sku in skus for key in near_keys(sku)})
    return [row["sku"] for row in await _NEAR.rows(connection, keys=keys, count=CANDIDATES)] if keys else []


async def product_error(connection: Connection, missing: Mapping[str, str]) -> NotFound:
    """The error for SKUs that no product has; `missing` maps each field that names one to it."""
    return no_product(missing, await near_products(connection, sorted(set(missing.values()))))


async def location_error(connection: Connection, missing: Mapping[str, str]) -> NotFound:
    """The error for ids that no location has; `missing` maps each field that names one to it."""
    return no_location(missing, [row["id"] for row in await _LOCATION_IDS.rows(connection)])
