"""An order's answer as a store manager reads it: what was asked, where it goes and why, and what is short."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.cli.console import clock, enum_word, output, print_json, row, table
from service.cli.views.shipment_views import order_shipments
from truestock.v1.allocation_service_pb2 import (
    Allocation,
    GetAllocationResponse,
    Shortage,
    TimelineEvent,
)
from truestock.v1.decision_pb2 import Decision, DroppedCandidate, FactSeen, FiredRule
from truestock.v1.exception_pb2 import ExceptionRecord, ExceptionResolution
from truestock.v1.order_pb2 import (
    OUTCOME_ALLOCATED,
    OUTCOME_PARTLY_ALLOCATED,
    OUTCOME_UNFILLABLE,
    OrderStatus,
    Outcome,
)

_COLOURS = {OUTCOME_ALLOCATED: "green", OUTCOME_PARTLY_ALLOCATED: "yellow", OUTCOME_UNFILLABLE: "red"}
_PERHAPS_PERSON = "A person has to look at this order, or had to; `truestock explain` shows what is open."
_PERSON = "A person has to look at this order."
_STANDING = {OrderStatus.ORDER_STATUS_EXCEPTION: "Units of it are short"}
"""Where an order stands, where the status's own word makes no sentence."""
_NO_PERSON_ANY_MORE = "A person had to look at this order; nothing of it is open."


def show_allocation(allocation: Allocation, as_json: bool) -> None:
    """Prints the short form, after an order was changed, or JSON."""
    if as_json:
        print_json(allocation)
    else:
        output().print(Group(*_summary(allocation, _PERHAPS_PERSON)))


def print_explanation(console: Console, answer: GetAllocationResponse) -> None:
    """The long form: everything that is known of an order and of its decision."""
    allocation = answer.allocation
    is_open = any(one.state == ExceptionRecord.STATE_OPEN for one in answer.exceptions)
    parts = [*_summary(allocation, _PERSON if is_open else _NO_PERSON_ANY_MORE), *_why(allocation.decision)]
    if answer.exceptions:
        parts.append(_exceptions(answer.exceptions))
    if answer.timeline:
        parts.append(_timeline(answer.timeline))
    console.print(Group(*parts))


def _summary(allocation: Allocation, person: str) -> Iterator[RenderableType]:
    yield _headline(allocation)
    yield Text.assemble(("allocation ", "dim"), allocation.allocation_id or "none: this was a dry run")
    yield from _channels(allocation)
    if allocation.state == Allocation.STATE_HELD:
        yield Text(f"Held until {clock(allocation.expire_time)}, then given back unless it is confirmed.")
    if allocation.change_refused:
        yield Text("The hold could not be changed to what was asked, and stands as it was.", "yellow")
    if allocation.needs_person:
        yield Text(person, "yellow")
    yield _lines(allocation)
    if allocation.shipments:
        yield order_shipments(allocation.shipments)
    if allocation.shortages:
        yield _shortages(allocation.shortages)


def _headline(allocation: Allocation) -> Text:
    outcome = enum_word(Outcome.Name(allocation.outcome), "OUTCOME_")
    state = enum_word(Allocation.State.Name(allocation.state), "STATE_")
    if allocation.state == Allocation.STATE_CANCELLED:
        return Text.assemble((f"{allocation.channel_id}/{allocation.order_id}", "bold"), f": {state}")
    return Text.assemble(
        (f"{allocation.channel_id}/{allocation.order_id}", "bold"),
        ": ",
        (outcome, _COLOURS.get(allocation.outcome, "yellow")),
        f" ({state})" if allocation.state else "",
    )


def _channels(allocation: Allocation) -> Iterator[Text]:
    """Where the order stands in the words of all channels and of its own, and its other names."""
    if allocation.status and allocation.allocation_id:
        word = enum_word(OrderStatus.Name(allocation.status), "ORDER_STATUS_")
        said = f" (the channel says {allocation.channel_status})" if allocation.channel_status else ""
        yield Text(f"{_STANDING.get(allocation.status, f'It is {word}')}{said}.")
    if allocation.copies:
        names = ", ".join(f"{copy.channel_id}/{copy.order_id}" for copy in allocation.copies)
        yield Text(f"The same order is known as {names}.")


def _lines(allocation: Allocation) -> Table:
    """One row for each line; columns that would be all 0 are left out."""
    counts = {
        "asked": [line.unit_count for line in allocation.lines],
        "promised": [line.promised_count for line in allocation.lines],
        "short": [line.short_count for line in allocation.lines],
        "on backorder": [line.backordered_count for line in allocation.lines],
        "shipped": [line.shipped_count for line in allocation.lines],
        "returned": [line.returned_count for line in allocation.lines],
        "cancelled": [line.cancelled_count for line in allocation.lines],
    }
    shown = {name: units for name, units in counts.items() if name in ("asked", "promised") or any(units)}
    made = table("line", "SKU", *shown, "outcome", numbers=tuple(shown), title="What was asked")
    for place, line in enumerate(allocation.lines):
        outcome = Text(enum_word(Outcome.Name(line.outcome), "OUTCOME_"), _COLOURS.get(line.outcome, "yellow"))
        if line.cancelled_count == line.unit_count:
            outcome = Text("cancelled")
        row(made, line.line_id, line.sku, *(units[place] for units in shown.values()), outcome)
    return made


def _shortages(shortages: Iterable[Shortage]) -> Table:
    made = table("line", "SKU", "units", "why", numbers=("units",), title="What is short")
    for shortage in shortages:
        row(made, shortage.line_id, shortage.sku, shortage.unit_count, _why_short(shortage))
    return made


def _why_short(shortage: Shortage) -> str:
    waits = "waits for stock; " if shortage.backordered else ""
    if shortage.kind == Shortage.KIND_OVERSELL:
        return f"{waits}oversold: the units are not there ({shortage.cause.replace('_', ' ') or 'cause unknown'})"
    if shortage.cause:
        return f"{waits}{shortage.cause.replace('_', ' ')}: the location could not supply it"
    return f"{waits}the rules do not allow to fill it from where units are"


def _why(decision: Decision) -> Iterator[RenderableType]:
    if decision.routing_policy:
        yield Text(f"Decided by routing policy {decision.routing_policy}, {decision.routing_policy_source}.")
    dropped = {(candidate.rule, candidate.location_id) for candidate in decision.dropped_candidates}
    others = [rule for rule in decision.fired_rules if (rule.rule, rule.location_id) not in dropped]
    if others:
        yield fired_rules(others)
    if decision.dropped_candidates:
        yield _dropped(decision.dropped_candidates)
    if decision.search_truncated:
        yield Text("There were too many locations to try every set of them: the best-ranked were taken.")
    if decision.policy_revision:
        read = clock(decision.stock_read_time)
        yield Text(
            f"Decision {decision.decision_id or '(not stored)'}, rules {decision.policy_revision}, stock as of {read}",
            "dim",
        )


def fired_rules(rules: Iterable[FiredRule]) -> Table:
    """The rules that fired, one row for each effect."""
    made = table("rule", "where it stands", "location", "SKU", "effect", "because", title="Rules that fired")
    for rule in rules:
        row(made, rule.rule, rule.source, rule.location_id or "-", rule.sku or "-", rule.effect, _seen(rule.facts))
    return made


def _seen(facts: Iterable[FactSeen]) -> str:
    """What a rule saw, such as "location.type is store, stock.age_minutes is 43.25"."""
    return ", ".join(f"{seen.fact} is {_short(seen.value)}" for seen in facts) or "always"


def _short(value: str) -> str:
    """A fact's value with two decimals at most; where those say 0 and it is not, as it is."""
    if not re.fullmatch(r"-?[0-9]+\.[0-9]{3,}", value):
        return value
    shown = f"{float(value):.2f}".rstrip("0").rstrip(".")
    return value if float(shown) == 0 else shown


def _dropped(candidates: Iterable[DroppedCandidate]) -> Table:
    made = table("location", "SKU", "why", "rule", "because", title="Locations that were not used")
    for candidate in candidates:
        rule = f"{candidate.rule} {candidate.source}".strip()
        because = _seen(candidate.facts) if rule else "-"
        row(made, candidate.location_id, candidate.sku or "whole order", candidate.reason, rule or "-", because)
    return made


def _exceptions(exceptions: Iterable[ExceptionRecord]) -> Table:
    shown = list(exceptions)
    all_over = all(one.state != ExceptionRecord.STATE_OPEN for one in shown)
    made = table("kind", "what happened", "owner", "to do", "due", "then", "state", "rule")
    made.title = "What was settled" if all_over else "What is to be settled"
    for one in shown:
        owner = f"{one.owner} ({one.assignee})" if one.assignee else one.owner
        due, then = clock(one.due_time), one.escalate_to or "-"
        row(made, one.kind, one.description, owner, one.action, due, then, _settled(one), one.rule)
    return made


def _settled(one: ExceptionRecord) -> str:
    """Such as `open`, or `rerouted by policy: Rerouted 1 unit to store-denver (rejected).`"""
    if one.state != ExceptionRecord.STATE_RESOLVED:
        return enum_word(ExceptionRecord.State.Name(one.state), "STATE_")
    how = enum_word(ExceptionResolution.Name(one.resolution), "EXCEPTION_RESOLUTION_")
    return f"{how} by {one.resolved_by}" + (f": {one.note}" if one.note else "")


def _timeline(events: Iterable[TimelineEvent]) -> Table:
    """One row for each event; decisions have a column where any was made."""
    shown = list(events)
    decided = any(event.decision_id for event in shown)
    made = table("time", "event", "what happened", *(["decision"] if decided else []))
    made.title = "What happened, oldest first"
    for event in shown:
        decision = [event.decision_id or "-"] if decided else []
        row(made, clock(event.event_time), event.event, event.description, *decision)
    return made
