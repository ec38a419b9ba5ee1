"""Bytes that are no message of a method are refused like every other bad request, whatever they are."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from structlog.testing import capture_logs

from service import background, limits
from service.app.wiring import SERVICE_NAMES
from tests.conftest import seeds
from tests.retailer import Retailer, change
from tests.service.test_bad_input import refused
from truestock.v1 import stock_service_pb2 as stock_pb

SERVICES = [
    *(descriptor_pool.Default().FindServiceByName(name) for name in SERVICE_NAMES),
    *health_pb2.DESCRIPTOR.services_by_name.values(),
    *reflection_pb2.DESCRIPTOR.services_by_name.values(),
]
METHODS: list[MethodDescriptor] = [method for service in SERVICES for method in service.methods]
ALLOCATE = "/truestock.v1.AllocationService/AllocateOrder"
STREAM = "/truestock.v1.StockService/StreamStockChanges"
TEXTS = [
    *(b"", b"MUG", b"web", b"dc", b"A-1", b"US", b"2", b"*", b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"x" * 300),
    *("é".encode() * 40, b"00000000-0000-4000-8000-000000000000", b"rules/a.yaml", b"kind: buffer"),
]
WHOLE_NUMBERS = [0, 1, 2, 3, 59, 1_000, 1_800_000_000, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1]
CALLS_AT_ONCE = 16
STREAM_SECONDS = 0.2
"""How long a test waits for the first response of a stream; a watch of nothing has none."""


class ByteCaller:
    """Calls any method of a service with any bytes."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    async def call_all(self, requests: list[tuple[MethodDescriptor, bytes]]) -> list[grpc.StatusCode]:
        """The statuses of these calls, some of them at once."""
        slots = asyncio.Semaphore(CALLS_AT_ONCE)

        async def call(method: MethodDescriptor, content: bytes) -> grpc.StatusCode:
            async with slots:
                return await self.call(method, content)

        return await asyncio.gather(*(call(method, content) for method, content in requests))

    async def call(self, method: MethodDescriptor, content: bytes) -> grpc.StatusCode:
        """The status of the call; OK too for a stream that has responded or is silent."""
        path = f"/{method.containing_service.full_name}/{method.name}"
        try:
            if not method.server_streaming:
                await self._channel.unary_unary(path)(content, timeout=30)
                return grpc.StatusCode.OK
            call: Any = (
                self._channel.stream_stream(path)(iter([content]))
                if method.client_streaming
                else self._channel.unary_stream(path)(content)
            )
            try:
                async with asyncio.timeout(STREAM_SECONDS if is_message(method, content) else 30):
                    await call.read()
            except TimeoutError:
                pass
            finally:
                call.cancel()
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    async def health(self) -> int:
        check = health_pb2_grpc.HealthStub(self._channel).Check
        status: int = (await check(health_pb2.HealthCheckRequest())).status
        return status


def bytes_channel(retailer: Retailer) -> Any:
    """A channel whose requests and responses are bytes; the type stubs know only messages."""
    return grpc.aio.insecure_channel(retailer.service.address)


@pytest.fixture
async def caller(retailer: Retailer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ByteCaller]:
    # A folder beyond as many as are received at once is refused before it is read.
    monkeypatch.setattr(limits, "FOLDERS_AT_ONCE", CALLS_AT_ONCE)
    async with bytes_channel(retailer) as channel:
        yield ByteCaller(channel)


@pytest.mark.parametrize("seed", seeds(1, of_long_tests=5))
async def test_bytes_that_are_no_message_are_refused_by_every_method(
    retailer: Retailer, caller: ByteCaller, seed: int
) -> None:
    numbers = random.Random(seed)
    requests = [(method, unreadable_bytes(method, numbers)) for method in METHODS for _ in range(4)]

    with capture_logs() as lines:
        codes = await caller.call_all(requests)

    assert len(requests) == len(METHODS) * 4 > 150
    for (method, content), code in zip(requests, codes, strict=True):
        assert code is grpc.StatusCode.INVALID_ARGUMENT, (method.name, content)
    assert len(lines) == 1
    for method in METHODS:
        if method.full_name.startswith("truestock."):
            assert counted(retailer, method, "INVALID_ARGUMENT") == 4
    assert await caller.health() == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
async def test_any_bytes_get_an_answer_that_the_api_has(retailer: Retailer, caller: ByteCaller, seed: int) -> None:
    await retailer.stock({("MUG", "dc"): 5})
    numbers = random.Random(seed)
    requests = [(method, random_bytes(method.input_type, numbers)) for method in METHODS for _ in range(25)]

    codes = await caller.call_all(requests)

    for (method, content), code in zip(requests, codes, strict=True):
        if is_message(method, content):
            assert code not in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL), (method.name, content)
        else:
            assert code is grpc.StatusCode.INVALID_ARGUMENT, (method.name, content)
    assert await caller.health() == health_pb2.HealthCheckResponse.SERVING


async def test_the_error_says_why_the_bytes_are_no_message(retailer: Retailer) -> None:
    cut_short, other_encoding, nested_deep = b"\x0a\x05we", b"\x0a\x02\xff\xfe", b"\x0b" * 100_000
    causes = {cut_short: "corrupt", other_encoding: "UTF-8", nested_deep: "corrupt", b'{"channelId": "web"}': "corrupt"}
    async with bytes_channel(retailer) as channel:
        for content, cause in causes.items():
            error = await refused(channel.unary_unary(ALLOCATE)(content))

            assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "UNREADABLE_REQUEST")
            assert error.metadata == {"byte_count": str(len(content))}
            assert f"its {len(content):,} bytes are not the message that this method takes" in error.message
            assert cause in error.message


async def test_a_stream_ends_at_the_first_message_that_cannot_be_read(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 5})
    good = stock_pb.StreamStockChangesRequest(
        source="till", changes=[change("MUG", "dc", count=stock_pb.StockCount(on_hand_count=7))]
    )
    async with bytes_channel(retailer) as channel:
        call = channel.stream_stream(STREAM)()
        await call.write(good.SerializeToString())
        await call.read()
        await call.write(good.SerializeToString()[:-1])
        error = await refused(call.read())

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "UNREADABLE_REQUEST")
    assert (await retailer.level("MUG", "dc")).on_hand_count == 7


async def test_the_size_of_a_request_is_that_of_its_bytes(retailer: Retailer) -> None:
    # A field that is sent again replaces the one before, so the message stays small.
    name = b"\x0a\xff\x01" + b"x" * 255
    async with bytes_channel(retailer) as channel:
        for content in (name * 5_000, b"\xff" * ((1 << 20) + 1)):
            error = await refused(channel.unary_unary(ALLOCATE)(content))

            assert error.is_(grpc.StatusCode.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE")
            assert error.metadata["byte_count"] == str(len(content))


async def test_unreadable_requests_are_logged_once_a_minute(
    caller: ByteCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture_logs() as lines:
        await caller.call_all([(METHODS[0], b"\xff")] * 20)
        monkeypatch.setattr(background, "LINE_SECONDS", 0)
        await caller.call_all([(METHODS[1], b"\xff")])

    assert [(line["event"], line["method"], line["times"]) for line in lines] == [
        ("a request could not be read", "AvailabilityService/CheckAvailability", 1),
        ("a request could not be read", "AvailabilityService/SearchPickupLocations", 20),
    ]
    assert not any("exc_info" in line for line in lines)


async def test_a_method_that_the_service_lacks_is_unimplemented(caller: ByteCaller) -> None:
    lacking = next(method for method in METHODS if method.full_name == "grpc.health.v1.Health.List")

    with capture_logs() as lines:
        assert await caller.call(lacking, b"") is grpc.StatusCode.UNIMPLEMENTED

    assert not lines


def counted(retailer: Retailer, method: MethodDescriptor, code: str) -> float:
    """The calls of a method that ended with this code."""
    name = f"{method.containing_service.name}/{method.name}"
    return retailer.metric("rpc_duration_seconds_count", method=name, code=code)


def is_message(method: MethodDescriptor, content: bytes) -> bool:
    try:
        GetMessageClass(method.input_type).FromString(content)
    except DecodeError:
        return False
    return True


def unreadable_bytes(method: MethodDescriptor, numbers: random.Random) -> bytes:
    """Bytes that are close to a message of this method, and none."""
    while is_message(method, content := random_bytes(method.input_type, numbers)):
        pass
    return content


def random_bytes(descriptor: Descriptor, numbers: random.Random) -> bytes:
    """Bytes that are a message of this type, or close to one."""
    content = bytearray(random_message(descriptor, numbers, 3))
    for _ in range(numbers.randrange(3)):
        place = numbers.randrange(len(content) + 1)
        match numbers.randrange(6):
            case 0:
                del content[place:]
            case 1:
                content[place:place] = numbers.randbytes(numbers.randrange(1, 9))
            case 2:
                content[place : place + 1] = numbers.randbytes(1)
            case 3:
                content[place:place] = content[: numbers.randrange(len(content) + 1)]
            case 4:
                content[place:place] = b"\x0b" * numbers.randrange(1, 300)
            case _:
                del content[place : place + numbers.randrange(1, 9)]
    return bytes(content)


def random_message(descriptor: Descriptor, numbers: random.Random, depth: int) -> bytes:
    """A message of this type on the wire; some of its texts are none."""
    content = b""
    for field in descriptor.fields:
        count = numbers.randrange(3 if field.is_repeated else 2)
        content += b"".join(random_field(field, numbers, depth) for _ in range(count))
    return content


def random_field(field: FieldDescriptor, numbers: random.Random, depth: int) -> bytes:
    match field.type:
        case FieldDescriptor.TYPE_DOUBLE:
            return varint(field.number << 3 | 1) + numbers.choice([numbers.randbytes(8), struct.pack("<d", 1.5)])
        case FieldDescriptor.TYPE_FLOAT:
            return varint(field.number << 3 | 5) + numbers.randbytes(4)
        case FieldDescriptor.TYPE_MESSAGE:
            part = random_message(field.message_type, numbers, depth - 1) if depth and field.message_type else b""
        case FieldDescriptor.TYPE_STRING | FieldDescriptor.TYPE_BYTES:
            part = numbers.choice(TEXTS)
        case _:
            return varint(field.number << 3) + varint(numbers.choice(WHOLE_NUMBERS))
    return varint(field.number << 3 | 2) + varint(len(part)) + part


def varint(number: int) -> bytes:
    content = bytearray()
    while number > 0x7F:
        content.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*content, number])
