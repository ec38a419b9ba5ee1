"""Commands on orders: allocate, confirm, release, extend, release from a hold, forget, cancel, ask to cancel."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer
from google.protobuf.duration_pb2 import Duration

from service import limits
from service.cli import options
from service.cli.client import CANDIDATE_CALL_SECONDS, Client, call
from service.cli.console import print_json, stdout_console
from service.cli.views.order_views import show_allocation, show_dry_run, show_forgotten
from truestock.v1.allocation_service_pb2 import (
    AllocateOrderRequest,
    AllocateOrderResponse,
    Allocation,
    CancelOrderLinesRequest,
    CancelOrderLinesResponse,
    ConfirmAllocationRequest,
    ExtendHoldRequest,
    ForgetOrderRequest,
    ForgetOrderResponse,
    ReleaseAllocationRequest,
    ReleaseOrderHoldRequest,
    RequestCancellationRequest,
    RequestCancellationResponse,
)
from truestock.v1.order_pb2 import (
    CANCELLATION_FAULT_UNSPECIFIED,
    COMMITMENT_HOLD,
    COMMITMENT_SOLD,
    FULFILLMENT_METHOD_PICKUP,
    FULFILLMENT_METHOD_SHIP,
    CancellationFault,
    OrderHold,
)

MOST_MINUTES = limits.UNPAID_ORDER_LONGEST.total_seconds() / 60
"""The longest hold of a channel that lets orders be paid late; the service knows what each channel allows."""


def allocate(
    channel: options.ChannelId,
    order: Annotated[str, typer.Option("--order", help="The channel's order number.")],
    line: Annotated[
        list[str] | None, typer.Option("--line", metavar="SKU:UNITS[@PRICE]", help="One order line; repeatable.")
    ] = None,
    item: Annotated[
        list[str] | None,
        typer.Option("--item", metavar="ITEM:COUNT[@PRICE]", help="A line of one of the channel's items; repeatable."),
    ] = None,
    sold: Annotated[
        bool, typer.Option("--sold/--hold", help="The order is paid, or units are only held for a while.")
    ] = False,
    country: options.Country = "",
    region: options.Region = "",
    postal_code: options.PostalCode = "",
    lat: options.Latitude = None,
    lon: options.Longitude = None,
    pickup: Annotated[bool, typer.Option("--pickup", help="The shopper picks the order up.")] = False,
    pickup_at: Annotated[
        str, typer.Option("--pickup-at", metavar="LOCATION", help="The shopper picks it up at this location.")
    ] = "",
    hold_minutes: Annotated[
        float | None,
        typer.Option("--hold-minutes", min=0.02, max=MOST_MINUTES, help="Minutes until a hold expires; 15 by default."),
    ] = None,
    hold_reason: Annotated[
        str, typer.Option("--hold-reason", metavar="TEXT", help="Put a sold order on hold, because of this.")
    ] = "",
    hold_until: Annotated[
        str, typer.Option("--hold-until", metavar="TIME", help="When it should be released; needs --hold-reason.")
    ] = "",
    currency: options.Currency = "USD",
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="LINE:LOCATION,...", help="Only these may ship line 1, 2, ...; repeatable."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option("--not", metavar="LINE:LOCATION,...", help="These must not ship line 1, 2, ...; repeatable."),
    ] = None,
    together: Annotated[
        list[str] | None,
        typer.Option("--together", metavar="LINE,LINE", help="Lines that ship from one location; repeatable."),
    ] = None,
    ship_by: Annotated[
        str, typer.Option("--ship-by", metavar="TIME", help="When the channel wants the order to have shipped.")
    ] = "",
    deliver_by: Annotated[
        str, typer.Option("--deliver-by", metavar="DATE", help="The last day on which it should be delivered.")
    ] = "",
    deliver_within: Annotated[
        int | None,
        typer.Option(
            "--deliver-within-days", min=0, max=limits.DELIVER_WITHIN_DAYS, help="The same, in days from now."
        ),
    ] = None,
    copy_of: Annotated[
        str, typer.Option("--copy-of", metavar="CHANNEL/ORDER", help="The order that this one duplicates.")
    ] = "",
    status: Annotated[str, typer.Option("--status", help="The order's status in the channel's own words.")] = "",
    outlet: Annotated[
        str, typer.Option("--outlet", help="The outlet that the channel chose: only its locations are used.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Explain the decision without promising stock.")] = False,
    candidate: options.Candidate = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Routes an order to locations and allocates their stock to it.

    An order that cannot be fulfilled is a result, not an error: the exit code
    is 0.

    \b
    Examples:
      truestock allocate --channel shopify --order 1001 \\
        --line TRN-1205-MOS:2@34 --country US --lat 30.3 --lon -97.7
      truestock allocate --channel shopify --order 1001 \\
        --line TRN-1205-MOS:2 --sold
      truestock allocate --channel pos --order 77 --line TRN-1205-MOS:1 \\
        --pickup-at store-austin --dry-run
      truestock allocate --channel shopify --order 1001 \\
        --line TRN-1205-MOS:2 --dry-run --candidate 1f6c0c6ee20be2a3
      truestock allocate --channel shopify --order 1002 \\
        --line TRN-1205-MOS:1 --sold --hold-reason "fraud check"
      truestock allocate --channel tiktok_shop --order 1003 \\
        --item 1729583201114820002:1 --sold
      truestock allocate --channel shopify --order 1004 --sold \\
        --line TRN-1205-MOS:1 --line TRN-1205-BLK:1 --together 1,2 \\
        --not 1:store-austin --ship-by 2026-12-01T17:00:00Z
    """
    if candidate and not dry_run:
        raise typer.BadParameter("--candidate only previews an order; add --dry-run")
    lines = options.order_lines(line or [], item or [], currency)
    options.place_lines(lines, only or [], without or [], together or [])
    request = AllocateOrderRequest(
        channel_id=channel,
        order_id=order,
        lines=lines,
        ship_by_time=options.timestamp(ship_by, "--ship-by"),
        deliver_by=options.calendar_day(deliver_by, "--deliver-by"),
        deliver_within_days=deliver_within,
        commitment=COMMITMENT_SOLD if sold else COMMITMENT_HOLD,
        method=FULFILLMENT_METHOD_PICKUP if pickup or pickup_at else FULFILLMENT_METHOD_SHIP,
        destination=options.destination(country, region, postal_code, lat, lon),
        pickup_location_id=pickup_at,
        hold_duration=_duration(hold_minutes, sold),
        copy_of=options.order_reference(copy_of) if copy_of else None,
        channel_status=status,
        outlet_id=outlet,
        hold=_order_hold(hold_reason, hold_until),
        validate_only=dry_run,
        explain=dry_run,
        candidate_revision=candidate,
        request_id="" if dry_run else options.request_id(request_id),
    )

    async def ask(client: Client) -> AllocateOrderResponse:
        client.call_seconds = CANDIDATE_CALL_SECONDS if candidate else client.call_seconds
        return await client.ask(client.allocations.AllocateOrder, request)

    response = call(server, ask)
    if dry_run:
        show_dry_run(response, as_json)
    else:
        show_allocation(response.allocation, as_json)


def confirm(
    order: options.AllocationReference,
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Confirms a held allocation, because the order is paid. An expired hold is replanned.

    \b
    Examples:
      truestock confirm shopify/1001
      truestock confirm 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
    """
    reference = options.allocation_reference(order)
    request = ConfirmAllocationRequest(request_id=options.request_id(request_id))

    async def ask(client: Client) -> Allocation:
        request.allocation_id = await client.allocation_id(reference)
        return (await client.ask(client.allocations.ConfirmAllocation, request)).allocation

    show_allocation(call(server, ask), as_json)


def release(
    order: options.AllocationReference,
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Releases a held allocation: its units can be sold to others again.

    \b
    Examples:
      truestock release shopify/1001
      truestock release 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
    """
    reference = options.allocation_reference(order)
    request = ReleaseAllocationRequest(request_id=options.request_id(request_id))

    async def ask(client: Client) -> Allocation:
        request.allocation_id = await client.allocation_id(reference)
        return (await client.ask(client.allocations.ReleaseAllocation, request)).allocation

    show_allocation(call(server, ask), as_json)


def extend(
    order: options.AllocationReference,
    minutes: Annotated[
        float,
        typer.Option("--minutes", min=0.02, max=MOST_MINUTES, help="Minutes until the hold expires, counted from now."),
    ] = 15.0,
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Sets a new expiry for a hold, counted from now.

    \b
    Examples:
      truestock extend shopify/1001 --minutes 30
      truestock extend 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 --minutes 30
    """
    reference = options.allocation_reference(order)
    request = ExtendHoldRequest(request_id=options.request_id(request_id))
    request.hold_duration.FromTimedelta(timedelta(minutes=minutes))

    async def ask(client: Client) -> Allocation:
        request.allocation_id = await client.allocation_id(reference)
        return (await client.ask(client.allocations.ExtendHold, request)).allocation

    show_allocation(call(server, ask), as_json)


def release_hold(
    order: options.AllocationReference,
    by: Annotated[
        str, typer.Option("--by", metavar="NAME", help="Your name for the history; your login name by default.")
    ] = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Releases a sold order from its hold: its locations may start work.

    \b
    Examples:
      truestock release-hold tiktok_shop/577
      truestock release-hold tiktok_shop/577 --by anna
    """
    reference = options.allocation_reference(order)
    request = ReleaseOrderHoldRequest(
        allocation_id=reference.allocation_id,
        order=reference.order if reference.HasField("order") else None,
        actor=by or options.login_name(),
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> Allocation:
        return (await client.ask(client.allocations.ReleaseOrderHold, request)).allocation

    show_allocation(call(server, ask), as_json)


def forget_order(
    order: options.AllocationReference,
    by: Annotated[
        str, typer.Option("--by", metavar="NAME", help="Your name for the history; your login name by default.")
    ] = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Drops the personal data of an order, as its shopper asked: at once, or as soon as nothing of it is open.

    Its destination but for country and region, what was written about it, its parcels and the stored requests that
    name it go, and cannot be brought back. Plans, units, times and decisions stay.

    \b
    Examples:
      truestock forget-order shopify/1001
      truestock forget-order shopify/1001 --by anna --json
    """
    reference = options.allocation_reference(order)
    request = ForgetOrderRequest(
        allocation_id=reference.allocation_id,
        order=reference.order if reference.HasField("order") else None,
        actor=by or options.login_name(),
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> ForgetOrderResponse:
        return await client.ask(client.allocations.ForgetOrder, request)

    show_forgotten(order, call(server, ask), as_json)


def cancel(
    order: options.AllocationReference,
    lines: Annotated[
        list[str] | None, typer.Argument(metavar="LINE:UNITS…", help="Units to cancel of each line.")
    ] = None,
    item: Annotated[
        list[str] | None, typer.Option("--item", metavar="ITEM:COUNT", help="Items to cancel; repeatable.")
    ] = None,
    whole: Annotated[bool, typer.Option("--all", help="Cancel all units that have not shipped.")] = False,
    event: Annotated[
        str, typer.Option("--event-id", metavar="ID", help="Idempotency key of the channel's cancellation event.")
    ] = "",
    fault: Annotated[
        str, typer.Option("--fault", metavar="WHO", help="Who caused it: buyer, seller, carrier or fraud.")
    ] = "",
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, for the history; no personal data.")
    ] = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Cancels units of order lines, all of them or none.

    The cancellation of an order that has not arrived yet is stored and applied
    when the order arrives.

    \b
    Examples:
      truestock cancel shopify/1001 1:2 3:1
      truestock cancel tiktok_shop/1003 --item 1729583201114820002:1
      truestock cancel shopify/1001 --all --fault seller --reason "damaged"
      truestock cancel 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 1:2
    """
    if whole == bool(lines or item):
        raise typer.BadParameter("name lines to cancel, such as 1:2, or cancel all units with --all")
    reference = options.allocation_reference(order)
    request = CancelOrderLinesRequest(
        allocation_id=reference.allocation_id,
        order=reference.order if reference.HasField("order") else None,
        cancellations=[
            *(options.cancellation(text) for text in lines or []),
            *(options.item_cancellation(text) for text in item or []),
        ],
        whole_order=whole,
        event_id=event,
        fault=_fault(fault),
        reason=reason,
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> CancelOrderLinesResponse:
        return await client.ask(client.allocations.CancelOrderLines, request)

    response = call(server, ask)
    if response.HasField("allocation") or as_json:
        show_allocation(response.allocation, as_json)
    else:
        stdout_console().print(f"{order} has not arrived yet; the cancellation is stored and applied when it arrives.")


def request_cancel(
    order: options.AllocationReference,
    lines: Annotated[
        list[str] | None, typer.Argument(metavar="LINE:UNITS…", help="Units of each line that the shopper gives up.")
    ] = None,
    item: Annotated[
        list[str] | None,
        typer.Option("--item", metavar="ITEM:COUNT", help="Items that the shopper gives up; repeatable."),
    ] = None,
    whole: Annotated[bool, typer.Option("--all", help="The whole order, as far as it has not shipped.")] = False,
    deadline: Annotated[
        str, typer.Option("--deadline", metavar="TIME", help="When the channel's default applies; never if left out.")
    ] = "",
    event: Annotated[
        str, typer.Option("--event-id", metavar="ID", help="The channel's idempotency key for the request.")
    ] = "",
    fault: Annotated[
        str,
        typer.Option("--fault", metavar="WHO", help="Who caused it: buyer (the default), seller, carrier or fraud."),
    ] = "",
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; no personal data.")] = "",
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="The shopper keeps the order; needs --event-id.")
    ] = False,
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Records that a shopper asks, through the channel, to cancel an order.

    A rule accepts it at once, or a person answers it: `truestock exceptions
    resolve` with `--resolution cancelled` or `declined`.

    \b
    Examples:
      truestock request-cancel tiktok_shop/577 --all \\
        --deadline 2026-11-28T10:00Z --event-id c-1
      truestock request-cancel shopify/1001 1:2 --reason "ordered twice"
      truestock request-cancel tiktok_shop/577 --item 1729583201114820002:1
      truestock request-cancel tiktok_shop/577 --event-id c-1 --withdraw
    """
    if not withdraw and whole == bool(lines or item):
        raise typer.BadParameter("name lines to cancel, such as 1:2, or ask for all units with --all")
    reference = options.allocation_reference(order)
    request = RequestCancellationRequest(
        allocation_id=reference.allocation_id,
        order=reference.order if reference.HasField("order") else None,
        lines=[
            *(options.cancellation(text) for text in lines or []),
            *(options.item_cancellation(text) for text in item or []),
        ],
        whole_order=whole,
        deadline=options.timestamp(deadline, "--deadline"),
        event_id=event,
        fault=_fault(fault),
        reason=reason,
        withdraw=withdraw,
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> RequestCancellationResponse:
        return await client.ask(client.allocations.RequestCancellation, request)

    response = call(server, ask)
    if as_json:
        print_json(response)
    elif response.HasField("allocation"):
        show_allocation(response.allocation, as_json=False)
    else:
        stdout_console().print(f"{order} has not arrived yet; the request waits for it.")


def _fault(text: str) -> CancellationFault.ValueType:
    words = options.enum_words(CancellationFault, "CANCELLATION_FAULT_")
    return options.word("--fault", text, words) if text else CANCELLATION_FAULT_UNSPECIFIED


def _order_hold(reason: str, until: str) -> OrderHold | None:
    if until and not reason:
        raise typer.BadParameter("--hold-until needs --hold-reason")
    return OrderHold(reason=reason, until=options.timestamp(until, "--hold-until")) if reason else None


def _duration(minutes: float | None, sold: bool) -> Duration | None:
    if minutes is None:
        return None
    if sold:
        raise typer.BadParameter("--hold-minutes needs --hold; a sold order does not expire")
    duration = Duration()
    duration.FromTimedelta(timedelta(minutes=minutes))
    return duration
