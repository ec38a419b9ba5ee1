"""Stock movements and transfers as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from service.cli.console import add_row, enum_word, format_time, new_table
from truestock.v1.stock_service_pb2 import StockMovementRecord, Transfer

_DELTAS = ("on hand", "not sellable", "held", "allocated")


def print_movements(console: Console, movements: Sequence[StockMovementRecord]) -> None:
    """Prints the movements."""
    if not movements:
        console.print("No matching movements.")
        return
    numbers = (*_DELTAS, "reported")
    table = new_table(
        "recorded", "SKU", "location", "kind", *numbers, "result", "source", "reason", "allocation", numbers=numbers
    )
    for movement in movements:
        deltas = (movement.on_hand_delta, movement.unavailable_delta, movement.held_delta, movement.allocated_delta)
        reported = movement.reported_count if movement.HasField("reported_count") else "-"
        cells = (*(f"{delta:+d}" if delta else "·" for delta in deltas), reported, movement.result, movement.source)
        add_row(
            table,
            format_time(movement.ingest_time),
            movement.sku,
            movement.location_id,
            movement.kind.replace("_", " "),
            *cells,
            movement.reason or "-",
            movement.allocation_id or "-",
        )
    console.print(table)


def print_transfer(console: Console, transfer: Transfer) -> None:
    """Prints one transfer, a row for each product."""
    state = enum_word(Transfer.State, transfer.state, "STATE_")
    route = f"from {transfer.from_location_id} to {transfer.to_location_id}"
    console.print(f"Transfer {transfer.transfer_id} {route}: {state}", markup=False)
    console.print(_lines([transfer]))


def print_transfers(console: Console, transfers: Sequence[Transfer]) -> None:
    """Prints the transfers, a row for each product."""
    if not transfers:
        console.print("No matching transfers. `truestock transfer dispatch` starts one.")
        return
    console.print(_lines(transfers))


def _lines(transfers: Sequence[Transfer]) -> Table:
    numbers = ("dispatched", "received", "in transit", "lost", "returned")
    times = ("dispatched at", "expected at", "ended at")
    table = new_table("transfer", "from", "to", "SKU", *numbers, *times, numbers=numbers)
    for transfer in transfers:
        for line in transfer.lines:
            missing = max(0, line.dispatched_count - line.received_count - line.returned_count) or "-"
            is_in_transit = transfer.state == Transfer.STATE_IN_TRANSIT
            add_row(
                table,
                transfer.transfer_id,
                transfer.from_location_id,
                transfer.to_location_id,
                line.sku,
                line.dispatched_count,
                line.received_count,
                *((missing, "-") if is_in_transit else ("-", missing)),
                line.returned_count or "-",
                format_time(transfer.dispatch_time),
                format_time(transfer.expect_time),
                format_time(transfer.complete_time),
            )
    return table
