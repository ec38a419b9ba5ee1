"""What a question of the checklist is, and its answer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

MOST_DETAILS = 10
"""Details of one answer; what there is beyond that is counted."""


class Result(StrEnum):
    """The result of a question, or the worst of several."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Question:
    """A question of the checklist. Whoever resolves exceptions of `exception_kind` answers for it."""

    name: str
    text: str
    exception_kind: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found and, unless it passes, what to do."""

    question: Question
    result: Result
    finding: str
    advice: str = ""
    details: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.result is Result.PASS) != (not self.advice):
            raise ValueError(f"{self.question.name}: only an answer that does not pass says what to do")


def passes(question: Question, finding: str, details: Sequence[str] = ()) -> Answer:
    """An answer that passes."""
    return Answer(question, Result.PASS, finding, "", bounded(details))


def warns(question: Question, finding: str, advice: str, details: Sequence[str] = ()) -> Answer:
    """An answer that somebody should look at."""
    return Answer(question, Result.WARN, finding, advice, bounded(details))


def fails(question: Question, finding: str, advice: str, details: Sequence[str] = ()) -> Answer:
    """An answer that keeps the channel from being ready."""
    return Answer(question, Result.FAIL, finding, advice, bounded(details))


def worst(results: Iterable[Result]) -> Result:
    """The worst of the results; PASS if there are none."""
    found = set(results)
    return next((result for result in (Result.FAIL, Result.WARN) if result in found), Result.PASS)


def bounded(details: Sequence[str]) -> tuple[str, ...]:
    """The first details, the last of which says how many more there are."""
    if len(details) <= MOST_DETAILS:
        return tuple(details)
    kept = MOST_DETAILS - 1
    return (*details[:kept], f"and {len(details) - kept:,} more")


def listed(names: Collection[str], most: int = 5) -> str:
    """Names in their order, the first of them written out: `A, B and 3 more`."""
    shown = list(names)[:most]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest:,} more" if rest else "")


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: `1 product`, `1,200 products`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
