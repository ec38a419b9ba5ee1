"""What settling an exception does to an order, whatever the order looks like: no unit is lost or made."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from hypothesis import given, strategies as st

from policies.domain.model import Channel, Commitment, Location, Outcome, Product, StockLevel
from policies.domain.resolutions import APPROVED, BACKORDERED, CANCELLED, REROUTED
from policies.domain.shipments import ShipmentState
from service.allocation.planning_context import ChannelContext
from service.errors import CannotResolve
from service.orders.allocation_record import (
    CANCELLED as GONE,
    CONFIRMED,
    AllocationRecord,
    LineRecord,
    ShipmentRecord,
    ShortageRecord,
)
from service.resolution.resolution_actions import ResolutionContext, apply_resolution
from service.stock.stock_book import Book
from tests.policies.small_retailer import ANYWHERE, rules

NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)
PLACES = ("dc", "north")
RULES = rules(ANYWHERE)

units = st.integers(0, 4)
shortages = st.tuples(
    st.sampled_from(["oversell", "unfillable"]),
    st.sampled_from(["", "race", "rejected"]),
    st.booleans(),
    st.integers(1, 4),
)


@st.composite
def orders(draw: st.DrawFn) -> AllocationRecord:
    """A sold order of one to three lines: some units promised at `dc`, some cancelled, some short."""
    record = AllocationRecord(uuid.uuid4(), "web", "A-1", NOW, NOW, state=CONFIRMED, commitment=Commitment.SOLD)
    promised: dict[str, int] = {}
    for number in range(1, draw(st.integers(1, 3)) + 1):
        line_id, cancelled, count = str(number), draw(units), draw(units)
        kinds = {(kind, cause, waits): n for kind, cause, waits, n in draw(st.lists(shortages, max_size=3))}
        short = [
            ShortageRecord(line_id, "MUG", n, kind, cause, backordered=waits)
            for (kind, cause, waits), n in kinds.items()
        ]
        wanted = count + sum(one.unit_count for one in short)
        if not wanted:
            continue
        record.lines.append(LineRecord(line_id, "MUG", wanted + cancelled, cancelled=cancelled))
        record.shortages += short
        promised |= {line_id: count} if count else {}
    if not record.lines:
        record.lines.append(LineRecord("1", "MUG", 1))
        promised = {"1": 1}
    if promised:
        record.shipments.append(ShipmentRecord(uuid.uuid4(), "dc", None, ShipmentState.ASSIGNED, promised))
    record.outcome = draw(st.sampled_from([Outcome.NEEDS_REVIEW, Outcome.PARTLY_ALLOCATED]))
    return record


def book_of(record: AllocationRecord, free: int) -> Book:
    taken = sum(record.promised().values())
    levels = {
        ("MUG", "dc"): StockLevel("MUG", "dc", taken, allocated=taken, as_of_time=NOW),
        ("MUG", "north"): StockLevel("MUG", "north", free, as_of_time=NOW),
    }
    return Book(NOW, levels, uuid.uuid4)


def channel_context() -> ChannelContext:
    places = {place: Location(place, "warehouse") for place in PLACES}
    return ChannelContext(RULES, places, Channel("web", "web"), {"MUG": Product("MUG")})


@given(
    record=orders(),
    kind=st.sampled_from(["oversell", "unfillable", "rejected", "review", "late_shipment", "stuck_order"]),
    resolution=st.sampled_from([APPROVED, BACKORDERED, CANCELLED, REROUTED]),
    free=st.integers(0, 20),
    action=st.sampled_from(["review", "hold"]),
)
def test_every_unit_of_a_line_is_promised_short_or_cancelled_once(
    record: AllocationRecord, kind: str, resolution: str, free: int, action: str
) -> None:
    book = book_of(record, free)
    shipment_id = record.shipments[0].id if record.shipments else None
    case = ResolutionContext(uuid.uuid4(), kind, action, shipment_id=shipment_id)

    try:
        apply_resolution(channel_context(), book, record, case, resolution)
    except CannotResolve:
        # Whoever asked rolls everything back.
        return

    for line in record.lines:
        short = sum(one.unit_count for one in record.shortages if one.line_id == line.line_id)
        assert record.promised_of_line(line.line_id) + short == line.uncancelled
    assert all(level.available >= 0 for level in book.levels.values())
    assert sum(level.allocated for level in book.levels.values()) == sum(record.promised().values())
    assert (record.state == GONE) is all(line.uncancelled == 0 for line in record.lines)


@given(record=orders(), kind=st.sampled_from(["oversell", "unfillable"]), resolution=st.sampled_from([BACKORDERED]))
def test_units_of_other_kinds_stay_as_they_are(record: AllocationRecord, kind: str, resolution: str) -> None:
    others = [one for one in record.shortages if one.kind != kind]

    try:
        apply_resolution(
            channel_context(), book_of(record, 0), record, ResolutionContext(uuid.uuid4(), kind, "review"), resolution
        )
    except CannotResolve:
        return

    assert [one for one in record.shortages if one.kind != kind] == others
    assert all(one.backordered for one in record.shortages if one.kind == kind)
