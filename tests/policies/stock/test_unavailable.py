"""Unavailable units by reason."""

from __future__ import annotations

from hypothesis import given, strategies as st

from policies.stock.unavailable import REASONS, changes_to_reasons, changes_to_total, reason_of

BY_REASON = st.dictionaries(st.sampled_from(REASONS), st.integers(0, 50))


def test_additional_unavailable_units_have_the_reason_other() -> None:
    assert changes_to_total({"damaged": 2}, 5) == {"other": 3}


def test_a_lower_total_reduces_the_reason_other_first() -> None:
    assert changes_to_total({"damaged": 2, "display": 3, "other": 1}, 3) == {"other": -1, "display": -2}


def test_a_count_by_reason_replaces_all_reasons() -> None:
    assert changes_to_reasons({"damaged": 2, "display": 1}, {"damaged": 3}) == {"damaged": 1, "display": -1}


def test_an_unknown_reason_is_recorded_as_other() -> None:
    assert [reason_of(word) for word in ("display", "not_found", None)] == ["display", "other", "other"]


@given(BY_REASON, st.integers(0, 300))
def test_a_new_total_is_reached_and_no_reason_falls_below_0(units: dict[str, int], total: int) -> None:
    after = {reason: units.get(reason, 0) + changes_to_total(units, total).get(reason, 0) for reason in REASONS}

    assert sum(after.values()) == total
    assert min(after.values()) >= 0
