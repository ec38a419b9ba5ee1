"""The gate of `make check-speed`: what it lets pass, and what it asks of the file with the bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bench.speed_gate import BOUNDS_FILE, CALLS, Ratios, find_too_slow, read_bounds

BOUNDS = {"allocate_sold": 5.0, "check_availability": 2.0}
FAST = {"allocate_sold": 4.9, "check_availability": 2.0}


def runs(*ratios: Mapping[str, float]) -> Callable[[], Ratios]:
    """Measurements that return these ratios, one after another."""
    return iter(ratios).__next__


def test_every_call_has_a_bound() -> None:
    assert read_bounds(BOUNDS_FILE).keys() == {stream.name for stream in CALLS}


@pytest.mark.parametrize("lines", ["allocate_sold = 5", "", "\n".join(f"{stream.name} = 0" for stream in CALLS)])
def test_a_file_without_a_bound_for_each_call_is_refused(lines: str, tmp_path: Path) -> None:
    file = tmp_path / "bounds.toml"
    file.write_text(lines)

    with pytest.raises(ValueError, match="must have a bound above 0 for each of allocate_3_lines"):
        read_bounds(file)


def test_calls_within_their_bounds_are_measured_once() -> None:
    assert find_too_slow(runs(FAST), BOUNDS) == []


def test_one_slow_run_is_not_enough() -> None:
    assert find_too_slow(runs(FAST | {"allocate_sold": 9.0}, FAST), BOUNDS) == []


def test_two_slow_runs_of_different_calls_are_not_enough() -> None:
    slow_runs = runs(FAST | {"allocate_sold": 9.0}, FAST | {"check_availability": 2.1})

    assert find_too_slow(slow_runs, BOUNDS) == []


def test_a_call_that_is_slow_in_two_runs_fails() -> None:
    slow = FAST | {"allocate_sold": 5.1}

    assert find_too_slow(runs(slow, slow), BOUNDS) == ["allocate_sold"]
