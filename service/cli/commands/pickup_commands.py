"""`truestock pickup-locations`: where a shopper can pick up a cart."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli import options
from service.cli.client import Client, call
from service.cli.console import print_json, stdout_console
from service.cli.views.pickup_view import print_pickup_locations
from truestock.v1.pickup_pb2 import SearchPickupLocationsRequest, SearchPickupLocationsResponse


def pickup_locations(
    channel: options.ChannelId,
    line: Annotated[
        list[str] | None, typer.Option("--line", metavar="SKU:UNITS[@PRICE]", help="A line of the cart; repeatable.")
    ] = None,
    item: Annotated[
        list[str] | None,
        typer.Option("--item", metavar="ITEM:COUNT[@PRICE]", help="A line of one of the channel's items; repeatable."),
    ] = None,
    country: options.Country = "",
    region: options.Region = "",
    postal_code: options.PostalCode = "",
    lat: options.Latitude = None,
    lon: options.Longitude = None,
    radius: Annotated[float, typer.Option("--radius", metavar="KM", min=1, max=1_000, help="How far away.")] = 50,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="Maximum number of locations.")] = 10,
    whole_cart: Annotated[bool, typer.Option("--whole-cart", help="Only locations that have the whole cart.")] = False,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="A tag of the order; repeatable.")] = None,
    currency: options.Currency = "USD",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lists the locations near a shopper where the whole cart can be picked up, and when it is ready.

    Each is decided as `truestock allocate --pickup-at` would decide it.

    \b
    Examples:
      truestock pickup-locations --channel shopify --line TRN-1205-MOS:2 \\
        --lat 30.27 --lon -97.74
      truestock pickup-locations --channel shopify --line TRN-1205-MOS:2 \\
        --line QLM-1404-CRE:1 --lat 40.7 --lon -74 --radius 20 --whole-cart
    """
    request = SearchPickupLocationsRequest(
        channel_id=channel,
        lines=options.order_lines(line or [], item or [], currency),
        destination=options.destination(country, region, postal_code, lat, lon),
        radius_km=radius,
        max_locations=limit,
        whole_cart_only=whole_cart,
        tags=tag or [],
    )

    async def ask(client: Client) -> SearchPickupLocationsResponse:
        response: SearchPickupLocationsResponse = await client.ask(client.availability.SearchPickupLocations, request)
        return response

    response = call(server, ask)
    if as_json:
        print_json(response)
    else:
        print_pickup_locations(stdout_console(), response, radius)
