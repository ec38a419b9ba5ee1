"""Many orders in one call: each answered as if it had come alone, in the order of the list where they share a SKU."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from service.errors import TruestockError
from service.interceptors import unexpected
from truestock.v1 import allocation_service_pb2 as allocation_pb

AllocateOne = Callable[[allocation_pb.AllocateOrderRequest], Awaitable[allocation_pb.Allocation]]


async def allocate(
    requests: Sequence[allocation_pb.AllocateOrderRequest], allocate_one: AllocateOne
) -> allocation_pb.BatchAllocateOrdersResponse:
    """An answer or an error for each, in the order of the list.

    All are in the allocator's queue before it looks into it again, so that they go in one or few transactions.
    """
    results = await asyncio.gather(*(_result(request, allocate_one) for request in requests))
    return allocation_pb.BatchAllocateOrdersResponse(results=results)


async def _result(
    request: allocation_pb.AllocateOrderRequest, allocate_one: AllocateOne
) -> allocation_pb.BatchAllocateOrdersResult:
    try:
        return allocation_pb.BatchAllocateOrdersResult(allocation=await allocate_one(request))
    except TruestockError as error:
        return allocation_pb.BatchAllocateOrdersResult(error=error.status())
    except Exception:
        # One order's misfortune is not the others'.
        return allocation_pb.BatchAllocateOrdersResult(error=unexpected("BatchAllocateOrders"))
