"""How fast a product sells, learnt from its sales."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import exp, isclose

import pytest
from hypothesis import given, strategies as st

from policies.stock.velocity import TIME_CONSTANT_DAYS, Sale, Velocity, updated_velocity, velocity_at

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
DAY = timedelta(days=1)

minutes = st.integers(0, 60 * 24 * 100)
sales_by_minute = st.lists(st.tuples(minutes, st.integers(-20, 50)), max_size=40)


def test_what_sells_evenly_for_long_sells_so_many_a_day() -> None:
    sales = [Sale(1, NOON - n * DAY / 4) for n in range(4 * 200)]

    assert velocity_at(updated_velocity(None, sales, NOON), NOON) == pytest.approx(4, rel=0.02)


def test_a_sale_counts_a_third_after_the_time_constant() -> None:
    sold = updated_velocity(None, [Sale(14, NOON)], NOON)

    assert velocity_at(sold, NOON) == 1
    assert velocity_at(sold, NOON + TIME_CONSTANT_DAYS * DAY) == pytest.approx(exp(-1), rel=0.005)


def test_a_sale_that_is_taken_back_at_once_leaves_nothing() -> None:
    velocity = updated_velocity(None, [Sale(3, NOON), Sale(-3, NOON)], NOON)

    assert velocity_at(velocity, NOON + DAY) == 0


def test_taking_back_old_sales_never_makes_a_velocity_below_0() -> None:
    sold = updated_velocity(None, [Sale(3, NOON)], NOON)
    later = NOON + 10 * DAY

    assert velocity_at(updated_velocity(sold, [Sale(-3, later)], later), later) == 0


def test_decisions_see_the_same_figure_for_minutes() -> None:
    sold = Velocity(2.34567, NOON)

    assert [velocity_at(sold, NOON + timedelta(minutes=n)) for n in (0, 1, 2)] == [2.35, 2.35, 2.35]


@given(sales_by_minute, st.lists(minutes, max_size=6))
def test_learning_little_by_little_comes_to_the_sum_over_all_sales(
    sales: list[tuple[int, int]], looks: list[int]
) -> None:
    start, end = NOON, NOON + timedelta(minutes=60 * 24 * 100)
    all_sales = [Sale(units, start + timedelta(minutes=minute)) for minute, units in sales]
    velocity: Velocity | None = None
    heard: set[int] = set()
    for look in [*(start + timedelta(minutes=minute) for minute in sorted(looks)), end]:
        new = [n for n, sale in enumerate(all_sales) if sale.time <= look and n not in heard]
        velocity = updated_velocity(velocity, [all_sales[n] for n in new], look)
        heard.update(new)

    by_definition = sum(
        sale.unit_count * exp(-((end - sale.time) / DAY) / TIME_CONSTANT_DAYS) / TIME_CONSTANT_DAYS
        for sale in all_sales
    )
    assert velocity is not None
    assert isclose(velocity.units_per_day, by_definition, rel_tol=1e-9, abs_tol=1e-9)


@given(st.integers(1, 1_000), minutes, minutes)
def test_a_sale_heard_late_counts_as_if_it_had_been_heard_in_time(units: int, sold: int, heard: int) -> None:
    moment = NOON + timedelta(minutes=sold)
    look = moment + timedelta(minutes=heard)

    in_time = updated_velocity(updated_velocity(None, [Sale(units, moment)], moment), [], look)
    late = updated_velocity(updated_velocity(None, [], moment), [Sale(units, moment)], look)

    assert isclose(in_time.units_per_day, late.units_per_day, rel_tol=1e-9)
