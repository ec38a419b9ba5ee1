"""Locations that an order may not use because they cannot keep its dates: by when they could, and why not earlier."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from policies.decisions.delivery import shipping_dates_of
from policies.decisions.routing import RoutedOrder
from policies.domain.shipping_dates import ShippingDates
from policies.explanation import DropReason


@dataclass(frozen=True, slots=True)
class LateLocation:
    """A location that was dropped as too late, with the dates that it could keep instead; unknown ones are None."""

    location_id: str
    dates: ShippingDates


def late_locations(routed: RoutedOrder) -> Iterator[LateLocation]:
    """The late locations in the order in which they were dropped."""
    run = routed.run
    late = [dropped.location_id for dropped in routed.usable.dropped if dropped.reason is DropReason.TOO_LATE]
    for location_id in dict.fromkeys(late):
        context = run.question.context(run.question.world.locations[location_id])
        yield LateLocation(location_id, shipping_dates_of(run.policy_set, context))
