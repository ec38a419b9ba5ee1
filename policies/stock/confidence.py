"""The chance that a stock figure is right now, learned from people's counts and from picks that found nothing.

Errors of one level are taken as a Poisson process over its exposure: days, and movements of goods. Its rate is unknown,
so it has a gamma distribution that every count updates; the chance of no error since the last count is then

    confidence = (b / (b + x)) ** a * NOT_FOUND ** n

with x the exposure since a person last counted, n the picks since then that did not find their units, and

    a = LEVEL_SHAPE + errors found at this level
    b = LEVEL_SHAPE / rate of the location + exposure of this level in earlier counts
    rate of the location = (LOCATION_SHAPE + errors found there) / (LOCATION_SHAPE * DAYS_PER_ERROR + exposure there)

Without evidence a level is at 0.9 after 18 days without movements, after 12 days with a movement every other day, and
after 9 days with one a day.

Sources: gamma-Poisson conjugacy, its predictive distribution and borrowing strength between groups as in Gelman et al.,
Bayesian Data Analysis, 3rd ed., 2013, sections 2.6 and 2.7; a Bayesian belief about the units behind a record as in
DeHoratius, Mersereau & Schrage, Retail Inventory Management When Records Are Inaccurate, M&SOM 10(2), 2008; the figures
of the prior from DeHoratius & Raman, Inventory Record Inaccuracy, Management Science 54(4), 2008.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import expm1
from typing import NamedTuple

from policies.stock.counting import SHIP_UNDONE, TRANSFER_CANCELLED

LEVEL_SHAPE = 0.5
"""Weight of the location's rate against a level's own counts, in errors: the shape of Jeffreys' prior for such a rate.

It lets levels of one store differ widely, as they do: of the variance in record inaccuracy DeHoratius & Raman found
2.7 % between stores.
"""

LOCATION_SHAPE = 5.0
"""Weight of the prior against the counts of a whole location, in errors."""

DAYS_PER_ERROR = 152.0
"""Mean days of exposure between two errors where there is no evidence.

DeHoratius & Raman found 65 % of nearly 370,000 records of 37 stores wrong. That is taken as the state a year after a
count, with a movement every other day: (76 / (76 + 365 + 182)) ** 0.5 = 0.35.
"""

MOVEMENT_DAYS = 1.0
"""Days of exposure of one movement: a delivery or a sale is as likely to go wrong as a day on the shelf."""

NOT_FOUND = 0.5
"""Factor for a pick that did not find its units: there was an error, and writing them off may not mend all of it."""

STEPS = 1_000
"""A confidence is a whole number of thousandths. Rules compare that figure, so what an answer shows explains it."""

CORRECTIONS = frozenset({"counted", "found", "lost", "adjusted", SHIP_UNDONE, TRANSFER_CANCELLED})
"""Kinds of movements that correct the figure. They move no goods, so nothing can go wrong in them."""

_DAY = timedelta(days=1)
_MOST_ERRORS = 700.0
"""Above this, expm1 of a number of errors is more than a float holds."""


class ErrorHistory(NamedTuple):
    """Errors that counts and picks have found, and the exposure in which they happened, in days."""

    errors: float = 0.0
    exposure_days: float = 0.0

    def plus(self, other: ErrorHistory) -> ErrorHistory:
        """Both together."""
        return ErrorHistory(self.errors + other.errors, self.exposure_days + other.exposure_days)


NO_HISTORY = ErrorHistory()


class LastCount(NamedTuple):
    """When a person last counted a level (None: never), with the movements of goods and the failed picks since then."""

    time: datetime | None = None
    movements: int = 0
    not_found: int = 0

    def exposure_days(self, until: datetime) -> float:
        """Days since the count, and MOVEMENT_DAYS for each movement; 0 where a clock is ahead or nobody counted."""
        if self.time is None:
            return 0.0
        return max(0.0, (until - self.time) / _DAY) + MOVEMENT_DAYS * self.movements


NEVER_COUNTED = LastCount()


def count_confidence(last_count: LastCount, level: ErrorHistory, location: ErrorHistory, now: datetime) -> float | None:
    """The chance, 0 to 1, that the figure is right at `now`, to one in STEPS.

    1 at a person's count; it falls with time and with each movement, and faster the more errors were found before at
    the level and at its location. None if no person has counted it and no pick has failed. A program's figure is no
    evidence and is not among the arguments.
    """
    chance = 1.0
    if last_count.time is not None:
        shape, scale = _level_rate(level, location)
        chance = (scale / (scale + last_count.exposure_days(now))) ** shape
    elif not last_count.not_found:
        return None
    if last_count.not_found:
        chance *= NOT_FOUND**last_count.not_found
    # Every read of a level computes this; it takes half the time of round(chance, 3).
    return int(chance * STEPS + 0.5) / STEPS


def count_evidence(
    level: ErrorHistory, location: ErrorHistory, exposure_days: float, *, is_error: bool
) -> tuple[ErrorHistory, ErrorHistory]:
    """What a count, or a pick that found nothing, adds to the history of its level and of its location.

    `exposure_days` is the exposure since the count before. If the figure was wrong, the error happened at an unknown
    time in between: the exposure until then is its expected value, by the rate so far. That is less than the mean
    exposure between errors, so an error never makes a rate lower, however long nobody had counted. Source: missing
    observations replaced by their expectation, as in Dempster, Laird & Rubin, J. R. Statist. Soc. B 39(1), 1977.
    """
    if not is_error:
        return ErrorHistory(0.0, exposure_days), ErrorHistory(0.0, exposure_days)
    shape, scale = _level_rate(level, location)
    return (
        ErrorHistory(1.0, _expected_days_until_error(shape / scale, exposure_days)),
        ErrorHistory(1.0, _expected_days_until_error(_location_rate(location), exposure_days)),
    )


def moves_goods(kind: str, on_hand_delta: int) -> bool:
    """Whether a movement is an occasion for an error: goods came or went."""
    return on_hand_delta != 0 and kind not in CORRECTIONS


def _level_rate(level: ErrorHistory, location: ErrorHistory) -> tuple[float, float]:
    """Shape and scale of the gamma distribution of a level's errors per day of exposure."""
    return LEVEL_SHAPE + level.errors, LEVEL_SHAPE / _location_rate(location) + level.exposure_days


def _location_rate(location: ErrorHistory) -> float:
    """Expected errors per day of exposure of a level at the location."""
    return (LOCATION_SHAPE + location.errors) / (LOCATION_SHAPE * DAYS_PER_ERROR + location.exposure_days)


def _expected_days_until_error(rate: float, days: float) -> float:
    """Expected exposure until the first error at `rate` a day, given that there was one within `days`."""
    expected_errors = rate * days
    if expected_errors < 1e-4:
        return days / 2
    if expected_errors > _MOST_ERRORS:
        return 1 / rate
    return 1 / rate - days / expm1(expected_errors)
