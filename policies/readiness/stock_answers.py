"""Counts: whether each location that contributes to a channel reports its stock, and whether that can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from policies.readiness import questions
from policies.readiness.answers import Answer, counted, fails, listed, passes, warns

SILENT_AFTER = timedelta(hours=24)
"""A location is silent after this, unless its feed has a cadence: then after three of its cadences."""
MISMATCH_DAYS = 30
LEAST_COMPARISONS = 20
"""Counts that must have been compared before their share of mismatches says anything."""
MANY_MISMATCHES, SOME_MISMATCHES = 0.05, 0.02
TRUSTED_CONFIDENCE, DOUBTFUL_CONFIDENCE = 0.9, 0.8
"""Median chance that a figure is right: below the first a location is doubtful, below the second it is not trusted."""


@dataclass(frozen=True, slots=True)
class LocationStock:
    """The stock figures of a location that contributes to a channel.

    `report_time` is the newest time at which one of them was true at its source; None if there is none. `silent_after`
    is how old that may be. `silent_feeds` are declared feeds of the location that have missed three cadences.
    `confidence` is the median chance that a figure is right; None if no person has counted.
    `comparisons` and `mismatches` are counts of the last MISMATCH_DAYS that were compared, and those that differed.
    """

    location_id: str
    level_count: int
    report_time: datetime | None = None
    silent_after: timedelta = SILENT_AFTER
    silent_feeds: tuple[str, ...] = ()
    never_counted: int = 0
    negative_skus: tuple[str, ...] = ()
    confidence: float | None = None
    comparisons: int = 0
    mismatches: int = 0


def counts_fresh(locations: Sequence[LocationStock], now: datetime) -> Answer:
    """Whether each location was heard of within the time in which its feed reports."""
    question = questions.COUNTS_FRESH
    silent = [f"{x.location_id}: {problem}" for x in locations if (problem := _silence(x, now))]
    if silent:
        finding = f"{counted(len(silent), 'location')} of {len(locations):,} silent"
        advice = "see that the feed or till there runs and reaches Truestock, or close the location until it does."
        return fails(question, finding, advice, silent)
    oldest = max((_age(x, now) for x in locations), default=timedelta())
    uncounted = [f"{x.location_id}: {counted(x.never_counted, 'product')}" for x in locations if x.never_counted]
    if uncounted:
        finding = "products whose figures have never been reported"
        return warns(question, finding, "count them, or have their feed report them.", uncounted)
    return passes(question, f"{counted(len(locations), 'location')}, the last report at most {age_text(oldest)} old")


def counts_right(locations: Sequence[LocationStock]) -> Answer:
    """Whether figures are not below 0, and counts that were compared mostly agreed."""
    question = questions.COUNTS_RIGHT
    wrong = [f"{x.location_id}: {problem}" for x in locations if (problem := _wrong(x))]
    if wrong:
        finding = f"{counted(len(wrong), 'location')} of {len(locations):,} with figures that are not right"
        return fails(
            question, finding, "recount there, and find out why figures differ before the channel sells.", wrong
        )
    doubtful = [f"{x.location_id}: {doubt}" for x in locations if (doubt := _doubt(x))]
    if doubtful:
        finding = f"{counted(len(doubtful), 'location')} of {len(locations):,} doubtful"
        return warns(question, finding, "have a person count there, at least what sells best.", doubtful)
    return passes(
        question, f"{counted(len(locations), 'location')} without figures below 0, and with counts that agree"
    )


def age_text(age: timedelta) -> str:
    """An age in one unit, such as `26 hours`."""
    minutes = max(0, int(age.total_seconds() // 60))
    if minutes < 120:
        return counted(minutes, "minute")
    hours = minutes // 60
    return counted(hours, "hour") if hours < 72 else counted(hours // 24, "day")


def ago_text(age: timedelta) -> str:
    """How long ago something was, such as `26 hours ago` or `just now`."""
    return "just now" if age < timedelta(minutes=1) else f"{age_text(age)} ago"


def _silence(stock: LocationStock, now: datetime) -> str:
    if stock.silent_feeds:
        return f"feed {listed(stock.silent_feeds)} has missed three reports"
    if stock.report_time is None:
        return "no figure was ever reported"
    age = _age(stock, now)
    return f"last heard of {age_text(age)} ago" if age > stock.silent_after else ""


def _age(stock: LocationStock, now: datetime) -> timedelta:
    return timedelta() if stock.report_time is None else now - stock.report_time


def _wrong(stock: LocationStock) -> str:
    if stock.negative_skus:
        return f"below 0 on hand: {listed(stock.negative_skus)}"
    if stock.comparisons >= LEAST_COMPARISONS and stock.mismatches > MANY_MISMATCHES * stock.comparisons:
        return _mismatch_text(stock)
    if stock.confidence is not None and stock.confidence < DOUBTFUL_CONFIDENCE:
        return f"the chance that a figure is right is {stock.confidence:.0%}"
    return ""


def _doubt(stock: LocationStock) -> str:
    if stock.comparisons >= LEAST_COMPARISONS and stock.mismatches > SOME_MISMATCHES * stock.comparisons:
        return _mismatch_text(stock)
    if stock.confidence is not None and stock.confidence < TRUSTED_CONFIDENCE:
        return f"the chance that a figure is right is {stock.confidence:.0%}"
    if stock.confidence is None and stock.level_count:
        return "no person has counted"
    return ""


def _mismatch_text(stock: LocationStock) -> str:
    return f"{stock.mismatches:,} of {counted(stock.comparisons, 'count')} differed in {MISMATCH_DAYS} days"
