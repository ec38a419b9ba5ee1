"""The location steps of `rank`. Each gives every location a rank, lower first, or abstains for all of them.

Plan steps are in `plans`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import floor, inf
from typing import Final

from policies.decisions.planning.planning_memory import PolicyView
from policies.domain.handling_times import first_handling_time
from policies.domain.model import Location, StockLevel, World
from policies.facts.measures import days_until_sold
from policies.policy_set import PLAN_STEPS, RankStep

Ranks = tuple[float, ...]

_DAY = timedelta(days=1)


@dataclass(slots=True, unsafe_hash=True)
class RankingContext:
    """What steps use besides the locations: the question under its policy, the order's SKUs, and the shopper's choice.

    `demand` are the order's units by SKU, empty if there is no order yet; `units` are those that it may use of a SKU,
    by location id.
    """

    view: Final[PolicyView]
    skus: Final[Sequence[str]]
    chosen_location_id: Final[str | None] = None
    demand: Final[Mapping[str, int]] = field(default_factory=dict)
    units: Final[Mapping[str, Mapping[str, int]]] = field(default_factory=dict)

    def each(self, numbers: Sequence[int]) -> Iterator[int]:
        """The numbers of locations, with a pause before each: every one of them takes a look at every SKU."""
        pause = self.view.question.world.pause
        for number in numbers:
            pause()
            yield number

    def stocked(self, number: int) -> Iterator[StockLevel]:
        """The location's levels of the order's SKUs that have available units."""
        for sku in self.skus:
            level = self.view.stock(sku).levels[number]
            if level is not None and level.available > 0:
                yield level


def rank_locations(context: RankingContext, location_ids: Collection[str]) -> dict[str, Ranks]:
    """The ranks of each location by its id, one for each location step of the policy in the order written."""
    numbers = [context.view.memory.numbers[location_id] for location_id in location_ids]
    steps = [step for step in context.view.policy.rank if step.kind not in PLAN_STEPS]
    # A step that abstains must not separate locations, and a rank of 0 for all does not.
    columns = [RANK_STEPS[step.kind](step, numbers, context) or [0.0] * len(numbers) for step in steps]
    ranks = zip(*columns, strict=True) if columns else ((),) * len(numbers)
    return dict(zip(location_ids, ranks, strict=True))


def nearest(step: RankStep, numbers: Sequence[int], context: RankingContext) -> list[float] | None:
    """The distance in kilometers, or the number of its band; a location without coordinates comes last."""
    destination = context.view.question.destination
    if destination is None or destination.coordinates is None:
        return None
    distances, band_km = context.view.distances, step.band_km
    known = [distances[number] for number in numbers]
    if band_km is None:
        return [inf if distance is None else distance for distance in known]
    return [inf if distance is None else floor(distance / band_km) for distance in known]


def priority(step: RankStep, numbers: Sequence[int], context: RankingContext) -> list[float] | None:
    """The location's priority; locations without one come last."""
    locations = context.view.memory.locations
    priorities = [locations[number].priority for number in numbers]
    return [inf if priority is None else priority for priority in priorities]


def prefer(step: RankStep, numbers: Sequence[int], context: RankingContext) -> list[float] | None:
    """Locations that meet the condition come before those that do not."""
    preferred = context.view.preference(step)
    return [float(not preferred[number]) for number in numbers]


def deepest_stock(step: RankStep, numbers: Sequence[int], context: RankingContext) -> list[float] | None:
    """Most available units of the order's SKUs first, before buffers and without this order's own units."""
    ranks: list[float] = [0] * len(numbers)
    # One SKU after the other, since a call for each location takes three times as long.
    for sku in context.skus:
        context.view.question.world.pause()
        available = context.view.stock(sku).available
        ranks = [
            rank - available[number] if available[number] > 0 else rank
            for rank, number in zip(ranks, numbers, strict=True)
        ]
    return ranks


def most_days_of_cover(step: RankStep, numbers: Sequence[int], context: RankingContext) -> list[float] | None:
    """Most days of cover first; the SKU with the fewest days decides.

    SKUs of unknown velocity are ignored; a location that has only such SKUs comes last.
    """
    return [_days_of_cover_rank(number, context) for number in context.each(numbers)]


def most_reliable(step: RankStep, numbers: Sequence[int], context: RankingContext) -> list[float] | None:
    """Highest count confidence first; the SKU with the lowest confidence decides. Unknown confidence comes last."""
    return [_reliability_rank(number, context) for number in context.each(numbers)]


def covers_most(step: RankStep, numbers: Sequence[int], context: RankingContext) -> list[float] | None:
    """Most SKUs that the order can get in full there first; abstains if there is no order yet."""
    if not context.demand:
        return None
    requests = [(context.units.get(sku, {}), count) for sku, count in context.demand.items()]
    ids = [context.view.memory.locations[number].id for number in context.each(numbers)]
    columns = [[units.get(location_id, 0) >= count for location_id in ids] for units, count in requests]
    return [-sum(covered) for covered in zip(*columns, strict=True)]


def chosen_by_shopper(step: RankStep, numbers: Sequence[int], context: RankingContext) -> list[float] | None:
    """The location chosen by the shopper first; abstains if none was chosen."""
    if context.chosen_location_id is None:
        return None
    chosen = context.view.memory.numbers.get(context.chosen_location_id)
    return [float(number != chosen) for number in numbers]


def least_loaded(step: RankStep, numbers: Sequence[int], context: RankingContext) -> list[float] | None:
    """The share of its capacity that is taken on the day on which the location would handle the order, lowest first.

    A location without a limit counts as not loaded; abstains if none has one.
    """
    if not context.view.memory.limited_ids:
        return None
    world, locations = context.view.question.world, context.view.memory.locations
    return [_load_rank(locations[number], world) for number in numbers]


def oldest_stock(step: RankStep, numbers: Sequence[int], context: RankingContext) -> list[float] | None:
    """The oldest stock of the order's SKUs first, in whole days; a location where no age is known comes last."""
    now = context.view.question.world.now
    return [_oldest_rank(number, context, now) for number in context.each(numbers)]


def _oldest_rank(number: int, context: RankingContext, now: datetime) -> float:
    times = [level.oldest_receipt_time for level in context.stocked(number)]
    known = [time for time in times if time is not None]
    return -max(0, (now - min(known)) // _DAY) if known else inf


def _load_rank(location: Location, world: World) -> float:
    if location.capacity is None:
        return 0.0
    first = first_handling_time(location, world.now)
    return inf if first is None else world.capacity_figures.load(location.id, location.capacity, first.day)


def _days_of_cover_rank(number: int, context: RankingContext) -> float:
    products = context.view.question.world.products
    covers = [
        days_until_sold(level.available, products[level.sku].velocity_per_day)
        for level in context.stocked(number)
        if level.sku in products
    ]
    return -min([cover for cover in covers if cover is not None], default=-inf)


def _reliability_rank(number: int, context: RankingContext) -> float:
    confidences = [level.count_confidence for level in context.stocked(number)]
    measured = [confidence for confidence in confidences if confidence is not None]
    return -min(measured) if measured and len(measured) == len(confidences) else inf


RANK_STEPS: Mapping[str, Callable[[RankStep, Sequence[int], RankingContext], list[float] | None]] = {
    "nearest": nearest,
    "priority": priority,
    "prefer": prefer,
    "deepest_stock": deepest_stock,
    "most_days_of_cover": most_days_of_cover,
    "most_reliable": most_reliable,
    "covers_most": covers_most,
    "chosen_by_shopper": chosen_by_shopper,
    "least_loaded": least_loaded,
    "oldest_stock": oldest_stock,
}
