"""Checks requests about pools and outlets, and turns them into rows; rows as messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from service import limits
from service.catalog.catalog_pages import CatalogPage, page_of, texts
from service.catalog.catalog_requests import Row, read_all
from service.catalog.outlets.outlet_store import OutletKey
from service.rpc.page_tokens import PageTokens
from service.rpc.validation import Fields
from truestock.v1 import outlet_pb2


@dataclass(frozen=True, slots=True)
class OutletPage:
    """Which part of the list of outlets to read: at most `count` of them after a key that pass every filter."""

    count: int
    after: OutletKey
    tokens: PageTokens
    filters: Mapping[str, Sequence[str]]


def pool_rows(pools: Sequence[outlet_pb2.Pool]) -> list[Row]:
    """Rows of `pool`. Raises InvalidFields."""
    return read_all("pools", pools, lambda pool: pool.pool_id, "pool_id", _pool)


def outlet_rows(outlets: Sequence[outlet_pb2.Outlet]) -> list[Row]:
    """Rows of `outlet`. Raises InvalidFields."""
    return read_all("outlets", outlets, lambda outlet: f"{outlet.channel_id}/{outlet.outlet_id}", "outlet_id", _outlet)


def pools_page(request: outlet_pb2.ListPoolsRequest) -> CatalogPage:
    """Raises InvalidFields."""
    fields = Fields()
    filters = {
        "ids": texts(fields, "pool_ids", request.pool_ids),
        "locations": texts(fields, "location_ids", request.location_ids),
    }
    return page_of(fields, request, filters, limits.POOLS_PAGE)


def outlets_page(request: outlet_pb2.ListOutletsRequest) -> OutletPage:
    """Raises InvalidFields."""
    fields, tokens = Fields(), PageTokens(request)
    filters = {
        "channels": texts(fields, "channel_ids", request.channel_ids),
        "ids": texts(fields, "outlet_ids", request.outlet_ids),
        "pools": texts(fields, "pool_ids", request.pool_ids),
    }
    count, after = fields.page_size(request.page_size), tokens.names(fields) or ("", "")
    fields.finish()
    return OutletPage(count, after, tokens, {name: entries for name, entries in filters.items() if entries})


def pool_id(request: outlet_pb2.DeletePoolRequest) -> str:
    """The pool to delete. Raises InvalidFields."""
    fields = Fields()
    fields.text("pool_id", request.pool_id, longest=limits.ID_LENGTH, required=True)
    fields.finish()
    return request.pool_id


def outlet_key(request: outlet_pb2.DeleteOutletRequest) -> OutletKey:
    """The outlet to delete. Raises InvalidFields."""
    fields = Fields()
    fields.text("channel_id", request.channel_id, longest=limits.ID_LENGTH, required=True)
    fields.text("outlet_id", request.outlet_id, longest=limits.ID_LENGTH, required=True)
    fields.finish()
    return request.channel_id, request.outlet_id


def pool_message(row: asyncpg.Record) -> outlet_pb2.Pool:
    """A row of `pool` as the API shows it."""
    return outlet_pb2.Pool(pool_id=row["id"], display_name=row["display_name"], location_ids=row["location_ids"])


def outlet_message(row: asyncpg.Record) -> outlet_pb2.Outlet:
    """A row of `outlet` as the API shows it."""
    return outlet_pb2.Outlet(
        channel_id=row["channel_id"],
        outlet_id=row["id"],
        display_name=row["display_name"],
        location_id=row["location_id"],
        pool_id=row["pool_id"],
    )


def _pool(fields: Fields, at: str, message: outlet_pb2.Pool) -> Row:
    # Elsewhere an empty list of locations means all of them, so none is not accepted here.
    if fields.size(f"{at}.location_ids", message.location_ids, 1, limits.POOL_LOCATIONS):
        for index, location_id in enumerate(message.location_ids):
            fields.text(f"{at}.location_ids[{index}]", location_id, longest=limits.ID_LENGTH, required=True)
    return {
        "id": fields.retailer_id(f"{at}.pool_id", message.pool_id),
        "display_name": fields.text(f"{at}.display_name", message.display_name) or "",
        "location_ids": sorted(set(message.location_ids)),
    }


def _outlet(fields: Fields, at: str, message: outlet_pb2.Outlet) -> Row:
    fields.text(f"{at}.channel_id", message.channel_id, longest=limits.ID_LENGTH, required=True)
    fields.text(f"{at}.outlet_id", message.outlet_id, longest=limits.ID_LENGTH, required=True)
    source = message.WhichOneof("source")
    value = getattr(message, source) if source else ""
    if source is None:
        fields.wrong(at, "must have a location_id or a pool_id")
    else:
        fields.text(f"{at}.{source}", value, longest=limits.ID_LENGTH, required=True)
    return {
        "channel_id": message.channel_id,
        "id": message.outlet_id,
        "display_name": fields.text(f"{at}.display_name", message.display_name) or "",
        "location_id": value if source == "location_id" else None,
        "pool_id": value if source == "pool_id" else None,
    }
