"""Reads the products and items of a channel, as far as the checklist asks about them.

A channel's products are those that it lists, orders, or was told a figure of; all active ones if there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import text

from policies.decisions.product_readiness import listing_problems
from policies.domain.model import Channel
from policies.policy_set import PolicySet
from policies.readiness.product_answers import ATTRIBUTES, ItemFacts, Lacking, NotListable, ProductFacts
from service.background import Turn
from service.catalog.catalog_store import product_of
from service.catalog.product_details import details_of
from service.database.database import Connection, Statement

_SHOWN = 5
"""Names of each kind that are read."""
CHECKED_PRODUCTS = 20_000
"""Products that are compared with what a platform requires of listings."""
_PAGE = 2_000
_ORDERS = 20_000
"""The newest orders of a channel whose products are looked at."""
_SCOPE = f"""
WITH listed AS (SELECT DISTINCT sku FROM listing WHERE channel_id = :channel_id),
told AS (SELECT sku FROM availability_published WHERE channel_id = :channel_id),
ordered AS (
    SELECT l.sku FROM order_line l WHERE l.sku <> '' AND l.allocation_id IN (
        SELECT id FROM allocation WHERE channel_id = :channel_id ORDER BY id DESC LIMIT {_ORDERS}
    )
),
named AS (SELECT sku FROM listed UNION SELECT sku FROM told UNION SELECT sku FROM ordered),
scope AS (
    SELECT p.*, p.sku IN (SELECT sku FROM listed) AS is_listed, p.sku IN (SELECT sku FROM kit) AS is_kit
    FROM product p
    WHERE p.sku IN (SELECT sku FROM named) OR (p.status = 'active' AND NOT EXISTS (SELECT FROM named))
)
"""
_LACKS = {
    "status": "is_listed AND status <> 'active'",
    "barcode": "barcode IS NULL",
    "category": "category IS NULL",
    "image": "image_uri IS NULL",
    "weight": "weight_grams IS NULL AND NOT is_kit",
    "dimensions": "(length_mm IS NULL OR width_mm IS NULL OR height_mm IS NULL) AND NOT is_kit",
}
"""By attribute, what a product of the scope is that lacks it. Only active products lack anything but their status."""


def _lacking(name: str) -> str:
    condition = _LACKS[name] if name == "status" else f"status = 'active' AND ({_LACKS[name]})"
    return (
        f"count(*) FILTER (WHERE {condition}) AS {name}_count, "
        f"(array_agg(sku ORDER BY sku) FILTER (WHERE {condition}))[1:{_SHOWN}] AS {name}_skus"
    )


_PRODUCTS = Statement(
    text(f"{_SCOPE} SELECT count(*) AS product_count, {', '.join(map(_lacking, ATTRIBUTES))} FROM scope")
)
_SHARED_BARCODES = Statement(
    text(
        f"{_SCOPE} SELECT barcode AS name, (array_agg(sku ORDER BY sku))[1:{_SHOWN}] AS skus FROM scope"
        f" WHERE status = 'active' AND barcode IS NOT NULL GROUP BY 1 HAVING count(*) > 1 ORDER BY 1 LIMIT 100"
    )
)
_MIXED_STYLES = Statement(
    text(
        f"{_SCOPE} SELECT style AS name, (array_agg(sku ORDER BY sku))[1:{_SHOWN}] AS skus FROM scope"
        f" WHERE status = 'active' AND style IS NOT NULL"
        f" GROUP BY 1 HAVING count(DISTINCT category) > 1 ORDER BY 1 LIMIT 100"
    )
)
_PAGE_OF_PRODUCTS = Statement(
    text(
        f"{_SCOPE} SELECT *, statement_timestamp() AS now FROM scope"
        f" WHERE status = 'active' AND sku > :after ORDER BY sku LIMIT :count"
    )
)
_ITEMS = Statement(
    text(
        f"""
        {_SCOPE},
        unlisted AS (
            SELECT sku FROM told WHERE EXISTS (SELECT FROM listed) AND sku NOT IN (SELECT sku FROM listed)
        )
        SELECT
            (SELECT count(*) FROM listing WHERE channel_id = :channel_id) AS item_count,
            (SELECT count(*) FROM unlisted) AS unlisted_count,
            (SELECT (array_agg(sku ORDER BY sku))[1:{_SHOWN}] FROM unlisted) AS unlisted_skus
        """
    )
)
_UNMAPPED = Statement(
    text(
        """
        SELECT DISTINCT item_id FROM (
            SELECT l.item_id FROM order_line l JOIN allocation a ON a.id = l.allocation_id
            WHERE l.item_units = 0 AND a.channel_id = :channel_id AND l.cancelled < l.unit_count
            UNION ALL
            SELECT item_id FROM stock_quarantine WHERE channel_id = :channel_id AND sku = ''
        ) AS unmapped ORDER BY item_id LIMIT 100
        """
    )
)
_INACTIVE_ITEMS = Statement(
    text(
        """
        SELECT l.item_id, l.sku FROM listing l LEFT JOIN product p ON p.sku = l.sku
        WHERE l.channel_id = :channel_id AND (p.sku IS NULL OR p.status <> 'active') ORDER BY l.item_id LIMIT 100
        """
    )
)


async def product_facts(connection: Connection, policy_set: PolicySet, channel: Channel) -> ProductFacts:
    """What the channel's products lack, also of what its platform requires of listings."""
    channel_id = channel.id
    has_requirements = channel.platform in policy_set.listing_matchers
    platform = channel.platform if has_requirements else None
    row = await _PRODUCTS.row(connection, channel_id=channel_id)
    assert row is not None
    lacking = {name: Lacking(row[f"{name}_count"], tuple(row[f"{name}_skus"] or ())) for name in ATTRIBUTES}
    return ProductFacts(
        row["product_count"],
        {name: found for name, found in lacking.items() if found.count},
        _by_name(await _SHARED_BARCODES.rows(connection, channel_id=channel_id)),
        _by_name(await _MIXED_STYLES.rows(connection, channel_id=channel_id)),
        platform,
        {} if platform is None else await _not_listable(connection, policy_set, channel_id, platform),
    )


async def _not_listable(
    connection: Connection, policy_set: PolicySet, channel_id: str, platform: str
) -> Mapping[str, NotListable]:
    """By attribute, products that the platform cannot list, of the first CHECKED_PRODUCTS active ones by SKU."""
    found: dict[str, NotListable] = {}
    turn, after = Turn(), ""
    for _ in range(CHECKED_PRODUCTS // _PAGE):
        rows = await _PAGE_OF_PRODUCTS.rows(connection, channel_id=channel_id, after=after, count=_PAGE)
        for row in rows:
            problems = listing_problems(policy_set, platform, product_of(row), details_of(row))
            for attribute, problem in {x.attribute: x for x in reversed(problems)}.items():
                first = found.get(attribute) or NotListable(0, row["sku"], problem.problem, problem.owner)
                found[attribute] = replace(first, count=first.count + 1)
            await turn.end_if_long()
        if len(rows) < _PAGE:
            break
        after = rows[-1]["sku"]
    return dict(sorted(found.items()))


async def item_facts(connection: Connection, channel_id: str) -> ItemFacts:
    """How the channel's items are mapped."""
    row = await _ITEMS.row(connection, channel_id=channel_id)
    assert row is not None
    unmapped = await _UNMAPPED.rows(connection, channel_id=channel_id)
    inactive = await _INACTIVE_ITEMS.rows(connection, channel_id=channel_id)
    return ItemFacts(
        row["item_count"],
        tuple(x["item_id"] for x in unmapped),
        {x["item_id"]: x["sku"] for x in inactive},
        row["unlisted_count"],
        tuple(row["unlisted_skus"] or ()),
    )


def _by_name(rows: list[Any]) -> Mapping[str, tuple[str, ...]]:
    return {row["name"]: tuple(row["skus"]) for row in rows}
