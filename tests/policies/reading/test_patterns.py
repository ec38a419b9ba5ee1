"""Which patterns rule files may have: those that are matched in bounded time."""

from __future__ import annotations

import re

import pytest

from policies.domain.listing_formats import MAX_MATCHED
from policies.reading.patterns import pattern_problem


@pytest.mark.parametrize(
    "pattern",
    ["[A-Z]{2}[0-9]{4,10}", "(red|blue)", "https://.+", "[^@]+@[^@]+", r"a\+\(b\)?", "(x-)?y", r"[]\]]{2}", ""],
)
def test_a_pattern_that_is_matched_quickly_is_taken(pattern: str) -> None:
    assert pattern_problem(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("(a", "is not a regular expression"),
        ("(a+)+", "repeats a group"),
        ("(a|a)*", "repeats a group"),
        ("(ab){2}", "repeats a group"),
        (".*.*.*", "too many ways"),
        ("a{1,999}b{1,999}c{1,999}", "too many ways"),
        ("a?" * 30 + "a" * 30, "too many ways"),
        ("(?=a)b", "has '(?'"),
        (r"(a)\1", "refers to a group"),
    ],
)
def test_a_pattern_that_can_take_very_long_is_refused(pattern: str, problem: str) -> None:
    message, _ = pattern_problem(pattern) or ("", "")

    assert problem in message


@pytest.mark.parametrize("pattern", [".*.*b", "[a-z]+[a-z]+!", "(a|aa|aaa)?(a|aa)?a*b", "a?a?a?a?a?a?a?a?a*b"])
def test_the_worst_text_for_a_pattern_that_is_taken_is_matched_to_its_end(pattern: str) -> None:
    assert pattern_problem(pattern) is None

    # Without the bound on ways, this would not end within the age of the universe.
    assert re.fullmatch(pattern, "a" * MAX_MATCHED) is None
