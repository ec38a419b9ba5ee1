"""Makes a service ready to play a file: creates the products that the file names and counts units of each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from service import limits
from service.cli.client import Client, ServiceError
from service.cli.console import UserError
from service.cli.files.order_export import FileProduct
from service.rpc import proto_values
from truestock.v1.catalog_service_pb2 import Location, Product, UpsertProductsRequest
from truestock.v1.stock_service_pb2 import RecordStockChangesRequest, StockChange, StockChangeResult, StockCount

SOURCE = "truestock-play"
WAREHOUSE_SHARE = 0.5
"""Part of the units that is counted in warehouses, where there are other locations too."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class ProvisioningReport:
    """What provisioning did: products that were created, counts that were accepted or had been heard before."""

    products: int
    counts: int
    known_counts: int


async def provision(
    client: Client,
    products: Sequence[FileProduct],
    units: int,
    *,
    currency: str = "USD",
    now: datetime | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> ProvisioningReport:
    """Creates the products that the service does not know, and counts `units` of each, spread over its locations.

    A product that exists keeps all that is known of it. The same units again do nothing: a count's id comes from its
    SKU, location and total. Raises UserError where there is no location, ServiceError where the service refuses.
    """
    locations = [place for place in await client.locations() if place.status != Location.STATUS_CLOSED]
    if not locations:
        raise UserError(
            f"Truestock at {client.server} has no open location to count stock at; "
            "import some with `truestock import locations FILE.csv`, or start it with `truestock serve --sample`"
        )
    created = await _create_products(client, products, currency)
    shares = spread(units, locations)
    changes = _counts(products, units, shares, now or datetime.now(UTC))
    accepted = known = 0
    for batch in _batches(changes, limits.STOCK_CHANGES):
        answer = await client.ask(
            client.stock.RecordStockChanges, RecordStockChangesRequest(source=SOURCE, changes=batch)
        )
        _refuse_quarantine(answer.results)
        accepted += sum(result.result == StockChangeResult.CHANGE_RESULT_ACCEPTED for result in answer.results)
        known += sum(result.result == StockChangeResult.CHANGE_RESULT_DUPLICATE for result in answer.results)
        advance(len(batch))
    return ProvisioningReport(created, accepted, known)


def spread(units: int, locations: Sequence[Location]) -> dict[str, int]:
    """Units for each location id: half for the warehouses, half for the rest, evenly; what is left over to the first.

    Where there are only warehouses, or none, they share all of it.
    """
    ordered = sorted(locations, key=lambda place: place.location_id)
    warehouses = [place.location_id for place in ordered if place.type == Location.TYPE_WAREHOUSE]
    others = [place.location_id for place in ordered if place.type != Location.TYPE_WAREHOUSE]
    if not warehouses or not others:
        return _evenly(units, warehouses or others)
    for_others = int(units * (1 - WAREHOUSE_SHARE))
    return _evenly(units - for_others, warehouses) | _evenly(for_others, others)


def _evenly(units: int, location_ids: Sequence[str]) -> dict[str, int]:
    each, left_over = divmod(units, len(location_ids))
    return {place: each + (1 if position < left_over else 0) for position, place in enumerate(location_ids)}


async def _create_products(client: Client, products: Sequence[FileProduct], currency: str) -> int:
    known = {product.sku for product in await client.products([product.sku for product in products])}
    wanted = [_message(product, currency) for product in products if product.sku not in known]
    for batch in _batches(wanted, limits.UPSERTS):
        await client.ask(client.catalog.UpsertProducts, UpsertProductsRequest(products=batch))
    return len(wanted)


def _message(product: FileProduct, currency: str) -> Product:
    message = Product(sku=product.sku, display_name=product.name[: limits.TEXT_LENGTH])
    if product.price is not None:
        message.price.CopyFrom(proto_values.money(product.price, currency))
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
        if result.result == StockChangeResult.CHANGE_RESULT_QUARANTINED:
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
