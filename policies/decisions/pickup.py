"""Where a shopper can pick up a whole cart: each nearby location is routed as an order that chose it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from policies.decisions.availability.tried_orders import TriedOrders
from policies.decisions.decision import Decision
from policies.decisions.delivery import shipping_dates_of
from policies.decisions.rest_of_pickup import at_location
from policies.decisions.routing import route
from policies.domain.calendars import end_of_day, handled_by
from policies.domain.geography import great_circle_km
from policies.domain.model import (
    SHIP,
    TRANSFER,
    Channel,
    Context,
    Coordinates,
    Location,
    Order,
    OrderFacts,
    World,
)
from policies.policy_set import PolicySet


@dataclass(frozen=True, slots=True)
class NearbyLocation:
    """A location that offers pickup, and how far the shopper has to go."""

    location: Location
    distance_km: float


@dataclass(frozen=True, slots=True)
class PickupOffer:
    """What a nearby location can hand over of a cart, as AllocateOrder would decide it.

    `ready_time` is None if a part of the cart is short, if the location states no handling time, or if it is not known
    when what other locations send arrives there.
    """

    nearby: NearbyLocation
    decision: Decision
    ready_time: datetime | None

    @property
    def has_whole_cart(self) -> bool:
        """Whether every unit of the cart would be promised for pickup there, if need be sent by other locations."""
        is_shipped = any(shipment.method == SHIP for shipment in self.decision.plan)
        return bool(self.decision.plan) and not self.decision.shortages and not is_shipped


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
        if offer.has_whole_cart:
            offer = replace(offer, ready_time=_ready_time(policy_set, world, channel, order, offer))
        yield offer


def largest_pickup(tried: TriedOrders) -> int:
    """The most of which one order gets all that is picked up at the location of `tried`, as its policy fills it.

    Counted is what the location has, and what others would send to it or ship to the shopper.
    """
    world, components = tried.world, {tried.sku: 1} if tried.kit is None else tried.kit.components
    there = {
        sku: sum(
            max(0, level.available)
            for location_id in world.locations
            if (level := world.levels.get((sku, location_id))) is not None
        )
        for sku in components
    }
    most = min(there[sku] // (count * tried.units_each) for sku, count in components.items())
    return tried.largest(most, most)


def _ready_time(
    policy_set: PolicySet, world: World, channel: Channel, order: Order, offer: PickupOffer
) -> datetime | None:
    """When the location has handled the cart: from now, or from the end of the day on which the last units arrive."""
    location, start = offer.nearby.location, world.now
    facts = replace(OrderFacts.of(order, world.products), method=TRANSFER)
    for shipment in offer.decision.plan:
        if shipment.method == TRANSFER:
            origin = world.locations[shipment.location_id]
            context = Context(world.now, channel, facts, at_location(location), origin)
            arrives_on = shipping_dates_of(policy_set, context).arrives_on
            if arrives_on is None:
                return None
            start = max(start, end_of_day(arrives_on, location.time_zone))
    handled = handled_by(location, start)
    return None if handled is None else handled[1]
