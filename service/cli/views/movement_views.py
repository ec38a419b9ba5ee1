"""Movements and transfers as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from service.cli.console import clock, count, row, table
from truestock.v1.stock_service_pb2 import StockMovementRecord, Transfer

_DELTAS = ("on hand", "not sellable", "held", "allocated")


def print_movements(console: Console, movements: Sequence[StockMovementRecord], *, more: bool) -> None:
    """What moved; `more` says that the list was cut."""
    if not movements:
        console.print("Nothing has moved there.")
        return
    numbers = (*_DELTAS, "said")
    made = table("heard", "SKU", "location", "what", *numbers, "result", "source", "because", "order", numbers=numbers)
    for one in movements:
        deltas = (one.on_hand_delta, one.unavailable_delta, one.held_delta, one.allocated_delta)
        said = one.reported_count if one.HasField("reported_count") else "-"
        cells = (*(f"{delta:+d}" if delta else "·" for delta in deltas), said, one.result, one.source)
        row(
            made,
            clock(one.ingest_time),
            one.sku,
            one.location_id,
            one.kind.replace("_", " "),
            *cells,
            one.reason or "-",
            one.allocation_id or "-",
        )
    console.print(made)
    if more:
        console.print(
            f"The newest {count(len(movements), 'movement')}; there are more: narrow it, or a higher --limit."
        )


def print_transfer(console: Console, transfer: Transfer) -> None:
    """One transfer, product by product."""
    state = "settled" if transfer.state == Transfer.STATE_COMPLETED else "on its way"
    way = f"from {transfer.from_location_id} to {transfer.to_location_id}"
    console.print(f"Transfer {transfer.transfer_id} {way}: {state}", markup=False)
    console.print(_lines([transfer]))


def print_transfers(console: Console, transfers: Sequence[Transfer], *, more: bool) -> None:
    """Transfers, a row for each product; `more` says that the list was cut."""
    if not transfers:
        console.print("There are no such transfers. `truestock transfer dispatch` begins one.")
        return
    console.print(_lines(transfers))
    if more:
        console.print(
            f"The newest {count(len(transfers), 'transfer')}; there are more: narrow it, or a higher --limit."
        )


def _lines(transfers: Sequence[Transfer]) -> Table:
    numbers = ("left", "arrived", "on its way", "lost")
    made = table("transfer", "from", "to", "SKU", *numbers, "dispatched", "expected", "settled", numbers=numbers)
    for one in transfers:
        times = (clock(one.dispatch_time), clock(one.expect_time), clock(one.complete_time))
        for line in one.lines:
            missing = max(0, line.dispatched_count - line.received_count)
            settled = one.state == Transfer.STATE_COMPLETED
            where = ("-", missing or "-") if settled else (missing or "-", "-")
            counts = (line.dispatched_count, line.received_count, *where)
            row(made, one.transfer_id, one.from_location_id, one.to_location_id, line.sku, *counts, *times)
    return made
