"""Where a shopper can pick up a whole cart: each nearby location is routed as an order that chose it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from policies.decisions.routing import Decision, route
from policies.domain.calendars import handled_by
from policies.domain.geography import great_circle_km
from policies.domain.model import Channel, Coordinates, Location, Order, World
from policies.policy_set import PolicySet


@dataclass(frozen=True, slots=True)
class NearbyLocation:
    """A location that offers pickup, and how far the shopper has to go."""

    location: Location
    distance_km: float


@dataclass(frozen=True, slots=True)
class PickupOffer:
    """What a nearby location can hand over of a cart, as AllocateOrder would decide it.

    `ready_time` is None if a part of the cart is short, or if the location states no handling time.
    """

    nearby: NearbyLocation
    decision: Decision
    ready_time: datetime | None

    @property
    def has_whole_cart(self) -> bool:
        """Whether every unit of the cart would be promised for pickup there."""
        return bool(self.decision.plan) and not self.decision.shortages


def nearby_locations(
    world: World, channel: Channel, shopper: Coordinates, radius_km: float
) -> Sequence[NearbyLocation]:
    """The channel's locations within the radius that offer pickup and are not closed, nearest first, ties by id."""
    found = [
        NearbyLocation(location, distance_km)
        for location in world.locations.values()
        if location.offers_pickup
        and location.status != "closed"
        and location.coordinates is not None
        and channel.may_sell_from(location.id)
        and (distance_km := great_circle_km(location.coordinates, shopper)) <= radius_km
    ]
    return sorted(found, key=lambda nearby: (nearby.distance_km, nearby.location.id))


def pickup_offers(
    policy_set: PolicySet, world: World, channel: Channel, cart: Order, nearby: Sequence[NearbyLocation]
) -> Iterator[PickupOffer]:
    """The offer of each of these locations, one after the other. `cart` is the order without a pickup location."""
    for place in nearby:
        order = replace(cart, method="pickup", pickup_location_id=place.location.id)
        offer = PickupOffer(place, route(policy_set, world, channel, order), None)
        yield replace(offer, ready_time=_ready_time(place.location, world.now)) if offer.has_whole_cart else offer


def _ready_time(location: Location, now: datetime) -> datetime | None:
    handled = handled_by(location, now)
    return None if handled is None else handled[1]
