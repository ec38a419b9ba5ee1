"""What playing a file came to, as a table."""

from __future__ import annotations

from rich.console import Console

from service.cli.console import count, listed, row, table
from service.cli.files.order_replay import ReplayTotals
from service.cli.files.replay_provisioning import ProvisioningReport

SHOWN = 20
_WORDS = {
    "orders": "orders in the file",
    "lines": "lines in the file",
    "answered": "orders answered",
    "errors": "errors",
    "units_sold": "units sold",
    "units_allocated": "  of these allocated",
    "units_oversold": "  oversold: not there",
    "units_unfillable": "  there, but not allowed",
    "units_cancelled": "units cancelled",
    "split_orders": "orders in several shipments",
    "reviewed": "orders for a person to review",
    "nothing_to_cancel": "cancelling lines with nothing to cancel",
    "partly_cancelled": "cancelling lines with too little to cancel",
    "not_goods": "lines that are no goods",
    "unknown_countries": "orders to an unknown country",
    "already_played": "orders played before: answered again, sold once",
    "p50_ms": "half of the calls within, ms",
    "p99_ms": "99 % of the calls within, ms",
    "seconds": "seconds",
}


def print_totals(console: Console, totals: ReplayTotals, provisioned: ProvisioningReport | None) -> None:
    """The totals, then the lines that cancelled nothing or too little."""
    if provisioned is not None:
        known = f"; {count(provisioned.known_counts, 'count')} had been made before" if provisioned.known_counts else ""
        created = count(provisioned.products, "product")
        console.print(f"Provisioned: {created} created, {count(provisioned.counts, 'count')} accepted{known}.")
    figures = totals.as_dict()
    made = table("played", "", numbers=("",))
    for key, words in _WORDS.items():
        value = figures[key]
        row(made, words, "-" if value is None else f"{value:,}")
    console.print(made)
    for title, problems in (
        ("Nothing to cancel:", totals.nothing_to_cancel),
        ("Too little to cancel:", totals.partly_cancelled),
    ):
        if problems:
            console.print(title)
            for text in listed(problems, SHOWN):
                console.print(f"  {text}", markup=False)
    if totals.already_played:
        console.print(
            f"{count(totals.already_played, 'order')} had been played before; nothing was sold twice.", style="yellow"
        )
