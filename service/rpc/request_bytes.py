"""The bytes of a request: read as a message, or refused because they are too many or no message of the method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import DecodeError, Message

from service import limits
from service.errors import RequestTooLarge, TruestockError, UnreadableRequest


@dataclass(frozen=True, slots=True)
class RefusedBytes:
    """Takes the place of a request that was not read. gRPC answers UNKNOWN, with a traceback, if a reader raises."""

    error: TruestockError


def reader(read: Callable[[bytes], Message]) -> Callable[[bytes], Message | RefusedBytes]:
    """A reader of requests that returns the error in place of the message; `read` is the `FromString` of a message."""

    def read_or_refuse(content: bytes) -> Message | RefusedBytes:
        # The bytes count, not the message: a field that is sent a thousand times is read a thousand times.
        if len(content) > limits.REQUEST_BYTES:
            return RefusedBytes(RequestTooLarge(len(content), limits.REQUEST_BYTES))
        try:
            return read(content)
        except DecodeError as error:
            # "Error parsing message with type 'truestock.v1.AllocateOrderRequest': Wire format was corrupt"
            _, _, cause = str(error).partition("': ")
            return RefusedBytes(UnreadableRequest(len(content), cause))

    return read_or_refuse


def unless_refused(request: Message | RefusedBytes) -> Message:
    """The request. Raises the error with which its bytes were refused."""
    if isinstance(request, RefusedBytes):
        raise request.error
    return request
