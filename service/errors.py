"""The errors that a caller can see, and their form on the wire.

    TruestockError
    ├── ForwardedError     any of these         from a process that answers by other rules
    ├── InvalidFields      INVALID_ARGUMENT     every invalid field at once
    ├── RequestIdReused    INVALID_ARGUMENT     the same request id with other contents
    ├── EventIdReused      INVALID_ARGUMENT     the same event id with other units
    ├── RulesTooCostly     INVALID_ARGUMENT     rules that take too long to load and test
    ├── Unauthenticated    UNAUTHENTICATED      no token or certificate that the access file knows
    ├── MissingRole        PERMISSION_DENIED    a principal without the role that the method needs
    ├── NotBound           PERMISSION_DENIED    what is not of the channels or locations that a principal is bound to
    ├── NotFound           NOT_FOUND            a channel, order, shipment … that the request names
    ├── WrongState         FAILED_PRECONDITION  a step that the state of an order, shipment or transfer forbids
    │   └── OrderOnHold    FAILED_PRECONDITION  a step of fulfillment while the order is on hold
    ├── TooManyRequests    FAILED_PRECONDITION  another request to cancel of an order that has as many as it can have
    ├── CannotReassign     FAILED_PRECONDITION  the shipment ended, or the new location cannot take it over
    ├── CannotUndo         FAILED_PRECONDITION  the parcel was delivered or came back, so it has left
    ├── CannotResolve      FAILED_PRECONDITION  the exception is resolved already, or its order forbids the resolution
    ├── NotReplayable      FAILED_PRECONDITION  a decision of which only a summary is stored
    ├── TooManyUnits       FAILED_PRECONDITION  more units than remain of an order line
    ├── FeedConflict       FAILED_PRECONDITION  two feeds that would own the same stock
    ├── SharedLocation     FAILED_PRECONDITION  a location that would be in two outlets of a channel
    ├── KitConflict        FAILED_PRECONDITION  a kit as a component of a kit, or more kits than the catalog takes
    ├── NoListingRequirements FAILED_PRECONDITION  no rules say what listings of the channel require
    ├── InsufficientStock  FAILED_PRECONDITION  a transfer of more units than are available
    ├── ReportTooLarge     INVALID_ARGUMENT     a report that takes too long, or has too many groups
    ├── UnreadableRequest  INVALID_ARGUMENT     bytes that are no message of the method
    ├── RequestTooLarge    RESOURCE_EXHAUSTED   above the byte limit
    ├── Overloaded         RESOURCE_EXHAUSTED   the queue is full or the deadline cannot be met; retry
    ├── TooManyCalls       RESOURCE_EXHAUSTED   more calls than the principal may make; retry
    ├── WatchLimitReached  RESOURCE_EXHAUSTED   too many callers watch already; retry
    └── NotReady           UNAVAILABLE          the database is unreachable, or the service is stopping; retry

Every other exception is INTERNAL with an error id, assigned by the call interceptor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from urllib.parse import quote
from uuid import UUID

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from policies.domain.near_names import near_names
from policies.domain.outlets import OutletConflict
from policies.explanation import unit_count_text

DOMAIN = "truestock.v1"
TRAILER_BYTES = 7_000
"""What the trailers of an error take at most: clients refuse more than 8 KiB, and then show no error of ours at all."""
MESSAGE_BYTES = 2_000
"""What its message takes of them, percent-encoded."""
ENVELOPE_BYTES = 400
"""What types and lengths of the details take in a status."""
METADATA_BYTES = 1_200
"""What the values of an error's metadata take together; names beyond it stay away."""
VIOLATION_BYTES = 600
"""What the field, and what the description, of an invalid field takes."""
NAMES_SHOWN = 5
"""Missing names that a message shows, with the near ones."""
ADD_LOCATION_FIRST = "upsert it first with UpsertLocations or `truestock import locations`"
ADD_PRODUCT_FIRST = "upsert it first with UpsertProducts or `truestock import products`"
"""Advice for a request that names a location or product that the catalog lacks."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One invalid field: its path in the request, such as `lines[2].unit_count`, and what is wrong with it."""

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
        """The error as `google.rpc.Status`: always with ErrorInfo, with BadRequest and RetryInfo where they apply.

        It names as many invalid fields as fit into the trailers that every client takes.
        """
        message = _shortened(str(self))
        details: list[Message] = [
            error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=_shared_out(self.metadata))
        ]
        if self.retry_after is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromTimedelta(self.retry_after)
            details.append(retry)
        if self.violations:
            details.insert(1, _bad_request(self.violations, _room(message, details)))
        return status_pb2.Status(
            code=self.code.value[0], message=message, details=[_packed(detail) for detail in details]
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


class Unauthenticated(TruestockError):
    """The call carries no token, and its connection no certificate, that the access file knows; nothing was done.

    It does not say which: whoever tries tokens learns nothing of known ones.
    """

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"

    def __init__(self) -> None:
        super().__init__(
            "this service wants to know who calls, and the call has no token or certificate that is valid now: send "
            "`authorization: Bearer TOKEN`, or use the certificate of a principal; `truestock access add` makes tokens"
        )


class MissingRole(TruestockError):
    """The principal may not call the method; nothing was done."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"

    def __init__(self, principal: str, method: str, role: str, roles: Iterable[str]) -> None:
        """`role` is what the method needs, `roles` what the principal has."""
        super().__init__(
            f"{principal} may not call {method}: that needs the role '{role}', and it has "
            f"{', '.join(sorted(roles)) or 'none'}; whoever keeps the access file can add it",
            metadata={"principal": principal, "method": method, "role": role},
        )


class NotBound(TruestockError):
    """A principal asks for what is not of the channels or locations that it is bound to; nothing was done.

    The error is the same whether what it asks for exists or not.
    """

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"

    def __init__(self, principal: str, noun: str, bound: Iterable[str], asked: str) -> None:
        """`noun` is channel or location, `bound` the ids that the principal has, `asked` what it asked for."""
        own = sorted(bound)
        more = f" and {len(own) - NAMES_SHOWN} more" if len(own) > NAMES_SHOWN else ""
        super().__init__(
            f"{principal} may not ask for {asked}: it is bound to the {noun}{'s' if len(own) > 1 else ''} "
            f"{', '.join(own[:NAMES_SHOWN])}{more}; name one of these, or let whoever keeps the access file widen it",
            metadata={"principal": principal, "bound_to": noun},
        )


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


class NotFound(TruestockError):
    """The request names something that does not exist."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "NOT_FOUND"

    def __init__(
        self,
        resource_type: str,
        missing: Mapping[str, str],
        advice: str = "",
        near: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`missing` maps each field that names a missing resource to that name.

        `near` maps missing names to existing ones that were probably meant.
        """
        names = sorted(set(missing.values()))
        more = len(names) - NAMES_SHOWN
        shown = ", ".join(f"'{name}'" for name in names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
        meant = [f"'{near[name]}'" for name in names[:NAMES_SHOWN] if name in near]
        hint = f"did you mean {', '.join(meant)}? If not, {advice}" if meant and advice else advice
        super().__init__(
            f"no {resource_type} {shown}" + (f"; {hint}" if hint else ""),
            metadata={"resource_type": resource_type, "resource_names": ",".join(_fitting(names))},
            violations=[
                Violation(
                    field, f"no {resource_type} '{name}'" + (f"; did you mean '{near[name]}'?" if name in near else "")
                )
                for field, name in list(missing.items())[:100]
            ],
        )


def _first(missing: Mapping[str, str]) -> list[str]:
    """The names that the message shows: comparing each name with all known ones takes time."""
    return sorted(set(missing.values()))[:NAMES_SHOWN]


def no_channel(missing: Mapping[str, str], channel_ids: Iterable[str]) -> NotFound:
    """The error for channels that do not exist; `channel_ids` are those that do."""
    known = sorted(channel_ids)
    advice = f"these are the channels: {', '.join(known[:10]) or 'none yet'}"
    return NotFound("channel", missing, advice, near_names(_first(missing), known))


def no_product(missing: Mapping[str, str], near: Mapping[str, str]) -> NotFound:
    """The error for SKUs that no product has; `near` maps them to those that were probably meant."""
    return NotFound("product", missing, ADD_PRODUCT_FIRST, near)


def no_location(missing: Mapping[str, str], location_ids: Iterable[str]) -> NotFound:
    """The error for locations that do not exist; `location_ids` are those that do."""
    return NotFound("location", missing, ADD_LOCATION_FIRST, near_names(_first(missing), location_ids))


def no_listing(channel_id: str, missing: Mapping[str, str]) -> NotFound:
    """The error for items of a channel that no listing maps; `missing` maps each field that names one to it."""
    advice = f"map it first with UpsertListings, or look it up with `truestock listings --channel {channel_id}`"
    return NotFound("listing", missing, advice)


def no_pool(missing: Mapping[str, str], pool_ids: Iterable[str]) -> NotFound:
    """The error for pools that do not exist; `pool_ids` are those that do."""
    advice = "upsert it first with UpsertPools or `truestock import pools`"
    return NotFound("pool", missing, advice, near_names(_first(missing), pool_ids))


def no_outlet(missing: Mapping[str, str], channel_id: str, outlet_ids: Iterable[str]) -> NotFound:
    """The error for outlets that a channel does not have; `outlet_ids` are those that it has."""
    known = sorted(outlet_ids)
    advice = f"these are the outlets of channel '{channel_id}': {', '.join(known[:10]) or 'none yet'}"
    return NotFound("outlet", missing, advice, near_names(_first(missing), known))


def no_allocation(allocation_id: UUID) -> NotFound:
    """The error for an allocation id that does not exist."""
    advice = "look it up by its order with GetAllocation or `truestock explain CHANNEL/ORDER`"
    return NotFound("allocation", {"allocation_id": str(allocation_id)}, advice)


def no_order(key: tuple[str, str]) -> NotFound:
    """The error for a request whose field `order` names an order that does not exist; `key` is (channel, order)."""
    return NotFound("order", {"order.order_id": "/".join(key)}, "send it with AllocateOrder first")


class WrongState(TruestockError):
    """The state of an allocation, shipment, exception or transfer does not allow this step."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "WRONG_STATE"

    def __init__(self, kind: str, id: str, state: str, requested_state: str, advice: str) -> None:
        """`kind` names the type of record, such as 'allocation'."""
        super().__init__(
            f"{kind} {id} is {state}, so it cannot become {requested_state}; {advice}",
            metadata={f"{kind}_id": id, "state": state, "requested_state": requested_state},
        )


class OrderOnHold(WrongState):
    """The order is on hold, so its locations may not work on it."""

    def __init__(self, shipment_id: str, requested_state: str, hold: str) -> None:
        """`hold` says until when and why: "on hold until 2026-11-27 10:30 UTC because of: remorse period"."""
        TruestockError.__init__(
            self,
            f"shipment {shipment_id} cannot become {requested_state}: the order is {hold}; once it may be worked on, "
            "release it with ReleaseOrderHold or `truestock release-hold`",
            metadata={"shipment_id": shipment_id, "state": "on_hold", "requested_state": requested_state},
        )


class TooManyRequests(TruestockError):
    """An order that has as many requests to cancel as it can have; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "TOO_MANY_CANCELLATION_REQUESTS"

    def __init__(self, channel_id: str, order_id: str, limit: int) -> None:
        super().__init__(
            f"order {channel_id}/{order_id} has {limit} requests to cancel already, so this one was not recorded; "
            "answer the shopper yourself: cancel the units with CancelOrderLines, or let the order go on",
            metadata={"channel_id": channel_id, "order_id": order_id, "limit": str(limit)},
        )


class CannotReassign(TruestockError):
    """A shipment that cannot move to another location; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "WRONG_STATE"

    def __init__(self, shipment_id: str, location_id: str, state: str, problem: str, advice: str) -> None:
        super().__init__(
            f"shipment {shipment_id} stays at {location_id}: {problem}; {advice}",
            metadata={"shipment_id": shipment_id, "state": state, "requested_state": "reassigned"},
        )


class CannotUndo(TruestockError):
    """A shipment of which the shipping cannot be taken back any more; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "WRONG_STATE"

    def __init__(self, shipment_id: str, state: str, problem: str, advice: str) -> None:
        super().__init__(
            f"the shipping of shipment {shipment_id} cannot be undone: {problem}" + (f"; {advice}" if advice else ""),
            metadata={"shipment_id": shipment_id, "state": state, "requested_state": "accepted"},
        )


class CannotResolve(TruestockError):
    """The exception is resolved already, or its order does not allow this resolution; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "WRONG_STATE"

    def __init__(self, exception_id: str, state: str, problem: str, advice: str) -> None:
        super().__init__(
            f"exception {exception_id} {problem}; {advice}", metadata={"exception_id": exception_id, "state": state}
        )


class TooManyUnits(TruestockError):
    """More units than remain of an order line; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "TOO_MANY_UNITS"

    def __init__(
        self,
        line_id: str,
        unit_count: int,
        remaining_count: int,
        done: str,
        shipped_count: int = 0,
        *,
        counted: str = "remaining",
    ) -> None:
        """`done` is the step that was refused, such as 'cancelled'; `shipped_count` units are out of its reach.

        `counted` says which units of the line there are `remaining_count` of.
        """
        advice = "so correct the count"
        if shipped_count:
            advice += f": {unit_count_text(shipped_count)} shipped already; stop the parcel, or record the return"
        super().__init__(
            f"line {line_id} has {unit_count_text(remaining_count)} {counted}, so {unit_count} cannot be {done}; "
            f"nothing was changed, {advice}",
            metadata={"line_id": line_id, "unit_count": str(unit_count), "remaining_count": str(remaining_count)},
        )


class FeedConflict(TruestockError):
    """Two feeds would own a product at a location, where at most one can; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "FEED_CONFLICT"

    def __init__(self, field: str, source: str, owner: str, location_id: str | None, sku: str | None) -> None:
        """`field` is the path of the refused feed; None stands for every location, or every SKU."""
        where = f"'{location_id}'" if location_id else "every location"
        what = f"'{sku}'" if sku else "every product"
        super().__init__(
            f"feed {source} would own {what} at {where}, which feed {owner} already owns; declare one of them an "
            "observer, or limit each to its own locations and SKUs",
            metadata={"source": source, "owner": owner, "location_id": location_id or "", "sku": sku or ""},
            violations=[Violation(field, f"would own stock that feed '{owner}' already owns")],
        )


class SharedLocation(TruestockError):
    """A location would be in two outlets of one channel; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "OUTLET_CONFLICT"

    def __init__(self, conflict: OutletConflict, field: str, stated: str) -> None:
        """`field` is the path of the refused record in the request, `stated` what it is, such as "outlet 'online'"."""
        both = f"outlets '{conflict.outlet_id}' and '{conflict.other_outlet_id}' of channel '{conflict.channel_id}'"
        super().__init__(
            f"{stated} would put location '{conflict.location_id}' into both {both}, where it can be in only one; take "
            "it out of one of them, or move it in one call that writes both",
            metadata={
                "channel_id": conflict.channel_id,
                "location_id": conflict.location_id,
                "outlet_id": conflict.outlet_id,
                "other_outlet_id": conflict.other_outlet_id,
            },
            violations=[Violation(field, f"location '{conflict.location_id}' would be in {both}")],
        )


class NoListingRequirements(TruestockError):
    """The rules in force have no listing requirements for the platform of a channel."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "NO_LISTING_REQUIREMENTS"

    def __init__(self, channel_id: str, platform: str | None, known: Sequence[str]) -> None:
        """`known` are the platforms that have requirements."""
        if platform is None:
            message = f"channel '{channel_id}' has no platform; upsert it with one of: {', '.join(known) or 'none yet'}"
        else:
            message = (
                f"the rules have no listing requirements for '{platform}', the platform of channel '{channel_id}'; add "
                f"a file with 'kind: listing_requirements' and 'platform: {platform}'"
            )
        super().__init__(message, metadata={"channel_id": channel_id, "platform": platform or ""})


class KitConflict(TruestockError):
    """A kit would be a component of a kit, or the catalog would have too many kits; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "KIT_CONFLICT"

    @classmethod
    def nested(cls, field: str, sku: str, component_sku: str) -> KitConflict:
        """`component_sku` of the kit `sku` is a kit; `field` is the path of the record that makes it so."""
        return cls(
            f"the kit {sku} would contain {component_sku}, which is a kit too; name the components of {component_sku} "
            f"in {sku} instead, or delete the kit {component_sku} with DeleteKit first",
            metadata={"sku": sku, "component_sku": component_sku},
            violations=[Violation(field, f"makes the kit '{component_sku}' a component of the kit '{sku}'")],
        )

    @classmethod
    def full(cls, count: int, limit: int) -> KitConflict:
        """The catalog would have `count` kits."""
        return cls(
            f"the catalog would have {count:,} kits, and at most {limit:,} are allowed; delete some that are no longer "
            "sold with DeleteKit first",
            metadata={"limit": str(limit)},
        )


class InsufficientStock(TruestockError):
    """More units than are available at a location; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "TOO_MANY_UNITS"

    def __init__(self, location_id: str, shortfalls: Mapping[str, tuple[str, int, int]]) -> None:
        """`shortfalls` maps each field that requests too many units to its SKU, the units requested and available."""
        shown = [
            f"{unit_count_text(available)} of '{sku}' available, {requested} requested"
            for sku, requested, available in list(shortfalls.values())[:3]
        ]
        hidden_count = len(shortfalls) - len(shown)
        more = f"; and {hidden_count} more {'product' if hidden_count == 1 else 'products'}" if hidden_count else ""
        super().__init__(
            f"location '{location_id}' has {'; '.join(shown)}{more}; nothing was changed: transfer only units that are "
            "not held or allocated for orders",
            metadata={"location_id": location_id},
            violations=[
                Violation(field, f"requests {unit_count_text(requested)}; {available} available")
                for field, (_, requested, available) in list(shortfalls.items())[:100]
            ],
        )


class NotReplayable(TruestockError):
    """Only a summary of the decision is stored, so it cannot be replayed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "WRONG_STATE"

    def __init__(self, decision_id: str, cause: str) -> None:
        super().__init__(
            f"decision {decision_id} cannot be replayed: {cause}; GetDecision returns what is stored of it",
            metadata={"decision_id": decision_id, "state": "summary_only", "requested_state": "replayed"},
        )


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


class Overloaded(TruestockError):
    """Too many requests are queued to answer this one in time; nothing was done."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"

    def __init__(self, queued_count: int, retry_after: timedelta, queued: str = "orders") -> None:
        """`queued` names what is in the queue, in the plural."""
        super().__init__(
            f"too many {queued} are queued to answer this one in time ({queued_count} queued); retry in a moment",
            metadata={"queued_count": str(queued_count)},
            retry_after=retry_after,
        )


class TooManyCalls(TruestockError):
    """The principal makes more calls than its access allows; nothing was done."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"

    def __init__(self, principal: str, limit: str, retry_after: timedelta) -> None:
        """`limit` is what it may, such as "200 calls a second"."""
        super().__init__(
            f"{principal} may make {limit}, and these are used up; retry in a moment, or let whoever keeps the access "
            "file raise the limit",
            metadata={"principal": principal, "limit": limit},
            retry_after=retry_after,
        )


class WatchLimitReached(TruestockError):
    """As many callers watch already as one service allows."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"

    def __init__(self, subject: str, watcher_count: int, retry_after: timedelta) -> None:
        """`subject` is what the callers watch, such as 'orders'."""
        super().__init__(
            f"watch limit reached ({watcher_count} of {watcher_count} for {subject}); share one watch, or retry later",
            metadata={"watcher_count": str(watcher_count)},
            retry_after=retry_after,
        )


class NotReady(TruestockError):
    """The service cannot answer at the moment."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "NOT_READY"

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}; try again in a moment", retry_after=timedelta(seconds=1))


def _shortened(message: str) -> str:
    """The message, cut where it would take more than its share of the trailers: names in it may be long."""
    if len(quote(message)) <= MESSAGE_BYTES:
        return message
    # Of a character, at most twelve bytes are sent: four, each as %XX.
    kept = message[: MESSAGE_BYTES // 12]
    while len(quote(message[: len(kept) + 20])) < MESSAGE_BYTES:
        kept = message[: len(kept) + 20]
    return f"{kept}…"


def _cut(text: str, byte_count: int) -> str:
    """The text, or where it takes more than `byte_count` bytes, as many of its first characters as fit with an …"""
    encoded = text.encode()
    if len(encoded) <= byte_count:
        return text
    return encoded[: byte_count - len("…".encode())].decode(errors="ignore") + "…"


def _shared_out(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata with its long values cut, so that all fit into the trailers."""
    short = METADATA_BYTES // max(1, len(metadata))
    rest = METADATA_BYTES - sum(min(len(value.encode()), short) for value in metadata.values())
    shared = {}
    for key, value in metadata.items():
        shared[key] = _cut(value, short + rest)
        rest -= max(0, len(shared[key].encode()) - short)
    return shared


def _fitting(names: Sequence[str]) -> list[str]:
    """The first names, as many as fit into the metadata of an error; at least one."""
    room = METADATA_BYTES - 200
    fitting: list[str] = []
    for name in names[:50]:
        room -= len(name.encode()) + 1
        if fitting and room < 0:
            break
        fitting.append(name)
    return fitting


def _room(message: str, details: Sequence[Message]) -> int:
    """Bytes that the trailers of an error have for its violations.

    They carry the message twice: percent-encoded, and in the status, of which three bytes take four.
    """
    status = len(message.encode()) + sum(detail.ByteSize() for detail in details)
    return (TRAILER_BYTES - len(quote(message))) * 3 // 4 - status - ENVELOPE_BYTES


def _bad_request(violations: Sequence[Violation], room: int) -> error_details_pb2.BadRequest:
    """The first violations, as many as fit into `room` bytes; at least one."""
    request = error_details_pb2.BadRequest()
    for violation in violations:
        request.field_violations.add(
            field=_cut(violation.field, VIOLATION_BYTES), description=_cut(violation.description, VIOLATION_BYTES)
        )
        if request.ByteSize() > room and len(request.field_violations) > 1:
            del request.field_violations[-1]
            break
    return request


def _packed(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
