"""`truestock replay-orders`: sends the orders of a CSV file to a running service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli import options
from service.cli.client import Client, ServiceError, call
from service.cli.console import EXIT_INTERRUPTED, UserError, first_lines, print_json, progress_bar, say, stdout_console
from service.cli.replay.order_export import OrderColumns, OrderFile, read_orders
from service.cli.replay.order_replay import OrderReplayer, ReplayTotals
from service.cli.replay.replay_provisioning import ProvisioningReport, provision
from service.cli.views.order_replay_view import print_totals

PROBLEMS_SHOWN = 50
MAX_PROVISIONED_UNITS = 100_000_000

File = Annotated[Path, typer.Argument(metavar="FILE.csv", help="The CSV file.", show_default=False)]


def replay_orders(
    file: File,
    order: Annotated[str, typer.Option("--order", metavar="COLUMN", help="Column of the order number.")],
    sku: Annotated[str, typer.Option("--sku", metavar="COLUMN", help="Column of the SKU.")],
    quantity: Annotated[str, typer.Option("--quantity", metavar="COLUMN", help="Column of the units.")],
    time: Annotated[str, typer.Option("--time", metavar="COLUMN", help="Column of the time, for --speed.")] = "",
    price: Annotated[str, typer.Option("--price", metavar="COLUMN", help="Column of the unit price.")] = "",
    country: Annotated[str, typer.Option("--country", metavar="COLUMN", help="Column of the country.")] = "",
    only_locations: Annotated[
        str, typer.Option("--only-locations", metavar="COLUMN", help="Column of the locations that may ship a line.")
    ] = "",
    not_locations: Annotated[
        str, typer.Option("--not-locations", metavar="COLUMN", help="Column of those that must not; with commas.")
    ] = "",
    keep_together: Annotated[
        str, typer.Option("--keep-together", metavar="COLUMN", help="Column of the groups that ship from one location.")
    ] = "",
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
    decimal: options.Decimals = None,
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
    columns = OrderColumns(
        order=order,
        sku=sku,
        quantity=quantity,
        time=time,
        price=price,
        country=country,
        only_locations=only_locations,
        not_locations=not_locations,
        keep_together=keep_together,
    )
    if speed is not None and not time:
        raise typer.BadParameter("--speed needs --time, the column of the order times")
    if complete and not provision:
        raise typer.BadParameter("--complete needs --provision, which creates the products")
    skus = frozenset(text.strip() for text in exclude_skus.split(",") if text.strip())
    orders = read_orders(
        file,
        columns,
        cancel_prefix=cancel_prefix,
        excluded_skus=skus,
        limit=limit,
        decimal=decimal,
        encoding=encoding,
    )
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
            say(*first_lines(self.totals.errors, PROBLEMS_SHOWN))
            raise failure
        errors = self._errors()
        if self.totals.interrupted:
            text = "\n".join([*errors, "Stopped early: the totals cover the orders replayed so far."])
            raise UserError(text, code="INTERRUPTED", exit_code=EXIT_INTERRUPTED)
        if errors:
            fields = [problem.as_field() for problem in self.totals.errors[:PROBLEMS_SHOWN]]
            raise UserError("\n".join(errors), code="ORDERS_FAILED", fields=fields)

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

    def _errors(self) -> list[str]:
        lines = first_lines(self.totals.errors, PROBLEMS_SHOWN)
        if self.totals.unknown_names:
            lines.append("--provision N creates products that do not exist yet; `truestock import` creates channels.")
        return lines
