"""What shipments cost by a table of rates, and the days of shipments from locations that put orders off."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from policies.decisions.delivery import (
    days_until_delivery,
    fired_delivery_rules,
    promise_date,
    quote,
    shipping_dates_of,
)
from policies.decisions.eligibility import RoutingQuestion
from policies.domain.model import Context, Destination, Location, OrderFacts
from policies.domain.rate_table import UNKNOWN_WEIGHT, ShipmentSize
from policies.policy_set import PolicySet
from policies.reading.rules_reader import read
from tests.policies.small_retailer import BERGEN, NOW, OSLO, TIKTOK, policy, rules, store, world

TABLE = b"""country,up_to_km,up_to_kg,per_shipment,free_from
NO,20,,3,100
NO,,2,5,100
NO,,30,9,
"""
RATED = b"kind: delivery\nrules:\n  - {name: post, position: 1, service: post, transit_days: 1, rates: post.csv}\n"
FRIDAY = NOW.date()
SATURDAY, MONDAY, TUESDAY, WEDNESDAY = (FRIDAY + timedelta(days) for days in (1, 3, 4, 5))
COURIER = """
kind: delivery
rules:
  - {name: courier, position: 1, service: courier, transit_days: 1}
"""
NO_RATES = rules(policy())
IN_OSLO = Destination("NO", coordinates=OSLO)


def rated() -> PolicySet:
    reading = read({"rules/d.yaml": RATED, "rules/post.csv": TABLE, "rules/r.yaml": policy().encode()})
    assert reading.policy_set is not None
    return reading.policy_set


def asked(location: Location, destination: Destination | None = IN_OSLO, **facts: Any) -> RoutingQuestion:
    return RoutingQuestion(world([location], []), TIKTOK, OrderFacts("ship", **facts), destination)


def cost(location: Location, grams: float, **facts: Any) -> Decimal | None:
    found = quote(rated(), asked(location, IN_OSLO, **facts).context(location), 1, grams)
    assert found is not None
    return found.cost


NEAR, FAR = store("near", coordinates=OSLO, handling_minutes=0), store("far", coordinates=BERGEN, handling_minutes=0)


def test_a_rate_depends_on_distance_weight_and_the_value_of_the_order() -> None:
    assert cost(NEAR, 1_000) == 3
    assert cost(FAR, 1_000) == 5
    assert cost(FAR, 3_000) == 9
    assert cost(FAR, 31_000) is None
    assert cost(NEAR, 1_000, value=Decimal(100)) == 0
    assert cost(FAR, 1_000, value=Decimal("99.99")) == 5
    assert cost(FAR, 3_000, value=Decimal(100)) == 9


@pytest.mark.parametrize(
    ("location", "destination", "grams", "effect"),
    [
        (NEAR, IN_OSLO, 1_000, "by post, cost 3 (rules/post.csv:2), expected 2026-11-30"),
        (FAR, IN_OSLO, 1_000, "by post, cost 5 (rules/post.csv:3), expected 2026-11-30"),
        (FAR, IN_OSLO, 3_000, "by post, cost 9 (rules/post.csv:4), expected 2026-11-30"),
        (FAR, IN_OSLO, 31_000, "by post, cost unknown for its weight, expected 2026-11-30"),
        (FAR, IN_OSLO, UNKNOWN_WEIGHT, "by post, cost unknown, as its weight is, expected 2026-11-30"),
        (NEAR, Destination("SE", coordinates=OSLO), 1_000, "by post, expected 2026-11-30"),
    ],
)
def test_a_decision_names_the_row_of_the_table_that_decided(
    location: Location, destination: Destination, grams: float, effect: str
) -> None:
    fired = fired_delivery_rules(rated(), asked(location, destination), {location.id: ShipmentSize(1, grams)})

    assert [(rule.name, rule.location_id, rule.effect) for rule in fired] == [("post", location.id, effect)]


@pytest.mark.parametrize(
    ("handled_on", "arrives"),
    [(None, MONDAY), (FRIDAY, MONDAY), (SATURDAY, TUESDAY), (MONDAY, TUESDAY), (TUESDAY, WEDNESDAY)],
)
def test_an_order_that_is_put_off_arrives_later(handled_on: date | None, arrives: date) -> None:
    """It is Friday. The courier carries on weekdays and takes one of them."""
    policy_set = rules(policy(), COURIER)
    question = asked(NEAR)

    assert promise_date(policy_set.delivery[0], NEAR, NOW, handled_on) == arrives
    assert shipping_dates_of(policy_set, question.context(NEAR), handled_on).arrives_on == arrives
    assert days_until_delivery(policy_set, question, {"near": handled_on}) == (arrives - FRIDAY).days


def test_what_arrives_today_takes_no_days() -> None:
    bicycle = COURIER.replace("transit_days: 1", "transit_days: 0")

    assert days_until_delivery(rules(policy(), bicycle), asked(NEAR), {"near": None}) == 0
    assert days_until_delivery(rules(policy(), bicycle), asked(NEAR), {}) == 0
    assert days_until_delivery(NO_RATES, asked(NEAR), {"near": None}) is None


def test_without_a_carrier_a_location_is_ready_on_the_day_for_which_it_has_room() -> None:
    ready = shipping_dates_of(NO_RATES, asked(NEAR).context(NEAR), SATURDAY)

    assert (ready.ships_on, ready.arrives_on) == (SATURDAY, None)


def test_an_order_to_collect_has_no_carrier() -> None:
    policy_set = rules(policy(), COURIER)
    collected = Context(NOW, TIKTOK, OrderFacts("pickup"), IN_OSLO, NEAR)
    unknown = Context(NOW, TIKTOK, None, IN_OSLO, NEAR)

    assert shipping_dates_of(policy_set, collected, SATURDAY).arrives_on is None
    assert shipping_dates_of(policy_set, collected, SATURDAY).ships_on == SATURDAY
    assert shipping_dates_of(policy_set, unknown).arrives_on == MONDAY
