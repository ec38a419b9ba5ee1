"""What both ends of the wire agree on: calls, channel and stock. Imports little, because the generator starts often."""

from __future__ import annotations

from truestock.v1 import allocation_service_pb2 as allocation_pb, order_pb2

EMPTY_SERVICE = "truestock.v1.Bench"
"""Its name begins as our own services' do, so that the interceptor measures its calls like theirs."""

ALLOCATE = "/truestock.v1.AllocationService/AllocateOrder"
CHECK = "/truestock.v1.AvailabilityService/CheckAvailability"
EMPTY = f"/{EMPTY_SERVICE}/DoNothing"

CHANNEL_ID = "tiktok_shop"
UNITS = 1_000_000
"""Units of every SKU at every place, so that no run sells out: how quickly one says no is not measured here."""


def sold_order(sku: str, order_id: str) -> allocation_pb.AllocateOrderRequest:
    """A paid order of one unit, to an address in Texas."""
    return allocation_pb.AllocateOrderRequest(
        channel_id=CHANNEL_ID,
        order_id=order_id,
        lines=[order_pb2.OrderLine(sku=sku, unit_count=1)],
        commitment=order_pb2.COMMITMENT_SOLD,
        destination=order_pb2.Destination(country="US", region="TX", postal_code="78704"),
    )
