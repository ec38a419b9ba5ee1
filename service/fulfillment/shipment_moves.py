"""What each move of a shipment does to its order and to the book. Nothing here reads or writes the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from policies.domain.model import Commitment, OrderLine
from policies.domain.shipments import METHOD_OF, ActionCheck, ShipmentAction, ShipmentState, check_action
from policies.explanation import unit_count_text
from service.allocation.planner import AllocationChange, is_in_review, outcome_of
from service.allocation.planning_context import ChannelContext
from service.allocation.rerouting import replan_units
from service.allocation.shortages import exception_context, mark_needs_person
from service.allocation.unit_of_work import UnitOfWork
from service.errors import NotFound, TooManyUnits, WrongState
from service.fulfillment.applied_events import Effect
from service.fulfillment.shipment_requests import ShipmentRequest
from service.orders import order_exceptions
from service.orders.allocation_record import CONFIRMED, AllocationRecord, ShipmentRecord, ShortageRecord
from service.orders.order_exceptions import OrderException
from service.stock.stock_book import Book, Occurrence

REJECTED = "rejected"
"""Why units were routed anew, and the cause of an oversell where nobody else has them."""

_NOT_FOUND = "not_found"
_UNAVAILABLE_REASONS = {"damaged": "damaged", "set_aside": "display"}
"""Why rejected units that are there are not sellable, by the reason of the rejection."""
_EFFECTS = {
    ShipmentAction.SHIP: "shipped",
    ShipmentAction.DELIVER: "delivered",
    ShipmentAction.COLLECT: "collected",
    ShipmentAction.REJECT: "rejected",
}
_TARGET_STATES = {
    ShipmentAction.ACCEPT: ShipmentState.ACCEPTED,
    ShipmentAction.MARK_READY: ShipmentState.READY_FOR_PICKUP,
    ShipmentAction.SHIP: ShipmentState.SHIPPED,
    ShipmentAction.DELIVER: ShipmentState.DELIVERED,
    ShipmentAction.COLLECT: ShipmentState.COLLECTED,
    ShipmentAction.REJECT: ShipmentState.REJECTED,
    ShipmentAction.RETURN_UNCOLLECTED: ShipmentState.UNCOLLECTED,
}


@dataclass(slots=True)
class ShipmentTransition:
    """One move of one shipment, of an order that is locked; `heard` are lines on which the event had its effect."""

    request: ShipmentRequest
    event_id: str
    unit_of_work: UnitOfWork
    channel_context: ChannelContext
    record: AllocationRecord
    shipment: ShipmentRecord
    applied_lines: set[str]
    counted_levels: Mapping[tuple[str, str], bool] = field(default_factory=dict)
    """By level: whether a count has in already what happened at the event's time."""
    effects: list[Effect] = field(default_factory=list)

    @property
    def book(self) -> Book:
        """The stock of the transaction."""
        return self.unit_of_work.book

    def occurrence(self, line_id: str) -> Occurrence:
        """When units of a line moved."""
        key = (self.record.line(line_id).sku, self.shipment.location_id)
        return Occurrence(self.request.event_time or self.book.now, self.counted_levels.get(key, False))


def effect_of(move: ShipmentAction) -> str:
    """The effect that a move has on lines, in a word; empty where it has none."""
    return {**_EFFECTS, ShipmentAction.RETURN_UNCOLLECTED: "uncollected"}.get(move, "")


def perform(step: ShipmentTransition) -> None:
    """Makes the move and notes what became of the order. A move that a later event has in already does nothing.

    Raises WrongState, NotFound (line), TooManyUnits.
    """
    if step.applied_lines and step.applied_lines >= set(step.request.lines):
        return
    _check(step)
    if check_action(step.request.action, step.shipment.state) is ActionCheck.LATE:
        _check_late(step)
        return
    step.record.update_time = step.book.now
    _PERFORM[step.request.action](step)


def _check(step: ShipmentTransition) -> None:
    move, record, shipment = step.request.action, step.record, step.shipment
    wanted = _TARGET_STATES[move].value
    if record.commitment is not Commitment.SOLD:
        advice = "its order is not sold yet: confirm the allocation first"
        raise WrongState("shipment", str(shipment.id), record.state_at(step.book.now), wanted, advice)
    if METHOD_OF.get(move, record.method) != record.method:
        advice = "ship and deliver are for orders that are shipped, the others for orders that are picked up"
        raise WrongState("shipment", str(shipment.id), f"of an order to {record.method}", wanted, advice)
    if move is ShipmentAction.ACCEPT and is_in_review(record):
        advice = "a person has to approve the order first: see `truestock exceptions`"
        raise WrongState("shipment", str(shipment.id), "in review", wanted, advice)
    if check_action(move, shipment.state) is ActionCheck.REFUSED:
        advice = "look at its order with GetAllocation or `truestock explain`"
        raise WrongState("shipment", str(shipment.id), shipment.state.value, wanted, advice)


def _check_late(step: ShipmentTransition) -> None:
    """What a later event has in already can be no more than that, and of lines that the shipment has."""
    _check_lines(step)
    for line_id, units in step.request.lines.items():
        had = step.shipment.shipped.get(line_id, 0) + step.shipment.rejected.get(line_id, 0)
        if units > had:
            raise TooManyUnits(line_id, units, 0, _EFFECTS[step.request.action])


def requested_units(step: ShipmentTransition) -> dict[str, int]:
    """The units that a move is about, by line: those that are named, else everything that has not left."""
    if not step.request.lines:
        return {line_id: units for line_id, units in step.shipment.units.items() if line_id not in step.applied_lines}
    _check_lines(step)
    asked = {line_id: units for line_id, units in step.request.lines.items() if line_id not in step.applied_lines}
    for line_id, units in asked.items():
        left = step.shipment.units.get(line_id, 0)
        if units > left:
            raise TooManyUnits(line_id, units, left, _EFFECTS[step.request.action])
    return asked


def _check_lines(step: ShipmentTransition) -> None:
    known = set(step.shipment.line_ids)
    missing = {
        f"lines[{place}].line_id": line_id for place, line_id in enumerate(step.request.lines) if line_id not in known
    }
    if missing:
        raise NotFound("line of the shipment", missing, f"its lines are: {', '.join(sorted(known)[:20])}")


def _accept(step: ShipmentTransition) -> None:
    step.shipment.state, step.shipment.accept_time = ShipmentState.ACCEPTED, step.book.now
    step.unit_of_work.record(AllocationChange(step.record, "accepted", f"{step.shipment.location_id} works on it."))


def _mark_ready(step: ShipmentTransition) -> None:
    step.shipment.accept_time = step.shipment.accept_time or step.book.now
    step.shipment.state = ShipmentState.READY_FOR_PICKUP
    step.unit_of_work.record(
        AllocationChange(step.record, "ready_for_pickup", f"It waits at {step.shipment.location_id}.")
    )


def _ship(step: ShipmentTransition) -> None:
    left = _fulfill(step, "shipped")
    sentence = f"{unit_count_text(left)} left {step.shipment.location_id}."
    step.unit_of_work.record(AllocationChange(step.record, "shipped", sentence))


def _deliver(step: ShipmentTransition) -> None:
    # What arrived has left, heard or not.
    left = _fulfill(step, "shipped")
    step.shipment.state, step.shipment.deliver_time = ShipmentState.DELIVERED, step.book.now
    unheard = f" {unit_count_text(left)} had not been heard to leave." if left else ""
    step.unit_of_work.record(
        AllocationChange(step.record, "delivered", f"What left {step.shipment.location_id} arrived.{unheard}")
    )


def _collect(step: ShipmentTransition) -> None:
    left = _fulfill(step, "collected")
    step.shipment.state, step.shipment.deliver_time = ShipmentState.COLLECTED, step.book.now
    step.unit_of_work.record(
        AllocationChange(step.record, "collected", f"{unit_count_text(left)} fetched at {step.shipment.location_id}.")
    )


def _fulfill(step: ShipmentTransition, kind: str) -> int:
    """Units leave the location; returns how many."""
    total = 0
    for line_id, units in requested_units(step).items():
        step.book.fulfill(kind, step.record.line_units(step.shipment, line_id, units), step.occurrence(line_id))
        step.shipment.shipped[line_id] = step.shipment.shipped.get(line_id, 0) + units
        step.shipment.remove_units(line_id, units, step.book.now, ended=ShipmentState.SHIPPED)
        _record_effect(step, line_id, units)
        total += units
    if is_in_review(step.record) and not step.record.promised():
        # Nothing is left that a person could keep from going out.
        step.record.outcome = outcome_of(step.record, in_review=False)
    return total


def _return_uncollected(step: ShipmentTransition) -> None:
    total = 0
    for line_id, units in requested_units(step).items():
        part = step.record.line_units(step.shipment, line_id, units)
        step.book.release(part, was_held=False, reason="uncollected")
        step.record.line(line_id).cancelled += units
        step.shipment.remove_units(line_id, units, step.book.now, ended=ShipmentState.UNCOLLECTED)
        _record_effect(step, line_id, units)
        total += units
    step.record.cancel_if_empty()
    sentence = f"Nobody fetched {unit_count_text(total)}: they are {step.shipment.location_id}'s stock again."
    step.unit_of_work.record(AllocationChange(step.record, "uncollected", sentence))


def _reject(step: ShipmentTransition) -> None:
    """Takes units off the location and does what the exception rules say of a rejection."""
    asked, reason = requested_units(step), step.request.reason
    in_review = is_in_review(step.record)
    for line_id, units in asked.items():
        _reject_line(step, line_id, units)
    step.shipment.reject_reason = reason
    exception = _rejection(step, asked)
    action = exception.handling.action
    rejected = AllocationChange(step.record, "rejected", exception.description)
    if action == "reroute":
        planned = replan_units(step.channel_context, step.book, step.record, asked, cause=REJECTED)
        step.unit_of_work.record(replace(rejected, exceptions=(_rerouted_exception(exception, planned),)))
        step.unit_of_work.record(planned)
        return
    step.unit_of_work.record(_without_rerouting(step, rejected, exception, asked, in_review=in_review))


def _reject_line(step: ShipmentTransition, line_id: str, units: int) -> None:
    """Takes rejected units off the shipment; the reason says what they are now."""
    part, reason = step.record.line_units(step.shipment, line_id, units), step.request.reason
    step.book.release(part, was_held=False, reason=reason)
    if reason == _NOT_FOUND:
        step.book.write_off(part, step.occurrence(line_id), reason=reason)
    elif reason in _UNAVAILABLE_REASONS:
        step.book.make_unavailable(part, reason=_UNAVAILABLE_REASONS[reason])
    step.shipment.rejected[line_id] = step.shipment.rejected.get(line_id, 0) + units
    step.shipment.remove_units(line_id, units, step.book.now, ended=ShipmentState.REJECTED)
    _record_effect(step, line_id, units)


def not_found_levels(step: ShipmentTransition) -> list[tuple[str, str]]:
    """The levels where units that were promised were not found: how far they can be trusted falls."""
    if step.request.action is not ShipmentAction.REJECT or step.request.reason != _NOT_FOUND:
        return []
    return [(step.record.line(one.line_id).sku, step.shipment.location_id) for one in step.effects]


def _rejection(step: ShipmentTransition, units: Mapping[str, int]) -> OrderException:
    record, location_id = step.record, step.shipment.location_id
    order = record.order_of(tuple(_order_lines(record, units)), Commitment.SOLD)
    skus = {line.sku for line in order.lines}
    context = replace(
        exception_context(step.channel_context, step.book.now, order),
        location=step.channel_context.locations.get(location_id),
        product=step.channel_context.products.get(next(iter(skus))) if len(skus) == 1 else None,
    )
    why = step.request.reason.replace("_", " ")
    description = f"{location_id} cannot supply {unit_count_text(sum(units.values()))} ({why})."
    found = order_exceptions.of_rejection(step.channel_context.policy_set, context, description)
    return replace(
        found,
        shipment_id=step.shipment.id,
        line_ids=tuple(units),
        sku=next(iter(skus)) if len(skus) == 1 else None,
    )


def _order_lines(record: AllocationRecord, units: Mapping[str, int]) -> list[OrderLine]:
    lines = (record.line(line_id) for line_id in units)
    return [OrderLine(x.line_id, x.sku, units[x.line_id], x.unit_price) for x in lines]


def _rerouted_exception(exception: OrderException, planned: AllocationChange) -> OrderException:
    """How rerouting settled a rejection; what it could not place has an exception of its own."""
    if planned.rerouted:
        return replace(exception, resolution="rerouted", note=planned.description)
    return replace(exception, resolution="no_action", note="No other location has it: see the exception beside it.")


def _without_rerouting(
    step: ShipmentTransition,
    rejected: AllocationChange,
    exception: OrderException,
    units: Mapping[str, int],
    *,
    in_review: bool,
) -> AllocationChange:
    """A rejection that is not rerouted: its units wait for stock, are taken off, or are somebody's to settle."""
    record, action = step.record, exception.handling.action
    waits = action in ("backorder", "hold")
    taken_off = 0
    for line_id, count in units.items():
        line = record.line(line_id)
        if action == "cancel":
            line.cancelled += count
            taken_off += count
            continue
        record.add_shortage(ShortageRecord(line_id, line.sku, count, "unfillable", REJECTED, backordered=waits))
    record.cancel_if_empty()
    if record.state == CONFIRMED:
        record.outcome = outcome_of(record, in_review=in_review)
    resolution = {"backorder": "backordered", "cancel": "cancelled"}.get(action)
    raised = mark_needs_person(record, [replace(exception, resolution=resolution)])
    return replace(rejected, exceptions=raised, cancelled=taken_off)


def _record_effect(step: ShipmentTransition, line_id: str, units: int) -> None:
    effect = effect_of(step.request.action)
    step.effects.append(Effect(step.shipment.id, line_id, effect, step.event_id, units))


_PERFORM = {
    ShipmentAction.ACCEPT: _accept,
    ShipmentAction.MARK_READY: _mark_ready,
    ShipmentAction.SHIP: _ship,
    ShipmentAction.DELIVER: _deliver,
    ShipmentAction.COLLECT: _collect,
    ShipmentAction.REJECT: _reject,
    ShipmentAction.RETURN_UNCOLLECTED: _return_uncollected,
}
