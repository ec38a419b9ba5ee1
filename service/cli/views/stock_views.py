"""Availability, stock levels, rules and imports as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from service.cli.console import age, clock, count, row, table
from service.cli.files.csv_import import ImportReport
from service.cli.views.order_views import fired_rules
from truestock.v1.availability_service_pb2 import Availability, CheckAvailabilityResponse
from truestock.v1.policy_service_pb2 import GetPolicySetResponse
from truestock.v1.stock_service_pb2 import StockLevel


def print_availability(console: Console, answer: CheckAvailabilityResponse, channel_id: str) -> None:
    """What the channel may be told of each SKU, and where asked for, why."""
    numbers = ("sellable", "available", "kept from total", "largest order")
    made = table("SKU", *numbers, numbers=numbers, title=f"What {channel_id} may sell now")
    for item in answer.availabilities:
        counts = (item.sellable_count, item.available_count, item.channel_buffer_count)
        row(made, item.sku, *counts, item.largest_single_order_count)
    console.print(made)
    for item in answer.availabilities:
        if item.locations:
            _print_locations(console, item)
    console.print(f"rules {answer.policy_revision}, stock as of {clock(answer.stock_read_time)}", style="dim")


def _print_locations(console: Console, item: Availability) -> None:
    numbers = ("on hand", "not sellable", "held", "allocated", "available", "kept back", "sellable")
    made = table("location", *numbers, "figure age", "why", numbers=numbers, title=item.sku)
    for place in item.locations:
        row(
            made,
            place.location_id,
            place.on_hand_count,
            place.unavailable_count,
            place.held_count,
            place.allocated_count,
            place.available_count,
            place.buffer_count,
            place.sellable_count,
            age(place.as_of_time) if place.HasField("as_of_time") else "never counted",
            "; ".join(place.reasons) or "-",
        )
    console.print(made)
    if item.fired_rules:
        console.print(fired_rules(item.fired_rules))


def print_stock(console: Console, levels: Sequence[StockLevel], *, more: bool) -> None:
    """Stock levels; `more` says that the list was cut."""
    if not levels:
        console.print("No stock is known there. `truestock import stock FILE.csv` records counts.")
        return
    numbers = ("on hand", "not sellable", "held", "allocated", "available")
    made = table("SKU", "location", *numbers, "figure age", "source", numbers=numbers)
    for level in levels:
        counts = (level.on_hand_count, level.unavailable_count, level.held_count, level.allocated_count)
        heard = (age(level.as_of_time), level.source or "-")
        row(made, level.sku, level.location_id, *counts, level.available_count, *heard)
    console.print(made)
    print_more(console, levels, more=more)


def print_more(console: Console, levels: Sequence[StockLevel], *, more: bool) -> None:
    """Says so where a list of levels was cut."""
    if more:
        console.print(
            f"The first {count(len(levels), 'level')}; there are more: name SKUs, --location, or a higher --limit."
        )


def print_policies(console: Console, answer: GetPolicySetResponse) -> None:
    """The rules in force, and what is wrong with a folder that was refused."""
    console.print(f"Rules {answer.policy_revision}, loaded {clock(answer.load_time)}", highlight=False)
    made = table("file")
    for file in answer.files:
        row(made, file.path)
    console.print(made)
    if answer.problems:
        refused = clock(answer.refuse_time)
        console.print(
            f"The folder as it is now was refused {refused}; the rules above stay until it is mended:", style="red"
        )
        problems = table("place", "what is wrong", "how to mend it")
        for problem in answer.problems:
            # Line 0 is the file as a whole, and '.' the whole folder.
            place = "the folder" if problem.file == "." else problem.file
            if problem.line:
                place += f":{problem.line}:{problem.column}"
            row(problems, place, f"{problem.message} [{problem.code}]", problem.help)
        console.print(problems)


def print_import(console: Console, report: ImportReport) -> None:
    """What an import did."""
    made = table(f"import of {report.kind}", "rows", numbers=("rows",))
    row(made, "in the file", f"{report.rows:,}")
    if report.kind == "stock":
        row(made, "accepted", f"{report.accepted:,}")
        row(made, "known before, nothing done", f"{report.duplicates:,}")
        if report.observed:
            row(made, "only compared, another source owns the figure", f"{report.observed:,}")
        row(made, "older than what is known, without effect", f"{len(report.stale):,}")
        row(made, "kept aside", f"{len(report.quarantined):,}")
    else:
        row(made, "created", f"{report.created:,}")
        row(made, "updated", f"{report.updated:,}")
    console.print(made)
