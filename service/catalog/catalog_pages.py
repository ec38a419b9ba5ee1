"""Requests for pages of the catalog's lists, checked and turned into plain values; the lists of tags and categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Integer, Text, func, literal, select, union_all

from service import limits
from service.catalog.catalog_words import CHANNEL_KIND, LOCATION_STATUS, LOCATION_TYPE, PRODUCT_STATUS
from service.database.database import Connection, Statement, parameter
from service.database.tables import location, product
from service.rpc.page_tokens import PageTokens
from service.rpc.validation import Fields
from truestock.v1 import catalog_service_pb2 as catalog_pb, kit_pb2

_tags = union_all(
    select(
        func.unnest(location.c.tags).label("name"),
        literal(1, Integer).label("locations"),
        literal(0, Integer).label("products"),
    ),
    select(func.unnest(product.c.tags), literal(0, Integer), literal(1, Integer)),
).subquery()
_TAGS = Statement(
    select(_tags.c.name, func.sum(_tags.c.locations).label("locations"), func.sum(_tags.c.products).label("products"))
    .where(_tags.c.name > parameter("after", Text))
    .group_by(_tags.c.name)
    .order_by(_tags.c.name)
    .limit(parameter("count", Integer))
)
_CATEGORIES = Statement(
    select(product.c.category.label("name"), func.count().label("products"))
    .where(product.c.category > parameter("after", Text))
    .group_by(product.c.category)
    .order_by(product.c.category)
    .limit(parameter("count", Integer))
)


@dataclass(frozen=True, slots=True)
class CatalogPage:
    """Which part of a list to read: at most `count` records with keys after `after` that pass every filter.

    `filters` has the entries of each filter that is set, by its name in `CatalogTable`. `near_skus` are SKUs as a
    caller wrote them; only products with nearly such a SKU are listed.
    """

    count: int
    after: str
    tokens: PageTokens
    filters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    near_skus: Sequence[str] = ()


def locations_page(request: catalog_pb.ListLocationsRequest) -> CatalogPage:
    """Raises InvalidFields."""
    fields = Fields()
    filters = {
        "ids": texts(fields, "location_ids", request.location_ids),
        "types": _words(fields, "types", request.types, LOCATION_TYPE),
        "statuses": _words(fields, "statuses", request.statuses, LOCATION_STATUS),
        "tags": texts(fields, "tags", request.tags),
        "countries": texts(fields, "countries", request.countries),
    }
    return page_of(fields, request, filters)


def products_page(request: catalog_pb.ListProductsRequest) -> CatalogPage:
    """Raises InvalidFields."""
    fields = Fields()
    filters = {
        "ids": texts(fields, "skus", request.skus, limits.SKUS),
        "statuses": _words(fields, "statuses", request.statuses, PRODUCT_STATUS),
        "tags": texts(fields, "tags", request.tags),
        "categories": texts(fields, "categories", request.categories),
        "brands": texts(fields, "brands", request.brands),
    }
    near_skus = texts(fields, "near_skus", request.near_skus, limits.NEAR_SKUS)
    return replace(page_of(fields, request, filters), near_skus=near_skus)


def channels_page(request: catalog_pb.ListChannelsRequest) -> CatalogPage:
    """Raises InvalidFields."""
    fields = Fields()
    filters = {
        "ids": texts(fields, "channel_ids", request.channel_ids),
        "kinds": _words(fields, "kinds", request.kinds, CHANNEL_KIND),
    }
    return page_of(fields, request, filters)


def kits_page(request: kit_pb2.ListKitsRequest) -> CatalogPage:
    """Raises InvalidFields."""
    fields = Fields()
    filters = {
        "ids": texts(fields, "skus", request.skus),
        "component_skus": texts(fields, "component_skus", request.component_skus),
    }
    return page_of(fields, request, filters)


def unfiltered_page(request: Any) -> CatalogPage:
    """A page of a list without filters. Raises InvalidFields."""
    return page_of(Fields(), request, {})


async def tags(connection: Connection, page: CatalogPage) -> list[Any]:
    """The rows of tags of a page, and one more if another page follows."""
    return await _TAGS.rows(connection, after=page.after, count=page.count + 1)


async def categories(connection: Connection, page: CatalogPage) -> list[Any]:
    """The rows of categories of a page, and one more if another page follows."""
    return await _CATEGORIES.rows(connection, after=page.after, count=page.count + 1)


def page_of(
    fields: Fields, request: Any, filters: Mapping[str, Sequence[str]], most: int = limits.PAGE_SIZE_LIMIT
) -> CatalogPage:
    """A page of at most `most` records with these filters. Raises InvalidFields with everything that is wrong."""
    tokens = PageTokens(request)
    page = CatalogPage(
        min(fields.page_size(request.page_size), most),
        tokens.name(fields) or "",
        tokens,
        {name: entries for name, entries in filters.items() if entries},
    )
    fields.finish()
    return page


def texts(fields: Fields, name: str, values: Sequence[str], most: int = limits.CATALOG_FILTER) -> list[str]:
    """The entries of a filter, none of them empty."""
    if fields.size(name, values, 0, most):
        for index, value in enumerate(values):
            fields.text(f"{name}[{index}]", value, required=True)
    return list(values)


def _words(fields: Fields, name: str, numbers: Sequence[int], words: Mapping[int, str]) -> list[str]:
    if fields.size(name, numbers, 0, limits.CATALOG_FILTER):
        for index, number in enumerate(numbers):
            if number not in words:
                fields.wrong(f"{name}[{index}]", f"{number} is not one of: {', '.join(words.values())}")
    return [words[number] for number in numbers if number in words]
