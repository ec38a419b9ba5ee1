"""Patterns in rule files: regular expressions that are matched in bounded time, whatever the text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from policies.domain.listing_formats import MAX_MATCHED

MAX_WAYS = MAX_MATCHED**2
"""Ways in which one pattern may match one text: matching tries all of them at worst."""

_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?|[()|*+?^$.]|\{[0-9]*,?[0-9]*\}|.", re.DOTALL)
_REPEAT = re.compile(r"[*+?]|\{[0-9]*,?[0-9]*\}")
_REFERENCE = re.compile(r"\\[1-9]")


def pattern_problem(pattern: str) -> tuple[str, str] | None:
    """What is wrong with a pattern, and what to do about it; None if it can be used.

    Groups must not be repeated (but for `?`), and a pattern may match a text in at most `MAX_WAYS` ways: that many
    does a program that tries them one after the other need at worst. Without such a bound a short pattern can take
    years; see J. Kirrage et al., Static Analysis for Regular Expression Denial-of-Service Attacks, 2013.
    """
    try:
        re.compile(pattern)
    except (re.error, OverflowError) as error:
        return f"is not a regular expression: {error}", "correct it; a character such as ( or + is written \\( or \\+."
    tokens = _TOKEN.findall(pattern)
    if "(?" in tokens or any(map(_REFERENCE.fullmatch, tokens)):
        return "has '(?' or refers to a group", "write groups as (a|b), and leave the rest out."
    if any(before == ")" and token != "?" and _REPEAT.fullmatch(token) for before, token in pairwise(tokens)):
        return "repeats a group", "repeat single characters or sets, such as [A-Z]+ or [0-9]{2}."
    if _ways(tokens) > MAX_WAYS:
        return "can match one text in too many ways", "say how often: [a-z]{1,20} instead of [a-z]+."
    return None


def _ways(tokens: Sequence[str]) -> int:
    """At most so many ways has a pattern to match one text: repeats and alternatives, multiplied."""
    ways, alternatives = 1, [1]
    for token in tokens:
        if token == "(":
            alternatives.append(1)
        elif token == "|":
            alternatives[-1] += 1
        elif token == ")":
            ways *= alternatives.pop()
        elif _REPEAT.fullmatch(token):
            ways *= _repeat_ways(token)
    return ways * alternatives[0]


def _repeat_ways(repeat: str) -> int:
    if repeat == "?":
        return 2
    low, comma, high = repeat.strip("{}").partition(",")
    if repeat in "*+" or (comma and not high):
        return MAX_MATCHED
    return max(1, int(high or low) - int(low or 0) + 1) if comma else 1
