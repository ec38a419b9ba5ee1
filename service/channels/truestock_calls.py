"""What calls of Truestock's API have in common: their errors, by what to do about them, and times."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import aio

from service.channels.errors import Away, Unmapped, Unreadable

FROM_DATABASE = (("truestock-read-from", "database"),)
"""Metadata of a read on which an order depends: a replica may lack what was written a moment ago."""
CALL_SECONDS = 30.0

# Nothing is wrong with the content: the service is away, busy or does not know us.
_AWAY = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


async def answer(call: Any) -> Any:
    """The answer of a call. Raises Away, Unmapped where something is not known, and Unreadable where it is refused."""
    try:
        return await call
    except aio.AioRpcError as error:
        code, message = error.code(), error.details() or error.code().name
        if code in _AWAY:
            raise Away(f"Truestock answers {code.name}: {message}") from error
        if code is grpc.StatusCode.NOT_FOUND:
            raise Unmapped(message) from error
        reason = _reason(error)
        raise Unreadable(f"Truestock refuses it: {message}{f' ({reason})' if reason else ''}") from error


def _reason(error: aio.AioRpcError) -> str:
    trailers: Any = error.trailing_metadata() or ()
    for key, value in trailers:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            for detail in Status.FromString(value).details:
                info = ErrorInfo()
                if detail.Unpack(info):
                    return str(info.reason)
    return ""


def timestamp(time: datetime) -> Timestamp:
    """A time as a message."""
    message = Timestamp()
    message.FromDatetime(time)
    return message
