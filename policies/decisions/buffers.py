"""How many units buffer rules hold back: the units of each form, and how rules that fire together combine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context as Arithmetic, Decimal
from math import ceil, exp, inf, isfinite, lgamma, log, sqrt
from statistics import NormalDist
from typing import Final

from policies.domain.model import MAX_UNITS, Context, StockLevel
from policies.explanation import FiredRule, RuleEvidence, unit_count_text
from policies.policy_set import BufferFile, BufferRule, Combine, HoldBack

SECONDS_PER_DAY = 86_400
LARGEST_SUMMED_MEAN = 1_000_000.0
"""Up to this mean the Poisson quantile is summed, in at most about 12,000 terms; above it, it is approximated."""

_NEGLIGIBLE = 1e-18
_EXACT = Arithmetic(prec=60)


@dataclass(slots=True, unsafe_hash=True)
class BufferEffect:
    """The combined effect of the buffer rules of one scope, in units; None means no cut-off or no cap."""

    held_back: Final[int] = 0
    cut_off: Final[int | None] = None
    cap: Final[int | None] = None
    fired: Final[tuple[FiredRule, ...]] = ()


NOTHING_HELD_BACK = BufferEffect()


def buffer_effect(files: Iterable[BufferFile], context: Context) -> BufferEffect:
    """The largest held-back number over all files, and the highest cut-off and lowest cap of the rules that fire."""
    held_back, cut_offs, caps, fired = 0, list[int](), list[int](), list[FiredRule]()
    for file, rules, figures in _files_that_fire(files, context):
        held_back = max(held_back, combined_hold_back(file.combine, figures))
        cut_offs += [rule.publish_zero_at_or_below for rule in rules if rule.publish_zero_at_or_below is not None]
        caps += [rule.cap for rule in rules if rule.cap is not None]
        fired += [_fired_rule(rule, figure, context) for rule, figure in zip(rules, figures, strict=True)]
    if not fired:
        return NOTHING_HELD_BACK
    return BufferEffect(held_back, max(cut_offs, default=None), min(caps, default=None), tuple(fired))


def units_held_back(files: Iterable[BufferFile], context: Context) -> int:
    """The held-back number of `buffer_effect` alone."""
    fired = _files_that_fire(files, context)
    return max([0, *(combined_hold_back(file.combine, figures) for file, _, figures in fired)])


def most_units_held_back(files: Iterable[BufferFile], context: Context, available: int) -> float:
    """Units that these rules hold back at most of a level of the context's product; infinite if unbounded.

    `available`, at least 0, are the available units of the level at most. `context` is without it, so that a decision
    to which the exact number makes no difference need not look at any level: a rule that asks something of the level
    may apply, and any other does or does not.
    """
    most = 0.0
    for file in files:
        fired = file.matcher.fired(context)
        rules = [rule for rule in file.rules if rule.asks_of_stock or rule in fired]
        figures = [most_units(rule.hold_back, available) for rule in rules if rule.hold_back is not None]
        most = max([most, sum(figures) if file.combine is Combine.SUM else max(figures, default=0)])
    return most


def most_units(hold_back: HoldBack, available: int) -> float:
    """At most so many units does a rule hold back of a level with at most so many available units."""
    if hold_back.form == "units":
        units: float = hold_back.units
    elif hold_back.form == "percent":
        # Rounded up, and the binary number may be slightly below the decimal one.
        units = available * hold_back.percent / 100 + 2
    else:
        # How fast the product sells decides, and how old its figure is.
        units = inf
    if hold_back.minimum is not None:
        units = max(units, hold_back.minimum)
    return units if hold_back.maximum is None else min(units, hold_back.maximum)


def _files_that_fire(
    files: Iterable[BufferFile], context: Context
) -> Iterator[tuple[BufferFile, Sequence[BufferRule], list[int | None]]]:
    """The files of which rules fire, with these rules and the units that each holds back."""
    for file in files:
        rules = file.matcher.fired(context)
        if rules:
            yield file, rules, [_rule_units(rule, context) for rule in rules]


def combined_hold_back(combine: Combine, figures: Sequence[int | None]) -> int:
    """The largest or the sum of the units that one file's rules hold back; None is a rule that holds nothing back."""
    held_back = [figure for figure in figures if figure is not None]
    return sum(held_back) if combine is Combine.SUM else max(held_back, default=0)


def held_back_units(
    hold_back: HoldBack, *, available: int, velocity_per_day: float | None, age_seconds: float | None
) -> int:
    """Units that a rule holds back, which may exceed the stock; its minimum, or 0, if a needed fact is unknown."""
    units = _unbounded_units(hold_back, max(0, available), velocity_per_day, age_seconds)
    if hold_back.minimum is not None:
        units = max(units, hold_back.minimum)
    return units if hold_back.maximum is None else min(units, hold_back.maximum)


def expected_sales_quantile(velocity_per_day: float, window_seconds: float, service_level: float) -> int:
    """Units that sales in the window do not exceed with probability `service_level`, at most MAX_UNITS.

    Poisson with mean `velocity_per_day * window_seconds / 86_400`: the smallest k with P(sales <= k) >= service_level.
    Raises ValueError unless 0 < service_level < 1.
    Source: Poisson demand for slow movers, as in Silver, Pyke & Thomas, Inventory and Production Management, 4th ed.
    """
    if not 0 < service_level < 1:
        raise ValueError(f"the service level is {service_level}; it must be above 0 and below 1")
    mean = velocity_per_day * window_seconds / SECONDS_PER_DAY
    if mean <= 0:
        return 0
    if mean > LARGEST_SUMMED_MEAN:
        return _approximate_quantile(mean, service_level)
    return _summed_quantile(mean, service_level)


def _summed_quantile(mean: float, service_level: float) -> int:
    # Less than 1e-20 of the distribution lies 10 standard deviations below the mean (Chernoff), and starting there
    # keeps exp() from underflowing.
    count = max(0, int(mean - 10 * sqrt(mean)))
    term = exp(count * log(mean) - mean - lgamma(count + 1))
    cumulative = term
    # Rounding can keep the sum slightly below a service level close to 1; terms past the mean only shrink.
    while cumulative < service_level and (count <= mean or term > _NEGLIGIBLE):
        count += 1
        term *= mean / count
        cumulative += term
    return count


def _approximate_quantile(mean: float, service_level: float) -> int:
    """Cornish-Fisher expansion up to its skewness term; within one unit of the exact quantile for means this large.

    Source: E. A. Cornish & R. A. Fisher, "Moments and Cumulants in the Specification of Distributions" (1938).
    """
    z = NormalDist().inv_cdf(service_level)
    quantile = mean + z * sqrt(mean) + (z * z - 1) / 6 - 0.5
    return min(MAX_UNITS, ceil(quantile)) if isfinite(quantile) else MAX_UNITS


def _unbounded_units(
    hold_back: HoldBack, available: int, velocity_per_day: float | None, age_seconds: float | None
) -> int:
    if hold_back.form == "units":
        return hold_back.units
    if hold_back.form == "percent":
        return _ceiling_of_product(available, hold_back.percent, shift=-2)
    if velocity_per_day is None:
        return 0
    if hold_back.form == "days_of_cover":
        return _ceiling_of_product(hold_back.days, velocity_per_day)
    # `during: stock_age` covers the units that may have sold since the figure was true: the older the figure, the
    # larger the buffer.
    seconds = age_seconds if hold_back.during_seconds is None else hold_back.during_seconds
    return 0 if seconds is None else expected_sales_quantile(velocity_per_day, seconds, hold_back.service_level)


def _ceiling_of_product(factor: float, multiplier: float, shift: int = 0) -> int:
    # Binary floats would make 10 % of 30 slightly more than 3, and so 4; the decimal numbers as written are exact.
    product = _EXACT.scaleb(_EXACT.multiply(Decimal(repr(factor)), Decimal(repr(multiplier))), shift)
    return min(MAX_UNITS, int(product.to_integral_value(ROUND_CEILING)))


def _rule_units(rule: BufferRule, context: Context) -> int | None:
    if rule.hold_back is None:
        return None
    stock = context.stock
    return held_back_units(
        rule.hold_back,
        available=stock.available if stock else 0,
        velocity_per_day=context.product.velocity_per_day if context.product else None,
        age_seconds=_age_seconds(stock, context),
    )


def _age_seconds(stock: StockLevel | None, context: Context) -> float | None:
    if stock is None or stock.as_of_time is None:
        return None
    return max(0.0, (context.now - stock.as_of_time).total_seconds())


def _fired_rule(rule: BufferRule, figure: int | None, context: Context) -> FiredRule:
    effects = []
    if figure is not None:
        effects.append(f"held back {unit_count_text(figure)}")
    if rule.publish_zero_at_or_below is not None:
        effects.append(f"published as 0 at or below {unit_count_text(rule.publish_zero_at_or_below)}")
    if rule.cap is not None:
        effects.append(f"capped at {unit_count_text(rule.cap)}")
    location_id = context.location.id if context.location else None
    sku = context.stock.sku if context.stock else None
    return FiredRule(rule.name, rule.source, location_id, sku, ", ".join(effects), RuleEvidence(rule.when, context))
