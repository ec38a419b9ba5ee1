"""The client for asyncio; the twin of `client`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import grpc
from grpc import aio

from truestock.v1.allocation_service_pb2 import WatchOrdersRequest, WatchOrdersResponse
from truestock.v1.allocation_service_pb2_grpc import AllocationServiceStub
from truestock.v1.audit_service_pb2_grpc import AuditServiceStub
from truestock.v1.availability_service_pb2 import WatchAvailabilityRequest, WatchAvailabilityResponse
from truestock.v1.availability_service_pb2_grpc import AvailabilityServiceStub
from truestock.v1.catalog_service_pb2_grpc import CatalogServiceStub
from truestock.v1.exception_service_pb2_grpc import ExceptionServiceStub
from truestock.v1.fulfillment_service_pb2_grpc import FulfillmentServiceStub
from truestock.v1.policy_service_pb2_grpc import PolicyServiceStub
from truestock.v1.readiness_service_pb2_grpc import ReadinessServiceStub
from truestock.v1.report_service_pb2_grpc import ReportServiceStub
from truestock.v1.stock_service_pb2_grpc import StockServiceStub
from truestock_client.channels import CALL_SECONDS, Options, with_defaults
from truestock_client.errors import call_error
from truestock_client.retries import Attempts, is_repeatable, request_id, with_request_ids
from truestock_client.tokens import async_senders, with_token
from truestock_client.watches import Resumption, ended

Request = TypeVar("Request")
Response = TypeVar("Response")


class AsyncClient:
    """The services of one Truestock, for one event loop; use it in an `async with` statement, or close it.

    Each call has a deadline, gets a request id if it can have one, is retried until its deadline, and raises CallError.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout: float = CALL_SECONDS,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
        options: Options = (),
    ) -> None:
        """As of `Client`. Make it within a coroutine."""
        self._timeout = timeout
        self.channel = connect(address, timeout=timeout, credentials=credentials, token=token, options=options)
        self.allocations = AllocationServiceStub(self.channel)
        self.audit = AuditServiceStub(self.channel)
        self.availability = AvailabilityServiceStub(self.channel)
        self.catalog = CatalogServiceStub(self.channel)
        self.exceptions = ExceptionServiceStub(self.channel)
        self.fulfillment = FulfillmentServiceStub(self.channel)
        self.policies = PolicyServiceStub(self.channel)
        self.readiness = ReadinessServiceStub(self.channel)
        self.reports = ReportServiceStub(self.channel)
        self.stock = StockServiceStub(self.channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends all calls. Cancel the tasks that watch first."""
        await self.channel.close(None)

    def watch_availability(self, request: WatchAvailabilityRequest) -> AsyncGenerator[WatchAvailabilityResponse, None]:
        """As of `Client`: each message of WatchAvailability, without end."""
        return self._watch(self.availability.WatchAvailability, request)

    def watch_orders(self, request: WatchOrdersRequest) -> AsyncGenerator[WatchOrdersResponse, None]:
        """As of `Client`: each message of WatchOrders, without end."""
        return self._watch(self.allocations.WatchOrders, request)

    async def _watch(self, start: Callable[[Any], Any], request: Any) -> AsyncGenerator[Any, None]:
        resumption = Resumption(request, self._timeout)
        while True:
            call = start(resumption.request)
            try:
                async for message in call:
                    resumption.received(message)
                    yield message
                error = ended()
            except aio.AioRpcError as raised:
                error = call_error(raised)
            finally:
                call.cancel()
            await asyncio.sleep(resumption.pause_after(error))


def connect(
    address: str,
    *,
    timeout: float = CALL_SECONDS,
    credentials: grpc.ChannelCredentials | None = None,
    token: str | None = None,
    options: Options = (),
) -> aio.Channel:
    """A channel for any stub whose unary calls have deadlines, request ids and retries, and raise CallError."""
    options, interceptors = list(with_defaults(options)), [cast(Any, _Calls(timeout))]
    if credentials is None:
        senders = async_senders(address, token)
        return aio.insecure_channel(address, options, interceptors=[*interceptors, *senders])
    return aio.secure_channel(address, with_token(credentials, token), options, interceptors=interceptors)


async def pages(call: Callable[[Request], Awaitable[Response]], request: Request) -> AsyncIterator[Response]:
    """Every page of a list, such as `pages(client.catalog.ListProducts, ListProductsRequest())`."""
    page_request: Any = type(request)()
    page_request.CopyFrom(request)
    while True:
        page: Any = await call(page_request)
        yield page
        if not page.next_page_token:
            return
        page_request.page_token = page.next_page_token


class _Calls(aio.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]
    """Makes each call with a deadline and request ids, and repeats it where that is safe and may help."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """The call that succeeded. Raises CallError."""
        details = client_call_details
        request = with_request_ids(request)
        attempts = Attempts(self._seconds if details.timeout is None else details.timeout)
        while True:
            call = await continuation(details._replace(timeout=attempts.remaining()), request)
            try:
                await call
            except aio.AioRpcError as error:
                failure = call_error(error, request_id(request))
                pause = attempts.pause_after(failure) if is_repeatable(_name(details.method), request) else None
                if pause is None:
                    raise failure from error
                await asyncio.sleep(pause)
            else:
                return call


def _name(method: str | bytes) -> str:
    return method.decode() if isinstance(method, bytes) else method
