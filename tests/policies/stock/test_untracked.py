"""Stock that its feed no longer tracks: the figure stays, but nothing more is sold from it."""

from __future__ import annotations

from datetime import timedelta

from policies.decisions.availability.sellable import assess_availability
from policies.decisions.routing import route
from policies.domain.model import Context
from policies.explanation import DropReason
from policies.facts.measures import days_since_count
from tests.policies.small_retailer import ANYWHERE, NOW, TIKTOK, level, policy, rules, sold, warehouse, world

DC, ANNEX = warehouse("dc"), warehouse("annex")
SNAPSHOT = world([DC, ANNEX], [level("MUG", "dc", 5, tracked=False), level("MUG", "annex", 2)])


def test_untracked_stock_is_not_sellable() -> None:
    result = assess_availability(rules(ANYWHERE), SNAPSHOT, TIKTOK, "MUG")

    figures = {figure.location_id: figure for figure in result.locations}
    assert (result.sellable, result.total_available) == (2, 2)
    assert figures["dc"].not_used_by is not None
    assert figures["dc"].not_used_by.reason is DropReason.UNTRACKED


def test_no_order_is_routed_to_untracked_stock_whatever_it_may_use() -> None:
    result = route(rules(policy(sold_may_use="[buffer, blocked]")), SNAPSHOT, TIKTOK, sold({"MUG": 4}))

    assert result.units == {("MUG", "annex"): 2}
    assert ("dc", "MUG", DropReason.UNTRACKED) in {(item.location_id, item.sku, item.reason) for item in result.dropped}


def test_an_order_keeps_its_units_of_untracked_stock() -> None:
    promised = world([DC], [level("MUG", "dc", 5, allocated=3, tracked=False)])

    result = route(rules(ANYWHERE), promised, TIKTOK, sold({"MUG": 4}), {("MUG", "dc"): 3})

    assert result.units == {("MUG", "dc"): 3}
    assert [short.unit_count for short in result.shortages] == [1]


def test_days_since_count_start_when_a_person_last_counted() -> None:
    days = timedelta(days=1)
    stock = level("MUG", "dc", 5, counted_time=NOW - days, physical_count_time=NOW - 9 * days)

    assert days_since_count(Context(NOW, stock=stock)) == 9
    assert days_since_count(Context(NOW, stock=level("MUG", "dc", 5, counted_time=NOW - days))) is None
