"""Prepares a service for the replay of an order file: creates its products and records a count of each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from service import limits
from service.cli.client import Client, ServiceError
from service.cli.console import UserError
from service.cli.replay.order_export import FileProduct
from service.rpc import proto_values
from truestock.v1.catalog_service_pb2 import Location, PackageDimensions, Product, UpsertProductsRequest
from truestock.v1.stock_service_pb2 import RecordStockChangesRequest, StockChange, StockChangeResult, StockCount

SOURCE = "truestock-replay-orders"
WAREHOUSE_SHARE = 0.5
"""Share of the units that goes to warehouses, if there are other locations too."""

PACKAGE = PackageDimensions(weight_grams=500, length_mm=200, width_mm=150, height_mm=100)
"""What a complete product states; its own weight and size are not in an order export."""
PICTURE = "https://example.com/picture-of-a-provisioned-product.png"

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class ProvisioningReport:
    """How many products were created, and how many counts were accepted or recorded before.

    `incomplete_products` existed before without weight, size or picture, although complete ones were asked for.
    """

    products: int
    counts: int
    duplicate_counts: int
    incomplete_products: int = 0


async def provision(
    client: Client,
    products: Sequence[FileProduct],
    units: int,
    *,
    currency: str = "USD",
    complete: bool = False,
    now: datetime | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> ProvisioningReport:
    """Creates missing products and records counts of `units` of each product, spread over the open locations.

    Existing products stay unchanged. Provisioning the same units again changes nothing, because the id of a count is
    made of SKU, location and total. With `complete`, new products state a weight, a size and a picture, without which
    rules may block them. Raises UserError without an open location, ServiceError if the service refuses.
    """
    locations = [location for location in await client.locations() if location.status != Location.STATUS_CLOSED]
    if not locations:
        raise UserError(
            f"Truestock at {client.server} has no open location to count stock at; "
            "import some with `truestock import locations FILE.csv`, or start it with `truestock serve --sample`"
        )
    existing = await client.products([product.sku for product in products])
    await _create_products(client, existing, [_product_message(x, currency, complete=complete) for x in products])
    shares = spread_units(units, locations)
    changes = _counts(products, units, shares, now or datetime.now(UTC))
    accepted = duplicates = 0
    for batch in _batches(changes, limits.STOCK_CHANGES):
        response = await client.ask(
            client.stock.RecordStockChanges, RecordStockChangesRequest(source=SOURCE, changes=batch)
        )
        _refuse_quarantine(response.results)
        accepted += sum(result.result == StockChangeResult.CHANGE_RESULT_ACCEPTED for result in response.results)
        duplicates += sum(result.result == StockChangeResult.CHANGE_RESULT_DUPLICATE for result in response.results)
        advance(len(batch))
    incomplete = sum(not _is_complete(product) for product in existing) if complete else 0
    return ProvisioningReport(len(products) - len(existing), accepted, duplicates, incomplete)


def spread_units(units: int, locations: Sequence[Location]) -> dict[str, int]:
    """Units by location id: one half split evenly among warehouses, the other among the other locations.

    If there are only warehouses, or none, all locations share all units.
    """
    sorted_locations = sorted(locations, key=lambda location: location.location_id)
    warehouses = [location.location_id for location in sorted_locations if location.type == Location.TYPE_WAREHOUSE]
    stores = [location.location_id for location in sorted_locations if location.type != Location.TYPE_WAREHOUSE]
    if not warehouses or not stores:
        return _split_evenly(units, warehouses or stores)
    store_units = int(units * (1 - WAREHOUSE_SHARE))
    return _split_evenly(units - store_units, warehouses) | _split_evenly(store_units, stores)


def _split_evenly(units: int, location_ids: Sequence[str]) -> dict[str, int]:
    """Units by location id; the first locations get the units that do not divide evenly."""
    share, remainder = divmod(units, len(location_ids))
    return {
        location_id: share + (1 if position < remainder else 0) for position, location_id in enumerate(location_ids)
    }


async def _create_products(client: Client, existing: Iterable[Product], products: Iterable[Product]) -> None:
    existing_skus = {product.sku for product in existing}
    missing = [product for product in products if product.sku not in existing_skus]
    for batch in _batches(missing, limits.UPSERTS):
        await client.ask(client.catalog.UpsertProducts, UpsertProductsRequest(products=batch))


def _is_complete(product: Product) -> bool:
    return product.HasField("dimensions") and bool(product.image_uri)


def _product_message(product: FileProduct, currency: str, *, complete: bool) -> Product:
    message = Product(sku=product.sku, display_name=product.name[: limits.TEXT_LENGTH])
    if product.price is not None:
        message.price.CopyFrom(proto_values.money(product.price, currency))
    if complete:
        message.dimensions.CopyFrom(PACKAGE)
        message.image_uri = PICTURE
    return message


def _counts(
    products: Sequence[FileProduct], units: int, shares: dict[str, int], now: datetime
) -> Iterator[StockChange]:
    for product in products:
        for location_id, share in shares.items():
            change = StockChange(
                change_id=_change_id(product.sku, location_id, units),
                sku=product.sku,
                location_id=location_id,
                count=StockCount(on_hand_count=share),
            )
            change.effective_time.FromDatetime(now)
            yield change


def _change_id(sku: str, location_id: str, units: int) -> str:
    digest = hashlib.sha256(f"{sku}\n{location_id}".encode()).hexdigest()
    return f"provision-{units}-{digest[:32]}"


def _refuse_quarantine(results: Iterable[StockChangeResult]) -> None:
    for result in results:
        if result.result in (
            StockChangeResult.CHANGE_RESULT_QUARANTINED,
            StockChangeResult.CHANGE_RESULT_REFUSED,
        ):
            raise ServiceError(f"the service did not accept the count {result.change_id}: {result.reason}")


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
