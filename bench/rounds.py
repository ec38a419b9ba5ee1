"""Taking turns: the arms of a measurement run A B A B …, so that what the machine does meanwhile hits all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

Figures = dict[str, float]
"""What one arm came to in one round, by name; units stand last in the names."""

Arm = Callable[[float], Awaitable[Figures]]
"""Works for about so many seconds, and says what that came to."""


class WrongAnswer(Exception):
    """What was measured is not right, so its speed means nothing. The message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the arms take turns, and for how many seconds each time."""

    rounds: int
    seconds: float

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.seconds <= 0:
            raise ValueError(f"{self.rounds} rounds of {self.seconds} s measure nothing")


async def interleaved(arms: Mapping[str, Arm], pace: Pace) -> dict[str, list[Figures]]:
    """The figures of each arm, round by round. A short turn of each goes first and is not counted."""
    for arm in arms.values():
        await arm(min(1.0, pace.seconds / 2))
    found: dict[str, list[Figures]] = {name: [] for name in arms}
    for _ in range(pace.rounds):
        for name, arm in arms.items():
            found[name].append(await arm(pace.seconds))
    return found
