"""One action on a shipment while it is performed: what is known of it, the units it is about, and its effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from policies.domain.shipments import ShipmentAction
from policies.stock.counting import ChangeResult
from service.allocation.planning_context import ChannelContext
from service.allocation.unit_of_work import UnitOfWork
from service.errors import NotFound, TooManyUnits
from service.fulfillment.applied_events import UNDONE, AppliedEvents, Effect
from service.fulfillment.shipment_requests import ShipmentRequest
from service.orders.allocation_record import AllocationRecord, ShipmentRecord
from service.stock.stock_book import Book, Movement, Occurrence

SHIPPED = "shipped"
"""The effect of a ShipShipment event."""
REJECTED = "rejected"
"""The cause of rerouted units, and of an oversell if no other location has them."""

_EFFECTS = {
    ShipmentAction.SHIP: "shipped",
    ShipmentAction.DELIVER: "delivered",
    ShipmentAction.COLLECT: "collected",
    ShipmentAction.REJECT: "rejected",
    ShipmentAction.RETURN_UNCOLLECTED: "uncollected",
    ShipmentAction.UNDO_SHIP: UNDONE,
}


@dataclass(slots=True)
class ShipmentTransition:
    """One action on a shipment of a locked order, with the effects of earlier events on the shipment."""

    request: ShipmentRequest
    event_id: str
    unit_of_work: UnitOfWork
    channel_context: ChannelContext
    record: AllocationRecord
    shipment: ShipmentRecord
    applied: AppliedEvents = field(default_factory=AppliedEvents)
    counted_levels: Mapping[tuple[str, str], bool] = field(default_factory=dict)
    """By level: whether a count already includes what happened at the time of the event."""
    effects: list[Effect] = field(default_factory=list)

    @property
    def book(self) -> Book:
        """The stock of the transaction."""
        return self.unit_of_work.book

    @property
    def applied_units(self) -> dict[str, int]:
        """The units, by line, on which its event has taken effect before."""
        effect = effect_of(self.request.action)
        return self.applied.of_event(effect, self.event_id) if effect else {}

    def occurrence(self, line_id: str) -> Occurrence:
        """When units of a line moved."""
        key = (self.record.line(line_id).sku, self.shipment.location_id)
        return Occurrence(self.request.event_time or self.book.now, self.counted_levels.get(key, False))


def effect_of(action: ShipmentAction) -> str:
    """The name of the effect that an action has on lines; empty if it has none."""
    return _EFFECTS.get(action, "")


def requested_units(transition: ShipmentTransition) -> dict[str, int]:
    """The units of an action by line: those in the request, or all that have not shipped if it names none.

    Raises NotFound (line), TooManyUnits.
    """
    applied = transition.applied_units
    if not transition.request.lines:
        return {line_id: units for line_id, units in transition.shipment.units.items() if line_id not in applied}
    check_lines(transition)
    units_by_line = {line_id: units for line_id, units in transition.request.lines.items() if line_id not in applied}
    for line_id, units in units_by_line.items():
        remaining = transition.shipment.units.get(line_id, 0)
        if units > remaining:
            raise TooManyUnits(line_id, units, remaining, _EFFECTS[transition.request.action])
    return units_by_line


def check_lines(transition: ShipmentTransition) -> None:
    """Checks that the request names lines of the shipment only. Raises NotFound."""
    line_ids = set(transition.shipment.line_ids)
    missing = {
        f"lines[{index}].line_id": line_id
        for index, line_id in enumerate(transition.request.lines)
        if line_id not in line_ids
    }
    if missing:
        raise NotFound("line of the shipment", missing, f"its lines are: {', '.join(sorted(line_ids)[:20])}")


def record_effect(transition: ShipmentTransition, line_id: str, units: int, movement: Movement | None = None) -> None:
    """Adds an effect of the event to those to store; `movement` is that of units that left."""
    left = (movement.effective_time, movement.result is ChangeResult.ABSORBED) if movement else (None, False)
    effect = effect_of(transition.request.action)
    transition.effects.append(Effect(transition.shipment.id, line_id, effect, transition.event_id, units, *left))
