"""The evidence for an answer, as lines of text: stock at each location and the effect of each rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies.decisions.availability.location_availability import LocationAvailability
from policies.decisions.availability.sellable import Availability
from policies.decisions.decision import Decision
from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.exception_policy import ExceptionHandling
from policies.decisions.product_readiness import ListingProblem
from policies.domain.calendars import local_time
from policies.domain.model import Location, Order, StockLevel
from policies.explanation import DroppedLocation, DropReason, FiredRule
from policies.facts.measures import distance_km
from policies.source.rule_file import duration_text
from policies.testing.cases import RuleTest

_DROP_REASONS = {
    DropReason.CLOSED: "closed",
    DropReason.NOT_CHOSEN: "not chosen by the shopper",
    DropReason.REJECTED: "rejected the order before",
    DropReason.OUTSIDE_OUTLET: "outside the chosen outlet",
    DropReason.LINE_RESTRICTED: "not one from which the line may ship",
    DropReason.NOT_WHOLE: "without all that must ship together",
    DropReason.NOT_ELIGIBLE: "excluded by 'only'",
    DropReason.EXCLUDED: "excluded",
    DropReason.NO_STOCK: "no stock",
    DropReason.BLOCKED: "blocked",
    DropReason.RESTRICTED: "may not send the product",
    DropReason.HELD_BACK: "all units held back",
    DropReason.UNTRACKED: "no longer tracked",
    DropReason.TOO_LATE: "too late for the order's dates",
    DropReason.CAPACITY: "no capacity left in time",
}


def availability_evidence(test: RuleTest, availability: Availability) -> Iterator[str]:
    """A line for each location and one for the channel's total, each followed by the rules that fired."""
    for figure in availability.locations:
        yield f"{figure.location_id}: {_location_text(test, figure)}"
        yield from _rule_lines(test, [rule for rule in availability.fired if rule.location_id == figure.location_id])
        yield from _only_lines(test, figure.not_used_by)
    yield f"{test.channel.id}: {_channel_text(availability)}"
    yield from _rule_lines(test, [rule for rule in availability.fired if rule.location_id is None])


def routing_evidence(test: RuleTest, order: Order, decision: Decision) -> Iterator[str]:
    """The policies, stock and shipped units of each location, dropped locations, and the rules that fired."""
    for name in decision.tried:
        yield f"{name} could not fill the order and passed it to the next policy"
    # The fallback policy has no position in a file.
    is_known = decision.policy.source.line > 0
    yield (
        f"{decision.policy.name} decided ({decision.policy.source})"
        if is_known
        else "no routing policy applies to the order"
    )
    for (sku, location_id), level in test.world.levels.items():
        shipped = decision.units.get((sku, location_id), 0)
        yield f"{location_id}: {sku}: {_level_text(level)}, ships {shipped} of {order.units_by_sku().get(sku, 0)}"
    for dropped in decision.dropped:
        product = f" for {dropped.sku}" if dropped.sku else ""
        yield f"{dropped.location_id} is not used{product}: {_DROP_REASONS[dropped.reason]}"
        yield from _only_lines(test, dropped)
    yield from _rule_lines(test, decision.fired)


def delivery_evidence(
    test: RuleTest, question: RoutingQuestion, location: Location, fired: Sequence[FiredRule]
) -> Iterator[str]:
    """The location's distance and local time, and the delivery rule that decided."""
    distance = distance_km(question.context(location))
    distance_text = "unknown distance" if distance is None else f"{distance:,.0f} km"
    ordered = local_time(test.world.now, location.time_zone)
    yield f"{location.id}: {distance_text}, ordered on {ordered:%A %Y-%m-%d at %H:%M} there"
    yield from _rule_lines(test, fired) if fired else ["no delivery rule applies"]


def exception_evidence(test: RuleTest, handling: ExceptionHandling) -> Iterator[str]:
    """The rule that decided, and its action, owner and due time."""
    due_in = duration_text(handling.due_in.total_seconds())
    escalates = f", then {handling.escalate_to}" if handling.escalate_to else ""
    yield f"{handling.owner}: {handling.action} within {due_in}{escalates}"
    position = "no file has exception rules" if handling.is_built_in else str(handling.source)
    yield f"  {handling.rule} ({position}){'' if handling.is_built_in else _unexpected_mark(test, handling.rule)}"


def listing_evidence(test: RuleTest, problems: Sequence[ListingProblem]) -> Iterator[str]:
    """What keeps the product from being listed, by the rules that say so."""
    for problem in problems:
        mark = _unexpected_mark(test, problem.rule)
        yield f"{problem.attribute} {problem.problem}"
        yield f"  {problem.rule} ({problem.source}), owner {problem.owner}{mark}"


def _location_text(test: RuleTest, figure: LocationAvailability) -> str:
    level = test.world.levels[figure.sku, figure.location_id]
    parts = f"{_level_text(level)}, held back {figure.held_back}, sellable {figure.sellable}"
    if figure.not_used_by is None:
        return parts
    by = "" if figure.not_used_by.reason is DropReason.UNTRACKED else " by the routing policy"
    return f"{parts} ({_DROP_REASONS[figure.not_used_by.reason]}{by})"


def _level_text(level: StockLevel) -> str:
    """Units on hand, units that are not available by kind, and available units."""
    reserved = {"unavailable": level.unavailable, "held": level.held, "allocated": level.allocated}
    parts = [f"on hand {level.on_hand}", *(f"{name} {count}" for name, count in reserved.items() if count)]
    return ", ".join([*parts, f"available {level.available}"])


def _channel_text(availability: Availability) -> str:
    parts = [f"held back {availability.held_back_by_channel}"] if availability.held_back_by_channel else []
    parts += ["at or below the cut-off"] if availability.cut_off_applied else []
    parts += ["at the cap"] if availability.capped else []
    return ", ".join([*parts, f"sellable {availability.sellable}"])


def _rule_lines(test: RuleTest, fired: Sequence[FiredRule]) -> Iterator[str]:
    for rule in dict.fromkeys(fired):
        yield f"  {rule.name} ({rule.source}): {rule.effect}{_unexpected_mark(test, rule.name)}"


def _only_lines(test: RuleTest, dropped: DroppedLocation | None) -> Iterator[str]:
    """The `only` that dropped a location; exclude rules are listed with the rules that fired."""
    if dropped is not None and dropped.reason is DropReason.NOT_ELIGIBLE:
        yield f"  {dropped.rule} ({dropped.source}): the location does not meet it{_unexpected_mark(test, 'only')}"


def _unexpected_mark(test: RuleTest, name: str) -> str:
    is_expected = name in test.expected.because or not test.expected.is_exact
    return "" if is_expected else "   <- not in 'because'"
