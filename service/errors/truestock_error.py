"""The form that every error has on the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from service.errors.error_details import Violation, bad_request, packed, room, shared_out, shortened

DOMAIN = "truestock.v1"


class TruestockError(Exception):
    """An error that a caller can see."""

    code = grpc.StatusCode.INTERNAL
    reason = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after

    def status(self) -> status_pb2.Status:
        """The error as `google.rpc.Status`: always with ErrorInfo, with BadRequest and RetryInfo where they apply.

        It names as many invalid fields as fit into the trailers that every client takes.
        """
        message = shortened(str(self))
        details: list[Message] = [
            error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=shared_out(self.metadata))
        ]
        if self.retry_after is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromTimedelta(self.retry_after)
            details.append(retry)
        if self.violations:
            details.insert(1, bad_request(self.violations, room(message, details)))
        return status_pb2.Status(
            code=self.code.value[0], message=message, details=[packed(detail) for detail in details]
        )


class ForwardedError(TruestockError):
    """An error of a process that answers in place of the service."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
        self._status = status

    def status(self) -> status_pb2.Status:
        """The status as the process gave it."""
        return self._status
