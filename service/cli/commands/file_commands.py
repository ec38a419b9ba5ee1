"""Commands that read CSV files: import and replay-orders."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from service.cli import options
from service.cli.client import Client, ServiceError, call
from service.cli.console import count, first_lines, print_json, progress_bar, say, stdout_console
from service.cli.files.csv_columns import KINDS
from service.cli.files.csv_import import ImportFile, ImportReport, StockImport, import_file, read_import
from service.cli.files.order_export import OrderColumns, OrderFile, read_orders
from service.cli.files.order_replay import OrderReplayer, ReplayTotals
from service.cli.files.replay_provisioning import ProvisioningReport, provision
from service.cli.views.order_replay_view import print_totals
from service.cli.views.stock_views import print_import

PROBLEMS_SHOWN = 50
MAX_PROVISIONED_UNITS = 100_000_000
EXIT_INTERRUPTED = 130
"""The exit code that shells expect of a program stopped with Ctrl-C."""

File = Annotated[Path, typer.Argument(metavar="FILE.csv", help="The CSV file.", show_default=False)]


class ImportKind(StrEnum):
    """The kinds of records that a file can hold."""

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


IMPORT_HELP = f"""Imports a CSV file of locations, products, channels, feeds or stock counts, all rows or none.

Every row is checked before the first is written, and every problem is reported
as FILE:LINE:COLUMN. A row of locations, products, channels or feeds replaces
the whole record with its id. Cells may be separated by comma, semicolon, tab
or |, with columns in any order.

A stock file counts once a day, by the date at each location: importing it
again on that day, by mistake or after a break, changes nothing, and the next
day the same figures are a new count. --again counts it again at once.

A stock file is taken as counted by people, unless its column computed, the
option --computed or the feed's declaration says that a program wrote it, such
as the nightly export of a till. Only a person's count is evidence that a
figure is right (stock.count_confidence).

\b
Examples:
  truestock import locations locations.csv
  truestock import products products.csv --encoding cp1252
  truestock import feeds feeds.csv
  truestock import stock counts.csv --source stocktake-austin
  truestock import stock export.csv --source till-export --computed
  truestock import stock counts.csv --source stocktake-austin --again

{column_help()}
"""


def import_(
    what: Annotated[ImportKind, typer.Argument(help="The kind of records in the file.")],
    file: File,
    source: Annotated[str, typer.Option("--source", help="Source of the counts, such as stocktake-austin.")] = "import",
    computed: Annotated[
        bool | None,
        typer.Option(
            "--computed/--counted",
            help="Stock figures are written by a program, or counted by people. Default: as the feed declares.",
            show_default=False,
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Count a stock file again that was imported on the same day.")
    ] = False,
    encoding: options.Encoding = "utf-8",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Imports a CSV file; `--help` prints IMPORT_HELP."""
    if what is not ImportKind.STOCK and (again or computed is not None):
        raise typer.BadParameter("--again, --computed and --counted are for `truestock import stock`")
    stock = StockImport(source, computed, again)
    report = call(server, _import(read_import(file, what.value, encoding=encoding), stock))
    if as_json:
        print_json(report.as_dict())
    else:
        print_import(stdout_console(), report)
    say(*first_lines([*report.stale, *report.quarantined], PROBLEMS_SHOWN))
    if report.dropped:
        dropped = count(report.dropped, "older quarantined row was", "older quarantined rows were")
        say(f"{dropped} dropped: the quarantine keeps no more of this source.")
    if report.quarantined:
        quarantined = count(len(report.quarantined), "row was", "rows were")
        say(f"{quarantined} quarantined; correct the file and import it again.")
        raise typer.Exit(1)


def replay_orders(
    file: File,
    order: Annotated[str, typer.Option("--order", metavar="COLUMN", help="Column of the order number.")],
    sku: Annotated[str, typer.Option("--sku", metavar="COLUMN", help="Column of the SKU.")],
    quantity: Annotated[str, typer.Option("--quantity", metavar="COLUMN", help="Column of the units.")],
    time: Annotated[str, typer.Option("--time", metavar="COLUMN", help="Column of the time, for --speed.")] = "",
    price: Annotated[str, typer.Option("--price", metavar="COLUMN", help="Column of the unit price.")] = "",
    country: Annotated[str, typer.Option("--country", metavar="COLUMN", help="Column of the country.")] = "",
    channel: options.ChannelId = "shopify",
    cancel_prefix: Annotated[
        str, typer.Option("--cancel-prefix", help="Orders whose number starts with this cancel earlier sales.")
    ] = "",
    exclude_skus: Annotated[
        str, typer.Option("--exclude-skus", metavar="A,B", help="SKUs to leave out, such as postage and discounts.")
    ] = "",
    provision: Annotated[
        int,
        typer.Option(
            "--provision",
            min=0,
            max=MAX_PROVISIONED_UNITS,
            metavar="N",
            help="First create the products, with N units each.",
        ),
    ] = 0,
    complete: Annotated[
        bool, typer.Option("--complete", help="With --provision: new products state weight, size and picture.")
    ] = False,
    speed: Annotated[
        float | None,
        typer.Option("--speed", min=0.001, metavar="X", help="Follow the times in the file, X times faster."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Replay only the first orders.")] = None,
    currency: options.Currency = "USD",
    encoding: options.Encoding = "utf-8",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Replays a CSV export of order lines through a running service, and counts the results.

    Orders are sent one after another, in the order of their first lines in the
    file; lines of one order may be apart. A quantity below 0, or an order
    number that starts with --cancel-prefix, cancels units of earlier sales of
    the same SKU in the file, newest first. Replaying a file again sells
    nothing twice: the service returns its earlier results. Times are ISO 8601
    or, month first, 12/1/2010 8:26. Units that are short are listed by cause,
    and those that are in stock by the rule that keeps them: a rule may block
    new products without weight, size or picture, which --complete states.

    \b
    Examples:
      truestock replay-orders orders.csv --order Order --sku SKU --quantity Units
      truestock replay-orders orders.csv --order InvoiceNo --sku StockCode \\
        --quantity Quantity --time InvoiceDate --price UnitPrice \\
        --country Country --cancel-prefix C --exclude-skus D,POST,M \\
        --provision 500 --complete
    """
    columns = OrderColumns(order=order, sku=sku, quantity=quantity, time=time, price=price, country=country)
    if speed is not None and not time:
        raise typer.BadParameter("--speed needs --time, the column of the order times")
    if complete and not provision:
        raise typer.BadParameter("--complete needs --provision, which creates the products")
    skus = frozenset(text.strip() for text in exclude_skus.split(",") if text.strip())
    orders = read_orders(file, columns, cancel_prefix=cancel_prefix, excluded_skus=skus, limit=limit, encoding=encoding)
    run = _ReplayRun(orders, channel, currency, speed=speed, units=provision, complete=complete, as_json=as_json)
    run.run(server)


class _ReplayRun:
    """One run of `replay-orders`, from provisioning to the exit code."""

    def __init__(
        self,
        orders: OrderFile,
        channel_id: str,
        currency: str,
        *,
        speed: float | None,
        units: int,
        complete: bool,
        as_json: bool,
    ) -> None:
        self.orders = orders
        self.channel_id = channel_id
        self.currency = currency
        self.speed = speed
        self.units = units
        self.complete = complete
        self.as_json = as_json
        self.totals = ReplayTotals()
        self.provisioned: ProvisioningReport | None = None

    def run(self, server: str) -> None:
        failure: ServiceError | None = None
        try:
            call(server, self._replay)
        except ServiceError as error:
            failure = error
        if failure is None or self.totals.answered:
            self._print()
        if failure is not None:
            raise failure
        if self.totals.interrupted:
            raise typer.Exit(EXIT_INTERRUPTED)
        if self.totals.errors:
            raise typer.Exit(1)

    async def _replay(self, client: Client) -> None:
        if self.units:
            await self._provision(client)
        with progress_bar("orders") as bar:
            task = bar.add_task("Replaying", total=len(self.orders.orders))
            replayer = OrderReplayer(
                client, self.channel_id, self.currency, self.speed, lambda: bar.advance(task), self.totals
            )
            await replayer.replay(self.orders)

    async def _provision(self, client: Client) -> None:
        products = list(self.orders.products.values())
        with progress_bar("counts") as bar:
            task = bar.add_task("Provisioning", total=None)
            self.provisioned = await provision(
                client,
                products,
                self.units,
                currency=self.currency,
                complete=self.complete,
                advance=lambda done: bar.advance(task, done),
            )

    def _print(self) -> None:
        if self.as_json:
            print_json(self.totals.as_dict())
        else:
            print_totals(stdout_console(), self.totals, self.provisioned)
        say(*first_lines(self.totals.errors, PROBLEMS_SHOWN))
        if self.totals.unknown_names:
            say("--provision N creates products that do not exist yet; `truestock import` creates channels.")
        if self.totals.interrupted:
            say("Stopped early: the totals cover the orders replayed so far.")


def _import(file: ImportFile, stock: StockImport) -> Callable[[Client], Awaitable[ImportReport]]:
    async def work(client: Client) -> ImportReport:
        with progress_bar("rows") as bar:
            task = bar.add_task(f"Importing {file.name}", total=len(file.records))
            return await import_file(client, file, stock=stock, advance=lambda done: bar.advance(task, done))

    return work
