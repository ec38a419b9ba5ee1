"""The location steps of `rank`: each gives a location a rank, lower first, or abstains for every location.

Plan steps are in `plans`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, inf

from policies.candidates import Question
from policies.geography import great_circle_km
from policies.model import Location
from policies.policy import PLAN_STEPS, RankStep, RoutingPolicy

Ranks = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """What steps look at besides the location: the question, the order's SKUs, and the shopper's choice."""

    question: Question
    skus: Sequence[str]
    chosen_location_id: str | None = None


def ranks(policy: RoutingPolicy, locations: Iterable[Location], wish: Wish) -> dict[str, Ranks]:
    """Each location's ranks by its id, one for each location step of the policy in the order written."""
    steps = [(RANKS[step.kind], step) for step in policy.rank if step.kind not in PLAN_STEPS]
    # A step that abstains must not tell locations apart, and a rank of 0 for all does not.
    return {place.id: tuple([rank(step, place, wish) or 0.0 for rank, step in steps]) for place in locations}


def distance_km(location: Location, question: Question) -> float | None:
    """Great-circle kilometres from the location to the destination; None where either has no coordinates."""
    destination = question.destination
    if destination is None or destination.coordinates is None or location.coordinates is None:
        return None
    return great_circle_km(location.coordinates, destination.coordinates)


def nearest(step: RankStep, location: Location, wish: Wish) -> float | None:
    """The distance in kilometres, or the number of its band; a location without coordinates comes last."""
    destination = wish.question.destination
    if destination is None or destination.coordinates is None:
        return None
    distance = distance_km(location, wish.question)
    if distance is None:
        return inf
    return distance if step.band_km is None else floor(distance / step.band_km)


def priority(step: RankStep, location: Location, wish: Wish) -> float | None:
    """The location's priority; none comes last."""
    return inf if location.priority is None else location.priority


def prefer(step: RankStep, location: Location, wish: Wish) -> float | None:
    """Locations that meet the condition come before those that do not."""
    return 0 if step.matcher is not None and step.matcher.fired(wish.question.context(location)) else 1


def deepest_stock(step: RankStep, location: Location, wish: Wish) -> float | None:
    """Most available units of the order's SKUs first, before buffers and as they were before this order."""
    levels = (wish.question.level(sku, location.id) for sku in wish.skus)
    return -sum(max(0, level.available) for level in levels if level is not None)


def chosen_by_shopper(step: RankStep, location: Location, wish: Wish) -> float | None:
    """The location that the shopper chose comes first; abstains where none is chosen."""
    chosen = wish.chosen_location_id
    return None if chosen is None else float(location.id != chosen)


RANKS: Mapping[str, Callable[[RankStep, Location, Wish], float | None]] = {
    "nearest": nearest,
    "priority": priority,
    "prefer": prefer,
    "deepest_stock": deepest_stock,
    "chosen_by_shopper": chosen_by_shopper,
}
