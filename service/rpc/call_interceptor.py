"""What every call goes through: its time is measured, and its errors become statuses in this one place."""

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
"""Only our own methods are measured and translated; health and reflection look after themselves."""

Handler = Callable[..., Any]
"""What answers a call: awaited where one message is the answer, iterated over where many are."""


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic only in the stubs
    """Bounds, measures and translates the calls of our services: a stream is one call from its start to its end."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._wrappings: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Wraps the handler of a call of ours."""
        method: str = handler_call_details.method
        known = self._wrappings.get(method)
        if known is not None:
            return known  # type: ignore[no-any-return]
        # The stubs do not say so, but a method that nobody serves has no handler.
        handler: Any = await continuation(handler_call_details)
        if handler is None or not method.startswith(OWN_SERVICES):
            return handler  # type: ignore[no-any-return]
        wrapping: grpc.RpcMethodHandler[Any, Any] = self._wrapped(method.rsplit(".", 1)[-1], handler)
        self._wrappings[method] = wrapping
        return wrapping

    def _wrapped(self, method: str, handler: Any) -> Any:
        if handler.unary_unary:
            make, answer = grpc.unary_unary_rpc_method_handler, self._unary(method, handler.unary_unary)
        elif handler.unary_stream:
            make, answer = grpc.unary_stream_rpc_method_handler, self._stream(method, handler.unary_stream)
        elif handler.stream_stream:
            make, answer = grpc.stream_stream_rpc_method_handler, self._stream(method, handler.stream_stream)
        else:
            raise AssertionError(f"{method} takes a stream and gives one answer, which nothing here measures yet")
        return make(
            answer,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _unary(self, method: str, answer: Handler) -> Handler:
        async def call(request: Message, context: Any) -> Any:
            started, code = time.perf_counter(), "OK"
            try:
                _check_size(request)
                return await answer(request, context)
            except BaseException as error:
                status, code = _ending(method, error)
                if status is None:
                    raise
                await context.abort_with_status(rpc_status.to_status(status))
            finally:
                self._metrics.rpc_seconds.labels(method, code).observe(time.perf_counter() - started)

        return call

    def _stream(self, method: str, answer: Handler) -> Handler:
        async def call(request: Any, context: Any) -> AsyncIterator[Any]:
            started, code = time.perf_counter(), "OK"
            try:
                # A generator that is left half-way is closed at once, so that what it holds is given back.
                async with aclosing(answer(_checked(request), context)) as answers:
                    async for one in answers:
                        yield one
            except BaseException as error:
                status, code = _ending(method, error)
                if status is None:
                    raise
                await context.abort_with_status(rpc_status.to_status(status))
            finally:
                self._metrics.rpc_seconds.labels(method, code).observe(time.perf_counter() - started)

        return call


def _ending(method: str, error: BaseException) -> tuple[status_pb2.Status | None, str]:
    """How a call ends that raises this: the status to send, None where none is wanted any more, and its code's name."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        # A caller that hangs up is no error.
        return None, grpc.StatusCode.CANCELLED.name
    if isinstance(error, TruestockError):
        return error.status(), error.code.name
    if isinstance(error, grpc.aio.AbortError) or not isinstance(error, Exception):
        return None, "ABORTED_BY_HANDLER"
    return internal_error(method), grpc.StatusCode.INTERNAL.name


def _checked(request: Any) -> Any:
    """The one request, or those that a caller streams, each of a size that is taken."""
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
    """The status of an exception that is being handled: the caller gets an id, the log gets everything."""
    error_id = uuid.uuid4().hex
    log.exception("unexpected error", method=method, error_id=error_id)
    status = status_pb2.Status(
        code=grpc.StatusCode.INTERNAL.value[0],
        message=f"an unexpected error, which was logged; quote the error id {error_id}",
    )
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason="INTERNAL", domain=DOMAIN, metadata={"error_id": error_id})
    )
    return status
