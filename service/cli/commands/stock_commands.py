"""Commands that only read: availability, stock, policies."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli import options, unknown_names
from service.cli.client import CANDIDATE_CALL_SECONDS, Client, call
from service.cli.console import print_json, stdout_console
from service.cli.listed_entries import say_more
from service.cli.views.outlet_views import print_outlet_figures
from service.cli.views.stock_views import (
    print_availability,
    print_delivery_days,
    print_policies,
    print_stock,
)
from truestock.v1.availability_service_pb2 import CheckAvailabilityRequest, CheckAvailabilityResponse
from truestock.v1.order_pb2 import FULFILLMENT_METHOD_PICKUP, FULFILLMENT_METHOD_SHIP
from truestock.v1.policy_service_pb2 import GetPolicySetRequest, GetPolicySetResponse
from truestock.v1.stock_service_pb2 import ListStockLevelsRequest, StockLevel

if TYPE_CHECKING:
    from service.cli.stock_overview import StockOverview


def availability(
    channel: options.ChannelId,
    skus: Annotated[list[str] | None, typer.Argument(metavar="[SKU…]", help="SKUs, at most 500 with items.")] = None,
    item: Annotated[
        list[str] | None, typer.Option("--item", help="One of the channel's items, by its id; repeatable.")
    ] = None,
    country: options.Country = "",
    region: options.Region = "",
    postal_code: options.PostalCode = "",
    lat: options.Latitude = None,
    lon: options.Longitude = None,
    pickup: Annotated[bool, typer.Option("--pickup", help="For pickup orders.")] = False,
    pickup_at: Annotated[
        str, typer.Option("--pickup-at", help="The most that one order gets which is picked up at this location.")
    ] = "",
    locations: Annotated[
        bool, typer.Option("--locations", help="Also show each location and the rules that fired.")
    ] = False,
    outlets: Annotated[
        bool,
        typer.Option("--outlets", help="Also show each outlet of the channel, and what the other units are."),
    ] = False,
    dates: Annotated[
        bool, typer.Option("--dates", help="Also show how many one order can get by which day; needs --country.")
    ] = False,
    candidate: options.Candidate = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Shows how many units of each SKU, or of each of its items, a channel may sell now.

    The exit code is 3 if the catalog does not have one of the SKUs; the others
    are shown all the same.

    \b
    Examples:
      truestock availability TRN-1205-MOS QLM-1404-CRE --channel tiktok_shop
      truestock availability TRN-1205-MOS --channel shopify --country US \\
        --locations
      truestock availability TRN-1205-MOS --channel tiktok_shop --outlets
      truestock availability TRN-1205-MOS --channel shopify --country US \\
        --lat 30.3 --lon -97.7 --dates
      truestock availability TRN-1205-MOS --channel shopify \\
        --candidate 1f6c0c6ee20be2a3
      truestock availability TRN-1205-MOS --channel shopify \\
        --pickup-at store-austin
      truestock availability --channel tiktok_shop --item 1729583201114820002
    """
    if not skus and not item:
        raise typer.BadParameter("give at least one SKU, or one --item")
    request = CheckAvailabilityRequest(
        channel_id=channel,
        skus=skus or [],
        item_ids=item or [],
        method=FULFILLMENT_METHOD_PICKUP if pickup or pickup_at else FULFILLMENT_METHOD_SHIP,
        pickup_location_id=pickup_at,
        destination=options.destination(country, region, postal_code, lat, lon),
        include_locations=locations,
        include_outlets=outlets,
        include_delivery_days=dates,
        internal=True,
        candidate_revision=candidate,
    )

    async def ask(client: Client) -> tuple[CheckAvailabilityResponse, list[str]]:
        client.call_seconds = CANDIDATE_CALL_SECONDS if candidate else client.call_seconds
        response = await client.ask(client.availability.CheckAvailability, request)
        near = await client.near_skus(response.unknown_skus)
        unknown = unknown_names.sentences("product", response.unknown_skus, near)
        return response, [*unknown, *unknown_names.sentences("listing of item", response.unknown_item_ids, {})]

    response, unknown = call(server, ask)
    if as_json:
        print_json(response)
    else:
        print_availability(stdout_console(), response, channel)
        if dates:
            print_delivery_days(stdout_console(), response.availabilities)
        if outlets:
            print_outlet_figures(stdout_console(), response.availabilities)
    unknown_names.refuse_unknown(unknown)


def stock(
    skus: Annotated[
        list[str] | None, typer.Argument(metavar="[SKU…]", help="At most 500; all SKUs by default.")
    ] = None,
    location: Annotated[list[str] | None, typer.Option("--location", help="Only this location; repeatable.")] = None,
    channel: Annotated[str, typer.Option("--channel", help="With one SKU: also what this channel may sell.")] = "",
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=1_000_000, help="Maximum number of stock levels.")
    ] = 1_000,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lists stock levels, by SKU and location.

    For a single SKU it also shows the source and age of each level, the
    orders that units are promised to, incoming units, and when each location
    would ship a new order.

    \b
    Examples:
      truestock stock
      truestock stock TRN-1205-MOS
      truestock stock TRN-1205-MOS --channel tiktok_shop
      truestock stock TRN-1205-MOS QLM-1404-CRE --location store-austin
      truestock stock --limit 100000 --json
    """
    single = len(skus or []) == 1
    if channel and not single:
        raise typer.BadParameter("--channel goes with a single SKU; `truestock availability` takes more")

    async def read(client: Client) -> tuple[list[StockLevel], bool, StockOverview | None, list[str]]:
        from service.cli.stock_overview import load_overview

        request = ListStockLevelsRequest(skus=skus or [], location_ids=location or [])
        levels, more = await client.list_entries(
            client.stock.ListStockLevels, request, lambda page: page.stock_levels, limit
        )
        overview = await load_overview(client, levels, channel, datetime.now(UTC)) if single and levels else None
        shown = {level.sku for level in levels}
        unknown = await unknown_names.without_entries(
            client,
            skus=[] if more else [sku for sku in skus or [] if sku not in shown],
            location_ids=() if levels else location or (),
        )
        return levels, more, overview, unknown

    levels, more, overview, unknown = call(server, read)
    _show_stock(levels, overview, channel, as_json=as_json)
    say_more(len(levels), "stock level", more=more)
    unknown_names.refuse_unknown(unknown)


def policies(server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Shows the rules in force, and the problems of a newer rules folder that was refused.

    \b
    Examples:
      truestock policies
      truestock policies --json
    """

    async def ask(client: Client) -> GetPolicySetResponse:
        return await client.ask(client.policies.GetPolicySet, GetPolicySetRequest())

    response = call(server, ask)
    if as_json:
        print_json(response)
    else:
        print_policies(stdout_console(), response)


def _show_stock(levels: list[StockLevel], overview: StockOverview | None, channel_id: str, *, as_json: bool) -> None:
    if overview is None and as_json:
        print_json(levels)
    elif overview is None:
        print_stock(stdout_console(), levels)
    elif as_json:
        print_json([location.as_dict() for location in overview.locations])
    else:
        from service.cli.views.stock_overview_view import print_overview

        print_overview(stdout_console(), overview, channel_id)
