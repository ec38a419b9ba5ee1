"""Commands of locations and of the desk that returns come to: shipments, shipment …, return."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from service.cli import options
from service.cli.client import Client, call
from service.cli.console import output, print_json
from service.cli.views.order_views import show_allocation
from service.cli.views.shipment_views import print_shipments
from truestock.v1 import fulfillment_service_pb2 as fulfillment_pb
from truestock.v1.allocation_service_pb2 import Allocation, ReassignShipmentRequest
from truestock.v1.shipment_pb2 import Shipment

Reason = Literal["not-found", "damaged", "no-capacity", "closed", "set-aside", "other"]
Disposition = Literal["sellable", "inspect", "damaged", "not-returned"]

STATES = {
    name.removeprefix("STATE_").lower().replace("_", "-"): number for name, number in Shipment.State.items() if number
}
TO_DO = ("assigned", "accepted", "ready-for-pickup")
"""States of shipments of which units have still to leave."""

shipment = typer.Typer(
    help="""What a location does with a shipment: accept, reject, ship, … `truestock shipments` lists them.

    \b
    Examples:
      truestock shipment accept 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
      truestock shipment ship 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 1:2
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
)


def shipments(
    location: Annotated[list[str] | None, typer.Option("--location", help="Only here; repeat for more.")] = None,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help=f"Repeat for more; what is to be done if left out: {', '.join(STATES)}."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="In whatever state they are.")] = False,
    before: Annotated[str, typer.Option("--before", metavar="TIME", help="Only those assigned before this time.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="Most shipments to list.")] = 1_000,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lists the shipments that locations have to work on, oldest first.

    \b
    Examples:
      truestock shipments --location store-austin
      truestock shipments --state assigned --before 2026-11-27T09:00:00Z
      truestock shipments --all --json
    """
    if every and state:
        raise typer.BadParameter("--all and --state do not go together; give one of them")
    wanted = fulfillment_pb.ListShipmentsRequest(
        location_ids=location or [],
        states=[] if every else [_state(word) for word in state or TO_DO],
        assigned_before=options.moment(before, "--before"),
    )

    async def ask(client: Client) -> tuple[list[Shipment], bool]:
        return await client.listed(client.fulfilment.ListShipments, wanted, lambda page: page.shipments, limit)

    found, more = call(server, ask)
    if as_json:
        print_json(found)
    else:
        print_shipments(output(), found, more=more)


@shipment.command()
def accept(
    shipment: options.ShipmentId,
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """The location works on it.

    \b
    Example:
      truestock shipment accept 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
    """
    request = fulfillment_pb.AcceptShipmentRequest(
        shipment_id=options.shipment_id(shipment), request_id=options.request_id(request_id)
    )

    async def ask(client: Client) -> Allocation:
        return (await client.ask(client.fulfilment.AcceptShipment, request)).allocation

    show_allocation(call(server, ask), as_json)


@shipment.command()
def ready(
    shipment: options.ShipmentId,
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """It waits at the counter for the shopper. For orders that are picked up.

    \b
    Example:
      truestock shipment ready 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
    """
    request = fulfillment_pb.MarkReadyForPickupRequest(
        shipment_id=options.shipment_id(shipment), request_id=options.request_id(request_id)
    )

    async def ask(client: Client) -> Allocation:
        return (await client.ask(client.fulfilment.MarkReadyForPickup, request)).allocation

    show_allocation(call(server, ask), as_json)


@shipment.command()
def ship(
    shipment: options.ShipmentId,
    lines: options.UnitsOfLines = None,
    event: options.EventId = "",
    at: options.At = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Units left the location: everything that was still to leave, or the units that are named.

    \b
    Examples:
      truestock shipment ship 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
      truestock shipment ship 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 1:2 --event parcel-1
      truestock shipment ship 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 --at 2026-11-27T09:00:00Z
    """
    request = fulfillment_pb.ShipShipmentRequest(
        shipment_id=options.shipment_id(shipment),
        lines=[options.line_units(text) for text in lines or []],
        event_id=event,
        event_time=options.moment(at, "--at"),
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> Allocation:
        return (await client.ask(client.fulfilment.ShipShipment, request)).allocation

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
    """It has arrived. What had not been heard to leave has left.

    \b
    Example:
      truestock shipment deliver 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
    """
    request = fulfillment_pb.DeliverShipmentRequest(
        shipment_id=options.shipment_id(shipment),
        event_id=event,
        event_time=options.moment(at, "--at"),
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> Allocation:
        return (await client.ask(client.fulfilment.DeliverShipment, request)).allocation

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
    """The shopper has fetched it. For orders that are picked up.

    \b
    Example:
      truestock shipment collect 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
    """
    request = fulfillment_pb.CollectShipmentRequest(
        shipment_id=options.shipment_id(shipment),
        event_id=event,
        event_time=options.moment(at, "--at"),
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> Allocation:
        return (await client.ask(client.fulfilment.CollectShipment, request)).allocation

    show_allocation(call(server, ask), as_json)


@shipment.command()
def uncollected(
    shipment: options.ShipmentId,
    event: options.EventId = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Nobody fetched it: the units are the location's stock again, and are taken off the order.

    \b
    Example:
      truestock shipment uncollected 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
    """
    request = fulfillment_pb.ReturnUncollectedRequest(
        shipment_id=options.shipment_id(shipment), event_id=event, request_id=options.request_id(request_id)
    )

    async def ask(client: Client) -> Allocation:
        return (await client.ask(client.fulfilment.ReturnUncollected, request)).allocation

    show_allocation(call(server, ask), as_json)


@shipment.command()
def reject(
    shipment: options.ShipmentId,
    reason: Annotated[Reason, typer.Option("--reason", help="Why; it says what becomes of the location's stock.")],
    lines: options.UnitsOfLines = None,
    event: options.EventId = "",
    at: options.At = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """The location cannot supply it, or the units that are named. The exception rules say what becomes of them.

    What is not-found is taken off the location's stock; what is damaged or
    set-aside stays there and is not sellable; with the other reasons stock
    stays as it is.

    \b
    Examples:
      truestock shipment reject 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 --reason not-found
      truestock shipment reject 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 1:1 --reason damaged
    """
    request = fulfillment_pb.RejectShipmentRequest(
        shipment_id=options.shipment_id(shipment),
        reason=fulfillment_pb.RejectReason.Value(f"REJECT_REASON_{_capitals(reason)}"),
        lines=[options.line_units(text) for text in lines or []],
        event_id=event,
        event_time=options.moment(at, "--at"),
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> Allocation:
        return (await client.ask(client.fulfilment.RejectShipment, request)).allocation

    show_allocation(call(server, ask), as_json)


@shipment.command()
def reassign(
    shipment: options.ShipmentId,
    actor: Annotated[
        str, typer.Option("--as", metavar="NAME", help="Who says so. It counts as a manual intervention.")
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="LOCATION", help="Where it goes; where the rules say if left out.")
    ] = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Moves everything that has not left to another location, all of it or nothing.

    \b
    Examples:
      truestock shipment reassign 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 --to store-denver --as kim
      truestock shipment reassign 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 --as kim
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


def take_back(
    order: Annotated[str, typer.Argument(metavar="ALLOCATION|CHANNEL/ORDER", help="An allocation's id, or an order.")],
    lines: Annotated[list[str], typer.Argument(metavar="LINE:UNITS…", help="Units of each line.")],
    disposition: Annotated[Disposition, typer.Option("--disposition", help="What the units are now.")],
    to: Annotated[
        str, typer.Option("--to", metavar="LOCATION", help="Where the units are now; not for not-returned.")
    ] = "",
    event: options.EventId = "",
    at: options.At = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Units that had left came back to a location; or were refunded without coming back.

    \b
    Examples:
      truestock return shopify/1001 1:1 --disposition sellable --to store-austin --event R-1
      truestock return shopify/1001 1:1 2:1 --disposition inspect --to dc-memphis
      truestock return shopify/1001 1:1 --disposition not-returned
    """
    named = options.allocation_reference(order)
    request = fulfillment_pb.RecordReturnRequest(
        lines=[options.line_units(text) for text in lines],
        disposition=fulfillment_pb.ReturnDisposition.Value(f"RETURN_DISPOSITION_{_capitals(disposition)}"),
        location_id=to,
        event_id=event,
        event_time=options.moment(at, "--at"),
        request_id=options.request_id(request_id),
    )

    async def ask(client: Client) -> Allocation:
        request.allocation_id = await client.allocation_id(named)
        return (await client.ask(client.fulfilment.RecordReturn, request)).allocation

    show_allocation(call(server, ask), as_json)


def _state(word: str) -> Shipment.State.ValueType:
    if word not in STATES:
        raise typer.BadParameter(f"--state {word!r} is none of: {', '.join(STATES)}")
    return STATES[word]


def _capitals(word: str) -> str:
    return word.upper().replace("-", "_")
