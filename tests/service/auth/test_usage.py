"""Limits of principals: calls a second and calls in progress."""

from __future__ import annotations

import pytest

from service.auth.principals import Principal
from service.auth.usage import Usage
from service.errors import TooManyCalls


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def principal(**limits: int) -> Principal:
    return Principal("shop", frozenset(), **limits)  # type: ignore[arg-type]


def calls(usage: Usage, who: Principal) -> int:
    """How many calls are answered at this moment."""
    count = 0
    try:
        while True:
            usage.begin(who)
            usage.end(who)
            count += 1
    except TooManyCalls:
        return count


def test_a_principal_gets_its_calls_a_second_however_they_are_spread() -> None:
    clock, shop = Clock(), principal(calls_per_second=10)
    usage = Usage(clock)

    assert calls(usage, shop) == 10
    clock.now += 0.5
    assert calls(usage, shop) == 5
    clock.now += 3_600
    assert calls(usage, shop) == 10


def test_a_refused_call_says_when_to_retry() -> None:
    clock, shop = Clock(), principal(calls_per_second=4)
    usage = Usage(clock)
    calls(usage, shop)

    with pytest.raises(TooManyCalls, match="4 calls a second") as refused:
        usage.begin(shop)

    assert refused.value.retry_after is not None
    clock.now += refused.value.retry_after.total_seconds()
    assert calls(usage, shop) == 1


def test_calls_in_progress_are_counted_until_they_end() -> None:
    usage, shop = Usage(Clock()), principal(calls_in_progress=2)
    usage.begin(shop)
    usage.begin(shop)
    with pytest.raises(TooManyCalls, match="2 calls in progress"):
        usage.begin(shop)

    usage.end(shop)

    usage.begin(shop)


def test_each_principal_has_its_own_limits() -> None:
    usage = Usage(Clock())
    calls(usage, principal(calls_per_second=1))

    assert calls(usage, Principal("other", frozenset(), calls_per_second=3)) == 3
