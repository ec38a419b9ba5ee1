"""Which locations cannot keep the dates that an order asks for, where the routing policy says that they must."""

from __future__ import annotations

from datetime import date, datetime

from policies.decisions.delivery import delivery_rule_for, shipping_dates_of
from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.planning.by_location import ByLocation
from policies.domain.model import Location
from policies.domain.shipping_dates import ShippingDates
from policies.explanation import DroppedLocation, DropReason, RuleEvidence
from policies.policy_set import DELIVER_BY, SHIP_BY, PolicySet, RoutingPolicy


def late_locations(
    policy_set: PolicySet, policy: RoutingPolicy, question: RoutingQuestion, locations: tuple[Location, ...]
) -> ByLocation[DroppedLocation | None] | None:
    """Why each location, by its number, is too late for the order; None if nothing binds the order.

    A location whose date is unknown cannot promise to keep one. An order to collect has no day of delivery.
    """
    ship_by, deliver_by = _deadlines(policy, question)
    if ship_by is None and deliver_by is None:
        return None
    return ByLocation(lambda number: _too_late(policy_set, policy, question, locations[number]))


def keeps_dates(
    policy_set: PolicySet, policy: RoutingPolicy, question: RoutingQuestion, location: Location, handled_on: date
) -> bool:
    """Whether the location keeps the dates that bind the order if it handles it on this day, or as soon as it can."""
    return _are_kept(
        shipping_dates_of(policy_set, question.context(location), handled_on), *_deadlines(policy, question)
    )


def _deadlines(policy: RoutingPolicy, question: RoutingQuestion) -> tuple[datetime | None, date | None]:
    """By when the policy makes the order ship and arrive."""
    order = question.order
    ship_by = order.ship_by_time if SHIP_BY in policy.must_meet else None
    deliver_by = order.deliver_by if DELIVER_BY in policy.must_meet and order.method != "pickup" else None
    return ship_by, deliver_by


def _are_kept(dates: ShippingDates, ship_by: datetime | None, deliver_by: date | None) -> bool:
    ships_in_time = ship_by is None or (dates.ship_by is not None and dates.ship_by <= ship_by)
    return ships_in_time and (deliver_by is None or (dates.arrives_on is not None and dates.arrives_on <= deliver_by))


def _too_late(
    policy_set: PolicySet, policy: RoutingPolicy, question: RoutingQuestion, location: Location
) -> DroppedLocation | None:
    context = question.context(location)
    if _are_kept(shipping_dates_of(policy_set, context), *_deadlines(policy, question)):
        return None
    rule = delivery_rule_for(policy_set, context) if question.order.method != "pickup" else None
    if rule is None:
        return DroppedLocation(location.id, None, DropReason.TOO_LATE)
    evidence = RuleEvidence(rule.when, context)
    return DroppedLocation(location.id, None, DropReason.TOO_LATE, rule.name, rule.source, evidence)
