"""The answer to a test's question in the shape in which tests expect it, and how it differs from what they expect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from policies.decisions.delivery import delivery_rule_for, fired_delivery_rules, promise_date, quote
from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.exception_policy import handling_of
from policies.decisions.routing import Decision, route
from policies.decisions.sellable import assess_availability
from policies.domain.model import Order
from policies.explanation import DroppedLocation, DropReason, FiredRule
from policies.policy_set import PolicySet
from policies.source.problems import Source
from policies.source.rule_file import duration_text
from policies.testing.cases import RuleTest
from policies.testing.evidence import availability_evidence, delivery_evidence, exception_evidence, routing_evidence
from policies.testing.expectations import DELIVERY_KEYS, UNKNOWN, Expected, Figure, Units
from policies.testing.givens import AvailabilityGiven, DeliveryGiven, ExceptionGiven

NO_POLICY = "no policy"
"""The name of what stands in where a suite knows no routing policy; names in rule files have no spaces."""

NOBODY = "nobody"
"""What a test expects where nothing escalates."""

_MESSAGES = {
    "sellable": "expected {expected} sellable, got {found}",
    "held_back": "expected {expected} held back, got {found}",
    "largest_order": "expected a largest order of {expected}, got {found}",
    "locations": "expected {expected} sellable at {name}, got {found}",
    "outcome": "expected the outcome {expected}, got {found}",
    "shipments": "expected to ship {expected}, got {found}",
    "shortages": "expected to be short of {expected}, got {found}",
    "policy": "expected the policy {expected}, got {found}",
    "dropped": "expected {name} to be dropped as {expected}, got {found}",
    "do": "expected 'do: {expected}', got 'do: {found}'",
    "owner": "expected the owner {expected}, got {found}",
    "due_in": "expected it to be due in {expected}, got {found}",
    "escalate_to": "expected it to escalate to {expected}, got {found}",
    "service": "expected the service {expected}, got {found}",
    "transit_days": "expected transit days: {expected}, got {found}",
    "cost": "expected a cost of {expected}, got {found}",
    "delivers_on": "expected delivery on {expected}, got {found}",
}
"""How a difference reads, by the answer's part. Of parts with a `name` only the locations that a test names count."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the rules came to. `rules` names those that bore on it, `sources` has their places and the policies'."""

    figures: Mapping[str, Figure]
    rules: frozenset[str]
    sources: frozenset[Source]
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One part of an answer that is not as expected; `key` is the part's name under `expect`."""

    key: str
    text: str


def answer_of(policy_set: PolicySet, case: RuleTest) -> Answer:
    """What the rules say to the test's question."""
    if isinstance(case.question, AvailabilityGiven):
        return _availability_answer(policy_set, case, case.question)
    if isinstance(case.question, ExceptionGiven):
        return _exception_answer(policy_set, case, case.question)
    if isinstance(case.question, DeliveryGiven):
        return _delivery_answer(policy_set, case, case.question)
    return _order_answer(policy_set, case, case.question)


def differences(expected: Expected, found: Answer) -> list[Difference]:
    """Everything in which the answer is not as expected; empty where the test passes."""
    if found.figures.get("policy") == NO_POLICY:
        text = "no routing policy that this suite knows takes the order or comes next; say 'rules: all' to know all"
        return [Difference("outcome", text)]
    if found.figures.get("owner") == NO_POLICY:
        text = "no exception rule that this suite knows applies; say 'rules: all' to know all"
        return [Difference("owner", text)]
    texts = [
        Difference(key, text)
        for key, figure in expected.figures.items()
        for text in _figure_differences(key, figure, found.figures[key])
    ]
    extra, missing = sorted(found.rules - expected.because), sorted(expected.because - found.rules)
    texts += [Difference("because", f"'{name}' fired and is not in 'because'") for name in extra]
    return texts + [Difference("because", f"'{name}' is in 'because' and did not fire") for name in missing]


def _availability_answer(policy_set: PolicySet, case: RuleTest, sale: AvailabilityGiven) -> Answer:
    found = assess_availability(
        policy_set, case.world, case.channel, sale.sku, method=sale.method, destination=sale.destination
    )
    dropped = [figure.not_used_by for figure in found.locations if figure.not_used_by is not None]
    return Answer(
        {
            "sellable": found.sellable,
            "held_back": sum(figure.held_back for figure in found.locations) + found.held_back_by_channel,
            "largest_order": found.largest_single_order,
            "locations": {figure.location_id: figure.sellable for figure in found.locations},
        },
        _rule_names(found.fired, dropped),
        _rule_sources(found.fired, dropped),
        tuple(availability_evidence(case, found)),
    )


def _order_answer(policy_set: PolicySet, case: RuleTest, order: Order) -> Answer:
    found = route(policy_set, case.world, case.channel, order)
    shortages: dict[str, int] = {}
    for shortage in found.shortages:
        shortages[shortage.sku] = shortages.get(shortage.sku, 0) + shortage.unit_count
    policies = {policy.source for policy in policy_set.routing if policy.name in (*found.tried, found.policy.name)}
    return Answer(
        {
            "outcome": found.outcome.value,
            "shipments": _shipments(found),
            "shortages": shortages,
            "policy": found.policy.name,
            "dropped": _drop_reasons(found),
        },
        _rule_names(found.fired, found.dropped),
        _rule_sources(found.fired, found.dropped) | policies,
        tuple(routing_evidence(case, order, found)),
    )


def _delivery_answer(policy_set: PolicySet, case: RuleTest, parcel: DeliveryGiven) -> Answer:
    question = RoutingQuestion(case.world, case.channel, parcel.order, parcel.destination)
    location = case.world.locations[parcel.location_id]
    fired = fired_delivery_rules(policy_set, question, {parcel.location_id: parcel.unit_count})
    evidence = tuple(delivery_evidence(case, question, location, fired))
    return Answer(_delivery(policy_set, question, parcel), _rule_names(fired, ()), _rule_sources(fired, ()), evidence)


def _delivery(policy_set: PolicySet, question: RoutingQuestion, parcel: DeliveryGiven) -> dict[str, Figure]:
    location = question.world.locations[parcel.location_id]
    rule = delivery_rule_for(policy_set, question.context(location))
    found = quote(policy_set, question.context(location), parcel.unit_count)
    if rule is None or found is None:
        return dict.fromkeys(DELIVERY_KEYS, UNKNOWN)
    arrives = promise_date(rule, location, question.world.now)
    return {
        "service": found.service,
        "transit_days": UNKNOWN if found.transit_days is None else found.transit_days,
        "cost": UNKNOWN if found.cost is None else found.cost,
        "delivers_on": UNKNOWN if arrives is None else arrives.isoformat(),
    }


def _exception_answer(policy_set: PolicySet, case: RuleTest, incident: ExceptionGiven) -> Answer:
    found = handling_of(policy_set, incident.context)
    decided = not found.is_built_in
    return Answer(
        {
            "do": found.action,
            "owner": found.owner,
            "due_in": duration_text(found.due_in.total_seconds()),
            "escalate_to": found.escalate_to or NOBODY,
        },
        frozenset({found.rule} if decided else ()),
        frozenset({found.source} if decided else ()),
        tuple(exception_evidence(case, found)),
    )


def _rule_names(fired: Sequence[FiredRule], dropped: Sequence[DroppedLocation]) -> frozenset[str]:
    """The rules that fired; an `only` bears on an answer where it keeps a location out, so where it does *not* hold."""
    return frozenset([rule.name for rule in fired] + [only.rule for only in dropped if _is_only(only) and only.rule])


def _rule_sources(fired: Sequence[FiredRule], dropped: Sequence[DroppedLocation]) -> frozenset[Source]:
    kept_out = [only.source for only in dropped if _is_only(only) and only.source]
    return frozenset([rule.source for rule in fired] + kept_out)


def _is_only(dropped: DroppedLocation) -> bool:
    return dropped.reason is DropReason.NOT_ELIGIBLE


def _figure_differences(key: str, expected: Figure, found: Figure) -> Iterator[str]:
    if "{name}" in _MESSAGES[key] and isinstance(expected, Mapping) and isinstance(found, Mapping):
        for name, figure in expected.items():
            if figure != found.get(name) and str(figure) not in str(found.get(name)).split(", "):
                yield _MESSAGES[key].format(name=name, expected=_text(figure), found=_text(found.get(name)))
    elif expected != found:
        yield _MESSAGES[key].format(expected=_text(expected), found=_text(found))


def _text(figure: Figure | None) -> str:
    """A part of an answer as a person would say it."""
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
    """Why each location is not used; several reasons, for several products, stand side by side."""
    reasons: dict[str, list[str]] = {}
    for dropped in decision.dropped:
        reasons.setdefault(dropped.location_id, []).append(dropped.reason.value)
    return {location_id: ", ".join(dict.fromkeys(found)) for location_id, found in reasons.items()}
