"""Exceptions as tables: a list, and one exception with its history."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.cli.console import add_row, count, enum_word, format_time, new_table
from truestock.v1.exception_pb2 import (
    ExceptionEvent,
    ExceptionRecord,
    ExceptionResolution,
    ResolutionEffect,
    StockEffect,
    UnitMove,
)
from truestock.v1.exception_service_pb2 import ExceptionCount
from truestock.v1.order_pb2 import OrderStatus


def print_exceptions(console: Console, exceptions: Sequence[ExceptionRecord]) -> None:
    """Prints one row for each exception; overdue due times are red."""
    if not exceptions:
        console.print("No matching exceptions.")
        return
    columns = ("exception", "due", "kind", "description", "about", "owner", "action", "state")
    table = new_table(*columns, title="Exceptions")
    now = datetime.now(UTC)
    for exception in exceptions:
        add_row(
            table,
            exception.exception_id,
            Text(format_time(exception.due_time), "red" if _is_overdue(exception, now) else ""),
            exception.kind,
            exception.description,
            _subject(exception),
            _owner(exception),
            exception.action,
            state_text(exception),
        )
    console.print(table)


def print_counts(console: Console, counts: Sequence[ExceptionCount]) -> None:
    """Prints how many exceptions are open, by owner and kind."""
    if not counts:
        console.print("No matching exceptions are open.")
        return
    table = new_table("owner", "kind", "open", "overdue", title="Open exceptions", numbers=("open", "overdue"))
    for row in counts:
        add_row(table, row.owner, row.kind, f"{row.open_count:,}", f"{row.overdue_count:,}")
    console.print(table)


def print_exception(console: Console, exception: ExceptionRecord, history: Iterable[ExceptionEvent]) -> None:
    """Prints all fields of an exception that are set, and its history."""
    parts: list[RenderableType] = [
        Text.assemble((exception.kind.replace("_", " "), "bold"), ": ", exception.description),
        Text.assemble(("exception ", "dim"), exception.exception_id),
    ]
    fields = new_table("", "")
    fields.show_header = False
    for name, value in _fields(exception):
        if value:
            add_row(fields, name, value)
    parts.append(fields)
    events = _history(history)
    if events.row_count:
        parts.append(events)
    console.print(Group(*parts))


def print_effects(console: Console, effects: Sequence[ResolutionEffect], *, done: bool = False) -> None:
    """Prints what each resolution would do, or has done: one row for each."""
    if not effects:
        return
    title = "What it did" if done else "What it would do" if len(effects) == 1 else "Resolutions that it allows"
    table = new_table("resolution", "units", "stock", "order", "meaning", title=title)
    for effect in effects:
        resolution = enum_word(ExceptionResolution, effect.resolution, "EXCEPTION_RESOLUTION_")
        if effect.problem:
            add_row(table, resolution, "-", "-", "-", Text(f"Not now: {effect.problem}", "red"))
            continue
        order = enum_word(OrderStatus, effect.status, "ORDER_STATUS_") if effect.status else "-"
        units = "; ".join(map(_move_text, effect.moves)) or "-"
        stock = "; ".join(map(_stock_text, effect.stock)) or "-"
        add_row(table, resolution, units, stock, order, effect.description)
    console.print(table)


def _move_text(move: UnitMove) -> str:
    start, end = (
        location_id or enum_word(UnitMove.Place, place, "PLACE_")
        for place, location_id in ((getattr(move, "from"), move.from_location_id), (move.to, move.to_location_id))
    )
    return f"{move.unit_count} {move.sku}: {start} to {end}"


def _stock_text(stock: StockEffect) -> str:
    changes = (
        ("on hand", stock.on_hand_change),
        ("unavailable", stock.unavailable_change),
        ("allocated", stock.allocated_change),
    )
    words = ", ".join(f"{name} {change:+}" for name, change in changes if change)
    return f"{stock.sku} at {stock.location_id}: {words}"


def state_text(exception: ExceptionRecord) -> str:
    """The exception's state: open, or how it was resolved and by whom."""
    word = enum_word(ExceptionRecord.State, exception.state, "STATE_")
    if exception.state != ExceptionRecord.STATE_RESOLVED:
        return word
    resolution = enum_word(ExceptionResolution, exception.resolution, "EXCEPTION_RESOLUTION_")
    return f"{resolution} by {exception.resolved_by}"


def _fields(exception: ExceptionRecord) -> list[tuple[str, str]]:
    escalated = f"since {format_time(exception.escalate_time)}" if exception.HasField("escalate_time") else ""
    escalates_to = exception.escalate_to if exception.escalate_to and not escalated else ""
    return [
        ("state", state_text(exception)),
        ("note", exception.note),
        ("order", f"{exception.channel_id}/{exception.order_id}" if exception.order_id else ""),
        ("allocation", exception.allocation_id),
        ("about", _subject(exception)),
        ("shipment", exception.shipment_id),
        ("owner", exception.owner),
        ("escalated", escalated),
        ("assigned to", exception.assignee),
        ("action", exception.action),
        ("due", format_time(exception.due_time)),
        ("escalates to", escalates_to),
        ("repeated", count(exception.repeat_count, "time") if exception.repeat_count else ""),
        ("rule", exception.rule),
        ("rules revision", exception.policy_revision),
    ]


def _subject(exception: ExceptionRecord) -> str:
    order = f"{exception.channel_id}/{exception.order_id}" if exception.order_id else exception.channel_id
    return (
        " ".join(
            part
            for part in (order, exception.source, exception.sku, exception.location_id, exception.outlet_id)
            if part
        )
        or "-"
    )


def _owner(exception: ExceptionRecord) -> str:
    return f"{exception.owner} ({exception.assignee})" if exception.assignee else exception.owner


def _is_overdue(exception: ExceptionRecord, now: datetime) -> bool:
    return exception.state == ExceptionRecord.STATE_OPEN and exception.due_time.ToDatetime(UTC) <= now


def _history(history: Iterable[ExceptionEvent]) -> Table:
    table = new_table("time", "event", "by", "description", title="History, oldest first")
    for event in history:
        add_row(table, format_time(event.event_time), event.event, event.actor, event.description)
    return table
