"""Which units of a request can be cancelled: never more than were asked for, nor more than are open."""

from __future__ import annotations

from hypothesis import given, strategies as st

from policies.decisions.cancellation_requests import cancellable_units

units = st.dictionaries(st.sampled_from("123"), st.integers(1, 9))
open_units = st.dictionaries(st.sampled_from("123"), st.integers(0, 9))


@given(units, open_units)
def test_a_request_cancels_at_most_what_it_names_and_what_is_open(
    requested: dict[str, int], still_open: dict[str, int]
) -> None:
    cancelled = cancellable_units(requested, still_open)

    assert all(0 < count <= still_open[line] for line, count in cancelled.items())
    if requested:
        assert all(count <= requested[line] for line, count in cancelled.items())
        left = {line: still_open.get(line, 0) for line in requested}
        assert all(cancelled.get(line, 0) == min(count, left[line]) for line, count in requested.items())
    else:
        assert sum(cancelled.values()) == sum(still_open.values())
