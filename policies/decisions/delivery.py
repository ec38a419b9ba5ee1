"""How a shipment is delivered: the service, its cost and the expected day.

A cost or transit time that no delivery rule states is unknown and sorts last; it is never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from math import isfinite

from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.planning.plan_steps import UNKNOWN_ESTIMATE, ShippingEstimate
from policies.domain.calendars import delivery_day, first_ship_day, local_time, ship_day
from policies.domain.model import Context, Location, weight_of
from policies.domain.rate_table import UNKNOWN_WEIGHT, ShipmentSize, ShippingRates
from policies.domain.shipping_dates import ShippingDates, shipping_dates
from policies.explanation import FiredRule, RuleEvidence
from policies.facts.measures import distance_km
from policies.policy_set import DeliveryRule, PolicySet
from policies.source.problems import Source

COST_FACTS = frozenset({"plan.cost", "plan.margin_after_shipping"})
"""Facts of a plan that need a quote for its shipments."""

UnitsByLocation = Mapping[str, Mapping[str, int]]
"""Units of each SKU, by location id."""

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


def quote(policy_set: PolicySet, context: Context, unit_count: int, grams: float = UNKNOWN_WEIGHT) -> Quote | None:
    """Delivery of so many units of this weight from the context's location; None if no delivery rule applies."""
    rule = delivery_rule_for(policy_set, context)
    if rule is None:
        return None
    cost = known_cost(shipping_rates(rule, context), ShipmentSize(unit_count, grams))
    return Quote(rule.name, rule.source, rule.service, rule.transit_days, cost)


def shipping_rates(rule: DeliveryRule, context: Context) -> ShippingRates | None:
    """What shipments by this rule cost, by their weight, in their zone if it has a rate table; None if unknown."""
    if rule.rates is None:
        return rule.cost
    order_value = context.order.value if context.order else None
    return rule.rates.rates_to(context.destination, distance_km(context), order_value)


def known_cost(rates: ShippingRates | None, size: ShipmentSize) -> Decimal | None:
    """The cost of a shipment; None if it is unknown, as it is if it depends on a weight that is."""
    if rates is None:
        return None
    cost = rates.of(size.unit_count, size.grams)
    return cost if cost.is_finite() else None


def shipment_size(question: RoutingQuestion, units: Mapping[str, int]) -> ShipmentSize:
    """The size of a shipment of these units, by SKU."""
    grams = weight_of(units, question.world.products)
    return ShipmentSize(sum(units.values()), UNKNOWN_WEIGHT if grams is None else grams)


def unit_weights(policy_set: PolicySet, question: RoutingQuestion, skus: Iterable[str]) -> dict[str, float]:
    """The weight of one unit of each SKU in grams; empty if no cost depends on it."""
    if not any(rule.sees_weight for rule in policy_set.delivery):
        return {}
    return {sku: shipment_size(question, {sku: 1}).grams for sku in skus}


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


def plan_cost(policy_set: PolicySet, question: RoutingQuestion, units: UnitsByLocation) -> Decimal | None:
    """Total shipping cost of these units from each location; None if the cost of one shipment is unknown."""
    total = Decimal(0)
    for location_id, shipped in units.items():
        size, context = shipment_size(question, shipped), question.context(question.world.locations[location_id])
        shipment_quote = quote(policy_set, context, size.unit_count, size.grams)
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
    policy_set: PolicySet, question: RoutingQuestion, sizes: Mapping[str, ShipmentSize]
) -> tuple[FiredRule, ...]:
    """The delivery rules that decided the shipments of a plan, by location id, each with its effect."""
    fired = []
    for location_id, size in sizes.items():
        location = question.world.locations[location_id]
        context = question.context(location)
        rule = delivery_rule_for(policy_set, context)
        if rule is not None:
            effect = _effect(rule, context, size, promise_date(rule, location, question.world.now))
            fired.append(FiredRule(rule.name, rule.source, location_id, None, effect, RuleEvidence(rule.when, context)))
    return tuple(fired)


def _shipping_estimate(
    policy_set: PolicySet, question: RoutingQuestion, location: Location, handled_on: date | None
) -> ShippingEstimate:
    context = question.context(location)
    rule = delivery_rule_for(policy_set, context)
    if rule is None:
        return UNKNOWN_ESTIMATE
    return ShippingEstimate(shipping_rates(rule, context), promise_date(rule, location, question.world.now, handled_on))


def _effect(rule: DeliveryRule, context: Context, size: ShipmentSize, arrives: date | None) -> str:
    parts = [f"by {rule.service}"]
    rates = shipping_rates(rule, context)
    cost = known_cost(rates, size)
    zone = rule.rates.zone_of(context.destination, distance_km(context), size.grams) if rule.rates else None
    row = f" ({rule.rates.file}:{zone.line})" if rule.rates and zone else ""
    parts += [f"cost {cost}{row}"] if cost is not None else []
    if cost is None and rates is not None:
        parts.append("cost unknown for its weight" if isfinite(size.grams) else "cost unknown, as its weight is")
    parts += [f"expected {arrives}"] if arrives is not None else []
    return ", ".join(parts)
