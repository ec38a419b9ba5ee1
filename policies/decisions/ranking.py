"""The location steps of `rank`. Each gives every location a rank, lower first, or abstains for all of them.

Plan steps are in `plans`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor, inf

from policies.decisions.eligibility import RoutingQuestion
from policies.domain.geography import great_circle_km
from policies.domain.model import Location, StockLevel
from policies.facts.measures import days_until_sold
from policies.policy_set import PLAN_STEPS, RankStep, RoutingPolicy

Ranks = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RankingContext:
    """What steps use besides the location: the question, the order's SKUs, and the shopper's choice.

    `demand` are the order's units by SKU, empty if there is no order yet; `units` are those that it may use of a SKU,
    by location id.
    """

    question: RoutingQuestion
    skus: Sequence[str]
    chosen_location_id: str | None = None
    demand: Mapping[str, int] = field(default_factory=dict)
    units: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def stocked(self, location: Location) -> Iterator[StockLevel]:
        """The location's levels of the order's SKUs that have available units."""
        for sku in self.skus:
            level = self.question.level(sku, location.id)
            if level is not None and level.available > 0:
                yield level


def rank_locations(policy: RoutingPolicy, locations: Iterable[Location], context: RankingContext) -> dict[str, Ranks]:
    """The ranks of each location by its id, one for each location step of the policy in the order written."""
    steps = [(RANK_STEPS[step.kind], step) for step in policy.rank if step.kind not in PLAN_STEPS]
    # A step that abstains must not separate locations, and a rank of 0 for all does not.
    return {
        location.id: tuple([rank(step, location, context) or 0.0 for rank, step in steps]) for location in locations
    }


def distance_km(location: Location, question: RoutingQuestion) -> float | None:
    """Great-circle kilometers from the location to the destination; None if either has no coordinates."""
    destination = question.destination
    if destination is None or destination.coordinates is None or location.coordinates is None:
        return None
    return great_circle_km(location.coordinates, destination.coordinates)


def nearest(step: RankStep, location: Location, context: RankingContext) -> float | None:
    """The distance in kilometers, or the number of its band; a location without coordinates comes last."""
    destination = context.question.destination
    if destination is None or destination.coordinates is None:
        return None
    distance = distance_km(location, context.question)
    if distance is None:
        return inf
    return distance if step.band_km is None else floor(distance / step.band_km)


def priority(step: RankStep, location: Location, context: RankingContext) -> float | None:
    """The location's priority; locations without one come last."""
    return inf if location.priority is None else location.priority


def prefer(step: RankStep, location: Location, context: RankingContext) -> float | None:
    """Locations that meet the condition come before those that do not."""
    return 0 if step.matcher is not None and step.matcher.fired(context.question.context(location)) else 1


def deepest_stock(step: RankStep, location: Location, context: RankingContext) -> float | None:
    """Most available units of the order's SKUs first, before buffers and without this order's own units."""
    return -sum(level.available for level in context.stocked(location))


def most_days_of_cover(step: RankStep, location: Location, context: RankingContext) -> float | None:
    """Most days of cover first; the SKU with the fewest days decides.

    SKUs of unknown velocity are ignored; a location that has only such SKUs comes last.
    """
    products = context.question.world.products
    covers = [
        days_until_sold(level.available, products[level.sku].velocity_per_day)
        for level in context.stocked(location)
        if level.sku in products
    ]
    return -min([cover for cover in covers if cover is not None], default=-inf)


def most_reliable(step: RankStep, location: Location, context: RankingContext) -> float | None:
    """Highest count confidence first; the SKU with the lowest confidence decides. Unknown confidence comes last."""
    confidences = [level.count_confidence for level in context.stocked(location)]
    measured = [confidence for confidence in confidences if confidence is not None]
    return -min(measured) if measured and len(measured) == len(confidences) else inf


def covers_most(step: RankStep, location: Location, context: RankingContext) -> float | None:
    """Most SKUs that the order can get in full there first; abstains if there is no order yet."""
    if not context.demand:
        return None
    requests = [(context.units.get(sku, {}), count) for sku, count in context.demand.items()]
    return -sum(units.get(location.id, 0) >= count for units, count in requests)


def chosen_by_shopper(step: RankStep, location: Location, context: RankingContext) -> float | None:
    """The location chosen by the shopper first; abstains if none was chosen."""
    chosen_id = context.chosen_location_id
    return None if chosen_id is None else float(location.id != chosen_id)


RANK_STEPS: Mapping[str, Callable[[RankStep, Location, RankingContext], float | None]] = {
    "nearest": nearest,
    "priority": priority,
    "prefer": prefer,
    "deepest_stock": deepest_stock,
    "most_days_of_cover": most_days_of_cover,
    "most_reliable": most_reliable,
    "covers_most": covers_most,
    "chosen_by_shopper": chosen_by_shopper,
}
