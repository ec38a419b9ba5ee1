"""A client for programs that are not asynchronous; `aio` has its twin."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import grpc

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
from truestock_client.tokens import sync_senders, with_token
from truestock_client.watches import Resumption, ended

Request = TypeVar("Request")
Response = TypeVar("Response")


class Client:
    """The services of one Truestock, for any number of threads; use it in a `with` statement, or close it.

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
        """`address` is HOST:PORT; `timeout` in seconds is the deadline of calls that state none.

        `credentials` are for a service with TLS, such as `grpc.ssl_channel_credentials(ca)`; `token` is for one that
        wants to know who calls, and without TLS goes to this machine only (ValueError).
        """
        self._timeout = timeout
        self._closed = False
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all calls and watches."""
        self._closed = True
        self.channel.close()

    def watch_availability(self, request: WatchAvailabilityRequest) -> Generator[WatchAvailabilityResponse, None, None]:
        """Each message of WatchAvailability, without end: after an interruption the watch resumes where it stopped.

        Store each `resume_token` after its changes, to go on from there after a restart. Raises CallError where
        resuming cannot help, such as for an unknown channel, or if it cannot begin within the client's timeout.
        """
        return self._watch(self.availability.WatchAvailability, request)

    def watch_orders(self, request: WatchOrdersRequest) -> Generator[WatchOrdersResponse, None, None]:
        """Each message of WatchOrders, as in `watch_availability`."""
        return self._watch(self.allocations.WatchOrders, request)

    def _watch(self, start: Callable[[Any], Any], request: Any) -> Generator[Any, None, None]:
        resumption = Resumption(request, self._timeout)
        while not self._closed:
            call = start(resumption.request)
            try:
                for message in call:
                    resumption.received(message)
                    yield message
                error = ended()
            except grpc.RpcError as raised:
                error = call_error(raised)
            finally:
                call.cancel()
            if not self._closed:
                time.sleep(resumption.pause_after(error))


def connect(
    address: str,
    *,
    timeout: float = CALL_SECONDS,
    credentials: grpc.ChannelCredentials | None = None,
    token: str | None = None,
    options: Options = (),
) -> grpc.Channel:
    """A channel for any stub whose unary calls have deadlines, request ids and retries, and raise CallError."""
    options = list(with_defaults(options))
    if credentials is None:
        senders = sync_senders(address, token)
        return grpc.intercept_channel(grpc.insecure_channel(address, options), _Calls(timeout), *senders)
    channel = grpc.secure_channel(address, with_token(credentials, token), options)
    return grpc.intercept_channel(channel, _Calls(timeout))


def pages(call: Callable[[Request], Response], request: Request) -> Iterator[Response]:
    """Every page of a list, such as `pages(client.catalog.ListProducts, ListProductsRequest())`."""
    page_request: Any = type(request)()
    page_request.CopyFrom(request)
    while True:
        page: Any = call(page_request)
        yield page
        if not page.next_page_token:
            return
        page_request.page_token = page.next_page_token


class _CallDetails(NamedTuple):
    """What gRPC reads of a call; its own class for them is private."""

    method: str
    timeout: float | None
    metadata: Any
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: Any


class _Calls(grpc.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]
    """Makes each call with a deadline and request ids, and repeats it where that is safe and may help."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """The call that succeeded. Raises CallError."""
        details = client_call_details
        request = with_request_ids(request)
        attempts = Attempts(self._seconds if details.timeout is None else details.timeout)
        while True:
            attempt = _CallDetails(
                details.method,
                attempts.remaining(),
                details.metadata,
                details.credentials,
                details.wait_for_ready,
                details.compression,
            )
            call = continuation(attempt, request)
            error = call.exception()
            if error is None:
                return call
            if not isinstance(error, grpc.RpcError):
                raise error
            failure = call_error(error, request_id(request))
            pause = attempts.pause_after(failure) if is_repeatable(details.method, request) else None
            if pause is None:
                raise failure from error
            time.sleep(pause)
