"""Replans some units of an order: those that a location rejected or no longer has, and backorders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from policies.decisions.decision import Decision
from policies.decisions.eligibility import WholeOrder, may_split
from policies.decisions.routing import route
from policies.decisions.shortages import ShortageKind
from policies.domain.model import Order, OrderFacts, World
from policies.domain.shipments import ShipmentState
from policies.explanation import unit_count_text
from policies.stock.oversell import EVENTS
from service.allocation.intake.outlet_choice import find_outlet
from service.allocation.planner import (
    AllocationChange,
    explain,
    is_in_review,
    outcome_of,
    oversold_of,
    promise_units,
    reviews_of,
    shortage_of,
    withheld_of,
)
from service.allocation.planning_context import ChannelContext
from service.allocation.replanning.line_groups import held_to_their_locations, short_with
from service.allocation.replanning.shortages import add_shortages, mark_needs_person
from service.background import pause_of_turn
from service.capacity import order_uses
from service.decisions.decision_log import DecisionInputs, capture
from service.orders.allocation_record import HELD, REFUSED, AllocationRecord, ShipmentRecord, ShortageRecord
from service.orders.order_exceptions import OrderException
from service.stock.stock_book import Book


def replan_units(
    channel_context: ChannelContext,
    book: Book,
    record: AllocationRecord,
    units: Mapping[str, int],
    *,
    cause: str,
    avoid: frozenset[str] = frozenset(),
) -> AllocationChange:
    """Plans units, by line, for other locations, after they were released from their shipments.

    Locations that rejected one of the lines are excluded for its product, and so are those to `avoid`. Units that no
    other location can supply are short: of a sold order they are oversold, because of `cause` if it lost them, and the
    exception rules apply to them; a hold is reduced.
    """
    in_review = is_in_review(record)
    order = _suborder(record, units)
    decision, inputs = _decide(channel_context, book, record, order, record.shortages, avoid=avoid)
    shortages = [_with_cause(shortage_of(channel_context, order, x), cause) for x in decision.shortages]
    promise_units(channel_context, book, record, decision)
    added = add_shortages(channel_context, book.now, record, shortages)
    reviews = reviews_of(channel_context, book, record, order, decision)
    record.outcome = outcome_of(record, in_review=in_review or bool(reviews))
    if record.state == HELD and not record.promised():
        record.state, record.expire_time = REFUSED, None
    explain(channel_context, book, record, decision)
    rerouted = sum(decision.units.values())
    return AllocationChange(
        record,
        "rerouted" if rerouted else "not_rerouted",
        _sentence(record, decision, sum(units.values()), cause),
        decision=decision,
        inputs=inputs,
        exceptions=(*added.exceptions, *mark_needs_person(record, reviews)),
        partial=True,
        channel=channel_context.channel,
        oversold=oversold_of(shortages),
        withheld=withheld_of(shortages),
        cancelled=added.cancelled,
        rerouted=rerouted,
        cause=cause,
    )


def move_units(
    channel_context: ChannelContext, book: Book, record: AllocationRecord, shipment: ShipmentRecord, *, cause: str
) -> AllocationChange | None:
    """Moves those units of a shipment of a sold order that other locations can supply; the others stay promised in it.

    None if no other location can supply any of them, or if only some could move and the policy does not allow the order
    one more shipment for that.
    """
    in_review = is_in_review(record)
    order, units = _suborder(record, shipment.units), shipment.units
    # Units that are planned are not among those that the order keeps.
    shipment.units = {}
    avoid = frozenset({shipment.location_id})
    decision, inputs = _decide(channel_context, book, record, order, record.shortages, avoid=avoid)
    shipment.units = units
    if not decision.plan or (decision.shortages and not _may_ship_from_more(record, decision)):
        return None
    requested = sum(units.values())
    for line in [line for planned in decision.plan for line in planned.lines]:
        line_units = record.line_units(shipment, line.line_id, line.unit_count)
        book.release(line_units, was_held=False, reason=cause)
        shipment.remove_units(line.line_id, line.unit_count, book.now, ended=ShipmentState.CANCELLED)
    raised = _promise(channel_context, book, record, order, decision, in_review=in_review)
    location_ids = ", ".join(planned.location_id for planned in decision.plan)
    rerouted = sum(decision.units.values())
    remaining = f"; {unit_count_text(requested - rerouted)} not moved" if requested > rerouted else ""
    moved = f"{unit_count_text(rerouted)} from {shipment.location_id} to {location_ids}"
    return AllocationChange(
        record,
        "rerouted",
        f"Rerouted {moved} ({cause.replace('_', ' ')}){remaining}.",
        decision=decision,
        inputs=inputs,
        exceptions=raised,
        partial=True,
        rerouted=rerouted,
        cause=cause,
    )


def fill_backorders(channel_context: ChannelContext, book: Book, record: AllocationRecord) -> AllocationChange | None:
    """Promises stock to the backordered units of an order; None if it has none, or there is no stock for them yet.

    Units that must ship with them and are short, but not on backorder, are promised with them.
    """
    find_outlet(record, channel_context)
    waiting = short_with(record, [shortage for shortage in record.shortages if shortage.backordered])
    units: dict[str, int] = {}
    for shortage in waiting:
        units[shortage.line_id] = units.get(shortage.line_id, 0) + shortage.unit_count
    if not units:
        return None
    return _fill(channel_context, book, record, units, [x for x in record.shortages if x not in waiting])


def _fill(
    channel_context: ChannelContext,
    book: Book,
    record: AllocationRecord,
    units: Mapping[str, int],
    other_shortages: Sequence[ShortageRecord],
) -> AllocationChange | None:
    order = _suborder(record, units)
    decision, inputs = _decide(channel_context, book, record, order, other_shortages)
    if not decision.plan:
        return None
    in_review = is_in_review(record)
    for planned in decision.plan:
        for line in planned.lines:
            waiting = min(line.unit_count, record.short_of_line(line.line_id, backordered=True))
            record.reduce_shortages(line.line_id, waiting, backordered=True)
            record.reduce_shortages(line.line_id, line.unit_count - waiting, backordered=False)
    raised = _promise(channel_context, book, record, order, decision, in_review=in_review)
    location_ids = ", ".join(planned.location_id for planned in decision.plan)
    sentence = f"Backorder filled: {unit_count_text(sum(decision.units.values()))} from {location_ids}."
    return AllocationChange(
        record, "backorder_filled", sentence, decision=decision, inputs=inputs, exceptions=raised, partial=True
    )


def _promise(
    channel_context: ChannelContext,
    book: Book,
    record: AllocationRecord,
    order: Order,
    decision: Decision,
    *,
    in_review: bool,
) -> tuple[OrderException, ...]:
    """Promises the planned units of a suborder; returns the reviews. `in_review` says whether the order was in one."""
    promise_units(channel_context, book, record, decision)
    reviews = reviews_of(channel_context, book, record, order, decision)
    record.outcome = outcome_of(record, in_review=in_review or bool(reviews))
    explain(channel_context, book, record, decision)
    return mark_needs_person(record, reviews)


def _suborder(record: AllocationRecord, units: Mapping[str, int]) -> Order:
    lines = tuple(line.ordered(units[line.line_id]) for line in record.lines if units.get(line.line_id))
    return record.order_of(lines, record.commitment)


def _decide(
    channel_context: ChannelContext,
    book: Book,
    record: AllocationRecord,
    order: Order,
    other_shortages: Sequence[ShortageRecord],
    *,
    avoid: frozenset[str] = frozenset(),
) -> tuple[Decision, DecisionInputs]:
    """Plans some units of the record's order, the rest of which keeps its promises and its `other_shortages`."""
    world = World(
        *(book.now, channel_context.locations, channel_context.products, book.levels, pause_of_turn()),
        capacity=book.capacity.figures_for(record.id, order_uses.taking(record)),
    )
    order = held_to_their_locations(record, order, record.order(record.commitment).lines)
    avoided = frozenset((line.sku, location_id) for line in order.lines for location_id in avoid)
    rejected_by = avoided | record.rejected_by()
    facts = OrderFacts.of(record.order(record.commitment), channel_context.products)
    whole = WholeOrder(facts, record.promised(), has_other_shortages=bool(other_shortages))
    inputs = capture(world, channel_context.channel, order, rejected_by=rejected_by, whole=whole)
    decision = route(
        channel_context.policy_set, world, channel_context.channel, order, rejected_by=rejected_by, whole=whole
    )
    return decision, inputs


def _may_ship_from_more(record: AllocationRecord, decision: Decision) -> bool:
    """Whether the policy lets the order ship from the locations of the decision besides those where it has units."""
    policy = decision.policy
    limit = policy.max_shipments if may_split(policy, record.order(record.commitment).value) else 1
    locations = {shipment.location_id for shipment in record.shipments if shipment.units}
    return limit is None or len(locations | {planned.location_id for planned in decision.plan}) <= limit


def _with_cause(short: ShortageRecord, cause: str) -> ShortageRecord:
    """The shortage with the event that caused it; other reasons to plan units again lose none."""
    is_lost = short.kind == ShortageKind.OVERSELL.value and not short.cause and cause in EVENTS
    return replace(short, cause=cause) if is_lost else short


def _sentence(record: AllocationRecord, decision: Decision, requested: int, cause: str) -> str:
    rerouted = sum(decision.units.values())
    reason = cause.replace("_", " ")
    if not rerouted:
        return f"No other location can supply {unit_count_text(requested)} ({reason})."
    location_ids = ", ".join(planned.location_id for planned in decision.plan)
    short = f"; {unit_count_text(requested - rerouted)} short" if requested > rerouted else ""
    return f"Rerouted {unit_count_text(rerouted)} to {location_ids} ({reason}){short}."
