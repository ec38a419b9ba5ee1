"""The past as tables: unmet demand, the rules that were in force, and changes of the catalog."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from service.cli.console import add_row, enum_word, format_time, new_table
from truestock.v1.catalog_history_pb2 import CatalogChange, FieldChange
from truestock.v1.catalog_service_pb2 import GetCatalogRecordRequest, GetCatalogRecordResponse
from truestock.v1.demand_pb2 import DailyUnmetDemand, DemandKind, UnmetDemand
from truestock.v1.policy_history_pb2 import PolicyEvent


def print_demand(console: Console, demands: Sequence[UnmetDemand]) -> None:
    """Prints unmet demand."""
    if not demands:
        console.print("No unmet demand was recorded that matches.")
        return
    numbers = ("wanted", "got", "unmet", "calls")
    table = new_table("time", "SKU", "channel", "kind", *numbers, "cause", "rules", "order or place", numbers=numbers)
    for entry in demands:
        add_row(
            table,
            format_time(entry.demand_time),
            entry.sku,
            entry.channel_id or "-",
            _kind(entry.kind),
            *(entry.wanted_count, entry.met_count, entry.unmet_count, entry.call_count),
            entry.cause.replace("_", " "),
            ", ".join(entry.rules) or "-",
            entry.order_id or entry.location_id or "-",
        )
    console.print(table)


def print_demand_sums(console: Console, sums: Sequence[DailyUnmetDemand]) -> None:
    """Prints unmet demand by day."""
    if not sums:
        console.print("No unmet demand was recorded that matches.")
        return
    numbers = ("unmet", "demands", "calls")
    table = new_table("day (UTC)", "SKU", "channel", "kind", "cause", *numbers, numbers=numbers)
    for day in sums:
        add_row(
            table,
            f"{day.date.year:04}-{day.date.month:02}-{day.date.day:02}",
            day.sku,
            day.channel_id or "-",
            _kind(day.kind),
            day.cause.replace("_", " "),
            *(day.unmet_count, day.demand_count, day.call_count),
        )
    console.print(table)


def print_policy_events(console: Console, events: Sequence[PolicyEvent]) -> None:
    """Prints what happened to rules."""
    if not events:
        console.print("No matching events.")
        return
    table = new_table("time", "service", "event", "rules in force", "loaded", "problems", "first problem")
    for event in events:
        add_row(
            table,
            format_time(event.event_time),
            event.instance,
            enum_word(PolicyEvent.Kind, event.kind, "KIND_"),
            event.policy_revision,
            format_time(event.load_time),
            event.problem_count or "-",
            event.problem.strip().split("\n", 1)[0] or "-",
        )
    console.print(table)


def print_catalog_changes(console: Console, changes: Sequence[CatalogChange]) -> None:
    """Prints changes of the catalog, a row for each field."""
    if not changes:
        console.print("No matching changes.")
        return
    table = new_table("time", "kind", "record", "change", "field", "before", "after", "call")
    for change in changes:
        for field in change.fields or [FieldChange(field="-")]:
            add_row(
                table,
                format_time(change.change_time),
                change.kind,
                change.record_id,
                enum_word(CatalogChange.Kind, change.change, "KIND_"),
                field.field,
                field.before if field.HasField("before") else "-",
                field.after if field.HasField("after") else "-",
                change.call,
            )
    console.print(table)


def print_catalog_record(console: Console, question: GetCatalogRecordRequest, record: GetCatalogRecordResponse) -> None:
    """Prints what a record was at a time."""
    table = new_table("field", "value", title=f"{question.kind} {question.record_id}, {format_time(question.time)}")
    for field in record.fields:
        add_row(table, field.field, field.value)
    console.print(table)


def _kind(kind: DemandKind.ValueType) -> str:
    return enum_word(DemandKind, kind, "DEMAND_KIND_")
