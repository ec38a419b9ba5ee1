"""A connection to a running Truestock: calls with deadlines, and error messages that say what to do."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import aio

from policies.domain.near_names import near_by_keys
from service import limits
from service.cli import connection
from service.cli.console import FieldProblem, UserError, count, enum_word
from service.settings import DEFAULT_SERVER
from truestock.v1.allocation_service_pb2 import FindIdsRequest, GetAllocationRequest
from truestock.v1.allocation_service_pb2_grpc import AllocationServiceStub
from truestock.v1.audit_service_pb2_grpc import AuditServiceStub
from truestock.v1.availability_service_pb2_grpc import AvailabilityServiceStub
from truestock.v1.catalog_service_pb2 import (
    Category,
    Channel,
    ListCategoriesRequest,
    ListChannelsRequest,
    ListLocationsRequest,
    ListProductsRequest,
    ListTagsRequest,
    Location,
    Product,
    Tag,
)
from truestock.v1.catalog_service_pb2_grpc import CatalogServiceStub
from truestock.v1.exception_service_pb2_grpc import ExceptionServiceStub
from truestock.v1.fulfillment_service_pb2_grpc import FulfillmentServiceStub
from truestock.v1.policy_service_pb2_grpc import PolicyServiceStub
from truestock.v1.readiness_service_pb2_grpc import ReadinessServiceStub
from truestock.v1.report_service_pb2_grpc import ReportServiceStub
from truestock.v1.stock_service_pb2_grpc import StockServiceStub

CALL_SECONDS = 30.0
CANDIDATE_CALL_SECONDS = 180.0
"""For an answer by a candidate: a process must load its rules first."""
NEAR_SKUS = 50
"""Unknown SKUs for which one command looks up near ones: who names more has the wrong file."""

# gRPC itself may retry: every write of the command line has a request id or is safe to repeat.
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
_ADVICE = {
    "OVERLOADED": "The service is overloaded. Try again in a moment.",
    "NOT_READY": "The service is starting, stopping or has lost its database. Try again in a moment.",
    "UNAUTHENTICATED": "Name the file of a token with --token-file, or a certificate with --client-cert.",
    "REQUEST_ID_REUSED": "Use another request id, or leave --request-id out.",
}

_ID_FIELDS = {
    "allocation_id": FindIdsRequest.KIND_ALLOCATION,
    "shipment_id": FindIdsRequest.KIND_SHIPMENT,
    "exception_id": FindIdsRequest.KIND_EXCEPTION,
    "decision_id": FindIdsRequest.KIND_DECISION,
}
"""Fields of requests with an id that Truestock made."""
_WHOLE_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_WHERE_IDS_ARE = {
    FindIdsRequest.KIND_ALLOCATION: "`truestock orders` lists orders and their allocations",
    FindIdsRequest.KIND_SHIPMENT: "`truestock shipments` lists them",
    FindIdsRequest.KIND_EXCEPTION: "`truestock exceptions` lists them",
    FindIdsRequest.KIND_DECISION: "`truestock explain CHANNEL/ORDER` lists those of an order",
    FindIdsRequest.KIND_TRANSFER: "`truestock transfer list` lists them",
}

Request = TypeVar("Request")
Response = TypeVar("Response")
Request_contra = TypeVar("Request_contra", contravariant=True)
Response_co = TypeVar("Response_co", covariant=True)


class ListRequest(Protocol):
    """A request for one page of a list."""

    page_size: int
    page_token: str


class ListResponse(Protocol):
    """One page of a list."""

    next_page_token: str


AnyListRequest = TypeVar("AnyListRequest", bound=ListRequest)
AnyListResponse = TypeVar("AnyListResponse", bound=ListResponse)
Entry = TypeVar("Entry")


class Call(Protocol[Request_contra, Response_co]):
    """One method of a stub."""

    def __call__(self, request: Request_contra, *, timeout: float | None = None) -> Awaitable[Response_co]:
        """The response to one request, within `timeout` seconds."""
        ...


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One bad field of a request, such as `lines[2].sku`, and what is wrong with it."""

    field: str
    description: str


class ServiceError(UserError):
    """A call failed; the message is ready to print.

    `reason` is `ErrorInfo.reason`, empty if the error is not Truestock's own; `code` is then the status of gRPC.
    `unreachable` is True if no service answered, so that other calls would fail too.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        status: str = "FAILED",
        violations: tuple[FieldViolation, ...] = (),
        unreachable: bool = False,
    ) -> None:
        fields = [FieldProblem(violation.field, violation.description) for violation in violations]
        super().__init__(message, code=reason or status, fields=fields)
        self.reason = reason
        self.violations = violations
        self.unreachable = unreachable


class Client:
    """The gRPC services of one Truestock. Every call has a deadline and raises ServiceError."""

    def __init__(self, channel: aio.Channel, server: str, call_seconds: float = CALL_SECONDS) -> None:
        self.server = server
        self.call_seconds = call_seconds
        self.availability = AvailabilityServiceStub(channel)
        self.allocations = AllocationServiceStub(channel)
        self.stock = StockServiceStub(channel)
        self.catalog = CatalogServiceStub(channel)
        self.policies = PolicyServiceStub(channel)
        self.exceptions = ExceptionServiceStub(channel)
        self.fulfillment = FulfillmentServiceStub(channel)
        self.readiness = ReadinessServiceStub(channel)
        self.reports = ReportServiceStub(channel)
        self.audit = AuditServiceStub(channel)

    async def ask(self, call: Call[Request, Response], request: Request) -> Response:
        """Sends one request and returns the response; ids that are cut short are completed. Raises ServiceError."""
        if isinstance(request, Message):
            await self._complete_ids(request)
        try:
            return await call(request, timeout=self.call_seconds)
        except aio.AioRpcError as error:
            raise service_error(error, self.server, self.call_seconds) from error

    async def _complete_ids(self, request: Message) -> None:
        """Replaces ids that a person has cut short, as tables do, by the whole ones."""
        for name, kind in _ID_FIELDS.items():
            if name in request.DESCRIPTOR.fields_by_name:
                text = getattr(request, name)
                if text and _WHOLE_ID.fullmatch(text) is None:
                    setattr(request, name, await self.whole_id(kind, text))

    async def whole_id(self, kind: FindIdsRequest.Kind.ValueType, text: str) -> str:
        """The only id that begins or ends like this. Raises UserError with those that are meant if there are others."""
        found = await self.ask(self.allocations.FindIds, FindIdsRequest(kind=kind, text=text))
        if len(found.ids) == 1:
            return found.ids[0].id
        noun = enum_word(FindIdsRequest.Kind, kind, "KIND_")
        if not found.ids:
            raise UserError(f"no {noun} has an id like '{text}'; {_WHERE_IDS_ARE[kind]}")
        listed = [f"  {entry.id}  {entry.description}" for entry in found.ids]
        more = ["  … and more"] if found.more else []
        raise UserError("\n".join([f"'{text}' stands for more than one {noun}; write more of it:", *listed, *more]))

    async def list_entries(
        self,
        call: Call[AnyListRequest, AnyListResponse],
        request: AnyListRequest,
        entries: Callable[[AnyListResponse], Iterable[Entry]],
        limit: int = sys.maxsize,
    ) -> tuple[list[Entry], bool]:
        """At most `limit` entries, read page by page, and whether there are more. Raises ServiceError."""
        listed: list[Entry] = []
        while len(listed) < limit:
            request.page_size = min(limits.PAGE_SIZE_LIMIT, limit - len(listed))
            page = await self.ask(call, request)
            listed.extend(entries(page))
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return listed, False
        return listed, True

    async def allocation_id(self, reference: GetAllocationRequest) -> str:
        """The id of an allocation that is given by its own id or by its order. Raises ServiceError."""
        if reference.allocation_id:
            return reference.allocation_id
        return (await self.ask(self.allocations.GetAllocation, reference)).allocation.allocation_id

    async def locations(self) -> list[Location]:
        """Every location, sorted by id."""
        locations, _ = await self.list_entries(
            self.catalog.ListLocations, ListLocationsRequest(), lambda page: page.locations
        )
        return locations

    async def channels(self) -> list[Channel]:
        """Every channel, sorted by id."""
        channels, _ = await self.list_entries(
            self.catalog.ListChannels, ListChannelsRequest(), lambda page: page.channels
        )
        return channels

    async def tags(self) -> list[Tag]:
        """Every tag of locations and products, sorted by name."""
        tags, _ = await self.list_entries(self.catalog.ListTags, ListTagsRequest(), lambda page: page.tags)
        return tags

    async def categories(self) -> list[Category]:
        """Every category of products, sorted by name."""
        categories, _ = await self.list_entries(
            self.catalog.ListCategories, ListCategoriesRequest(), lambda page: page.categories
        )
        return categories

    async def products(self, skus: list[str]) -> list[Product]:
        """The products with these SKUs, without those that do not exist."""
        products: list[Product] = []
        for start in range(0, len(skus), limits.SKUS):
            batch = skus[start : start + limits.SKUS]
            page = await self.ask(
                self.catalog.ListProducts, ListProductsRequest(page_size=limits.PAGE_SIZE_LIMIT, skus=batch)
            )
            products.extend(page.products)
        return products

    async def near_skus(self, skus: Sequence[str]) -> dict[str, str]:
        """By unknown SKU, the known one that was probably meant, if there is one; of the first NEAR_SKUS only."""
        known: list[str] = []
        skus = skus[:NEAR_SKUS]
        for start in range(0, len(skus), limits.NEAR_SKUS):
            request = ListProductsRequest(
                page_size=limits.PAGE_SIZE_LIMIT, near_skus=skus[start : start + limits.NEAR_SKUS]
            )
            known.extend(product.sku for product in (await self.ask(self.catalog.ListProducts, request)).products)
        return near_by_keys(skus, known)


@asynccontextmanager
async def connect(server: str) -> AsyncIterator[Client]:
    """A client of the Truestock at `server`, HOST:PORT. Raises UserError for a malformed address."""
    async with open_channel(server) as channel:
        yield Client(channel, server)


def open_channel(server: str) -> aio.Channel:
    """A new channel to the Truestock at `server`, HOST:PORT. Raises UserError for a malformed address."""
    check_address(server)
    options = [
        ("grpc.service_config", json.dumps(_RETRIES)),
        ("grpc.max_receive_message_length", limits.RESPONSE_BYTES),
        # gRPC would send even 127.0.0.1 through the proxy that http_proxy names; Truestock runs in the local network.
        ("grpc.enable_http_proxy", 0),
    ]
    return connection.current.get().channel(server, options)


def call(server: str, work: Callable[[Client], Awaitable[Response]]) -> Response:
    """Runs `work` with a client of `server`, for callers that are not async."""

    async def run() -> Response:
        async with connect(server) as client:
            return await work(client)

    return asyncio.run(run())


def check_address(server: str) -> None:
    """Raises UserError unless `server` is HOST:PORT or unix:PATH."""
    if server.startswith("unix:"):
        return
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})", server)
    if match is None or not 1 <= int(match[2]) <= 65_535:
        help = f"--server and TRUESTOCK_SERVER take HOST:PORT, such as {DEFAULT_SERVER}"
        raise UserError(f"{server!r} is not an address; {help}")


def service_error(error: aio.AioRpcError, server: str, call_seconds: float) -> ServiceError:
    """A failed call as an error that a person can read."""
    info, violations = _details(error)
    if info is None:
        return _connection_error(error, server, call_seconds)
    message = error.details() or info.reason
    lines = [message]
    # The service's message lists a few fields and cuts a longer list, which is printed whole here.
    if not all(violation.description in message for violation in violations):
        lines = (
            [f"{count(len(violations), 'field is', 'fields are')} wrong:"] if info.reason == "INVALID_FIELD" else lines
        )
        lines += [f"  {violation.field}: {violation.description}" for violation in violations]
    error_id = info.metadata.get("error_id", "")
    if error_id not in message:
        lines.append(f"See error id {error_id} in the service's log.")
    if info.reason in _ADVICE:
        lines.append(_ADVICE[info.reason])
    return ServiceError("\n".join(lines), reason=info.reason, violations=violations)


def _connection_error(error: aio.AioRpcError, server: str, call_seconds: float) -> ServiceError:
    """An error that no Truestock sent: no connection, a timeout, or another program's error."""
    code = error.code()
    if code == grpc.StatusCode.UNAVAILABLE:
        message = (
            f"cannot reach Truestock at {server}; start it with `make run` or `truestock serve`, "
            f"or name another server with --server{_tls_advice(error.details() or '')}"
        )
        return ServiceError(message, status=code.name, unreachable=True)
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        message = f"Truestock at {server} did not answer within {call_seconds:g} s; try again or see its log"
        return ServiceError(message, status=code.name)
    if code == grpc.StatusCode.UNIMPLEMENTED:
        message = f"the server at {server} does not support this call; is it Truestock of this version?"
        return ServiceError(message, status=code.name)
    return ServiceError(f"{server} answered {code.name}: {error.details() or 'no reason given'}", status=code.name)


def _tls_advice(details: str) -> str:
    """What else may be wrong with a connection to a service that runs; `details` are those of gRPC."""
    if "refused" in details:
        return ""
    if connection.current.get().credentials() is None:
        return ". If the service has TLS, add --tls"
    return (
        ". It may also have no TLS, have a certificate that you do not trust (name its authority with --tls-ca), or "
        "want one of yours (--client-cert and --client-key)"
    )


def _details(error: aio.AioRpcError) -> tuple[ErrorInfo | None, tuple[FieldViolation, ...]]:
    info: ErrorInfo | None = None
    violations: list[FieldViolation] = []
    for detail in _status(error).details:
        if detail.Is(ErrorInfo.DESCRIPTOR):
            info = ErrorInfo()
            detail.Unpack(info)
        elif detail.Is(BadRequest.DESCRIPTOR):
            bad_request = BadRequest()
            detail.Unpack(bad_request)
            violations += [FieldViolation(field.field, field.description) for field in bad_request.field_violations]
    return info, tuple(violations)


def _status(error: aio.AioRpcError) -> Status:
    metadata: Iterable[tuple[str, str | bytes]] = error.trailing_metadata() or ()  # type: ignore[assignment]
    for key, value in metadata:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            with suppress(DecodeError):
                return Status.FromString(value)
    return Status()
