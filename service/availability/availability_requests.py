"""Checks requests about availability."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from service import limits
from service.availability.availability_reader import AvailabilityRequest
from service.orders import order_requests
from service.rpc.validation import Fields
from truestock.v1 import (
    availability_service_pb2 as availability_pb,
)


def wanted_counts(request: availability_pb.CheckAvailabilityRequest) -> dict[str, int]:
    """How many the shopper wants, by SKU or item. Raises InvalidFields."""
    fields = Fields()
    named = {*request.skus, *request.item_ids}
    for name, count in request.wanted_counts.items():
        field = f"wanted_counts[{name[: limits.SKU_LENGTH]}]"
        if name not in named:
            fields.wrong(field, "is not one of skus or item_ids")
        fields.whole_number(field, count, 1, limits.LINE_UNITS)
    fields.finish()
    return dict(request.wanted_counts)


def availability_request(request: availability_pb.CheckAvailabilityRequest) -> AvailabilityRequest:
    """Checks a CheckAvailability request. Raises InvalidFields."""
    fields = Fields()
    fields.text("channel_id", request.channel_id, longest=limits.ID_LENGTH, required=True)
    # The error about too many, or none, names the list that most callers fill.
    if fields.size("skus", [*request.skus, *request.item_ids], 1, limits.SKUS):
        _check_names(fields, "skus", request.skus, fields.sku)
        _check_names(fields, "item_ids", request.item_ids, partial(_check_item, fields))
    fields.text("candidate_revision", request.candidate_revision, longest=limits.ID_LENGTH)
    method = order_requests.order_method(fields, request.method)
    destination = (
        order_requests.order_destination(fields, request.destination) if request.HasField("destination") else None
    )
    if request.include_delivery_days and destination is None:
        fields.wrong("include_delivery_days", "needs a destination: the day of delivery depends on it")
    pickup_location_id = fields.text("pickup_location_id", request.pickup_location_id, longest=limits.ID_LENGTH)
    if pickup_location_id and method != "pickup":
        fields.wrong("pickup_location_id", "is only for FULFILLMENT_METHOD_PICKUP")
    fields.finish()
    return AvailabilityRequest(
        request.channel_id,
        tuple(request.skus),
        method,
        destination,
        request.include_locations,
        request.include_outlets,
        tuple(request.item_ids),
        include_delivery_days=request.include_delivery_days,
        pickup_location_id=pickup_location_id,
    )


def _check_item(fields: Fields, field: str, item_id: str) -> None:
    fields.text(field, item_id, longest=limits.ITEM_ID_LENGTH, required=True)


def _check_names(fields: Fields, name: str, values: Sequence[str], check: Callable[[str, str], object]) -> None:
    """Checks each entry of a list, and that it is there once."""
    first_index: dict[str, int] = {}
    for index, value in enumerate(values):
        check(f"{name}[{index}]", value)
        if value in first_index:
            fields.wrong(f"{name}[{index}]", f"'{value}' is also {name}[{first_index[value]}]")
        first_index.setdefault(value, index)
