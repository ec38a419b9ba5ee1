"""Commands that look: availability, stock, policies."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli import options
from service.cli.client import Client, call
from service.cli.console import output, print_json
from service.cli.views.stock_views import print_availability, print_more, print_policies, print_stock
from truestock.v1.availability_service_pb2 import CheckAvailabilityRequest, CheckAvailabilityResponse
from truestock.v1.order_pb2 import FULFILLMENT_METHOD_PICKUP, FULFILLMENT_METHOD_SHIP
from truestock.v1.policy_service_pb2 import GetPolicySetRequest, GetPolicySetResponse
from truestock.v1.stock_service_pb2 import ListStockLevelsRequest, StockLevel

if TYPE_CHECKING:
    from service.cli.stock_sheet import Sheet


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
    channel: Annotated[str, typer.Option("--channel", help="Of one SKU: also what this channel may sell.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="Most levels to list.")] = 1_000,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lists what is known of stock, by SKU, then location.

    Of a single SKU it tells all: where it sits, how old each figure is and
    who said it, whom it is promised to, what is coming, and when an order
    that comes now would leave.

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

    async def ask(client: Client) -> tuple[list[StockLevel], bool, Sheet | None]:
        from service.cli.stock_sheet import gather

        request = ListStockLevelsRequest(skus=skus or [], location_ids=location or [])
        levels, more = await client.listed(client.stock.ListStockLevels, request, lambda page: page.stock_levels, limit)
        sheet = await gather(client, levels, channel, datetime.now(UTC)) if single and levels else None
        return levels, more, sheet

    levels, more, sheet = call(server, ask)
    _show_stock(levels, sheet, channel, more=more, as_json=as_json)


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


def _show_stock(levels: list[StockLevel], sheet: Sheet | None, channel_id: str, *, more: bool, as_json: bool) -> None:
    if sheet is None and as_json:
        print_json(levels)
    elif sheet is None:
        print_stock(output(), levels, more=more)
    elif as_json:
        print_json([place.as_dict() for place in sheet.places])
    else:
        from service.cli.views.stock_sheet_view import print_sheet

        print_sheet(output(), sheet, channel_id)
        print_more(output(), levels, more=more)
