"""Which calls the client repeats, and after which pauses."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

import truestock.v1
from truestock.v1.allocation_service_pb2 import AllocateOrderRequest, BatchAllocateOrdersRequest
from truestock.v1.fulfillment_service_pb2 import RecordReturnRequest
from truestock_client import CallError, Client, Unavailable
from truestock_client.errors import Details
from truestock_client.retries import Attempts, Pauses, is_repeatable, request_id, with_request_ids

RECORD_RETURN = "/truestock.v1.FulfillmentService/RecordReturn"


def methods() -> list[MethodDescriptor]:
    """Every method of the API."""
    names = [x.name for x in pkgutil.iter_modules(truestock.v1.__path__) if x.name.endswith("_pb2")]
    files = [importlib.import_module(f"truestock.v1.{name}").DESCRIPTOR for name in names]
    services = [service for file in files for service in file.services_by_name.values()]
    return [method for service in services for method in service.methods]


def unavailable(retry_after: float | None = None) -> CallError:
    return Unavailable(grpc.StatusCode.UNAVAILABLE, "not ready", Details(retry_after=retry_after))


def test_every_call_of_the_api_that_is_answered_once_can_be_repeated() -> None:
    final = []
    for method in methods():
        request: Any = GetMessageClass(method.input_type)()
        if "requests" in method.input_type.fields_by_name:
            request.requests.add()
        name = f"/{method.containing_service.full_name}/{method.name}"
        if not (method.client_streaming or method.server_streaming or is_repeatable(name, with_request_ids(request))):
            final.append(name)

    # A new method that changes something takes a request_id; one that only reads begins with a word of _SAFE_TO_REPEAT.
    assert final == []


def test_the_client_has_a_stub_of_every_service() -> None:
    with Client("127.0.0.1:1") as client:
        stubs = {type(stub).__name__.removesuffix("Stub") for stub in vars(client).values()}

    assert {method.containing_service.name for method in methods()} <= stubs


def test_a_write_without_a_request_id_is_not_repeated() -> None:
    assert not is_repeatable(RECORD_RETURN, RecordReturnRequest())
    assert is_repeatable(RECORD_RETURN, RecordReturnRequest(request_id="1"))


def test_each_order_of_a_batch_gets_a_request_id_and_keeps_its_own() -> None:
    batch = BatchAllocateOrdersRequest(requests=[AllocateOrderRequest(request_id="mine"), AllocateOrderRequest()])
    first, second = (order.request_id for order in with_request_ids(batch).requests)

    assert first == "mine"
    assert len(second) == 36
    assert batch.requests[1].request_id == ""


def test_a_request_with_an_id_is_sent_as_it_is() -> None:
    request = RecordReturnRequest(request_id="mine")

    assert with_request_ids(request) is request
    assert request_id(request) == "mine"


def test_pauses_are_as_long_as_the_service_asks_for_and_a_little_longer() -> None:
    pauses = Pauses()

    assert all(3 <= pauses.after(unavailable(3)) <= 8 for _ in range(20))


def test_pauses_without_advice_grow_up_to_five_seconds() -> None:
    def longest(attempt: int) -> float:
        series = []
        for _ in range(200):
            pauses = Pauses()
            series.append([pauses.after(unavailable()) for _ in range(attempt)][-1])
        return max(series)

    assert longest(1) <= 0.1
    assert 0.1 < longest(3) <= 0.4
    assert 0.4 < longest(12) <= 5


def test_no_attempt_begins_that_the_deadline_leaves_no_time_for() -> None:
    assert Attempts(1).pause_after(unavailable(2)) is None
    assert Attempts(10).pause_after(unavailable(2)) is not None


def test_a_deadline_that_has_passed_is_final() -> None:
    too_late = Unavailable(grpc.StatusCode.DEADLINE_EXCEEDED, "too late", Details())

    assert Attempts(10).pause_after(too_late) is None


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_an_error_that_does_not_say_not_now_is_final(code: grpc.StatusCode) -> None:
    assert Attempts(10).pause_after(CallError(code, "no", Details())) is None
