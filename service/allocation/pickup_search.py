"""Finds where a shopper can pick up a whole cart, decided as AllocateOrder would decide it. Promises nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from policies.decisions.pickup import PickupOffer, nearby_locations, pickup_offers
from policies.domain.model import SHIP, TRANSFER, Coordinates, Destination
from policies.policy_set import PolicySet
from service import limits
from service.allocation.allocation_queue import Ticket
from service.allocation.order_preview import NewOrder, OrderPreview
from service.allocation.pickup_requests import PickupSearchRequest
from service.background import in_turns, pause_of_turn
from service.decisions.decision_messages import dropped_candidate
from service.decisions.located_destination import destination_point
from service.dependencies import Dependencies
from service.errors import InvalidFields, Violation
from service.rpc.idempotency import IdempotentRequest
from service.rpc.proto_values import timestamp
from truestock.v1 import pickup_pb2


class PickupSearch:
    """Answers from one snapshot of the database, or of its replica."""

    def __init__(self, deps: Dependencies, previews: OrderPreview) -> None:
        self._deps = deps
        self._previews = previews

    async def search(
        self, search: PickupSearchRequest, message: pickup_pb2.SearchPickupLocationsRequest
    ) -> pickup_pb2.SearchPickupLocationsResponse:
        """The nearest locations, and what each could hand over.

        Raises NotFound for what the catalog does not have, and InvalidFields for a postal code that is not known.
        """
        destination = await self._deps.destination_points.located(search.order.order.destination)
        shopper = _place_of_shopper(destination)
        cart = replace(search.order, order=replace(search.order.order, destination=destination))
        policy_set, new_id = self._deps.policies(), self._deps.new_id
        key = IdempotentRequest.of("SearchPickupLocations", message, None, new_id).key
        ticket = Ticket(cart, key, message, policy_set, new_id())
        order = await self._deps.reads.answer(lambda source: self._previews.read_new(ticket, source))
        answer = await in_turns(_answer, policy_set, order, search, shopper)
        point = destination_point(destination)
        if point is not None:
            answer.destination_point.CopyFrom(point)
        return answer


def _place_of_shopper(destination: Destination | None) -> Coordinates:
    """Where the shopper is. The middle of a region or a country is no place to search around."""
    is_near = destination is not None and destination.located_by in (None, "postal_code", "area")
    if destination is None or not is_near or not isinstance(destination.coordinates, Coordinates):
        code = "" if destination is None else destination.postal_code
        problem = f"nothing is known of where '{code}' is; state destination.coordinates instead"
        raise InvalidFields([Violation("destination.postal_code", problem)])
    return destination.coordinates


def _answer(
    policy_set: PolicySet, cart: NewOrder, search: PickupSearchRequest, shopper: Coordinates
) -> pickup_pb2.SearchPickupLocationsResponse:
    world, channel = cart.world(pause_of_turn()), cart.channel
    nearby = nearby_locations(world, channel, shopper, search.radius_km)
    examined = nearby[: limits.PICKUP_EXAMINED if search.whole_cart_only else search.max_locations]
    offers = pickup_offers(policy_set, world, channel, cart.order, examined)
    shown = list(islice(_wanted(offers, search), search.max_locations))
    last = shown[-1].nearby if len(shown) == search.max_locations else examined[-1] if examined else None
    return pickup_pb2.SearchPickupLocationsResponse(
        locations=[_location(offer) for offer in shown],
        more_locations=last is not None and last is not nearby[-1],
        policy_revision=policy_set.revision,
        stock_read_time=timestamp(world.now),
    )


def _wanted(offers: Iterator[PickupOffer], search: PickupSearchRequest) -> Iterator[PickupOffer]:
    return (offer for offer in offers if offer.has_whole_cart or not search.whole_cart_only)


def _location(offer: PickupOffer) -> pickup_pb2.PickupLocation:
    location, decision = offer.nearby.location, offer.decision
    # Units of one line may be short for several reasons.
    short_counts: dict[tuple[str, str], int] = {}
    for short in decision.shortages:
        key = (short.line_id, short.sku)
        short_counts[key] = short_counts.get(key, 0) + short.unit_count
    return pickup_pb2.PickupLocation(
        location_id=location.id,
        name=location.name,
        distance_km=offer.nearby.distance_km,
        whole_cart=offer.has_whole_cart,
        ready_time=timestamp(offer.ready_time),
        shortages=[
            pickup_pb2.PickupShortage(line_id=line_id, sku=sku, short_count=count)
            for (line_id, sku), count in short_counts.items()
        ],
        sources=[
            pickup_pb2.PickupSource(
                location_id=x.location_id,
                unit_count=sum(line.unit_count for line in x.lines),
                transfer=x.method == TRANSFER,
                ship_to_shopper=x.method == SHIP,
            )
            for x in decision.plan
        ],
        reasons=[dropped_candidate(dropped) for dropped in decision.dropped if dropped.location_id == location.id],
    )
