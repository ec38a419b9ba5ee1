"""`truestock products`, which lists them, and `truestock products check`: what keeps them from being listed."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from service import limits
from service.cli import options
from service.cli.client import Client, call
from service.cli.commands.catalog import catalog_commands
from service.cli.console import count, json_value, print_json, progress_bar, say, stdout_console
from service.cli.files.csv_export import whole_file, write_rows
from service.cli.views.product_check_view import CSV_COLUMNS, csv_rows, print_unready, summary
from truestock.v1.product_check_pb2 import CheckProductsRequest, CheckProductsResponse, UnreadyProduct


class _SkusOrSubcommand(TyperGroup):
    """A group that takes the names of its subcommands as such, and all other words as SKUs."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the words after `products`."""
        if not args or args[0] not in self.commands:
            return super().parse_args(ctx, args)
        super().parse_args(ctx, [])
        ctx._protected_args, ctx.args = args[:1], args[1:]
        return list(ctx.args)


app = typer.Typer(
    name="products",
    cls=_SkusOrSubcommand,
    invoke_without_command=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "allow_interspersed_args": True},
)
app.callback(invoke_without_command=True)(catalog_commands.products)


@dataclass(slots=True)
class Checked:
    """What all pages of a check found together. `unready` has only the first products."""

    platform: str = ""
    policy_revision: str = ""
    product_count: int = 0
    unready_count: int = 0
    unready: list[UnreadyProduct] = field(default_factory=list)

    def add(self, page: CheckProductsResponse, limit: int) -> None:
        """Adds a page; at most `limit` products are kept."""
        self.platform, self.policy_revision = page.platform, page.policy_revision
        self.product_count += page.checked_count
        self.unready_count += len(page.unready)
        self.unready += page.unready[: limit - len(self.unready)]


@app.command()
def check(
    channel: Annotated[str, typer.Option("--channel", help="The channel whose platform's requirements count.")],
    skus: Annotated[
        list[str] | None, typer.Argument(metavar="[SKU…]", help="At most 500; all active products by default.")
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Also write a row for each problem, for whoever mends them."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=100_000, help="Maximum number of products to show; all are checked.")
    ] = 100,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Checks products against what a channel's platform requires of listings.

    The requirements are rules: files with 'kind: listing_requirements'. Each
    problem names the attribute, what is wrong with it, and who owns the data.
    The exit code is 1 if any product cannot be listed as it is.

    \b
    Examples:
      truestock products check --channel tiktok_shop
      truestock products check --channel amazon TRN-1205-MOS TRN-1205-TID
      truestock products check --channel shopify --csv to-mend.csv
    """
    checked = _check_all(CheckProductsRequest(channel_id=channel, skus=skus or []), limit, csv, server)
    if as_json:
        print_json(
            {
                "channel_id": channel,
                "platform": checked.platform,
                "policy_revision": checked.policy_revision,
                "checked_count": checked.product_count,
                "unready_count": checked.unready_count,
                "unready": json_value(checked.unready),
            }
        )
    else:
        print_unready(stdout_console(), checked.unready)
        say(*summary(channel, checked.product_count, checked.unready_count))
    if checked.unready_count > len(checked.unready):
        say(f"Only the first {count(len(checked.unready), 'product')} of these; --csv FILE writes all of them.")
    if csv is not None:
        say(f"{csv}: what is wrong with {count(checked.unready_count, 'product')}")
    raise typer.Exit(1 if checked.unready_count else 0)


def _check_all(request: CheckProductsRequest, limit: int, csv: Path | None, server: str) -> Checked:
    request.page_size = limits.PAGE_SIZE_LIMIT

    async def work(client: Client) -> Checked:
        checked = Checked()
        with ExitStack() as stack:
            stream = None if csv is None else stack.enter_context(whole_file(csv))
            bar = stack.enter_context(progress_bar("products"))
            task = bar.add_task(f"Checking for {request.channel_id}", total=None)
            if stream is not None:
                write_rows(stream, [CSV_COLUMNS])
            while True:
                page = await client.ask(client.catalog.CheckProducts, request)
                checked.add(page, limit)
                if stream is not None:
                    write_rows(stream, csv_rows(page.unready))
                if page.HasField("product_count"):
                    bar.update(task, total=page.product_count)
                bar.advance(task, page.checked_count)
                request.page_token = page.next_page_token
                if not page.next_page_token:
                    return checked

    return call(server, work)
