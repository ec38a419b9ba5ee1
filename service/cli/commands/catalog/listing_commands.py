"""Commands on listings: list and delete."""

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
from service.cli.views.catalog_views import print_listings
from truestock.v1.listing_pb2 import DeleteListingRequest, DeleteListingResponse, Listing, ListListingsRequest

ORDERS_SHOWN = 10

app = typer.Typer(
    name="listings",
    invoke_without_command=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def listings(
    context: typer.Context,
    channel: Annotated[list[str] | None, typer.Option("--channel", help="Only this channel; repeatable.")] = None,
    item: Annotated[list[str] | None, typer.Option("--item", help="Only this item; repeatable.")] = None,
    sku: Annotated[list[str] | None, typer.Option("--sku", help="Only items of this SKU; repeatable.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000_000, help="Maximum number of entries.")] = 1_000,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV with the columns that `truestock import` reads.")
    ] = False,
) -> None:
    """Lists which items of channels are which SKUs, by channel and item. The subcommand delete deletes one.

    \b
    Examples:
      truestock listings
      truestock listings --channel tiktok_shop --sku TRN-1205-MOS
      truestock listings --item 1729384756102938475 --csv
      truestock listings delete tiktok_shop 1729384756102938475
    """
    if context.invoked_subcommand is not None:
        return
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other; give one of them")
    request = ListListingsRequest(channel_ids=channel or [], item_ids=item or [], skus=sku or [])

    async def read(client: Client) -> tuple[list[Listing], bool, list[str]]:
        found, more = await client.list_entries(client.catalog.ListListings, request, lambda page: page.listings, limit)
        named: tuple[list[str], list[str]] = ([], []) if found else (sku or [], channel or [])
        return found, more, await unknown_names.without_entries(client, skus=named[0], channel_ids=named[1])

    found, more, unknown = call(server, read)
    if as_json:
        print_json(found)
    elif as_csv:
        CsvWriter(KINDS["listings"], sys.stdout).write(found)
    else:
        print_listings(stdout_console(), found)
    say_more(len(found), "entry", "entries", more=more)
    unknown_names.refuse_unknown(unknown)


@app.command()
def delete(
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="The channel that sells the item.")],
    item: Annotated[str, typer.Argument(metavar="ITEM", help="The channel's id of the item.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the listing; delete nothing.")] = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Deletes the listing of an item. Orders that have the item stand as they are.

    \b
    Examples:
      truestock listings delete tiktok_shop 1729384756102938475 --dry-run
      truestock listings delete tiktok_shop 1729384756102938475
    """
    request = DeleteListingRequest(channel_id=channel, item_id=item, validate_only=dry_run)

    async def ask(client: Client) -> DeleteListingResponse:
        return await client.ask(client.catalog.DeleteListing, request)

    response = call(server, ask)
    if as_json:
        print_json(response)
        return
    listing = response.listing
    units = count(listing.unit_count, "unit")
    done = "Would delete" if dry_run else "Deleted"
    say(f"{done} item {listing.item_id} of {listing.channel_id}: {units} of {listing.sku}.")
    if response.open_order_count:
        names = [f"{order.channel_id}/{order.order_id}" for order in response.orders[:ORDERS_SHOWN]]
        more = response.open_order_count - len(names)
        shown = ", ".join(names) + (f" and {more} more" if more else "")
        say(f"Unchanged: {count(response.open_order_count, 'open order')} with it: {shown}.")
