"""Wraps every call: finds out who calls, refuses bytes that are no request, measures, turns errors into statuses."""

from __future__ import annotations

import asyncio
import inspect
import time
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from policies.domain.remembered import remember
from service.auth.principals import Principal
from service.background import FailureLog
from service.errors import DOMAIN, Overloaded, TruestockError, UnreadableRequest
from service.metrics import Metrics
from service.observability.call_log import CallLog
from service.observability.calls import Call, current_call
from service.rpc.call_limit import CallLimit, may_be_shed
from service.rpc.caller import AccessCheck
from service.rpc.request_bytes import RefusedBytes, reader, unless_refused

if TYPE_CHECKING:
    from service.observability.tracing import Tracing

log = structlog.get_logger(__name__)

OWN_SERVICES = "/truestock."
"""Only methods of our own services are measured: health and reflection are called by machines, without end."""

REMEMBERED_REFUSALS = 1_000

Handler = Callable[..., Any]
"""Handles a call: a coroutine function for a single response, an async generator for a stream."""


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic only in the stubs
    """Wraps the handlers of all services. A stream is one call, from its start to its end."""

    def __init__(
        self,
        metrics: Metrics,
        call_log: CallLog | None = None,
        tracing: Tracing | None = None,
        *,
        access: AccessCheck | None = None,
    ) -> None:
        """Without `access`, everybody may call everything."""
        self._metrics = metrics
        self._access = access
        self._call_log = call_log
        self._tracing = tracing
        self._wrapped_handlers: dict[str, Any] = {}
        self._limit = CallLimit()
        self._refusing_handlers: dict[str, Any] = {}
        """Handlers that refuse a call without decoding its request."""
        self._refusals: dict[tuple[str, str], Any] = {}
        """Handlers that refuse callers, by path and error: making a status takes as long as the rest of a refusal."""
        self._overload_statuses: dict[tuple[str, timedelta | None], grpc.Status] = {}
        """The statuses of refused calls, by message and time to retry: a service with too many calls refuses most."""
        self._failures = FailureLog()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """The wrapped handler of the call."""
        method: str = handler_call_details.method
        if method not in self._wrapped_handlers:
            handler: Any = await continuation(handler_call_details)
            if handler is None:
                # The method is unknown. The type stubs do not say that None is an answer.
                return handler  # type: ignore[return-value]
            self._wrapped_handlers[method] = self._wrap(method, handler)
        if self._access is not None and self._access.authentication.is_required:
            try:
                self._access.admit(method, handler_call_details.invocation_metadata)
            except TruestockError as error:
                return self._refusing(method, error)  # type: ignore[no-any-return]
        if self._limit.is_reached and method in self._refusing_handlers:
            return self._refusing_handlers[method]  # type: ignore[no-any-return]
        return self._wrapped_handlers[method]  # type: ignore[no-any-return]

    def _refusing(self, path: str, error: TruestockError) -> Any:
        """A handler that refuses a call of any kind with the error, and reads nothing of it."""
        key = (path, str(error))
        if key not in self._refusals:
            remember(self._refusals, key, self._new_refusal(path, error), at_most=REMEMBERED_REFUSALS)
        return self._refusals[key]

    def _new_refusal(self, path: str, error: TruestockError) -> Any:
        status, code, method = rpc_status.to_status(error.status()), error.code.name, path.rsplit(".", 1)[-1]

        async def refuse(_: Any, context: Any) -> None:
            if path.startswith(OWN_SERVICES):
                self._metrics.service.rpc_seconds.labels(method, code).observe(0)
            await context.abort_with_status(status)

        return grpc.stream_stream_rpc_method_handler(refuse)

    async def _identified(self, path: str, request: Any, context: Any) -> Any:
        """The request as its caller may make it. Raises Unauthenticated, MissingRole, TooManyCalls or NotBound."""
        if self._access is None or not self._access.authentication.is_required:
            return request
        principal = self._access.identify(path, context)
        if principal.has_limits:
            usage = self._access.usage
            usage.begin(principal)
            context.add_done_callback(lambda _: usage.end(principal))
        if isinstance(request, Message):
            await self._access.check(principal, path, request)
            return request
        return _each_held(self._access, principal, path, request) if principal.is_bound else request

    def _wrap(self, path: str, handler: Any) -> Any:
        """`path` is that of the method, such as "/truestock.v1.StockService/ListStockLevels"."""
        method = path.rsplit(".", 1)[-1]
        is_measured = path.startswith(OWN_SERVICES)
        if handler.unary_unary:
            make_handler = grpc.unary_unary_rpc_method_handler
        elif handler.unary_stream:
            make_handler = grpc.unary_stream_rpc_method_handler
        elif handler.stream_unary:
            make_handler = grpc.stream_unary_rpc_method_handler
        else:
            make_handler = grpc.stream_stream_rpc_method_handler
        handle = handler.unary_unary or handler.unary_stream or handler.stream_stream
        if handler.stream_unary:
            handle = _with_checked_requests(handler.stream_unary)
        # The health service writes its stream of responses in a coroutine; all others are generators.
        is_coroutine = bool(handler.unary_unary or handler.stream_unary) or inspect.iscoroutinefunction(handle)
        wrap = self._coroutine if is_coroutine else self._generator
        if is_measured and handler.unary_unary and may_be_shed(method):
            self._metrics.service.shed_calls.labels(method)
            handle = self._limited(handle)
            self._refusing_handlers[path] = make_handler(
                wrap(path, handle, is_measured=True),
                request_deserializer=self._limit.refuse,
                response_serializer=handler.response_serializer,
            )
        return make_handler(
            wrap(path, handle, is_measured=is_measured),
            request_deserializer=reader(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    def _limited(self, handle: Handler) -> Handler:
        """Counts the calls in progress, and refuses those whose callers have given up."""

        async def call(request: Any, context: Any) -> Any:
            if context.time_remaining() == 0:
                raise self._limit.overloaded()
            self._limit.count += 1
            try:
                return await handle(request, context)
            finally:
                self._limit.count -= 1

        return call

    def _coroutine(self, path: str, handle: Handler, *, is_measured: bool) -> Handler:
        method = path.rsplit(".", 1)[-1]

        async def call(request: Any, context: Any) -> Any:
            started, code, response = time.perf_counter(), "OK", None
            current = Call()
            current.rpc = (method, request, context)
            # gRPC runs each call in a task of its own, so nothing else sees this.
            current_call.set(current)
            if self._tracing is not None and is_measured:
                self._tracing.begin(method, context.invocation_metadata() or (), current)
            try:
                response = await handle(await self._identified(path, unless_refused(request), context), context)
                return response
            except BaseException as error:
                status, code = self._status_of(method, error)
                if status is None:
                    raise
                await context.abort_with_status(status)
            finally:
                if is_measured:
                    self._ended(method, code, started, current, (request, response))

        return call

    def _ended(
        self,
        method: str,
        code: str,
        started: float,
        call: Call,
        messages: tuple[Any, Any],
        *,
        may_be_slow: bool = True,
    ) -> None:
        """Measures and logs a call that has ended."""
        seconds = time.perf_counter() - started
        self._metrics.service.rpc_seconds.labels(method, code).observe(seconds)
        if call.trace is not None:
            call.trace.end_call(code, messages)
        if self._call_log is not None:
            self._call_log.ended(method, code, seconds, call, messages, may_be_slow=may_be_slow)

    def _generator(self, path: str, handle: Handler, *, is_measured: bool) -> Handler:
        method = path.rsplit(".", 1)[-1]

        async def call(request: Any, context: Any) -> AsyncIterator[Any]:
            started, code = time.perf_counter(), "OK"
            current = Call()
            current.rpc = (method, request, context)
            current_call.set(current)
            try:
                # Closes an unfinished generator at once, which releases its watch slot.
                identified = await self._identified(path, _checked(request), context)
                async with aclosing(handle(identified, context)) as responses:
                    async for response in responses:
                        yield response
            except BaseException as error:
                status, code = self._status_of(method, error)
                if status is None:
                    raise
                await context.abort_with_status(status)
            finally:
                if is_measured:
                    self._ended(method, code, started, current, (None, None), may_be_slow=False)

        return call

    def _status_of(self, method: str, error: BaseException) -> tuple[grpc.Status | None, str]:
        """The status to send for an error, None if the caller needs none, and the name of its code."""
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            # The caller has cancelled the call, so nobody receives a status.
            return None, grpc.StatusCode.CANCELLED.name
        if isinstance(error, Overloaded):
            self._metrics.service.shed_calls.labels(method).inc()
            return self._overload_status(error), error.code.name
        if isinstance(error, UnreadableRequest):
            # No traceback, and one line for all methods: whoever sends one may send a million.
            self._failures.failed("a request could not be read", error, traceback=False, method=method)
        if isinstance(error, TruestockError):
            return rpc_status.to_status(error.status()), error.code.name
        if isinstance(error, NotImplementedError):
            # The generated base class raises it for a method that its servicer lacks, such as Health/List.
            return rpc_status.to_status(_unimplemented(method)), grpc.StatusCode.UNIMPLEMENTED.name
        if isinstance(error, grpc.aio.AbortError) or not isinstance(error, Exception):
            return None, "ABORTED_BY_HANDLER"
        return rpc_status.to_status(internal_error(method)), grpc.StatusCode.INTERNAL.name

    def _overload_status(self, error: Overloaded) -> grpc.Status:
        key = (str(error), error.retry_after)
        known = self._overload_statuses.get(key)
        if known is None:
            known = rpc_status.to_status(error.status())
            remember(self._overload_statuses, key, known, at_most=REMEMBERED_REFUSALS)
        return known


async def _each_held(
    access: AccessCheck, principal: Principal, path: str, requests: AsyncIterable[Message]
) -> AsyncIterator[Message]:
    """Each request of a stream, checked when it arrives."""
    async for request in requests:
        await access.check(principal, path, request)
        yield request


def _with_checked_requests(handle: Handler) -> Handler:
    """The handler of a stream of requests, which raises the error of one whose bytes were refused."""
    return lambda requests, context: handle(_each_checked(requests), context)


def _checked(request: Any) -> Any:
    """The request, or the stream of requests. Raises the error of one whose bytes were refused."""
    return _each_checked(request) if isinstance(request, AsyncIterable) else unless_refused(request)


async def _each_checked(requests: AsyncIterable[Message | RefusedBytes]) -> AsyncIterator[Message]:
    async for request in requests:
        yield unless_refused(request)


def _unimplemented(method: str) -> status_pb2.Status:
    return status_pb2.Status(
        code=grpc.StatusCode.UNIMPLEMENTED.value[0], message=f"{method} is not available in this service"
    )


def internal_error(method: str) -> status_pb2.Status:
    """Logs the exception being handled, and returns a status that has only an error id."""
    error_id = uuid.uuid4().hex
    log.exception("unexpected error", method=method, error_id=error_id)
    status = status_pb2.Status(
        code=grpc.StatusCode.INTERNAL.value[0],
        message=f"an unexpected error occurred and was logged; quote error id {error_id} in a support ticket",
    )
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason="INTERNAL", domain=DOMAIN, metadata={"error_id": error_id})
    )
    return status
