"""Checks requests for pickup locations and converts them to plain values."""

from __future__ import annotations

from dataclasses import dataclass

from policies.domain.model import Order
from service import limits
from service.orders.order_lines import LenientFields, order_lines
from service.orders.order_requests import OrderRequest, order_destination
from truestock.v1 import pickup_pb2


@dataclass(frozen=True, slots=True)
class PickupSearchRequest:
    """A checked SearchPickupLocations request: the cart as an unpaid order that goes to the shopper, and the bounds."""

    order: OrderRequest
    radius_km: float
    max_locations: int
    whole_cart_only: bool


def pickup_search_request(request: pickup_pb2.SearchPickupLocationsRequest) -> PickupSearchRequest:
    """Checks a SearchPickupLocations request. Raises InvalidFields with everything that is wrong."""
    fields = LenientFields(is_lenient=False)
    channel_id = fields.text("channel_id", request.channel_id, longest=limits.ID_LENGTH, required=True) or ""
    lines = order_lines(fields, request.lines)
    destination = order_destination(fields, request.destination)
    if destination.coordinates is None and not (destination.country and destination.postal_code):
        advice = "state where the shopper is, by coordinates or by country and postal code"
        fields.wrong("destination.coordinates", f"must not be empty; {advice}")
    value = fields.money("order_value", request.order_value) if request.HasField("order_value") else None
    priority = request.priority if request.HasField("priority") else None
    if priority is not None:
        fields.whole_number("priority", priority, -limits.PRIORITY, limits.PRIORITY)
    tags = fields.tags("tags", request.tags, limits.ORDER_TAGS)
    radius_km = _radius_km(fields, request.radius_km)
    most = limits.PICKUP_LOCATIONS_LIMIT
    max_locations = fields.whole_number("max_locations", request.max_locations or limits.PICKUP_LOCATIONS, 1, most)
    fields.finish()
    order = Order(
        channel_id=channel_id,
        order_id="",
        lines=tuple(lines),
        method="pickup",
        destination=destination,
        stated_value=value,
        priority=priority,
        tags=tags,
    )
    cart = OrderRequest(order, hold_duration=None, request_id=None)
    return PickupSearchRequest(cart, radius_km, max_locations, request.whole_cart_only)


def _radius_km(fields: LenientFields, radius_km: float) -> float:
    radius_km = radius_km or limits.PICKUP_RADIUS_KM
    if not 1 <= radius_km <= limits.PICKUP_RADIUS_LONGEST_KM:
        fields.wrong("radius_km", f"is {radius_km:g}; it must be 1 to {limits.PICKUP_RADIUS_LONGEST_KM:,.0f}")
    return radius_km
