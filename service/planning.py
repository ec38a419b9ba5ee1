"""What one order does to a book: asks `policies`, and turns the decision into promises and a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

from policies.model import Channel, Commitment, Context, Location, Order, OrderFacts, Outcome, Product, World
from policies.oversell import UNMAPPED, oversell_cause
from policies.policy import PolicySet
from policies.promise import Course, Promise, PromiseState, course, same_contents, stands_as_it_was
from policies.reasons import units as counted
from policies.routing import Decision, Shortage, ShortageKind, route
from service import answers, exceptions
from service.book import Book
from service.exceptions import OrderException
from service.record import (
    ASSIGNED,
    CONFIRMED,
    HELD,
    PROMISING,
    REFUSED,
    AllocationRecord,
    ShipmentRecord,
    ShortageRecord,
)
from truestock.v1 import decision_pb2

_STATES = {
    "refused": PromiseState.NONE,
    "held": PromiseState.HELD,
    "confirmed": PromiseState.CONFIRMED,
    "released": PromiseState.RELEASED,
    "expired": PromiseState.EXPIRED,
    "cancelled": PromiseState.RELEASED,
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What orders are planned in: the rules, the catalogue, and the products that they name."""

    policy_set: PolicySet
    locations: Mapping[str, Location]
    channel: Channel
    products: Mapping[str, Product]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an order. `event` is empty where nothing changed; `decision` is there where one was made."""

    record: AllocationRecord
    event: str = ""
    description: str = ""
    change_refused: bool = False
    decision: Decision | None = None
    exceptions: tuple[OrderException, ...] = field(default=())
    """What a person has to settle from now on."""
    cancelled: int = 0
    """Units of a sold order that were taken off as it came: sold, and cancelled."""


def decide(
    surroundings: Surroundings, book: Book, record: AllocationRecord, order: Order, hold_duration: timedelta
) -> Verdict:
    """Plans, converts or keeps; the book and the record are changed to match. `record` is the order's, locked."""
    if _says_again(record, order):
        return Verdict(record)
    promise = promise_of(record, book)
    what = course(promise, order)
    if what is Course.KEEP:
        return Verdict(record)
    if what is Course.CONVERT:
        record.state_contents(order)
        return sent_to_review(surroundings, book, confirm(book, record))
    world = World(book.now, surroundings.locations, surroundings.products, book.levels)
    decision = route(surroundings.policy_set, world, surroundings.channel, order, promise.own)
    if stands_as_it_was(promise, order, decision):
        return Verdict(record, change_refused=True)
    return _replan(surroundings, book, record, order, decision=decision, hold_duration=hold_duration)


def _says_again(record: AllocationRecord, order: Order) -> bool:
    """Whether the channel repeats what it sold before anything was cancelled: what is cancelled stays so."""
    was_cancelled = any(line.cancelled for line in record.lines)
    return record.commitment is Commitment.SOLD and was_cancelled and same_contents(record.order_as_stated(), order)


def promise_of(record: AllocationRecord, book: Book) -> Promise:
    """The stored promise as `policies` sees it, its state by the clock."""
    state = _STATES[record.state_at(book.now)]
    wanted = any(line.wanted for line in record.lines)
    short: dict[str, int] = {}
    for shortage in record.shortages:
        short[shortage.line_id] = short.get(shortage.line_id, 0) + shortage.unit_count
    return Promise(state, record.order(record.commitment) if wanted else None, record.promised(), short)


def confirm(book: Book, record: AllocationRecord) -> Verdict:
    """Turns a live hold into a sale: the same units stay promised where they are. See `sent_to_review`."""
    for shipment in record.shipments:
        for line_id, units in shipment.units.items():
            book.confirm(record.id, line_id, (_sku(record, line_id), shipment.location_id), units)
    record.state, record.commitment, record.expire_time = CONFIRMED, Commitment.SOLD, None
    record.update_time = book.now
    return Verdict(record, "confirmed", "The hold was confirmed: the order is paid.")


def sent_to_review(surroundings: Surroundings, book: Book, verdict: Verdict) -> Verdict:
    """A hold that needs review is reviewed once it is sold; other verdicts stay as they are."""
    record = verdict.record
    if not verdict.event or record.outcome is not Outcome.NEEDS_REVIEW:
        return verdict
    context = _context(surroundings, book, record.order(Commitment.SOLD))
    due = exceptions.of_review(surroundings.policy_set, context, "the plan needs review")
    return replace(verdict, exceptions=_with_person(record, [due]))


def give_back(book: Book, record: AllocationRecord) -> None:
    """Takes a live promise off the book. One that has expired has been taken off already."""
    was_held = record.state == HELD
    if record.state_at(book.now) in PROMISING:
        for shipment in record.shipments:
            for line_id, units in shipment.units.items():
                key = (_sku(record, line_id), shipment.location_id)
                book.release(record.id, line_id, key, units, was_held=was_held)
    record.shipments, record.shortages = [], []


def _replan(
    surroundings: Surroundings,
    book: Book,
    record: AllocationRecord,
    order: Order,
    *,
    decision: Decision,
    hold_duration: timedelta,
) -> Verdict:
    before = record.state_at(book.now)
    give_back(book, record)
    record.state_contents(order)
    record.outcome, record.update_time = decision.outcome, book.now
    record.state = _state_after(order, decision)
    record.expire_time = book.now + hold_duration if record.state == HELD else None
    # Causes are found before this order's own units are taken: they did not race with themselves.
    record.shortages = [_shortage(surroundings, book, order, short) for short in decision.shortages]
    _promise(book, record, decision)
    record.decision_id = book.new_id()
    record.decision = _explained(surroundings, book, record.decision_id, decision)
    event, description = _told(before, record)
    raised = _exceptions(surroundings, book, record, order, decision)
    return Verdict(record, event, description, decision=decision, exceptions=raised)


def _state_after(order: Order, decision: Decision) -> str:
    if order.commitment is Commitment.SOLD:
        return CONFIRMED
    return HELD if decision.plan else REFUSED


def _promise(book: Book, record: AllocationRecord, decision: Decision) -> None:
    take = book.hold if record.state == HELD else book.allocate
    for planned in decision.plan:
        units = {line.line_id: line.unit_count for line in planned.lines}
        made = ShipmentRecord(book.new_id(), planned.location_id, planned.distance_km, ASSIGNED, units)
        record.shipments.append(made)
        for line in planned.lines:
            take(record.id, line.line_id, (line.sku, planned.location_id), line.unit_count)


def _shortage(surroundings: Surroundings, book: Book, order: Order, short: Shortage) -> ShortageRecord:
    cause = ""
    if short.kind is ShortageKind.OVERSELL and order.commitment is Commitment.SOLD:
        may_sell_from = surroundings.channel.may_sell_from
        levels = [x for (sku, place), x in book.levels.items() if sku == short.sku and may_sell_from(place)]
        cause = oversell_cause(levels, short.unit_count, book.now)
        if short.sku not in surroundings.products:
            cause = UNMAPPED
    # A HOLD sold nothing, so nothing is oversold.
    kind = short.kind if order.commitment is Commitment.SOLD else ShortageKind.UNFILLABLE
    return ShortageRecord(short.line_id, short.sku, short.unit_count, kind.value, cause)


def _exceptions(
    surroundings: Surroundings, book: Book, record: AllocationRecord, order: Order, decision: Decision
) -> tuple[OrderException, ...]:
    """What a person has to settle; a cart, which nobody has paid for, needs none."""
    if record.commitment is Commitment.HOLD:
        return ()
    policy_set, context = surroundings.policy_set, _context(surroundings, book, order)
    found = exceptions.of_shortages(policy_set, context, record.shortages, surroundings.products)
    found += exceptions.of_reviews(policy_set, context, decision.reviews)
    return _with_person(record, found)


def _context(surroundings: Surroundings, book: Book, order: Order) -> Context:
    """What exception rules may know of an order. Only an order that is picked up is tied to a location."""
    return Context(
        book.now,
        surroundings.channel,
        OrderFacts.of(order),
        order.destination,
        location=surroundings.locations.get(order.pickup_location_id or ""),
    )


def _with_person(record: AllocationRecord, found: list[OrderException]) -> tuple[OrderException, ...]:
    # Whatever the action, somebody has to carry it out: no exception is settled by policy alone yet.
    record.needs_person = record.needs_person or bool(found)
    return tuple(found)


def _told(before: str, record: AllocationRecord) -> tuple[str, str]:
    """The event of a plan, and its sentence."""
    promised = sum(record.promised().values())
    places = ", ".join(shipment.location_id for shipment in record.shipments) or "nowhere"
    anew = " anew" if before in (*PROMISING, "expired") else ""
    short = f"; {counted(record.short_count())} short" if record.shortages else ""
    sentence = f"Planned{anew}: {counted(promised)} from {places}{short}."
    event = {HELD: "held", CONFIRMED: "confirmed" if before in (HELD, "expired") else "sold", REFUSED: "refused"}
    return event[record.state], sentence


def _explained(surroundings: Surroundings, book: Book, decision_id: UUID, decision: Decision) -> decision_pb2.Decision:
    return decision_pb2.Decision(
        decision_id=str(decision_id),
        policy_revision=surroundings.policy_set.revision,
        routing_policy=decision.policy.name,
        routing_policy_source=str(decision.policy.source),
        fired_rules=[answers.fired_rule(fired) for fired in decision.fired],
        dropped_candidates=[answers.dropped_candidate(dropped) for dropped in decision.dropped],
        stock_read_time=answers.timestamp(book.now),
        search_bounded=not decision.searched_exhaustively,
    )


def _sku(record: AllocationRecord, line_id: str) -> str:
    return next(line.sku for line in record.lines if line.line_id == line_id)
