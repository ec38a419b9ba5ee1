"""Paths of an order that go otherwise than planned: each tried on a copy of the channel, and when it last happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from policies.readiness import questions
from policies.readiness.answers import Answer, Question, fails, passes, warns
from policies.readiness.stock_answers import ago_text

CANCELLATION, PARTIAL_FULFILLMENT, REFUND, RETURN = "cancellation", "partial_fulfillment", "refund", "return"
STOCK_CHANGE, LOCATION_OFF = "stock_change", "location_off"
PATHS: Mapping[str, Question] = {
    CANCELLATION: questions.PATH_CANCELLATION,
    PARTIAL_FULFILLMENT: questions.PATH_PARTIAL_FULFILLMENT,
    REFUND: questions.PATH_REFUND,
    RETURN: questions.PATH_RETURN,
    STOCK_CHANGE: questions.PATH_STOCK_CHANGE,
    LOCATION_OFF: questions.PATH_LOCATION_OFF,
}


@dataclass(frozen=True, slots=True)
class PathRun:
    """What became of one path: its outcome as a clause, or the error that it ended with."""

    outcome: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Exercise:
    """One run of all paths against the rules in force; `not_run` says why there was none, and what to do."""

    time: datetime
    runs: Mapping[str, PathRun] = field(default_factory=dict)
    not_run: str = ""
    advice: str = ""


def path_answers(exercise: Exercise, last_real: Mapping[str, datetime], now: datetime) -> list[Answer]:
    """The answer of each path. `last_real` is when it last happened to an order of the channel."""
    return [_path_answer(path, exercise, last_real.get(path), now) for path in PATHS]


def _path_answer(path: str, exercise: Exercise, last_real: datetime | None, now: datetime) -> Answer:
    question = PATHS[path]
    real = "never for real of late" if last_real is None else f"for real {ago_text(now - last_real)}"
    if exercise.not_run:
        return warns(question, f"not exercised: {exercise.not_run}; {real}", exercise.advice)
    run = exercise.runs.get(path, PathRun(error="it was not reached"))
    if run.error:
        advice = "try it with `truestock allocate --dry-run`, and correct the rules or the catalog."
        return fails(question, f"{run.error}; {real}", advice)
    return passes(question, f"exercised {ago_text(now - exercise.time)}: {run.outcome}; {real}")
