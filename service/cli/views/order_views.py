"""One order as tables and texts: lines, shipments, shortages, decision, exceptions and timeline."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from google.type.date_pb2 import Date
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.cli.console import (
    add_row,
    count,
    enum_word,
    format_time,
    json_value,
    new_table,
    print_json,
    stdout_console,
)
from service.cli.views.plan_comparison_view import explained_plans
from service.cli.views.shipment_views import date_lines, order_shipments, parcel_lines
from truestock.v1.allocation_service_pb2 import (
    AllocatedLine,
    AllocateOrderResponse,
    Allocation,
    CancellationRequest,
    ForgetOrderResponse,
    GetAllocationResponse,
    Shortage,
    TimelineEvent,
)
from truestock.v1.decision_pb2 import Decision, DroppedCandidate, FactSeen, FiredRule, OversellEvidence
from truestock.v1.exception_pb2 import ExceptionRecord, ExceptionResolution
from truestock.v1.order_pb2 import (
    OUTCOME_ALLOCATED,
    OUTCOME_PARTLY_ALLOCATED,
    OUTCOME_UNFILLABLE,
    DestinationPoint,
    OrderStatus,
    Outcome,
)

_COLORS = {OUTCOME_ALLOCATED: "green", OUTCOME_PARTLY_ALLOCATED: "yellow", OUTCOME_UNFILLABLE: "red"}
_KEPT = {
    Shortage.KIND_HELD_BY_BUFFER: "held back by the buffer rule",
    Shortage.KIND_BLOCKED_BY_RULE: "blocked by the exposure rule",
}
_ELSEWHERE = {
    "too_late": "only where it would be too late",
    "no_capacity": "the locations that have it are full",
    "outlet_short": "not in the outlet that the channel chose",
    "line_restricted": "only where the line may not ship from",
    "kept_together": "not at one location with all that must ship with it",
}
_LOCATED_BY = {
    DestinationPoint.LOCATED_BY_POSTAL_CODE: "its postal code",
    DestinationPoint.LOCATED_BY_AREA: "the area of its postal code",
    DestinationPoint.LOCATED_BY_REGION: "its region",
    DestinationPoint.LOCATED_BY_COUNTRY: "its country",
}
_MAY_NEED_INTERVENTION = (
    "This order needs or needed manual intervention; `truestock explain` lists its open exceptions."
)
_WOULD_NEED_INTERVENTION = "This order would need manual intervention."
_NEEDS_INTERVENTION = "This order needs manual intervention."
_STATUS_TEXTS = {OrderStatus.ORDER_STATUS_EXCEPTION: "units are short"}
"""Texts for statuses whose own name says too little."""
_NEEDED_INTERVENTION = "This order needed manual intervention; it has no open exceptions."


def show_allocation(allocation: Allocation, as_json: bool) -> None:
    """Prints the result of a change to an order: a summary, or JSON."""
    if as_json:
        print_json(allocation)
    else:
        stdout_console().print(Group(*_summary(allocation, _MAY_NEED_INTERVENTION)))


def show_forgotten(order: str, response: ForgetOrderResponse, as_json: bool) -> None:
    """Prints whether an order's personal data are gone, and what they are still needed for, or JSON."""
    if as_json:
        print_json(response)
    elif response.HasField("drop_time"):
        stdout_console().print(Text(f"{order}: its personal data were dropped at {format_time(response.drop_time)}."))
    else:
        waits = "; ".join(response.waits_for) or "the service is at it"
        stdout_console().print(Text(f"{order}: its personal data go once nothing of it is open. Now {waits}."))


def show_dry_run(response: AllocateOrderResponse, as_json: bool) -> None:
    """Prints what an order would get, with the decision as `explain` prints it, or JSON."""
    allocation = response.allocation
    if as_json:
        explanation = {"explanation": json_value(response.explanation)} if response.HasField("explanation") else {}
        print_json(json_value(allocation) | explanation)
        return
    summary = _summary(allocation, _WOULD_NEED_INTERVENTION)
    plans = explained_plans(response.explanation) if response.HasField("explanation") else ()
    stdout_console().print(Group(*summary, *plans, *_decision(allocation.decision)))


def print_explanation(
    console: Console, response: GetAllocationResponse, compared_plans: Iterable[RenderableType] = ()
) -> None:
    """Prints an order with its decision, the plans compared, exceptions and timeline."""
    allocation = response.allocation
    is_open = any(exception.state == ExceptionRecord.STATE_OPEN for exception in response.exceptions)
    parts = [
        *_summary(allocation, _NEEDS_INTERVENTION if is_open else _NEEDED_INTERVENTION),
        *compared_plans,
        *_decision(allocation.decision),
    ]
    if response.exceptions:
        parts.append(_exceptions(response.exceptions))
    if response.timeline:
        parts.append(_timeline(response.timeline))
    console.print(Group(*parts))


def _summary(allocation: Allocation, intervention_note: str) -> Iterator[RenderableType]:
    yield _headline(allocation)
    yield Text.assemble(("allocation ", "dim"), allocation.allocation_id or "none (dry run)")
    yield from _status_and_copies(allocation)
    if allocation.outlet_id:
        yield Text(f"For outlet {allocation.outlet_id} of {allocation.channel_id}: only its locations are used.")
    if allocation.state == Allocation.STATE_HELD:
        yield Text(f"Held until {format_time(allocation.expire_time)}, then released unless it is confirmed.")
    if allocation.HasField("hold"):
        until = f" until {format_time(allocation.hold.until)}" if allocation.hold.HasField("until") else ""
        yield Text(
            f"On hold{until} because of: {allocation.hold.reason}. `truestock release-hold` starts work.", "yellow"
        )
    if allocation.HasField("cancellation_request"):
        yield _cancellation_request(allocation.cancellation_request)
    if allocation.change_refused:
        yield Text("The hold could not be changed as requested and stays unchanged.", "yellow")
    if allocation.needs_person:
        yield Text(intervention_note, "yellow")
    yield from _dates(allocation)
    yield _lines(allocation)
    yield from _placements(allocation)
    if allocation.shipments:
        yield order_shipments(allocation.shipments)
        yield from date_lines(allocation.shipments)
        yield from parcel_lines(allocation.shipments)
    if allocation.shortages:
        yield _shortages(allocation.shortages)


def _dates(allocation: Allocation) -> Iterator[Text]:
    if allocation.HasField("ship_by_time"):
        yield Text(f"The channel wants it to have shipped by {format_time(allocation.ship_by_time)}.")
    if allocation.HasField("deliver_by"):
        yield Text(f"It should be delivered by {_day(allocation.deliver_by)}.")
    if allocation.HasField("deliver_date"):
        yield Text(f"Expected by {_day(allocation.deliver_date)}.")
    if allocation.HasField("destination_point"):
        point = allocation.destination_point.coordinates
        what = _LOCATED_BY.get(allocation.destination_point.located_by, "its destination")
        yield Text(f"Distances are to the center of {what}: {point.latitude:.4f}, {point.longitude:.4f}.")


def _day(day: Date) -> str:
    return f"{date(day.year, day.month, day.day):%A, %d %B %Y}"


def _cancellation_request(request: CancellationRequest) -> Text:
    """The shopper's request to cancel, and the answer to it."""
    what = "the whole order" if request.whole_order else count(request.unit_count, "unit")
    asked = f"The shopper asked to cancel {what}"
    if request.state == CancellationRequest.STATE_REQUESTED:
        until = f"; the channel waits until {format_time(request.deadline)}" if request.HasField("deadline") else ""
        return Text(f"{asked}{until}. `truestock exceptions resolve` answers it.", "yellow")
    state = enum_word(CancellationRequest.State, request.state, "STATE_")
    part = f", {count(request.cancelled_count, 'unit')} cancelled" if request.cancelled_count else ""
    return Text(f"{asked}: {state} by {request.answered_by}{part}. {request.answer_reason}".strip())


def _headline(allocation: Allocation) -> Text:
    outcome = enum_word(Outcome, allocation.outcome, "OUTCOME_")
    state = enum_word(Allocation.State, allocation.state, "STATE_")
    if allocation.outcome == Outcome.OUTCOME_ENDED:
        return Text.assemble((f"{allocation.channel_id}/{allocation.order_id}", "bold"), f": {state}")
    return Text.assemble(
        (f"{allocation.channel_id}/{allocation.order_id}", "bold"),
        ": ",
        (outcome, _COLORS.get(allocation.outcome, "yellow")),
        f" ({state})" if allocation.state else "",
    )


def _status_and_copies(allocation: Allocation) -> Iterator[Text]:
    """The order's status in Truestock and in its channel, and the copies of the order in other channels."""
    if allocation.status and allocation.allocation_id:
        word = enum_word(OrderStatus, allocation.status, "ORDER_STATUS_")
        channel_status = f" (channel status {allocation.channel_status})" if allocation.channel_status else ""
        yield Text(f"Status: {_STATUS_TEXTS.get(allocation.status, word)}{channel_status}.")
    if allocation.copies:
        copies = ", ".join(f"{copy.channel_id}/{copy.order_id}" for copy in allocation.copies)
        yield Text(f"Copies of this order: {copies}.")


def _lines(allocation: Allocation) -> Table:
    """One row for each line, without columns that are 0 in every row."""
    counts = {
        "ordered": [line.unit_count for line in allocation.lines],
        "promised": [line.promised_count for line in allocation.lines],
        "short": [line.short_count for line in allocation.lines],
        "on backorder": [line.backordered_count for line in allocation.lines],
        "shipped": [line.shipped_count for line in allocation.lines],
        "returned": [line.returned_count for line in allocation.lines],
        "refunded": [line.refunded_count for line in allocation.lines],
        "shipped in excess": [line.excess_count for line in allocation.lines],
        "cancelled": [line.cancelled_count for line in allocation.lines],
    }
    kits = ("of kit",) if any(line.kit_sku for line in allocation.lines) else ()
    shown = {name: units for name, units in counts.items() if name in ("ordered", "promised") or any(units)}
    table = new_table("line", "SKU", *kits, *shown, "outcome", numbers=tuple(shown), title="Order lines")
    for index, line in enumerate(allocation.lines):
        outcome = Text(enum_word(Outcome, line.outcome, "OUTCOME_"), _COLORS.get(line.outcome, "yellow"))
        if line.cancelled_count == line.unit_count:
            outcome = Text("cancelled")
        of_kit = (line.kit_sku or "-",) if kits else ()
        add_row(table, line.line_id, _ordered(line), *of_kit, *(units[index] for units in shown.values()), outcome)
    return table


def _placements(allocation: Allocation) -> Iterator[Text]:
    """Where lines may ship from, and what with, in a sentence for each that says so."""
    for line in allocation.lines:
        parts = []
        if line.only_location_ids:
            parts.append(f"only from {', '.join(line.only_location_ids)}")
        if line.not_location_ids:
            parts.append(f"not from {', '.join(line.not_location_ids)}")
        if line.keep_together:
            parts.append(f"together with the lines of '{line.keep_together}'")
        if parts:
            yield Text(f"Line {line.line_id} ships {', '.join(parts)}.")


def _shortages(shortages: Iterable[Shortage]) -> Table:
    table = new_table("line", "SKU", "units", "reason", numbers=("units",), title="Shortages")
    for shortage in shortages:
        add_row(table, shortage.line_id, _ordered(shortage), shortage.unit_count, _shortage_reason(shortage))
    return table


def _ordered(line: AllocatedLine | Shortage) -> str:
    """The SKU of a line, with the channel's item if that was ordered."""
    if not line.item_id:
        return line.sku
    return f"{line.sku or 'not mapped'} (item {line.item_id})"


def _shortage_reason(shortage: Shortage) -> str:
    backorder = "on backorder; " if shortage.backordered else ""
    if shortage.kind == Shortage.KIND_OVERSELL:
        cause = shortage.cause.replace("_", " ") or "cause unknown"
        return f"{backorder}oversold: no permitted location has it ({cause})"
    if shortage.kind in _KEPT:
        plural = "s" if len(shortage.rules) > 1 else ""
        return f"{backorder}in stock, but {_KEPT[shortage.kind]}{plural} {', '.join(shortage.rules)}"
    if shortage.kit_sku and shortage.cause == "kept_together":
        return f"{backorder}waits for the other components of kit {shortage.kit_sku}"
    if shortage.cause in _ELSEWHERE:
        return f"{backorder}in stock, but {_ELSEWHERE[shortage.cause]}"
    if shortage.cause == "unmapped_outlet":
        return "waits for its outlet, which the catalog does not have"
    if shortage.cause:
        return f"{backorder}{shortage.cause.replace('_', ' ')}: the location could not supply it"
    return f"{backorder}in stock, but limits on splitting leave it out"


def _oversell(evidence: OversellEvidence) -> str:
    """Why units of one product are oversold, with the figures behind the cause."""
    cause = f"{evidence.sku}: {count(evidence.short_count, 'unit')} oversold, {evidence.cause.replace('_', ' ')}"
    if not evidence.HasField("published"):
        return f"{cause}: no figure was published to the channel.{_stale(evidence)}"
    figure = evidence.published
    published = f"{figure.sellable_count:,} published at {format_time(figure.publish_time)}"
    rules = f" by rules {figure.policy_revision}" if figure.policy_revision else ""
    sold = evidence.own_promised_count + evidence.ordered_count
    since = f"since then {sold:,} sold on this channel and {evidence.other_promised_count:,} on others"
    return f"{cause}: {published}{rules}; {since}.{_in_outlet(evidence)}{_stale(evidence)}"


def _in_outlet(evidence: OversellEvidence) -> str:
    if not evidence.HasField("outlet"):
        return ""
    outlet = evidence.outlet
    return f" In outlet {outlet.outlet_id}, {outlet.published_count:,} were published and {outlet.shown_count:,} shown."


def _stale(evidence: OversellEvidence) -> str:
    return " A stock figure was older than its feed's cadence." if evidence.stale else ""


def _decision(decision: Decision) -> Iterator[RenderableType]:
    for evidence in decision.oversells:
        yield Text(_oversell(evidence))
    if decision.routing_policy:
        yield Text(f"Decided by routing policy {decision.routing_policy}, {decision.routing_policy_source}.")
    dropped = {(candidate.rule, candidate.location_id) for candidate in decision.dropped_candidates}
    rules = [rule for rule in decision.fired_rules if (rule.rule, rule.location_id) not in dropped]
    if rules:
        yield fired_rules(rules)
    if decision.dropped_candidates:
        yield _dropped(decision.dropped_candidates)
    if decision.search_truncated:
        yield Text(_truncated_search(decision))
    if decision.policy_revision:
        read = format_time(decision.stock_read_time)
        yield Text(
            f"Decision {decision.decision_id or '(not stored)'}, rules {decision.policy_revision}, stock as of {read}",
            "dim",
        )


def _truncated_search(decision: Decision) -> str:
    start = "Too many combinations of locations to compare them all."
    bound, above = decision.fewest_shipments_bound, decision.shipments_above_bound
    if not bound:
        return f"{start} Another plan may be better."
    if not above:
        return f"{start} No plan has fewer shipments, but one of other locations may rank before this one."
    return f"{start} This plan has {count(above, 'shipment')} more than the lower bound of {bound}."


def fired_rules(rules: Iterable[FiredRule]) -> Table:
    """The rules that fired, one row for each effect of a rule."""
    table = new_table("rule", "file", "location", "SKU", "effect", "facts", title="Rules that fired")
    for rule in rules:
        add_row(
            table,
            rule.rule,
            rule.source,
            rule.location_id or "-",
            rule.sku or "-",
            rule.effect,
            _fact_values(rule.facts),
        )
    return table


def _fact_values(facts: Iterable[FactSeen]) -> str:
    """The facts that a rule compared, such as "location.type is store, stock.age_minutes is 43.25"."""
    return ", ".join(f"{fact.fact} is {_rounded(fact.value)}" for fact in facts) or "always"


def _rounded(value: str) -> str:
    """A fact's value with three decimals, or more where the third would be 0: 24.9996 must not read 25 beside a 25.

    So the value stands on the same side of every number of a rule that has two decimals at most.
    """
    if not re.fullmatch(r"-?[0-9]+\.[0-9]{4,}", value):
        return value
    for decimals in range(3, len(value.partition(".")[2])):
        shown = f"{float(value):.{decimals}f}"
        if not shown.endswith("0"):
            return shown
    return value


def _dropped(candidates: Iterable[DroppedCandidate]) -> Table:
    table = new_table("location", "SKU", "reason", "rule", "facts", title="Locations not used")
    for candidate in candidates:
        rule = f"{candidate.rule} {candidate.source}".strip()
        facts = _fact_values(candidate.facts) if rule else "-"
        units = candidate.sku or "whole order"
        units = f"{units}, line {candidate.line_id}" if candidate.line_id else units
        add_row(table, candidate.location_id, units, candidate.reason, rule or "-", facts)
    return table


def _exceptions(exceptions: Iterable[ExceptionRecord]) -> Table:
    columns = ("kind", "description", "owner", "action", "due", "escalates to", "state", "rule")
    table = new_table(*columns, title="Exceptions")
    for exception in exceptions:
        add_row(
            table,
            exception.kind,
            exception.description,
            f"{exception.owner} ({exception.assignee})" if exception.assignee else exception.owner,
            exception.action,
            format_time(exception.due_time),
            exception.escalate_to or "-",
            _exception_state(exception),
            exception.rule,
        )
    return table


def _exception_state(exception: ExceptionRecord) -> str:
    """Such as `open`, or `rerouted by policy: Rerouted 1 unit to store-denver (rejected).`"""
    if exception.state != ExceptionRecord.STATE_RESOLVED:
        return enum_word(ExceptionRecord.State, exception.state, "STATE_")
    resolution = enum_word(ExceptionResolution, exception.resolution, "EXCEPTION_RESOLUTION_")
    return f"{resolution} by {exception.resolved_by}" + (f": {exception.note}" if exception.note else "")


def _timeline(events: Sequence[TimelineEvent]) -> Table:
    """One row for each event, with columns of callers and decisions if any event has one."""
    has_decisions = any(event.decision_id for event in events)
    # Without an access file, every caller is `local`.
    has_principals = any(event.principal not in ("", "local") for event in events)
    columns = [*(["by"] if has_principals else []), *(["decision"] if has_decisions else [])]
    table = new_table("time", "event", "description", *columns)
    table.title = "Timeline, oldest first"
    for event in events:
        principal = [event.principal or "-"] if has_principals else []
        decision = [event.decision_id or "-"] if has_decisions else []
        add_row(table, format_time(event.event_time), event.event, event.description, *principal, *decision)
    return table
