"""A connection to a running Truestock: calls with deadlines, and errors that a person can act on."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import aio

from service import limits
from service.cli.console import UserError
from service.settings import DEFAULT_SERVER
from truestock.v1.allocation_service_pb2 import GetAllocationRequest
from truestock.v1.allocation_service_pb2_grpc import AllocationServiceStub
from truestock.v1.availability_service_pb2_grpc import AvailabilityServiceStub
from truestock.v1.catalog_service_pb2 import ListLocationsRequest, ListProductsRequest, Location, Product
from truestock.v1.catalog_service_pb2_grpc import CatalogServiceStub
from truestock.v1.exception_service_pb2_grpc import ExceptionServiceStub
from truestock.v1.fulfillment_service_pb2_grpc import FulfillmentServiceStub
from truestock.v1.policy_service_pb2_grpc import PolicyServiceStub
from truestock.v1.stock_service_pb2_grpc import StockServiceStub

CALL_SECONDS = 30.0

# Every write of the command line carries a request id or repeats safely, so gRPC itself may send it again.
_RETRIES = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
            },
        }
    ]
}
_WHAT_TO_DO = {
    "OVERLOADED": "The service has more to do than it can: try again in a moment.",
    "NOT_READY": "The service is starting, stopping or has lost its database: try again in a moment.",
    "REQUEST_ID_REUSED": "Give these contents a request id of their own, or leave --request-id out.",
}

Question = TypeVar("Question")
Answer = TypeVar("Answer")
Question_contra = TypeVar("Question_contra", contravariant=True)
Answer_co = TypeVar("Answer_co", covariant=True)


class ListRequest(Protocol):
    """A request for a page of a list."""

    page_size: int
    page_token: str


class ListResponse(Protocol):
    """A page of a list."""

    next_page_token: str


AListing = TypeVar("AListing", bound=ListRequest)
APage = TypeVar("APage", bound=ListResponse)
Entry = TypeVar("Entry")


class Call(Protocol[Question_contra, Answer_co]):
    """One method of a stub."""

    def __call__(self, request: Question_contra, *, timeout: float | None = None) -> Awaitable[Answer_co]:
        """The answer to one request, in `timeout` seconds at most."""
        ...


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One bad field of a request, such as `lines[2].sku`, and what is wrong with it."""

    field: str
    description: str


class ServiceError(UserError):
    """What the service, or the way to it, said instead of an answer; its text is fit to print.

    `reason` is `ErrorInfo.reason`, empty where the error is not Truestock's own. `unreachable` tells that nobody
    answered, so that asking for something else is no use either.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        violations: tuple[FieldViolation, ...] = (),
        unreachable: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.violations = violations
        self.unreachable = unreachable


class Client:
    """The services of one Truestock. Every call has a deadline and raises ServiceError."""

    def __init__(self, channel: aio.Channel, server: str, call_seconds: float = CALL_SECONDS) -> None:
        self.server = server
        self.call_seconds = call_seconds
        self.availability = AvailabilityServiceStub(channel)
        self.allocations = AllocationServiceStub(channel)
        self.stock = StockServiceStub(channel)
        self.catalog = CatalogServiceStub(channel)
        self.policies = PolicyServiceStub(channel)
        self.exceptions = ExceptionServiceStub(channel)
        self.fulfilment = FulfillmentServiceStub(channel)

    async def ask(self, call: Call[Question, Answer], request: Question) -> Answer:
        """The answer to one request. Raises ServiceError."""
        try:
            return await call(request, timeout=self.call_seconds)
        except aio.AioRpcError as error:
            raise service_error(error, self.server, self.call_seconds) from error

    async def listed(
        self,
        call: Call[AListing, APage],
        request: AListing,
        entries: Callable[[APage], Iterable[Entry]],
        limit: int = sys.maxsize,
    ) -> tuple[list[Entry], bool]:
        """At most `limit` entries of a list, page by page, and whether there are more. Raises ServiceError."""
        found: list[Entry] = []
        while len(found) < limit:
            request.page_size = min(limits.PAGE_SIZE_LIMIT, limit - len(found))
            page = await self.ask(call, request)
            found.extend(entries(page))
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return found, False
        return found, True

    async def allocation_id(self, named: GetAllocationRequest) -> str:
        """The id of an allocation that is named by itself or by its order. Raises ServiceError."""
        if named.allocation_id:
            return named.allocation_id
        return (await self.ask(self.allocations.GetAllocation, named)).allocation.allocation_id

    async def locations(self) -> list[Location]:
        """Every location, by id."""
        found, _ = await self.listed(self.catalog.ListLocations, ListLocationsRequest(), lambda page: page.locations)
        return found

    async def products(self, skus: list[str]) -> list[Product]:
        """Those of the named products that exist."""
        found: list[Product] = []
        for start in range(0, len(skus), limits.SKUS):
            wanted = skus[start : start + limits.SKUS]
            page = await self.ask(
                self.catalog.ListProducts, ListProductsRequest(page_size=limits.PAGE_SIZE_LIMIT, skus=wanted)
            )
            found.extend(page.products)
        return found


@asynccontextmanager
async def connect(server: str) -> AsyncIterator[Client]:
    """A client of the Truestock at `server`, a HOST:PORT. Raises UserError where that is no address."""
    check_address(server)
    options = [
        ("grpc.service_config", json.dumps(_RETRIES)),
        ("grpc.max_receive_message_length", limits.RESPONSE_BYTES),
        # gRPC would send even 127.0.0.1 through the proxy that http_proxy names; Truestock is in one's own network.
        ("grpc.enable_http_proxy", 0),
    ]
    async with aio.insecure_channel(server, options=options) as channel:
        yield Client(channel, server)


def call(server: str, work: Callable[[Client], Awaitable[Answer]]) -> Answer:
    """Runs `work` with a client of `server`, from code that is not async."""

    async def connected() -> Answer:
        async with connect(server) as client:
            return await work(client)

    return asyncio.run(connected())


def check_address(server: str) -> None:
    """Raises UserError unless `server` reads HOST:PORT, or unix:PATH."""
    if server.startswith("unix:"):
        return
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})", server)
    if match is None or not 1 <= int(match[2]) <= 65_535:
        wanted = f"--server and TRUESTOCK_SERVER want HOST:PORT, such as {DEFAULT_SERVER}"
        raise UserError(f"{server!r} is not an address; {wanted}")


def service_error(error: aio.AioRpcError, server: str, call_seconds: float) -> ServiceError:
    """The readable form of a failed call."""
    info, violations = _details(error)
    if info is None:
        return _foreign_error(error, server, call_seconds)
    message = error.details() or info.reason
    lines = [message]
    # A short list of fields is in the message already; a longer one is cut there.
    if not all(violation.description in message for violation in violations):
        lines = [f"{len(violations)} fields are wrong:"] if info.reason == "INVALID_FIELD" else lines
        lines += [f"  {violation.field}: {violation.description}" for violation in violations]
    error_id = info.metadata.get("error_id", "")
    if error_id not in message:
        lines.append(f"The service's log has more under error id {error_id}.")
    if info.reason in _WHAT_TO_DO:
        lines.append(_WHAT_TO_DO[info.reason])
    return ServiceError("\n".join(lines), reason=info.reason, violations=violations)


def _foreign_error(error: aio.AioRpcError, server: str, call_seconds: float) -> ServiceError:
    """An error that Truestock did not make: nobody there, too slow, or another program's."""
    code = error.code()
    if code == grpc.StatusCode.UNAVAILABLE:
        message = (
            f"no Truestock answers at {server}; start one with `make run` or `truestock serve`, "
            "or name another with --server"
        )
        return ServiceError(message, unreachable=True)
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return ServiceError(f"Truestock at {server} did not answer within {call_seconds:g} s; try again or see its log")
    if code == grpc.StatusCode.UNIMPLEMENTED:
        return ServiceError(f"what answers at {server} does not know this call; is it a Truestock of this version?")
    return ServiceError(f"{server} answered {code.name}: {error.details() or 'without saying why'}")


def _details(error: aio.AioRpcError) -> tuple[ErrorInfo | None, tuple[FieldViolation, ...]]:
    info: ErrorInfo | None = None
    violations: list[FieldViolation] = []
    for detail in _status(error).details:
        if detail.Is(ErrorInfo.DESCRIPTOR):
            info = ErrorInfo()
            detail.Unpack(info)
        elif detail.Is(BadRequest.DESCRIPTOR):
            bad = BadRequest()
            detail.Unpack(bad)
            violations += [FieldViolation(field.field, field.description) for field in bad.field_violations]
    return info, tuple(violations)


def _status(error: aio.AioRpcError) -> Status:
    metadata: Iterable[tuple[str, str | bytes]] = error.trailing_metadata() or ()  # type: ignore[assignment]
    for key, value in metadata:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            with suppress(DecodeError):
                return Status.FromString(value)
    return Status()
