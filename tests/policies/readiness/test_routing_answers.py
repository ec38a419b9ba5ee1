"""Whether every destination and method is served, and stores say what they can handle."""

from policies.domain.capacity import Capacity
from policies.domain.model import Location
from policies.policy_set import PolicySet
from policies.readiness.answers import Result
from policies.readiness.routing_answers import Demand, capacity_stated, destinations_covered, markets, unserved
from tests.policies.small_retailer import ANYWHERE, TIKTOK, policy, rules, store, warehouse, world

SERVES = policy(only="{location.serves_destination: true}")
PICKUP_ONLY_WHERE_OFFERED = policy(only="{location.offers_pickup: true}")
TO_GERMANY, TO_FRANCE, PICKUP = Demand("ship", "DE", 12), Demand("ship", "FR", 1), Demand("pickup", None, 3)


def not_served(policies: PolicySet, locations: list[Location], *demands: Demand) -> list[Demand]:
    return unserved(policies, world(locations, []), TIKTOK, demands)


def test_a_country_that_no_location_ships_to_is_not_covered() -> None:
    berlin = warehouse("berlin", country="DE", ships_to=frozenset({"DE"}))

    missing = not_served(rules(SERVES), [berlin], TO_GERMANY, TO_FRANCE)

    assert missing == [TO_FRANCE]
    answer = destinations_covered([TO_GERMANY, TO_FRANCE], missing)
    assert (answer.result, answer.details) == (Result.FAIL, ("ship to FR (1 order)",))


def test_a_location_that_is_switched_off_serves_nobody() -> None:
    assert not_served(rules(ANYWHERE), [warehouse("berlin", status="paused")], TO_GERMANY) == [TO_GERMANY]


def test_pickup_needs_a_location_that_offers_it() -> None:
    stores = [store("austin", offers_pickup=True)]

    assert not_served(rules(PICKUP_ONLY_WHERE_OFFERED), stores, PICKUP) == []
    assert not_served(rules(PICKUP_ONLY_WHERE_OFFERED), [store("denver")], PICKUP) == [PICKUP]


def test_markets_are_the_countries_of_the_locations_and_those_that_they_ship_to() -> None:
    berlin = store("berlin", country="DE", ships_to=frozenset({"FR"}), offers_pickup=True)

    assert markets([berlin]) == [Demand("ship", "DE"), Demand("ship", "FR"), Demand("pickup", None)]


def test_a_channel_without_orders_and_countries_cannot_be_judged() -> None:
    assert destinations_covered([], []).result is Result.WARN


def test_a_store_that_ships_without_a_capacity_fails_once_it_has_shipped() -> None:
    assert capacity_stated([store("austin")], {}).result is Result.WARN
    assert capacity_stated([store("austin")], {"austin": 4}).result is Result.FAIL
    assert capacity_stated([store("austin", capacity=Capacity(orders_per_day=20))], {"austin": 4}).result is Result.PASS


def test_warehouses_and_stores_that_do_not_ship_need_no_capacity() -> None:
    assert capacity_stated([warehouse("dc"), store("austin", ships_to=frozenset())], {}).result is Result.PASS
