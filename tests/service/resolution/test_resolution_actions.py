"""The effect of a resolution on any order: no unit is lost or created."""

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
    CANCELLED as ORDER_CANCELLED,
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
LOCATION_IDS = ("dc", "north")
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
        open_count = count + sum(shortage.unit_count for shortage in short)
        if not open_count:
            continue
        record.lines.append(LineRecord(line_id, "MUG", open_count + cancelled, cancelled=cancelled))
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
    allocated = sum(record.promised().values())
    levels = {
        ("MUG", "dc"): StockLevel("MUG", "dc", allocated, allocated=allocated, as_of_time=NOW),
        ("MUG", "north"): StockLevel("MUG", "north", free, as_of_time=NOW),
    }
    return Book(NOW, levels, uuid.uuid4)


def channel_context() -> ChannelContext:
    locations = {location_id: Location(location_id, "warehouse") for location_id in LOCATION_IDS}
    return ChannelContext(RULES, locations, Channel("web", "web"), {"MUG": Product("MUG")})


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
    exception = ResolutionContext(uuid.uuid4(), kind, action, shipment_id=shipment_id)

    try:
        apply_resolution(channel_context(), book, record, exception, resolution)
    except CannotResolve:
        # The caller rolls everything back.
        return

    for line in record.lines:
        short = sum(shortage.unit_count for shortage in record.shortages if shortage.line_id == line.line_id)
        assert record.promised_of_line(line.line_id) + short == line.uncancelled
    assert all(level.available >= 0 for level in book.levels.values())
    assert sum(level.allocated for level in book.levels.values()) == sum(record.promised().values())
    assert (record.state == ORDER_CANCELLED) is all(line.uncancelled == 0 for line in record.lines)


@given(record=orders(), kind=st.sampled_from(["oversell", "unfillable"]), resolution=st.sampled_from([BACKORDERED]))
def test_units_of_other_kinds_stay_as_they_are(record: AllocationRecord, kind: str, resolution: str) -> None:
    other_shortages = [shortage for shortage in record.shortages if shortage.kind != kind]

    try:
        apply_resolution(
            channel_context(), book_of(record, 0), record, ResolutionContext(uuid.uuid4(), kind, "review"), resolution
        )
    except CannotResolve:
        return

    assert [shortage for shortage in record.shortages if shortage.kind != kind] == other_shortages
    assert all(shortage.backordered for shortage in record.shortages if shortage.kind == kind)
