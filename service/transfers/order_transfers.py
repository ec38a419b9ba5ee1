"""Transfers that carry units of a pickup order to its store: the order's shipments change with their steps.

In transit the units count as shipped by their origin. At the store they are promised again, until the shopper collects
them. Units of a cancelled transfer are promised at the origin again; those that got lost are planned anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Uuid, select

from policies.domain.model import TRANSFER
from policies.domain.shipments import OPEN, ShipmentState
from policies.explanation import unit_count_text
from service.allocation.planner import AllocationChange, is_in_review
from service.allocation.planning_context import ChannelContext
from service.allocation.replanning.rerouting import replan_units
from service.allocation.shipment_dates import ShipmentDates
from service.allocation.unit_of_work import UnitOfWork
from service.database.database import Connection, Statement, parameter
from service.database.tables import shipment
from service.errors import InvalidFields, NotFound, OrderOnHold, Violation, WrongState
from service.orders.allocation_record import CONFIRMED, AllocationRecord, LineRecord, ShipmentRecord
from service.stock.stock_book import LineUnits
from service.transfers.transfer_requests import Dispatch
from service.transfers.transfer_store import TransferRecord

LOST_IN_TRANSFER = "rejected"
"""The cause of replanning units that a transfer lost: their location did not supply them."""
_ALLOCATION_OF = Statement(select(shipment.c.allocation_id).where(shipment.c.id == parameter("id", Uuid)))


async def allocation_of(connection: Connection, shipment_id: UUID) -> UUID:
    """The allocation of a shipment. Raises NotFound."""
    row = await _ALLOCATION_OF.row(connection, id=shipment_id)
    if row is None:
        advice = "`truestock shipments` and GetAllocation list shipment ids"
        raise NotFound("shipment", {"dispatch.shipment_id": str(shipment_id)}, advice)
    allocation_id: UUID = row["allocation_id"]
    return allocation_id


@dataclass(frozen=True, slots=True)
class OrderTransfer:
    """The order that a transfer carries units of, locked, with its shipment at the origin."""

    unit_of_work: UnitOfWork
    record: AllocationRecord
    shipment: ShipmentRecord

    @classmethod
    def of(cls, unit_of_work: UnitOfWork, allocation_id: UUID, shipment_id: UUID) -> OrderTransfer:
        """The order's transfer; the unit of work has loaded the order."""
        record = unit_of_work.records[allocation_id]
        return cls(unit_of_work, record, record.shipment(shipment_id))

    def dispatch(self, step: Dispatch) -> None:
        """Releases the units from their promise at the origin, which they leave. Raises WrongState, InvalidFields."""
        self._check(step)
        book, record, origin = self.unit_of_work.book, self.record, self.shipment
        for line_id, count in list(origin.units.items()):
            book.release(record.line_units(origin, line_id, count), was_held=False, reason=step.transfer_id)
            origin.shipped[line_id] = origin.shipped.get(line_id, 0) + count
            origin.remove_units(line_id, count, book.now, ended=ShipmentState.SHIPPED)
        count = sum(step.units.values())
        store = step.to_location_id
        sentence = f"{unit_count_text(count)} sent from {origin.location_id} to {store}, transfer {step.transfer_id}."
        self.unit_of_work.record(AllocationChange(record, "transferred", sentence))

    def receive(self, context: ChannelContext, units: Mapping[str, int], transfer: TransferRecord) -> None:
        """Promises units, by SKU, that have arrived at the store; those that the order does not need stay available."""
        book, record, store_id = self.unit_of_work.book, self.record, transfer.to_location_id
        arrived, remaining = dict[str, int](), dict(units)
        for line in [x for x in record.lines if remaining.get(x.sku) and self.shipment.shipped.get(x.line_id)]:
            kept, cancelled = self._out_of_transit(line, remaining[line.sku])
            remaining[line.sku] -= kept + cancelled
            if kept:
                arrived[line.line_id] = kept
        for line_id, count in arrived.items():
            book.allocate(LineUnits(record.id, line_id, (record.line(line_id).sku, store_id), count))
        if arrived:
            self._at_store(context, store_id, arrived)
        self._end(ShipmentState.DELIVERED)
        total = sum(arrived.values())
        sentence = f"{unit_count_text(total)} arrived at {store_id} with transfer {transfer.id}."
        record.cancel_if_empty()
        self.unit_of_work.record(AllocationChange(record, "arrived_at_store", sentence))

    def lose(self, context: ChannelContext) -> None:
        """Plans the units anew that are still in transit: they will not arrive."""
        lost: dict[str, int] = {}
        for line_id in list(self.shipment.shipped):
            lost[line_id], _ = self._out_of_transit(self.record.line(line_id), self.shipment.shipped[line_id])
        lost = {line_id: count for line_id, count in lost.items() if count}
        self._end(ShipmentState.REJECTED)
        if lost:
            change = replan_units(context, self.unit_of_work.book, self.record, lost, cause=LOST_IN_TRANSFER)
            self.unit_of_work.record(change)

    def call_off(self, transfer: TransferRecord) -> None:
        """Promises the units in transit at their origin again, where the cancelled transfer leaves them."""
        book, record, origin = self.unit_of_work.book, self.record, self.shipment
        total = 0
        for line_id in list(origin.shipped):
            count, _ = self._out_of_transit(record.line(line_id), origin.shipped[line_id])
            if count:
                book.allocate(record.line_units(origin, line_id, count))
                origin.units[line_id] = origin.units.get(line_id, 0) + count
                total += count
        origin.state = ShipmentState.ACCEPTED if origin.units else ShipmentState.CANCELLED
        origin.ship_time = None
        record.cancel_if_empty()
        sentence = f"Transfer {transfer.id} was called off: {unit_count_text(total)} at {origin.location_id} again."
        self.unit_of_work.record(AllocationChange(record, "transfer_cancelled", sentence))

    def _check(self, step: Dispatch) -> None:
        record, origin, refused = self.record, self.shipment, "sent to the store"
        if record.state != CONFIRMED:
            advice = "its order is not sold; confirm the allocation first"
            raise WrongState("shipment", str(origin.id), record.state_at(self.unit_of_work.book.now), refused, advice)
        if origin.method != TRANSFER or origin.state not in OPEN or not origin.units:
            state = origin.state.value if origin.method == TRANSFER else "not meant for a store"
            advice = "only open shipments with a transfer_to_location_id are sent to a store"
            raise WrongState("shipment", str(origin.id), state, refused, advice)
        if is_in_review(record):
            advice = "a person has to approve the order first; see `truestock exceptions`"
            raise WrongState("shipment", str(origin.id), "in review", refused, advice)
        if record.active_hold is not None:
            raise OrderOnHold(str(origin.id), refused, record.active_hold.sentence())
        units: dict[str, int] = {}
        for line_id, count in origin.units.items():
            sku = record.line(line_id).sku
            units[sku] = units.get(sku, 0) + count
        stated = ", ".join(f"{count} of {sku}" for sku, count in sorted(units.items()))
        problems = {
            "from_location_id": (step.from_location_id, origin.location_id, origin.location_id),
            "to_location_id": (step.to_location_id, record.pickup_location_id, record.pickup_location_id),
            "units": (dict(step.units), units, stated),
        }
        violations = [
            Violation(f"dispatch.{field}", f"must be {text}, as in shipment {origin.id}")
            for field, (given, wanted, text) in problems.items()
            if given != wanted
        ]
        if violations:
            raise InvalidFields(violations)

    def _out_of_transit(self, line: LineRecord, most: int) -> tuple[int, int]:
        """Takes units of a line out of transit, at most so many; returns those that the order still has, and others.

        Units that the channel does not order any more are cancelled.
        """
        in_transit = self.shipment.shipped.pop(line.line_id)
        count = min(most, in_transit)
        cancelled = min(count, self.record.awaited_of_line(line))
        if in_transit > count:
            self.shipment.shipped[line.line_id] = in_transit - count
        line.cancelled += cancelled
        line.excess = max(0, line.excess - count)
        return count - cancelled, cancelled

    def _at_store(self, context: ChannelContext, store_id: str, units: Mapping[str, int]) -> None:
        """Adds the units to the order's shipment at the store that has not begun, or to a new one."""
        book, record = self.unit_of_work.book, self.record
        for other in record.shipments:
            if other.location_id == store_id and other.method is None and other.state is ShipmentState.ASSIGNED:
                for line_id, count in units.items():
                    other.units[line_id] = other.units.get(line_id, 0) + count
                return
        new = ShipmentRecord(book.new_id(), store_id, None, ShipmentState.ASSIGNED, dict(units))
        new.assign_time, new.catalog_version = book.now, context.catalog_version
        new.promise_dates(ShipmentDates(context, record, book.now).at(store_id))
        record.shipments.append(new)

    def _end(self, state: ShipmentState) -> None:
        """Ends the shipment at the origin once none of its units is in transit."""
        if not self.shipment.shipped and not self.shipment.units:
            self.shipment.state = state
            self.shipment.deliver_time = self.unit_of_work.book.now if state is ShipmentState.DELIVERED else None
            self.shipment.end_time = None if state is ShipmentState.DELIVERED else self.unit_of_work.book.now
