"""Runs the variants of a benchmark in turns, A B A B …, so that other load on the machine affects all of them alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

Figures = dict[str, float]
"""Results of one variant in one round, by name; names end with the unit."""

Variant = Callable[[float], Awaitable[Figures]]
"""Works for about the given number of seconds and returns its figures."""


class WrongAnswer(Exception):
    """The service answered wrongly under load, so its speed means nothing. The message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The number of rounds, and the seconds that each variant runs in each round."""

    rounds: int
    seconds: float

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.seconds <= 0:
            raise ValueError(f"{self.rounds} rounds of {self.seconds} s measure nothing; both must be above 0")


async def run_in_turns(
    variants: Mapping[str, Variant], pace: Pace, *, verify: Callable[[], Awaitable[object]] | None = None
) -> dict[str, list[Figures]]:
    """The figures of each variant, round by round. Each variant first runs a short warm-up that is not counted.

    `verify` runs after each round and raises WrongAnswer if the answers so far were wrong.
    """
    for variant in variants.values():
        await variant(min(1.0, pace.seconds / 2))
    figures: dict[str, list[Figures]] = {name: [] for name in variants}
    for _ in range(pace.rounds):
        for name, variant in variants.items():
            figures[name].append(await variant(pace.seconds))
        if verify is not None:
            await verify()
    return figures
