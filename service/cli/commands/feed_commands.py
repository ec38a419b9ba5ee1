"""The command that lists declared feeds."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from service.cli import options
from service.cli.client import Client, call
from service.cli.console import count, enum_word, output, print_json, row, table
from truestock.v1.catalog_service_pb2 import Feed, ListFeedsRequest


def feeds(server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Lists the declared feeds: what the numbers of each source of stock figures mean.

    `truestock import feeds FILE.csv` declares them.

    \b
    Examples:
      truestock feeds
      truestock feeds --json
    """

    async def ask(client: Client) -> list[Feed]:
        feeds, _ = await client.listed(client.catalog.ListFeeds, ListFeedsRequest(), lambda page: page.feeds)
        return feeds

    found = call(server, ask)
    if as_json:
        print_json(found)
    else:
        _print(output(), found)


def _print(console: Console, found: Sequence[Feed]) -> None:
    if not found:
        console.print("No feed is declared: every source counts what is on hand. `truestock import feeds FILE.csv`.")
        return
    made = table("source", "role", "counts", "open orders", "locations", "products", "speaks every", "tolerance")
    for feed in found:
        every = count(feed.cadence_minutes, "minute") if feed.HasField("cadence_minutes") else "-"
        means = (
            enum_word(Feed.Role.Name(feed.role), "ROLE_"),
            enum_word(Feed.Basis.Name(feed.basis), "BASIS_"),
            enum_word(Feed.OpenOrders.Name(feed.open_orders), "OPEN_ORDERS_"),
        )
        tolerance = count(feed.tolerance_units, "unit")
        row(made, feed.source, *means, _named(feed.location_ids), _named(feed.skus), every, tolerance)
    console.print(made)


def _named(names: Sequence[str]) -> str:
    """The first few names; all of them are named where none is."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "all"
