"""The errors that a call can raise.

    CallError (a grpc.RpcError)
    ├── InvalidRequest  INVALID_ARGUMENT     a field is wrong, or an id was used before: correct the request
    ├── NotFound        NOT_FOUND            the request names something that does not exist
    ├── Refused         FAILED_PRECONDITION  the state of an order, a shipment or stock forbids it
    └── Unavailable     UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED by the service, and RESOURCE_EXHAUSTED or ABORTED with
                        a RetryInfo: no answer in time; send the same request with the same request id again, later

Every other status is a plain CallError.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

_STATUS_DETAILS = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field: its path in the request, such as `lines[2].sku`, and what is wrong with it."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class Details:
    """What a status says beside its code and message.

    `reason` is a name of `truestock.v1.ErrorReason` without `ERROR_REASON_`, empty if the error is not Truestock's own.
    `retry_after` is the pause in seconds that the service asks for, None if it asks for none.
    """

    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    retry_after: float | None = None


class CallError(grpc.RpcError):
    """A call that failed. `code()` and `details()` are those of gRPC's own errors.

    `request_id` is the one that the call was made with, empty if it had none: with it, the same request can be sent
    again without being carried out twice.
    """

    def __init__(self, code: grpc.StatusCode, message: str, details: Details, request_id: str = "") -> None:
        super().__init__(message)
        self._code = code
        self.message = message
        self.reason = details.reason
        self.metadata = details.metadata
        self.violations = details.violations
        self.retry_after = details.retry_after
        self.request_id = request_id

    def __str__(self) -> str:
        return f"{self.reason or self._code.name}: {self.message}"

    def code(self) -> grpc.StatusCode:
        """The status code."""
        return self._code

    def details(self) -> str:
        """The message of the service."""
        return self.message


class InvalidRequest(CallError):
    """The request is wrong, and stays wrong: `violations` has every wrong field."""


class NotFound(CallError):
    """The request names something that does not exist: `violations` has the fields that name it."""


class Refused(CallError):
    """The state of an order, a shipment or stock forbids the step; nothing was changed."""


class Unavailable(CallError):
    """The service did not answer in time or was not ready, and the retries did not help.

    After DEADLINE_EXCEEDED the request may have been carried out; sent again with its `request_id`, it is answered and
    not carried out twice.
    """


_CLASSES: Mapping[grpc.StatusCode, type[CallError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.FAILED_PRECONDITION: Refused,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: Unavailable,
    # A server that stops cancels the calls that it has not begun.
    grpc.StatusCode.CANCELLED: Unavailable,
}
_WITH_RETRY_INFO = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED)
"""These say "not now" if they come with a RetryInfo, and else that the request can never be served."""


def call_error(error: Any, request_id: str = "") -> CallError:
    """gRPC's error of a call, sync or asyncio, as one of the errors above."""
    details = _details(_status(error.trailing_metadata() or ()))
    return _error(error.code() or grpc.StatusCode.UNKNOWN, error.details() or "", details, request_id)


def from_status(status: Status, request_id: str = "") -> CallError:
    """The error of one order of a batch, `result.error`, as the error that its own call would have raised."""
    codes = {code.value[0]: code for code in grpc.StatusCode}
    return _error(codes.get(status.code, grpc.StatusCode.UNKNOWN), status.message, _details(status), request_id)


def _error(code: grpc.StatusCode, message: str, details: Details, request_id: str) -> CallError:
    kind = _CLASSES.get(code, CallError)
    if code in _WITH_RETRY_INFO and details.retry_after is not None:
        kind = Unavailable
    return kind(code, message or "the service gave no reason", details, request_id)


def _details(status: Status) -> Details:
    reason, information, violations, retry_after = "", dict[str, str](), list[Violation](), None
    for detail in status.details:
        info, bad_request, retry = ErrorInfo(), BadRequest(), RetryInfo()
        with suppress(DecodeError):
            if detail.Unpack(info):
                reason, information = info.reason, dict(info.metadata)
            elif detail.Unpack(bad_request):
                violations += [Violation(x.field, x.description) for x in bad_request.field_violations]
            elif detail.Unpack(retry):
                retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    return Details(reason, information, tuple(violations), retry_after)


def _status(metadata: Iterable[tuple[str, Any]]) -> Status:
    for key, value in metadata:
        if key == _STATUS_DETAILS:
            with suppress(DecodeError):
                return Status.FromString(value)
    return Status()
