"""Checks requests about availability."""

from __future__ import annotations

from service import limits
from service.availability.availability_reader import AvailabilityRequest
from service.orders import order_requests
from service.rpc.validation import Fields
from truestock.v1 import (
    availability_service_pb2 as availability_pb,
)


def availability_request(request: availability_pb.CheckAvailabilityRequest) -> AvailabilityRequest:
    """Checks a CheckAvailability request. Raises InvalidFields."""
    fields = Fields()
    fields.text("channel_id", request.channel_id, longest=limits.ID_LENGTH, required=True)
    if fields.size("skus", request.skus, 1, limits.SKUS):
        first_index: dict[str, int] = {}
        for index, sku in enumerate(request.skus):
            fields.sku(f"skus[{index}]", sku)
            if sku in first_index:
                fields.wrong(f"skus[{index}]", f"'{sku}' is also skus[{first_index[sku]}]")
            first_index.setdefault(sku, index)
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
    )
