"""Commands of locations on shipments and returns: shipments, shipment …, return."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from service.cli import list_options, options, unknown_names
from service.cli.client import Client, call
from service.cli.console import print_json, stdout_console
from service.cli.listed_entries import matching, say_more
from service.cli.views.order_views import show_allocation
from service.cli.views.shipment_views import print_shipments
from truestock.v1 import fulfillment_service_pb2 as fulfillment_pb
from truestock.v1.allocation_service_pb2 import Allocation, ReassignShipmentRequest
from truestock.v1.shipment_pb2 import Parcel, ParcelLine, Shipment

Reason = Literal["not-found", "damaged", "no-capacity", "closed", "set-aside", "other"]
Disposition = Literal["sellable", "inspect", "damaged", "not-returned"]

STATES = {
    name.removeprefix("STATE_").lower().replace("_", "-"): number for name, number in Shipment.State.items() if number
}
OPEN_STATES = ("assigned", "accepted", "ready-for-pickup")
"""States of shipments with units still to ship."""

shipment = typer.Typer(
    help="""Records what a location does with a shipment: accept, reject, ship, … `truestock shipments` lists the ids.

    \b
    Examples:
      truestock shipment accept 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
      truestock shipment ship 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 1:2
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
)


def shipments(
    location: list_options.Locations = None,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help=f"Only this state; repeatable; open shipments by default: {', '.join(STATES)}."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Shipments in any state.")] = False,
    sku: list_options.Skus = None,
    channel: list_options.Channels = None,
    number: list_options.NumberPart = "",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME|AGE", help="Only shipments assigned since then, such as 2h.")
    ] = "",
    before: Annotated[
        str, typer.Option("--before", metavar="TIME|AGE", help="Only shipments assigned before this time.")
    ] = "",
    sort: Annotated[str, typer.Option("--sort", help="oldest (default), newest, or due: what must ship first.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="Maximum number of shipments.")] = 1_000,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lists the shipments that locations still have to fulfill, oldest first.

    \b
    Examples:
      truestock shipments --location store-austin
      truestock shipments --location store-austin --sort due
      truestock shipments --all --sku TRN-1205-MOS --sort newest --limit 20
      truestock shipments --all --number 13038 --channel tiktok_shop
      truestock shipments --state assigned --before 2026-11-27T09:00:00Z
      truestock shipments --all --json
    """
    if every and state:
        raise typer.BadParameter("--all and --state exclude each other; give one of them")
    request = fulfillment_pb.ListShipmentsRequest(
        location_ids=location or [],
        states=[] if every else [options.word("--state", word, STATES) for word in state or OPEN_STATES],
        skus=sku or [],
        channel_ids=channel or [],
        order_id_part=list_options.number_part(number),
        assigned_from=options.past_time(since, "--since"),
        assigned_before=options.past_time(before, "--before"),
        order_by=list_options.sort(sort),
    )

    async def ask(client: Client) -> tuple[list[Shipment], bool, list[str]]:
        names = {"skus": sku, "location_ids": location, "channel_ids": channel}
        return await matching(
            client, client.fulfillment.ListShipments, request, lambda page: page.shipments, limit, **names
        )

    listed, more, unknown = call(server, ask)
    if as_json:
        print_json(listed)
    else:
        print_shipments(stdout_console(), listed)
    say_more(len(listed), "shipment", more=more)
    unknown_names.refuse_unknown(unknown)


@shipment.command()
def accept(
    shipment: options.ShipmentId,
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """The location accepts a shipment and works on it.

    \b
    Example:
      truestock shipment accept 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
    """
    request = fulfillment_pb.AcceptShipmentRequest(
        shipment_id=options.shipment_id(shipment), request_id=options.request_id(request_id)
    )

    async def ask(client: Client) -> Allocation:
        return (await client.ask(client.fulfillment.AcceptShipment, request)).allocation

    show_allocation(call(server, ask), as_json)


@shipment.command()
def ready(
    shipment: options.ShipmentId,
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """The location marks a pickup order ready: it waits for the shopper.

    \b
    Example:
      truestock shipment ready 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
    """
    request = fulfillment_pb.MarkReadyForPickupRequest(
        shipment_id=options.shipment_id(shipment), request_id=options.request_id(request_id)
    )

    async def ask(client: Client) -> Allocation:
        return (await client.ask(client.fulfillment.MarkReadyForPickup, request)).allocation

    show_allocation(call(server, ask), as_json)


@shipment.command()
def ship(
    shipment: options.ShipmentId,
    lines: options.UnitsOfLines = None,
    carrier: Annotated[str, typer.Option("--carrier", metavar="NAME", help="The carrier of the parcel.")] = "",
    tracking: Annotated[
        str,
        typer.Option("--tracking", metavar="NUMBER", help="The parcel's tracking number: what these units left in."),
    ] = "",
    event: options.EventId = "",
    at: options.At = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """The location ships the given units, or all units of the shipment not yet shipped.

    \b
    Examples:
      truestock shipment ship 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
      truestock shipment ship 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 1:2 \\
        --event-id parcel-1
      truestock shipment ship 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 \\
        --at 2026-11-27T09:00:00Z
      truestock shipment ship 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 1:2 \\
        --carrier UPS --tracking 1Z999AA10123456784
    """
    if carrier and not tracking:
        raise typer.BadParameter("--carrier needs --tracking, the number of the parcel")
    units = [options.line_units(text) for text in lines or []]
    parcels = [Parcel(carrier=carrier, tracking_number=tracking)] if tracking else []
    for parcel in parcels:
        parcel.lines.extend(ParcelLine(line_id=x.line_id, unit_count=x.unit_count) for x in units)
    request = fulfillment_pb.ShipShipmentRequest(
        shipment_id=options.shipment_id(shipment),
        lines=units,
        parcels=parcels,
        event_id=event,
        event_time=options.timestamp(at, "--at"),
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> Allocation:
        return (await client.ask(client.fulfillment.ShipShipment, request)).allocation

    show_allocation(call(server, ask), as_json)


@shipment.command()
def undo(
    shipment: options.ShipmentId,
    event: options.EventId = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Takes back `shipment ship`: the wrong parcel was scanned, and its units have not left.

    They are on hand and allocated to the order again. Without --event-id it
    takes back the only event that shipped units of the shipment.

    \b
    Examples:
      truestock shipment undo 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
      truestock shipment undo 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 \\
        --event-id parcel-1
    """
    request = fulfillment_pb.UndoShipmentRequest(
        shipment_id=options.shipment_id(shipment), event_id=event, request_id=options.request_id(request_id)
    )

    async def ask(client: Client) -> Allocation:
        return (await client.ask(client.fulfillment.UndoShipment, request)).allocation

    show_allocation(call(server, ask), as_json)


@shipment.command()
def deliver(
    shipment: options.ShipmentId,
    event: options.EventId = "",
    at: options.At = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Marks a shipment delivered; units not yet shipped are recorded as shipped.

    \b
    Example:
      truestock shipment deliver 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
    """
    request = fulfillment_pb.DeliverShipmentRequest(
        shipment_id=options.shipment_id(shipment),
        event_id=event,
        event_time=options.timestamp(at, "--at"),
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> Allocation:
        return (await client.ask(client.fulfillment.DeliverShipment, request)).allocation

    show_allocation(call(server, ask), as_json)


@shipment.command()
def collect(
    shipment: options.ShipmentId,
    event: options.EventId = "",
    at: options.At = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """The shopper has collected a pickup order.

    \b
    Example:
      truestock shipment collect 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
    """
    request = fulfillment_pb.CollectShipmentRequest(
        shipment_id=options.shipment_id(shipment),
        event_id=event,
        event_time=options.timestamp(at, "--at"),
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> Allocation:
        return (await client.ask(client.fulfillment.CollectShipment, request)).allocation

    show_allocation(call(server, ask), as_json)


@shipment.command()
def uncollected(
    shipment: options.ShipmentId,
    event: options.EventId = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Nobody collected a pickup order: its units return to the location's stock and are cancelled.

    \b
    Example:
      truestock shipment uncollected 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
    """
    request = fulfillment_pb.ReturnUncollectedRequest(
        shipment_id=options.shipment_id(shipment), event_id=event, request_id=options.request_id(request_id)
    )

    async def ask(client: Client) -> Allocation:
        return (await client.ask(client.fulfillment.ReturnUncollected, request)).allocation

    show_allocation(call(server, ask), as_json)


@shipment.command()
def reject(
    shipment: options.ShipmentId,
    reason: Annotated[Reason, typer.Option("--reason", help="Why; it decides how the location's stock changes.")],
    lines: options.UnitsOfLines = None,
    event: options.EventId = "",
    at: options.At = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """The location rejects a shipment, or only the given units. The exception rules decide what happens to them.

    not-found removes the units from the location's stock; damaged and
    set-aside make them not sellable; the other reasons leave stock unchanged.

    \b
    Examples:
      truestock shipment reject 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 \\
        --reason not-found
      truestock shipment reject 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 1:1 \\
        --reason damaged
    """
    request = fulfillment_pb.RejectShipmentRequest(
        shipment_id=options.shipment_id(shipment),
        reason=fulfillment_pb.RejectReason.Value(f"REJECT_REASON_{_capitals(reason)}"),
        lines=[options.line_units(text) for text in lines or []],
        event_id=event,
        event_time=options.timestamp(at, "--at"),
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> Allocation:
        return (await client.ask(client.fulfillment.RejectShipment, request)).allocation

    show_allocation(call(server, ask), as_json)


@shipment.command()
def reassign(
    shipment: options.ShipmentId,
    actor: Annotated[
        str, typer.Option("--by", metavar="NAME", help="Who moves it; this counts as a manual intervention.")
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="LOCATION", help="The new location; the rules choose one by default.")
    ] = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Moves all units of a shipment not yet shipped to another location, all of them or none.

    \b
    Examples:
      truestock shipment reassign 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 \\
        --to store-denver --by kim
      truestock shipment reassign 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 --by kim
    """
    request = ReassignShipmentRequest(
        shipment_id=options.shipment_id(shipment),
        location_id=to,
        actor=actor,
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> Allocation:
        return (await client.ask(client.allocations.ReassignShipment, request)).allocation

    show_allocation(call(server, ask), as_json)


def record_return(
    order: options.AllocationReference,
    lines: Annotated[list[str], typer.Argument(metavar="LINE:UNITS…", help="Units returned of each line.")],
    disposition: Annotated[Disposition, typer.Option("--disposition", help="The condition of the units.")],
    to: Annotated[
        str, typer.Option("--to", metavar="LOCATION", help="Where the units are now; leave out for not-returned.")
    ] = "",
    event: options.EventId = "",
    at: options.At = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Records a return: shipped units came back to a location, or were refunded without coming back.

    \b
    Examples:
      truestock return shopify/1001 1:1 --disposition sellable \\
        --to store-austin --event-id R-1
      truestock return shopify/1001 1:1 2:1 --disposition inspect \\
        --to dc-memphis
      truestock return shopify/1001 1:1 --disposition not-returned
    """
    reference = options.allocation_reference(order)
    request = fulfillment_pb.RecordReturnRequest(
        lines=[options.line_units(text) for text in lines],
        disposition=fulfillment_pb.ReturnDisposition.Value(f"RETURN_DISPOSITION_{_capitals(disposition)}"),
        location_id=to,
        event_id=event,
        event_time=options.timestamp(at, "--at"),
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> Allocation:
        request.allocation_id = await client.allocation_id(reference)
        return (await client.ask(client.fulfillment.RecordReturn, request)).allocation

    show_allocation(call(server, ask), as_json)


def _capitals(word: str) -> str:
    return word.upper().replace("-", "_")
