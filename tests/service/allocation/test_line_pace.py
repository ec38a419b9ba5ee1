"""The measured time of a line, by which the allocation queue expects how long an order would wait."""

from __future__ import annotations

import pytest

from service.allocation.line_pace import FIRST_SECONDS, LinePace


def paced(*transactions: tuple[int, float]) -> LinePace:
    """After transactions one after another, each with its lines and seconds."""
    pace, time = LinePace(), 100.0
    pace.start(time)
    for lines, seconds in transactions:
        time += seconds
        pace.end(lines, time)
    return pace


def test_the_pace_follows_the_transactions_of_late() -> None:
    slow = [(100, 0.2)] * 10
    fast = [(100, 0.03)] * 10

    assert paced(*slow).line_seconds == pytest.approx(0.002, rel=0.01)
    assert paced(*slow, *fast).line_seconds == pytest.approx(0.0003, rel=0.01)


def test_small_transactions_say_nothing_about_lines() -> None:
    assert paced(*[(1, 0.005)] * 100).line_seconds == FIRST_SECONDS


def test_a_transaction_that_was_stuck_counts_little() -> None:
    assert paced((256, 30.0)).line_seconds < 3 * FIRST_SECONDS
