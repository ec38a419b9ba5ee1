"""The actual answer to a test's question, and its differences from the expected answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from policies.decisions.alternatives.decision_explanation import explain
from policies.decisions.availability.sellable import assess_availability
from policies.decisions.decision import Decision
from policies.decisions.delivery import delivery_rule_for, fired_delivery_rules, promise_date, quote
from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.exception_policy import handling_of
from policies.decisions.product_readiness import listing_problems, readiness_of
from policies.decisions.routing import RoutedOrder, routed_order
from policies.domain.model import SHIP, TRANSFER, Order
from policies.explanation import DroppedLocation, DropReason, FiredRule
from policies.policy_set import PolicySet
from policies.source.problems import Source
from policies.source.rule_file import duration_text
from policies.testing.cases import RuleTest
from policies.testing.evidence import (
    availability_evidence,
    delivery_evidence,
    exception_evidence,
    listing_evidence,
    routing_evidence,
)
from policies.testing.expectations import (
    DELIVERY_FIGURES,
    NEXT_BEST_KEYS,
    UNKNOWN,
    Expected,
    Figure,
    Units,
    attribute_list,
    location_list,
    yes_or_no,
)
from policies.testing.givens import AvailabilityGiven, DeliveryGiven, ExceptionGiven, ListingGiven

NO_POLICY = "no policy"
"""Name of the fallback where a suite has no routing policy or exception rule; names in rule files have no spaces."""

NOBODY = "nobody"
"""What a test writes for an exception that does not escalate."""

_MESSAGES = {
    "sellable": "expected {expected} sellable, got {actual}",
    "held_back": "expected {expected} held back, got {actual}",
    "largest_order": "expected a largest order of {expected}, got {actual}",
    "locations": "expected {expected} sellable at {name}, got {actual}",
    "outcome": "expected the outcome {expected}, got {actual}",
    "shipments": "expected shipments of {expected}, got {actual}",
    "shortages": "expected a shortage of {expected}, got {actual}",
    "policy": "expected the policy {expected}, got {actual}",
    "sent_to_store": "expected units sent to the store from {expected}, got {actual}",
    "shipped_to_shopper": "expected the rest to be shipped to the shopper from {expected}, got {actual}",
    "next_best": "expected the next best plan to ship from {expected}, got {actual}",
    "decided_by": "expected {expected} to decide against the next best plan, got {actual}",
    "dropped": "expected {name} to be dropped as {expected}, got {actual}",
    "handled_on": "expected {name} to handle it on {expected}, got {actual}",
    "do": "expected 'do: {expected}', got 'do: {actual}'",
    "owner": "expected the owner {expected}, got {actual}",
    "due_in": "expected to be due in {expected}, got {actual}",
    "escalate_to": "expected to escalate to {expected}, got {actual}",
    "service": "expected the service {expected}, got {actual}",
    "transit_days": "expected transit days of {expected}, got {actual}",
    "cost": "expected a cost of {expected}, got {actual}",
    "ready": "expected 'ready: {expected}', got 'ready: {actual}'",
    "wrong": "expected {expected} to be wrong, got {actual}",
    "delivers_on": "expected delivery on {expected}, got {actual}",
}
"""Message for a difference, by part of the answer. Parts with a `name` are compared for locations in the test only."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The actual answer. `rules` names the rules that affected it, `sources` their positions and the policies'."""

    figures: Mapping[str, Figure]
    rules: frozenset[str]
    sources: frozenset[Source]
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One part of an answer that differs from the expected one; `key` is its key under `expect`."""

    key: str
    text: str


def answer_of(policy_set: PolicySet, test: RuleTest) -> Answer:
    """The rules' answer to the test's question."""
    question = test.question
    if isinstance(question, ListingGiven):
        return _listing_answer(policy_set, test, question)
    test = _with_readiness(policy_set, test)
    if isinstance(question, AvailabilityGiven):
        return _availability_answer(policy_set, test, question)
    if isinstance(question, ExceptionGiven):
        return _exception_answer(policy_set, test, question)
    if isinstance(question, DeliveryGiven):
        return _delivery_answer(policy_set, test, question)
    return _order_answer(policy_set, test, question)


def differences(expected: Expected, answer: Answer) -> list[Difference]:
    """All differences from the expected answer; empty if the test passes."""
    if answer.figures.get("policy") == NO_POLICY:
        text = "no routing policy of this file applies to the order; add 'rules: all' to test with all files"
        return [Difference("outcome", text)]
    if answer.figures.get("owner") == NO_POLICY:
        text = "no exception rule of this file applies; add 'rules: all' to test with all files"
        return [Difference("owner", text)]
    texts = [
        Difference(key, text)
        for key, figure in expected.figures.items()
        for text in _figure_differences(key, figure, answer.figures[key])
    ]
    key = "because" if expected.is_exact else "because_includes"
    unexpected, missing = sorted(answer.rules - expected.because), sorted(expected.because - answer.rules)
    if expected.is_exact:
        texts += [Difference(key, f"rule '{name}' fired but is not in 'because'") for name in unexpected]
    return texts + [Difference(key, f"rule '{name}' is in '{key}' but did not fire") for name in missing]


def _availability_answer(policy_set: PolicySet, test: RuleTest, question: AvailabilityGiven) -> Answer:
    availability = assess_availability(
        policy_set, test.world, test.channel, question.sku, method=question.method, destination=question.destination
    )
    dropped = [figure.not_used_by for figure in availability.locations if figure.not_used_by is not None]
    return Answer(
        {
            "sellable": availability.sellable,
            "held_back": sum(figure.held_back for figure in availability.locations) + availability.held_back_by_channel,
            "largest_order": availability.largest_single_order,
            "locations": {figure.location_id: figure.sellable for figure in availability.locations},
        },
        _rule_names(availability.fired, dropped),
        _rule_sources(availability.fired, dropped),
        tuple(availability_evidence(test, availability)),
    )


def _order_answer(policy_set: PolicySet, test: RuleTest, order: Order) -> Answer:
    routed = routed_order(policy_set, test.world, test.channel, order)
    decision = routed.decision()
    shortages: dict[str, int] = {}
    for shortage in decision.shortages:
        shortages[shortage.sku] = shortages.get(shortage.sku, 0) + shortage.unit_count
    deciding = {*decision.tried, decision.policy.name}
    for _, rest in routed.rests:
        deciding |= {*rest.tried, rest.run.policy.name}
    policies = {policy.source for policy in policy_set.routing if policy.name in deciding}
    return Answer(
        {
            "outcome": decision.outcome.value,
            "shipments": _shipments(decision),
            "shortages": shortages,
            "policy": decision.policy.name,
            "dropped": _drop_reasons(decision),
            "sent_to_store": _locations_of(decision, TRANSFER),
            "shipped_to_shopper": _locations_of(decision, SHIP),
            **(_next_best(routed) if not test.expected.figures.keys().isdisjoint(NEXT_BEST_KEYS) else {}),
            "handled_on": {x.location_id: x.handling.day.isoformat() for x in decision.plan if x.handling is not None},
        },
        _rule_names(decision.fired, decision.dropped),
        _rule_sources(decision.fired, decision.dropped) | policies,
        tuple(routing_evidence(test, order, decision)),
    )


def _locations_of(decision: Decision, method: str) -> str:
    """The locations of the shipments of this method, where it is not the order's."""
    return location_list({shipment.location_id for shipment in decision.plan if shipment.method == method})


def _next_best(routed: RoutedOrder) -> dict[str, Figure]:
    """The locations of the next best plan, and what decided against it."""
    next_best = explain(routed).next_best
    if next_best is None:
        return {"next_best": location_list(()), "decided_by": "nothing"}
    locations = location_list({shipment.location_id for shipment in next_best.shipments})
    return {"next_best": locations, "decided_by": next_best.differences[0].step}


def _delivery_answer(policy_set: PolicySet, test: RuleTest, delivery: DeliveryGiven) -> Answer:
    question = RoutingQuestion(test.world, test.channel, delivery.order, delivery.destination)
    location = test.world.locations[delivery.location_id]
    fired = fired_delivery_rules(policy_set, question, {delivery.location_id: delivery.size})
    evidence = tuple(delivery_evidence(test, question, location, fired))
    return Answer(_delivery(policy_set, question, delivery), _rule_names(fired, ()), _rule_sources(fired, ()), evidence)


def _delivery(policy_set: PolicySet, question: RoutingQuestion, delivery: DeliveryGiven) -> dict[str, Figure]:
    location = question.world.locations[delivery.location_id]
    rule = delivery_rule_for(policy_set, question.context(location))
    shipment_quote = quote(policy_set, question.context(location), delivery.unit_count, delivery.size.grams)
    if rule is None or shipment_quote is None:
        return dict.fromkeys(DELIVERY_FIGURES, UNKNOWN)
    arrives = promise_date(rule, location, question.world.now)
    return {
        "service": shipment_quote.service,
        "transit_days": UNKNOWN if shipment_quote.transit_days is None else shipment_quote.transit_days,
        "cost": UNKNOWN if shipment_quote.cost is None else shipment_quote.cost,
        "delivers_on": UNKNOWN if arrives is None else arrives.isoformat(),
    }


def _exception_answer(policy_set: PolicySet, test: RuleTest, question: ExceptionGiven) -> Answer:
    handling = handling_of(policy_set, question.context)
    by_rule = not handling.is_built_in
    return Answer(
        {
            "do": handling.action,
            "owner": handling.owner,
            "due_in": duration_text(handling.due_in.total_seconds()),
            "escalate_to": handling.escalate_to or NOBODY,
        },
        frozenset({handling.rule} if by_rule else ()),
        frozenset({handling.source} if by_rule else ()),
        tuple(exception_evidence(test, handling)),
    )


def _listing_answer(policy_set: PolicySet, test: RuleTest, question: ListingGiven) -> Answer:
    platform, sku = test.channel.platform or "", question.sku
    problems = listing_problems(policy_set, platform, test.world.products[sku], test.details[sku])
    return Answer(
        {"ready": yes_or_no(not problems), "wrong": attribute_list(problem.attribute for problem in problems)},
        frozenset(problem.rule for problem in problems),
        frozenset(problem.source for problem in problems),
        tuple(listing_evidence(test, problems)),
    )


def _with_readiness(policy_set: PolicySet, test: RuleTest) -> RuleTest:
    """The test with the readiness of products that state what they have for listings."""
    stated = {sku: product for sku, product in test.world.products.items() if product.readiness is None}
    if not policy_set.reads_readiness or not stated:
        return test
    checked = {
        sku: replace(product, readiness=readiness_of(policy_set, product, test.details[sku]))
        for sku, product in stated.items()
    }
    return replace(test, world=replace(test.world, products={**test.world.products, **checked}))


def _rule_names(fired: Sequence[FiredRule], dropped: Sequence[DroppedLocation]) -> frozenset[str]:
    """The rules that affected an answer: those that fired, and an `only` that dropped a location by *not* firing."""
    return frozenset([rule.name for rule in fired] + [only.rule for only in dropped if _is_only(only) and only.rule])


def _rule_sources(fired: Sequence[FiredRule], dropped: Sequence[DroppedLocation]) -> frozenset[Source]:
    only_sources = [only.source for only in dropped if _is_only(only) and only.source]
    return frozenset([rule.source for rule in fired] + only_sources)


def _is_only(dropped: DroppedLocation) -> bool:
    return dropped.reason is DropReason.NOT_ELIGIBLE


def _figure_differences(key: str, expected: Figure, actual: Figure) -> Iterator[str]:
    if "{name}" in _MESSAGES[key] and isinstance(expected, Mapping) and isinstance(actual, Mapping):
        for name, figure in expected.items():
            if figure != actual.get(name) and str(figure) not in str(actual.get(name)).split(", "):
                yield _MESSAGES[key].format(name=name, expected=_text(figure), actual=_text(actual.get(name)))
    elif expected != actual:
        yield _MESSAGES[key].format(expected=_text(expected), actual=_text(actual))


def _text(figure: Figure | None) -> str:
    """A part of an answer as text."""
    if isinstance(figure, Mapping):
        return " and ".join(_entry_text(name, value) for name, value in figure.items()) or "nothing"
    return "nothing" if figure is None else str(figure)


def _entry_text(name: str, value: int | str | Units) -> str:
    return f"{_text(value)} from {name}" if isinstance(value, Mapping) else f"{value} {name}"


def _shipments(decision: Decision) -> dict[str, Units]:
    shipments: dict[str, Units] = {}
    for shipment in decision.plan:
        units: dict[str, int] = {}
        for line in shipment.lines:
            units[line.sku] = units.get(line.sku, 0) + line.unit_count
        shipments[shipment.location_id] = units
    return shipments


def _drop_reasons(decision: Decision) -> dict[str, str]:
    """Why each location is not used; reasons that differ by product are joined by commas."""
    reasons: dict[str, list[str]] = {}
    for dropped in decision.dropped:
        reasons.setdefault(dropped.location_id, []).append(dropped.reason.value)
    return {location_id: ", ".join(dict.fromkeys(names)) for location_id, names in reasons.items()}
