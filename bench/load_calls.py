"""The calls that the load generator makes, each with a check of its answer."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode, aio

from bench.bench_calls import (
    ALLOCATE,
    BATCH,
    CHANNEL_ID,
    CHECK,
    ECHO,
    EMPTY,
    HEALTH,
    LIST_EXCEPTIONS,
    LIST_MOVEMENTS,
    LIST_ORDERS,
    LIST_SHIPMENTS,
    LOCATION_IDS,
    RECORD,
    REFUSED,
    UNITS,
    CallStream,
    new_order,
)
from bench.call_loops import Call
from bench.rounds import WrongAnswer
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    availability_service_pb2 as availability_pb,
    exception_service_pb2 as exception_pb,
    fulfillment_service_pb2 as fulfillment_pb,
    order_pb2,
    stock_service_pb2 as stock_pb,
)

CALL_SECONDS = 300.0
PAGE_SIZE = 50


def new_call(stream: CallStream, channels: Sequence[aio.Channel]) -> Call:
    """The function that makes the next call of a stream, on the channels in turn. It raises WrongAnswer."""
    return _CALLS[stream.method](stream, channels)


def _allocate(stream: CallStream, channels: Sequence[aio.Channel]) -> Call:
    calls, requests = raw_calls(channels, stream.method), new_bytes(stream)

    async def allocate() -> None:
        count = allocated_count(stream, await next(calls)(next(requests), timeout=CALL_SECONDS))
        if count != stream.orders:
            raise WrongAnswer(f"{count} orders of {stream.orders} were allocated")

    return allocate


def new_bytes(stream: CallStream) -> Iterator[bytes]:
    """The requests of a stream of orders."""
    orders = _orders(stream)
    while True:
        if stream.method == ALLOCATE:
            yield next(orders).SerializeToString()
        else:
            requests = itertools.islice(orders, stream.orders)
            yield allocation_pb.BatchAllocateOrdersRequest(requests=requests).SerializeToString()


def allocated_count(stream: CallStream, response_bytes: bytes) -> int:
    """How many orders the response to a call of `new_bytes` allocates; the service refused the others."""
    if stream.method == ALLOCATE:
        _check_allocated(stream, allocation_pb.AllocateOrderResponse.FromString(response_bytes).allocation)
        return 1
    response = allocation_pb.BatchAllocateOrdersResponse.FromString(response_bytes)
    if len(response.results) != stream.orders:
        raise WrongAnswer(f"{len(response.results)} orders of {stream.orders} were answered")
    allocations = [result.allocation for result in response.results if result.HasField("allocation")]
    for allocation in allocations:
        _check_allocated(stream, allocation)
    return len(allocations)


def _orders(stream: CallStream) -> Iterator[allocation_pb.AllocateOrderRequest]:
    """New orders without end, each of one unit of the next SKUs."""
    skus, run_id = itertools.cycle(stream.skus), uuid.uuid4().hex
    for number in itertools.count():
        yield new_order(list(itertools.islice(skus, stream.lines)), f"{run_id}-{number}", hold=stream.hold)


def _check_allocated(stream: CallStream, allocation: allocation_pb.Allocation) -> None:
    state = allocation_pb.Allocation.STATE_HELD if stream.hold else allocation_pb.Allocation.STATE_CONFIRMED
    if allocation.outcome != order_pb2.OUTCOME_ALLOCATED or allocation.state != state:
        raise WrongAnswer(f"an order for which stock exists was not allocated: {allocation}")


def _check_availability(stream: CallStream, channels: Sequence[aio.Channel]) -> Call:
    calls = raw_calls(channels, CHECK)
    request = availability_pb.CheckAvailabilityRequest(channel_id=CHANNEL_ID, skus=stream.skus).SerializeToString()

    async def check() -> None:
        response_bytes = await next(calls)(request, timeout=CALL_SECONDS)
        availabilities = availability_pb.CheckAvailabilityResponse.FromString(response_bytes).availabilities
        if len(availabilities) != len(stream.skus):
            raise WrongAnswer(f"{len(availabilities)} SKUs of {len(stream.skus)} were answered")
        for count in (availability.sellable_count for availability in availabilities):
            if not 0 < count <= len(LOCATION_IDS) * UNITS:
                raise WrongAnswer(f"{count} units are reported sellable; expected 1 to {len(LOCATION_IDS) * UNITS}")

    return check


def _record_stock_changes(stream: CallStream, channels: Sequence[aio.Channel]) -> Call:
    calls = raw_calls(channels, RECORD)
    skus, run_id = itertools.cycle(stream.skus), uuid.uuid4().hex
    numbers = itertools.count()
    received = stock_pb.StockMovement(kind=stock_pb.MOVEMENT_KIND_RECEIVED, unit_count=1)

    async def record() -> None:
        sku, number = next(skus), next(numbers)
        request = stock_pb.RecordStockChangesRequest(source="bench")
        for location_id in LOCATION_IDS:
            change = request.changes.add(sku=sku, location_id=location_id, movement=received)
            change.change_id = f"{run_id}-{number}-{location_id}"
            change.effective_time.GetCurrentTime()
        response_bytes = await next(calls)(request.SerializeToString(), timeout=CALL_SECONDS)
        response = stock_pb.RecordStockChangesResponse.FromString(response_bytes)
        results = [result.result for result in response.results]
        if results != [stock_pb.StockChangeResult.CHANGE_RESULT_ACCEPTED] * len(LOCATION_IDS):
            raise WrongAnswer(f"received units were not recorded: {response}")

    return record


def _call_empty(stream: CallStream, channels: Sequence[aio.Channel]) -> Call:
    calls = raw_calls(channels, stream.method)

    async def call() -> None:
        Empty.FromString(await next(calls)(b"", timeout=CALL_SECONDS))

    return call


def _call_refused(stream: CallStream, channels: Sequence[aio.Channel]) -> Call:
    calls = raw_calls(channels, stream.method)

    async def call() -> None:
        try:
            await next(calls)(b"", timeout=CALL_SECONDS)
        except aio.AioRpcError as error:
            if error.code() is not StatusCode.PERMISSION_DENIED:
                raise
        else:
            raise WrongAnswer(f"{stream.method} was answered, although the caller has no role for it")

    return call


def _list(stream: CallStream, channels: Sequence[aio.Channel]) -> Call:
    calls = raw_calls(channels, stream.method)
    request_type, response_type = _LISTS[stream.method]
    request = request_type(page_size=PAGE_SIZE, **stream.filters).SerializeToString()

    async def list_page() -> None:
        response = response_type.FromString(await next(calls)(request, timeout=CALL_SECONDS))
        if not response.ListFields():
            raise WrongAnswer(f"{stream.name} has no entries")

    return list_page


_LISTS: dict[str, tuple[Any, Any]] = {
    LIST_ORDERS: (allocation_pb.ListAllocationsRequest, allocation_pb.ListAllocationsResponse),
    LIST_SHIPMENTS: (fulfillment_pb.ListShipmentsRequest, fulfillment_pb.ListShipmentsResponse),
    LIST_EXCEPTIONS: (exception_pb.ListExceptionsRequest, exception_pb.ListExceptionsResponse),
    LIST_MOVEMENTS: (stock_pb.ListStockMovementsRequest, stock_pb.ListStockMovementsResponse),
}
_CALLS: dict[str, Callable[[CallStream, Sequence[aio.Channel]], Call]] = {
    ALLOCATE: _allocate,
    BATCH: _allocate,
    CHECK: _check_availability,
    RECORD: _record_stock_changes,
    **dict.fromkeys(_LISTS, _list),
    EMPTY: _call_empty,
    ECHO: _call_empty,
    HEALTH: _call_empty,
    REFUSED: _call_refused,
}


def raw_calls(channels: Sequence[aio.Channel], path: str) -> Iterator[Callable[..., Awaitable[bytes]]]:
    """Calls of bytes for bytes, so that the generator itself uses little CPU, on the channels in turn."""
    return itertools.cycle([channel.unary_unary(path, None, None) for channel in channels])
