"""The location steps of `rank`: each gives a location a rank, lower first, or abstains for every location.

Plan steps are in `plans`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor, inf

from policies.decisions.eligibility import RoutingQuestion
from policies.domain.geography import great_circle_km
from policies.domain.model import Location, StockLevel
from policies.policy_set import PLAN_STEPS, RankStep, RoutingPolicy

Ranks = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RankingContext:
    """What steps look at besides the location: the question, the order's SKUs, and the shopper's choice.

    `wanted` are the order's units by SKU, empty where there is no order yet; `units` what it may take of a SKU, by
    location id.
    """

    question: RoutingQuestion
    skus: Sequence[str]
    chosen_location_id: str | None = None
    wanted: Mapping[str, int] = field(default_factory=dict)
    units: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def stocked(self, location: Location) -> Iterator[StockLevel]:
        """The levels of the order's SKUs of which the location has units available."""
        for sku in self.skus:
            level = self.question.level(sku, location.id)
            if level is not None and level.available > 0:
                yield level


def rank_locations(policy: RoutingPolicy, locations: Iterable[Location], wish: RankingContext) -> dict[str, Ranks]:
    """Each location's ranks by its id, one for each location step of the policy in the order written."""
    steps = [(RANK_STEPS[step.kind], step) for step in policy.rank if step.kind not in PLAN_STEPS]
    # A step that abstains must not tell locations apart, and a rank of 0 for all does not.
    return {place.id: tuple([rank(step, place, wish) or 0.0 for rank, step in steps]) for place in locations}


def distance_km(location: Location, question: RoutingQuestion) -> float | None:
    """Great-circle kilometres from the location to the destination; None where either has no coordinates."""
    destination = question.destination
    if destination is None or destination.coordinates is None or location.coordinates is None:
        return None
    return great_circle_km(location.coordinates, destination.coordinates)


def nearest(step: RankStep, location: Location, wish: RankingContext) -> float | None:
    """The distance in kilometres, or the number of its band; a location without coordinates comes last."""
    destination = wish.question.destination
    if destination is None or destination.coordinates is None:
        return None
    distance = distance_km(location, wish.question)
    if distance is None:
        return inf
    return distance if step.band_km is None else floor(distance / step.band_km)


def priority(step: RankStep, location: Location, wish: RankingContext) -> float | None:
    """The location's priority; none comes last."""
    return inf if location.priority is None else location.priority


def prefer(step: RankStep, location: Location, wish: RankingContext) -> float | None:
    """Locations that meet the condition come before those that do not."""
    return 0 if step.matcher is not None and step.matcher.fired(wish.question.context(location)) else 1


def deepest_stock(step: RankStep, location: Location, wish: RankingContext) -> float | None:
    """Most available units of the order's SKUs first, before buffers and as they were before this order."""
    return -sum(level.available for level in wish.stocked(location))


def most_days_of_cover(step: RankStep, location: Location, wish: RankingContext) -> float | None:
    """Longest days of cover first, of the SKU that it has for the shortest time.

    SKUs of unknown velocity do not count; a location that has no other comes last.
    """
    products = wish.question.world.products
    velocities = [
        (level, products[level.sku].velocity_per_day) for level in wish.stocked(location) if level.sku in products
    ]
    return -min([level.available / velocity for level, velocity in velocities if velocity], default=-inf)


def most_reliable(step: RankStep, location: Location, wish: RankingContext) -> float | None:
    """Highest confidence in its counts first, of the SKU that is trusted least; one that is unknown comes last."""
    confidences = [level.count_confidence for level in wish.stocked(location)]
    known = [confidence for confidence in confidences if confidence is not None]
    return -min(known) if known and len(known) == len(confidences) else inf


def covers_most(step: RankStep, location: Location, wish: RankingContext) -> float | None:
    """Most SKUs first of which the order may take all that it wants there; abstains where there is no order yet."""
    if not wish.wanted:
        return None
    shelves = [(wish.units.get(sku, {}), count) for sku, count in wish.wanted.items()]
    return -sum(shelf.get(location.id, 0) >= count for shelf, count in shelves)


def chosen_by_shopper(step: RankStep, location: Location, wish: RankingContext) -> float | None:
    """The location that the shopper chose comes first; abstains where none is chosen."""
    chosen = wish.chosen_location_id
    return None if chosen is None else float(location.id != chosen)


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
