"""The stock of one transaction: what moves it, when that was, and which levels have more to sell than before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from policies.domain.model import StockLevel
from service.stock.stock_book import Book, LineUnits, Occurrence

NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)
KEY = ("MUG", "dc")


def book_of(*, counted_time: datetime | None = None) -> Book:
    """Ten mugs at one location, of which a sold order has four."""
    mugs = StockLevel(*KEY, 10, allocated=4, as_of_time=NOW, counted_time=counted_time)
    return Book(NOW, {KEY: mugs}, uuid4)


def mugs(count: int) -> LineUnits:
    return LineUnits(uuid4(), "1", KEY, count)


@pytest.mark.parametrize(("reason", "is_sellable"), [(None, True), ("damaged", False)])
def test_a_return_is_on_hand_and_sellable_unless_there_is_a_reason_why_not(
    reason: str | None, is_sellable: bool
) -> None:
    book = book_of()

    book.receive_return(mugs(2), Occurrence(NOW), reason=reason)

    level = book.levels[KEY]
    assert (level.on_hand, level.available) == (12, 8 if is_sellable else 6)
    assert [(x.kind, x.on_hand, x.reason) for x in book.movements] == [("returned", 2, reason)]


def test_only_what_gives_units_back_or_brings_some_leaves_more_to_orders_that_wait() -> None:
    book = book_of()
    book.hold(mugs(1))
    book.allocate(mugs(2))
    assert book.risen_keys() == set()

    since = len(book.movements)
    book.release(mugs(1), was_held=False)
    assert book.risen_keys(since) == {KEY}
    assert book.risen_keys() == set()


def test_units_that_leave_in_the_instant_of_a_count_have_left_after_it() -> None:
    """Dated at that instant they would look included in it, and the same count sent again would bring them back."""
    book = book_of(counted_time=NOW)

    shipped = book.fulfill("shipped", mugs(1), Occurrence(NOW))
    included = book.fulfill("shipped", mugs(1), Occurrence(NOW, is_counted=True))

    assert shipped.effective_time == NOW + timedelta(microseconds=1)
    assert included.effective_time == NOW
