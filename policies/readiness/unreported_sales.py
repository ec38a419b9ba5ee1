"""Units that had gone from a shelf while no feed had said so: how many at once, hour by hour.

A loss is known from the moment it is recorded. A movement tells when it happened; a count only that it happened since
the count before, so all of it may have gone at once just after that one. Between both times a channel was told too
much by these units: what a buffer has to cover.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

HOUR = timedelta(hours=1)
LEAST_LAG = timedelta(minutes=1)
"""What is recorded sooner is taken as known at once: no channel shows a new figure faster."""

LevelKey = tuple[str, str]
"""SKU and location id."""


@dataclass(frozen=True, slots=True)
class UnreportedLoss:
    """Units of one level that were gone from `lost_time` at the earliest, and known to be from `known_time` on."""

    sku: str
    location_id: str
    units: int
    lost_time: datetime
    known_time: datetime

    @property
    def lag(self) -> timedelta:
        """How long they were not known to be gone, at most."""
        return self.known_time - self.lost_time


@dataclass(frozen=True, slots=True)
class HotHour:
    """An hour in which a channel was told too much of a level: by how many units at most, and the longest lag."""

    sku: str
    location_id: str
    start: datetime
    units: int
    lag: timedelta


def hot_hours(losses: Iterable[UnreportedLoss]) -> list[HotHour]:
    """The hours in which losses became known, each with the most units of its level that were unknown at once.

    A loss belongs to the hour in which it became known: until then nobody could have done anything, and afterwards the
    figure is right. Sorted by time, SKU and location.
    """
    by_level: dict[LevelKey, list[UnreportedLoss]] = defaultdict(list)
    for loss in losses:
        if loss.lag >= LEAST_LAG and loss.units > 0:
            by_level[loss.sku, loss.location_id].append(loss)
    found = [hour for key, of_level in by_level.items() for hour in _hours(key, of_level)]
    return sorted(found, key=lambda hour: (hour.start, hour.sku, hour.location_id))


def _hours(key: LevelKey, losses: list[UnreportedLoss]) -> Iterable[HotHour]:
    peaks = _peaks(losses)
    by_hour: dict[datetime, list[UnreportedLoss]] = defaultdict(list)
    for loss in losses:
        by_hour[loss.known_time.replace(minute=0, second=0, microsecond=0)].append(loss)
    for start, known in by_hour.items():
        units = max(peaks[loss.known_time] for loss in known)
        yield HotHour(*key, start, units, max(loss.lag for loss in known))


def _peaks(losses: list[UnreportedLoss]) -> Mapping[datetime, int]:
    """The units unknown just before each moment at which some became known, when at most that many were."""
    changes = [(loss.lost_time, loss.units) for loss in losses]
    changes += [(loss.known_time, -loss.units) for loss in losses]
    unknown, peaks = 0, dict[datetime, int]()
    # At the same moment losses come before what becomes known.
    for moment, units in sorted(changes, key=lambda change: (change[0], -change[1])):
        if units < 0:
            peaks.setdefault(moment, unknown)
        unknown += units
    return peaks
