"""Errors reach their callers whatever a request contained: gRPC clients drop a call whose trailers are too large."""

from __future__ import annotations

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_status import rpc_status
from hypothesis import given, strategies as st

from service.errors import TRAILER_BYTES, InvalidFields, NotFound, TruestockError, Violation
from tests.retailer import Retailer
from truestock.v1 import allocation_service_pb2 as allocation_pb, catalog_service_pb2 as catalog_pb, order_pb2

LONG_TEXTS = st.builds(lambda text, times: text * times, st.text(max_size=300), st.sampled_from([1, 1, 2, 10, 50]))


def trailer_bytes(error: TruestockError) -> int:
    """What the trailers of an error take, with the overhead of 32 bytes that HTTP/2 counts for each."""
    status = rpc_status.to_status(error.status())
    sizes = [32 + len(key) + -(-len(value) // 3) * 4 for key, value in status.trailing_metadata]
    encoded = "".join(
        chr(byte) if 32 <= byte < 127 and byte != ord("%") else f"%{byte:02X}" for byte in status.details.encode()
    )
    return sum(sizes) + len(encoded) + len("grpc-message") + 32 + len("grpc-status") + 2 + 32


@given(st.lists(st.builds(Violation, LONG_TEXTS, LONG_TEXTS), min_size=1, max_size=60))
def test_an_error_fits_into_what_every_client_takes(violations: list[Violation]) -> None:
    assert trailer_bytes(InvalidFields(violations)) <= TRAILER_BYTES + 200


@given(LONG_TEXTS, st.dictionaries(st.sampled_from(["principal", "asked", "limit", "name"]), LONG_TEXTS))
def test_an_error_with_long_metadata_fits_too(message: str, metadata: dict[str, str]) -> None:
    error = TruestockError(message, metadata=metadata, violations=[Violation(message, message)])

    assert trailer_bytes(error) <= TRAILER_BYTES + 200


@pytest.mark.parametrize("character", ["x", "é", "語", "🎁", "%", "\n"])
@pytest.mark.parametrize("length", [1, 30, 61, 120, 250])
@pytest.mark.parametrize("count", [1, 5, 50, 500])
def test_an_error_about_missing_names_fits_too(character: str, length: int, count: int) -> None:
    names = [f"{number:03}" + character * length for number in range(count)]
    missing = {f"lines[{number}].sku": name for number, name in enumerate(names)}
    near = {name: name + "-" for name in names}

    error = NotFound("product", missing, "upsert it first " * 20, near)

    assert trailer_bytes(error) <= TRAILER_BYTES + 200
    info = ErrorInfo()
    assert error.status().details[0].Unpack(info)
    shown = info.metadata["resource_names"].split(",")
    assert shown == names[: len(shown)], "whole names only"


async def test_a_request_with_a_thousand_wrong_fields_gets_its_error(retailer: Retailer) -> None:
    products = [catalog_pb.Product(sku=f"SKU {number} " + "x" * 300) for number in range(1_000)]

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await retailer.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=products))

    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
    assert status is not None
    info, bad = ErrorInfo(), BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad)
    assert info.reason == "INVALID_FIELD"
    assert len(bad.field_violations) > 10


async def test_an_order_of_many_unknown_long_names_gets_its_error(retailer: Retailer) -> None:
    lines = [
        order_pb2.OrderLine(line_id=str(number), sku=f"{number:03}" + "é" * 61, unit_count=1) for number in range(500)
    ]
    request = allocation_pb.AllocateOrderRequest(channel_id="web", order_id="A-1", lines=lines)
    request.commitment = order_pb2.COMMITMENT_HOLD

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await retailer.allocations.AllocateOrder(request)

    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
