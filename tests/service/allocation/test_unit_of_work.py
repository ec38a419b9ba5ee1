"""An order's version and update time rise with every event that a transaction records about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service.allocation.planner import AllocationChange
from service.allocation.unit_of_work import UnitOfWork
from service.orders.allocation_record import AllocationRecord
from service.stock.stock_book import Book

NOW = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.mark.parametrize("minutes", [-5, 5])
def test_an_update_time_never_falls(minutes: int) -> None:
    """Backorders are locked after the clock was read; another transaction may have changed them in between."""
    earlier = NOW + timedelta(minutes=minutes)
    record = AllocationRecord(uuid4(), "web", "A-1", create_time=NOW - timedelta(days=1), update_time=earlier)
    unit_of_work = UnitOfWork(Book(NOW, {}, uuid4))
    unit_of_work.load([record])

    unit_of_work.record(AllocationChange(record))
    assert (record.update_time, record.version) == (earlier, 0)
    unit_of_work.record(AllocationChange(record, "backorder_filled", "Backorder filled: 1 unit from dc."))
    assert (record.update_time, record.version) == (max(earlier, NOW), 1)
