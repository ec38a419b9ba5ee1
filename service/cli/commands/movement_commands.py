"""Commands on stock movements, and on transfers between two locations."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from policies.stock.counting import MOVEMENT_KINDS
from service.cli import options, unknown_names
from service.cli.client import Client, call
from service.cli.console import print_json, stdout_console
from service.cli.listed_entries import matching, say_more
from service.cli.views.movement_views import print_movements, print_transfer, print_transfers
from truestock.v1.allocation_service_pb2 import FindIdsRequest
from truestock.v1.stock_service_pb2 import (
    CancelTransferRequest,
    ListStockMovementsRequest,
    ListTransfersRequest,
    StockMovementRecord,
    Transfer,
    TransferDispatch,
    TransferReceipt,
    TransferStockRequest,
    TransferUnits,
)

transfer = typer.Typer(
    name="transfer",
    help="""Transfers stock from one location to another. Units in transit cannot be sold.

    \b
    Examples:
      truestock transfer dispatch T-1001 TRN-1205-MOS:4 \\
        --from dc-memphis --to store-austin
      truestock transfer receive T-1001 TRN-1205-MOS:4
      truestock transfer cancel T-1001
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

TransferId = Annotated[str, typer.Argument(metavar="TRANSFER", help="Your number of the transfer.")]
_CUT_SHORT = re.compile(r"(?<=.)(…|\.\.\.)\Z")
ExistingTransferId = Annotated[
    str, typer.Argument(metavar="TRANSFER", help="Your number of the transfer, or its beginning followed by `...`.")
]
EffectiveTime = Annotated[
    str,
    typer.Option(
        "--at",
        metavar="TIME",
        help="When it happened, such as 2026-11-30T09:00Z; now by default. A count since then includes it.",
    ),
]
_KINDS = {kind: kind for kind in MOVEMENT_KINDS}
Limit = Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="Maximum number of entries.")]


def movements(
    skus: Annotated[
        list[str] | None, typer.Argument(metavar="[SKU…]", help="At most 500; all SKUs by default.")
    ] = None,
    location: Annotated[list[str] | None, typer.Option("--location", help="Only this location; repeatable.")] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help=f"Only this kind; repeatable: {', '.join(MOVEMENT_KINDS)}.")
    ] = None,
    order: Annotated[
        str, typer.Option("--order", metavar="ALLOCATION|CHANNEL/ORDER", help="Only movements of this order.")
    ] = "",
    limit: Limit = 100,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lists stock movements, also reported ones without effect on stock, newest first.

    \b
    Examples:
      truestock movements TRN-1205-MOS --location store-austin
      truestock movements --order shopify/1001
      truestock movements --kind transferred_in --kind received --limit 1000
    """
    reference = options.allocation_reference(order) if order else None

    kinds = [options.word("--kind", text, _KINDS) for text in kind or []]

    async def ask(client: Client) -> tuple[list[StockMovementRecord], bool, list[str]]:
        request = ListStockMovementsRequest(skus=skus or [], location_ids=location or [], kinds=kinds)
        if reference is not None:
            request.allocation_id = await client.allocation_id(reference)
        entries, names = (lambda page: page.stock_movements), {"skus": skus, "location_ids": location}
        return await matching(client, client.stock.ListStockMovements, request, entries, limit, **names)

    listed, more, unknown = call(server, ask)
    if as_json:
        print_json(listed)
    else:
        print_movements(stdout_console(), listed)
    say_more(len(listed), "movement", more=more, end="newest")
    unknown_names.refuse_unknown(unknown)


@transfer.command()
def dispatch(
    transfer_id: TransferId,
    units: Annotated[list[str], typer.Argument(metavar="SKU:UNITS…", help="SKUs and units that are sent.")],
    origin: Annotated[str, typer.Option("--from", metavar="LOCATION", help="The sending location.")],
    destination: Annotated[str, typer.Option("--to", metavar="LOCATION", help="The receiving location.")],
    expect: Annotated[
        str, typer.Option("--expect", metavar="TIME", help="Expected arrival, such as 2026-11-30T09:00Z.")
    ] = "",
    at: EffectiveTime = "",
    shipment: Annotated[
        str,
        typer.Option("--shipment", metavar="SHIPMENT", help="The shipment of a pickup order that goes to its store."),
    ] = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Records that a location sends available units to another location, all of them or none.

    With --shipment they are the units of a pickup order whose store lacks
    them.

    \b
    Examples:
      truestock transfer dispatch T-1001 TRN-1205-MOS:4 \\
        --from dc-memphis --to store-austin
      truestock transfer dispatch T-1002 TRN-1205-MOS:4 QLM-1404-CRE:2 \\
        --from dc-memphis --to store-austin --expect 2026-11-30T09:00Z
      truestock transfer dispatch T-1003 TRN-1205-MOS:4 \\
        --from dc-memphis --to store-austin --at 2026-11-26T08:30Z
    """
    step = TransferDispatch(
        from_location_id=origin,
        to_location_id=destination,
        units=_units(units),
        effective_time=options.timestamp(at, "--at"),
        expect_time=options.timestamp(expect, "--expect"),
        shipment_id=options.shipment_id(shipment) if shipment else "",
    )
    request = TransferStockRequest(transfer_id=transfer_id, dispatch=step, request_id=options.request_id(request_id))
    _show(server, request, as_json)


@transfer.command()
def receive(
    transfer_id: ExistingTransferId,
    units: Annotated[
        list[str] | None, typer.Argument(metavar="[SKU:UNITS…]", help="SKUs and units that arrived now.")
    ] = None,
    complete: Annotated[
        bool, typer.Option("--complete", help="Complete the transfer: missing units are lost.")
    ] = False,
    at: EffectiveTime = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Records the units of a transfer that arrived: in parts, and more or fewer than were sent.

    \b
    Examples:
      truestock transfer receive T-1001 TRN-1205-MOS:3
      truestock transfer receive T-1001 --complete
    """
    if not units and not complete:
        raise typer.BadParameter("name the units that arrived, as SKU:UNITS, or complete the transfer with --complete")
    step = TransferReceipt(units=_units(units or []), complete=complete, effective_time=options.timestamp(at, "--at"))
    request = TransferStockRequest(transfer_id=transfer_id, receipt=step, request_id=options.request_id(request_id))
    _show(server, request, as_json)


@transfer.command()
def cancel(
    transfer_id: ExistingTransferId,
    at: Annotated[
        str,
        typer.Option(
            "--at",
            metavar="TIME",
            help="When the units were back in stock, such as 2026-11-30T09:00Z. By default they are back now, except "
            "for units that a count has found since the dispatch.",
        ),
    ] = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Calls off a transfer in transit: units that were not received are at the origin again.

    \b
    Examples:
      truestock transfer cancel T-1001
      truestock transfer cancel T-1001 --at 2026-11-26T08:30Z
    """
    request = CancelTransferRequest(
        transfer_id=transfer_id, effective_time=options.timestamp(at, "--at"), request_id=options.request_id(request_id)
    )
    _show(server, request, as_json)


@transfer.command("list")
def list_(
    location: Annotated[str, typer.Option("--location", help="Only from or to this location.")] = "",
    in_transit: Annotated[bool, typer.Option("--in-transit", help="Only transfers in transit.")] = False,
    limit: Limit = 100,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lists transfers, newest first.

    \b
    Examples:
      truestock transfer list --in-transit
      truestock transfer list --location store-austin --limit 1000
    """

    async def ask(client: Client) -> tuple[list[Transfer], bool, list[str]]:
        request = ListTransfersRequest(location_id=location, in_transit_only=in_transit)
        named = [location] if location else []
        return await matching(
            client, client.stock.ListTransfers, request, lambda page: page.transfers, limit, location_ids=named
        )

    transfers, more, unknown = call(server, ask)
    if as_json:
        print_json(transfers)
    else:
        print_transfers(stdout_console(), transfers)
    say_more(len(transfers), "transfer", more=more, end="newest")
    unknown_names.refuse_unknown(unknown)


def _show(server: str, request: TransferStockRequest | CancelTransferRequest, as_json: bool) -> None:
    async def ask(client: Client) -> Transfer:
        # Retailers number their transfers, and T-10 begins with T-1: only what is marked as cut short is completed.
        beginning = _CUT_SHORT.sub("", request.transfer_id)
        if beginning != request.transfer_id and not _is_dispatch(request):
            request.transfer_id = await client.whole_id(FindIdsRequest.KIND_TRANSFER, beginning)
        if isinstance(request, CancelTransferRequest):
            return (await client.ask(client.stock.CancelTransfer, request)).transfer
        return (await client.ask(client.stock.TransferStock, request)).transfer

    transfer = call(server, ask)
    if as_json:
        print_json(transfer)
    else:
        print_transfer(stdout_console(), transfer)


def _is_dispatch(request: TransferStockRequest | CancelTransferRequest) -> bool:
    return isinstance(request, TransferStockRequest) and request.HasField("dispatch")


def _units(texts: list[str]) -> list[TransferUnits]:
    units = []
    for text in texts:
        match = re.fullmatch(r"(.+):([0-9]{1,9})", text)
        if match is None:
            raise typer.BadParameter(f"{text!r} is not SKU:UNITS, such as MUG:2")
        units.append(TransferUnits(sku=match[1], unit_count=int(match[2])))
    return units
