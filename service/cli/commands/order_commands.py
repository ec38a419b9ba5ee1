"""Commands on orders: allocate, confirm, release, extend, cancel, explain."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer
from google.protobuf.duration_pb2 import Duration

from service.cli import options
from service.cli.client import Client, call
from service.cli.console import output, print_json
from service.cli.views.order_views import print_explanation, show_allocation
from truestock.v1.allocation_service_pb2 import (
    AllocateOrderRequest,
    Allocation,
    CancelOrderLinesRequest,
    CancelOrderLinesResponse,
    ConfirmAllocationRequest,
    ExtendHoldRequest,
    GetAllocationRequest,
    GetAllocationResponse,
    ReleaseAllocationRequest,
)
from truestock.v1.order_pb2 import (
    COMMITMENT_HOLD,
    COMMITMENT_SOLD,
    FULFILLMENT_METHOD_PICKUP,
    FULFILLMENT_METHOD_SHIP,
)


def allocate(
    channel: options.ChannelId,
    order: Annotated[str, typer.Option("--order", help="The channel's own order number.")],
    line: Annotated[list[str], typer.Option("--line", metavar="SKU:UNITS[@PRICE]", help="One line; repeat for more.")],
    sold: Annotated[bool, typer.Option("--sold/--hold", help="Paid for, or held for a short time.")] = False,
    country: options.Country = "",
    region: options.Region = "",
    postal_code: options.PostalCode = "",
    lat: options.Latitude = None,
    lon: options.Longitude = None,
    pickup: Annotated[bool, typer.Option("--pickup", help="The shopper picks it up.")] = False,
    pickup_at: Annotated[str, typer.Option("--pickup-at", metavar="LOCATION", help="…at this location.")] = "",
    hold_minutes: Annotated[
        float | None, typer.Option("--hold-minutes", min=0.02, max=240, help="How long a hold lives; 15 if left out.")
    ] = None,
    currency: options.Currency = "USD",
    copy_of: Annotated[
        str, typer.Option("--copy-of", metavar="CHANNEL/ORDER", help="The order that this one is a copy of.")
    ] = "",
    status: Annotated[str, typer.Option("--status", help="The channel's own word for where the order stands.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide and answer, but promise nothing.")] = False,
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Decides where an order is fulfilled from, and promises the stock.

    No is an answer, not an error: an order that cannot be filled says so, with
    exit code 0.

    \b
    Examples:
      truestock allocate --channel shopify --order 1001 \\
        --line TRN-1205-MOS:2@34 --country US --lat 30.3 --lon -97.7
      truestock allocate --channel shopify --order 1001 \\
        --line TRN-1205-MOS:2 --sold
      truestock allocate --channel pos --order 77 --line TRN-1205-MOS:1 \\
        --pickup-at store-austin --dry-run
    """
    request = AllocateOrderRequest(
        channel_id=channel,
        order_id=order,
        lines=[options.order_line(text, currency) for text in line],
        commitment=COMMITMENT_SOLD if sold else COMMITMENT_HOLD,
        method=FULFILLMENT_METHOD_PICKUP if pickup or pickup_at else FULFILLMENT_METHOD_SHIP,
        destination=options.destination(country, region, postal_code, lat, lon),
        pickup_location_id=pickup_at,
        hold_duration=_duration(hold_minutes, sold),
        copy_of=options.order_reference(copy_of) if copy_of else None,
        channel_status=status,
        validate_only=dry_run,
        request_id="" if dry_run else options.request_id(request_id),
    )

    async def ask(client: Client) -> Allocation:
        return (await client.ask(client.allocations.AllocateOrder, request)).allocation

    show_allocation(call(server, ask), as_json)


def confirm(
    order: options.AllocationOrOrder,
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Turns a held allocation into a sold one: the order is paid. One that has expired is planned anew.

    \b
    Examples:
      truestock confirm shopify/1001
      truestock confirm 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
    """
    named = options.allocation_reference(order)
    request = ConfirmAllocationRequest(request_id=options.request_id(request_id))

    async def ask(client: Client) -> Allocation:
        request.allocation_id = await client.allocation_id(named)
        return (await client.ask(client.allocations.ConfirmAllocation, request)).allocation

    show_allocation(call(server, ask), as_json)


def release(
    order: options.AllocationOrOrder,
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Gives the stock of a held allocation back.

    \b
    Examples:
      truestock release shopify/1001
      truestock release 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
    """
    named = options.allocation_reference(order)
    request = ReleaseAllocationRequest(request_id=options.request_id(request_id))

    async def ask(client: Client) -> Allocation:
        request.allocation_id = await client.allocation_id(named)
        return (await client.ask(client.allocations.ReleaseAllocation, request)).allocation

    show_allocation(call(server, ask), as_json)


def extend(
    order: options.AllocationOrOrder,
    minutes: Annotated[
        float, typer.Option("--minutes", min=0.02, max=240, help="How long it lives from now on.")
    ] = 15.0,
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lets a held allocation live so long from now on, whether longer or shorter than it would have.

    \b
    Examples:
      truestock extend shopify/1001 --minutes 30
      truestock extend 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 --minutes 30
    """
    named = options.allocation_reference(order)
    request = ExtendHoldRequest(request_id=options.request_id(request_id))
    request.hold_duration.FromTimedelta(timedelta(minutes=minutes))

    async def ask(client: Client) -> Allocation:
        request.allocation_id = await client.allocation_id(named)
        return (await client.ask(client.allocations.ExtendHold, request)).allocation

    show_allocation(call(server, ask), as_json)


def cancel(
    order: options.AllocationOrOrder,
    lines: Annotated[
        list[str] | None, typer.Argument(metavar="LINE:UNITS…", help="Units to take off each line.")
    ] = None,
    whole: Annotated[bool, typer.Option("--all", help="Everything that has not left, instead of lines.")] = False,
    event: Annotated[
        str, typer.Option("--event", help="The channel's own name for the cancellation: the same one twice is one.")
    ] = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Takes units off the lines of an order, all of them or none.

    An order that has not come yet is cancelled when it comes.

    \b
    Examples:
      truestock cancel shopify/1001 1:2 3:1
      truestock cancel shopify/1001 --all
      truestock cancel 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 1:2
    """
    if whole == bool(lines):
        raise typer.BadParameter("name the lines, such as 1:2, or cancel everything with --all")
    named = options.allocation_reference(order)
    request = CancelOrderLinesRequest(
        allocation_id=named.allocation_id,
        order=named.order if named.HasField("order") else None,
        cancellations=[options.cancellation(text) for text in lines or []],
        whole_order=whole,
        event_id=event,
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> CancelOrderLinesResponse:
        return await client.ask(client.allocations.CancelOrderLines, request)

    answer = call(server, ask)
    if answer.HasField("allocation") or as_json:
        show_allocation(answer.allocation, as_json)
    else:
        output().print(f"{order} has not come yet; the cancellation is kept, and holds when it comes.")


def explain(
    order: options.AllocationOrOrder,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Says what was asked, where it goes and why: rules that fired, locations that were dropped, shortages, history.

    \b
    Examples:
      truestock explain shopify/1001
      truestock explain 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
    """
    request: GetAllocationRequest = options.allocation_reference(order)

    async def ask(client: Client) -> GetAllocationResponse:
        return await client.ask(client.allocations.GetAllocation, request)

    answer = call(server, ask)
    if as_json:
        print_json(answer)
    else:
        print_explanation(output(), answer)


def _duration(minutes: float | None, sold: bool) -> Duration | None:
    if minutes is None:
        return None
    if sold:
        raise typer.BadParameter("--hold-minutes goes with --hold; a sold order does not expire")
    duration = Duration()
    duration.FromTimedelta(timedelta(minutes=minutes))
    return duration
