"""What one transaction that records several changes of a product knows of it in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from policies.domain.model import StockLevel
from policies.stock.counting import ChangeResult
from service.feeds.change_processing import ChangeRecorder
from service.feeds.stock_change import ReportedCount, ReportedMovement, StockChange
from service.stock.count_learning import LocationHistories
from service.stock.stock_book import Book
from service.stock.stock_history import History

NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)
KEY = ("MUG", "dc")


def test_units_that_arrive_where_a_product_is_no_longer_tracked_are_not_for_sale_before_a_count() -> None:
    book = Book(NOW, {KEY: StockLevel(*KEY, 5, as_of_time=NOW - timedelta(hours=1))}, uuid4)
    recorder = ChangeRecorder(book, {}, {}, History(), {}, {}, set(), LocationHistories({}))

    def is_tracked_after(minutes: int, **report: Any) -> bool:
        change = StockChange("till", str(minutes), *KEY, NOW + timedelta(minutes=minutes - 10), b"", **report)
        assert recorder.record(change, unmapped="").result is ChangeResult.ACCEPTED
        return book.levels[KEY].tracked

    assert not is_tracked_after(1, untracked=True)
    assert not is_tracked_after(2, movement=ReportedMovement("received", 3))
    assert is_tracked_after(3, count=ReportedCount(8))
    assert book.levels[KEY].on_hand == 8
