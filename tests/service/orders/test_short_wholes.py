"""Short units of kits and items stay together, however many reasons there are for them."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from hypothesis import given, settings, strategies as st

from policies.decisions.shortages import KEPT_TOGETHER, LINE_RESTRICTED
from policies.domain.kits import KitPart
from policies.domain.listings import OrderedItem
from service.orders.allocation_record import OVERSELL, AllocationRecord, LineRecord, ShortageRecord
from service.orders.short_wholes import short_parts, with_their_wholes

NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)
REASONS = (
    ("unfillable", KEPT_TOGETHER),
    (OVERSELL, ""),
    ("unfillable", LINE_RESTRICTED),
    ("held_by_buffer", "held_by_buffer"),
)
MUG_IN_SET, BOWL_IN_SET = KitPart("2", "SET", 1), KitPart("2", "SET", 2)


@st.composite
def packs(draw: st.DrawFn) -> AllocationRecord:
    """An order of packs, all of them short, each unit for any reason and waiting or not."""
    size, count = draw(st.integers(2, 4)), draw(st.integers(1, 4))
    units = Counter(
        draw(st.lists(st.tuples(st.sampled_from(REASONS), st.booleans()), min_size=size * count, max_size=size * count))
    )
    record = AllocationRecord(uuid.uuid4(), "web", "A-1", NOW, NOW)
    record.lines = [LineRecord("1", "MUG", size * count, item=OrderedItem("pack", count, size))]
    record.shortages = [short(n, reason, waits=waits) for (reason, waits), n in units.items()]
    return record


def short(
    count: int, reason: tuple[str, str], *, line_id: str = "1", sku: str = "MUG", waits: bool = False
) -> ShortageRecord:
    kind, cause = reason
    return ShortageRecord(line_id, sku, count, kind, cause, backordered=waits)


def count_by_reason(shortages: Iterable[ShortageRecord]) -> Counter[tuple[str, str, str, bool]]:
    units: Counter[tuple[str, str, str, bool]] = Counter()
    for x in shortages:
        units[x.line_id, x.kind, x.cause, x.backordered] += x.unit_count
    return units


@settings(max_examples=60, deadline=None)
@given(packs())
def test_new_short_units_of_packs_are_whole_packs_or_parts_of_one_and_none_is_lost(record: AllocationRecord) -> None:
    parts = short_parts(record, record.shortages)
    size = record.lines[0].unit_count // record.lines[0].item.count if record.lines[0].item else 0
    of_wholes: Counter[object] = Counter()
    for part in parts.missing:
        of_wholes[part.whole] += part.short.unit_count
    for whole, waiting in parts.waiting.items():
        assert whole in of_wholes
        assert {x.cause for x in waiting} == {KEPT_TOGETHER}
        of_wholes[whole] += sum(x.unit_count for x in waiting)

    assert all(count == size for whole, count in of_wholes.items() if whole is not None)
    assert of_wholes[None] % size == 0
    everything = [*(part.short for part in parts.missing), *(x for xs in parts.waiting.values() for x in xs)]
    assert count_by_reason(everything) == count_by_reason(record.shortages)


@settings(max_examples=60, deadline=None)
@given(packs(), st.data())
def test_whatever_shortage_of_packs_is_resolved_whole_packs_are_and_as_few_as_possible(
    record: AllocationRecord, data: st.DataObject
) -> None:
    chosen = data.draw(st.lists(st.sampled_from(record.shortages), unique=True, min_size=1))
    size = record.lines[0].unit_count // record.lines[0].item.count if record.lines[0].item else 0
    resolved = with_their_wholes(record, chosen)
    before = count_by_reason(record.shortages)
    for x in resolved:
        record.remove_shortage(x)

    assert resolved[: len(chosen)] == chosen
    count = sum(x.unit_count for x in chosen)
    assert sum(x.unit_count for x in resolved) == -(-count // size) * size
    assert count_by_reason(resolved) + count_by_reason(record.shortages) == before


def test_the_components_of_a_kit_that_wait_for_a_missing_one_are_resolved_with_it() -> None:
    record = AllocationRecord(uuid.uuid4(), "web", "A-1", NOW, NOW)
    record.lines = [
        LineRecord("1", "MUG", 1),
        LineRecord("2/MUG", "MUG", 3, kit=MUG_IN_SET),
        LineRecord("2/BOWL", "BOWL", 6, kit=BOWL_IN_SET),
    ]
    mug, other_mug = short(2, REASONS[1], line_id="2/MUG"), short(1, REASONS[1])
    waiting = [short(4, REASONS[0], line_id="2/BOWL", sku="BOWL"), short(2, REASONS[2], line_id="2/BOWL", sku="BOWL")]
    record.shortages = [other_mug, mug, *waiting, short(1, REASONS[3], line_id="2/MUG", waits=True)]

    assert with_their_wholes(record, [other_mug]) == [other_mug]
    assert with_their_wholes(record, [mug]) == [mug, waiting[0]]
