"""Stock that its feed no longer tracks: the figure stays, and nothing more is sold from it."""

from __future__ import annotations

from datetime import timedelta

from policies.decisions.routing import route
from policies.decisions.sellable import assess_availability
from policies.domain.model import Context
from policies.explanation import DropReason
from policies.facts.measures import days_since_count
from tests.policies.small_retailer import ANYWHERE, NOW, TIKTOK, level, policy, rules, sold, warehouse, world

DC, ANNEX = warehouse("dc"), warehouse("annex")
HERE = world([DC, ANNEX], [level("MUG", "dc", 5, tracked=False), level("MUG", "annex", 2)])


def test_nothing_is_told_of_stock_that_is_no_longer_tracked() -> None:
    found = assess_availability(rules(ANYWHERE), HERE, TIKTOK, "MUG")

    figures = {figure.location_id: figure for figure in found.locations}
    assert (found.sellable, found.total_available) == (2, 2)
    assert figures["dc"].not_used_by is not None
    assert figures["dc"].not_used_by.reason is DropReason.UNTRACKED


def test_no_order_goes_where_stock_is_no_longer_tracked_whatever_it_may_use() -> None:
    found = route(rules(policy(sold_may_use="[buffer, blocked]")), HERE, TIKTOK, sold({"MUG": 4}))

    assert found.units == {("MUG", "annex"): 2}
    assert ("dc", "MUG", DropReason.UNTRACKED) in {(one.location_id, one.sku, one.reason) for one in found.dropped}


def test_what_an_order_has_there_already_stays_its_own() -> None:
    promised = world([DC], [level("MUG", "dc", 5, allocated=3, tracked=False)])

    found = route(rules(ANYWHERE), promised, TIKTOK, sold({"MUG": 4}), {("MUG", "dc"): 3})

    assert found.units == {("MUG", "dc"): 3}


def test_days_since_the_count_are_since_a_person_counted() -> None:
    days = timedelta(days=1)
    stock = level("MUG", "dc", 5, counted_time=NOW - days, physical_count_time=NOW - 9 * days)

    assert days_since_count(Context(NOW, stock=stock)) == 9
    assert days_since_count(Context(NOW, stock=level("MUG", "dc", 5, counted_time=NOW - days))) == 1
