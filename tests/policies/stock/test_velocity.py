"""How fast a product sells, learned from its sales."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import exp, isclose

import pytest
from hypothesis import given, strategies as st

from policies.domain.model import LEAST_VELOCITY
from policies.stock.velocity import TIME_CONSTANT_DAYS, Sale, Velocity, updated_velocity, velocity_at

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
DAY = timedelta(days=1)

minutes = st.integers(0, 60 * 24 * 100)
sales_by_minute = st.lists(st.tuples(minutes, st.integers(-20, 50)), max_size=40)


def test_steady_sales_give_their_daily_rate() -> None:
    sales = [Sale(1, NOON - number * DAY / 4) for number in range(4 * 200)]

    assert velocity_at(updated_velocity(None, sales, NOON), NOON) == pytest.approx(4, rel=0.02)


def test_a_sale_weighs_about_a_third_after_the_time_constant() -> None:
    sold = updated_velocity(None, [Sale(14, NOON)], NOON)

    assert velocity_at(sold, NOON) == 1
    assert velocity_at(sold, NOON + TIME_CONSTANT_DAYS * DAY) == pytest.approx(exp(-1), rel=0.005)


def test_a_sale_reversed_at_once_leaves_no_velocity() -> None:
    velocity = updated_velocity(None, [Sale(3, NOON), Sale(-3, NOON)], NOON)

    assert velocity_at(velocity, NOON + DAY) == 0


def test_reversing_old_sales_never_makes_a_velocity_negative() -> None:
    sold = updated_velocity(None, [Sale(3, NOON)], NOON)
    later = NOON + 10 * DAY

    assert velocity_at(updated_velocity(sold, [Sale(-3, later)], later), later) == 0


def test_decisions_see_the_same_figure_for_minutes() -> None:
    sold = Velocity(2.34567, NOON)

    assert [velocity_at(sold, NOON + timedelta(minutes=number)) for number in (0, 1, 2)] == [2.35, 2.35, 2.35]


@given(sales_by_minute, st.lists(minutes, max_size=6))
def test_learning_in_steps_equals_learning_from_all_sales_at_once(
    sales: list[tuple[int, int]], learning_times: list[int]
) -> None:
    start, end = NOON, NOON + timedelta(minutes=60 * 24 * 100)
    all_sales = [Sale(units, start + timedelta(minutes=minute)) for minute, units in sales]
    velocity: Velocity | None = None
    learned: set[int] = set()
    for learning_time in [*(start + timedelta(minutes=minute) for minute in sorted(learning_times)), end]:
        new = [number for number, sale in enumerate(all_sales) if sale.time <= learning_time and number not in learned]
        velocity = updated_velocity(velocity, [all_sales[number] for number in new], learning_time)
        learned.update(new)

    by_definition = sum(
        sale.unit_count * exp(-((end - sale.time) / DAY) / TIME_CONSTANT_DAYS) / TIME_CONSTANT_DAYS
        for sale in all_sales
    )
    assert velocity is not None
    assert isclose(velocity.units_per_day, by_definition, rel_tol=1e-9, abs_tol=1e-9)


@given(st.integers(1, 1_000), minutes, minutes)
def test_a_sale_reported_late_counts_like_one_reported_in_time(units: int, sold: int, learned: int) -> None:
    moment = NOON + timedelta(minutes=sold)
    learning_time = moment + timedelta(minutes=learned)

    in_time = updated_velocity(updated_velocity(None, [Sale(units, moment)], moment), [], learning_time)
    late = updated_velocity(updated_velocity(None, [], moment), [Sale(units, moment)], learning_time)

    assert isclose(in_time.units_per_day, late.units_per_day, rel_tol=1e-9)


@given(st.integers(0, 60 * 365))
def test_a_product_that_hardly_sells_counts_as_not_selling(days: int) -> None:
    """A till may date a sale decades ago; days of cover at its velocity would not be a finite number."""
    sold = updated_velocity(None, [Sale(1, NOON - days * DAY)], NOON)

    shown = velocity_at(sold, NOON)

    assert shown == 0 or shown >= LEAST_VELOCITY
