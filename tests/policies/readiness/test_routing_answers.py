"""Whether every destination and method is served, and stores say what they can handle."""

from dataclasses import replace

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
    answer = destinations_covered(TIKTOK, [TO_GERMANY, TO_FRANCE], missing)
    assert (answer.result, answer.details) == (Result.FAIL, ("ship to FR (1 order)",))


def test_a_location_that_is_switched_off_serves_nobody() -> None:
    assert not_served(rules(ANYWHERE), [warehouse("berlin", status="paused")], TO_GERMANY) == [TO_GERMANY]


def test_pickup_needs_a_location_that_offers_it() -> None:
    stores = [store("austin", offers_pickup=True)]

    assert not_served(rules(PICKUP_ONLY_WHERE_OFFERED), stores, PICKUP) == []
    assert not_served(rules(PICKUP_ONLY_WHERE_OFFERED), [store("denver")], PICKUP) == [PICKUP]


def test_markets_are_the_countries_of_the_locations_and_those_that_they_ship_to() -> None:
    berlin = store("berlin", country="DE", ships_to=frozenset({"FR"}), offers_pickup=True)

    assert markets(TIKTOK, [berlin]) == [Demand("ship", "DE"), Demand("ship", "FR"), Demand("pickup", None)]
    assert markets(replace(TIKTOK, markets=("AT",)), [berlin]) == [Demand("ship", "AT"), Demand("pickup", None)]


def test_a_channel_that_states_no_markets_cannot_be_judged_unless_it_is_a_till() -> None:
    till = replace(TIKTOK, kind="pos")
    stated = replace(TIKTOK, markets=("DE", "FR"))

    assert destinations_covered(TIKTOK, [], []).result is Result.WARN
    assert destinations_covered(TIKTOK, [TO_GERMANY], []).result is Result.WARN
    assert destinations_covered(till, [PICKUP], []).result is Result.PASS
    assert destinations_covered(stated, [TO_GERMANY, TO_FRANCE], []).result is Result.PASS


def test_a_region_that_a_rule_keeps_from_shipping_is_not_covered_though_its_country_is() -> None:
    mainland = policy(only="{none: [{destination.region: [HI, AK]}]}")
    shop = replace(TIKTOK, markets=("US", "US-HI"))

    missing = not_served(rules(mainland), [warehouse("dc", country="US")], *markets(shop, []))

    assert [demand.text for demand in missing] == ["ship to US-HI"]


def test_a_store_that_ships_without_a_capacity_fails_once_it_has_shipped() -> None:
    assert capacity_stated([store("austin")], {}).result is Result.WARN
    assert capacity_stated([store("austin")], {"austin": 4}).result is Result.FAIL
    assert capacity_stated([store("austin", capacity=Capacity(orders_per_day=20))], {"austin": 4}).result is Result.PASS


def test_warehouses_and_stores_that_do_not_ship_need_no_capacity() -> None:
    assert capacity_stated([warehouse("dc"), store("austin", ships_to=frozenset())], {}).result is Result.PASS
