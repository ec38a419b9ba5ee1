"""Converts records of orders, shipments and timeline events to API messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from google.type.date_pb2 import Date

from policies.domain.handling_times import HandlingTime
from policies.domain.model import SHIP, TRANSFER, Commitment, Outcome
from policies.domain.order_status import LineFigures, OrderFigures, OrderStatus, status_of
from policies.domain.placement import ANYWHERE
from policies.domain.shipments import OPEN, ShipmentState
from service.background import let_others_run
from service.decisions.date_messages import date_message, set_date, step_message
from service.decisions.decision_messages import COMMITMENTS
from service.decisions.located_destination import destination_point
from service.decisions.placement_messages import set_placement
from service.orders.allocation_record import (
    EXPIRED,
    PROMISING,
    REFUSED,
    AllocationRecord,
    LineRecord,
    ShipmentRecord,
    ShortageRecord,
)
from service.orders.cancellations.cancellation_request import CancellationRequest, shown
from service.orders.order_requests import CANCELLATION_FAULTS
from service.orders.parcels import parcel_message
from service.rpc.proto_values import timestamp
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    order_pb2,
    shipment_pb2,
)

OUTCOMES = {
    Outcome.ALLOCATED: order_pb2.OUTCOME_ALLOCATED,
    Outcome.PARTLY_ALLOCATED: order_pb2.OUTCOME_PARTLY_ALLOCATED,
    Outcome.BACKORDERED: order_pb2.OUTCOME_BACKORDERED,
    Outcome.NEEDS_REVIEW: order_pb2.OUTCOME_NEEDS_REVIEW,
    Outcome.UNFILLABLE: order_pb2.OUTCOME_UNFILLABLE,
    Outcome.ENDED: order_pb2.OUTCOME_ENDED,
}
_STATES = {
    "refused": allocation_pb.Allocation.STATE_REFUSED,
    "held": allocation_pb.Allocation.STATE_HELD,
    "confirmed": allocation_pb.Allocation.STATE_CONFIRMED,
    "released": allocation_pb.Allocation.STATE_RELEASED,
    "expired": allocation_pb.Allocation.STATE_EXPIRED,
    "cancelled": allocation_pb.Allocation.STATE_CANCELLED,
}
SHIPMENT_STATES = {
    "assigned": shipment_pb2.Shipment.STATE_ASSIGNED,
    "cancelled": shipment_pb2.Shipment.STATE_CANCELLED,
    "accepted": shipment_pb2.Shipment.STATE_ACCEPTED,
    "rejected": shipment_pb2.Shipment.STATE_REJECTED,
    "shipped": shipment_pb2.Shipment.STATE_SHIPPED,
    "delivered": shipment_pb2.Shipment.STATE_DELIVERED,
    "ready_for_pickup": shipment_pb2.Shipment.STATE_READY_FOR_PICKUP,
    "collected": shipment_pb2.Shipment.STATE_COLLECTED,
    "uncollected": shipment_pb2.Shipment.STATE_UNCOLLECTED,
}
STATUSES = {status: order_pb2.OrderStatus.Value(f"ORDER_STATUS_{status.name}") for status in OrderStatus}
FAULTS = {word: number for number, word in CANCELLATION_FAULTS.items()}
"""The fault of a cancellation in the API; None is not stated."""
_ARRIVED = (ShipmentState.DELIVERED, ShipmentState.COLLECTED)
_STARTED = (ShipmentState.ACCEPTED, ShipmentState.READY_FOR_PICKUP)
_SHORTAGE_KINDS = {
    "oversell": allocation_pb.Shortage.KIND_OVERSELL,
    "unfillable": allocation_pb.Shortage.KIND_UNFILLABLE,
    "held_by_buffer": allocation_pb.Shortage.KIND_HELD_BY_BUFFER,
    "blocked_by_rule": allocation_pb.Shortage.KIND_BLOCKED_BY_RULE,
}


def allocation(record: AllocationRecord, now: datetime, *, change_refused: bool = False) -> allocation_pb.Allocation:
    """An allocation as of `now`; a hold that has expired or was released has no shipments."""
    state = record.state_at(now)
    promising = state in PROMISING
    lines = [_line(record, line, promising=promising) for line in record.lines]
    request = shown(record.cancellation_requests) if record.cancellation_requests else None
    return allocation_pb.Allocation(
        allocation_id=str(record.id),
        channel_id=record.channel_id,
        order_id=record.order_id,
        state=_STATES[state],
        outcome=OUTCOMES[record.outcome_at(now)],
        commitment=COMMITMENTS[record.commitment],
        lines=lines,
        shipments=_shipments(record) if promising or record.commitment is Commitment.SOLD else [],
        shortages=_shortages(record) if state != EXPIRED else [],
        create_time=timestamp(record.create_time),
        update_time=timestamp(record.update_time),
        expire_time=timestamp(record.expire_time),
        decision=record.decision,
        needs_person=record.needs_person,
        change_refused=change_refused,
        version=record.version,
        copies=[order_pb2.OrderReference(channel_id=c, order_id=o) for c, o in record.copies],
        channel_update_time=timestamp(record.channel_update_time),
        channel_status=record.channel_status or "",
        status=STATUSES[status_of(_order_figures(record, state, lines))],
        hold=_hold(record),
        ship_by_time=timestamp(record.ship_by_time),
        outlet_id=record.outlet.id if record.outlet else "",
        cancellation_request=cancellation_request(request) if request else None,
        deliver_date=_delivery_date(record) if promising else None,
        deliver_by=None if record.deliver_by is None else date_message(record.deliver_by),
        destination_point=destination_point(record.destination),
    )


def _delivery_date(record: AllocationRecord) -> Date | None:
    """The last delivery day of the order's units; None if one of them is unknown, or units are short."""
    days = [shipment.deliver_date for shipment in record.shipments if shipment.units or shipment.shipped]
    known = [day for day in days if day is not None]
    if not known or len(known) < len(days) or record.shortages or record.active_hold is not None:
        return None
    return date_message(max(known))


def cancellation_requests(record: AllocationRecord) -> list[allocation_pb.CancellationRequest]:
    """All shoppers' requests to cancel of an order, oldest first."""
    return [cancellation_request(request) for request in record.cancellation_requests]


def cancellation_request(request: CancellationRequest) -> allocation_pb.CancellationRequest:
    """A shopper's request to cancel."""
    return allocation_pb.CancellationRequest(
        event_id=request.event_id,
        state=allocation_pb.CancellationRequest.State.Value(f"STATE_{request.state.upper()}"),
        whole_order=not request.lines,
        lines=[
            allocation_pb.LineCancellation(line_id=x.line_id, unit_count=x.unit_count, item_id=x.item_id)
            for x in request.lines
        ],
        unit_count=request.unit_count,
        cancelled_count=request.cancelled,
        fault=FAULTS[request.cause.fault],
        reason=request.cause.reason or "",
        deadline=timestamp(request.deadline),
        create_time=timestamp(request.create_time),
        answer_time=timestamp(request.answer_time),
        answered_by=request.answered_by,
        answer_reason=request.answer_reason,
        exception_id=str(request.exception_id or ""),
    )


def _hold(record: AllocationRecord) -> order_pb2.OrderHold | None:
    hold = record.active_hold
    if hold is None:
        return None
    return order_pb2.OrderHold(reason=hold.reason, until=timestamp(hold.until), place_time=timestamp(hold.place_time))


def _order_figures(record: AllocationRecord, state: str, lines: Sequence[allocation_pb.AllocatedLine]) -> OrderFigures:
    """The figures from which the status of an order is derived."""
    return OrderFigures(
        state=state,
        lines=tuple(
            LineFigures(
                unit_count=line.unit_count,
                promised=line.promised_count,
                shipped=line.shipped_count,
                returned=line.returned_count,
                short=line.short_count,
                backordered=line.backordered_count,
                cancelled=line.cancelled_count,
            )
            for line in lines
        ),
        deliveries=tuple(x.state in _ARRIVED for x in record.shipments if x.shipped),
        is_started=any(x.units and x.state in _STARTED for x in record.shipments),
        in_review=record.outcome is Outcome.NEEDS_REVIEW,
        on_hold=record.active_hold is not None,
    )


def _line(record: AllocationRecord, line: LineRecord, *, promising: bool) -> allocation_pb.AllocatedLine:
    let_others_run()
    promised = record.promised_of_line(line.line_id) if promising else 0
    message = allocation_pb.AllocatedLine(
        line_id=line.line_id,
        sku=line.sku,
        unit_count=line.unit_count,
        promised_count=promised,
        cancelled_count=line.cancelled,
        outcome=OUTCOMES[line_outcome(record, line, promised, promising=promising)],
        excess_count=line.excess,
    )
    if any(shipment.shipped for shipment in record.shipments):
        message.shipped_count = record.shipped_of_line(line.line_id)
        message.returned_count = record.returned_of_line(line.line_id)
        message.refunded_count = record.refunded_of_line(line.line_id)
    if promising and record.shortages:
        message.short_count = record.short_of_line(line.line_id, backordered=False)
        message.backordered_count = record.short_of_line(line.line_id, backordered=True)
    if line.item is not None:
        message.item_id, message.item_count = line.item.item_id, line.item.count
    if line.stated_placement is not ANYWHERE:
        set_placement(message, line.stated_placement)
    if line.kit is not None:
        message.kit_line_id, message.kit_sku, message.units_per_kit = (
            line.kit.line_id,
            line.kit.sku,
            line.kit.unit_count,
        )
    return message


def line_outcome(record: AllocationRecord, line: LineRecord, promised: int, *, promising: bool) -> Outcome:
    """The outcome of one line, of which `promised` units are promised; `promising` says whether its order promises."""
    promised += record.shipped_of_line(line.line_id)
    has_ended = not line.uncancelled or (not promising and record.state != REFUSED)
    if has_ended and not promised:
        return Outcome.ENDED
    if promised >= line.uncancelled:
        needs_review = record.outcome is Outcome.NEEDS_REVIEW and line.uncancelled > 0
        return Outcome.NEEDS_REVIEW if needs_review else Outcome.ALLOCATED
    if promised:
        return Outcome.PARTLY_ALLOCATED
    if record.short_of_line(line.line_id, backordered=True) == line.uncancelled:
        return Outcome.BACKORDERED
    return Outcome.NEEDS_REVIEW if record.commitment is Commitment.SOLD else Outcome.UNFILLABLE


def _shipments(record: AllocationRecord) -> list[shipment_pb2.Shipment]:
    skus = {line.line_id: line.sku for line in record.lines}
    order, on_hold = (record.channel_id, record.order_id), record.active_hold is not None
    channel_time, store_id = record.ship_by_time, record.pickup_location_id
    return [
        shipment(x, skus, record.id, order, on_hold=on_hold, channel_ship_by_time=channel_time, store_id=store_id)
        for x in record.shipments
    ]


def shipment(
    record: ShipmentRecord,
    skus: Mapping[str, str],
    allocation_id: UUID,
    order: tuple[str, str],
    *,
    on_hold: bool = False,
    channel_ship_by_time: datetime | None = None,
    store_id: str | None = None,
) -> shipment_pb2.Shipment:
    """A shipment of an order, which is its (channel id, order id). `skus` are by line, in the order of the lines.

    `on_hold` is of the order; it concerns shipments with units that have not shipped. `store_id` is where the shopper
    collects the order.
    """
    waits, line_ids = on_hold and record.state in OPEN, {*record.line_ids}
    message = shipment_pb2.Shipment(
        shipment_id=str(record.id),
        location_id=record.location_id,
        state=shipment_pb2.Shipment.STATE_ON_HOLD if waits else SHIPMENT_STATES[record.state],
        distance_km=record.distance_km,
        lines=[_shipment_line(record, line_id, sku) for line_id, sku in skus.items() if line_id in line_ids],
        allocation_id=str(allocation_id),
        channel_id=order[0],
        order_id=order[1],
        assign_time=timestamp(record.assign_time),
        ship_by_time=None if waits else timestamp(record.ship_by_time),
        channel_ship_by_time=timestamp(channel_ship_by_time),
        deliver_by_time=None if waits else timestamp(record.deliver_by_time),
    )
    if record.accept_time or record.ship_time or record.deliver_time or record.end_time or record.reject_reason:
        _set_progress(message, record)
    if record.parcels:
        message.parcels.extend(parcel_message(parcel) for parcel in record.parcels)
    if record.method is not None:
        message.transfer_to_location_id = (store_id or "") if record.method == TRANSFER else ""
        message.ship_to_shopper = record.method == SHIP
    if not waits:
        _set_dates(message, record)
    if record.handling is not None and record.handled_count:
        _set_handling(message, record.handling)
    return message


def _shipment_line(record: ShipmentRecord, line_id: str, sku: str) -> shipment_pb2.ShipmentLine:
    line = shipment_pb2.ShipmentLine(line_id=line_id, sku=sku, unit_count=record.units.get(line_id, 0))
    if record.shipped:
        line.shipped_count = record.shipped.get(line_id, 0)
        line.returned_count = record.returned.get(line_id, 0)
        line.refunded_count = record.refunded.get(line_id, 0)
    return line


def _set_progress(message: shipment_pb2.Shipment, record: ShipmentRecord) -> None:
    """When the shipment was worked on, and why it was not shipped."""
    for name in ("accept_time", "ship_time", "deliver_time", "end_time"):
        moment = getattr(record, name)
        if moment is not None:
            getattr(message, name).CopyFrom(timestamp(moment))
    message.reject_reason = record.reject_reason or ""


def _set_dates(message: shipment_pb2.Shipment, record: ShipmentRecord) -> None:
    """The day on which the shipment should arrive, and why it neither leaves nor arrives sooner."""
    if record.deliver_date is not None:
        set_date(message.deliver_date, record.deliver_date)
    if record.date_steps:
        message.date_steps.extend(step_message(step) for step in record.date_steps)


def _shortages(record: AllocationRecord) -> list[allocation_pb.Shortage]:
    """Shortages in the order of the lines, then by kind and cause, so that equal orders give equal messages."""
    positions = {line.line_id: position for position, line in enumerate(record.lines)}
    shortages = sorted(record.shortages, key=lambda x: (positions.get(x.line_id, 0), x.kind, x.cause, x.backordered))
    lines = {line.line_id: line for line in record.lines}
    return [_shortage(short, lines.get(short.line_id)) for short in shortages]


def _shortage(short: ShortageRecord, line: LineRecord | None) -> allocation_pb.Shortage:
    message = allocation_pb.Shortage(
        line_id=short.line_id,
        sku=short.sku,
        unit_count=short.unit_count,
        kind=_SHORTAGE_KINDS[short.kind],
        cause=short.cause,
        backordered=short.backordered,
        rules=short.rules,
    )
    if line is not None and line.item is not None:
        message.item_id, message.item_count = line.item.item_id, line.item.items(short.unit_count)
    if line is not None and line.kit is not None:
        message.kit_line_id, message.kit_sku = line.kit.line_id, line.kit.sku
    return message


def timeline_event(row: asyncpg.Record) -> allocation_pb.TimelineEvent:
    """A row of `order_event` as a message."""
    return allocation_pb.TimelineEvent(
        event_time=timestamp(row["event_time"]),
        event=row["event"],
        description=row["description"],
        policy_revision=row["policy_revision"],
        decision_id=str(row["decision_id"] or ""),
        cancelled_count=row["cancelled"] or 0,
        fault=FAULTS[row["fault"]],
        cancel_reason=row["cancel_reason"] or "",
        principal=row["principal"] or "",
    )


def _set_handling(message: shipment_pb2.Shipment, handling: HandlingTime) -> None:
    """The day, and the hour, of whose capacity the shipment takes."""
    set_date(message.handling_date, handling.day)
    if handling.hour is not None:
        message.handling_hour = handling.hour
