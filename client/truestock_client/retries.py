"""Which calls are repeated, after which pause, and with which request ids."""

from __future__ import annotations

import random
import time
import uuid
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from truestock_client.errors import CallError, Unavailable

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
_SAFE_TO_REPEAT = ("Check", "Delete", "Explain", "Find", "Get", "List", "Replay", "Search", "Sum", "Test", "Upsert")
"""How the methods begin that change nothing, or write or delete whole records. A repeated deletion is NOT_FOUND."""

AnyMessage = TypeVar("AnyMessage", bound=Message)


class Attempts:
    """The attempts of one call, which share its deadline."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._pauses = Pauses()

    def remaining(self) -> float:
        """Seconds until the deadline."""
        return max(self._deadline - time.monotonic(), 0.0)

    def pause_after(self, error: CallError) -> float | None:
        """Seconds to wait before the next attempt; None if the error is final or there is no time for another."""
        if not isinstance(error, Unavailable) or error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return None
        pause = self._pauses.after(error)
        return pause if pause < self.remaining() else None


class Pauses:
    """Pauses that become longer with each attempt: as long as the service asks for, and a random time on top.

    The random time keeps many clients of a service that was away from coming back all at once. Source: "Exponential
    Backoff And Jitter", AWS Architecture Blog, 2015 (full jitter).
    """

    def __init__(self) -> None:
        self._longest = FIRST_PAUSE_SECONDS

    def after(self, error: CallError) -> float:
        """Seconds to wait after this error."""
        pause = (error.retry_after or 0.0) + random.uniform(0.0, self._longest)
        self._longest = min(2 * self._longest, LONGEST_PAUSE_SECONDS)
        return pause


def is_repeatable(method: str, request: Any) -> bool:
    """Whether a call may be sent twice. `method` is its full name: `/truestock.v1.StockService/TransferStock`."""
    if method.rpartition("/")[2].startswith(_SAFE_TO_REPEAT):
        return True
    request_ids = [member.request_id for member in _with_request_id(request)]
    return bool(request_ids) and all(request_ids)


def with_request_ids(request: AnyMessage) -> AnyMessage:
    """The request, or a copy of it with a new id wherever one is missing."""
    if all(member.request_id for member in _with_request_id(request)):
        return request
    copy = type(request)()
    copy.CopyFrom(request)
    for member in _with_request_id(copy):
        member.request_id = member.request_id or str(uuid.uuid4())
    return copy


def request_id(request: Any) -> str:
    """The id of a request; empty if it has none, or is a batch whose orders have one each."""
    return str(getattr(request, "request_id", ""))


def _with_request_id(request: Any) -> list[Any]:
    """The message itself, or each order of a batch, if they can have a request id."""
    fields = request.DESCRIPTOR.fields_by_name if isinstance(request, Message) else ()
    if "request_id" in fields:
        return [request]
    return (
        [member for single in request.requests for member in _with_request_id(single)] if "requests" in fields else []
    )
