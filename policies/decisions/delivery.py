"""How a shipment is delivered: the service, its cost and the expected day.

A cost or transit time that no delivery rule states is unknown and sorts last; it is never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.planning.plan_steps import UNKNOWN_ESTIMATE, ShippingEstimate
from policies.domain.calendars import delivery_day, first_ship_day, local_time, ship_day
from policies.domain.model import Context, Location
from policies.domain.rate_table import RateTable, ShippingCost, Zone
from policies.domain.shipping_dates import ShippingDates, shipping_dates
from policies.explanation import FiredRule, RuleEvidence
from policies.facts.measures import distance_km
from policies.policy_set import DeliveryRule, PolicySet
from policies.source.problems import Source

COST_FACTS = frozenset({"plan.cost", "plan.margin_after_shipping"})
"""Facts of a plan that need a quote for its shipments."""

DAYS_UNTIL_DELIVERY = "plan.days_until_delivery"
DELIVERY_FACTS = COST_FACTS | {DAYS_UNTIL_DELIVERY}
"""Facts of a plan that delivery rules decide."""

NO_LIMITS: Mapping[str, date | None] = {}
"""No day of handling by location id: no location limits what it can handle."""


@dataclass(frozen=True, slots=True)
class Quote:
    """Delivery of one shipment by the rule that decides. `cost` is in the merchant's currency."""

    rule: str
    source: Source
    service: str
    transit_days: int | None
    cost: Decimal | None


def delivery_rule_for(policy_set: PolicySet, context: Context) -> DeliveryRule | None:
    """The first delivery rule that applies to the context's location, destination and order."""
    applying = policy_set.delivery_matcher.fired(context)
    return applying[0] if applying else None


def quote(policy_set: PolicySet, context: Context, unit_count: int) -> Quote | None:
    """Delivery of this many units from the context's location; None if no delivery rule applies."""
    rule = delivery_rule_for(policy_set, context)
    if rule is None:
        return None
    cost = shipping_cost(rule, context)
    return Quote(rule.name, rule.source, rule.service, rule.transit_days, None if cost is None else cost.of(unit_count))


def shipping_cost(rule: DeliveryRule, context: Context) -> ShippingCost | None:
    """The cost of a shipment by this rule, of its zone if the rule has a rate table; None if it is unknown."""
    if rule.rates is None:
        return rule.cost
    zone = _zone(rule.rates, context)
    return None if zone is None else zone.cost_of(context.order.value if context.order else None)


def _zone(rates: RateTable, context: Context) -> Zone | None:
    return rates.zone_of(context.destination, distance_km(context))


def promise_date(rule: DeliveryRule, location: Location, now: datetime, handled_on: date | None = None) -> date | None:
    """The expected delivery day of an order received now; None if its ship day or transit time is unknown.

    `handled_on` is the first day for which the location has room for it, where its capacity is limited.

    The ship day is unknown where nobody has stated the location's handling time.

    The location ships it by its own calendar (`calendars.ship_day`); delivery follows after `transit_days` days of
    `ships_on`. Holidays of the carrier are not considered.
    """
    if rule.transit_days is None:
        return None
    shipped_on = ship_day(location, now, rule.ships_on)
    if shipped_on is not None and handled_on is not None and handled_on > shipped_on:
        shipped_on = first_ship_day(location, handled_on, rule.ships_on)
    return None if shipped_on is None else delivery_day(shipped_on, rule.transit_days, rule.ships_on)


def shipping_dates_of(policy_set: PolicySet, context: Context, handled_on: date | None = None) -> ShippingDates:
    """When a shipment of the context's order leaves its location and arrives, if work on it starts now.

    `handled_on` is the first day for which the location has room for it, where its capacity is limited.
    Orders for pickup have no carrier: their date is the one by which they are ready.
    """
    assert context.location is not None
    is_shipped = context.order is None or context.order.method != "pickup"
    rule = delivery_rule_for(policy_set, context) if policy_set.delivery and is_shipped else None
    if rule is None:
        return shipping_dates(context.location, context.now, handled_on=handled_on)
    return shipping_dates(context.location, context.now, rule.ships_on, rule.transit_days, handled_on)


def shipping_estimates(
    policy_set: PolicySet,
    question: RoutingQuestion,
    location_ids: Iterable[str],
    handled_on: Mapping[str, date | None] = NO_LIMITS,
) -> dict[str, ShippingEstimate]:
    """Shipping cost and delivery day of each location, by location id.

    `handled_on`, by location id, is the day for which a location has room, where its capacity is limited.
    """
    locations = question.world.locations
    return {
        location_id: _shipping_estimate(policy_set, question, locations[location_id], handled_on.get(location_id))
        for location_id in location_ids
    }


def plan_cost(policy_set: PolicySet, question: RoutingQuestion, unit_counts: Mapping[str, int]) -> Decimal | None:
    """Total shipping cost of this many units from each location; None if the cost of one shipment is unknown."""
    total = Decimal(0)
    for location_id, unit_count in unit_counts.items():
        shipment_quote = quote(policy_set, question.context(question.world.locations[location_id]), unit_count)
        if shipment_quote is None or shipment_quote.cost is None:
            return None
        total += shipment_quote.cost
    return total


def days_until_delivery(
    policy_set: PolicySet, question: RoutingQuestion, handled_on: Mapping[str, date | None]
) -> int | None:
    """Days from today until the last of these shipments arrives; None if the day of one is unknown.

    `handled_on`, by location id, is the day for which a location has room, where its capacity is limited.
    """
    most = 0
    for location_id, day in handled_on.items():
        location = question.world.locations[location_id]
        arrives_on = shipping_dates_of(policy_set, question.context(location), day).arrives_on
        if arrives_on is None:
            return None
        most = max(most, (arrives_on - local_time(question.world.now, location.time_zone).date()).days)
    return most


def fired_delivery_rules(
    policy_set: PolicySet, question: RoutingQuestion, unit_counts: Mapping[str, int]
) -> tuple[FiredRule, ...]:
    """The delivery rules that decided the shipments of a plan, each with its effect."""
    fired = []
    for location_id, unit_count in unit_counts.items():
        location = question.world.locations[location_id]
        context = question.context(location)
        rule = delivery_rule_for(policy_set, context)
        if rule is not None:
            effect = _effect(rule, context, unit_count, promise_date(rule, location, question.world.now))
            fired.append(FiredRule(rule.name, rule.source, location_id, None, effect, RuleEvidence(rule.when, context)))
    return tuple(fired)


def _shipping_estimate(
    policy_set: PolicySet, question: RoutingQuestion, location: Location, handled_on: date | None
) -> ShippingEstimate:
    context = question.context(location)
    rule = delivery_rule_for(policy_set, context)
    if rule is None:
        return UNKNOWN_ESTIMATE
    return ShippingEstimate(shipping_cost(rule, context), promise_date(rule, location, question.world.now, handled_on))


def _effect(rule: DeliveryRule, context: Context, unit_count: int, arrives: date | None) -> str:
    parts = [f"by {rule.service}"]
    cost = shipping_cost(rule, context)
    zone = _zone(rule.rates, context) if rule.rates else None
    row = f" ({rule.rates.file}:{zone.line})" if rule.rates and zone else ""
    parts += [f"cost {cost.of(unit_count)}{row}"] if cost is not None else []
    parts += [f"expected {arrives}"] if arrives is not None else []
    return ", ".join(parts)
