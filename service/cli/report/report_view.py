"""A report as tables, and as rows of a CSV file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.text import Text

from policies.reports.comparison import Verdict, compared
from policies.reports.rates import Figures
from service.cli.console import add_row, count, new_table
from service.cli.report.rate_words import (
    RATE_NAMES,
    all_remedies,
    cause,
    change_words,
    dimension_word,
    figures_of,
    headroom_words,
    main_parts,
    of_total,
    rate_text,
    window_of,
)
from service.cli.report.value_words import KIND_NAMES, KIND_WORDS, amount_of, has_prices, worth
from truestock.v1 import report_service_pb2 as report_pb

CSV_COLUMNS = (
    *("start_time", "end_time", "dimension", "key", "rate", "part"),
    *("count", "total_count", "order_count", "total_order_count"),
    *("value", "currency"),
)
_STYLES = {Verdict.BETTER: "green", Verdict.WORSE: "red"}


def print_report(console: Console, report: report_pb.GetReportResponse) -> None:
    """Prints the rates beside those of the window before, then by what the report is broken down by."""
    console.print(Text(window_of(report), "bold"))
    table = new_table("", "rate", "of", "than before", "mostly", numbers=("rate",))
    before = figures_of(report.previous_figures)
    for name, figures in figures_of(report.figures).items():
        change = compared(figures, before.get(name))
        words = Text(change_words(name, change), _STYLES.get(change.verdict, ""))
        add_row(table, RATE_NAMES[name], rate_text(figures), of_total(figures), words, main_parts(figures) or "-")
    console.print(table)
    _print_periods(console, report)
    for breakdown in report.breakdowns:
        _print_breakdown(console, breakdown)
    _print_values(console, report)
    _print_oversells(console, report)
    _print_headrooms(console, report)
    overdue = f", {report.overdue_exception_count:,} of them overdue" if report.overdue_exception_count else ""
    console.print(f"{count(report.open_exception_count, 'exception is', 'exceptions are')} open now{overdue}.")
    if report.unmet_demand:
        parts = ", ".join(f"{cause(part.name)} {part.count:,}" for part in report.unmet_demand)
        console.print(
            f"Not sold, because it was refused: {count(sum(x.count for x in report.unmet_demand), 'unit')} ({parts})."
        )


def _print_periods(console: Console, report: report_pb.GetReportResponse) -> None:
    if not report.periods:
        return
    names = list(figures_of(report.figures))
    table = new_table("from", *(RATE_NAMES[name] for name in names), numbers=[RATE_NAMES[name] for name in names])
    for period in report.periods:
        figures = figures_of(period.figures)
        add_row(table, _local(period.start_time, report.time_zone), *(_rate(figures[name]) for name in names))
    console.print(table)


def _print_breakdown(console: Console, breakdown: report_pb.ReportBreakdown) -> None:
    word = dimension_word(breakdown.dimension)
    if not breakdown.groups:
        console.print(f"Nothing was counted by {word}.")
        return
    names = list(figures_of(breakdown.groups[0].figures))
    table = new_table(word, *(RATE_NAMES[name] for name in names), numbers=[RATE_NAMES[name] for name in names])
    for group in breakdown.groups:
        figures = figures_of(group.figures)
        add_row(table, group.key, *(_rate(figures[name]) for name in names))
    console.print(table)
    if breakdown.is_truncated:
        console.print(f"Only the {len(breakdown.groups)} greatest of them.")


def _print_oversells(console: Console, report: report_pb.GetReportResponse) -> None:
    if not report.oversells:
        return
    table = new_table("oversold", "channel/order", "short", "cause", "by itself avoided by", numbers=("short",))
    for oversell in report.oversells:
        order = f"{oversell.channel_id}/{oversell.order_id}"
        add_row(table, oversell.sku, order, oversell.short_count, cause(oversell.cause), all_remedies(oversell))
    console.print(table)
    if report.oversells_are_truncated:
        console.print(f"Only the {len(report.oversells)} with the most units.")


def _print_values(console: Console, report: report_pb.GetReportResponse) -> None:
    if not has_prices(report.values):
        if report.values:
            console.print("Nothing is known of what these units were worth: their orders state no prices.")
        return
    table = new_table("units", "count", "worth", numbers=("count", "worth"))
    for value in report.values:
        add_row(table, KIND_NAMES.get(value.kind, "-"), f"{value.unit_count:,}", worth(value))
    console.print(table)


def _print_headrooms(console: Console, report: report_pb.GetReportResponse) -> None:
    if report.headrooms:
        table = new_table("channel", "before a penalty", "of allowed cancellations", numbers=("before a penalty",))
        for headroom in report.headrooms:
            add_row(table, headroom.channel_id, *headroom_words(headroom))
        console.print(table)


def _rate(figures: Figures) -> str:
    if figures.share is None:
        return f"{figures.count:,}" if figures.count else "-"
    return f"{rate_text(figures)} ({figures.count:,}/{figures.total:,})"


def csv_rows(report: report_pb.GetReportResponse) -> Iterator[tuple[object, ...]]:
    """The rows of CSV_COLUMNS: the whole window, its periods, and each group with its periods; and their parts."""
    whole = (_local(report.since_time, report.time_zone), _local(report.until_time, report.time_zone))
    yield from _rows(*whole, "", "", figures_of(report.figures))
    yield from _value_rows(*whole, "", "", report.values)
    for period in report.periods:
        yield from _rows(*_span(period, report.time_zone), "", "", figures_of(period.figures))
    for breakdown in report.breakdowns:
        word = dimension_word(breakdown.dimension)
        for group in breakdown.groups:
            yield from _rows(*whole, word, group.key, figures_of(group.figures))
            yield from _value_rows(*whole, word, group.key, group.values)
            for period in group.periods:
                yield from _rows(*_span(period, report.time_zone), word, group.key, figures_of(period.figures))


def _rows(start: str, end: str, dimension: str, key: str, rates: dict[str, Figures]) -> Iterator[tuple[object, ...]]:
    place = (start, end, dimension, key)
    for name, x in rates.items():
        yield (*place, name, "", x.count, x.total, x.orders, x.total_orders, "", "")
        for part in x.parts:
            yield (*place, name, part.name, part.count, x.total, part.orders, x.total_orders, "", "")


def _value_rows(
    start: str, end: str, dimension: str, key: str, values: Iterable[report_pb.ReportValue]
) -> Iterator[tuple[object, ...]]:
    """A row for each kind and currency, with the units as `count`; without a price both last cells are empty."""
    for x in values:
        worth = (amount_of(x.value), x.value.currency_code) if x.HasField("value") else ("", "")
        yield start, end, dimension, key, f"{KIND_WORDS.get(x.kind, '')}_value", "", x.unit_count, "", "", "", *worth


def _span(period: report_pb.ReportPeriod, zone: str) -> tuple[str, str]:
    return _local(period.start_time, zone), _local(period.end_time, zone)


def _local(moment: Timestamp, zone: str) -> str:
    """A time with its offset, such as `2026-11-27 00:00-06:00`, which spreadsheets and programs read."""
    return moment.ToDatetime(UTC).astimezone(ZoneInfo(zone)).isoformat(" ", "minutes")
