"""Requests about shipments, checked and turned into plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from google.protobuf.message import Message

from policies.domain.shipments import OPEN, ShipmentAction, ShipmentState
from service import limits
from service.orders import order_messages
from service.orders.order_filters import OrderFilter
from service.orders.parcels import ParcelRecord
from service.rpc.page_tokens import PageTokens
from service.rpc.validation import Fields
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    fulfillment_service_pb2 as fulfillment_pb,
    order_pb2,
    shipment_pb2,
)

REJECT_REASONS = {
    number: name.removeprefix("REJECT_REASON_").lower()
    for name, number in fulfillment_pb.RejectReason.items()
    if number
}
DISPOSITIONS = {
    number: name.removeprefix("RETURN_DISPOSITION_").lower()
    for name, number in fulfillment_pb.ReturnDisposition.items()
    if number
}
NOT_RETURNED = "not_returned"
_STATES = {number: ShipmentState(word) for word, number in order_messages.SHIPMENT_STATES.items()}
_LIST_ORDERS = (order_pb2.LIST_ORDER_OLDEST, order_pb2.LIST_ORDER_NEWEST, order_pb2.LIST_ORDER_DUE)


@dataclass(frozen=True, slots=True)
class ShipmentRequest:
    """An action on one shipment. `lines` are units by line, empty for all units that have not shipped.

    `event_id` is from the caller, empty if not given; `event_time` is None if the action happens now.
    """

    action: ShipmentAction
    shipment_id: UUID
    request_id: UUID | None
    lines: Mapping[str, int] = field(default_factory=dict)
    event_id: str = ""
    event_time: datetime | None = None
    reason: str = ""
    location_id: str = ""
    actor: str = ""
    parcels: Sequence[ParcelRecord] = ()


@dataclass(frozen=True, slots=True)
class ReturnRequest:
    """Units by line that were returned to a location, or refunded without a return.

    `items` are the channel's items that lines are named with; the units of those lines are items.
    """

    allocation_id: UUID
    request_id: UUID | None
    lines: Mapping[str, int]
    disposition: str
    location_id: str
    event_id: str
    event_time: datetime | None
    items: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShipmentsPage:
    """Which shipments to list; an empty filter matches everything.

    `orders` are filters by channel, SKU and order number; `assigned` is the start, included, and the end of a time.
    `order_by` is a ListOrder; `after` is the sort time and the id of the shipment before.
    """

    orders: OrderFilter
    location_ids: Sequence[str]
    states: Sequence[ShipmentState]
    assigned: tuple[datetime | None, datetime | None]
    order_by: int
    after: tuple[datetime, UUID] | None
    count: int
    tokens: PageTokens


def shipment_request(action: ShipmentAction, request: Any) -> ShipmentRequest:
    """A request about one shipment. Raises InvalidFields."""
    fields = Fields()
    shipment_id = fields.uuid("shipment_id", request.shipment_id, required=True)
    request_id = fields.uuid("request_id", request.request_id)
    field_names = {name.name for name in request.DESCRIPTOR.fields}
    lines = _lines(fields, request.lines, at_least=0) if "lines" in field_names else {}
    for index, line in enumerate(request.lines if "lines" in field_names else ()):
        if line.item_id:
            fields.wrong(f"lines[{index}].item_id", "applies only to returns; name units of the line instead")
    event_id = _event_id(fields, request) if "event_id" in field_names else ""
    event_time = _event_time(fields, request) if "event_time" in field_names else None
    reason = _reason(fields, request) if action is ShipmentAction.REJECT else ""
    parcels = _parcels(fields, request.parcels) if action is ShipmentAction.SHIP else ()
    fields.finish()
    assert shipment_id is not None
    return ShipmentRequest(action, shipment_id, request_id, lines, event_id, event_time, reason, parcels=parcels)


def reassignment_request(request: allocation_pb.ReassignShipmentRequest) -> ShipmentRequest:
    """Raises InvalidFields."""
    fields = Fields()
    shipment_id = fields.uuid("shipment_id", request.shipment_id, required=True)
    request_id = fields.uuid("request_id", request.request_id)
    location_id = fields.text("location_id", request.location_id, longest=limits.ID_LENGTH) or ""
    actor = fields.text("actor", request.actor, longest=limits.ID_LENGTH, required=True) or ""
    fields.finish()
    assert shipment_id is not None
    return ShipmentRequest(ShipmentAction.REASSIGN, shipment_id, request_id, location_id=location_id, actor=actor)


def return_request(request: fulfillment_pb.RecordReturnRequest) -> ReturnRequest:
    """Raises InvalidFields."""
    fields = Fields()
    allocation_id = fields.uuid("allocation_id", request.allocation_id, required=True)
    request_id = fields.uuid("request_id", request.request_id)
    lines = _lines(fields, request.lines, at_least=1)
    disposition = DISPOSITIONS.get(request.disposition, "")
    if not disposition:
        fields.wrong("disposition", "must be a ReturnDisposition, such as RETURN_DISPOSITION_SELLABLE")
    location_id = fields.text("location_id", request.location_id, longest=limits.ID_LENGTH) or ""
    if disposition and bool(location_id) == (disposition == NOT_RETURNED):
        problem = (
            "must be empty for units that were not returned"
            if location_id
            else "must name the location that has the units now"
        )
        fields.wrong("location_id", problem)
    event_id, event_time = _event_id(fields, request), _event_time(fields, request)
    fields.finish()
    assert allocation_id is not None
    items = {line.line_id: line.item_id for line in request.lines if line.item_id}
    return ReturnRequest(allocation_id, request_id, lines, disposition, location_id, event_id, event_time, items)


def _no_filter(state: int) -> str:
    """Why shipments are not listed by a state."""
    if state == shipment_pb2.Shipment.STATE_ON_HOLD:
        return "STATE_ON_HOLD is no filter: ListAllocations with on_hold_only lists the orders that are on hold"
    return f"{state} is not a Shipment.State to filter by"


def shipments_page(request: fulfillment_pb.ListShipmentsRequest) -> ShipmentsPage:
    """Raises InvalidFields."""
    fields = Fields()
    orders = OrderFilter(
        fields.texts("channel_ids", request.channel_ids, limits.CHANNEL_FILTER),
        fields.texts("skus", request.skus, limits.SKUS, longest=limits.SOLD_SKU_LENGTH),
        fields.order_number_part("order_id_part", request.order_id_part),
    )
    states = []
    if fields.size("states", request.states, 0, len(shipment_pb2.Shipment.State.values())):
        for index, state in enumerate(request.states):
            if state not in _STATES:
                fields.wrong(f"states[{index}]", _no_filter(state))
            elif request.order_by == order_pb2.LIST_ORDER_DUE and _STATES[state] not in OPEN:
                fields.wrong(f"states[{index}]", "must be open for LIST_ORDER_DUE: what has ended is due no more")
            else:
                states.append(_STATES[state])
    page = ShipmentsPage(
        orders=orders,
        location_ids=fields.texts("location_ids", request.location_ids, limits.LOCATION_FILTER),
        states=states,
        assigned=fields.time_range("assigned_from", "assigned_before", request),
        order_by=fields.list_order(request.order_by, _LIST_ORDERS),
        count=fields.page_size(request.page_size),
        tokens=(tokens := PageTokens(request)),
        after=tokens.time_and_id(fields),
    )
    fields.finish()
    return page


def _parcels(fields: Fields, parcels: Sequence[shipment_pb2.Parcel]) -> Sequence[ParcelRecord]:
    """The parcels of a request; the last one of each carrier and tracking number."""
    if not fields.size("parcels", parcels, 0, limits.SHIPMENT_PARCELS):
        return ()
    checked: dict[tuple[str, str], ParcelRecord] = {}
    for index, parcel in enumerate(parcels):
        at = f"parcels[{index}]"
        carrier = fields.text(f"{at}.carrier", parcel.carrier, longest=limits.CARRIER_LENGTH) or ""
        number = fields.text(
            f"{at}.tracking_number", parcel.tracking_number, longest=limits.TRACKING_NUMBER_LENGTH, required=True
        )
        units: dict[str, int] = {}
        if fields.size(f"{at}.lines", parcel.lines, 0, limits.ORDER_LINES):
            for place, line in enumerate(parcel.lines):
                field_name = f"{at}.lines[{place}]"
                fields.text(f"{field_name}.line_id", line.line_id, longest=limits.LINE_ID_LENGTH, required=True)
                fields.whole_number(f"{field_name}.unit_count", line.unit_count, 1, limits.COUNTED_UNITS)
                if line.line_id in units:
                    fields.wrong(f"{field_name}.line_id", f"line '{line.line_id}' appears twice in the parcel")
                units[line.line_id] = line.unit_count
        record = ParcelRecord(carrier, number or "", units)
        checked[record.key] = record
    if len(checked) > 1 and not all(record.units for record in checked.values()):
        fields.wrong("parcels", "must name the lines of each, because there are several")
    return tuple(checked.values())


def _lines(fields: Fields, lines: Sequence[fulfillment_pb.LineUnits], *, at_least: int) -> dict[str, int]:
    units: dict[str, int] = {}
    if fields.size("lines", lines, at_least, limits.ORDER_LINES):
        for index, line in enumerate(lines):
            at = f"lines[{index}]"
            line_id = (
                fields.text(f"{at}.line_id", line.line_id, longest=limits.COMPONENT_LINE_ID_LENGTH, required=True) or ""
            )
            fields.whole_number(f"{at}.unit_count", line.unit_count, 1, limits.LINE_UNITS)
            if line_id in units:
                fields.wrong(f"{at}.line_id", f"line '{line_id}' is given twice; give each line once")
            units[line_id] = line.unit_count
    return units


def _event_id(fields: Fields, request: Any) -> str:
    return fields.text("event_id", request.event_id, longest=limits.CHANGE_ID_LENGTH) or ""


def _event_time(fields: Fields, request: Message) -> datetime | None:
    if not request.HasField("event_time"):
        return None
    return fields.past_moment("event_time", request.event_time)  # type: ignore[attr-defined]


def _reason(fields: Fields, request: fulfillment_pb.RejectShipmentRequest) -> str:
    reason = REJECT_REASONS.get(request.reason, "")
    if not reason:
        fields.wrong("reason", "must be a RejectReason, such as REJECT_REASON_NOT_FOUND")
    return reason
