"""Availability, stock levels, the rules in force and import results as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from service.cli.console import add_row, count, format_ago, format_time, new_table
from service.cli.files.import_calls import ImportReport
from service.cli.views.order_views import fired_rules
from service.cli.views.shipment_views import weekday_text
from truestock.v1.availability_service_pb2 import Availability, CheckAvailabilityResponse
from truestock.v1.policy_service_pb2 import GetPolicySetResponse, PolicyProblem, PolicyTests
from truestock.v1.stock_service_pb2 import StockLevel

TEST_PROBLEMS_SHOWN = 10
"""Failing tests, and rules without a test, that are printed in a table."""


def print_availability(console: Console, response: CheckAvailabilityResponse, channel_id: str) -> None:
    """Prints how many units of each SKU the channel may sell, and why if the response has locations.

    In each row, the available units are the sellable ones and those that are kept.
    """
    # Few channels have a rule that leaves units unpublished, so most tables need no column for them.
    unpublished = ("unpublished",) if any(item.unpublished_count for item in response.availabilities) else ()
    numbers = ("sellable", "available", "kept at locations", "channel buffer", *unpublished, "largest order")
    table = new_table("SKU", *numbers, numbers=numbers, title=f"What {channel_id} may sell now")
    for item in response.availabilities:
        kept = [item.channel_buffer_count, *([item.unpublished_count] if unpublished else [])]
        # All that is not sellable is in units, also of an item.
        sellable_units = item.sellable_count * (item.units_per_item or 1)
        kept_at_locations = item.available_count - sellable_units - sum(kept)
        name = f"item {item.item_id}: {item.units_per_item} x {item.sku}" if item.item_id else item.sku
        add_row(
            table,
            name,
            item.sellable_count,
            item.available_count,
            kept_at_locations,
            *kept,
            item.largest_single_order_count,
        )
    if response.availabilities:
        console.print(table)
    for item in response.availabilities:
        if item.problem:
            console.print(item.problem, markup=False)
        if item.locations:
            _print_locations(console, item)
    console.print(f"rules {response.policy_revision}, stock as of {format_time(response.stock_read_time)}", style="dim")


def print_delivery_days(console: Console, availabilities: Sequence[Availability]) -> None:
    """Prints how many one order can get by which day, a sentence for each SKU."""
    for item in availabilities:
        days = [f"by {weekday_text(day.deliver_by)} up to {day.largest_order_count:,}" for day in item.delivery_days]
        name = f"item {item.item_id}" if item.item_id else item.sku
        console.print(f"{name}: {', '.join(days) or 'no day of delivery can be promised'}", markup=False)


def _print_locations(console: Console, item: Availability) -> None:
    numbers = ("on hand", "not sellable", "held", "allocated", "available", "buffer", "sellable")
    table = new_table("location", *numbers, "updated", "reasons", numbers=numbers, title=item.sku)
    for location in item.locations:
        add_row(
            table,
            location.location_id,
            location.on_hand_count,
            location.unavailable_count,
            location.held_count,
            location.allocated_count,
            location.available_count,
            location.buffer_count,
            location.sellable_count,
            format_ago(location.as_of_time, "never"),
            "; ".join(location.reasons) or "-",
        )
    console.print(table)
    if item.fired_rules:
        console.print(fired_rules(item.fired_rules))


def print_stock(console: Console, levels: Sequence[StockLevel]) -> None:
    """Prints the stock levels."""
    if not levels:
        console.print("No matching stock levels. `truestock import stock FILE.csv` records counts.")
        return
    numbers = ("on hand", "not sellable", "held", "allocated", "available")
    table = new_table("SKU", "location", *numbers, "updated", "source", numbers=numbers)
    for level in levels:
        counts = (level.on_hand_count, level.unavailable_count, level.held_count, level.allocated_count)
        provenance = (format_ago(level.as_of_time, "never"), level.source or "-")
        add_row(table, level.sku, level.location_id, *counts, level.available_count, *provenance)
    console.print(table)


def print_policies(console: Console, response: GetPolicySetResponse) -> None:
    """Prints the rules in force, and the problems of a newer rules folder that was refused."""
    console.print(f"Rules {response.policy_revision}, loaded {format_time(response.load_time)}", highlight=False)
    table = new_table("file")
    for file in response.files:
        add_row(table, file.path)
    console.print(table)
    if response.problems:
        rejected = format_time(response.refuse_time)
        console.print(
            f"The rules folder was refused at {rejected}. The rules above stay in force until it is fixed:",
            style="red",
        )
        problems = new_table("place", "problem", "help")
        for problem in response.problems:
            # Line 0 stands for the whole file, and '.' for the whole folder.
            place = "the folder" if problem.file == "." else problem.file
            if problem.line:
                place += f":{problem.line}:{problem.column}"
            add_row(problems, place, f"{problem.message} [{problem.code}]", problem.help)
        console.print(problems)
    _print_tests(console, response.tests)
    if response.warning_count:
        _print_warnings(console, response)


def _print_tests(console: Console, tests: PolicyTests) -> None:
    if not tests.HasField("test_time"):
        console.print("The tests of these rules have not run yet.")
        return
    if tests.not_run_reason:
        console.print(tests.not_run_reason[0].upper() + tests.not_run_reason[1:], style="yellow")
        return
    failed = f"{tests.failed_count:,} failed" if tests.failed_count else "all passed"
    untested = count(tests.untested_count, "rule")
    style = "yellow" if tests.failed_count or tests.untested_count else ""
    console.print(f"{count(tests.test_count, 'test')}: {failed}; {untested} not covered by any test", style=style)
    _print_places(console, "failure", tests.failures)
    _print_places(console, "untested", tests.untested_rules)


def _print_places(console: Console, heading: str, problems: Sequence[PolicyProblem]) -> None:
    table = new_table("place", heading)
    for problem in problems[:TEST_PROBLEMS_SHOWN]:
        add_row(table, f"{problem.file}:{problem.line}:{problem.column}", problem.message)
    if problems:
        console.print(table)
    if len(problems) > TEST_PROBLEMS_SHOWN:
        console.print("`truestock check` lists all of them.")


def _print_warnings(console: Console, response: GetPolicySetResponse) -> None:
    listed, warning_count = len(response.warnings), response.warning_count
    more = f" The first {listed}:" if listed < warning_count else ""
    verb = "is a value" if warning_count == 1 else "are values"
    console.print(
        f"{count(warning_count, 'warning')}: there {verb} that the rules name and the catalog does not have.{more}",
        style="yellow",
    )
    warnings = new_table("place", "warning", "help")
    for warning in response.warnings:
        add_row(warnings, f"{warning.file}:{warning.line}:{warning.column}", warning.message, warning.help)
    console.print(warnings)


def print_import(console: Console, report: ImportReport) -> None:
    """Prints how many rows an import read and what the service did with them."""
    table = new_table(f"import of {report.kind}", "rows", numbers=("rows",))
    add_row(table, "in the file", f"{report.rows:,}")
    if report.kind == "stock":
        add_row(table, "accepted", f"{report.accepted:,}")
        add_row(table, "imported before on the same day, ignored", f"{report.duplicates:,}")
        if report.observed:
            add_row(table, "compared only, another source owns the stock level", f"{report.observed:,}")
        add_row(table, "stale, without effect", f"{len(report.stale):,}")
        add_row(table, "quarantined", f"{len(report.quarantined):,}")
        add_row(table, "counted by people", f"{report.rows - report.computed:,}")
        add_row(table, "written by a program", f"{report.computed:,}")
    else:
        add_row(table, "created", f"{report.created:,}")
        add_row(table, "updated", f"{report.updated:,}")
    console.print(table)
    if report.duplicates:
        rows = count(report.duplicates, "row was", "rows were")
        console.print(
            f"{report.file}: {rows} imported before on the same day, by the location's date, and changed nothing. If "
            "this is a new count, add --again."
        )
    if report.by_default and report.accepted:
        rows = count(report.by_default, "figure was", "figures were")
        console.print(
            f"{rows} taken as counted by people. If a program wrote them, such as the export of a till, import with "
            "--computed, or declare the feed (computed) once."
        )
    if report.observed:
        rows = count(report.observed, "figure was", "figures were")
        console.print(
            f"{rows} only compared, because another source is declared as the owner of the stock level. To set the "
            "level, import with --source and the owner's name; `truestock feeds` lists the owners."
        )
