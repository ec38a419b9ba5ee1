"""A client of Truestock: stubs with deadlines, retries and request ids, and watches that resume.

The messages are in `truestock.v1`, such as `truestock.v1.allocation_service_pb2.AllocateOrderRequest`.
"""

from truestock_client.aio import AsyncClient, pages as async_pages
from truestock_client.client import Client, pages
from truestock_client.errors import CallError, InvalidRequest, NotFound, Refused, Unavailable, Violation, from_status

__all__ = [
    "AsyncClient",
    "CallError",
    "Client",
    "InvalidRequest",
    "NotFound",
    "Refused",
    "Unavailable",
    "Violation",
    "async_pages",
    "from_status",
    "pages",
]
