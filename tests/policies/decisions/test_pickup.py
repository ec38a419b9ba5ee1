"""Where a shopper can pick up a whole cart: the decision is that of an order which chose the location."""

from dataclasses import replace
from datetime import UTC, datetime, time

import pytest
from hypothesis import given, settings, strategies as st

from policies.decisions.pickup import PickupOffer, nearby_locations, pickup_offers
from policies.decisions.routing import route
from policies.domain.geography import great_circle_km
from policies.domain.model import Channel, Commitment, Coordinates, Location, Order, Outcome, Product, World
from policies.policy_set import PolicySet
from tests.policies.decisions.test_routing_properties import orders, policy_sets, worlds
from tests.policies.small_retailer import ANYWHERE, BERGEN, OSLO, TIKTOK, level, order, policy, rules, store, world

NEAR_OSLO = Coordinates(59.92, 10.75)
STORES = (
    store("oslo", coordinates=OSLO, offers_pickup=True, handling_minutes=60, opens=time(8), closes=time(18)),
    store("suburb", coordinates=NEAR_OSLO, offers_pickup=True),
    store("bergen", coordinates=BERGEN, offers_pickup=True),
)


def offers(policy_set: PolicySet, snapshot: World, cart: Order, radius_km: float = 50) -> list[PickupOffer]:
    nearby = nearby_locations(snapshot, TIKTOK, OSLO, radius_km)
    return list(pickup_offers(policy_set, snapshot, TIKTOK, cart, nearby))


def test_a_cart_is_picked_up_where_all_of_it_is() -> None:
    stock = [level("MUG", "oslo", 2), level("MUG", "suburb", 2), level("CAP", "suburb", 1)]

    found = offers(rules(ANYWHERE), world(STORES, stock), order({"MUG": 2, "CAP": 1}))

    assert [(x.nearby.location.id, x.has_whole_cart) for x in found] == [("oslo", False), ("suburb", True)]
    assert [(x.sku, x.unit_count) for x in found[0].decision.shortages] == [("CAP", 1)]


def test_the_order_is_ready_after_the_handling_time_within_opening_hours() -> None:
    late = replace(world(STORES, [level("MUG", "oslo", 2)]), now=datetime(2026, 11, 27, 17, 30, tzinfo=UTC))

    found = offers(rules(ANYWHERE), late, order({"MUG": 1}))
    short = offers(rules(ANYWHERE), late, order({"MUG": 3}))

    assert found[0].ready_time == datetime(2026, 11, 28, 8, 30, tzinfo=UTC)
    assert short[0].ready_time is None


TRANSFERS = """
kind: delivery
rules:
  - {name: fragile, position: 1, when: {order.method: transfer, order.product_tags: {contains: fragile},
     destination.country: NO, channel.kind: social, location.id: bergen}, service: van, transit_days: 2}
  - {name: lorry, position: 2, when: {order.method: transfer}, service: lorry, transit_days: 4}
"""
SENT_TO_STORE = """
kind: routing
policies:
  - {name: collect, position: 1, applies_to: {order.method: pickup}, only: {location.offers_pickup: true},
     rank: [priority], max_shipments: 1, ship_to_store: true}
  - {name: others, position: 9, rank: [nearest]}
"""


@pytest.mark.parametrize(("tags", "day"), [(frozenset({"fragile"}), 1), (frozenset(), 3)])
def test_an_order_is_ready_once_what_another_store_sends_has_arrived(tags: frozenset[str], day: int) -> None:
    """It is Friday, and nothing travels at the weekend. What arrives on a day is handled when the store opens next."""
    oslo = replace(STORES[0], country="NO")
    bergen = store("bergen", coordinates=BERGEN, handling_minutes=0)
    stock = world([oslo, bergen], [level("MUG", "bergen", 2)], [Product("MUG", tags=tags)])

    (found,) = offers(rules(SENT_TO_STORE, TRANSFERS), stock, order({"MUG": 1}))
    (unknown,) = offers(rules(SENT_TO_STORE), stock, order({"MUG": 1}))

    assert found.has_whole_cart
    assert found.ready_time == datetime(2026, 12, 1 + day, 9, tzinfo=UTC)
    assert (unknown.has_whole_cart, unknown.ready_time) == (True, None)


def test_a_store_at_the_very_end_of_the_radius_is_nearby() -> None:
    distance_km = great_circle_km(NEAR_OSLO, OSLO)

    found = nearby_locations(world(STORES, []), TIKTOK, OSLO, distance_km)

    assert [(x.location.id, x.distance_km) for x in found] == [("oslo", 0), ("suburb", distance_km)]


def test_a_location_without_a_handling_time_states_no_time() -> None:
    found = offers(rules(ANYWHERE), world(STORES, [level("MUG", "suburb", 2)]), order({"MUG": 1}))

    assert [(x.has_whole_cart, x.ready_time) for x in found] == [(False, None), (True, None)]


def test_the_rules_for_pickup_orders_apply() -> None:
    stocktake = policy(exclude="[{name: counted-today, when: {location.id: oslo, order.method: pickup}}]")

    found = offers(rules(stocktake), world(STORES, [level("MUG", "oslo", 2)]), order({"MUG": 1}))

    assert not found[0].has_whole_cart
    assert [x.rule for x in found[0].decision.dropped if x.location_id == "oslo"] == ["counted-today"]


@pytest.mark.parametrize(
    "location",
    [
        store("x", coordinates=OSLO, offers_pickup=False),
        store("x", coordinates=OSLO, offers_pickup=True, status="closed"),
        store("x", offers_pickup=True),
        store("x", coordinates=BERGEN, offers_pickup=True),
    ],
    ids=["no pickup", "closed", "no coordinates", "too far away"],
)
def test_a_location_where_nobody_can_go_is_not_nearby(location: Location) -> None:
    assert not nearby_locations(world([location], []), TIKTOK, OSLO, 50)


def test_a_location_of_other_channels_is_not_nearby() -> None:
    channel = Channel("tiktok_shop", "social", location_ids=frozenset({"suburb"}))

    nearby = nearby_locations(world(STORES, []), channel, OSLO, 50)

    assert [place.location.id for place in nearby] == ["suburb"]


def test_equally_near_locations_are_in_the_order_of_their_ids() -> None:
    twins = [store(key, coordinates=NEAR_OSLO, offers_pickup=True) for key in ("c", "a", "b")]

    nearby = nearby_locations(world([*twins, *STORES], []), TIKTOK, OSLO, 500)

    assert [place.location.id for place in nearby] == ["oslo", "a", "b", "c", "suburb", "bergen"]


@settings(max_examples=150, deadline=None)
@given(policy_sets, worlds(), orders(), st.data())
def test_what_is_offered_is_what_an_order_that_chose_the_location_gets(
    policy_set: PolicySet, snapshot: World, cart: Order, data: st.DataObject
) -> None:
    locations = {
        key: replace(location, offers_pickup=data.draw(st.booleans())) for key, location in snapshot.locations.items()
    }
    snapshot = replace(snapshot, locations=locations)
    cart = replace(cart, commitment=Commitment.HOLD, method="pickup", pickup_location_id=None)

    for offer in offers(policy_set, snapshot, cart, radius_km=20_000):
        chosen = replace(cart, pickup_location_id=offer.nearby.location.id)
        decision = route(policy_set, snapshot, TIKTOK, chosen)

        assert offer.has_whole_cart == (decision.outcome is Outcome.ALLOCATED)
        assert {shipment.location_id for shipment in decision.plan} <= {offer.nearby.location.id}
