"""Calls, channel and stock that server and load generator share. Imports little, because generators start often."""

from __future__ import annotations

from truestock.v1 import allocation_service_pb2 as allocation_pb, order_pb2

EMPTY_SERVICE = "truestock.v1.Bench"
"""In the package of our own services, so that the interceptor measures its calls as it measures theirs."""

ALLOCATE = "/truestock.v1.AllocationService/AllocateOrder"
CHECK = "/truestock.v1.AvailabilityService/CheckAvailability"
EMPTY = f"/{EMPTY_SERVICE}/DoNothing"

CHANNEL_ID = "tiktok_shop"
UNITS = 1_000_000
"""Units of every SKU at every location: nothing sells out, because shortages would be measured instead of sales."""


def sold_order(sku: str, order_id: str) -> allocation_pb.AllocateOrderRequest:
    """A paid order of one unit to an address in Texas."""
    return allocation_pb.AllocateOrderRequest(
        channel_id=CHANNEL_ID,
        order_id=order_id,
        lines=[order_pb2.OrderLine(sku=sku, unit_count=1)],
        commitment=order_pb2.COMMITMENT_SOLD,
        destination=order_pb2.Destination(country="US", region="TX", postal_code="78704"),
    )
