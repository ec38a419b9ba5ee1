"""Reads what a batch of orders needs before anything is locked: the catalog, the products, and which orders exist."""

from __future__ import annotations

from collections.abc import Sequence

from service.allocation.allocation_queue import Ticket
from service.allocation.batch.batch_state import BatchState
from service.allocation.batch.request_errors import request_error, unknown_skus
from service.allocation.intake import ordered_items
from service.catalog import catalog_store, listing_store, unknown_records
from service.catalog.catalog_store import Catalog, CatalogCache
from service.database.database import Connection, Statement, transposed
from service.orders import order_identity
from service.orders.order_identity import OrderKey

_START = Statement(catalog_store.PRODUCT_ROWS.add_columns(order_identity.KNOWN_POSITIONS.label("known_positions")))


async def start(connection: Connection, tickets: Sequence[Ticket], cache: CatalogCache) -> BatchState:
    """Reads the catalog and the products; an order that names an unknown record is answered with an error."""
    items = {key for ticket in tickets for key in ordered_items.item_keys(ticket.request.order)}
    listings = await listing_store.read(connection, items) if items else {}
    batch = BatchState(Catalog(-1, {}, {}), {}, listings)
    keys, skus = order_keys(tickets), batch.skus_of(tickets)
    rows = await _START.rows(connection, skus=sorted(skus), **transposed(["channel_id", "order_id"], keys))
    version, batch.products = catalog_store.products_of(rows)
    batch.version = version
    known_positions = (rows[0]["known_positions"] if rows else None) or ()
    batch.catalog = await cache.at(connection, version)
    batch.known_keys = {keys[position - 1] for position in known_positions}
    await batch.load_products(connection, batch.catalog.kits.components_of(skus))
    unknown = sorted({sku for ticket in tickets for sku in unknown_skus(batch, ticket.request).values()})
    near = await unknown_records.near_products(connection, unknown)
    for ticket in tickets:
        error = request_error(batch, ticket.request, near)
        if error is not None:
            batch.outcomes[ticket.claim.id] = error
    return batch


def order_keys(tickets: Sequence[Ticket]) -> list[OrderKey]:
    """The keys of the orders that these requests name, originals of copies included."""
    keys = [ticket.request.key for ticket in tickets]
    return keys + [ticket.request.copy_of for ticket in tickets if ticket.request.copy_of is not None]
