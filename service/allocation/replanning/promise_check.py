"""Whether an order may still use the locations of its shipments, after the catalog has changed."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from policies.decisions.eligibility import NO_PROMISED_UNITS, RoutingQuestion, reason_not_allowed
from policies.domain.model import World
from policies.domain.shipments import OPEN
from service.allocation.planning_context import ChannelContext
from service.allocation.shipment_dates import destination_of
from service.orders.allocation_record import AllocationRecord, ShipmentRecord


def unusable_shipments(channel_context: ChannelContext, record: AllocationRecord) -> dict[UUID, str]:
    """The order's outdated shipments at locations that it may no longer use, each with the reason.

    Asks the rules in force about the locations as they are now, at the time at which the units were promised: what
    depends on the hour, such as whether the location is open, does not move an order that was planned rightly.
    """
    reasons: dict[UUID, str] = {}
    for shipment in record.shipments:
        if shipment.is_outdated and shipment.units and shipment.state in OPEN:
            reason = _reason(channel_context, record, shipment)
            if reason is not None:
                reasons[shipment.id] = reason
    return reasons


def _reason(channel_context: ChannelContext, record: AllocationRecord, shipment: ShipmentRecord) -> str | None:
    moment = shipment.assign_time or record.update_time
    world = World(moment, channel_context.locations, channel_context.products)
    order = record.order(record.commitment)
    question = RoutingQuestion.of(world, channel_context.channel, order, NO_PROMISED_UNITS)
    if shipment.method is not None:
        destination = destination_of(record, shipment.method, channel_context.locations)
        question = replace(question, order=replace(question.order, method=shipment.method), destination=destination)
    return reason_not_allowed(channel_context.policy_set, question, shipment.location_id)
