"""The errors that a caller can see, and what they look like on the wire.

    TruestockError
    ├── InvalidFields      INVALID_ARGUMENT     every bad field at once
    ├── RequestIdReused    INVALID_ARGUMENT     the same id with other contents
    ├── RulesTooCostly     INVALID_ARGUMENT     rules that take too long to read and test
    ├── NotFound           NOT_FOUND            what the request names: a channel, an order, a shipment …
    ├── WrongState         FAILED_PRECONDITION  a move that the state of an order, shipment or transfer forbids
    ├── CannotResolve       FAILED_PRECONDITION  the exception is settled, or its order does not allow it
    ├── NotReplayable      FAILED_PRECONDITION  a decision of which too little is kept
    ├── TooManyUnits       FAILED_PRECONDITION  more units than are left
    ├── FeedConflict       FAILED_PRECONDITION  two feeds that would own one figure
    ├── InsufficientStock    FAILED_PRECONDITION  a transfer of more units than are available
    ├── RequestTooLarge    RESOURCE_EXHAUSTED   above the byte limit
    ├── Overloaded         RESOURCE_EXHAUSTED   the queue is full or the deadline cannot be met; retry
    ├── WatchLimitReached       RESOURCE_EXHAUSTED   every place of those who watch is taken; retry
    └── NotReady           UNAVAILABLE          the database is away, or the service is stopping; retry

Everything else is INTERNAL with an error id, made in the interceptor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from policies.explanation import unit_count_text

DOMAIN = "truestock.v1"
ADD_LOCATION_FIRST = "upsert it first with UpsertLocations or `truestock import locations`"
ADD_PRODUCT_FIRST = "upsert it first with UpsertProducts or `truestock import products`"
"""What to do where the catalogue does not have what a request names."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One bad field: its path in the request, such as `lines[2].unit_count`, and what is wrong with it."""

    field: str
    description: str


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
        """The error as `google.rpc.Status`: ErrorInfo always, BadRequest and RetryInfo where they say something."""
        details: list[Message] = [
            error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=self.metadata)
        ]
        if self.violations:
            details.append(_bad_request(self.violations))
        if self.retry_after is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromTimedelta(self.retry_after)
            details.append(retry)
        return status_pb2.Status(code=self.code.value[0], message=str(self), details=[_packed(d) for d in details])


class InvalidFields(TruestockError):
    """One or more fields are missing, malformed or out of bounds."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_FIELD"

    def __init__(self, violations: Sequence[Violation]) -> None:
        shown = "; ".join(f"{v.field}: {v.description}" for v in violations[:3])
        more = f"; and {len(violations) - 3} more" if len(violations) > 3 else ""
        super().__init__(f"{shown}{more}", violations=violations)


class RequestIdReused(TruestockError):
    """The request id was used before with other contents."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "REQUEST_ID_REUSED"

    def __init__(self, request_id: str, differing_field: str) -> None:
        super().__init__(
            f"request_id {request_id} was used before with another {differing_field}; use a new id for a new request",
            metadata={"request_id": request_id, "differing_field": differing_field},
            violations=[Violation(differing_field, "differs from what this request_id was first used with")],
        )


class RulesTooCostly(TruestockError):
    """Reading and testing these rules takes more time or memory than a call may."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "RULES_TOO_COSTLY"

    def __init__(self, limit: str) -> None:
        super().__init__(
            f"reading and testing these rules takes more than {limit}; send fewer rules or tests at once, "
            "or run `truestock check` on the folder",
            metadata={"limit": limit},
            violations=[Violation("files", f"take more than {limit} to read and test")],
        )


class NotFound(TruestockError):
    """Something that the request names does not exist."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "NOT_FOUND"

    def __init__(self, resource_type: str, named: Mapping[str, str], advice: str = "") -> None:
        """`named` maps the field that names the missing thing to its name."""
        names = sorted(set(named.values()))
        shown = ", ".join(f"'{name}'" for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        super().__init__(
            f"no {resource_type} {shown}" + (f"; {advice}" if advice else ""),
            metadata={"resource_type": resource_type, "resource_names": ",".join(names[:50])},
            violations=[Violation(f, f"no {resource_type} '{name}'") for f, name in list(named.items())[:100]],
        )


def no_allocation(allocation_id: UUID) -> NotFound:
    """There is no allocation of this id."""
    advice = "look it up by its order with GetAllocation or `truestock explain CHANNEL/ORDER`"
    return NotFound("allocation", {"allocation_id": str(allocation_id)}, advice)


class WrongState(TruestockError):
    """The state of an allocation, a shipment, an exception or a transfer does not allow this move."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "WRONG_STATE"

    def __init__(self, kind: str, id: str, state: str, requested_state: str, advice: str) -> None:
        """`kind` is what it is, such as 'allocation'."""
        super().__init__(
            f"{kind} {id} is {state}, so it cannot become {requested_state}; {advice}",
            metadata={f"{kind}_id": id, "state": state, "requested_state": requested_state},
        )


class CannotResolve(TruestockError):
    """An exception is settled already, or its order does not allow to settle it so; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "WRONG_STATE"

    def __init__(self, exception_id: str, state: str, why: str, advice: str) -> None:
        super().__init__(
            f"exception {exception_id} {why}; {advice}", metadata={"exception_id": exception_id, "state": state}
        )


class TooManyUnits(TruestockError):
    """More units than are left of a line; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "TOO_MANY_UNITS"

    def __init__(self, line_id: str, unit_count: int, remaining_count: int, done: str) -> None:
        """`done` is what cannot be done with them, such as 'cancelled'."""
        super().__init__(
            f"line {line_id} has {unit_count_text(remaining_count)} left, so {unit_count} cannot be {done}; "
            "nothing was changed",
            metadata={"line_id": line_id, "unit_count": str(unit_count), "remaining_count": str(remaining_count)},
        )


class FeedConflict(TruestockError):
    """Two feeds would own a product at a location; at most one can. Nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "FEED_CONFLICT"

    def __init__(self, field: str, source: str, owner: str, location_id: str | None, sku: str | None) -> None:
        """`field` names the feed that is refused; None stands for every location, or every SKU."""
        where = f"'{location_id}'" if location_id else "every location"
        what = f"'{sku}'" if sku else "every product"
        super().__init__(
            f"feed {source} would own {what} at {where}, which feed {owner} owns; declare one of them an observer, or "
            "name the locations and SKUs of each",
            metadata={"source": source, "owner": owner, "location_id": location_id or "", "sku": sku or ""},
            violations=[Violation(field, f"owns what feed '{owner}' owns")],
        )


class InsufficientStock(TruestockError):
    """More units than are available at a location; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "TOO_MANY_UNITS"

    def __init__(self, location_id: str, wanted: Mapping[str, tuple[str, int, int]]) -> None:
        """`wanted` maps the field that asks for too much to its SKU, the units asked for and those available."""
        said = [f"{available} units of '{sku}' and {asked} are asked for" for sku, asked, available in wanted.values()]
        more = f"; and {len(said) - 3} more products" if len(said) > 3 else ""
        super().__init__(
            f"location '{location_id}' has available {'; '.join(said[:3])}{more}; nothing was changed: only what is "
            "not promised to orders can leave",
            metadata={"location_id": location_id},
            violations=[
                Violation(field, f"asks for {asked} units; {available} are available")
                for field, (_, asked, available) in list(wanted.items())[:100]
            ],
        )


class NotReplayable(TruestockError):
    """Too little is kept of a decision to decide once more."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "WRONG_STATE"

    def __init__(self, decision_id: str, cause: str) -> None:
        super().__init__(
            f"decision {decision_id} cannot be replayed: {cause}; GetDecision still tells what is kept of it",
            metadata={"decision_id": decision_id, "state": "summary_only", "requested_state": "replayed"},
        )


class RequestTooLarge(TruestockError):
    """The request is larger than the byte limit."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "REQUEST_TOO_LARGE"

    def __init__(self, byte_count: int, byte_limit: int) -> None:
        super().__init__(
            f"the request has {byte_count:,} bytes; at most {byte_limit:,} are taken, so send it in parts",
            metadata={"byte_count": str(byte_count), "byte_limit": str(byte_limit)},
        )


class Overloaded(TruestockError):
    """More wait than can be answered in time; nothing was done with this one."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"

    def __init__(self, queued_count: int, retry_after: timedelta, waiting: str = "orders") -> None:
        super().__init__(
            f"{queued_count} {waiting} are waiting, too many to answer this one in time; send it again a little later",
            metadata={"queued_count": str(queued_count)},
            retry_after=retry_after,
        )


class WatchLimitReached(TruestockError):
    """Every place of those who watch something is taken."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"

    def __init__(self, what: str, watcher_count: int, retry_after: timedelta) -> None:
        super().__init__(
            f"{watcher_count} watch {what} here already, and no more are taken; share a watch, or try again later",
            metadata={"watcher_count": str(watcher_count)},
            retry_after=retry_after,
        )


class NotReady(TruestockError):
    """The service cannot answer now, but will again."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "NOT_READY"

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}; try again in a moment", retry_after=timedelta(seconds=1))


def _bad_request(violations: Sequence[Violation]) -> error_details_pb2.BadRequest:
    field_violation = error_details_pb2.BadRequest.FieldViolation
    return error_details_pb2.BadRequest(
        field_violations=[field_violation(field=v.field, description=v.description) for v in violations]
    )


def _packed(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
