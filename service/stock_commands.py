"""Commands that look: availability, stock, policies."""

from __future__ import annotations

from typing import Annotated

import typer

from service import bounds, options
from service.client import Client, call
from service.console import output, print_json
from service.stock_views import print_availability, print_policies, print_stock
from truestock.v1.availability_service_pb2 import CheckAvailabilityRequest, CheckAvailabilityResponse
from truestock.v1.order_pb2 import FULFILLMENT_METHOD_PICKUP, FULFILLMENT_METHOD_SHIP
from truestock.v1.policy_service_pb2 import GetPolicySetRequest, GetPolicySetResponse
from truestock.v1.stock_service_pb2 import ListStockLevelsRequest, StockLevel


def availability(
    skus: Annotated[list[str], typer.Argument(metavar="SKU…", help="1 to 500 SKUs.")],
    channel: options.ChannelId,
    country: options.Country = "",
    region: options.Region = "",
    postal_code: options.PostalCode = "",
    lat: options.Latitude = None,
    lon: options.Longitude = None,
    pickup: Annotated[bool, typer.Option("--pickup", help="For orders that shoppers pick up.")] = False,
    locations: Annotated[bool, typer.Option("--locations", help="Also show each location, and the rules.")] = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Says how many units of each SKU a channel may be told, from live stock.

    \b
    Examples:
      truestock availability TRN-1205-MOS QLM-1404-CRE --channel tiktok_shop
      truestock availability TRN-1205-MOS --channel shopify --country US --locations
    """
    request = CheckAvailabilityRequest(
        channel_id=channel,
        skus=skus,
        method=FULFILLMENT_METHOD_PICKUP if pickup else FULFILLMENT_METHOD_SHIP,
        destination=options.destination(country, region, postal_code, lat, lon),
        include_locations=locations,
    )

    async def ask(client: Client) -> CheckAvailabilityResponse:
        return await client.ask(client.availability.CheckAvailability, request)

    answer = call(server, ask)
    if as_json:
        print_json(answer)
    else:
        print_availability(output(), answer, channel)


def stock(
    skus: Annotated[list[str] | None, typer.Argument(metavar="[SKU…]", help="All if left out; at most 500.")] = None,
    location: Annotated[list[str] | None, typer.Option("--location", help="Only here; repeat for more.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="Most levels to list.")] = 1_000,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lists what is known of stock, by SKU, then location.

    \b
    Examples:
      truestock stock
      truestock stock TRN-1205-MOS --location store-austin
      truestock stock --limit 100000 --json
    """

    async def ask(client: Client) -> tuple[list[StockLevel], bool]:
        return await _levels(client, skus or [], location or [], limit)

    levels, more = call(server, ask)
    if as_json:
        print_json(levels)
    else:
        print_stock(output(), levels, more=more)


def policies(server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Shows which rules are in force, and what is wrong with a folder that was refused.

    \b
    Example:
      truestock policies
    """

    async def ask(client: Client) -> GetPolicySetResponse:
        return await client.ask(client.policies.GetPolicySet, GetPolicySetRequest())

    answer = call(server, ask)
    if as_json:
        print_json(answer)
    else:
        print_policies(output(), answer)


async def _levels(
    client: Client, skus: list[str], location_ids: list[str], limit: int
) -> tuple[list[StockLevel], bool]:
    """At most `limit` levels, and whether there are more."""
    levels: list[StockLevel] = []
    request = ListStockLevelsRequest(skus=skus, location_ids=location_ids)
    while len(levels) < limit:
        # One more than wanted tells whether the list goes on.
        request.page_size = min(bounds.PAGE_SIZE_LIMIT, limit - len(levels) + 1)
        page = await client.ask(client.stock.ListStockLevels, request)
        levels.extend(page.stock_levels)
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    return levels[:limit], len(levels) > limit or bool(request.page_token)
