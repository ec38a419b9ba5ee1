"""What an order still waits for: its units that have not shipped, and those that are short."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from policies.domain.model import Commitment
from policies.domain.shipments import ShipmentState
from service.orders.allocation_record import AllocationRecord, LineRecord, ShipmentRecord, ShortageRecord

NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)


def record_of(units: dict[str, int], shipped: dict[str, int]) -> AllocationRecord:
    """A sold order of these units by line, of which some have shipped."""
    record = AllocationRecord(uuid4(), "web", "A-1", NOW, NOW, commitment=Commitment.SOLD)
    record.lines = [LineRecord(line_id, f"SKU-{line_id}", count) for line_id, count in units.items()]
    record.shipments = [ShipmentRecord(uuid4(), "dc", None, ShipmentState.SHIPPED, {}, shipped)]
    return record


def unshipped(units: dict[str, int], shipped: dict[str, int]) -> dict[str, int]:
    record = record_of(units, shipped)
    rest = record.unshipped_order(record.order(Commitment.SOLD))
    return {} if rest is None else {line.line_id: line.unit_count for line in rest.lines}


def test_what_has_shipped_is_not_shipped_again_and_the_last_unit_is() -> None:
    assert unshipped({"1": 5, "2": 3, "3": 2}, {"1": 2, "2": 2, "3": 2}) == {"1": 3, "2": 1}
    assert unshipped({"1": 5}, {"1": 5}) == {}
    assert unshipped({"1": 5}, {}) == {"1": 5}


def test_each_line_is_short_of_its_own_units_and_some_of_them_wait() -> None:
    record = record_of({"1": 9, "2": 9}, {})
    record.shortages = [
        ShortageRecord("1", "SKU-1", 1, "oversell"),
        ShortageRecord("1", "SKU-1", 2, "oversell", backordered=True),
        ShortageRecord("1", "SKU-1", 3, "unfillable", backordered=True),
        ShortageRecord("2", "SKU-2", 4, "oversell", backordered=True),
    ]

    short = {
        line_id: [record.short_of_line(line_id, backordered=waits) for waits in (False, True)] for line_id in ("1", "2")
    }

    assert short == {"1": [1, 5], "2": [0, 4]}
