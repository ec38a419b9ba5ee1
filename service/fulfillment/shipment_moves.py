"""What each action on a shipment does to its order and to stock. Nothing here reads or writes the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from policies.decisions.cancellations import BUYER, CancellationCause, CancelledUnits
from policies.domain.model import TRANSFER, Commitment, OrderLine, Outcome
from policies.domain.shipments import (
    ENDED_BECAUSE,
    METHOD_OF,
    OPEN,
    ActionCheck,
    ShipmentAction,
    ShipmentState,
    check_action,
)
from policies.explanation import unit_count_text
from service.allocation.intake.ordered_kits import kit_skus
from service.allocation.planner import AllocationChange, is_in_review, outcome_of
from service.allocation.replanning.line_groups import units_leaving_with
from service.allocation.replanning.rerouting import replan_units
from service.allocation.replanning.shortages import exception_context, mark_needs_person
from service.errors import EventIdReused, OrderOnHold, TooManyUnits, WrongState
from service.fulfillment.applied_events import UNDONE, Effect, check_same_units
from service.fulfillment.shipment_transition import (
    REJECTED,
    SHIPPED,
    ShipmentTransition,
    check_lines,
    effect_of,
    record_effect,
    requested_units,
)
from service.orders import order_exceptions
from service.orders.allocation_record import CONFIRMED, AllocationRecord, ShortageRecord
from service.orders.order_exceptions import OrderException

_NOT_FOUND = "not_found"
_UNAVAILABLE_REASONS = {"damaged": "damaged", "set_aside": "display"}
"""Why rejected units are unavailable, by reason of the rejection."""
_NOT_COLLECTED = CancellationCause(BUYER, "not collected")

_TARGET_STATES = {
    ShipmentAction.ACCEPT: ShipmentState.ACCEPTED,
    ShipmentAction.MARK_READY: ShipmentState.READY_FOR_PICKUP,
    ShipmentAction.SHIP: ShipmentState.SHIPPED,
    ShipmentAction.DELIVER: ShipmentState.DELIVERED,
    ShipmentAction.COLLECT: ShipmentState.COLLECTED,
    ShipmentAction.REJECT: ShipmentState.REJECTED,
    ShipmentAction.RETURN_UNCOLLECTED: ShipmentState.UNCOLLECTED,
}


_WORK = frozenset(
    {
        *(ShipmentAction.ACCEPT, ShipmentAction.MARK_READY, ShipmentAction.SHIP),
        *(ShipmentAction.DELIVER, ShipmentAction.COLLECT),
    }
)
"""What a location may not do while the order is on hold. It may still reject units, and take back uncollected ones."""


def perform(transition: ShipmentTransition) -> None:
    """Performs the action and records the change of the order. An action that a later event implies does nothing.

    Raises WrongState, NotFound (line), TooManyUnits, EventIdReused.
    """
    applied = transition.applied_units
    _check_same_event(transition, applied)
    if applied and applied.keys() >= transition.request.lines.keys():
        return
    _check(transition)
    if check_action(transition.request.action, transition.shipment.state) is ActionCheck.LATE:
        _record_late(transition)
        return
    _PERFORM[transition.request.action](transition)


def _check(transition: ShipmentTransition) -> None:
    action, record, shipment = transition.request.action, transition.record, transition.shipment
    requested_state = _TARGET_STATES[action].value
    if record.commitment is not Commitment.SOLD:
        advice = "its order is not sold yet; confirm the allocation first"
        raise WrongState("shipment", str(shipment.id), record.state_at(transition.book.now), requested_state, advice)
    method = shipment.method or record.method
    if METHOD_OF.get(action, method) != method:
        advice = "ship and deliver are for orders that are shipped, the other actions for pickup orders"
        if method == TRANSFER:
            advice = f"it goes to {record.pickup_location_id} first; dispatch it with TransferStock and its shipment_id"
        raise WrongState("shipment", str(shipment.id), f"part of a {method} order", requested_state, advice)
    if action is ShipmentAction.ACCEPT and is_in_review(record):
        advice = "a person has to approve the order first; see `truestock exceptions`"
        raise WrongState("shipment", str(shipment.id), "in review", requested_state, advice)
    if check_action(action, shipment.state) is ActionCheck.REFUSED:
        cause = ENDED_BECAUSE.get(shipment.state)
        advice = "look at its order with GetAllocation or `truestock explain`"
        advice = f"{cause}; {advice}" if cause else advice
        raise WrongState("shipment", str(shipment.id), shipment.state.value, requested_state, advice)
    hold = record.active_hold
    if hold is not None and action in _WORK and shipment.state in OPEN:
        raise OrderOnHold(str(shipment.id), requested_state, hold.sentence())


def _check_same_event(transition: ShipmentTransition, applied: Mapping[str, int]) -> None:
    """Checks that an event that is sent again states the same units. Without lines it states all that are open."""
    request = transition.request
    if request.action is ShipmentAction.SHIP and transition.applied.of_event(UNDONE, transition.event_id):
        advice = "if the parcel has left now, send it with a new event_id"
        raise WrongState("event", transition.event_id, UNDONE, SHIPPED, advice)
    check_same_units(transition.event_id, applied, request.lines)
    if not request.lines and transition.shipment.units and any(applied.values()):
        line_id = next(iter(applied))
        raise EventIdReused(transition.event_id, line_id, applied[line_id], "all open units of the shipment")


def _record_late(transition: ShipmentTransition) -> None:
    """Records an event that a later one implies, and that changes nothing: a delivered parcel has shipped.

    Its units have left without an event that said so. More units than those are too many, in whatever state the
    shipment is: they were never promised.
    """
    check_lines(transition)
    effect, shipment, applied = effect_of(transition.request.action), transition.shipment, transition.applied_units
    handled = shipment.rejected if effect == REJECTED else shipment.shipped
    if effect == SHIPPED and not transition.request.lines:
        # Known from now on, so that it ships nothing if it is sent again after an undo.
        transition.effects += [Effect(shipment.id, x, effect, transition.event_id, 0) for x in shipment.shipped]
    for line_id, units in transition.request.lines.items():
        if line_id in applied:
            continue
        reported = transition.applied.total(effect, line_id)
        reported -= transition.applied.total(UNDONE, line_id) if effect == SHIPPED else 0
        if units > handled.get(line_id, 0) - reported:
            raise TooManyUnits(line_id, units, 0, effect)
        record_effect(transition, line_id, units)


def _accept(transition: ShipmentTransition) -> None:
    transition.shipment.state, transition.shipment.accept_time = ShipmentState.ACCEPTED, transition.book.now
    transition.unit_of_work.record(
        AllocationChange(transition.record, "accepted", f"{transition.shipment.location_id} accepted the shipment.")
    )


def _mark_ready(transition: ShipmentTransition) -> None:
    transition.shipment.accept_time = transition.shipment.accept_time or transition.book.now
    transition.shipment.state = ShipmentState.READY_FOR_PICKUP
    transition.unit_of_work.record(
        AllocationChange(
            transition.record, "ready_for_pickup", f"Ready for pickup at {transition.shipment.location_id}."
        )
    )


def _ship(transition: ShipmentTransition) -> None:
    unit_count = _fulfill(transition, "shipped")
    sentence = f"{unit_count_text(unit_count)} shipped from {transition.shipment.location_id}."
    transition.unit_of_work.record(AllocationChange(transition.record, "shipped", sentence))


def _deliver(transition: ShipmentTransition) -> None:
    # Delivered units must have shipped, even if no event reported it.
    unit_count = _fulfill(transition, "shipped")
    transition.shipment.state, transition.shipment.deliver_time = ShipmentState.DELIVERED, transition.book.now
    unreported = f" {unit_count_text(unit_count)} not reported as shipped before." if unit_count else ""
    transition.unit_of_work.record(
        AllocationChange(
            transition.record, "delivered", f"Shipment from {transition.shipment.location_id} delivered.{unreported}"
        )
    )


def _collect(transition: ShipmentTransition) -> None:
    unit_count = _fulfill(transition, "collected")
    transition.shipment.state, transition.shipment.deliver_time = ShipmentState.COLLECTED, transition.book.now
    transition.unit_of_work.record(
        AllocationChange(
            transition.record,
            "collected",
            f"{unit_count_text(unit_count)} collected at {transition.shipment.location_id}.",
        )
    )


def _fulfill(transition: ShipmentTransition, kind: str) -> int:
    """Ships or hands over the requested units; returns how many."""
    total = 0
    for line_id, units in requested_units(transition).items():
        line_units = transition.record.line_units(transition.shipment, line_id, units)
        movement = transition.book.fulfill(kind, line_units, transition.occurrence(line_id))
        transition.shipment.shipped[line_id] = transition.shipment.shipped.get(line_id, 0) + units
        transition.shipment.remove_units(line_id, units, transition.book.now, ended=ShipmentState.SHIPPED)
        record_effect(transition, line_id, units, movement)
        total += units
    if is_in_review(transition.record) and not transition.record.promised():
        # No promised unit remains that a review could stop.
        transition.record.outcome = outcome_of(transition.record, in_review=False)
    return total


def _return_uncollected(transition: ShipmentTransition) -> None:
    total, in_review = 0, is_in_review(transition.record)
    for line_id, units in requested_units(transition).items():
        line_units = transition.record.line_units(transition.shipment, line_id, units)
        transition.book.release(line_units, was_held=False, reason="uncollected")
        transition.record.line(line_id).cancelled += units
        transition.shipment.remove_units(line_id, units, transition.book.now, ended=ShipmentState.UNCOLLECTED)
        record_effect(transition, line_id, units)
        total += units
    transition.record.cancel_if_empty()
    if transition.record.outcome is not Outcome.ALLOCATED:
        transition.record.outcome = outcome_of(transition.record, in_review=in_review)
    sentence = f"{unit_count_text(total)} not collected; returned to stock at {transition.shipment.location_id}."
    cancellation = CancelledUnits(total, _NOT_COLLECTED)
    transition.unit_of_work.record(
        AllocationChange(transition.record, "uncollected", sentence, cancellation=cancellation)
    )


def _reject(transition: ShipmentTransition) -> None:
    """Removes units from the shipment and does what the exception rules decide for a rejection."""
    units_by_line, reason = requested_units(transition), transition.request.reason
    in_review = is_in_review(transition.record)
    for line_id, units in units_by_line.items():
        _reject_line(transition, line_id, units)
    transition.shipment.reject_reason = reason
    exception = _rejection(transition, units_by_line)
    action = exception.handling.action
    units_by_line |= _release_mates(transition, units_by_line, is_cancelled=action == "cancel")
    exception = replace(exception, line_ids=tuple(units_by_line))
    rejected = AllocationChange(transition.record, "rejected", exception.description)
    if action == "reroute":
        rerouting = replan_units(
            transition.channel_context, transition.book, transition.record, units_by_line, cause=REJECTED
        )
        transition.unit_of_work.record(replace(rejected, exceptions=(_rerouted_exception(exception, rerouting),)))
        transition.unit_of_work.record(rerouting)
        return
    transition.unit_of_work.record(
        _without_rerouting(transition, rejected, exception, units_by_line, in_review=in_review)
    )


def _release_mates(
    transition: ShipmentTransition, rejected: Mapping[str, int], *, is_cancelled: bool
) -> dict[str, int]:
    """Releases the units that may not ship without the rejected ones; returns all that leave by line.

    Where the rejected units are cancelled, a kit is cancelled with its component, but lines kept together ship without.
    """
    record, shipment = transition.record, transition.shipment
    leaving = dict(rejected)
    for line_id, units in units_leaving_with(record, shipment, rejected).items():
        if is_cancelled and record.line(line_id).placement.keep_together:
            continue
        transition.book.release(record.line_units(shipment, line_id, units), was_held=False, reason=REJECTED)
        shipment.remove_units(line_id, units, transition.book.now, ended=ShipmentState.REJECTED)
        leaving[line_id] = leaving.get(line_id, 0) + units
    return leaving


def _reject_line(transition: ShipmentTransition, line_id: str, units: int) -> None:
    """Removes rejected units of a line from the shipment; the reason decides what happens to their stock."""
    line_units, reason = transition.record.line_units(transition.shipment, line_id, units), transition.request.reason
    transition.book.release(line_units, was_held=False, reason=reason)
    if reason == _NOT_FOUND:
        transition.book.write_off(line_units, transition.occurrence(line_id), reason=reason)
    elif reason in _UNAVAILABLE_REASONS:
        transition.book.make_unavailable(line_units, reason=_UNAVAILABLE_REASONS[reason])
    transition.shipment.rejected[line_id] = transition.shipment.rejected.get(line_id, 0) + units
    transition.shipment.remove_units(line_id, units, transition.book.now, ended=ShipmentState.REJECTED)
    record_effect(transition, line_id, units)


def not_found_levels(transition: ShipmentTransition) -> list[tuple[str, str]]:
    """The levels where a location did not find promised units; confidence in them is lowered."""
    if transition.request.action is not ShipmentAction.REJECT or transition.request.reason != _NOT_FOUND:
        return []
    return [
        (transition.record.line(effect.line_id).sku, transition.shipment.location_id) for effect in transition.effects
    ]


def _rejection(transition: ShipmentTransition, units: Mapping[str, int]) -> OrderException:
    record, location_id = transition.record, transition.shipment.location_id
    order = record.order_of(tuple(_order_lines(record, units)), Commitment.SOLD)
    skus = {line.sku for line in order.lines}
    context = replace(
        exception_context(transition.channel_context, transition.book.now, order),
        location=transition.channel_context.locations.get(location_id),
        product=transition.channel_context.products.get(next(iter(skus))) if len(skus) == 1 else None,
    )
    reason = transition.request.reason.replace("_", " ")
    kits = kit_skus(record)
    of_kits = ", ".join(sorted({f"{record.line(x).sku} of kit {kits[x]}" for x in units if x in kits}))
    what = f"{unit_count_text(sum(units.values()))}{f' of {of_kits}' if of_kits else ''}"
    description = f"{location_id} cannot supply {what} ({reason})."
    exception = order_exceptions.of_rejection(transition.channel_context.policy_set, context, description)
    return replace(
        exception,
        shipment_id=transition.shipment.id,
        line_ids=tuple(units),
        sku=next(iter(skus)) if len(skus) == 1 else None,
    )


def _order_lines(record: AllocationRecord, units: Mapping[str, int]) -> list[OrderLine]:
    return [record.line(line_id).ordered(unit_count) for line_id, unit_count in units.items()]


def _rerouted_exception(exception: OrderException, rerouting: AllocationChange) -> OrderException:
    """A rejection resolved by rerouting; units that found no location have a separate exception."""
    if rerouting.rerouted:
        return replace(exception, resolution="rerouted", note=rerouting.description)
    return replace(
        exception,
        resolution="no_action",
        note="No other location has the units; see the shortage exception of the order.",
    )


def _without_rerouting(
    transition: ShipmentTransition,
    rejected: AllocationChange,
    exception: OrderException,
    units: Mapping[str, int],
    *,
    in_review: bool,
) -> AllocationChange:
    """A rejection that is not rerouted: its units are backordered, cancelled, or short until a person decides."""
    record, action = transition.record, exception.handling.action
    is_backordered = action in ("backorder", "hold")
    cancelled = 0
    for line_id, count in units.items():
        line = record.line(line_id)
        if action == "cancel":
            line.cancelled += count
            cancelled += count
            continue
        record.add_shortage(
            ShortageRecord(line_id, line.sku, count, "unfillable", REJECTED, backordered=is_backordered)
        )
    record.cancel_if_empty()
    if record.state == CONFIRMED:
        record.outcome = outcome_of(record, in_review=in_review)
    resolution = {"backorder": "backordered", "cancel": "cancelled"}.get(action)
    raised = mark_needs_person(record, [replace(exception, resolution=resolution)])
    return replace(rejected, exceptions=raised, cancelled=cancelled)


_PERFORM = {
    ShipmentAction.ACCEPT: _accept,
    ShipmentAction.MARK_READY: _mark_ready,
    ShipmentAction.SHIP: _ship,
    ShipmentAction.DELIVER: _deliver,
    ShipmentAction.COLLECT: _collect,
    ShipmentAction.REJECT: _reject,
    ShipmentAction.RETURN_UNCOLLECTED: _return_uncollected,
}
