"""The six rates of what was counted."""

from __future__ import annotations

from decimal import Decimal

from policies.reports import rates
from policies.reports.rates import Breakdown, Count, Part, Sums, Value


def sums(*counts: Count) -> Sums:
    added = Sums()
    for count in counts:
        added.add(count)
    return added


SOLD = Count(rates.SOLD, "", units=50, orders=20)


def test_oversold_units_are_a_share_of_units_sold_with_their_causes() -> None:
    race, stale = Count(rates.OVERSOLD, "race", 2, 1), Count(rates.OVERSOLD, "stale_feed", 3, 2)

    oversell = sums(SOLD, race, stale, race).figures(rates.RATES)[0]

    assert (oversell.count, oversell.total, oversell.orders, oversell.total_orders) == (7, 50, 4, 20)
    assert oversell.parts == (Part("race", 4, 2), Part("stale_feed", 3, 2))
    assert oversell.share == 0.14


def test_where_nothing_was_sold_there_is_no_rate_rather_than_a_rate_of_0() -> None:
    assert all(figures.share is None for figures in sums().figures(rates.RATES))


def test_mismatches_are_a_share_of_the_counts_that_were_compared() -> None:
    compared, differed = Count(rates.COMPARED, "erp", 0, 8), Count(rates.DIFFERED, "erp", 5, 2)

    mismatch = sums(compared, differed).figures(rates.RATES)[3]

    assert (mismatch.count, mismatch.total, mismatch.parts) == (2, 8, (Part("erp", 2, 2),))


def test_units_are_worth_their_prices_in_each_currency_the_own_one_first_and_those_without_a_price_apart() -> None:
    chf, usd = (
        Count(rates.OVERSOLD, "race", 3, 1, currency=code, priced=priced, value=Decimal(value))
        for code, priced, value in (("CHF", 3, "30.5"), ("USD", 2, "20"))
    )

    assert sums(SOLD, chf, usd, usd).values("USD") == (
        Value(rates.OVERSOLD, 4, "USD", Decimal(40)),
        Value(rates.OVERSOLD, 3, "CHF", Decimal("30.5")),
        Value(rates.OVERSOLD, 2),
    )
    assert sums(SOLD).values("USD") == ()


def test_a_filter_by_location_leaves_the_rates_of_orders_out() -> None:
    assert [rate.name for rate in rates.rates_of(["location"])] == ["exception", "inventory_mismatch", "late_shipment"]
    assert rates.rates_of([]) == rates.RATES


def test_a_unit_counts_for_each_of_the_rules_that_fired() -> None:
    count = Count(rates.OVERSOLD, "race", 2, 1, period=1, keys={"rule": ("nearest first", "keep two")})

    groups = rates.broken_down([count], "rule", 2)

    assert {key: group.whole.total(rates.OVERSOLD) for key, group in groups.items()} == {
        "nearest first": (2, 1),
        "keep two": (2, 1),
    }
    assert [x.total(rates.OVERSOLD)[0] for x in groups["keep two"].periods] == [0, 2]


def test_a_breakdown_keeps_the_greatest_groups() -> None:
    groups = {key: Breakdown(1) for key in ("small", "large", "middle")}
    for key, units in (("small", 1), ("large", 9), ("middle", 5)):
        groups[key].add(Count(rates.SOLD, "", units, 1))

    assert rates.greatest(groups, 2) == ["large", "middle"]
