"""Where a shopper can pick up a whole cart: the decision is that of an order which chose the location."""

from dataclasses import replace
from datetime import UTC, datetime, time

import pytest
from hypothesis import given, settings, strategies as st

from policies.decisions.pickup import PickupOffer, nearby_locations, pickup_offers
from policies.decisions.routing import route
from policies.domain.model import Channel, Commitment, Coordinates, Location, Order, Outcome, World
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
