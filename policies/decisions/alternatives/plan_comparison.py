"""How two plans of one order compare under its policy: what decides between them, and what else differs.

Plans are compared as planning compares them (`planning.plans`): the sort keys of the same steps, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import zip_longest

from policies.decisions.alternatives.plan_differences import (
    DISTANCE,
    FIGURES,
    HANDLING_DAY,
    IN_ALL,
    LOCATION_ID,
    SPLIT_KITS,
    UNITS,
    PlanDifference,
    PlanFigures,
    figures_difference,
    kits_difference,
    location_difference,
)
from policies.decisions.alternatives.step_figures import StepFigure, location_figures
from policies.decisions.capacity import planned_handling
from policies.decisions.delivery import known_cost, shipment_size, shipping_dates_of
from policies.decisions.order_plans import delivery_estimates
from policies.decisions.planning.plan_steps import UNKNOWN_ESTIMATE, ShippingEstimate, plan_steps
from policies.decisions.planning.plans import Load, Plan
from policies.decisions.routing import RoutedOrder
from policies.domain.rate_table import INFINITE_COST
from policies.domain.shipping_dates import NO_DATES, ShippingDates
from policies.policy_set import (
    DELIVERY_STEPS,
    EARLIEST_PROMISE,
    FEWEST_SHIPMENTS,
    LOWEST_COST,
    PLAN_STEPS,
    RankStep,
)


class PlanComparison:
    """Compares plans of one order. `ranks` are those of its candidates, by location id, best-ranked first."""

    def __init__(self, routed: RoutedOrder) -> None:
        run = routed.run
        self._run, self._usable = run, routed.usable
        self.steps: tuple[RankStep, ...] = run.policy.rank
        ranks = routed.ranks()
        self.ids = sorted(ranks, key=lambda key: (ranks[key], key))
        self.ranks = {key: ranks[key] for key in self.ids}
        self._numbers = {key: number for number, key in enumerate(self.ids)}
        self._estimates: dict[str, ShippingEstimate] = {}
        self._dates: dict[tuple[str, date | None], ShippingDates] = {}
        kinds = [step.kind for step in self.steps]
        self._compares_sets = any(kind in PLAN_STEPS for kind in kinds)
        compares_delivery = any(kind in DELIVERY_STEPS for kind in kinds)
        # Nothing is delivered to a shopper who picks the order up.
        self._tells_delivery = compares_delivery or run.order.method != "pickup"
        estimates = [self.estimate(key) if compares_delivery else UNKNOWN_ESTIMATE for key in self.ids]
        by_id = {key: number for number, key in enumerate(sorted(self.ids))}
        self._plan_steps = plan_steps(kinds, list(self.ranks.values()), estimates, [by_id[key] for key in self.ids])

    def estimate(self, location_id: str) -> ShippingEstimate:
        """What delivery from a location costs, and when it arrives; unknown of an order for pickup."""
        if not self._tells_delivery:
            return UNKNOWN_ESTIMATE
        found = self._estimates.get(location_id)
        if found is None:
            found = delivery_estimates(self._run, self._usable, [location_id])[location_id]
            self._estimates[location_id] = found
        return found

    def distance_km(self, location_id: str) -> float | None:
        """Kilometers from the location to the destination, None if unknown."""
        view = self._run.view
        return view.distances[view.memory.numbers[location_id]]

    def figures_of(self, location_id: str) -> tuple[StepFigure, ...]:
        """What the location steps compare of a location."""
        has_choice = self._run.order.pickup_location_id is not None
        distance = self.distance_km(location_id)
        return location_figures(self.steps, self.ranks[location_id], distance, has_choice=has_choice)

    def plan_figures(self, plan: Plan) -> PlanFigures:
        """What the plan is told by."""
        distances = [self.distance_km(load.location_id) for load in plan.loads]
        known = [distance for distance in distances if distance is not None]
        costs = [self.cost(load) for load in plan.loads]
        known_costs = [cost for cost in costs if cost is not None]
        days = [self._compared_day(load) for load in plan.loads]
        known_days = [day for day in days if day is not None]
        handling_days = [day for day in map(self.handling_day, plan.loads) if day is not None]
        return PlanFigures(
            sum(map(_unit_count, plan.loads)),
            len({load.location_id for load in plan.loads} | self._run.kept_locations),
            sum(known) if known and len(known) == len(distances) else None,
            sum(known_costs, Decimal(0)) if known_costs and len(known_costs) == len(costs) else None,
            max(known_days) if known_days and len(known_days) == len(days) else None,
            max(handling_days) if handling_days and len(handling_days) == len(plan.loads) else None,
        )

    def cost(self, load: Load) -> Decimal | None:
        """What shipping a load costs; None if that is unknown."""
        return known_cost(self.estimate(load.location_id).cost, shipment_size(self._run.question, load.units))

    def dates(self, load: Load) -> ShippingDates:
        """When the load would leave and arrive, as a shipment of it would say; unknown of an order for pickup."""
        run = self._run
        if run.order.method == "pickup":
            return NO_DATES
        key = load.location_id, self.handling_day(load)
        found = self._dates.get(key)
        if found is None:
            context = run.question.context(run.question.world.locations[load.location_id])
            found = self._dates[key] = shipping_dates_of(run.policy_set, context, key[1])
        return found

    def _compared_day(self, load: Load) -> date | None:
        """The day of delivery: that of all it could be, which `earliest_promise` compares, else the load's own."""
        is_compared = any(step.kind == EARLIEST_PROMISE for step in self.steps)
        if not self._run.policy_set.delivery:
            return None
        return self.estimate(load.location_id).arrives if is_compared else self.dates(load).arrives_on

    def handling_day(self, load: Load) -> date | None:
        """The day of whose capacity a load takes; None at a location without a limit."""
        view = self._run.view
        if load.location_id not in view.memory.limited_ids:
            return None
        time = planned_handling(view, self._run.order, load.location_id, _unit_count(load))
        return None if time is None else time.day

    def key(self, plan: Plan) -> tuple[object, ...]:
        """What the plan is compared by, lower first."""
        return tuple(tuple(part for _, part in self._stage(stage.loads)) for stage in self._stages(plan))

    def differences(self, chosen: Plan, other: Plan) -> tuple[PlanDifference, ...]:
        """In what the other plan differs from the chosen one, what decides first; none if they are equal."""
        found: list[PlanDifference] = []
        stages = list(zip(self._stages(chosen), self._stages(other), strict=True))
        for number, (ours, theirs) in enumerate(stages, start=1):
            parts = zip(self._stage(ours.loads), self._stage(theirs.loads), strict=True)
            unequal = (step for (step, part), (_, other_part) in parts if part != other_part)
            for step in unequal:
                # Locations of different sets cannot be compared one by one, except where that decides.
                if not found or step in FIGURES or len(ours.loads) == len(theirs.loads) == 1:
                    is_joined = step == UNITS and number < len(stages)
                    differences = self._difference(step, ours, theirs)
                    found += map(_of_joined_units, differences) if is_joined else differences
        decided = [replace(difference, decides=not index) for index, difference in enumerate(_of_each_step(found))]
        if not decided:
            return ()
        told = {difference.step for difference in decided}
        more = self._told(self.plan_figures(chosen), self.plan_figures(other), told)
        new = [x for x in more if not any(x.text.removesuffix(IN_ALL) in difference.text for difference in decided)]
        return tuple([x for x in (*decided, *new) if x.decides or x.step != LOCATION_ID])

    def _stages(self, plan: Plan) -> list[Plan]:
        """The plan in the parts that are planned one after the other.

        Where the order keeps units and shipments are limited, the locations that ship it anyway are planned first.
        """
        kept = self._run.kept_locations if self._run.max_shipments is not None else set()
        if not kept:
            return [plan]
        anyway = [load for load in plan.loads if load.location_id in kept]
        return [Plan(tuple(anyway)), Plan(tuple([load for load in plan.loads if load not in anyway]))]

    def _stage(self, loads: Sequence[Load]) -> list[tuple[str, object]]:
        # Planning splits kits only where more units are filled by that, and then does not compare how many.
        units, is_split = sum(map(_unit_count, loads)), self._split_kits(loads) > 0
        members = sorted(self._numbers[load.location_id] for load in loads)
        if self._compares_sets:
            names = [*[step.kind for step in self.steps], LOCATION_ID]
            parts = [step.key_part(members, self._total_cost(loads)) for step in self._plan_steps]
            return [(UNITS, -units), (SPLIT_KITS, is_split), *zip(names, parts, strict=True)]
        # Locations give what they have in the order of their ranks; the end of a list comes after every location.
        in_order: list[tuple[float, ...]] = [(0, *self.ranks[self.ids[member]], member) for member in members]
        sequence = (SPLIT_KITS, is_split), ("rank", (*in_order, (1,)))
        return [*sequence] if self._run.max_shipments is not None else [(UNITS, -units), *sequence]

    def _total_cost(self, loads: Sequence[Load]) -> Decimal:
        if not any(step.kind == LOWEST_COST for step in self.steps):
            return Decimal(0)
        costs = [self.cost(load) for load in loads]
        return sum([INFINITE_COST if cost is None else cost for cost in costs], Decimal(0))

    def _split_kits(self, loads: Sequence[Load]) -> int:
        """How many of the order's kits that may be split have components from several locations."""
        components: dict[str, list[tuple[str, int]]] = {}
        for part in self._run.parts:
            if part.split_kit is not None:
                component = part.lines[0].line_id, part.split_kit.unit_count
                components.setdefault(part.split_kit.line_id, []).append(component)
        count = 0
        for members in components.values():
            # Kits whose components are all at one location, there.
            kits_at = [min(load.lines.get(line_id, 0) // units for line_id, units in members) for load in loads]
            placed = min(sum(load.lines.get(line_id, 0) for load in loads) // units for line_id, units in members)
            count += placed - sum(kits_at)
        return count

    def _difference(self, step: str, chosen: Plan, other: Plan) -> Iterator[PlanDifference]:
        if step == "rank":
            difference = self._difference_in_rank_order(chosen, other)
        elif step == SPLIT_KITS:
            difference = kits_difference(self._split_kits(chosen.loads), self._split_kits(other.loads))
        elif step in FIGURES:
            difference = figures_difference(step, self.plan_figures(chosen), self.plan_figures(other))
        else:
            difference = self._difference_of_members(step, chosen, other)
        if difference is not None:
            yield difference

    def _difference_of_members(self, step: str, chosen: Plan, other: Plan) -> PlanDifference:
        """Of a location step: where the sorted ranks of the plans' locations differ first."""
        if step == LOCATION_ID:
            ids, other_ids = (sorted(load.location_id for load in plan.loads) for plan in (chosen, other))
            text = "equal in every step; locations then count by their ids"
            return PlanDifference(step, ", ".join(ids), ", ".join(other_ids), text)
        column = [x.kind for x in self.steps if x.kind not in PLAN_STEPS].index(step)
        ours, theirs = (
            sorted((self.ranks[load.location_id][column], load.location_id) for load in plan.loads)
            for plan in (chosen, other)
        )
        parted = next(((a[1], b[1]) for a, b in zip(ours, theirs, strict=False) if a[0] != b[0]), None)
        if parted is None:
            # Where one has a further location, it comes after the other.
            there = theirs[len(ours)][1]
            return PlanDifference(step, "", there, f"also ships from {there}")
        difference = self._difference_of_locations(step, *parted)
        return difference if len(ours) == len(theirs) == 1 else _named(difference, *parted)

    def _difference_in_rank_order(self, chosen: Plan, other: Plan) -> PlanDifference | None:
        """Where plans that were filled in rank order part: by the first step in which the two locations differ.

        Where one plan ends before that, it has fewer units.
        """
        mine, its = (
            sorted([load.location_id for load in plan.loads], key=self._numbers.__getitem__) for plan in (chosen, other)
        )
        here, there = next((a, b) for a, b in zip_longest(mine, its) if a != b)
        if here is None or there is None:
            return figures_difference(UNITS, self.plan_figures(chosen), self.plan_figures(other))
        kinds = [step.kind for step in self.steps]
        columns = zip(kinds, self.ranks[here], self.ranks[there], strict=True)
        step = next((kind for kind, rank, other_rank in columns if rank != other_rank), None)
        if step is None:
            return self._difference_of_members(LOCATION_ID, chosen, other)
        difference = self._difference_of_locations(step, here, there)
        return difference if len(mine) == len(its) == 1 else _named(difference, here, there)

    def _difference_of_locations(self, step: str, here: str, there: str) -> PlanDifference:
        distances = self.distance_km(here), self.distance_km(there)
        return location_difference(step, self._figure(step, here), self._figure(step, there), distances)

    def _figure(self, step: str, location_id: str) -> StepFigure:
        return next(x for x in self.figures_of(location_id) if x.step == step)

    def _told(self, ours: PlanFigures, theirs: PlanFigures, told: set[str]) -> Iterator[PlanDifference]:
        """What else differs: figures that no step of the policy compares."""
        for step in (UNITS, FEWEST_SHIPMENTS, LOWEST_COST, EARLIEST_PROMISE, HANDLING_DAY, DISTANCE):
            difference = None if step in told else figures_difference(step, ours, theirs)
            if difference is not None and "" not in (difference.chosen, difference.other):
                yield difference


def _unit_count(load: Load) -> int:
    return sum(load.units.values())


def _named(difference: PlanDifference, here: str, there: str) -> PlanDifference:
    """The difference of two locations with their ids, where the plans have more."""
    return replace(difference, text=f"{there} instead of {here}: {difference.text}")


def _of_each_step(differences: Sequence[PlanDifference]) -> list[PlanDifference]:
    """The first difference in each step."""
    return list({difference.step: difference for difference in reversed(differences)}.values())[::-1]


def _of_joined_units(difference: PlanDifference) -> PlanDifference:
    return replace(difference, text=f"{difference.text} in shipments that the order has anyway")
