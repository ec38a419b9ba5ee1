"""`truestock feeds`: lists the declared feeds."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from service.cli import options
from service.cli.client import Client, call
from service.cli.console import add_row, count, enum_word, new_table, print_json, stdout_console
from truestock.v1.catalog_service_pb2 import Feed, ListFeedsRequest


def feeds(server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Lists the declared feeds: what each source of stock levels reports, and how often.

    `truestock import feeds FILE.csv` declares feeds.

    \b
    Examples:
      truestock feeds
      truestock feeds --json
    """

    async def ask(client: Client) -> list[Feed]:
        feeds, _ = await client.list_entries(client.catalog.ListFeeds, ListFeedsRequest(), lambda page: page.feeds)
        return feeds

    declared = call(server, ask)
    if as_json:
        print_json(declared)
    else:
        _print(stdout_console(), declared)


def _print(console: Console, declared: Sequence[Feed]) -> None:
    if not declared:
        console.print(
            "No feed is declared, so every source reports units on hand. `truestock import feeds FILE.csv` declares "
            "feeds."
        )
        return
    meaning = ("role", "reports", "open orders", "counted by")
    table = new_table("source", *meaning, "locations", "products", "interval", "tolerance")
    for feed in declared:
        interval = count(feed.cadence_minutes, "minute") if feed.HasField("cadence_minutes") else "-"
        semantics = (
            enum_word(Feed.Role, feed.role, "ROLE_"),
            enum_word(Feed.Basis, feed.basis, "BASIS_"),
            enum_word(Feed.OpenOrders, feed.open_orders, "OPEN_ORDERS_"),
            "program" if feed.computed else "people",
        )
        tolerance = count(feed.tolerance_units, "unit")
        add_row(table, feed.source, *semantics, _names(feed.location_ids), _names(feed.skus), interval, tolerance)
    console.print(table)


def _names(names: Sequence[str]) -> str:
    """The first three names and the count of the others; `all` if there are none."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "all"
