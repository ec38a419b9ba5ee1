"""Exceptions as whoever has to settle them reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.cli.console import clock, enum_word, row, table
from truestock.v1.exception_pb2 import ExceptionEvent, ExceptionRecord, ExceptionResolution


def print_exceptions(console: Console, exceptions: Sequence[ExceptionRecord]) -> None:
    """One row for each; what is overdue stands out."""
    if not exceptions:
        console.print("There is nothing to settle.")
        return
    made = table("exception", "due", "kind", "what happened", "about", "owner", "to do", "state")
    made.title = "What is to be settled, what is due first, first"
    now = datetime.now(UTC)
    for one in exceptions:
        due = Text(clock(one.due_time), "red" if _is_overdue(one, now) else "")
        about, work = _about(one), _work(one)
        row(made, one.exception_id, due, one.kind, one.description, about, work, one.action, standing(one))
    console.print(made)


def print_exception(console: Console, one: ExceptionRecord, history: Iterable[ExceptionEvent]) -> None:
    """Everything that is known of one exception."""
    parts: list[RenderableType] = [
        Text.assemble((one.kind.replace("_", " "), "bold"), ": ", one.description),
        Text.assemble(("exception ", "dim"), one.exception_id),
    ]
    made = table("", "")
    made.show_header = False
    for name, value in _facts(one):
        if value:
            row(made, name, value)
    parts.append(made)
    told = _history(history)
    if told.row_count:
        parts.append(told)
    console.print(Group(*parts))


def standing(one: ExceptionRecord) -> str:
    """Where it stands: open, or how it was settled and by whom."""
    word = enum_word(ExceptionRecord.State.Name(one.state), "STATE_")
    if one.state != ExceptionRecord.STATE_RESOLVED:
        return word
    how = enum_word(ExceptionResolution.Name(one.resolution), "EXCEPTION_RESOLUTION_")
    return f"{how} by {one.resolved_by}"


def _facts(one: ExceptionRecord) -> list[tuple[str, str]]:
    escalated = f"since {clock(one.escalate_time)}" if one.HasField("escalate_time") else ""
    then = one.escalate_to if one.escalate_to and not escalated else ""
    return [
        ("state", standing(one)),
        ("note", one.note),
        ("order", f"{one.channel_id}/{one.order_id}" if one.order_id else ""),
        ("allocation", one.allocation_id),
        ("about", _about(one)),
        ("shipment", one.shipment_id),
        ("owner", one.owner),
        ("escalated", escalated),
        ("assigned to", one.assignee),
        ("to do", one.action),
        ("due", clock(one.due_time)),
        ("then", then),
        ("seen again", f"{one.repeat_count:,} times" if one.repeat_count else ""),
        ("rule", one.rule),
        ("rules", one.policy_revision),
    ]


def _about(one: ExceptionRecord) -> str:
    order = f"{one.channel_id}/{one.order_id}" if one.order_id else one.channel_id
    return " ".join(part for part in (order, one.source, one.sku, one.location_id) if part) or "-"


def _work(one: ExceptionRecord) -> str:
    return f"{one.owner} ({one.assignee})" if one.assignee else one.owner


def _is_overdue(one: ExceptionRecord, now: datetime) -> bool:
    return one.state == ExceptionRecord.STATE_OPEN and one.due_time.ToDatetime(UTC) <= now


def _history(history: Iterable[ExceptionEvent]) -> Table:
    made = table("time", "event", "who", "what happened", title="What happened, oldest first")
    for event in history:
        row(made, clock(event.event_time), event.event, event.actor, event.description)
    return made
