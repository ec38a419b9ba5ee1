"""CheckProducts: the products of a page that lack what the platform of a channel requires of its listings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncpg
from sqlalchemy import func, select

from policies.decisions.product_readiness import ListingProblem, listing_problems
from policies.policy_set import PolicySet
from service import limits
from service.background import Turn
from service.catalog import catalog_store, unknown_records
from service.catalog.catalog_pages import CatalogPage, page_of, texts
from service.catalog.catalog_store import PRODUCTS, CatalogCache, product_of
from service.catalog.product_details import details_of
from service.database.database import Connection, Database, Statement
from service.database.tables import product
from service.errors import NoListingRequirements, no_channel
from service.rpc.validation import Fields
from truestock.v1 import product_check_pb2 as check_pb

_ACTIVE = ["active"]
_COUNT_ACTIVE = Statement(select(func.count()).select_from(product).where(product.c.status == "active"))


@dataclass(frozen=True, slots=True)
class ProductCheckRequest:
    """A checked CheckProducts request."""

    channel_id: str
    skus: Sequence[str]
    page: CatalogPage
    is_first_page: bool


@dataclass(frozen=True, slots=True)
class _ProductPage:
    platform: str
    rows: Sequence[asyncpg.Record]
    has_next: bool
    product_count: int | None


class ProductCheck:
    """Checks products by the rules in force; reads without locks."""

    def __init__(self, policies: Callable[[], PolicySet]) -> None:
        self._policies = policies

    async def check(
        self, database: Database, cache: CatalogCache, request: check_pb.CheckProductsRequest
    ) -> check_pb.CheckProductsResponse:
        """One page. Raises InvalidFields, NotFound and NoListingRequirements."""
        asked, policy_set = product_check_request(request), self._policies()
        page = await database.unlocked("list", lambda connection: self._read(connection, cache, asked, policy_set))
        response = check_pb.CheckProductsResponse(
            checked_count=len(page.rows),
            product_count=page.product_count,
            next_page_token=asked.page.tokens.after(page.rows[-1]["sku"]) if page.has_next else "",
            platform=page.platform,
            policy_revision=policy_set.revision,
        )
        turn = Turn()
        for row in page.rows:
            problems = listing_problems(policy_set, page.platform, product_of(row), details_of(row))
            if problems:
                response.unready.append(_unready_product(row, problems))
            await turn.end_if_long()
        return response

    async def _read(
        self, connection: Connection, cache: CatalogCache, asked: ProductCheckRequest, policy_set: PolicySet
    ) -> _ProductPage:
        catalog = await cache.at(connection, await catalog_store.version(connection))
        channel = catalog.channels.get(asked.channel_id)
        if channel is None:
            raise no_channel({"channel_id": asked.channel_id}, catalog.channels)
        if channel.platform is None or channel.platform not in policy_set.listing_matchers:
            raise NoListingRequirements(channel.id, channel.platform, list(policy_set.listing_matchers))
        if asked.skus and asked.is_first_page:
            await _check_exist(connection, asked.skus)
        page = asked.page
        rows = await PRODUCTS.page(connection, page.after, page.count + 1, page.filters)
        count = await self._product_count(connection, asked) if asked.is_first_page else None
        return _ProductPage(channel.platform, rows[: page.count], len(rows) > page.count, count)

    async def _product_count(self, connection: Connection, asked: ProductCheckRequest) -> int:
        if asked.skus:
            return len(set(asked.skus))
        row = await _COUNT_ACTIVE.row(connection)
        return int(row[0]) if row is not None else 0


def product_check_request(request: check_pb.CheckProductsRequest) -> ProductCheckRequest:
    """Raises InvalidFields with everything that is wrong."""
    fields = Fields()
    channel_id = fields.text("channel_id", request.channel_id, longest=limits.ID_LENGTH, required=True) or ""
    skus = texts(fields, "skus", request.skus, limits.SKUS)
    page = page_of(fields, request, {"ids": skus} if skus else {"statuses": _ACTIVE})
    return ProductCheckRequest(channel_id, skus, page, not request.page_token)


async def _check_exist(connection: Connection, skus: Sequence[str]) -> None:
    missing = await catalog_store.missing_products(connection, skus)
    if missing:
        unknown = {f"skus[{index}]": sku for index, sku in enumerate(skus) if sku in missing}
        raise await unknown_records.product_error(connection, unknown)


def _unready_product(row: asyncpg.Record, problems: Sequence[ListingProblem]) -> check_pb.UnreadyProduct:
    return check_pb.UnreadyProduct(
        sku=row["sku"],
        display_name=row["display_name"],
        category=row["category"] or "",
        problems=[
            check_pb.ListingProblem(
                attribute=problem.attribute,
                problem=problem.problem,
                value=problem.value[: limits.VALUE_SHOWN],
                rule=problem.rule,
                source=str(problem.source),
                owner=problem.owner,
            )
            for problem in problems
        ],
    )
