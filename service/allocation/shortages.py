"""What becomes of units that are short: what the exception rules say is done at once, where policy alone can do it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from policies.domain.model import Commitment, Context, Order, OrderFacts
from policies.stock.oversell import UNMAPPED
from service.allocation.planning_context import ChannelContext
from service.orders import order_exceptions
from service.orders.allocation_record import AllocationRecord, ShortageRecord
from service.orders.order_exceptions import OrderException

_BACKORDERING = ("backorder", "hold")
"""Actions under which units get stock when it comes; `hold` keeps somebody looking after them meanwhile."""
_RESOLUTIONS = {"backorder": "backordered", "cancel": "cancelled"}
"""How policy alone settles a shortage, by the action of its rule."""


@dataclass(frozen=True, slots=True)
class ShortageExceptions:
    """The exceptions of some shortages, and how many units policy took off the order."""

    exceptions: tuple[OrderException, ...]
    cancelled: int = 0


def add_shortages(
    channel_context: ChannelContext, now: datetime, record: AllocationRecord, shortages: Sequence[ShortageRecord]
) -> ShortageExceptions:
    """Adds units that are short to a record, as the exception rules say: waiting, taken off, or for somebody to settle.

    A HOLD makes no exceptions: nothing of it is sold.
    """
    if record.commitment is Commitment.HOLD:
        for short in shortages:
            record.add_shortage(short)
        return ShortageExceptions(())
    # What the catalogue does not have waits for the product: whether it is there is not known yet.
    for short in [one for one in shortages if one.cause == UNMAPPED]:
        record.add_shortage(replace(short, backordered=True))
    shortages = [one for one in shortages if one.cause != UNMAPPED]
    if not shortages:
        return ShortageExceptions(())
    context = exception_context(channel_context, now, record.order(Commitment.SOLD))
    raised: list[OrderException] = []
    cancelled = 0
    for exception, short_units in order_exceptions.of_shortages(
        channel_context.policy_set, context, shortages, channel_context.products
    ):
        action = exception.handling.action
        raised.append(replace(exception, resolution=_RESOLUTIONS.get(action)))
        for short in short_units:
            record.add_shortage(replace(short, backordered=action in _BACKORDERING))
        if action == "cancel":
            cancelled += _cancel_short_units(record, short_units)
    return ShortageExceptions(mark_needs_person(record, raised), cancelled)


def _cancel_short_units(record: AllocationRecord, shortages: Iterable[ShortageRecord]) -> int:
    """Cancels units that are short; returns how many. What was oversold stays noted on the lines."""
    units = 0
    for short in shortages:
        record.reduce_shortages(short.line_id, short.unit_count, backordered=False)
        record.line(short.line_id).cancelled += short.unit_count
        units += short.unit_count
    record.cancel_if_empty()
    return units


def exception_context(channel_context: ChannelContext, now: datetime, order: Order) -> Context:
    """What exception rules may know of an order. Only an order that is picked up is tied to a location."""
    return Context(
        now,
        channel_context.channel,
        OrderFacts.of(order),
        order.destination,
        location=channel_context.locations.get(order.pickup_location_id or ""),
    )


def mark_needs_person(record: AllocationRecord, found: Iterable[OrderException]) -> tuple[OrderException, ...]:
    """The exceptions, noted on the order where one of them needs a person."""
    raised = tuple(found)
    record.needs_person = record.needs_person or any(one.needs_person for one in raised)
    return raised
