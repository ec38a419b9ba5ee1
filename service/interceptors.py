"""What every call goes through: its time is measured, and its errors become statuses in this one place."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import structlog
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from service import bounds
from service.errors import DOMAIN, RequestTooLarge, TruestockError
from service.metrics import Metrics

log = structlog.get_logger(__name__)

OWN_SERVICES = "/truestock."
"""Only our own methods are measured and translated; health and reflection look after themselves."""


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic only in the stubs
    """Bounds, measures and translates the unary calls of our services."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._wrappings: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Wraps the handler of a unary call of ours."""
        method: str = handler_call_details.method
        known = self._wrappings.get(method)
        if known is not None:
            return known  # type: ignore[no-any-return]
        # The stubs do not say so, but a method that nobody serves has no handler.
        handler: Any = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None or not method.startswith(OWN_SERVICES):
            return handler  # type: ignore[no-any-return]
        wrapping = grpc.unary_unary_rpc_method_handler(
            self._wrapped(method, handler.unary_unary),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        self._wrappings[method] = wrapping
        return wrapping

    def _wrapped(self, method: str, answer: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        short = method.rsplit(".", 1)[-1]

        async def call(request: Message, context: Any) -> Any:
            started = time.perf_counter()
            code = "OK"
            try:
                _check_size(request)
                return await answer(request, context)
            except TruestockError as error:
                code = error.code.name
                await context.abort_with_status(rpc_status.to_status(error.status()))
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED.name
                raise
            except grpc.aio.AbortError:
                code = "ABORTED_BY_HANDLER"
                raise
            except Exception:
                code = grpc.StatusCode.INTERNAL.name
                await context.abort_with_status(rpc_status.to_status(unexpected(short)))
            finally:
                self._metrics.rpc_seconds.labels(short, code).observe(time.perf_counter() - started)

        return call


def _check_size(request: Message) -> None:
    size = request.ByteSize()
    if size > bounds.REQUEST_BYTES:
        raise RequestTooLarge(size, bounds.REQUEST_BYTES)


def unexpected(method: str) -> status_pb2.Status:
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
