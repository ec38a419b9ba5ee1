"""What each step of `rank` compares of one location, as a figure that a planner can check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isinf

from policies.decisions.planning.ranking import Ranks
from policies.policy_set import PLAN_STEPS, RankStep

UNKNOWN = "unknown"
_NEAR_KM = 0.1


@dataclass(frozen=True, slots=True)
class StepFigure:
    """The figure that a step compares of one location, as text, such as "12.4" `km`, "true", or "unknown"."""

    step: str
    value: str
    unit: str = ""

    def __str__(self) -> str:
        if self.unit not in _SINGULAR or self.value not in ("1", "-1"):
            return f"{self.value} {self.unit}" if self.unit and self.value[-1].isdigit() else self.value
        return f"{self.value} {_SINGULAR[self.unit]}"


_SINGULAR = {"units": "unit", "days": "day", "products": "product"}
_UNITS = {
    "deepest_stock": "units",
    "most_days_of_cover": "days",
    "most_reliable": "",
    "covers_most": "products",
    "oldest_stock": "days",
}
"""What the steps that rank the largest first count."""


def location_figures(
    steps: tuple[RankStep, ...], ranks: Ranks, distance_km: float | None, *, has_choice: bool
) -> tuple[StepFigure, ...]:
    """The figures of the location steps. `ranks` are the location's, one for each of these steps in order.

    `has_choice`: the shopper chose a location.
    """
    columns = iter(ranks)
    figures = []
    for step in steps:
        if step.kind in PLAN_STEPS:
            continue
        rank = next(columns)
        if step.kind == "nearest":
            figures.append(StepFigure(step.kind, UNKNOWN if distance_km is None else kilometers(distance_km), "km"))
        elif step.kind == "chosen_by_shopper" and not has_choice:
            figures.append(StepFigure(step.kind, "none chosen"))
        else:
            figures.append(_FIGURES[step.kind](step.kind, rank))
    return tuple(figures)


def kilometers(distance_km: float) -> str:
    """A distance with one decimal, or in meters where that would be 0."""
    return f"{distance_km:,.1f}" if distance_km >= _NEAR_KM or not distance_km else f"{distance_km:.3f}"


def _priority(step: str, rank: float) -> StepFigure:
    return StepFigure(step, "none" if isinf(rank) else f"{rank:.10g}")


def _is_first(step: str, rank: float) -> StepFigure:
    return StepFigure(step, "false" if rank else "true")


def _most(step: str, rank: float) -> StepFigure:
    """The figure of a step that ranks the largest first, by its negative."""
    if isinf(rank):
        return StepFigure(step, UNKNOWN if rank > 0 else "unlimited", _UNITS[step])
    return StepFigure(step, f"{0 - rank:.10g}", _UNITS[step])


def _share(step: str, rank: float) -> StepFigure:
    return StepFigure(step, UNKNOWN if isinf(rank) else f"{100 * rank:.3g}", "%")


_FIGURES: Mapping[str, Callable[[str, float], StepFigure]] = {
    "priority": _priority,
    "prefer": _is_first,
    "deepest_stock": _most,
    "most_days_of_cover": _most,
    "most_reliable": _most,
    "covers_most": _most,
    "chosen_by_shopper": _is_first,
    "least_loaded": _share,
    "oldest_stock": _most,
}
