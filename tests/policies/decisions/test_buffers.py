"""How many units each form of buffer holds back, and how several rules combine."""

from itertools import pairwise
from math import exp, factorial, inf

import pytest
from hypothesis import given, settings, strategies as st

from policies.decisions import buffers
from policies.decisions.buffers import (
    buffer_effect,
    combined_hold_back,
    expected_sales_quantile,
    held_back_units,
    most_units,
    most_units_held_back,
    units_held_back,
)
from policies.domain.model import MAX_UNITS, Context
from policies.policy_set import BufferFile, Combine, HoldBack, Scope
from tests.policies.small_retailer import ANYWHERE, NOW, TIKTOK, level, rules

DAY = 86_400.0


def held_back(hold_back: HoldBack, available: int = 30, velocity: float | None = 2, age: float | None = 60) -> int:
    return held_back_units(hold_back, available=available, velocity_per_day=velocity, age_seconds=age)


def test_ten_percent_of_thirty_is_three() -> None:
    assert held_back(HoldBack("percent", percent=10)) == 3


def test_ten_percent_of_thirty_one_is_four() -> None:
    assert held_back(HoldBack("percent", percent=10), available=31) == 4


def test_seven_percent_of_a_hundred_is_seven_whatever_binary_fractions_say() -> None:
    assert held_back(HoldBack("percent", percent=7), available=100) == 7
    assert held_back(HoldBack("percent", percent=0.1), available=3000) == 3


def test_a_tenth_of_a_day_at_thirty_a_day_is_three_units() -> None:
    assert held_back(HoldBack("days_of_cover", days=0.1), velocity=30) == 3


def test_days_of_cover_are_rounded_up() -> None:
    assert held_back(HoldBack("days_of_cover", days=1.5), velocity=1.5) == 3


def test_a_product_of_unknown_velocity_holds_back_the_minimum() -> None:
    cover = HoldBack("days_of_cover", days=3)
    budget = HoldBack("expected_sales", minimum=2)

    assert held_back(cover, velocity=None) == 0
    assert held_back(budget, velocity=None) == 2


def test_a_figure_of_unknown_age_holds_back_the_minimum() -> None:
    assert held_back(HoldBack("expected_sales", minimum=1), velocity=100, age=None) == 1
    assert held_back(HoldBack("expected_sales"), velocity=100, age=None) == 0


def test_a_stated_window_needs_no_age() -> None:
    assert held_back(HoldBack("expected_sales", during_seconds=DAY), velocity=2, age=None) == 5


def test_the_maximum_bounds_every_form() -> None:
    assert held_back(HoldBack("percent", percent=50, maximum=4)) == 4
    assert held_back(HoldBack("days_of_cover", days=30, maximum=4)) == 4


def test_stock_below_its_promises_holds_back_no_percentage() -> None:
    assert held_back(HoldBack("percent", percent=10), available=-7) == 0


def test_an_extreme_velocity_holds_back_the_largest_unit_count() -> None:
    assert held_back(HoldBack("days_of_cover", days=365), velocity=1e300) == MAX_UNITS
    assert held_back(HoldBack("expected_sales", during_seconds=DAY), velocity=1e300) == MAX_UNITS


@pytest.mark.parametrize(
    ("mean", "service_level", "quantile"),
    [(1, 0.95, 3), (0.5, 0.9, 1), (2, 0.95, 5), (4, 0.5, 4), (10, 0.95, 15), (10, 0.99, 18), (0.01, 0.95, 0)],
)
def test_the_quantile_agrees_with_printed_tables(mean: float, service_level: float, quantile: int) -> None:
    assert expected_sales_quantile(mean, DAY, service_level) == quantile


def test_nothing_sells_in_no_time() -> None:
    assert expected_sales_quantile(12, 0, 0.99) == 0


@pytest.mark.parametrize("mean", [1e3, 1e5, 999_999, 1_000_001, 1e8])
def test_the_quantile_of_a_very_fast_mover_is_near_the_normal_one(mean: float) -> None:
    units = expected_sales_quantile(mean, DAY, 0.95)

    assert abs(units - (mean + 1.6448536269514722 * mean**0.5)) <= 2


@given(st.floats(1e3, 1e5), st.floats(0.5, 0.999))
@settings(max_examples=50)
def test_the_approximation_for_large_means_is_within_one_unit_of_the_sum(mean: float, service_level: float) -> None:
    summed = expected_sales_quantile(mean, DAY, service_level)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buffers, "LARGEST_SUMMED_MEAN", 1e3)
        approximated = expected_sales_quantile(mean + 1e-9, DAY, service_level)

    assert abs(approximated - summed) <= 1


@pytest.mark.parametrize(
    ("mean", "service_level", "quantile"),
    [(200_000, 0.9, 200_573), (500_000, 0.95, 501_163), (1_234_567, 0.975, 1_236_745)],
)
def test_the_approximated_quantile_is_exact_where_a_third_of_a_unit_matters(
    mean: float, service_level: float, quantile: int
) -> None:
    """Values by summation; the term of the skewness is what makes the approximation reach them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buffers, "LARGEST_SUMMED_MEAN", 1e3)
        assert expected_sales_quantile(mean, DAY, service_level) == quantile


def test_the_quantile_of_sales_beyond_every_number_is_the_largest_count() -> None:
    assert expected_sales_quantile(1e308, 1e9, 0.95) == MAX_UNITS


@pytest.mark.parametrize(
    ("service_level", "quantile"), [(0.95, 1_001_645), (0.999, 1_003_092), (0.5, 1_000_000), (0.99, 1_002_327)]
)
def test_the_approximated_quantile_of_a_million_is_exact(service_level: float, quantile: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buffers, "LARGEST_SUMMED_MEAN", 1e3)
        assert expected_sales_quantile(1e6, DAY, service_level) == quantile
    assert expected_sales_quantile(1e6, DAY, service_level) == quantile


@pytest.mark.parametrize("service_level", [0.0, 1.0, -1.0, float("nan")])
def test_a_service_level_outside_0_and_1_is_refused(service_level: float) -> None:
    with pytest.raises(ValueError, match="the service level is"):
        expected_sales_quantile(1, DAY, service_level)


@given(st.floats(0.001, 60), st.floats(0.5, 0.9999))
def test_the_quantile_is_the_smallest_count_that_reaches_the_service_level(mean: float, service_level: float) -> None:
    units = expected_sales_quantile(mean, DAY, service_level)

    probabilities = [exp(-mean) * mean**count / factorial(count) for count in range(units + 1)]
    assert sum(probabilities) >= service_level - 1e-9
    assert sum(probabilities[:-1]) < service_level + 1e-9


bounds = st.none() | st.integers(0, 40)
hold_backs = st.one_of(
    st.builds(HoldBack, st.just("units"), units=st.integers(0, 40), minimum=bounds, maximum=bounds),
    st.builds(HoldBack, st.just("percent"), percent=st.floats(0, 100), minimum=bounds, maximum=bounds),
    st.builds(HoldBack, st.just("days_of_cover"), days=st.floats(0, 9), minimum=bounds, maximum=bounds),
    st.builds(HoldBack, st.just("expected_sales"), minimum=bounds, maximum=bounds),
)


@given(hold_backs, st.integers(0, MAX_UNITS), st.integers(0, MAX_UNITS), st.floats(0, 100), st.floats(0, 9 * DAY))
def test_no_rule_holds_back_more_than_its_most(
    hold_back: HoldBack, available: int, more: int, velocity: float, age: float
) -> None:
    units = held_back(hold_back, available, velocity, age)

    assert units <= most_units(hold_back, available)
    assert units <= most_units(hold_back, available + more)


@given(st.lists(st.floats(0, 1e12), min_size=2, max_size=6))
def test_higher_expected_sales_never_hold_back_less(means: list[float]) -> None:
    quantiles = [expected_sales_quantile(mean, DAY, 0.95) for mean in sorted(means)]

    assert all(fewer <= more + 1 for fewer, more in pairwise(quantiles))


def test_a_file_combines_by_the_largest_or_the_sum() -> None:
    assert combined_hold_back(Combine.LARGEST, [2, None, 3]) == 3
    assert combined_hold_back(Combine.SUM, [2, None, 3]) == 5
    assert combined_hold_back(Combine.LARGEST, [None]) == 0


def test_a_service_level_that_no_sale_reaches_exactly_holds_nothing_back() -> None:
    """With one sale expected there is none with probability 1 / e."""
    assert expected_sales_quantile(1, DAY, exp(-1)) == 0


@pytest.mark.parametrize(
    ("hold_back", "most"),
    [
        (HoldBack("units", units=3), 3),
        (HoldBack("units", units=3, minimum=4), 4),
        (HoldBack("units", units=3, maximum=2), 2),
        # Rounded up twice.
        (HoldBack("percent", percent=50), 17),
        (HoldBack("percent", percent=50, maximum=4), 4),
        (HoldBack("days_of_cover", days=1), inf),
        (HoldBack("days_of_cover", days=1, maximum=4), 4),
    ],
)
def test_the_most_that_a_rule_holds_back_of_thirty_is_little_more_than_what_it_may(
    hold_back: HoldBack, most: float
) -> None:
    assert most_units(hold_back, 30) == most


def channel_buffers(*files: str) -> tuple[BufferFile, ...]:
    """Buffer files of the channel's total: each the way in which it combines, and its rules."""
    texts = []
    for number, text in enumerate(files):
        combine, *entries = text.split("; ")
        listed = "".join(f"  - {{name: rule-{number}-{n}, {entry}}}\n" for n, entry in enumerate(entries))
        texts.append(f"kind: buffer\nname: file-{number}\nscope: channel\ncombine: {combine}\nrules:\n{listed}")
    return tuple(rules(ANYWHERE, *texts).buffers_of(Scope.CHANNEL))


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ([], 0),
        (["largest; cap: 1"], 0),
        (["largest; cap: 1; hold_back: {units: 2}; hold_back: {units: 3}"], 3),
        (["sum; hold_back: {units: 2}; hold_back: {units: 3}"], 5),
        (["sum; hold_back: {units: 2}; hold_back: {units: 3}", "largest; hold_back: {units: 4}"], 5),
        (["sum; hold_back: {units: 2}", "largest; hold_back: {units: 4}"], 4),
        (["sum; hold_back: {units: 2}; when: {channel.kind: web}, hold_back: {units: 3}"], 2),
        (["sum; hold_back: {units: 2}; when: {channel.kind: social}, hold_back: {units: 3}"], 5),
        (["sum; hold_back: {units: 2}; when: {stock.available: {less_than: 3}}, hold_back: {units: 3}"], 5),
    ],
)
def test_the_most_that_files_hold_back_is_that_of_the_file_that_holds_back_most(files: list[str], most: int) -> None:
    assert most_units_held_back(channel_buffers(*files), Context(NOW, TIKTOK), 30) == most


def test_the_highest_cut_off_and_the_lowest_cap_of_all_files_hold() -> None:
    files = channel_buffers(
        "largest; publish_zero_at_or_below: 5; cap: 7", "largest; publish_zero_at_or_below: 3; cap: 9; cap: 8"
    )

    effect = buffer_effect(files, Context(NOW, TIKTOK, stock=level("MUG", "", 30)))
    assert (effect.cut_off, effect.cap) == (5, 7)
    turned = buffer_effect(files[::-1], Context(NOW, TIKTOK, stock=level("MUG", "", 30)))
    assert (turned.cut_off, turned.cap) == (5, 7)


def test_a_share_of_stock_that_nobody_has_counted_is_nothing() -> None:
    assert units_held_back(channel_buffers("largest; hold_back: {percent: 50}"), Context(NOW, TIKTOK)) == 0
