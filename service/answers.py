"""Records and figures as the messages of the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import asyncpg
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from policies.model import Commitment, Outcome, StockLevel
from policies.order_status import LineFigures, OrderFigures, OrderStatus, status_of
from policies.reasons import Dropped, FiredRule, Sight
from policies.shipments import ShipmentState
from service.record import EXPIRED, PROMISING, AllocationRecord, LineRecord, ShipmentRecord, ShortageRecord
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    decision_pb2,
    exception_pb2,
    order_pb2,
    shipment_pb2,
    stock_service_pb2 as stock_pb,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

OUTCOMES = {
    Outcome.ALLOCATED: order_pb2.OUTCOME_ALLOCATED,
    Outcome.PARTLY_ALLOCATED: order_pb2.OUTCOME_PARTLY_ALLOCATED,
    Outcome.BACKORDERED: order_pb2.OUTCOME_BACKORDERED,
    Outcome.NEEDS_REVIEW: order_pb2.OUTCOME_NEEDS_REVIEW,
    Outcome.UNFILLABLE: order_pb2.OUTCOME_UNFILLABLE,
}
COMMITMENTS = {
    Commitment.HOLD: order_pb2.COMMITMENT_HOLD,
    Commitment.SOLD: order_pb2.COMMITMENT_SOLD,
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
EXCEPTION_STATES = {
    "open": exception_pb2.ExceptionRecord.STATE_OPEN,
    "resolved": exception_pb2.ExceptionRecord.STATE_RESOLVED,
    "superseded": exception_pb2.ExceptionRecord.STATE_SUPERSEDED,
}
RESOLUTIONS = {
    name.removeprefix("EXCEPTION_RESOLUTION_").lower(): number
    for name, number in exception_pb2.ExceptionResolution.items()
    if number
}
"""How exceptions are settled, by the words of the database."""
_STATUSES = {status: order_pb2.OrderStatus.Value(f"ORDER_STATUS_{status.name}") for status in OrderStatus}
_ARRIVED = (ShipmentState.DELIVERED, ShipmentState.COLLECTED)
_BEGUN = (ShipmentState.ACCEPTED, ShipmentState.READY_FOR_PICKUP)
_SHORTAGE_KINDS = {
    "oversell": allocation_pb.Shortage.KIND_OVERSELL,
    "unfillable": allocation_pb.Shortage.KIND_UNFILLABLE,
}


def allocation(record: AllocationRecord, now: datetime, *, change_refused: bool = False) -> allocation_pb.Allocation:
    """An allocation as it stands at `now`; what has expired or was given back has no shipments left."""
    state = record.state_at(now)
    promising = state in PROMISING
    return allocation_pb.Allocation(
        allocation_id=str(record.id),
        channel_id=record.channel_id,
        order_id=record.order_id,
        state=_STATES[state],
        outcome=OUTCOMES[record.outcome],
        commitment=COMMITMENTS[record.commitment],
        lines=[_line(record, line, promising=promising) for line in record.lines],
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
        status=_STATUSES[status_of(figures(record, now))],
    )


def figures(record: AllocationRecord, now: datetime) -> OrderFigures:
    """What the status of an order is derived from."""
    state = record.state_at(now)
    promising = state in PROMISING
    lines = [_line(record, line, promising=promising) for line in record.lines]
    names = ("promised", "shipped", "returned", "short", "backordered", "cancelled")
    return OrderFigures(
        state=state,
        lines=tuple(LineFigures(x.unit_count, **{name: getattr(x, f"{name}_count") for name in names}) for x in lines),
        arrived=tuple(made.state in _ARRIVED for made in record.shipments if made.shipped),
        begun=any(made.units and made.state in _BEGUN for made in record.shipments),
        in_review=record.outcome is Outcome.NEEDS_REVIEW,
    )


def _line(record: AllocationRecord, line: LineRecord, *, promising: bool) -> allocation_pb.AllocatedLine:
    promised = record.promised_of_line(line.line_id) if promising else 0
    short = record.short_of_line(line.line_id, backordered=False) if promising else 0
    return allocation_pb.AllocatedLine(
        line_id=line.line_id,
        sku=line.sku,
        unit_count=line.unit_count,
        promised_count=promised,
        short_count=short,
        cancelled_count=line.cancelled,
        outcome=OUTCOMES[line_outcome(record, line, promised)],
        shipped_count=record.shipped_of_line(line.line_id),
        returned_count=record.returned_of_line(line.line_id),
        backordered_count=record.short_of_line(line.line_id, backordered=True) if promising else 0,
    )


def line_outcome(record: AllocationRecord, line: LineRecord, promised: int) -> Outcome:
    """What one line came to, of which so many units are promised."""
    promised += record.shipped_of_line(line.line_id)
    if promised >= line.wanted:
        needs_review = record.outcome is Outcome.NEEDS_REVIEW and line.wanted > 0
        return Outcome.NEEDS_REVIEW if needs_review else Outcome.ALLOCATED
    if promised:
        return Outcome.PARTLY_ALLOCATED
    if record.short_of_line(line.line_id, backordered=True) == line.wanted:
        return Outcome.BACKORDERED
    return Outcome.NEEDS_REVIEW if record.commitment is Commitment.SOLD else Outcome.UNFILLABLE


def _shipments(record: AllocationRecord) -> list[shipment_pb2.Shipment]:
    skus = {line.line_id: line.sku for line in record.lines}
    return [shipment(made, skus, record.id, (record.channel_id, record.order_id)) for made in record.shipments]


def shipment(
    made: ShipmentRecord, skus: Mapping[str, str], allocation_id: UUID, order: tuple[str, str]
) -> shipment_pb2.Shipment:
    """A shipment of an order, which is its (channel id, order id). `skus` are by line, in the order of the lines."""
    return shipment_pb2.Shipment(
        shipment_id=str(made.id),
        location_id=made.location_id,
        state=SHIPMENT_STATES[made.state],
        distance_km=made.distance_km,
        lines=[
            shipment_pb2.ShipmentLine(
                line_id=line_id,
                sku=sku,
                unit_count=made.units.get(line_id, 0),
                shipped_count=made.shipped.get(line_id, 0),
                returned_count=made.returned.get(line_id, 0),
            )
            for line_id, sku in skus.items()
            if line_id in made.line_ids
        ],
        allocation_id=str(allocation_id),
        channel_id=order[0],
        order_id=order[1],
        assign_time=timestamp(made.assign_time),
        accept_time=timestamp(made.accept_time),
        ship_time=timestamp(made.ship_time),
        deliver_time=timestamp(made.deliver_time),
        end_time=timestamp(made.end_time),
        reject_reason=made.reject_reason or "",
        ship_by_time=timestamp(made.ship_by_time),
    )


def _shortages(record: AllocationRecord) -> list[allocation_pb.Shortage]:
    """Shortages in the order of the lines, then by kind and cause: the same whoever tells of them."""
    places = {line.line_id: place for place, line in enumerate(record.lines)}
    found = sorted(record.shortages, key=lambda x: (places.get(x.line_id, 0), x.kind, x.cause, x.backordered))
    return [_shortage(short) for short in found]


def _shortage(short: ShortageRecord) -> allocation_pb.Shortage:
    return allocation_pb.Shortage(
        line_id=short.line_id,
        sku=short.sku,
        unit_count=short.unit_count,
        kind=_SHORTAGE_KINDS[short.kind],
        cause=short.cause,
        backordered=short.backordered,
    )


def fired_rule(fired: FiredRule) -> decision_pb2.FiredRule:
    """A rule that bore on an answer."""
    return decision_pb2.FiredRule(
        rule=fired.name,
        source=str(fired.source),
        location_id=fired.location_id or "",
        sku=fired.sku or "",
        effect=fired.effect,
        facts=_seen(fired.sight),
    )


def dropped_candidate(dropped: Dropped) -> decision_pb2.DroppedCandidate:
    """A location that was not used, and why."""
    return decision_pb2.DroppedCandidate(
        location_id=dropped.location_id,
        sku=dropped.sku or "",
        reason=dropped.reason,
        rule=dropped.rule or "",
        source=str(dropped.source) if dropped.source else "",
        facts=_seen(dropped.sight),
    )


def _seen(sight: Sight | None) -> list[decision_pb2.FactSeen]:
    facts = sight.facts() if sight else ()
    return [decision_pb2.FactSeen(fact=fact, value=value) for fact, value in facts]


def timeline_event(row: asyncpg.Record) -> allocation_pb.TimelineEvent:
    """A row of `order_event`."""
    return allocation_pb.TimelineEvent(
        event_time=timestamp(row["event_time"]),
        event=row["event"],
        description=row["description"],
        policy_revision=row["policy_revision"],
        decision_id=str(row["decision_id"] or ""),
    )


def exception_record(row: asyncpg.Record) -> exception_pb2.ExceptionRecord:
    """A row of `exception_record`."""
    return exception_pb2.ExceptionRecord(
        exception_id=str(row["id"]),
        kind=row["kind"],
        owner=row["owner"],
        action=row["action"],
        due_time=timestamp(row["due_time"]),
        escalate_to=row["escalate_to"] or "",
        rule=row["rule"],
        description=row["description"],
        state=EXCEPTION_STATES[row["state"]],
        allocation_id=str(row["allocation_id"] or ""),
        shipment_id=str(row["shipment_id"] or ""),
        channel_id=row["channel_id"] or "",
        order_id=row["order_id"] or "",
        sku=row["sku"] or "",
        location_id=row["location_id"] or "",
        source=row["source"] or "",
        assignee=row["assignee"] or "",
        needs_person=row["needs_person"],
        create_time=timestamp(row["create_time"]),
        update_time=timestamp(row["update_time"]),
        escalate_time=timestamp(row["escalate_time"]),
        resolve_time=timestamp(row["resolve_time"]),
        resolution=RESOLUTIONS.get(row["resolution"], exception_pb2.EXCEPTION_RESOLUTION_UNSPECIFIED),
        resolved_by=row["resolved_by"] or "",
        note=row["note"] or "",
        policy_revision=row["policy_revision"],
        repeat_count=row["repeat_count"],
    )


def exception_event(row: asyncpg.Record) -> exception_pb2.ExceptionEvent:
    """A row of `exception_event`."""
    return exception_pb2.ExceptionEvent(
        event_time=timestamp(row["event_time"]),
        event=row["event"],
        actor=row["actor"],
        description=row["description"],
    )


def stock_level(
    row: asyncpg.Record,
    level: StockLevel,
    unavailable: Sequence[stock_pb.UnavailableUnits] = (),
    incoming: Sequence[stock_pb.IncomingUnits] = (),
) -> stock_pb.StockLevel:
    """A stock level, the row that it was read from, and what is not sellable or on its way there."""
    return stock_pb.StockLevel(
        sku=level.sku,
        location_id=level.location_id,
        on_hand_count=level.on_hand,
        unavailable_count=level.unavailable,
        held_count=level.held,
        allocated_count=level.allocated,
        available_count=level.available,
        figure_time=timestamp(level.figure_time),
        counted_time=timestamp(level.counted_time),
        heard_time=timestamp(row["heard_time"]),
        source=level.source or "",
        count_confidence=row["count_confidence"],
        physical_count_time=timestamp(row["physical_count_time"]),
        unavailable=unavailable,
        incoming=incoming,
        untracked=not row["tracked"],
        version=row["version"],
    )


def timestamp(moment: datetime | None) -> Timestamp | None:
    """A moment as the API sends it; unset where there is none."""
    if moment is None:
        return None
    # Timestamp.FromDatetime goes by the calendar, which is most of the time that an answer's moments take.
    since = moment - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)


def money(amount: Decimal | None, currency: str | None) -> Money | None:
    """An amount as the API sends it; unset where there is none."""
    if amount is None or currency is None:
        return None
    units = int(amount)
    return Money(currency_code=currency, units=units, nanos=int((amount - units) * 10**9))
