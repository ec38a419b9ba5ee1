"""Commands on kits: list and delete."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from service.cli import options, unknown_names
from service.cli.client import Client, call
from service.cli.console import count, print_json, say, stdout_console
from service.cli.files.csv_export import CsvWriter
from service.cli.files.file_kinds import KINDS
from service.cli.listed_entries import say_more
from service.cli.views.catalog_views import print_kits
from truestock.v1.kit_pb2 import DeleteKitRequest, DeleteKitResponse, Kit, ListKitsRequest

app = typer.Typer(
    name="kits",
    invoke_without_command=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def kits(
    context: typer.Context,
    sku: Annotated[list[str] | None, typer.Option("--sku", help="Only this kit; repeatable.")] = None,
    component: Annotated[
        list[str] | None, typer.Option("--component", help="Only kits that contain this SKU; repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000_000, help="Maximum number of entries.")] = 1_000,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV with the columns that `truestock import` reads.")
    ] = False,
) -> None:
    """Lists kits with their components, by SKU. The subcommand delete deletes one.

    \b
    Examples:
      truestock kits
      truestock kits --component TRN-1205-MOS --csv
      truestock kits delete TRN-1290-KIT
    """
    if context.invoked_subcommand is not None:
        return
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other; give one of them")
    request = ListKitsRequest(skus=sku or [], component_skus=component or [])

    async def read(client: Client) -> tuple[list[Kit], bool, list[str]]:
        found, more = await client.list_entries(client.catalog.ListKits, request, lambda page: page.kits, limit)
        named = [] if found else [*(sku or []), *(component or [])]
        return found, more, await unknown_names.unknown_products(client, named)

    found, more, unknown = call(server, read)
    if as_json:
        print_json(found)
    elif as_csv:
        CsvWriter(KINDS["kits"], sys.stdout).write(found)
    else:
        print_kits(stdout_console(), found)
    say_more(len(found), "entry", "entries", more=more)
    unknown_names.refuse_unknown(unknown)


@app.command()
def delete(
    sku: Annotated[str, typer.Argument(metavar="SKU", help="The kit's SKU. It stays a product.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what uses it; delete nothing.")] = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Deletes a kit, and says which open orders use it. They keep the components that they were given.

    \b
    Examples:
      truestock kits delete TRN-1290-KIT --dry-run
      truestock kits delete TRN-1290-KIT
    """

    async def work(client: Client) -> DeleteKitResponse:
        return await client.ask(client.catalog.DeleteKit, DeleteKitRequest(sku=sku, validate_only=dry_run))

    response = call(server, work)
    if as_json:
        print_json(response)
        return
    say(f"{'Would delete' if dry_run else 'Deleted'} the kit {sku}.")
    if response.listing_count:
        say(f"{count(response.listing_count, 'listing', 'listings')} of its SKU stay.")
    if response.open_order_count:
        orders = [f"{order.channel_id}/{order.order_id}" for order in response.orders]
        more = response.open_order_count - len(orders)
        say(
            f"{count(response.open_order_count, 'open order uses', 'open orders use')} it and "
            f"{'keeps its' if response.open_order_count == 1 else 'keep their'} components: {', '.join(orders)}"
            f"{f' and {more:,} more' if more else ''}."
        )
