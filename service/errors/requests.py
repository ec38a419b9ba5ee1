"""Requests that cannot be taken as they are."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from policies.explanation import unit_count_text
from service.errors.error_details import Violation
from service.errors.truestock_error import TruestockError


class InvalidFields(TruestockError):
    """One or more fields are missing, malformed or out of range."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_FIELD"

    def __init__(self, violations: Sequence[Violation]) -> None:
        shown = "; ".join(f"{v.field}: {v.description}" for v in violations[:3])
        more = f"; and {len(violations) - 3} more" if len(violations) > 3 else ""
        super().__init__(f"{shown}{more}", violations=violations)


class RequestIdReused(TruestockError):
    """The request id was already used with other contents."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "REQUEST_ID_REUSED"

    def __init__(self, request_id: str, differing_field: str) -> None:
        super().__init__(
            f"request_id {request_id} was already used with a different {differing_field}; "
            "use a new request_id for a new request",
            metadata={"request_id": request_id, "differing_field": differing_field},
            violations=[Violation(differing_field, "differs from the first request with this request_id")],
        )


class RequestForgotten(TruestockError):
    """The request id was already used, for an order whose personal data were dropped since."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "REQUEST_ID_REUSED"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"request_id {request_id} was already used, for an order whose personal data were dropped since, so its "
            "response is not known any more; read the order with GetAllocation",
            metadata={"request_id": request_id},
            violations=[Violation("request_id", "was used for an order whose personal data were dropped since")],
        )


class EventIdReused(TruestockError):
    """The event id was already used for other units of the same line; nothing was changed."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "EVENT_ID_REUSED"

    def __init__(self, event_id: str, line_id: str, recorded_count: int, stated: str) -> None:
        """`recorded_count` are the units for which it was used before; `stated` are those of this request."""
        super().__init__(
            f"event_id '{event_id}' was already used for {unit_count_text(recorded_count)} of line {line_id}, and this "
            f"request states {stated}; use a new event_id for a new event",
            metadata={"event_id": event_id, "line_id": line_id, "recorded_count": str(recorded_count)},
            violations=[Violation("event_id", f"was used for {unit_count_text(recorded_count)} of line {line_id}")],
        )


class RulesTooCostly(TruestockError):
    """Loading and testing these rules takes more time or memory than a call may use."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "RULES_TOO_COSTLY"

    def __init__(self, limit: str, *, is_deciding: bool = False) -> None:
        """`is_deciding`: by a candidate that the request names, instead of rules in the request."""
        if is_deciding:
            message = f"an answer by these rules takes more than {limit}; ask for less in one call, or send fewer rules"
            violation = Violation("candidate_revision", f"takes more than {limit} to answer by")
        else:
            message = (
                f"loading and testing these rules takes more than {limit}; send fewer rules or tests in one call, "
                "or run `truestock check` on the folder"
            )
            violation = Violation("files", f"take more than {limit} to load and test")
        super().__init__(message, metadata={"limit": limit}, violations=[violation])


class ReportTooLarge(TruestockError):
    """A report that takes more time than it may, or has too many groups."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "REPORT_TOO_LARGE"

    def __init__(self, limit: str) -> None:
        advice = "ask for a shorter window, a longer step or fewer dimensions"
        super().__init__(f"this report takes more than {limit}; {advice}", metadata={"limit": limit})


class UnreadableRequest(TruestockError):
    """The bytes of the request are no message of the method; nothing was done."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "UNREADABLE_REQUEST"

    def __init__(self, byte_count: int, cause: str) -> None:
        """`cause` is what Protocol Buffers says, such as "String field had bad UTF-8"."""
        super().__init__(
            f"the request cannot be read: its {byte_count:,} {'byte is' if byte_count == 1 else 'bytes are'} not the "
            f"message that this method takes ({cause or 'not a Protocol Buffers message'}); generate the client from "
            "Truestock's .proto files, send text as UTF-8, and check that nothing on the way changes the bytes",
            metadata={"byte_count": str(byte_count)},
        )


class RequestTooLarge(TruestockError):
    """The request is larger than the byte limit."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "REQUEST_TOO_LARGE"

    def __init__(self, byte_count: int, byte_limit: int) -> None:
        super().__init__(
            f"the request has {byte_count:,} bytes, and the limit is {byte_limit:,}; split it into smaller requests",
            metadata={"byte_count": str(byte_count), "byte_limit": str(byte_limit)},
        )
