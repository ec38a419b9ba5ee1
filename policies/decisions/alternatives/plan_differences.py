"""Differences between two plans of one order, in words and with their figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from policies.decisions.alternatives.step_figures import StepFigure, kilometers
from policies.explanation import unit_count_text
from policies.policy_set import EARLIEST_PROMISE, FEWEST_SHIPMENTS, LOWEST_COST

UNITS, SPLIT_KITS, LOCATION_ID = "units", "split_kits", "location_id"
"""What plans are compared by besides the steps of `rank`: more units come first, then fewer kits that are split, then
the steps, then the ids of the locations."""
HANDLING_DAY, DISTANCE = "handling_day", "distance"
"""What is only told of whole plans."""

IN_ALL = " in all"
"""What follows a distance of several shipments together."""


@dataclass(frozen=True, slots=True)
class PlanDifference:
    """What sets another plan apart from the chosen one: a step of `rank`, or one of the words above.

    `chosen` and `other` are the figures that were compared, empty if unknown. `text` says it of the other plan: "12.0
    km farther". `decides`: the plans are equal in everything that is compared before.
    """

    step: str
    chosen: str
    other: str
    text: str
    decides: bool = False


@dataclass(frozen=True, slots=True)
class PlanFigures:
    """A plan in figures. Distance and cost are of all its shipments, the days are those of the last one.

    `shipments` includes those that the order has anyway, for units that it keeps. Distance, cost and day are None if
    they are unknown for one shipment. The cost is in the merchant's currency.
    """

    units: int
    shipments: int
    distance_km: float | None
    cost: Decimal | None
    delivery_day: date | None
    handling_day: date | None = None
    """The last day of whose capacity it takes; None if a location without a limit ships."""


def figures_difference(step: str, ours: PlanFigures, theirs: PlanFigures) -> PlanDifference | None:
    """The difference in the figure that a step compares; None if there is none, or the step compares no figure."""
    if step not in FIGURES:
        return None
    chosen, other, text = FIGURES[step](ours, theirs)
    return None if chosen == other else PlanDifference(step, chosen, other, text)


def kits_difference(chosen: int, other: int) -> PlanDifference:
    """The difference in how many kits have components from several locations."""
    more = other - chosen
    text = f"{_count(more, 'kit')} {_direction(more, 'more', 'fewer')} from several locations"
    return PlanDifference(SPLIT_KITS, str(chosen), str(other), text)


def location_difference(
    step: str, chosen: StepFigure, other: StepFigure, distances_km: tuple[float | None, float | None]
) -> PlanDifference:
    """The difference of two locations in a location step; `distances_km` are theirs."""
    ours, theirs = str(chosen), str(other)
    here, there = distances_km
    if step == "nearest" and here is not None and there is not None:
        text = _distance_text(there - here)
    elif step in _YES_NO:
        text = _YES_NO[step][theirs != "true"]
    else:
        text = _TEXTS[step].format(theirs, ours)
    return PlanDifference(step, ours, theirs, text)


_YES_NO = {
    "prefer": ("preferred", "not preferred"),
    "chosen_by_shopper": ("chosen by the shopper", "not chosen by the shopper"),
}
_TEXTS = {
    "nearest": "distance {} instead of {}",
    "priority": "priority {} instead of {}",
    "deepest_stock": "{} in stock instead of {}",
    "most_days_of_cover": "{} of cover instead of {}",
    "most_reliable": "count confidence {} instead of {}",
    "covers_most": "{} of the order in full instead of {}",
    "least_loaded": "{} of its capacity taken instead of {}",
    "oldest_stock": "{} since its oldest stock came in instead of {}",
}


def _units(ours: PlanFigures, theirs: PlanFigures) -> tuple[str, str, str]:
    more = theirs.units - ours.units
    return str(ours.units), str(theirs.units), f"{unit_count_text(abs(more))} {_direction(more, 'more', 'fewer')}"


def _shipments(ours: PlanFigures, theirs: PlanFigures) -> tuple[str, str, str]:
    more = theirs.shipments - ours.shipments
    text = f"{_count(more, 'shipment')} {_direction(more, 'more', 'fewer')}"
    return str(ours.shipments), str(theirs.shipments), text


def _cost(ours: PlanFigures, theirs: PlanFigures) -> tuple[str, str, str]:
    if ours.cost is None or theirs.cost is None:
        chosen, other = _known(ours.cost), _known(theirs.cost)
        return chosen, other, f"shipping cost {other or 'unknown'} instead of {chosen or 'unknown'}"
    more = theirs.cost - ours.cost
    text = f"{abs(more)} {_direction(more, 'dearer', 'cheaper')} to ship"
    return str(ours.cost), str(theirs.cost if more else ours.cost), text


def _day(ours: PlanFigures, theirs: PlanFigures) -> tuple[str, str, str]:
    return _days("delivered", ours.delivery_day, theirs.delivery_day)


def _handling(ours: PlanFigures, theirs: PlanFigures) -> tuple[str, str, str]:
    return _days("handled", ours.handling_day, theirs.handling_day)


def _days(done: str, here: date | None, there: date | None) -> tuple[str, str, str]:
    chosen, other = _known(here), _known(there)
    if here is None or there is None:
        return chosen, other, f"{done} {_on(other)} instead of {_on(chosen)}"
    more = (there - here).days
    return chosen, other, f"{done} {_count(more, 'day')} {_direction(more, 'later', 'earlier')}"


def _distance(ours: PlanFigures, theirs: PlanFigures) -> tuple[str, str, str]:
    chosen, other = _distance_figure(ours.distance_km), _distance_figure(theirs.distance_km)
    if ours.distance_km is None or theirs.distance_km is None:
        return chosen, other, f"distance {other or 'unknown'} instead of {chosen or 'unknown'}"
    is_sum = max(ours.shipments, theirs.shipments) > 1
    return chosen, other, _distance_text(theirs.distance_km - ours.distance_km) + (IN_ALL if is_sum else "")


FIGURES: Mapping[str, Callable[[PlanFigures, PlanFigures], tuple[str, str, str]]] = {
    UNITS: _units,
    FEWEST_SHIPMENTS: _shipments,
    LOWEST_COST: _cost,
    EARLIEST_PROMISE: _day,
    HANDLING_DAY: _handling,
    DISTANCE: _distance,
}


def _distance_text(more_km: float) -> str:
    return f"{kilometers(abs(more_km))} km {_direction(more_km, 'farther', 'nearer')}"


def _distance_figure(distance_km: float | None) -> str:
    return "" if distance_km is None else f"{kilometers(distance_km)} km"


def _known(figure: Decimal | date | None) -> str:
    return "" if figure is None else str(figure)


def _on(day: str) -> str:
    return f"on {day}" if day else "on an unknown day"


def _count(more: int, noun: str) -> str:
    return f"{abs(more):,} {noun}{'' if abs(more) == 1 else 's'}"


def _direction(more: float | Decimal, above: str, below: str) -> str:
    """The word for a figure that is so much more, or less, than the chosen plan's."""
    return above if more > 0 else below
