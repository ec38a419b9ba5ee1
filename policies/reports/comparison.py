"""Whether a rate is better or worse than in the period before, as far as so few cases can tell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from policies.reports.rates import Figures

CLEAR = 1.645
"""Standard errors beyond which a difference counts: chance alone would exceed it in one of ten comparisons."""


class Verdict(StrEnum):
    """How a rate compares with the one before; less is better in all of them."""

    BETTER = "better"
    WORSE = "worse"
    SIMILAR = "about the same"
    UNKNOWN = "no comparison"


@dataclass(frozen=True, slots=True)
class Change:
    """A rate beside the one before; the shares are None where nothing was counted."""

    verdict: Verdict
    share: float | None
    share_before: float | None


def compared(now: Figures, before: Figures | None) -> Change:
    """Compares a rate with the one before.

    A difference counts if it exceeds CLEAR standard errors, where both counts are taken as Poisson: a rate `c/n` has
    the variance `c/n²`, as in Sahai & Khurshid, Statistics in Epidemiology, 1996, on two Poisson rates. A count of 0 is
    taken as 1 there, because its variance is not 0.
    """
    share, share_before = now.share, before.share if before is not None else None
    if before is None or share is None or share_before is None:
        return Change(Verdict.UNKNOWN, share, share_before)
    error = math.hypot(_error(now), _error(before))
    if share == share_before or abs(share - share_before) <= CLEAR * error:
        return Change(Verdict.SIMILAR, share, share_before)
    return Change(Verdict.BETTER if share < share_before else Verdict.WORSE, share, share_before)


def _error(figures: Figures) -> float:
    return math.sqrt(max(1, figures.count)) / figures.total
