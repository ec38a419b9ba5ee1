"""The outlet that a channel has chosen for an order: its locations are looked up once, when the order is taken.

What changes later about the outlet changes no order that promises units. An outlet that the channel does not have has
no locations for the order: its units wait until there is such an outlet, as those of an unknown SKU wait for a product.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from service.allocation.planning_context import ChannelContext, PlanningContext
from service.orders.allocation_record import PROMISING, AllocationRecord
from service.orders.order_requests import OrderRequest


def with_outlet(
    request: OrderRequest, record: AllocationRecord, context: PlanningContext, now: datetime
) -> OrderRequest:
    """The request with the locations of its outlet: those that the record has already, else those of the catalog."""
    outlet, kept = request.order.outlet, record.outlet
    if outlet is None:
        return request
    if kept is None or kept.id != outlet.id or not kept.is_known or record.state_at(now) not in PROMISING:
        kept = context.catalog.outlet(request.order.channel_id, outlet.id)
    return replace(request, order=replace(request.order, outlet=kept)) if kept is not None else request


def find_outlet(record: AllocationRecord, channel_context: ChannelContext) -> None:
    """Gives an order that waits for an outlet the locations of that outlet, if its channel has it by now."""
    if record.outlet is None or record.outlet.is_known:
        return
    for outlet in channel_context.outlets:
        if outlet.id == record.outlet.id:
            record.outlet = outlet
