"""The totals of an order replay as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console

from service.cli.console import add_row, count, first_lines, new_table
from service.cli.replay.order_replay import ReplayTotals
from service.cli.replay.replay_provisioning import ProvisioningReport

SHOWN = 20
_WORDS = {
    "orders": "orders in the file",
    "lines": "lines in the file",
    "answered": "orders answered",
    "errors": "errors",
    "units_sold": "units sold",
    "units_allocated": "  of these allocated",
    "units_oversold": "  oversold: no permitted location has them",
    "units_withheld": "  in stock, but kept by a buffer or a block",
    "units_unfillable": "  in stock, but left out by limits on splitting",
    "units_cancelled": "units cancelled",
    "split_orders": "orders in several shipments",
    "needs_review": "orders that need manual intervention",
    "nothing_to_cancel": "cancellations without units to cancel",
    "partly_cancelled": "cancellations with too few units to cancel",
    "excluded_lines": "lines excluded by --exclude-skus",
    "unknown_countries": "orders with an unknown country",
    "duplicate_orders": "orders replayed before: not sold twice",
    "p50_ms": "median call time, ms",
    "p99_ms": "99th percentile of call times, ms",
    "seconds": "duration, s",
}


_CAUSES = {
    "unmapped": "the SKU is not in the catalog",
    "rejected": "a location did not have them",
    "count_correction": "a count found fewer",
    "race": "other channels sold them after the figure was published",
    "stale_feed": "the stock figure was older than its feed allows",
    "not_told": "no figure was published to the channel",
    "over_published": "more was published than there was",
    "not_applied": "the channel sold more than was published",
}
"""What the causes of oversells mean."""


def _reasons(key: str, short_by_reason: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Why units of one row are short, most units first: a cause of an oversell, or the rules that keep the units."""
    for reason, units in sorted(short_by_reason.items(), key=lambda pair: (-pair[1], pair[0])):
        cause, _, rules = reason.partition(" ")
        words = cause.replace("_", " ")
        if key == "units_oversold" and cause in _CAUSES:
            yield f"    {words}: {_CAUSES[cause]}", units
        elif key == "units_withheld" and rules:
            yield f"    {words} {rules}", units


def print_totals(console: Console, totals: ReplayTotals, provisioned: ProvisioningReport | None) -> None:
    """Prints the totals, then the cancellations without an earlier sale of enough units."""
    if provisioned is not None:
        duplicates = (
            f"; {count(provisioned.duplicate_counts, 'count was', 'counts were')} recorded before"
            if provisioned.duplicate_counts
            else ""
        )
        created = count(provisioned.products, "product")
        console.print(f"Provisioned: {created} created, {count(provisioned.counts, 'count')} accepted{duplicates}.")
        if provisioned.incomplete_products:
            console.print(
                f"{count(provisioned.incomplete_products, 'product')} existed before without weight, size or picture. "
                "--complete changes only new products, so complete these with `truestock import products`."
            )
    values = totals.as_dict()
    table = new_table("order replay", "", numbers=("",))
    for key, words in _WORDS.items():
        value = values[key]
        add_row(table, words, "-" if value is None else f"{value:,}")
        for reason, units in _reasons(key, totals.short_by_reason):
            add_row(table, reason, f"{units:,}")
    console.print(table)
    for title, problems in (
        ("Nothing to cancel:", totals.nothing_to_cancel),
        ("Too few units to cancel:", totals.partly_cancelled),
    ):
        if problems:
            console.print(title)
            for text in first_lines(problems, SHOWN):
                console.print(f"  {text}", markup=False)
    if totals.duplicate_orders:
        console.print(
            f"{count(totals.duplicate_orders, 'order was', 'orders were')} replayed before; nothing was sold twice.",
            style="yellow",
        )
