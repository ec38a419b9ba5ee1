"""What would have avoided an oversell by itself, everything else being the same.

With the evidence of `policies.stock.oversell`: U units were usable for an order of D, so S = D - U were short; the
channel was told F and had sold A of them since.

1. A buffer of the channel of `n = F - A - U` units. The channel is told F - n = A + U, and cannot sell this order more
   than the U units that there are; with one unit less it could. It needs a channel that sells no more than it is told:
   A + D <= F.
2. A fresher feed. Losses that happened before the figure was published, and were reported after it, would have been
   known if the feed had been at most as old as the last of them that is needed: of those that add up to S, oldest
   first.
3. A count, where a count or a picker found that units were missing: one between the last count and the order finds that
   before. When the units went missing is not known, so it is said of the time since the last count.
4. A channel that sells no more than it is told, where it sold beyond it; a figure or a catalog record where there was
   none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from policies.stock.oversell import COUNT_CORRECTION, NOT_TOLD, REJECTED, UNMAPPED, OversellEvidence

_MINUTE = timedelta(minutes=1)


class RemedyKind(StrEnum):
    """Kinds of what would have avoided an oversell."""

    BUFFER = "buffer"
    FRESHER_FEED = "fresher_feed"
    COUNT = "count"
    APPLY_FIGURES = "apply_figures"
    PUBLISH = "publish"


@dataclass(frozen=True, slots=True)
class CountedLevel:
    """Where a product was, and when it was last counted there; None if never."""

    location_id: str
    count_time: datetime | None


@dataclass(frozen=True, slots=True)
class LateLoss:
    """Units that had gone when a figure was published, and of which `source` told only afterwards."""

    source: str
    effective_time: datetime
    units: int


@dataclass(frozen=True, slots=True)
class OversoldUnits:
    """Oversold units of one product of one order, with what is known about them."""

    sku: str
    cause: str
    short: int
    evidence: OversellEvidence | None = None
    levels: Sequence[CountedLevel] = ()
    buffer_rules: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Remedy:
    """One thing that would have avoided an oversell; which fields are set depends on its kind."""

    kind: RemedyKind
    units: int = 0
    rule: str = ""
    source: str = ""
    max_age_minutes: int = 0
    location_id: str = ""
    since: datetime | None = None


def remedies(oversold: OversoldUnits, losses: Iterable[LateLoss] = ()) -> list[Remedy]:
    """What would have avoided these units being oversold, each by itself. `losses` are those of its product."""
    found = [_buffer(oversold), _fresher_feed(oversold, losses), _count(oversold), _figures(oversold)]
    return [remedy for remedy in found if remedy is not None]


def buffer_units(evidence: OversellEvidence) -> int:
    """Units by which the channel was told too much, below 1 if no buffer would have helped; the module says why."""
    if evidence.published is None or evidence.sold_beyond_figure > 0:
        return 0
    usable = evidence.ordered - evidence.short
    return evidence.published.sellable - evidence.own_units - usable


def added_refusals(units: int, least_told: int | None) -> int:
    """Units that a buffer would have refused in a window at most, where the channel was told `least_told` or more.

    As long as it was told at least the buffer, nobody was refused. Once it was told less, the buffer keeps what it has
    kept: so it refuses its units at most once.
    """
    return 0 if least_told is None else min(units, max(0, units - least_told))


def _buffer(oversold: OversoldUnits) -> Remedy | None:
    units = buffer_units(oversold.evidence) if oversold.evidence is not None else 0
    if units < 1:
        return None
    return Remedy(RemedyKind.BUFFER, units, rule=next(iter(oversold.buffer_rules), ""))


def _fresher_feed(oversold: OversoldUnits, losses: Iterable[LateLoss]) -> Remedy | None:
    if oversold.evidence is None or oversold.evidence.published is None:
        return None
    publish_time, known = oversold.evidence.published.publish_time, 0
    for loss in sorted(losses, key=lambda loss: loss.effective_time):
        known += loss.units
        if known >= oversold.short:
            age = (publish_time - loss.effective_time) // _MINUTE
            return Remedy(RemedyKind.FRESHER_FEED, source=loss.source, max_age_minutes=age) if age >= 1 else None
    return None


def _count(oversold: OversoldUnits) -> Remedy | None:
    if oversold.cause not in (COUNT_CORRECTION, REJECTED) or not oversold.levels:
        return None
    # The one that was not counted for longest is the likeliest; one that never was comes first.
    oldest = min(oversold.levels, key=lambda level: (level.count_time is not None, level.count_time, level.location_id))
    return Remedy(RemedyKind.COUNT, location_id=oldest.location_id, since=oldest.count_time)


def _figures(oversold: OversoldUnits) -> Remedy | None:
    if oversold.cause in (NOT_TOLD, UNMAPPED):
        return Remedy(RemedyKind.PUBLISH)
    evidence = oversold.evidence
    if evidence is None or evidence.sold_beyond_figure < evidence.short:
        return None
    return Remedy(RemedyKind.APPLY_FIGURES, evidence.sold_beyond_figure)
