"""Why orders are refused that their channel does not allow, or that name what is not in the catalog."""

from __future__ import annotations

from collections.abc import Mapping

from policies.domain.demand import is_placed_freely
from policies.domain.model import Commitment, Order
from service.allocation.batch.batch_state import BatchState
from service.allocation.intake import channel_words, ordered_items, ordered_kits
from service.allocation.intake.channel_words import read_status
from service.errors import InvalidFields, NotFound, no_channel, no_location, no_outlet, no_product
from service.orders.order_requests import OrderRequest


def unknown_skus(batch: BatchState, request: OrderRequest) -> dict[str, str]:
    """By field, the SKUs that refuse the order. A sold order is not refused: its units are short until they exist."""
    if request.order.commitment is not Commitment.HOLD:
        return {}
    return {
        f"lines[{i}].sku": x.sku
        for i, x in enumerate(request.order.lines)
        if x.item is None and x.sku not in batch.products
    }


def request_error(
    batch: BatchState, request: OrderRequest, near_skus: Mapping[str, str]
) -> NotFound | InvalidFields | None:
    """The error of an order that its channel does not allow, or that names what is not in the catalog."""
    channels = batch.catalog.channels
    channel_fields = {"channel_id": request.order.channel_id} | (
        {"copy_of.channel_id": request.copy_of[0]} if request.copy_of else {}
    )
    missing_channels = {field: id for field, id in channel_fields.items() if id not in channels}
    if missing_channels:
        return no_channel(missing_channels, channels)
    request = read_status(request, channels[request.order.channel_id]).request
    order, violations = request.order, channel_words.violations(request, channels[request.order.channel_id])
    if violations:
        return InvalidFields(violations)
    missing_skus = unknown_skus(batch, request)
    if missing_skus:
        return no_product(missing_skus, near_skus)
    error = _unmapped_item(batch, request)
    if error is not None:
        return error
    if order.outlet is not None and order.commitment is Commitment.HOLD:
        # A sold order waits for the outlet.
        known = batch.catalog.outlets.get(order.channel_id, ())
        if order.outlet.id not in {outlet.id for outlet in known}:
            return no_outlet({"outlet_id": order.outlet.id}, order.channel_id, [outlet.id for outlet in known])
    too_many = ordered_kits.too_many_components(order, batch.catalog.kits)
    if too_many is not None:
        return InvalidFields([too_many])
    if order.pickup_location_id and order.pickup_location_id not in batch.catalog.locations:
        return no_location({"pickup_location_id": order.pickup_location_id}, batch.catalog.locations)
    missing_locations = _unknown_line_locations(batch, order)
    if missing_locations:
        return no_location(missing_locations, batch.catalog.locations)
    return None


def _unmapped_item(batch: BatchState, request: OrderRequest) -> NotFound | None:
    """The error of a new cart with items that are not mapped; a stored one keeps the SKUs that its items were."""
    order = request.order
    if order.commitment is not Commitment.HOLD or request.key in batch.known_keys:
        return None
    return ordered_items.unmapped_error(order, lambda item_id: (order.channel_id, item_id) in batch.listings)


def _unknown_line_locations(batch: BatchState, order: Order) -> dict[str, str]:
    """By field, the locations of lines that refuse a HOLD. Those of a sold order match no location."""
    if order.commitment is not Commitment.HOLD or is_placed_freely(order):
        return {}
    return {
        f"lines[{index}].{field}": location_id
        for index, line in enumerate(order.lines)
        for field, ids in (
            ("only_location_ids", line.placement.only_location_ids or ()),
            ("not_location_ids", line.placement.not_location_ids),
        )
        for location_id in sorted(ids)
        if location_id not in batch.catalog.locations
    }
