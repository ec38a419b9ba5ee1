"""How many units had gone before any feed said so."""

from datetime import datetime, timedelta

from hypothesis import given, strategies as st

from policies.readiness.unreported_sales import HotHour, UnreportedLoss, hot_hours
from tests.policies.small_retailer import NOW

MINUTE = timedelta(minutes=1)


def loss(units: int, lost: float, known: float, sku: str = "MUG") -> UnreportedLoss:
    """A loss, by minutes after 9:00."""
    return UnreportedLoss(sku, "store", units, NOW + lost * MINUTE, NOW + known * MINUTE)


def test_sales_that_are_reported_at_once_make_no_hot_hour() -> None:
    assert hot_hours([loss(3, 0, 0.5)]) == []


def test_sales_that_overlap_before_they_are_reported_add_up() -> None:
    hours = hot_hours([loss(2, 0, 15), loss(3, 10, 15), loss(1, 20, 35)])

    assert hours == [HotHour("MUG", "store", NOW, 5, 15 * MINUTE)]


def test_a_report_at_nine_leaves_only_later_sales_unknown() -> None:
    hours = hot_hours([loss(2, -30, 0), loss(3, 0, 30)])

    assert [hour.units for hour in hours] == [5]


def test_each_hour_and_each_level_stands_alone() -> None:
    hours = hot_hours([loss(2, 0, 15), loss(4, 70, 80), loss(1, 0, 15, sku="BOWL")])

    assert [(hour.sku, hour.start - NOW, hour.units) for hour in hours] == [
        ("BOWL", timedelta(), 1),
        ("MUG", timedelta(), 2),
        ("MUG", timedelta(hours=1), 4),
    ]


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 200), st.integers(1, 90)), max_size=12).map(
        lambda drawn: [loss(units, start, start + length) for units, start, length in drawn]
    )
)
def test_no_moment_just_before_a_report_has_more_unknown_units_than_its_hour(losses: list[UnreportedLoss]) -> None:
    peaks = {hour.start: hour.units for hour in hot_hours(losses)}

    def unknown_at(moment: datetime) -> int:
        return sum(x.units for x in losses if x.lost_time <= moment <= x.known_time)

    worst: dict[datetime, int] = {}
    for known in losses:
        start = known.known_time.replace(minute=0)
        worst[start] = max(worst.get(start, 0), unknown_at(known.known_time))
    assert peaks == worst
