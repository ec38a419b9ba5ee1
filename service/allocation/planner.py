"""Plans one order: asks `policies` for a decision, and applies it to the order's record and the stock book."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from policies.decisions.cancellations import CancelledUnits
from policies.decisions.decision import Decision, PlannedShipment
from policies.decisions.eligibility import WholeOrder
from policies.decisions.promise import (
    Promise,
    PromiseState,
    PromiseTransition,
    keeps_current_hold,
    promise_transition,
    same_contents,
)
from policies.decisions.routing import route
from policies.decisions.shortages import Shortage, ShortageKind
from policies.decisions.unmet_demand import unmet_units
from policies.domain.model import WITHHELD_KINDS, Channel, Commitment, Order, OrderFacts, Outcome, World
from policies.domain.shipments import OPEN, ShipmentState
from policies.explanation import unit_count_text
from policies.stock.oversell import UNMAPPED, UNMAPPED_OUTLET
from service.allocation.handling_renewal import renew_handling
from service.allocation.planning_context import ChannelContext
from service.allocation.replanning.line_groups import held_to_their_locations
from service.allocation.replanning.promise_check import unusable_shipments
from service.allocation.replanning.shortages import add_shortages, exception_context, mark_needs_person
from service.allocation.shipment_dates import ShipmentDates, renew_dates
from service.background import let_others_run, pause_of_turn
from service.capacity import order_uses
from service.decisions.decision_log import DecisionInputs, capture
from service.decisions.decision_messages import decision_message
from service.demand.hold_demand import UnmetHold
from service.errors import InvalidFields, Violation
from service.orders import order_exceptions
from service.orders.allocation_record import (
    CONFIRMED,
    HELD,
    OVERSELL,
    PROMISING,
    REFUSED,
    AllocationRecord,
    ShipmentRecord,
    ShortageRecord,
)
from service.orders.order_exceptions import OrderException
from service.stock.stock_book import Book, LineUnits

_STATES = {
    "refused": PromiseState.NONE,
    "held": PromiseState.HELD,
    "confirmed": PromiseState.CONFIRMED,
    "released": PromiseState.RELEASED,
    "expired": PromiseState.EXPIRED,
    "cancelled": PromiseState.RELEASED,
}


@dataclass(slots=True, unsafe_hash=True)
class AllocationChange:
    """What changed about an order, and why. `event` is empty if nothing changed.

    `decision` is the routing decision, if there was one; `partial` means that it covers only some units of the order.
    `cancelled` are units that a rule cancelled; `cancelled_by_channel` are those that the channel cancelled of contents
    that were planned together with it. `rerouted` are units that moved to another location because of `cause`.
    """

    record: Final[AllocationRecord]
    event: Final[str] = ""
    description: Final[str] = ""
    change_refused: Final[bool] = False
    decision: Final[Decision | None] = None
    inputs: Final[DecisionInputs | None] = None
    """The inputs of the decision."""
    exceptions: Final[tuple[OrderException, ...]] = field(default=())
    """Exceptions that are raised, including those that a policy resolves at once."""
    partial: Final[bool] = False
    channel: Final[Channel | None] = None
    """The order's channel, if units were planned."""
    oversold: Final[tuple[ShortageRecord, ...]] = ()
    """Units that were sold and are not available, including those that a policy cancels at once."""
    withheld: Final[tuple[ShortageRecord, ...]] = ()
    """Units that were sold and are available, but that a buffer or a block keeps, like `oversold`."""
    cancelled: Final[int] = 0
    cancelled_by_channel: Final[int] = 0
    cancellation: Final[CancelledUnits | None] = None
    """Units that this change cancelled, with their cause; None if it cancelled none, or if a rule did."""
    rerouted: Final[int] = 0
    cause: Final[str] = ""
    intervention: Final[str] = ""
    """Why a person acted on the order, if one did."""
    unmet: Final[UnmetHold | None] = None
    """What a HOLD wanted and did not get, if anything."""


def decide(
    channel_context: ChannelContext, book: Book, record: AllocationRecord, order: Order, hold_duration: timedelta
) -> AllocationChange:
    """Plans the order, confirms its hold or keeps its promise, and changes the book and its locked record to match.

    Raises InvalidFields if a line with shipped units would get another SKU.
    """
    if _repeats_cancelled_order(record, order):
        return AllocationChange(record)
    promise = promise_of(record, book)
    transition = promise_transition(promise, order)
    if transition is PromiseTransition.KEEP:
        return AllocationChange(record)
    if transition is PromiseTransition.CONVERT and may_confirm(channel_context, book, record):
        record.replace_contents(order)
        renew_dates(channel_context, record, book.now)
        return with_review(channel_context, book, confirm(book, record))
    _check_shipped_skus(record, order)
    unshipped = record.unshipped_order(order)
    if _is_already_planned(record, unshipped):
        return AllocationChange(record)
    if unshipped is None:
        return _everything_shipped(book, record, order)
    world = World(
        *(book.now, channel_context.locations, channel_context.products, book.levels, pause_of_turn()),
        capacity=order_uses.figures_without(book.capacity, record),
    )
    rejected_by = record.rejected_by()
    # Rules see the facts of the whole order, shipped units included.
    whole = None if unshipped is order else WholeOrder(OrderFacts.of(order, channel_context.products))
    if whole is not None:
        unshipped = held_to_their_locations(_shipped_part(record), unshipped, order.lines)
    inputs = capture(world, channel_context.channel, unshipped, promise.own_units, rejected_by=rejected_by, whole=whole)
    decision = route(
        channel_context.policy_set,
        world,
        channel_context.channel,
        unshipped,
        promise.own_units,
        rejected_by=rejected_by,
        whole=whole,
    )
    if keeps_current_hold(promise, unshipped, decision):
        kept = {line.line_id: record.promised_of_line(line.line_id) for line in record.lines}
        return AllocationChange(
            record, change_refused=True, unmet=_unmet_hold(channel_context, record, order, decision, kept)
        )
    change = _replan(
        channel_context, book, record, order, decision=decision, inputs=inputs, hold_duration=hold_duration
    )
    if not decision.shortages or order.commitment is Commitment.SOLD:
        return change
    return replace(change, unmet=_unmet_hold(channel_context, record, order, decision))


def may_confirm(channel_context: ChannelContext, book: Book, record: AllocationRecord) -> bool:
    """Whether the order may keep its locations, and those handle it in time if the day planned for it has passed."""
    if unusable_shipments(channel_context, record):
        return False
    return renew_handling(channel_context, book, record)


def _unmet_hold(
    channel_context: ChannelContext,
    record: AllocationRecord,
    order: Order,
    decision: Decision,
    kept: Mapping[str, int] | None = None,
) -> UnmetHold:
    """What a HOLD wanted and did not get. `kept`, by line id, is what it keeps instead of its new contents."""
    return UnmetHold(
        allocation_id=record.id,
        channel_id=record.channel_id,
        order_id=record.order_id,
        method=order.method,
        policy_revision=channel_context.policy_set.revision,
        units=unmet_units(order, decision.shortages, kept),
        is_refused=kept is not None or not decision.plan,
    )


def _shipped_part(record: AllocationRecord) -> AllocationRecord:
    """The order with the units that have shipped and none that are promised."""
    return replace(record, shipments=[replace(shipment, units={}) for shipment in record.shipments])


def _repeats_cancelled_order(record: AllocationRecord, order: Order) -> bool:
    """Whether the channel sends a sold order as it was before cancellations: cancelled units then stay cancelled."""
    was_cancelled = any(line.cancelled for line in record.lines)
    return record.commitment is Commitment.SOLD and was_cancelled and same_contents(record.order_as_stated(), order)


def _check_shipped_skus(record: AllocationRecord, order: Order) -> None:
    violations = [
        Violation(f"lines[{index}].sku", f"line '{line_id}' has shipped as '{sku}'; use a new line_id")
        for index, (line_id, sku) in record.shipped_as_other_sku(order).items()
    ]
    if violations:
        raise InvalidFields(violations)


def _is_already_planned(record: AllocationRecord, unshipped: Order | None) -> bool:
    """Whether the unshipped units of a partly shipped order have these contents already."""
    if not any(shipment.shipped for shipment in record.shipments):
        return False
    planned = record.unshipped_order(record.order(Commitment.SOLD))
    return unshipped is planned if unshipped is None or planned is None else same_contents(planned, unshipped)


def _everything_shipped(book: Book, record: AllocationRecord, order: Order) -> AllocationChange:
    """All units of the new contents have shipped: promises beyond them are released."""
    release_promises(book, record)
    record.replace_contents(order)
    record.state, record.expire_time = CONFIRMED, None
    record.outcome = Outcome.ALLOCATED
    return AllocationChange(record, "changed", "All units of the changed order have shipped already.")


def promise_of(record: AllocationRecord, book: Book) -> Promise:
    """The stored promise for `policies`, with its state by the clock."""
    state = _STATES[record.state_at(book.now)]
    has_units = any(line.uncancelled for line in record.lines)
    short: dict[str, int] = {}
    for shortage in record.shortages:
        short[shortage.line_id] = short.get(shortage.line_id, 0) + shortage.unit_count
    return Promise(state, record.order(record.commitment) if has_units else None, record.promised(), short)


def confirm(book: Book, record: AllocationRecord) -> AllocationChange:
    """Confirms a live hold as sold: the same units stay promised at the same locations. See `with_review`."""
    for shipment in record.shipments:
        for line_id, units in shipment.units.items():
            book.confirm(record.line_units(shipment, line_id, units))
    record.state, record.commitment, record.expire_time = CONFIRMED, Commitment.SOLD, None
    return AllocationChange(record, "confirmed", "The hold was confirmed: the order is paid.")


def with_review(channel_context: ChannelContext, book: Book, change: AllocationChange) -> AllocationChange:
    """Adds a review exception to a confirmation whose plan needs review; returns other changes as they are."""
    record = change.record
    if not change.event or record.outcome is not Outcome.NEEDS_REVIEW:
        return change
    context = exception_context(channel_context, book.now, record.order(Commitment.SOLD))
    review = order_exceptions.of_review(channel_context.policy_set, context, "the plan needs review")
    return replace(change, exceptions=mark_needs_person(record, [review]))


def release_promises(book: Book, record: AllocationRecord) -> None:
    """Releases the promised units of an order from the book; those of an expired hold are released already.

    Shipped units stay. The cancelled shipments of a sold order stay as history.
    """
    if record.state_at(book.now) in PROMISING:
        for shipment in record.shipments:
            for line_id, units in shipment.units.items():
                book.release(record.line_units(shipment, line_id, units), was_held=record.state == HELD)
    for shipment in record.shipments:
        shipment.units = {}
        shipment.update_state(book.now, ended=ShipmentState.CANCELLED)
    was_sold = record.commitment is Commitment.SOLD
    record.shipments = [x for x in record.shipments if was_sold or x.state is not ShipmentState.CANCELLED]
    record.shortages = []


def _replan(
    channel_context: ChannelContext,
    book: Book,
    record: AllocationRecord,
    order: Order,
    *,
    decision: Decision,
    inputs: DecisionInputs,
    hold_duration: timedelta,
) -> AllocationChange:
    state_before = record.state_at(book.now)
    old_shipments = [replace(shipment, units=dict(shipment.units)) for shipment in record.shipments]
    if old_shipments or record.shortages:
        release_promises(book, record)
    record.replace_contents(order)
    record.state = _state_after(order, decision, record)
    record.expire_time = book.now + hold_duration if record.state == HELD else None
    shortages = [shortage_of(channel_context, order, shortage) for shortage in decision.shortages]
    has_shipped = any(shipment.shipped for shipment in record.shipments)
    promise_units(channel_context, book, record, decision, old_shipments, order=None if has_shipped else order)
    added = add_shortages(channel_context, book.now, record, shortages)
    record.outcome = outcome_of(record, in_review=bool(decision.reviews))
    event, description = _event_and_description(state_before, record)
    explain(channel_context, book, record, decision)
    reviews = reviews_of(channel_context, book, record, order, decision)
    return AllocationChange(
        record,
        event,
        description,
        decision=decision,
        inputs=inputs,
        exceptions=(*added.exceptions, *mark_needs_person(record, reviews)),
        channel=channel_context.channel,
        oversold=oversold_of(shortages),
        withheld=withheld_of(shortages),
        cancelled=added.cancelled,
    )


def _state_after(order: Order, decision: Decision, record: AllocationRecord) -> str:
    if order.commitment is Commitment.SOLD or any(shipment.shipped for shipment in record.shipments):
        return CONFIRMED
    return HELD if decision.plan else REFUSED


def promise_units(
    channel_context: ChannelContext,
    book: Book,
    record: AllocationRecord,
    decision: Decision,
    old_shipments: list[ShipmentRecord] | None = None,
    *,
    order: Order | None = None,
) -> None:
    """Promises the planned units. A planned shipment that equals one of the old shipments continues as that one.

    `order` has the contents of the record, where they are at hand.
    """
    if not decision.plan:
        return
    promise = book.hold if record.state == HELD else book.allocate
    dates = ShipmentDates(channel_context, record, book.now, order)
    for planned in decision.plan:
        # Before the list is looked up for `append`, because `_shipment` replaces it when an old shipment continues.
        shipment = _shipment(channel_context, book, record, planned, old_shipments or [], dates=dates)
        record.shipments.append(shipment)
        for line in planned.lines:
            let_others_run()
            promise(LineUnits(record.id, line.line_id, (line.sku, planned.location_id), line.unit_count))


def _shipment(
    channel_context: ChannelContext,
    book: Book,
    record: AllocationRecord,
    planned: PlannedShipment,
    old_shipments: list[ShipmentRecord],
    *,
    dates: ShipmentDates,
) -> ShipmentRecord:
    units = {line.line_id: line.unit_count for line in planned.lines}
    for old in old_shipments:
        is_unchanged = old.state in OPEN and not old.shipped and not old.rejected
        same_way = (old.location_id, old.method, old.units) == (planned.location_id, planned.method, units)
        if is_unchanged and same_way:
            old_shipments.remove(old)
            record.shipments = [shipment for shipment in record.shipments if shipment.id != old.id]
            if old.handling != planned.handling:
                old.promise_dates(dates.at(planned.location_id, planned.handling.day if planned.handling else None))
            return replace(
                old,
                distance_km=planned.distance_km,
                catalog_version=channel_context.catalog_version,
                is_outdated=False,
                handling=planned.handling,
            )
    shipment = ShipmentRecord(
        id=book.new_id(),
        location_id=planned.location_id,
        distance_km=planned.distance_km,
        state=ShipmentState.ASSIGNED,
        units=units,
        method=planned.method,
        assign_time=book.now,
        catalog_version=channel_context.catalog_version,
        handling=planned.handling,
    )
    handled_on = planned.handling.day if planned.handling else None
    shipment.promise_dates(dates.at(planned.location_id, handled_on, planned.method))
    return shipment


def shortage_of(channel_context: ChannelContext, order: Order, short: Shortage) -> ShortageRecord:
    """A shortage of a decision as a record. `oversell_evidence` finds the cause of an oversell that has none here."""
    is_sold = order.commitment is Commitment.SOLD
    cause, kind = short.cause, short.kind
    if order.outlet is not None and not order.outlet.is_known:
        # What an unknown outlet has is not known either.
        cause, kind = UNMAPPED_OUTLET, ShortageKind.UNFILLABLE
    if not is_sold:
        # Nothing of a HOLD is oversold or withheld: what it does not get is unmet demand.
        return ShortageRecord(short.line_id, short.sku, short.unit_count, ShortageKind.UNFILLABLE.value, cause)
    if short.kind.value in WITHHELD_KINDS:
        cause, kind = short.kind.value, short.kind
    elif short.sku not in channel_context.products:
        cause, kind = UNMAPPED, short.kind
    return ShortageRecord(short.line_id, short.sku, short.unit_count, kind.value, cause, rules=short.rules)


def oversold_of(shortages: Sequence[ShortageRecord]) -> tuple[ShortageRecord, ...]:
    """The shortages that are oversells."""
    return tuple(short for short in shortages if short.kind == OVERSELL)


def withheld_of(shortages: Sequence[ShortageRecord]) -> tuple[ShortageRecord, ...]:
    """The shortages of units that a buffer or a block keeps."""
    return tuple(short for short in shortages if short.kind in WITHHELD_KINDS)


def outcome_of(record: AllocationRecord, *, in_review: bool) -> Outcome:
    """The outcome of an order by its promised, shipped, backordered and short units."""
    has_plan = _has_plan(record)
    if in_review and has_plan:
        return Outcome.NEEDS_REVIEW
    if not record.shortages:
        return Outcome.ALLOCATED
    if has_plan:
        return Outcome.PARTLY_ALLOCATED
    if all(short.backordered for short in record.shortages):
        return Outcome.BACKORDERED
    # A sold order without promised units waits for a person, unless an exception rule resolved its shortage.
    return Outcome.NEEDS_REVIEW if record.commitment is Commitment.SOLD else Outcome.UNFILLABLE


def is_in_review(record: AllocationRecord) -> bool:
    """Whether a person has yet to approve the plan of an order; an order without a plan is short, not in review."""
    return record.outcome is Outcome.NEEDS_REVIEW and _has_plan(record)


def _has_plan(record: AllocationRecord) -> bool:
    return any(shipment.units or shipment.shipped for shipment in record.shipments)


def reviews_of(
    channel_context: ChannelContext, book: Book, record: AllocationRecord, order: Order, decision: Decision
) -> list[OrderException]:
    """The review exceptions of a plan; a hold, which is not paid, needs no review."""
    if record.commitment is Commitment.HOLD or not decision.reviews:
        return []
    context = exception_context(channel_context, book.now, order)
    return order_exceptions.of_reviews(channel_context.policy_set, context, decision.reviews)


def _event_and_description(state_before: str, record: AllocationRecord) -> tuple[str, str]:
    """The timeline event of a plan, and its sentence."""
    promised = sum(record.promised().values())
    location_ids = [shipment.location_id for shipment in record.shipments if shipment.units]
    sources = f" from {', '.join(location_ids)}" if location_ids else ""
    planned = "Replanned" if state_before in (*PROMISING, "expired") else "Planned"
    backordered = sum(short.unit_count for short in record.shortages if short.backordered)
    short_count = record.short_count() - backordered
    shortages = f"; {unit_count_text(short_count)} short" if short_count else ""
    shortages += f"; {unit_count_text(backordered)} on backorder" if backordered else ""
    sentence = f"{planned}: {unit_count_text(promised)}{sources}{shortages}."
    event = {HELD: "held", CONFIRMED: "confirmed" if state_before in (HELD, "expired") else "sold", REFUSED: "refused"}
    return event.get(record.state, record.state), sentence


def explain(channel_context: ChannelContext, book: Book, record: AllocationRecord, decision: Decision) -> None:
    """Sets the record's decision to this one, with its explanation, under a new id."""
    record.decision_id = book.new_id()
    record.decision = decision_message(decision, channel_context.policy_set.revision, record.decision_id, book.now)
