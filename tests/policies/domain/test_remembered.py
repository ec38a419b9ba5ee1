"""What is remembered never needs more room than it has, and is never wrong."""

from __future__ import annotations

from hypothesis import given, strategies as st

from policies.domain.remembered import remember


@given(st.lists(st.tuples(st.integers(0, 9), st.text(max_size=2))), st.integers(1, 6))
def test_the_newest_value_is_there_and_none_is_of_another_key(kept: list[tuple[int, str]], at_most: int) -> None:
    values: dict[int, str] = {}
    newest: dict[int, str] = {}
    for key, value in kept:
        remember(values, key, value, at_most=at_most)
        newest[key] = value

        assert values[key] == value
        assert len(values) <= at_most
        assert values.items() <= newest.items()


def test_a_new_value_of_a_known_key_needs_no_room() -> None:
    values = {"a": 1, "b": 2}

    remember(values, "a", 3, at_most=2)

    assert values == {"a": 3, "b": 2}
