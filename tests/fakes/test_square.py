from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import pytest

from tests.fakes.clock import Clock
from tests.fakes.square.books import Books
from tests.fakes.square.records import IN_STOCK, SOLD, WASTE


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_a_count_holds_whatever_was_sold_before_it_and_is_heard_of_later(order: tuple[int, ...]) -> None:
    # Square's own example: 100 counted, 3 sold, 2 sold offline, 95 counted, 2 wasted. In any order of news: 93.
    books = Books(Clock())
    location = books.add_location("Austin")
    variation = books.add_variation("MUG", {})
    news = [
        lambda: books.adjust("MUG", location, 3, ago=timedelta(minutes=50)),
        lambda: books.adjust("MUG", location, 2, ago=timedelta(minutes=40)),
        lambda: books.count("MUG", location, 95, ago=timedelta(minutes=30)),
        lambda: books.adjust("MUG", location, 2, IN_STOCK, WASTE, ago=timedelta(minutes=20)),
    ]
    books.count("MUG", location, 100, ago=timedelta(minutes=60))
    for number in order:
        news[number]()

    assert books.quantity(variation, location) == 93


def test_a_sale_at_the_till_is_taken_off_the_count_and_a_return_is_put_back_where_it_came() -> None:
    books = Books(Clock())
    austin, boston = books.add_location("Austin"), books.add_location("Boston")
    variation = books.add_variation("MUG", {austin.id: 5, boston.id: 0})
    sale = books.sell_at_till({"MUG": 2}, austin)
    books.give_back(sale, {"MUG": 1}, boston)
    books.give_back(sale, {"MUG": 1}, boston, restock=False)

    assert (books.quantity(variation, austin), books.quantity(variation, boston)) == (3, 1)
    assert books.quantity(variation, austin, SOLD) == 2
    assert books.sold() == {"MUG": 2}
