"""The figures behind the answer to a test, in words: what is where, and what each rule did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.exception_policy import ExceptionHandling
from policies.decisions.ranking import distance_km
from policies.decisions.routing import Decision
from policies.decisions.sellable import Availability, LocationAvailability
from policies.domain.calendars import local_time
from policies.domain.model import Location, Order, StockLevel
from policies.explanation import DroppedLocation, DropReason, FiredRule
from policies.source.rule_file import duration_text
from policies.testing.cases import RuleTest

_DROP_REASONS = {
    DropReason.CLOSED: "closed",
    DropReason.NOT_CHOSEN: "not what the shopper chose",
    DropReason.NOT_ELIGIBLE: "kept out by 'only'",
    DropReason.EXCLUDED: "excluded",
    DropReason.NO_STOCK: "without stock",
    DropReason.BLOCKED: "blocked",
    DropReason.HELD_BACK: "all held back",
    DropReason.UNTRACKED: "no longer tracked",
}


def availability_evidence(case: RuleTest, availability: Availability) -> Iterator[str]:
    """One line for each location and for the channel's total, and under each the rules that fired there."""
    for figure in availability.locations:
        yield f"{figure.location_id}: {_location_text(case, figure)}"
        yield from _rule_lines(case, [rule for rule in availability.fired if rule.location_id == figure.location_id])
        yield from _only_lines(case, figure.not_used_by)
    yield f"{case.channel.id}: {_channel_text(availability)}"
    yield from _rule_lines(case, [rule for rule in availability.fired if rule.location_id is None])


def routing_evidence(case: RuleTest, order: Order, decision: Decision) -> Iterator[str]:
    """The policies, what each location has and gives, why others give nothing, and the rules that fired."""
    for name in decision.tried:
        yield f"{name} could not fill the order and passed it on"
    # What stands in for a policy that a suite does not know has no place in a file.
    is_known = decision.policy.source.line > 0
    yield f"{decision.policy.name} decided ({decision.policy.source})" if is_known else "no policy takes the order"
    for (sku, location_id), level in case.world.levels.items():
        given = decision.units.get((sku, location_id), 0)
        yield f"{location_id}: {sku}: {_level_text(level)}, gives {given} of {order.units_by_sku().get(sku, 0)}"
    for dropped in decision.dropped:
        product = f" for {dropped.sku}" if dropped.sku else ""
        yield f"{dropped.location_id} is not used{product}: {_DROP_REASONS[dropped.reason]}"
        yield from _only_lines(case, dropped)
    yield from _rule_lines(case, decision.fired)


def delivery_evidence(
    case: RuleTest, question: RoutingQuestion, location: Location, fired: Sequence[FiredRule]
) -> Iterator[str]:
    """How far the location is, what its clock says, and the delivery rule that decided."""
    distance = distance_km(location, question)
    far = "unknown distance" if distance is None else f"{distance:,.0f} km"
    ordered = local_time(case.world.now, location.time_zone)
    yield f"{location.id}: {far}, ordered on {ordered:%A %Y-%m-%d at %H:%M} there"
    yield from _rule_lines(case, fired) if fired else ["no delivery rule applies"]


def exception_evidence(case: RuleTest, settlement: ExceptionHandling) -> Iterator[str]:
    """The rule that decided, and all that it says."""
    due_in = duration_text(settlement.due_in.total_seconds())
    escalates = f", then {settlement.escalate_to}" if settlement.escalate_to else ""
    yield f"{settlement.owner}: {settlement.action} within {due_in}{escalates}"
    place = "no file has exception rules" if settlement.is_built_in else str(settlement.source)
    yield f"  {settlement.rule} ({place}){'' if settlement.is_built_in else _unexpected_mark(case, settlement.rule)}"


def _location_text(case: RuleTest, figure: LocationAvailability) -> str:
    level = case.world.levels[figure.sku, figure.location_id]
    said = f"{_level_text(level)}, held back {figure.held_back}, sellable {figure.sellable}"
    if figure.not_used_by is None:
        return said
    by = "" if figure.not_used_by.reason is DropReason.UNTRACKED else " by the routing policy"
    return f"{said} ({_DROP_REASONS[figure.not_used_by.reason]}{by})"


def _level_text(level: StockLevel) -> str:
    """On hand, whatever takes from it, and available."""
    kept = {"unavailable": level.unavailable, "held": level.held, "allocated": level.allocated}
    said = [f"on hand {level.on_hand}", *(f"{name} {count}" for name, count in kept.items() if count)]
    return ", ".join([*said, f"available {level.available}"])


def _channel_text(availability: Availability) -> str:
    said = [f"held back {availability.held_back_by_channel}"] if availability.held_back_by_channel else []
    said += ["at or below the cut-off"] if availability.cut_off_applied else []
    said += ["at the cap"] if availability.capped else []
    return ", ".join([*said, f"sellable {availability.sellable}"])


def _rule_lines(case: RuleTest, fired: Sequence[FiredRule]) -> Iterator[str]:
    for rule in dict.fromkeys(fired):
        yield f"  {rule.name} ({rule.source}): {rule.effect}{_unexpected_mark(case, rule.name)}"


def _only_lines(case: RuleTest, dropped: DroppedLocation | None) -> Iterator[str]:
    """The `only` behind a drop; an exclude rule stands among those that fired."""
    if dropped is not None and dropped.reason is DropReason.NOT_ELIGIBLE:
        yield f"  {dropped.rule} ({dropped.source}): the location does not meet it{_unexpected_mark(case, 'only')}"


def _unexpected_mark(case: RuleTest, name: str) -> str:
    return "" if name in case.expected.because else "   <- not in 'because'"
