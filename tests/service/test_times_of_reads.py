"""Every read takes the earliest and the latest time that a request may state, in each of its time filters."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.message import Message

from service import limits
from tests.retailer import SOLD, Retailer
from tests.service.test_extreme_records import INTERNAL
from truestock import v1

READS = ("List", "Get", "Sum", "Find", "Search", "Check")
ENDS = (
    limits.EARLIEST,
    limits.EARLIEST + timedelta(microseconds=1),
    limits.LATEST,
    limits.LATEST - timedelta(seconds=1),
)


def reads() -> Iterator[tuple[str, Any, list[str]]]:
    """The path, the method and the time filters of each read that has any."""
    for found in pkgutil.iter_modules(v1.__path__):
        if found.name.endswith("_pb2"):
            file = importlib.import_module(f"{v1.__name__}.{found.name}").DESCRIPTOR
            for service in file.services_by_name.values():
                for method in service.methods:
                    times = [
                        field.name
                        for field in method.input_type.fields
                        if field.message_type is not None
                        and field.message_type.full_name == "google.protobuf.Timestamp"
                    ]
                    if times and method.name.startswith(READS) and not method.server_streaming:
                        yield f"/{service.full_name}/{method.name}", method, times


ALL_READS = list(reads())


def test_all_lists_are_among_them() -> None:
    names = {method.name for _, method, _ in ALL_READS}
    assert names >= {"ListAllocations", "ListExceptions", "ListShipments", "ListUnmetDemand", "GetReport"}


@pytest.mark.parametrize(("path", "method", "times"), ALL_READS, ids=[x[1].name for x in ALL_READS])
async def test_a_read_answers_for_any_time(retailer: Retailer, path: str, method: Any, times: list[str]) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    await retailer.allocate("A-1", {"MUG": 1}, SOLD)
    request_type = message_factory.GetMessageClass(method.input_type)
    call = retailer.channel.unary_unary(
        path,
        request_serializer=request_type.SerializeToString,
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    alone = [{name: end} for name, end in product(times, ENDS)]
    codes = [await _code(call, _request(request_type, method, filters)) for filters in (*alone, *_all_of(times))]

    assert not INTERNAL.intersection(codes)


def _all_of(times: list[str]) -> Iterator[dict[str, datetime]]:
    for first, last in product(ENDS, ENDS):
        yield {name: last if name.endswith(("before", "until_time", "end_time")) else first for name in times}


def _request(request_type: Any, method: Any, filters: dict[str, datetime]) -> Message:
    known = {"channel_id": "web", "sku": "MUG", "location_id": "dc"}
    request: Message = request_type(**{k: v for k, v in known.items() if k in method.input_type.fields_by_name})
    for name, time in filters.items():
        getattr(request, name).FromDatetime(time)
    return request


async def _code(call: Any, request: Message) -> grpc.StatusCode:
    try:
        await call(request, timeout=20)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK
