"""How fast a product sells, learned from its sales: units per day, with newer sales weighted more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import exp, fsum

from policies.domain.model import LEAST_VELOCITY

TIME_CONSTANT_DAYS = 14.0
"""After this many days a sale weighs 1/e, about 37 %, of a new one."""
SHOWN_DIGITS = 3
"""Significant digits that decisions see. A velocity decays continuously; rounded, it stays the same for minutes."""

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Sale:
    """Units sold at a point in time; below 0 for a sale that was reversed."""

    unit_count: int
    time: datetime


@dataclass(frozen=True, slots=True)
class Velocity:
    """Units per day at a point in time; they decay from there. Below 0 only after old sales were reversed."""

    units_per_day: float
    as_of: datetime


def updated_velocity(previous: Velocity | None, sales: Iterable[Sale], now: datetime) -> Velocity:
    """The velocity at `now` from the previous velocity and later sales; each sale must be passed once.

    v(now) = sum of units * exp(-(now - time) / T) / T over all sales, T being TIME_CONSTANT_DAYS: the average of the
    daily sales with weights that fall exponentially with age, exact for sales at any times. The velocity of a new
    product is underestimated until a few T have passed.
    Source: exponential smoothing in continuous time, after R. G. Brown, Smoothing, Forecasting and Prediction of
    Discrete Time Series, 1963, and D. J. Wright, Management Science 32(4), 1986, for times at any distance.
    """
    before = 0.0 if previous is None else previous.units_per_day * _weight(previous.as_of, now)
    since = fsum(sale.unit_count * _weight(sale.time, now) for sale in sales)
    return Velocity(before + since / TIME_CONSTANT_DAYS, now)


def velocity_at(velocity: Velocity, now: datetime) -> float:
    """Units per day as decisions see them at `now`: decayed, rounded to SHOWN_DIGITS, 0 below LEAST_VELOCITY."""
    decayed = velocity.units_per_day * _weight(velocity.as_of, now)
    if decayed < LEAST_VELOCITY:
        return 0.0
    return float(f"{decayed:.{SHOWN_DIGITS}g}")


def _weight(time: datetime, now: datetime) -> float:
    return exp((time - now) / _DAY / TIME_CONSTANT_DAYS)
