"""Adds shortages to an order and applies the exception rules to them: backorder, cancel, or ask a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from policies.decisions.shortages import NO_CAPACITY
from policies.domain.model import Commitment, Context, Order, OrderFacts
from policies.stock.oversell import UNMAPPED, UNMAPPED_OUTLET
from service.allocation.intake.ordered_kits import kit_skus
from service.allocation.planning_context import ChannelContext
from service.orders import order_exceptions
from service.orders.allocation_record import AllocationRecord, ShortageRecord
from service.orders.order_exceptions import OrderException
from service.orders.short_wholes import ShortPart, Whole, short_parts

WAITING_CAUSES = (UNMAPPED, UNMAPPED_OUTLET)
"""Causes of shortages of units that wait for something to be added to the catalog."""
_BACKORDERING = ("backorder", "hold")
"""Actions under which short units wait for stock; under `hold` the exception also stays open for a person.

Units at locations that are full wait under any action but `cancel`: the stock is there, and places become free.
"""
_RESOLUTIONS = {"backorder": "backordered", "cancel": "cancelled"}
"""The resolution of a shortage that a policy resolves alone, by the action of its rule."""


@dataclass(slots=True, unsafe_hash=True)
class ShortageExceptions:
    """The exceptions of some shortages, and how many units the exception rules cancelled."""

    exceptions: Final[tuple[OrderException, ...]]
    cancelled: Final[int] = 0


def add_shortages(
    channel_context: ChannelContext, now: datetime, record: AllocationRecord, shortages: Sequence[ShortageRecord]
) -> ShortageExceptions:
    """Adds short units to a record as the exception rules say: on backorder, cancelled, or left to a person.

    A HOLD raises no exceptions, because nothing of it is sold.
    """
    if record.commitment is Commitment.HOLD:
        for short in shortages:
            record.add_shortage(short)
        return ShortageExceptions(())
    # Units of a SKU that is not in the catalog wait for the product: whether it has stock is not known yet.
    # So do units of an order that waits for an outlet.
    for short in [shortage for shortage in shortages if shortage.cause in WAITING_CAUSES]:
        record.add_shortage(replace(short, backordered=True))
    shortages = [shortage for shortage in shortages if shortage.cause not in WAITING_CAUSES]
    if not shortages:
        return ShortageExceptions(())
    context = exception_context(channel_context, now, record.order(Commitment.SOLD))
    raised: list[OrderException] = []
    cancelled = 0
    parts = short_parts(record, shortages)
    waiting = dict(parts.waiting)
    for exception, causes in order_exceptions.of_shortages(
        channel_context.policy_set, context, parts.missing, channel_context.products, kit_skus(record)
    ):
        action = exception.handling.action
        short_units = [*(part.short for part in causes), *_taken(waiting, causes)]
        line_ids = tuple(dict.fromkeys(short.line_id for short in short_units))
        raised.append(replace(exception, line_ids=line_ids, resolution=_RESOLUTIONS.get(action)))
        for short in short_units:
            waits = action in _BACKORDERING or (action != "cancel" and short.cause == NO_CAPACITY)
            record.add_shortage(replace(short, backordered=waits))
        if action == "cancel":
            cancelled += _cancel_short_units(record, short_units)
    return ShortageExceptions(mark_needs_person(record, raised), cancelled)


def _taken(waiting: dict[Whole, Sequence[ShortageRecord]], causes: Iterable[ShortPart]) -> list[ShortageRecord]:
    """The units that wait for these ones; what happens to a part of a kit or an item happens to all of it."""
    wholes = dict.fromkeys(part.whole for part in causes if part.whole is not None)
    return [short for whole in wholes for short in waiting.pop(whole, ())]


def _cancel_short_units(record: AllocationRecord, shortages: Iterable[ShortageRecord]) -> int:
    """Cancels short units; returns how many. The lines keep their count of oversold units."""
    units = 0
    for short in shortages:
        record.reduce_shortages(short.line_id, short.unit_count, backordered=False)
        record.line(short.line_id).cancelled += short.unit_count
        units += short.unit_count
    record.cancel_if_empty()
    return units


def exception_context(channel_context: ChannelContext, now: datetime, order: Order) -> Context:
    """The facts about an order for exception rules. Only a pickup order has a location."""
    return Context(
        now,
        channel_context.channel,
        OrderFacts.of(order, channel_context.products),
        order.destination,
        location=channel_context.locations.get(order.pickup_location_id or ""),
    )


def mark_needs_person(record: AllocationRecord, exceptions: Iterable[OrderException]) -> tuple[OrderException, ...]:
    """Marks the order if one of the exceptions needs a person; returns the exceptions."""
    raised = tuple(exceptions)
    record.needs_person = record.needs_person or any(exception.needs_person for exception in raised)
    return raised
