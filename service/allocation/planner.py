"""What one order does to a book: asks `policies`, and turns the decision into promises and a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from policies.decisions.promise import (
    Promise,
    PromiseState,
    PromiseTransition,
    keeps_current_hold,
    promise_transition,
    same_contents,
)
from policies.decisions.routing import Decision, PlannedShipment, Shortage, ShortageKind, route
from policies.domain.calendars import ship_by
from policies.domain.model import Commitment, Order, Outcome, World
from policies.domain.shipments import OPEN, ShipmentState
from policies.explanation import unit_count_text
from policies.stock.oversell import UNMAPPED, oversell_cause
from service.allocation.planning_context import ChannelContext
from service.allocation.shortages import add_shortages, exception_context, mark_needs_person
from service.decisions.decision_log import DecisionInputs, capture
from service.decisions.decision_messages import decision_message
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


@dataclass(frozen=True, slots=True)
class AllocationChange:
    """What became of an order. `event` is empty where nothing changed; `decision` is there where one was made.

    `partial` tells that the decision is about some units of the order only. `cancelled` are units that policy took off,
    and `rerouted` units that were promised elsewhere than before, because of `cause`.
    """

    record: AllocationRecord
    event: str = ""
    description: str = ""
    change_refused: bool = False
    decision: Decision | None = None
    inputs: DecisionInputs | None = None
    """What the decision was made from."""
    exceptions: tuple[OrderException, ...] = field(default=())
    """What is to be settled, or was settled by policy at once."""
    partial: bool = False
    oversold: tuple[ShortageRecord, ...] = ()
    """What was found to be sold and not there, also where policy took it off at once."""
    cancelled: int = 0
    rerouted: int = 0
    cause: str = ""
    intervention: str = ""
    """Why a person acted on the order, where one did."""


def decide(
    channel_context: ChannelContext, book: Book, record: AllocationRecord, order: Order, hold_duration: timedelta
) -> AllocationChange:
    """Plans, converts or keeps; the book and the record are changed to match. `record` is the order's, locked.

    Raises InvalidFields where a line that has left in part would become another product's.
    """
    if _repeats_cancelled_order(record, order):
        return AllocationChange(record)
    promise = promise_of(record, book)
    what = promise_transition(promise, order)
    if what is PromiseTransition.KEEP:
        return AllocationChange(record)
    if what is PromiseTransition.CONVERT:
        record.replace_contents(order)
        return with_review(channel_context, book, confirm(book, record))
    _check_shipped_skus(record, order)
    left = record.unshipped_order(order)
    if _is_already_planned(record, left):
        return AllocationChange(record)
    if left is None:
        return _everything_shipped(book, record, order)
    world = World(book.now, channel_context.locations, channel_context.products, book.levels)
    rejected_by = record.rejected_by()
    caught = capture(world, channel_context.channel, left, promise.own_units, rejected_by)
    decision = route(
        channel_context.policy_set, world, channel_context.channel, left, promise.own_units, rejected_by=rejected_by
    )
    if keeps_current_hold(promise, left, decision):
        return AllocationChange(record, change_refused=True)
    verdict = _replan(channel_context, book, record, order, decision=decision, hold_duration=hold_duration)
    return replace(verdict, inputs=caught)


def _repeats_cancelled_order(record: AllocationRecord, order: Order) -> bool:
    """Whether the channel repeats what it sold before anything was cancelled: what is cancelled stays so."""
    was_cancelled = any(line.cancelled for line in record.lines)
    return record.commitment is Commitment.SOLD and was_cancelled and same_contents(record.order_as_stated(), order)


def _check_shipped_skus(record: AllocationRecord, order: Order) -> None:
    wrong = [
        Violation(f"lines[{place}].sku", f"line '{line_id}' has left as '{sku}'; use a new line_id")
        for place, (line_id, sku) in record.shipped_as_other_sku(order).items()
    ]
    if wrong:
        raise InvalidFields(wrong)


def _is_already_planned(record: AllocationRecord, left: Order | None) -> bool:
    """Whether an order of which units have left is planned just so: lines that have left may be named or not."""
    if not any(made.shipped for made in record.shipments):
        return False
    planned = record.unshipped_order(record.order(Commitment.SOLD))
    return left is planned if left is None or planned is None else same_contents(planned, left)


def _everything_shipped(book: Book, record: AllocationRecord, order: Order) -> AllocationChange:
    """Nothing of the new contents is left to plan: what was promised beyond them is given back."""
    release_promises(book, record)
    record.replace_contents(order)
    record.state, record.expire_time, record.update_time = CONFIRMED, None, book.now
    record.outcome = Outcome.ALLOCATED
    return AllocationChange(record, "changed", "Everything that the order asks for now has left already.")


def promise_of(record: AllocationRecord, book: Book) -> Promise:
    """The stored promise as `policies` sees it, its state by the clock."""
    state = _STATES[record.state_at(book.now)]
    wanted = any(line.uncancelled for line in record.lines)
    short: dict[str, int] = {}
    for shortage in record.shortages:
        short[shortage.line_id] = short.get(shortage.line_id, 0) + shortage.unit_count
    return Promise(state, record.order(record.commitment) if wanted else None, record.promised(), short)


def confirm(book: Book, record: AllocationRecord) -> AllocationChange:
    """Turns a live hold into a sale: the same units stay promised where they are. See `with_review`."""
    for shipment in record.shipments:
        for line_id, units in shipment.units.items():
            book.confirm(record.line_units(shipment, line_id, units))
    record.state, record.commitment, record.expire_time = CONFIRMED, Commitment.SOLD, None
    record.update_time = book.now
    return AllocationChange(record, "confirmed", "The hold was confirmed: the order is paid.")


def with_review(channel_context: ChannelContext, book: Book, verdict: AllocationChange) -> AllocationChange:
    """A hold that needs review is reviewed once it is sold; other verdicts stay as they are."""
    record = verdict.record
    if not verdict.event or record.outcome is not Outcome.NEEDS_REVIEW:
        return verdict
    context = exception_context(channel_context, book.now, record.order(Commitment.SOLD))
    due = order_exceptions.of_review(channel_context.policy_set, context, "the plan needs review")
    return replace(verdict, exceptions=mark_needs_person(record, [due]))


def release_promises(book: Book, record: AllocationRecord) -> None:
    """Takes a live promise off the book. One that has expired has been taken off already.

    What has left stays, and so do, as history, the shipments that a location was given of a sold order.
    """
    if record.state_at(book.now) in PROMISING:
        for shipment in record.shipments:
            for line_id, units in shipment.units.items():
                book.release(record.line_units(shipment, line_id, units), was_held=record.state == HELD)
    for shipment in record.shipments:
        shipment.units = {}
        shipment.update_state(book.now, ended=ShipmentState.CANCELLED)
    was_sold = record.commitment is Commitment.SOLD
    record.shipments = [made for made in record.shipments if was_sold or made.state is not ShipmentState.CANCELLED]
    record.shortages = []


def _replan(
    channel_context: ChannelContext,
    book: Book,
    record: AllocationRecord,
    order: Order,
    *,
    decision: Decision,
    hold_duration: timedelta,
) -> AllocationChange:
    before, old = record.state_at(book.now), [replace(made, units=dict(made.units)) for made in record.shipments]
    release_promises(book, record)
    record.replace_contents(order)
    record.update_time = book.now
    record.state = _state_after(order, decision, record)
    record.expire_time = book.now + hold_duration if record.state == HELD else None
    # Causes are found before this order's own units are taken: they did not race with themselves.
    short = [shortage_of(channel_context, book, order, one) for one in decision.shortages]
    promise_units(channel_context, book, record, decision, old)
    settled = add_shortages(channel_context, book.now, record, short)
    record.outcome = outcome_of(record, in_review=bool(decision.reviews))
    event, description = _event_and_description(before, record)
    explain(channel_context, book, record, decision)
    reviews = reviews_of(channel_context, book, record, order, decision)
    return AllocationChange(
        record,
        event,
        description,
        decision=decision,
        exceptions=(*settled.exceptions, *mark_needs_person(record, reviews)),
        oversold=oversold_of(short),
        cancelled=settled.cancelled,
    )


def _state_after(order: Order, decision: Decision, record: AllocationRecord) -> str:
    if order.commitment is Commitment.SOLD or any(made.shipped for made in record.shipments):
        return CONFIRMED
    return HELD if decision.plan else REFUSED


def promise_units(
    channel_context: ChannelContext,
    book: Book,
    record: AllocationRecord,
    decision: Decision,
    old: list[ShipmentRecord] | None = None,
) -> None:
    """Promises what was planned. A shipment that comes out as one of the `old` ones was goes on as that one."""
    take = book.hold if record.state == HELD else book.allocate
    for planned in decision.plan:
        made = _shipment(channel_context, book, record, planned, old or [])
        record.shipments.append(made)
        for line in planned.lines:
            take(LineUnits(record.id, line.line_id, (line.sku, planned.location_id), line.unit_count))


def _shipment(
    channel_context: ChannelContext,
    book: Book,
    record: AllocationRecord,
    planned: PlannedShipment,
    old: list[ShipmentRecord],
) -> ShipmentRecord:
    units = {line.line_id: line.unit_count for line in planned.lines}
    for same in old:
        is_same = same.state in OPEN and not same.shipped and not same.rejected
        if is_same and (same.location_id, same.units) == (planned.location_id, units):
            old.remove(same)
            record.shipments = [made for made in record.shipments if made.id != same.id]
            return replace(same, distance_km=planned.distance_km)
    return ShipmentRecord(
        id=book.new_id(),
        location_id=planned.location_id,
        distance_km=planned.distance_km,
        state=ShipmentState.ASSIGNED,
        units=units,
        assign_time=book.now,
        ship_by_time=ship_by(channel_context.locations[planned.location_id], book.now),
    )


def shortage_of(channel_context: ChannelContext, book: Book, order: Order, short: Shortage) -> ShortageRecord:
    """A shortage of a decision, with the cause where it is an oversell."""
    cause = ""
    if short.kind is ShortageKind.OVERSELL and order.commitment is Commitment.SOLD:
        may_sell_from = channel_context.channel.may_sell_from
        levels = [x for (sku, place), x in book.levels.items() if sku == short.sku and may_sell_from(place)]
        cause = oversell_cause(levels, short.unit_count, book.now)
        if short.sku not in channel_context.products:
            cause = UNMAPPED
    # A HOLD sold nothing, so nothing is oversold.
    kind = short.kind if order.commitment is Commitment.SOLD else ShortageKind.UNFILLABLE
    return ShortageRecord(short.line_id, short.sku, short.unit_count, kind.value, cause)


def oversold_of(shortages: Sequence[ShortageRecord]) -> tuple[ShortageRecord, ...]:
    """The shortages of units that are not there."""
    return tuple(short for short in shortages if short.kind == OVERSELL)


def outcome_of(record: AllocationRecord, *, in_review: bool) -> Outcome:
    """What an order has come to, by what is promised, has left, waits and is short of it."""
    has_some = any(made.units or made.shipped for made in record.shipments)
    if in_review and has_some:
        return Outcome.NEEDS_REVIEW
    if not record.shortages:
        return Outcome.ALLOCATED
    if has_some:
        return Outcome.PARTLY_ALLOCATED
    if all(short.backordered for short in record.shortages):
        return Outcome.BACKORDERED
    # Without an exception rule that settles it, a sold order with nothing promised waits for a person.
    return Outcome.NEEDS_REVIEW if record.commitment is Commitment.SOLD else Outcome.UNFILLABLE


def is_in_review(record: AllocationRecord) -> bool:
    """Whether a person has yet to look at the plan of an order; an order without a plan is short, not in review."""
    has_plan = any(made.units or made.shipped for made in record.shipments)
    return record.outcome is Outcome.NEEDS_REVIEW and has_plan


def reviews_of(
    channel_context: ChannelContext, book: Book, record: AllocationRecord, order: Order, decision: Decision
) -> list[OrderException]:
    """The reviews of a plan; a cart, which nobody has paid for, needs none."""
    if record.commitment is Commitment.HOLD:
        return []
    context = exception_context(channel_context, book.now, order)
    return order_exceptions.of_reviews(channel_context.policy_set, context, decision.reviews)


def _event_and_description(before: str, record: AllocationRecord) -> tuple[str, str]:
    """The event of a plan, and its sentence."""
    promised = sum(record.promised().values())
    places = ", ".join(made.location_id for made in record.shipments if made.units) or "nowhere"
    anew = " anew" if before in (*PROMISING, "expired") else ""
    waiting = sum(short.unit_count for short in record.shortages if short.backordered)
    lost = record.short_count() - waiting
    rest = f"; {unit_count_text(lost)} short" if lost else ""
    rest += f"; {unit_count_text(waiting)} on backorder" if waiting else ""
    sentence = f"Planned{anew}: {unit_count_text(promised)} from {places}{rest}."
    event = {HELD: "held", CONFIRMED: "confirmed" if before in (HELD, "expired") else "sold", REFUSED: "refused"}
    return event.get(record.state, record.state), sentence


def explain(channel_context: ChannelContext, book: Book, record: AllocationRecord, decision: Decision) -> None:
    """Gives the record a new decision, with everything that explains it."""
    record.decision_id = book.new_id()
    record.decision = decision_message(decision, channel_context.policy_set.revision, record.decision_id, book.now)
