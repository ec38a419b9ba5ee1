"""Checks requests about orders and converts them to plain values of `policies`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from policies.decisions.cancellations import BUYER, CARRIER, FRAUD, NO_CAUSE, SELLER, CancellationCause
from policies.domain.geography import as_destination
from policies.domain.model import Channel, Commitment, Coordinates, Destination, Order, OrderLine
from policies.domain.outlets import Outlet
from service import limits
from service.errors import Violation
from service.orders.order_identity import OrderKey
from service.orders.order_lines import LenientFields, order_lines
from service.rpc.validation import Fields
from truestock.v1 import allocation_service_pb2 as allocation_pb, order_pb2

_COMMITMENTS = {
    order_pb2.COMMITMENT_HOLD: Commitment.HOLD,
    order_pb2.COMMITMENT_SOLD: Commitment.SOLD,
}
UPDATE_TIME: Final = "channel_update_time"
_METHODS = {
    order_pb2.FULFILLMENT_METHOD_UNSPECIFIED: "ship",
    order_pb2.FULFILLMENT_METHOD_SHIP: "ship",
    order_pb2.FULFILLMENT_METHOD_PICKUP: "pickup",
}


CANCELLATION_FAULTS: Mapping[order_pb2.CancellationFault.ValueType, str | None] = {
    order_pb2.CANCELLATION_FAULT_UNSPECIFIED: None,
    order_pb2.CANCELLATION_FAULT_BUYER: BUYER,
    order_pb2.CANCELLATION_FAULT_SELLER: SELLER,
    order_pb2.CANCELLATION_FAULT_CARRIER: CARRIER,
    order_pb2.CANCELLATION_FAULT_FRAUD: FRAUD,
}
"""Who caused a cancellation, by the number in the API; None if nobody stated it."""


@dataclass(frozen=True, slots=True)
class StatedHold:
    """The hold that a request puts a sold order on; `until` None says nothing about its end."""

    reason: str
    until: datetime | None


@dataclass(slots=True, unsafe_hash=True)
class OrderRequest:
    """A checked AllocateOrder request. `request_id` is the caller's, or None.

    `hold_duration` is None if not stated. `copy_of` is the original's key if this is a copy; `update_time` and
    `channel_status` are those of the channel. `left_out` are the values of a SOLD order that cannot be used, and why;
    the order is taken without them.
    """

    order: Final[Order]
    hold_duration: Final[timedelta | None]
    request_id: Final[UUID | None]
    copy_of: Final[OrderKey | None] = None
    update_time: Final[datetime | None] = None
    channel_status: Final[str | None] = None
    hold: Final[StatedHold | None] = None
    left_out: Final[Sequence[Violation]] = ()
    deliver_within_days: Final[int | None] = None
    """From the day on which the order is first taken; None if not stated."""

    @property
    def unusable_time(self) -> Violation | None:
        """Why the channel's time of the order cannot be used; None if it can, or if there is none."""
        return next((violation for violation in self.left_out if violation.field == UPDATE_TIME), None)

    @property
    def key(self) -> OrderKey:
        """The key of the order in the request, which may be a copy's."""
        return self.order.channel_id, self.order.order_id


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Units of one line to cancel, or items if `item_id` is set; `shipment_id` None means from any shipment.

    With an item, the line may be left out: it is then the one that ordered the item.
    """

    line_id: str
    unit_count: int
    shipment_id: UUID | None
    item_id: str | None = None


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """A checked CancelOrderLines request: for an allocation by its id, or for an order by its key."""

    allocation_id: UUID | None
    key: OrderKey | None
    cancellations: tuple[Cancellation, ...]
    is_whole: bool
    event_id: str | None
    cancel_time: datetime | None
    request_id: UUID | None
    cause: CancellationCause = NO_CAUSE


@dataclass(frozen=True, slots=True)
class RequestedCancellation:
    """A checked RequestCancellation request; without `lines` it is for the whole order."""

    allocation_id: UUID | None
    key: OrderKey | None
    lines: tuple[Cancellation, ...]
    cause: CancellationCause
    deadline: datetime | None
    event_id: str | None
    withdraw: bool
    request_id: UUID | None


@dataclass(frozen=True, slots=True)
class ReleaseHoldRequest:
    """A checked ReleaseOrderHold request, for an allocation or an order; `actor` None is the channel."""

    allocation_id: UUID | None
    key: OrderKey | None
    actor: str | None
    request_id: UUID | None


@dataclass(frozen=True, slots=True)
class ForgetRequest:
    """A checked ForgetOrder request, for an allocation by its id or an order by its key."""

    allocation_id: UUID | None
    key: OrderKey | None
    actor: str
    request_id: UUID | None


def _as_stated(destination: Destination) -> Destination:
    return destination


def order_request(
    request: allocation_pb.AllocateOrderRequest, located: Callable[[Destination], Destination] = _as_stated
) -> OrderRequest:
    """Checks an AllocateOrder request. Raises InvalidFields with everything that is wrong.

    `located` adds the coordinates of a destination where they are known without a look-up.
    """
    commitment = _COMMITMENTS.get(request.commitment)
    # A status may mean that the order is paid; `channel_words` refuses a HOLD that turns out to be one.
    fields = LenientFields(is_lenient=commitment is Commitment.SOLD or bool(request.channel_status))
    channel_id = fields.text("channel_id", request.channel_id, longest=limits.ID_LENGTH, required=True) or ""
    order_id = fields.text("order_id", request.order_id, longest=limits.ORDER_ID_LENGTH, required=True) or ""
    lines = order_lines(fields, request.lines)
    if commitment is None:
        fields.wrong("commitment", "must be COMMITMENT_HOLD or COMMITMENT_SOLD")
    method = order_method(fields, request.method)
    hold_duration = _hold_duration(fields, request)
    hold = _stated_hold(fields, request.hold) if request.HasField("hold") else None
    request_id = fields.uuid("request_id", request.request_id)
    destination = order_destination(fields, request.destination) if request.HasField("destination") else None
    destination = None if destination is None else located(destination)
    stated_value = fields.usable(
        lambda strict: strict.money("order_value", request.order_value), given=request.HasField("order_value")
    )
    priority = request.priority if request.HasField("priority") else None
    if priority is not None:
        fields.whole_number("priority", priority, -limits.PRIORITY, limits.PRIORITY)
    tags = fields.tags("tags", request.tags, limits.ORDER_TAGS)
    pickup = fields.text("pickup_location_id", request.pickup_location_id, longest=limits.ID_LENGTH)
    if pickup and method != "pickup":
        fields.wrong("pickup_location_id", "is only for FULFILLMENT_METHOD_PICKUP")
    outlet_id = fields.usable(
        lambda strict: strict.text("outlet_id", request.outlet_id, longest=limits.SOLD_OUTLET_ID_LENGTH),
        given=bool(request.outlet_id),
    )
    ship_by_time = fields.usable(
        lambda strict: strict.moment("ship_by_time", request.ship_by_time, given=True),
        given=request.HasField("ship_by_time"),
    )
    deliver_by = fields.usable(lambda strict: _deliver_by(strict, request), given=request.HasField("deliver_by"))
    deliver_within = fields.usable(
        lambda strict: _deliver_within_days(strict, request), given=request.HasField("deliver_within_days")
    )
    copy_of = fields.order_key("copy_of", request.copy_of) if request.HasField("copy_of") else None
    if copy_of == (channel_id, order_id):
        fields.wrong("copy_of", "is the order itself; leave it out if the order is not a copy")
    update_time = fields.usable(lambda strict: _update_time(strict, request), given=request.HasField(UPDATE_TIME))
    status = fields.text("channel_status", request.channel_status, longest=limits.CHANNEL_STATUS_LENGTH)
    if request.candidate_revision:
        fields.text("candidate_revision", request.candidate_revision, longest=limits.ID_LENGTH)
        if not request.validate_only:
            fields.wrong("candidate_revision", "is only for validate_only; orders are allocated by the rules in force")
    if request.explain and not request.validate_only:
        fields.wrong("explain", "is only for validate_only; ExplainDecision explains the decision of a stored order")
    fields.finish()
    assert commitment is not None
    order = Order(
        channel_id=channel_id,
        order_id=order_id,
        lines=tuple(lines),
        commitment=commitment,
        method=method,
        destination=destination,
        pickup_location_id=pickup,
        stated_value=stated_value,
        priority=priority,
        tags=tags,
        # Its locations are looked up with the catalog under which the order is planned.
        ship_by_time=ship_by_time,
        deliver_by=deliver_by,
        outlet=Outlet(outlet_id, frozenset(), is_known=False) if outlet_id else None,
        currency=_currency(request, lines, stated_value),
    )
    return OrderRequest(
        order, hold_duration, request_id, copy_of, update_time, status, hold, fields.left_out, deliver_within
    )


def _currency(
    request: allocation_pb.AllocateOrderRequest, lines: Sequence[OrderLine], stated_value: Decimal | None
) -> str:
    """The currency of the lines' prices; that of the order's value if no line has one, and empty without either."""
    if any(line.unit_price is not None for line in lines):
        code: str = next(line.unit_price.currency_code for line in request.lines if line.HasField("unit_price"))
        return code
    return "" if stated_value is None else request.order_value.currency_code


def _deliver_by(fields: Fields, request: allocation_pb.AllocateOrderRequest) -> date | None:
    day = request.deliver_by
    try:
        return date(day.year, day.month, day.day)
    except ValueError:
        fields.wrong("deliver_by", f"{day.year}-{day.month}-{day.day} is not a calendar date")
        return None


def _deliver_within_days(fields: Fields, request: allocation_pb.AllocateOrderRequest) -> int | None:
    if request.HasField("deliver_by"):
        fields.wrong("deliver_within_days", "must not be set beside deliver_by: both say by when")
    return fields.whole_number("deliver_within_days", request.deliver_within_days, 0, limits.DELIVER_WITHIN_DAYS)


def cancel_request(request: allocation_pb.CancelOrderLinesRequest) -> CancelRequest:
    """Checks a CancelOrderLines request. Raises InvalidFields with everything that is wrong."""
    fields = Fields()
    allocation_id, key = allocation_or_order(fields, request)
    request_id = fields.uuid("request_id", request.request_id)
    event_id = fields.text("event_id", request.event_id, longest=limits.EVENT_ID_LENGTH)
    cancel_time = _update_time(fields, request)
    if request.whole_order and request.cancellations:
        fields.wrong("cancellations", "must be empty if whole_order is set")
    cancellations = () if request.whole_order else _line_cancellations(fields, "cancellations", request.cancellations)
    cause = cancellation_cause(fields, request.fault, request.reason)
    fields.finish()
    return CancelRequest(
        allocation_id, key, cancellations, request.whole_order, event_id, cancel_time, request_id, cause
    )


def requested_cancellation(request: allocation_pb.RequestCancellationRequest) -> RequestedCancellation:
    """Checks a RequestCancellation request. Raises InvalidFields with everything that is wrong."""
    fields = Fields()
    allocation_id, key = allocation_or_order(fields, request)
    request_id = fields.uuid("request_id", request.request_id)
    event_id = fields.text("event_id", request.event_id, longest=limits.EVENT_ID_LENGTH, required=request.withdraw)
    has_no_lines = request.whole_order or (request.withdraw and not request.lines)
    if request.whole_order and request.lines:
        fields.wrong("lines", "must be empty if whole_order is set")
    lines = () if has_no_lines else _line_cancellations(fields, "lines", request.lines)
    for index, line in enumerate(request.lines):
        if line.shipment_id:
            fields.wrong(f"lines[{index}].shipment_id", "must be left out: the units may be moved before the answer")
    cause = cancellation_cause(fields, request.fault, request.reason)
    deadline = fields.moment("deadline", request.deadline, given=True) if request.HasField("deadline") else None
    if deadline is not None and deadline > datetime.now(UTC) + limits.CANCELLATION_DEADLINE_LONGEST:
        fields.wrong("deadline", f"is more than {limits.CANCELLATION_DEADLINE_LONGEST.days} days ahead; correct it")
    fields.finish()
    cause = replace(cause, fault=cause.fault or BUYER)
    return RequestedCancellation(allocation_id, key, lines, cause, deadline, event_id, request.withdraw, request_id)


def cancellation_cause(fields: Fields, fault: order_pb2.CancellationFault.ValueType, reason: str) -> CancellationCause:
    """Who caused a cancellation and why, as far as the request states it."""
    if fault not in CANCELLATION_FAULTS:
        names = ", ".join(name for name, number in order_pb2.CancellationFault.items() if number)
        fields.wrong("fault", f"{fault} is not one of {names}")
    return CancellationCause(CANCELLATION_FAULTS.get(fault), fields.text("reason", reason))


def allocation_or_order(
    fields: Fields,
    request: allocation_pb.GetAllocationRequest
    | allocation_pb.CancelOrderLinesRequest
    | allocation_pb.ReleaseOrderHoldRequest
    | allocation_pb.ForgetOrderRequest
    | allocation_pb.RequestCancellationRequest,
) -> tuple[UUID | None, OrderKey | None]:
    """The allocation id or the order's key, one of which a request must have; the other is None."""
    by_order = request.HasField("order")
    allocation_id = fields.uuid("allocation_id", request.allocation_id)
    if by_order == bool(request.allocation_id):
        fields.wrong("allocation_id", "name either allocation_id or order")
    return allocation_id, fields.order_key("order", request.order) if by_order else None


def _update_time(
    fields: Fields, request: allocation_pb.AllocateOrderRequest | allocation_pb.CancelOrderLinesRequest
) -> datetime | None:
    if not request.HasField(UPDATE_TIME):
        return None
    return fields.past_moment(UPDATE_TIME, request.channel_update_time)


def _line_cancellations(
    fields: Fields, field: str, entries: Sequence[allocation_pb.LineCancellation]
) -> tuple[Cancellation, ...]:
    cancellations: list[Cancellation] = []
    used: set[tuple[str, str]] = set()
    if fields.size(field, entries, 1, limits.CANCELLATIONS):
        for index, entry in enumerate(entries):
            at = f"{field}[{index}]"
            item_id = fields.text(f"{at}.item_id", entry.item_id, longest=limits.SOLD_SKU_LENGTH)
            fields.text(
                f"{at}.line_id", entry.line_id, longest=limits.COMPONENT_LINE_ID_LENGTH, required=item_id is None
            )
            fields.whole_number(f"{at}.unit_count", entry.unit_count, 1, limits.LINE_UNITS)
            shipment_id = fields.uuid(f"{at}.shipment_id", entry.shipment_id)
            line = entry.line_id or f"of item {item_id}"
            if (line, entry.shipment_id) in used:
                where = " for the same shipment" if entry.shipment_id else ""
                fields.wrong(f"{at}.line_id", f"line '{line}' is given twice{where}; give it once")
            used.add((line, entry.shipment_id))
            cancellations.append(Cancellation(entry.line_id, entry.unit_count, shipment_id, item_id))
    return tuple(cancellations)


def allocation_request_ids(allocation_id: str, request_id: str) -> tuple[UUID, UUID | None]:
    """The allocation id and the request id of a request to confirm or release. Raises InvalidFields."""
    fields = Fields()
    allocation = fields.uuid("allocation_id", allocation_id, required=True)
    request = fields.uuid("request_id", request_id)
    fields.finish()
    assert allocation is not None
    return allocation, request


def batch_requests(request: allocation_pb.BatchAllocateOrdersRequest) -> Sequence[allocation_pb.AllocateOrderRequest]:
    """The orders of a batch, not yet checked one by one. Raises InvalidFields if the batch itself is wrong."""
    fields = Fields()
    if fields.size("requests", request.requests, 1, limits.BATCHED_ORDERS):
        for index in [index for index, entry in enumerate(request.requests) if entry.validate_only]:
            fields.wrong(f"requests[{index}].validate_only", "must not be set; preview an order with AllocateOrder")
    fields.finish()
    return request.requests


def extend_request(request: allocation_pb.ExtendHoldRequest) -> tuple[UUID, timedelta, UUID | None]:
    """The allocation id, how long from now its hold expires, and the request id. Raises InvalidFields."""
    fields = Fields()
    allocation_id = fields.uuid("allocation_id", request.allocation_id, required=True)
    request_id = fields.uuid("request_id", request.request_id)
    duration = _hold_duration(fields, request) or limits.HOLD_DEFAULT
    fields.finish()
    assert allocation_id is not None
    return allocation_id, duration, request_id


def release_hold_request(request: allocation_pb.ReleaseOrderHoldRequest) -> ReleaseHoldRequest:
    """Raises InvalidFields with everything that is wrong."""
    fields = Fields()
    allocation_id, key = allocation_or_order(fields, request)
    actor = fields.text("actor", request.actor, longest=limits.ID_LENGTH)
    request_id = fields.uuid("request_id", request.request_id)
    fields.finish()
    return ReleaseHoldRequest(allocation_id, key, actor, request_id)


def forget_request(request: allocation_pb.ForgetOrderRequest) -> ForgetRequest:
    """Raises InvalidFields with everything that is wrong."""
    fields = Fields()
    allocation_id, key = allocation_or_order(fields, request)
    actor = fields.text("actor", request.actor, longest=limits.ID_LENGTH, required=True) or ""
    request_id = fields.uuid("request_id", request.request_id)
    fields.finish()
    return ForgetRequest(allocation_id, key, actor, request_id)


def order_method(fields: Fields, method: int) -> str:
    """The fulfillment method, as rules name it."""
    if method not in _METHODS:
        fields.wrong("method", f"{method} is not a FulfillmentMethod")
    return _METHODS.get(method, "ship")  # type: ignore[call-overload,no-any-return]


def order_destination(fields: Fields, destination: order_pb2.Destination) -> Destination:
    """The destination of a request that has one.

    Its coordinates are rounded in the message as well, which is stored with the request's id.
    """
    return Destination(
        country=fields.country("destination.country", destination.country),
        region=fields.text("destination.region", destination.region, longest=limits.REGION_LENGTH),
        postal_code=fields.text("destination.postal_code", destination.postal_code, longest=limits.POSTAL_CODE_LENGTH),
        coordinates=_rounded_coordinates(fields, destination) if destination.HasField("coordinates") else None,
    )


def _rounded_coordinates(fields: Fields, destination: order_pb2.Destination) -> Coordinates | None:
    stated = fields.coordinates("destination.coordinates", destination.coordinates)
    if stated is None:
        return None
    rounded = as_destination(stated)
    destination.coordinates.latitude, destination.coordinates.longitude = rounded.latitude, rounded.longitude
    return rounded


def _hold_duration(
    fields: Fields, request: allocation_pb.AllocateOrderRequest | allocation_pb.ExtendHoldRequest
) -> timedelta | None:
    """How long a hold lasts; None if not stated. `check_hold_duration` checks it against what its channel allows."""
    if not request.HasField("hold_duration"):
        return None
    seconds = request.hold_duration.seconds + request.hold_duration.nanos / 1e9
    shortest, longest = limits.HOLD_SHORTEST.total_seconds(), limits.UNPAID_ORDER_LONGEST.total_seconds()
    if not shortest <= seconds <= longest:
        allowed = f"{shortest:g} s to {longest_hold(None).total_seconds():g} s (4 hours)"
        fields.wrong("hold_duration", f"is {seconds:g} s; it must be {allowed}")
        return None
    return timedelta(seconds=seconds)


def longest_hold(channel: Channel | None) -> timedelta:
    """How long a hold of a channel may last."""
    unpaid = channel.unpaid_order_duration if channel else None
    return max(limits.HOLD_LONGEST, unpaid or limits.HOLD_LONGEST)


def check_hold_duration(duration: timedelta | None, channel: Channel) -> list[Violation]:
    """The violation of a hold that is to last longer than its channel allows, if it does."""
    longest = longest_hold(channel)
    if duration is None or duration <= longest:
        return []
    seconds = longest.total_seconds()
    allowed = f"holds of channel '{channel.id}' last at most {seconds:g} s ({seconds / 3600:g} hours)"
    advice = "state its unpaid_order_duration if it lets orders be paid later"
    problem = f"is {duration.total_seconds():g} s; {allowed}; {advice}"
    return [Violation("hold_duration", problem)]


def _stated_hold(fields: Fields, hold: order_pb2.OrderHold) -> StatedHold:
    reason = fields.text("hold.reason", hold.reason, longest=limits.HOLD_REASON_LENGTH, required=True) or ""
    if not hold.HasField("until"):
        return StatedHold(reason, None)
    until = fields.moment("hold.until", hold.until, given=True)
    if until is not None and until > datetime.now(UTC) + limits.ORDER_HOLD_LONGEST:
        days = limits.ORDER_HOLD_LONGEST.days
        fields.wrong("hold.until", f"is more than {days} days ahead; leave it out if nobody knows how long it lasts")
    return StatedHold(reason, until)
