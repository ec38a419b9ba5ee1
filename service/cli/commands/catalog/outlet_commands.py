"""Commands on pools and outlets: list and delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from service.cli import options, unknown_names
from service.cli.client import Client, call
from service.cli.commands.catalog.catalog_commands import Csv, Limit, Listing, check_form, show
from service.cli.console import count, print_json, say
from service.cli.views import outlet_views
from truestock.v1.outlet_pb2 import (
    DeleteOutletRequest,
    DeleteOutletResponse,
    DeletePoolRequest,
    DeletePoolResponse,
    ListOutletsRequest,
    ListPoolsRequest,
    Outlet,
    Pool,
)

pools_app, outlets_app = (
    typer.Typer(
        name=name,
        invoke_without_command=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in ("pools", "outlets")
)
ORDERS_SHOWN = 5
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what uses it, delete nothing.")]


@pools_app.callback(invoke_without_command=True)
def pools(
    context: typer.Context,
    pool: Annotated[list[str] | None, typer.Option("--pool", help="Only this pool; repeatable.")] = None,
    location: Annotated[
        list[str] | None, typer.Option("--location", help="Only pools with this location; repeatable.")
    ] = None,
    limit: Limit = 1_000,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
    as_csv: Csv = False,
) -> None:
    """Lists pools, which are named sets of locations, by id. The subcommand delete deletes one.

    \b
    Examples:
      truestock pools
      truestock pools --location store-austin
      truestock pools delete all-stores --dry-run
    """
    if context.invoked_subcommand is not None:
        return
    check_form(as_json=as_json, as_csv=as_csv)
    request = ListPoolsRequest(pool_ids=pool or [], location_ids=location or [])

    async def read(client: Client) -> Listing[Pool]:
        found, more = await client.list_entries(client.catalog.ListPools, request, lambda page: page.pools, limit)
        known = {found_pool.pool_id for found_pool in found}
        missing = [] if location else [pool_id for pool_id in pool or [] if pool_id not in known]
        unknown = unknown_names.sentences("pool", missing, {})
        return Listing(found, more, unknown + await unknown_names.unknown_locations(client, location or []))

    show("pools", call(server, read), outlet_views.print_pools, as_json=as_json, as_csv=as_csv)


@outlets_app.callback(invoke_without_command=True)
def outlets(
    context: typer.Context,
    channel: Annotated[
        list[str] | None, typer.Option("--channel", help="Only outlets of this channel; repeatable.")
    ] = None,
    pool: Annotated[
        list[str] | None, typer.Option("--pool", help="Only outlets that are this pool; repeatable.")
    ] = None,
    limit: Limit = 1_000,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
    as_csv: Csv = False,
) -> None:
    """Lists what channels call their locations or warehouses. The subcommand delete deletes one.

    \b
    Examples:
      truestock outlets
      truestock outlets --channel tiktok_shop
      truestock outlets delete shopify online --dry-run
    """
    if context.invoked_subcommand is not None:
        return
    check_form(as_json=as_json, as_csv=as_csv)
    request = ListOutletsRequest(channel_ids=channel or [], pool_ids=pool or [])

    async def read(client: Client) -> Listing[Outlet]:
        found, more = await client.list_entries(client.catalog.ListOutlets, request, lambda page: page.outlets, limit)
        return Listing(found, more, await unknown_names.unknown_channels(client, channel or []))

    show("outlets", call(server, read), outlet_views.print_outlets, as_json=as_json, as_csv=as_csv)


@pools_app.command("delete")
def delete_pool(
    pool_id: Annotated[str, typer.Argument(metavar="POOL", help="The pool.")],
    dry_run: DryRun = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Deletes a pool. Outlets that are this pool stay, without locations.

    \b
    Examples:
      truestock pools delete all-stores --dry-run
    """

    async def work(client: Client) -> DeletePoolResponse:
        request = DeletePoolRequest(pool_id=pool_id, validate_only=dry_run)
        response: DeletePoolResponse = await client.ask(client.catalog.DeletePool, request)
        return response

    response = call(server, work)
    if as_json:
        print_json(response)
        return
    named = ", ".join(f"{outlet.outlet_id} of {outlet.channel_id}" for outlet in response.outlets)
    say(f"{'Would delete' if dry_run else 'Deleted'} pool {pool_id}.")
    if named:
        say(f"It is {count(response.outlet_count, 'outlet')}: {named}; nothing of them is sellable without it.")
    _say_orders(response.open_order_count, ())


@outlets_app.command("delete")
def delete_outlet(
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="The channel.")],
    outlet_id: Annotated[str, typer.Argument(metavar="OUTLET", help="What the channel calls it.")],
    dry_run: DryRun = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Deletes an outlet of a channel.

    \b
    Examples:
      truestock outlets delete shopify online --dry-run
    """

    async def work(client: Client) -> DeleteOutletResponse:
        request = DeleteOutletRequest(channel_id=channel, outlet_id=outlet_id, validate_only=dry_run)
        response: DeleteOutletResponse = await client.ask(client.catalog.DeleteOutlet, request)
        return response

    response = call(server, work)
    if as_json:
        print_json(response)
        return
    say(f"{'Would delete' if dry_run else 'Deleted'} outlet {outlet_id} of {channel}.")
    _say_orders(response.open_order_count, response.order_ids)


def _say_orders(order_count: int, order_ids: Sequence[str]) -> None:
    if order_count:
        shown = ", ".join(order_ids[:ORDERS_SHOWN]) + (" …" if order_count > ORDERS_SHOWN else "")
        orders = count(order_count, "open order keeps", "open orders keep")
        say(f"{orders} the locations that it had{f': {shown}' if order_ids else ''}.")
