"""Commands that read CSV files: import and play."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from service.cli import options
from service.cli.client import Client, ServiceError, call
from service.cli.console import count, listed, output, print_json, progress, say
from service.cli.files.csv_columns import KINDS
from service.cli.files.csv_import import ImportFile, ImportReport, import_file, read_import
from service.cli.files.order_export import OrderColumns, OrderFile, read_orders
from service.cli.files.order_replay import OrderReplayer, ReplayTotals
from service.cli.files.replay_provisioning import ProvisioningReport, provision
from service.cli.views.order_replay_view import print_totals
from service.cli.views.stock_views import print_import

PROBLEMS_SHOWN = 50
MOST_UNITS = 100_000_000
INTERRUPTED = 130
"""The exit code that a shell expects of a program that was stopped with Ctrl-C."""

File = Annotated[Path, typer.Argument(metavar="FILE.csv", help="The file.", show_default=False)]


class ImportKind(StrEnum):
    """What a file to import holds."""

    LOCATIONS = "locations"
    PRODUCTS = "products"
    CHANNELS = "channels"
    FEEDS = "feeds"
    STOCK = "stock"


def column_help() -> str:
    """The columns of every kind of file, for `truestock import --help`."""
    parts = []
    for name, kind in KINDS.items():
        lines = [f"  {column.name}{' (required)' if column.required else ''}: {column.help}" for column in kind.columns]
        parts.append("\b\n" + f"Columns of {name}:\n" + "\n".join(lines))
    return "\n\n".join(parts)


IMPORT_HELP = f"""Imports a CSV file of locations, products, channels, feeds or stock counts: all of it or nothing.

Every row is checked before the first is written, and all problems are said at
once, as FILE:LINE:COLUMN. Locations, products, channels and feeds are whole
records: a row replaces what was known under its id. The same stock file again
does nothing; a later count is another file, or has another counted_at. Files
may be separated by comma, semicolon, tab or |, with columns in any order.

\b
Examples:
  truestock import locations locations.csv
  truestock import products products.csv --encoding cp1252
  truestock import feeds feeds.csv
  truestock import stock counts.csv --source stocktake-austin

{column_help()}
"""


def import_(
    what: Annotated[ImportKind, typer.Argument(help="What the file holds.")],
    file: File,
    source: Annotated[str, typer.Option("--source", help="Who counted; for stock.")] = "import",
    encoding: options.Encoding = "utf-8",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Imports a CSV file; IMPORT_HELP is what `--help` says."""
    report = call(server, _import(read_import(file, what.value, encoding=encoding), source))
    if as_json:
        print_json(report.as_dict())
    else:
        print_import(output(), report)
    say(*listed([*report.stale, *report.quarantined], PROBLEMS_SHOWN))
    if report.quarantined:
        say(f"{count(len(report.quarantined), 'row was', 'rows were')} kept aside; mend and import again.")
        raise typer.Exit(1)


def play(
    file: File,
    order: Annotated[str, typer.Option("--order", metavar="COLUMN", help="Column of the order's number.")],
    sku: Annotated[str, typer.Option("--sku", metavar="COLUMN", help="Column of the SKU.")],
    quantity: Annotated[str, typer.Option("--quantity", metavar="COLUMN", help="Column of the units.")],
    time: Annotated[str, typer.Option("--time", metavar="COLUMN", help="Column of the time, for --speed.")] = "",
    price: Annotated[str, typer.Option("--price", metavar="COLUMN", help="Column of the unit price.")] = "",
    country: Annotated[str, typer.Option("--country", metavar="COLUMN", help="Column of the country.")] = "",
    channel: options.ChannelId = "shopify",
    cancel_prefix: Annotated[
        str, typer.Option("--cancel-prefix", help="Orders whose number begins so cancel earlier sales.")
    ] = "",
    not_goods: Annotated[
        str, typer.Option("--not-goods", metavar="A,B", help="Codes that are no goods, such as postage: left out.")
    ] = "",
    provision: Annotated[
        int,
        typer.Option("--provision", min=0, max=MOST_UNITS, metavar="N", help="First create products, count N each."),
    ] = 0,
    speed: Annotated[
        float | None, typer.Option("--speed", min=0.001, metavar="X", help="Keep the file's timing, X times faster.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Play only the first orders.")] = None,
    currency: options.Currency = "USD",
    encoding: options.Encoding = "utf-8",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Plays a CSV of order lines through a running service, and adds up what it answers.

    Orders are played one after another, by their first line in the file, also
    where times go backwards; lines of one order belong together wherever they
    stand. A quantity below 0, or an order whose number begins with
    --cancel-prefix, cancels units of earlier sales of the same SKU in the
    file, newest first. Playing a file again sells nothing twice: the service
    answers as it did before. Times are ISO 8601 or, month first,
    12/1/2010 8:26.

    \b
    Example:
      truestock play orders.csv --order InvoiceNo --sku StockCode \\
        --quantity Quantity --time InvoiceDate --price UnitPrice \\
        --country Country --cancel-prefix C --not-goods D,POST,M \\
        --provision 500
    """
    columns = OrderColumns(order=order, sku=sku, quantity=quantity, time=time, price=price, country=country)
    if speed is not None and not time:
        raise typer.BadParameter("--speed needs --time, the column that says when")
    codes = frozenset(code.strip() for code in not_goods.split(",") if code.strip())
    orders = read_orders(file, columns, cancel_prefix=cancel_prefix, not_goods=codes, limit=limit, encoding=encoding)
    _Session(orders, channel, currency, speed, provision, as_json).run(server)


class _Session:
    """One run of `play`, from provisioning to the exit code."""

    def __init__(
        self, orders: OrderFile, channel_id: str, currency: str, speed: float | None, units: int, as_json: bool
    ) -> None:
        self.orders = orders
        self.channel_id = channel_id
        self.currency = currency
        self.speed = speed
        self.units = units
        self.as_json = as_json
        self.totals = ReplayTotals()
        self.provisioned: ProvisioningReport | None = None

    def run(self, server: str) -> None:
        failure: ServiceError | None = None
        try:
            call(server, self._play)
        except ServiceError as error:
            failure = error
        if failure is None or self.totals.answered:
            self._print()
        if failure is not None:
            raise failure
        if self.totals.interrupted:
            raise typer.Exit(INTERRUPTED)
        if self.totals.errors:
            raise typer.Exit(1)

    async def _play(self, client: Client) -> None:
        if self.units:
            await self._provision(client)
        with progress("orders") as bar:
            task = bar.add_task("Playing", total=len(self.orders.orders))
            player = OrderReplayer(
                client, self.channel_id, self.currency, self.speed, lambda: bar.advance(task), self.totals
            )
            await player.play(self.orders)

    async def _provision(self, client: Client) -> None:
        products = list(self.orders.products.values())
        with progress("counts") as bar:
            task = bar.add_task("Provisioning", total=None)
            self.provisioned = await provision(
                client,
                products,
                self.units,
                currency=self.currency,
                advance=lambda done: bar.advance(task, done),
            )

    def _print(self) -> None:
        if self.as_json:
            print_json(self.totals.as_dict())
        else:
            print_totals(output(), self.totals, self.provisioned)
        say(*listed(self.totals.errors, PROBLEMS_SHOWN))
        if self.totals.unknown_names:
            say("Products that the service does not know are created by --provision N; channels by `truestock import`.")
        if self.totals.interrupted:
            say("Stopped before the end: the figures are of what was played so far.")


def _import(file: ImportFile, source: str) -> Callable[[Client], Awaitable[ImportReport]]:
    async def work(client: Client) -> ImportReport:
        with progress("rows") as bar:
            task = bar.add_task(f"Importing {file.name}", total=len(file.records))
            return await import_file(client, file, source=source, advance=lambda done: bar.advance(task, done))

    return work
