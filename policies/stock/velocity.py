"""How fast a product sells, learnt from its sales: units a day, of which the newer ones count more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import exp, fsum

TIME_CONSTANT_DAYS = 14.0
"""A sale counts 1/e, about 37 %, of a new one after so many days."""
SHOWN_DIGITS = 3
"""Significant digits that decisions see. A velocity decays without pause; rounded, it stays the same for minutes."""

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Sale:
    """Units sold at a moment; below 0 where a sale was taken back."""

    unit_count: int
    time: datetime


@dataclass(frozen=True, slots=True)
class Velocity:
    """Units a day as of a moment; they decay from there. Below 0 only while old sales are taken back."""

    units_per_day: float
    as_of: datetime


def updated_velocity(known: Velocity | None, sales: Iterable[Sale], now: datetime) -> Velocity:
    """The velocity as of `now` of what was known before and of further sales, each of which is to come once.

    v(now) = sum of units * exp(-(now - time) / T) / T over all sales, T being TIME_CONSTANT_DAYS: the average of the
    daily sales under weights that fall exponentially with age, exact for sales at any times. A product that has just
    begun to sell is thought slower than it is until a few T have passed.
    Source: exponential smoothing in continuous time, after R. G. Brown, Smoothing, Forecasting and Prediction of
    Discrete Time Series, 1963, and D. J. Wright, Management Science 32(4), 1986, for times at any distance.
    """
    before = 0.0 if known is None else known.units_per_day * _weight(known.as_of, now)
    since = fsum(sale.unit_count * _weight(sale.time, now) for sale in sales)
    return Velocity(before + since / TIME_CONSTANT_DAYS, now)


def velocity_at(known: Velocity, now: datetime) -> float:
    """Units a day as decisions see them at `now`: decayed, never below 0, rounded to SHOWN_DIGITS."""
    decayed = max(0.0, known.units_per_day * _weight(known.as_of, now))
    return float(f"{decayed:.{SHOWN_DIGITS}g}")


def _weight(then: datetime, now: datetime) -> float:
    return exp((then - now) / _DAY / TIME_CONSTANT_DAYS)
