"""`truestock channel-figures`: what a channel shows, beside what was published to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from service.cli import options
from service.cli.client import Client, call
from service.cli.console import add_row, format_time, new_table, print_json, say, stdout_console
from service.cli.listed_entries import say_more
from truestock.v1.channel_figure_pb2 import ListChannelFiguresRequest, ShownFigure


def channel_figures(
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="The channel.")],
    sku: Annotated[list[str] | None, typer.Option("--sku", help="Only this SKU; repeatable.")] = None,
    history: Annotated[bool, typer.Option("--history", help="Also earlier figures, of the last 30 days.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Maximum number of figures.")] = 200,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Shows what a channel was seen to show, beside what it was told that it may sell.

    \b
    Examples:
      truestock channel-figures shopify --sku TRN-1205-MOS --history
    """
    request = ListChannelFiguresRequest(channel_id=channel, skus=sku or [], include_history=history)

    async def ask(client: Client) -> tuple[list[ShownFigure], bool]:
        return await client.list_entries(
            client.availability.ListChannelFigures, request, lambda page: page.figures, limit
        )

    figures, more = call(server, ask)
    if as_json:
        print_json(figures)
    elif not figures:
        say(f"No figure of {channel} was observed in the last 30 days.")
    else:
        _print_figures(figures)
    say_more(len(figures), "figure", more=more)


def _print_figures(figures: Sequence[ShownFigure]) -> None:
    table = new_table("SKU", "item", "outlet", "shown", "from", "to", "published", numbers=("shown", "published"))
    for shown in figures:
        figure = shown.figure
        add_row(
            table,
            figure.sku,
            figure.item_id or "-",
            figure.outlet_id or "-",
            figure.shown_count,
            format_time(shown.first_observe_time),
            format_time(figure.observe_time),
            shown.published_count if shown.HasField("published_count") else "-",
        )
    stdout_console().print(table)
