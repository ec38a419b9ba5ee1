"""The first days on which the locations of a channel would handle an order, and which of them may be full by then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from policies.domain.capacity import CapacityFigures, CapacityPeriod, CapacityUse, DayLimits
from policies.domain.handling_times import HandlingTime, first_handling_time
from policies.domain.model import Location


class FirstDays:
    """What is remembered of locations with a capacity. For one thread at a time.

    Orders of one moment are planned one after the other, and each changes what is taken of a period or two. Only these
    are looked at again.
    """

    __slots__ = ("_figures", "_limits", "_locations", "_moment", "_periods", "_tight", "_times", "_unit_count", "_uses")

    def __init__(self, locations: Sequence[Location]) -> None:
        self._locations = locations
        self._moment: datetime | None = None
        self._limits: dict[str, DayLimits] = {}
        self._times: dict[str, HandlingTime] = {}
        self._figures: CapacityFigures | None = None
        self._periods: list[CapacityPeriod] = []
        self._uses: list[CapacityUse] = []
        self._unit_count = -1
        self._tight: set[str] = set()

    def limits(self, now: datetime) -> Mapping[str, DayLimits]:
        """The day on which each location would handle an order received now, by location id.

        Those that limit hours, or never would, are left out.
        """
        if self._moment != now:
            self._moment, self._limits = now, dict(self._each_limits(now))
            self._times = {key: HandlingTime(day.period.day) for key, day in self._limits.items()}
            self._figures, self._unit_count = None, -1
        return self._limits

    def tight(self, now: datetime, figures: CapacityFigures, unit_count: int) -> set[str]:
        """The locations that may lack room on that day for one more order of so many units, and those left out above.

        It may have room that is asked for more units first. The set changes with the next call.
        """
        limits = self.limits(now)
        if figures is not self._figures or unit_count > self._unit_count:
            self._look(limits, figures, unit_count)
        return self._tight

    def time_with_room(
        self, location_id: str, now: datetime, figures: CapacityFigures, unit_count: int
    ) -> HandlingTime | None:
        """That day of a location as a time, if it has room for one more order of so many units; else None."""
        if location_id in self.tight(now, figures, unit_count):
            # What is asked for more units first may have room for so many.
            day = self._limits.get(location_id)
            if day is None or not figures.fits_on(day, unit_count):
                return None
        return self._times[location_id]

    def _look(self, limits: Mapping[str, DayLimits], figures: CapacityFigures, unit_count: int) -> None:
        # Figures that follow one another have the same objects in the same order, but for what was taken in between.
        periods, uses = [*figures.used], [*figures.used.values()]
        if unit_count > self._unit_count or periods != self._periods:
            self._unit_count = max(unit_count, self._unit_count)
            self._tight = {x.id for x in self._locations if not self._fits_on(limits.get(x.id), figures)}
        else:
            for period, before, use in zip(periods, self._uses, uses, strict=True):
                if use is not before and (day := limits.get(period.location_id)) is not None:
                    change = self._tight.discard if self._fits_on(day, figures) else self._tight.add
                    change(period.location_id)
        self._figures, self._periods, self._uses = figures, periods, uses

    def _fits_on(self, day: DayLimits | None, figures: CapacityFigures) -> bool:
        return day is not None and figures.fits_on(day, self._unit_count)

    def _each_limits(self, now: datetime) -> Iterator[tuple[str, DayLimits]]:
        for location in self._locations:
            first = first_handling_time(location, now)
            if location.capacity is not None and first is not None and first.hour is None:
                yield location.id, DayLimits.of(location.id, first.day, location.capacity)
