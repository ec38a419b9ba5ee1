"""What settling an exception does to its order: units placed elsewhere, taken off, left to wait, a plan let out.

The record, which is locked, and the book are changed; nothing here reads or writes the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from policies.model import Commitment, OrderLine, Outcome, World
from policies.reasons import units as counted
from policies.resolutions import APPROVED, BACKORDERED, CANCELLED, REROUTED
from policies.routing import Decision, route
from service import record as states
from service.book import Book
from service.errors import CannotSettle
from service.lifecycle import cancel_units
from service.order_requests import Cancellation
from service.planning import Surroundings, Verdict
from service.record import AllocationRecord, ShipmentRecord, ShortageRecord


@dataclass(frozen=True, slots=True)
class Case:
    """An exception about an order: what it is about, and what its rule says to do.

    `line_ids` empty is all lines. `others_open` are other open exceptions of its kind about the same order.
    """

    id: UUID
    kind: str
    action: str
    line_ids: frozenset[str] = frozenset()
    shipment_id: UUID | None = None
    others_open: int = 0


def settle_order(
    surroundings: Surroundings, book: Book, record: AllocationRecord, case: Case, resolution: str
) -> Verdict:
    """Does what the resolution says, one of `EFFECTS`. Raises CannotSettle, where the order does not allow it."""
    state = record.state_at(book.now)
    if state != states.CONFIRMED:
        raise CannotSettle(str(case.id), "open", f"is about an order that is {state}", _OTHERWISE)
    record.update_time = book.now
    return EFFECTS[resolution](surroundings, book, record, case)


def short_units(record: AllocationRecord, case: Case) -> list[ShortageRecord]:
    """The short units that an exception is about: those that do not wait for stock yet.

    Where the rule says `hold` they wait already, and somebody looks after them meanwhile.
    """
    short = [one for one in record.shortages if _is_about(case, one)]
    loose = [one for one in short if not one.backordered]
    return loose or (short if case.action == "hold" else [])


def outcome_of(record: AllocationRecord, *, in_review: bool) -> Outcome:
    """What a sold order has come to, by what is promised, has left, waits and is short of it."""
    has_some = any(made.units or made.shipped for made in record.shipments)
    if in_review and has_some:
        return Outcome.NEEDS_REVIEW
    if not record.shortages:
        return Outcome.ALLOCATED
    if has_some:
        return Outcome.PARTLY_ALLOCATED
    waits = all(short.backordered for short in record.shortages)
    return Outcome.BACKORDERED if waits else Outcome.NEEDS_REVIEW


def replan_short(
    surroundings: Surroundings,
    book: Book,
    record: AllocationRecord,
    units: Mapping[str, int],
    *,
    avoid: frozenset[str] = frozenset(),
) -> Decision:
    """Plans units by line, which are promised nowhere, and promises all of them, or changes nothing.

    Locations to `avoid` are not asked. The decision has shortages where not all could be placed.
    """
    order = record.order(Commitment.SOLD)
    lines = tuple(
        OrderLine(x.line_id, x.sku, units[x.line_id], x.unit_price) for x in record.lines if x.line_id in units
    )
    levels = {key: level for key, level in book.levels.items() if key[1] not in avoid}
    world = World(book.now, surroundings.locations, surroundings.products, levels)
    decision = route(surroundings.policy_set, world, surroundings.channel, replace(order, lines=lines))
    if decision.shortages:
        return decision
    for planned in decision.plan:
        made = {line.line_id: line.unit_count for line in planned.lines}
        shipment = ShipmentRecord(book.new_id(), planned.location_id, planned.distance_km, states.ASSIGNED, made)
        record.shipments.append(shipment)
        for line in planned.lines:
            book.allocate(record.id, line.line_id, (line.sku, planned.location_id), line.unit_count)
    return decision


def _approve(surroundings: Surroundings, book: Book, record: AllocationRecord, case: Case) -> Verdict:
    """Lets the plan go out, once nobody else has to look at it."""
    if case.others_open or not _is_in_review(record):
        return Verdict(record)
    record.outcome = outcome_of(record, in_review=False)
    return Verdict(record, "approved", "The plan was approved: it goes out as it is.")


def _cancel(surroundings: Surroundings, book: Book, record: AllocationRecord, case: Case) -> Verdict:
    """Takes off the units that the exception is about: short ones, a late shipment's, or a reviewed order's."""
    short = short_units(record, case)
    if not short:
        wanted = _promised_units(record, case)
        if not wanted:
            raise _nothing_left(case)
        in_review = _is_in_review(record) and case.kind != "review"
        verdict = cancel_units(book, record, wanted)
        if record.state == states.CONFIRMED:
            record.outcome = outcome_of(record, in_review=in_review)
        return verdict
    in_review = _is_in_review(record)
    _take_short(record, short)
    for one in short:
        next(line for line in record.lines if line.line_id == one.line_id).cancelled += one.unit_count
    if all(line.wanted == 0 for line in record.lines):
        record.state = states.CANCELLED
    else:
        record.outcome = outcome_of(record, in_review=in_review)
    return Verdict(record, "cancelled", f"{_count(short)} that were short cancelled.")


def _backorder(surroundings: Surroundings, book: Book, record: AllocationRecord, case: Case) -> Verdict:
    """Lets the short units wait for stock."""
    short = short_units(record, case)
    if not short:
        raise _nothing_left(case)
    if all(one.backordered for one in short):
        return Verdict(record)
    in_review = _is_in_review(record)
    _take_short(record, short)
    for one in short:
        _add_short(record, replace(one, backordered=True))
    record.outcome = outcome_of(record, in_review=in_review)
    return Verdict(record, "backordered", f"{_count(short)} that were short wait for stock.")


def _reroute(surroundings: Surroundings, book: Book, record: AllocationRecord, case: Case) -> Verdict:
    """Places the units of the exception elsewhere, all of them."""
    in_review = _is_in_review(record)
    short = short_units(record, case)
    avoid: frozenset[str] = frozenset()
    if case.kind == "late_shipment":
        units, avoid = _taken_from_shipment(book, record, case)
    else:
        units = _by_line((one.line_id, one.unit_count) for one in short)
    if not units:
        raise _nothing_left(case)
    _take_short(record, short)
    decision = replan_short(surroundings, book, record, units, avoid=avoid)
    if decision.shortages:
        missing = sum(one.unit_count for one in decision.shortages)
        why = f"cannot be settled so: {counted(missing)} of {sum(units.values())} cannot be placed anywhere else"
        raise CannotSettle(str(case.id), "open", why, "let them wait for stock, or take them off the order")
    record.outcome = outcome_of(record, in_review=in_review)
    places = ", ".join(planned.location_id for planned in decision.plan)
    sentence = f"{counted(sum(units.values()))} placed with {places}."
    return Verdict(record, "rerouted", sentence)


Effect = Callable[[Surroundings, Book, AllocationRecord, Case], Verdict]
EFFECTS: Mapping[str, Effect] = {
    APPROVED: _approve,
    CANCELLED: _cancel,
    BACKORDERED: _backorder,
    REROUTED: _reroute,
}
"""What is done to the order, by resolution; the other resolutions only say what was done elsewhere."""

_OTHERWISE = "settle it as OTHER and say how"


def _is_about(case: Case, short: ShortageRecord) -> bool:
    if case.line_ids and short.line_id not in case.line_ids:
        return False
    if case.kind == "rejected":
        return short.cause == "rejected"
    return case.kind in ("stuck_order", short.kind)


def _is_in_review(record: AllocationRecord) -> bool:
    """Whether a person has yet to look at the plan of an order; an order without a plan is short, not in review."""
    has_plan = any(made.units or made.shipped for made in record.shipments)
    return record.outcome is Outcome.NEEDS_REVIEW and has_plan


def _promised_units(record: AllocationRecord, case: Case) -> list[Cancellation]:
    """What is promised, or short, and not short only: of a late shipment, or of an order whose plan is not wanted."""
    if case.kind == "late_shipment":
        made = next((one for one in record.shipments if one.id == case.shipment_id), None)
        return [Cancellation(line_id, units, made.id) for line_id, units in made.units.items()] if made else []
    if case.kind not in ("review", "stuck_order"):
        return []
    short = _by_line((one.line_id, one.unit_count) for one in record.shortages)
    left = {x.line_id: record.promised_of_line(x.line_id) + short.get(x.line_id, 0) for x in record.lines}
    return [Cancellation(line_id, units, None) for line_id, units in left.items() if units]


def _taken_from_shipment(book: Book, record: AllocationRecord, case: Case) -> tuple[dict[str, int], frozenset[str]]:
    """Takes what has not left away from a late shipment; returns it by line, and its location."""
    made = next((one for one in record.shipments if one.id == case.shipment_id), None)
    if made is None or made.state not in states.OPEN_SHIPMENT:
        return {}, frozenset()
    units = dict(made.units)
    skus = {line.line_id: line.sku for line in record.lines}
    for line_id, count in units.items():
        book.release(record.id, line_id, (skus[line_id], made.location_id), count, was_held=False)
    made.units = {}
    if made.shipped:
        made.state, made.ship_time = states.SHIPPED, made.ship_time or book.now
    else:
        made.state, made.end_time = states.CANCELLED, book.now
    return units, frozenset({made.location_id})


def _take_short(record: AllocationRecord, short: Iterable[ShortageRecord]) -> None:
    gone = list(short)
    record.shortages = [one for one in record.shortages if one not in gone]


def _add_short(record: AllocationRecord, short: ShortageRecord) -> None:
    """Adds units that are short to those of the same line, cause and waiting, where there are any."""
    for place, known in enumerate(record.shortages):
        if replace(known, unit_count=short.unit_count) == short:
            record.shortages[place] = replace(known, unit_count=known.unit_count + short.unit_count)
            return
    record.shortages.append(short)


def _by_line(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    units: dict[str, int] = {}
    for line_id, count in pairs:
        units[line_id] = units.get(line_id, 0) + count
    return units


def _count(short: Iterable[ShortageRecord]) -> str:
    return counted(sum(one.unit_count for one in short))


def _nothing_left(case: Case) -> CannotSettle:
    why = "cannot be settled so: no units are left that it is about"
    return CannotSettle(str(case.id), "open", why, _OTHERWISE)
