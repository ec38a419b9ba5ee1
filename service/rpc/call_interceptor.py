"""Wraps every call: checks the request size, measures the duration, and turns errors into gRPC statuses."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
import structlog
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from service import limits
from service.errors import DOMAIN, RequestTooLarge, TruestockError
from service.metrics import Metrics

log = structlog.get_logger(__name__)

OWN_SERVICES = "/truestock."
"""Only methods of our own services are wrapped; the health and reflection services are not."""

Handler = Callable[..., Any]
"""Handles a call: a coroutine function for a single response, an async generator for a stream."""


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic only in the stubs
    """Wraps the handlers of our services. A stream is one call, from its start to its end."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._wrapped_handlers: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """The handler of the call, wrapped if it is one of ours."""
        method: str = handler_call_details.method
        cached = self._wrapped_handlers.get(method)
        if cached is not None:
            return cached  # type: ignore[no-any-return]
        # The handler of an unknown method is None, although the type stubs do not say so.
        handler: Any = await continuation(handler_call_details)
        if handler is None or not method.startswith(OWN_SERVICES):
            return handler  # type: ignore[no-any-return]
        wrapped: grpc.RpcMethodHandler[Any, Any] = self._wrap(method.rsplit(".", 1)[-1], handler)
        self._wrapped_handlers[method] = wrapped
        return wrapped

    def _wrap(self, method: str, handler: Any) -> Any:
        if handler.unary_unary:
            make_handler, wrapped = grpc.unary_unary_rpc_method_handler, self._unary(method, handler.unary_unary)
        elif handler.unary_stream:
            make_handler, wrapped = grpc.unary_stream_rpc_method_handler, self._stream(method, handler.unary_stream)
        elif handler.stream_stream:
            make_handler, wrapped = grpc.stream_stream_rpc_method_handler, self._stream(method, handler.stream_stream)
        else:
            raise AssertionError(
                f"{method} takes a stream and returns one response, which the interceptor does not support"
            )
        return make_handler(
            wrapped,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _unary(self, method: str, handler: Handler) -> Handler:
        async def call(request: Message, context: Any) -> Any:
            started, code = time.perf_counter(), "OK"
            try:
                _check_size(request)
                return await handler(request, context)
            except BaseException as error:
                status, code = _status_of(method, error)
                if status is None:
                    raise
                await context.abort_with_status(rpc_status.to_status(status))
            finally:
                self._metrics.rpc_seconds.labels(method, code).observe(time.perf_counter() - started)

        return call

    def _stream(self, method: str, handler: Handler) -> Handler:
        async def call(request: Any, context: Any) -> AsyncIterator[Any]:
            started, code = time.perf_counter(), "OK"
            try:
                # Closes an unfinished generator at once, which releases its watch slot.
                async with aclosing(handler(_checked(request), context)) as responses:
                    async for response in responses:
                        yield response
            except BaseException as error:
                status, code = _status_of(method, error)
                if status is None:
                    raise
                await context.abort_with_status(rpc_status.to_status(status))
            finally:
                self._metrics.rpc_seconds.labels(method, code).observe(time.perf_counter() - started)

        return call


def _status_of(method: str, error: BaseException) -> tuple[status_pb2.Status | None, str]:
    """The status to send for an error, None if the caller needs none, and the name of its code."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        # The caller has cancelled the call, so nobody receives a status.
        return None, grpc.StatusCode.CANCELLED.name
    if isinstance(error, TruestockError):
        return error.status(), error.code.name
    if isinstance(error, grpc.aio.AbortError) or not isinstance(error, Exception):
        return None, "ABORTED_BY_HANDLER"
    return internal_error(method), grpc.StatusCode.INTERNAL.name


def _checked(request: Any) -> Any:
    """The request, or the stream of requests, with the size of each checked."""
    if not isinstance(request, Message):
        return _each_checked(request)
    _check_size(request)
    return request


async def _each_checked(requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
    async for request in requests:
        _check_size(request)
        yield request


def _check_size(request: Message) -> None:
    size = request.ByteSize()
    if size > limits.REQUEST_BYTES:
        raise RequestTooLarge(size, limits.REQUEST_BYTES)


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
