"""Why a decision chose its plan: the next best plan, what limits on splits refused, and every ranked location.

It is worked out from the inputs of a decision when somebody asks, never while an order is planned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from policies.decisions.alternatives.full_locations import FullLocation, full_locations
from policies.decisions.alternatives.late_locations import LateLocation, late_locations
from policies.decisions.alternatives.plan_comparison import PlanComparison
from policies.decisions.alternatives.plan_differences import PlanDifference, PlanFigures
from policies.decisions.alternatives.step_figures import StepFigure
from policies.decisions.planning.plans import Load, Plan
from policies.decisions.routing import RoutedOrder
from policies.decisions.splits import units_by_location
from policies.domain.shipping_dates import DateStep
from policies.explanation import unit_count_text

MOST_LEFT_OUT = 10
"""Of a plan of more shipments, only so many of its worst-ranked locations are left out in turn for the next best."""

MOST_LOCATIONS = 100
"""Ranked locations that are listed, those of the plan first."""

MOST_REPLACEMENTS = 100
"""Plans in which a location stands in for one of the chosen plan. The locations ranked after those have none."""

REPLACEMENT_LEVELS = 300_000
"""Stock levels that these plans look at together, so there are fewer for many products at many locations."""


@dataclass(frozen=True, slots=True)
class ComparedShipment:
    """A shipment of a plan in figures: units by SKU, and what is known of its way. The cost is the merchant's."""

    location_id: str
    units: Mapping[str, int]
    distance_km: float | None
    cost: Decimal | None
    delivery_day: date | None
    handling_day: date | None = None
    """The day of whose capacity it takes; None at a location without a limit."""
    date_steps: tuple[DateStep, ...] = ()
    """Why it does not leave or arrive earlier."""


@dataclass(frozen=True, slots=True)
class ComparedPlan:
    """A plan, best-ranked location first. `differences` from the chosen plan, what decides first; none if it is that.

    `refused_by` are the settings of the policy that do not allow it, each with its figures.
    """

    shipments: tuple[ComparedShipment, ...]
    figures: PlanFigures
    differences: tuple[PlanDifference, ...] = ()
    refused_by: tuple[str, ...] = ()
    searched_exhaustively: bool = True


@dataclass(frozen=True, slots=True)
class RankedLocation:
    """A location that could supply units of the order, at its place in rank order, from 1.

    `unit_count` are the units that it ships, `suppliable_count` those that it could ship by itself. `differences`, of
    one that ships none, are those of the best plan in which it stands in for a location of the chosen plan; empty if
    there is none, or it is too far behind to be compared. Cost and day are of the units that it ships, or could ship.
    """

    location_id: str
    place: int
    unit_count: int
    suppliable_count: int
    figures: tuple[StepFigure, ...]
    cost: Decimal | None
    delivery_day: date | None
    differences: tuple[PlanDifference, ...] = ()


@dataclass(frozen=True, slots=True)
class DecisionExplanation:
    """Why a decision chose its plan.

    `passed_on_by` are policies that could not fill the order and said `otherwise: next`. `next_best` is the best plan
    that leaves out at least one location of the chosen plan, None if there is no other. `refused` would come before
    the chosen plan if the policy did not limit splits. `locations` are at most MOST_LOCATIONS of `ranked_count`, and so
    are the full ones of `full_count` and the late ones of `late_count`.
    """

    steps: tuple[str, ...]
    passed_on_by: tuple[str, ...]
    chosen: ComparedPlan
    next_best: ComparedPlan | None
    refused: ComparedPlan | None
    locations: tuple[RankedLocation, ...]
    ranked_count: int
    full_locations: tuple[FullLocation, ...] = ()
    full_count: int = 0
    late_locations: tuple[LateLocation, ...] = ()
    late_count: int = 0


def explain(routed: RoutedOrder) -> DecisionExplanation:
    """Why the order got its plan."""
    return _Explainer(routed).explanation()


class _Explainer:
    def __init__(self, routed: RoutedOrder) -> None:
        self._routed = routed
        self._plan = routed.plan
        self._comparison = PlanComparison(routed)
        self._suppliable = routed.suppliable_units()

    def explanation(self) -> DecisionExplanation:
        next_best, refused = self._next_best(), self._refused()
        full, late = tuple(full_locations(self._routed)), tuple(late_locations(self._routed))
        return DecisionExplanation(
            steps=tuple(step.kind for step in self._comparison.steps),
            passed_on_by=self._routed.tried,
            chosen=self._compared(self._plan),
            next_best=None if next_best is None else self._compared(next_best),
            refused=None if refused is None else self._compared(refused, self._refusals(refused)),
            locations=tuple(self._locations()),
            ranked_count=len(self._comparison.ids),
            full_locations=full[:MOST_LOCATIONS],
            full_count=len(full),
            late_locations=late[:MOST_LOCATIONS],
            late_count=len(late),
        )

    def _next_best(self) -> Plan | None:
        """The best plan without one of the plan's locations, each of which is left out in turn."""
        left_out = [load.location_id for load in self._plan.loads[-MOST_LEFT_OUT:]]
        return self._best([self._routed.without(frozenset([location_id])) for location_id in left_out])

    def _best(self, plans: list[Plan]) -> Plan | None:
        return min([plan for plan in plans if plan.loads], key=self._comparison.key, default=None)

    def _refused(self) -> Plan | None:
        """The plan that only limits on splits keep from being chosen; None if they change nothing."""
        policy = self._routed.run.policy
        if self._routed.run.max_shipments is None and not policy.ship_complete:
            return None
        plan = self._routed.without_split_limits()
        is_same = units_by_location(plan) == units_by_location(self._plan)
        return plan if plan.loads and not is_same and self._refusals(plan) else None

    def _refusals(self, plan: Plan) -> tuple[str, ...]:
        """The settings of the policy that do not allow a plan, with the figures that break them."""
        run, policy = self._routed.run, self._routed.run.policy
        shipments = len({load.location_id for load in plan.loads} | run.kept_locations)
        ordered = run.order.units_by_sku()
        missing = sum(max(0, count - plan.placed(sku)) for sku, count in ordered.items())
        refusals = []
        if policy.max_shipments is not None and shipments > policy.max_shipments:
            refusals.append(f"max_shipments is {policy.max_shipments}; it has {shipments}")
        elif run.is_one_shipment and self._routed.ruling is not None:
            evidence = self._routed.ruling.fired.evidence
            facts = () if evidence is None else evidence.facts()
            refusals.append("; ".join(["split_only_if", *[f"{fact} is {value}" for fact, value in facts]]))
        elif run.max_shipments is not None and shipments > run.max_shipments:
            value = run.question.order.value
            worth = "unknown" if value is None else str(value)
            refusals.append(f"min_split_value is {policy.min_split_value:.10g}; the order's value is {worth}")
        if policy.ship_complete and (missing or (run.whole is not None and run.whole.has_other_shortages)):
            refusals.append(f"ship_complete; {unit_count_text(missing)} would be short" if missing else "ship_complete")
        return tuple(refusals)

    def _locations(self) -> Iterator[RankedLocation]:
        comparison, shipped = self._comparison, units_by_location(self._plan)
        places = {location_id: place for place, location_id in enumerate(comparison.ids, start=1)}
        listed = [*[key for key in comparison.ids if key in shipped], *[x for x in comparison.ids if x not in shipped]]
        level_count = len(comparison.ids) * len(self._routed.run.order.units_by_sku())
        replacements = min(MOST_REPLACEMENTS, REPLACEMENT_LEVELS // max(1, level_count))
        for location_id in sorted(listed[:MOST_LOCATIONS], key=places.__getitem__):
            differences: tuple[PlanDifference, ...] = ()
            if location_id not in shipped and replacements > 0:
                replacements -= max(1, min(MOST_LEFT_OUT, len(shipped)))
                differences = self._behind(location_id)
            count = self._suppliable.get(location_id, 0)
            estimate = self._shipment(Load(location_id, shipped.get(location_id) or self._suppliable_load(location_id)))
            yield RankedLocation(
                location_id=location_id,
                place=places[location_id],
                unit_count=sum(shipped.get(location_id, {}).values()),
                suppliable_count=count,
                figures=comparison.figures_of(location_id),
                cost=estimate.cost,
                delivery_day=estimate.delivery_day,
                differences=differences,
            )

    def _suppliable_load(self, location_id: str) -> dict[str, int]:
        """What a location could ship by itself, by SKU; of parts, only how many units are known."""
        routed = self._routed
        if routed.run.parts:
            return {"": self._suppliable.get(location_id, 0)}
        stock, demand = routed.usable.units, routed.run.order.units_by_sku()
        units = {sku: min(count, stock.get(sku, {}).get(location_id, 0)) for sku, count in demand.items()}
        return {sku: count for sku, count in units.items() if count}

    def _behind(self, location_id: str) -> tuple[PlanDifference, ...]:
        """The differences of the best plan in which a location stands in for one of the chosen plan."""
        chosen, every = [load.location_id for load in self._plan.loads], frozenset(self._comparison.ids)
        replacements = []
        for replaced in chosen[-MOST_LEFT_OUT:]:
            members = frozenset([*chosen, location_id]) - {replaced}
            plan = self._routed.without(every - members)
            if any(load.location_id == location_id for load in plan.loads):
                replacements.append(plan)
        best = self._best(replacements)
        return () if best is None else self._comparison.differences(self._plan, best)

    def _compared(self, plan: Plan, refused_by: tuple[str, ...] = ()) -> ComparedPlan:
        differences = () if plan is self._plan else self._comparison.differences(self._plan, plan)
        shipments = tuple(self._shipment(load) for load in plan.loads)
        figures = self._comparison.plan_figures(plan)
        return ComparedPlan(shipments, figures, differences, refused_by, plan.searched_exhaustively)

    def _shipment(self, load: Load) -> ComparedShipment:
        comparison, dates = self._comparison, self._comparison.dates(load)
        return ComparedShipment(
            load.location_id,
            load.units,
            comparison.distance_km(load.location_id),
            comparison.cost(load),
            dates.arrives_on,
            comparison.handling_day(load),
            dates.steps,
        )
