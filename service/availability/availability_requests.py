"""Checks requests about availability."""

from __future__ import annotations

from collections.abc import Sequence

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
        for index, item_id in enumerate(request.item_ids):
            fields.text(f"item_ids[{index}]", item_id, longest=limits.ITEM_ID_LENGTH, required=True)
        for index, sku in enumerate(request.skus):
            fields.sku(f"skus[{index}]", sku)
        _check_unique(fields, "skus", request.skus)
        _check_unique(fields, "item_ids", request.item_ids)
    fields.text("candidate_revision", request.candidate_revision, longest=limits.ID_LENGTH)
    method = order_requests.order_method(fields, request.method)
    destination = (
        order_requests.order_destination(fields, request.destination) if request.HasField("destination") else None
    )
    fields.finish()
    return AvailabilityRequest(
        request.channel_id,
        tuple(request.skus),
        method,
        destination,
        request.include_locations,
        request.include_outlets,
        tuple(request.item_ids),
    )


def _check_unique(fields: Fields, name: str, values: Sequence[str]) -> None:
    first_index: dict[str, int] = {}
    for index, value in enumerate(values):
        if value in first_index:
            fields.wrong(f"{name}[{index}]", f"'{value}' is also {name}[{first_index[value]}]")
        first_index.setdefault(value, index)
