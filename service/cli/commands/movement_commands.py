"""Commands on what moved: movements, and transfers between two locations."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from service.cli import options
from service.cli.client import Client, call
from service.cli.console import output, print_json
from service.cli.views.movement_views import print_movements, print_transfer, print_transfers
from truestock.v1.stock_service_pb2 import (
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
    help="""Moves stock from one location to another. On its way, it is nobody's to sell.

    \b
    Examples:
      truestock transfer dispatch T-1001 TRN-1205-MOS:4 --from dc-memphis --to store-austin
      truestock transfer receive T-1001 TRN-1205-MOS:4
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

TransferId = Annotated[str, typer.Argument(metavar="TRANSFER", help="Your own number for the transfer.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="Most entries to list.")]


def movements(
    skus: Annotated[list[str] | None, typer.Argument(metavar="[SKU…]", help="All if left out; at most 500.")] = None,
    location: Annotated[list[str] | None, typer.Option("--location", help="Only here; repeat for more.")] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Only these, such as counted or shipped; repeat for more.")
    ] = None,
    order: Annotated[
        str, typer.Option("--order", metavar="ALLOCATION|CHANNEL/ORDER", help="Only those of one order.")
    ] = "",
    limit: Limit = 100,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lists what moved stock, or was heard and moved nothing, the newest first.

    \b
    Examples:
      truestock movements TRN-1205-MOS --location store-austin
      truestock movements --order shopify/1001
      truestock movements --kind transferred_in --kind received --limit 1000
    """
    of_order = options.allocation_reference(order) if order else None

    async def ask(client: Client) -> tuple[list[StockMovementRecord], bool]:
        request = ListStockMovementsRequest(skus=skus or [], location_ids=location or [], kinds=kind or [])
        if of_order is not None:
            request.allocation_id = await client.allocation_id(of_order)
        return await client.listed(client.stock.ListStockMovements, request, lambda page: page.stock_movements, limit)

    found, more = call(server, ask)
    if as_json:
        print_json(found)
    else:
        print_movements(output(), found, more=more)


@transfer.command()
def dispatch(
    transfer_id: TransferId,
    units: Annotated[list[str], typer.Argument(metavar="SKU:UNITS…", help="What leaves.")],
    origin: Annotated[str, typer.Option("--from", metavar="LOCATION", help="Where it leaves.")],
    destination: Annotated[str, typer.Option("--to", metavar="LOCATION", help="Where it goes.")],
    expect: Annotated[
        str, typer.Option("--expect", metavar="TIME", help="When it should be there, such as 2026-11-30T09:00Z.")
    ] = "",
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Says that units leave a location for another; only what is available can, all of it or nothing.

    \b
    Examples:
      truestock transfer dispatch T-1001 TRN-1205-MOS:4 \\
        --from dc-memphis --to store-austin
      truestock transfer dispatch T-1002 TRN-1205-MOS:4 QLM-1404-CRE:2 \\
        --from dc-memphis --to store-austin --expect 2026-11-30T09:00Z
    """
    step = TransferDispatch(from_location_id=origin, to_location_id=destination, units=_units(units))
    if expect:
        step.expect_time.FromDatetime(_time(expect))
    request = TransferStockRequest(transfer_id=transfer_id, dispatch=step, request_id=options.request_id(request_id))
    _show(server, request, as_json)


@transfer.command()
def receive(
    transfer_id: TransferId,
    units: Annotated[list[str] | None, typer.Argument(metavar="[SKU:UNITS…]", help="What arrived this time.")] = None,
    complete: Annotated[
        bool, typer.Option("--complete", help="Nothing more will come: what is missing is lost.")
    ] = False,
    request_id: options.RequestId = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Says what arrived of a transfer; it may be more or less than left, and come in parts.

    \b
    Examples:
      truestock transfer receive T-1001 TRN-1205-MOS:3
      truestock transfer receive T-1001 --complete
    """
    if not units and not complete:
        raise typer.BadParameter("say what arrived, as SKU:UNITS, or that nothing more will come, with --complete")
    step = TransferReceipt(units=_units(units or []), complete=complete)
    request = TransferStockRequest(transfer_id=transfer_id, receipt=step, request_id=options.request_id(request_id))
    _show(server, request, as_json)


@transfer.command("list")
def list_(
    location: Annotated[str, typer.Option("--location", help="Only from or to here.")] = "",
    in_transit: Annotated[bool, typer.Option("--in-transit", help="Only those still on their way.")] = False,
    limit: Limit = 100,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lists transfers, the newest first.

    \b
    Examples:
      truestock transfer list --in-transit
      truestock transfer list --location store-austin --limit 1000
    """

    async def ask(client: Client) -> tuple[list[Transfer], bool]:
        request = ListTransfersRequest(location_id=location, in_transit_only=in_transit)
        return await client.listed(client.stock.ListTransfers, request, lambda page: page.transfers, limit)

    transfers, more = call(server, ask)
    if as_json:
        print_json(transfers)
    else:
        print_transfers(output(), transfers, more=more)


def _show(server: str, request: TransferStockRequest, as_json: bool) -> None:
    async def ask(client: Client) -> Transfer:
        return (await client.ask(client.stock.TransferStock, request)).transfer

    answer = call(server, ask)
    if as_json:
        print_json(answer)
    else:
        print_transfer(output(), answer)


def _units(texts: list[str]) -> list[TransferUnits]:
    found = []
    for text in texts:
        match = re.fullmatch(r"(.+):([0-9]{1,9})", text)
        if match is None:
            raise typer.BadParameter(f"{text!r} is not SKU:UNITS, such as MUG:2")
        found.append(TransferUnits(sku=match[1], unit_count=int(match[2])))
    return found


def _time(text: str) -> datetime:
    """A moment; one without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"--expect {text!r} is no time, such as 2026-11-30T09:00Z") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
