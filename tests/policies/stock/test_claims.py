"""Which orders keep their units when stock falls below what was promised, and which backorders are filled first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, strategies as st

from policies.stock.claims import Claim, WaitingOrder, in_fill_order, losses

NINE = datetime(2026, 11, 27, 9, tzinfo=UTC)


def claim(name: str, units: int, *, minute: int = 0, started: bool = False) -> Claim:
    return Claim(name, f"shipment of {name}", "1", units, NINE + timedelta(minutes=minute), started)


CLAIMS = st.lists(
    st.builds(
        claim,
        st.uuids().map(str),
        st.integers(1, 9),
        minute=st.integers(0, 5),
        started=st.booleans(),
    ),
    max_size=6,
)


def lost(claims: list[Claim], excess: int) -> dict[str, int]:
    return {loss.claim.allocation_id: loss.unit_count for loss in losses(claims, excess)}


def test_the_newest_order_loses_first() -> None:
    claims = [claim("oldest", 2), claim("newest", 2, minute=9), claim("middle", 2, minute=5)]

    assert lost(claims, 3) == {"newest": 2, "middle": 1}


def test_a_shipment_that_is_being_picked_loses_last_however_new() -> None:
    claims = [claim("picked", 2, minute=9, started=True), claim("old", 1), claim("older", 1, minute=-5)]

    assert lost(claims, 1) == {"old": 1}
    assert lost(claims, 3) == {"old": 1, "older": 1, "picked": 1}


@given(CLAIMS, st.integers(0, 40))
def test_exactly_the_missing_units_are_lost_and_no_order_loses_before_a_newer_one(
    claims: list[Claim], excess: int
) -> None:
    units_lost = lost(claims, excess)

    assert sum(units_lost.values()) == min(excess, sum(each.unit_count for each in claims))
    for keeps in claims:
        for loses in claims:
            if units_lost.get(keeps.allocation_id, 0) < keeps.unit_count and loses.allocation_id in units_lost:
                # Whoever loses is not being picked while the other is not, and within the same stage is not older.
                assert (not keeps.is_started, keeps.create_time) <= (not loses.is_started, loses.create_time)


def test_backorders_are_filled_by_priority_and_then_oldest_first() -> None:
    waiting = [
        WaitingOrder("new", None, NINE + timedelta(minutes=9)),
        WaitingOrder("old", 0, NINE),
        WaitingOrder("urgent", 5, NINE + timedelta(hours=1)),
        WaitingOrder("unimportant", -1, NINE - timedelta(days=1)),
    ]

    assert [each.allocation_id for each in in_fill_order(waiting)] == ["urgent", "old", "new", "unimportant"]
