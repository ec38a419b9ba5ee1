"""Shipments as tables: the work list of locations, and where an order goes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from service.cli.console import age, clock, count, enum_word, row, table
from truestock.v1.shipment_pb2 import Shipment, ShipmentLine


def print_shipments(console: Console, shipments: Sequence[Shipment], *, more: bool) -> None:
    """A work list, one row for each line of a shipment; `more` says that the list was cut."""
    if not shipments:
        console.print("No such shipments. `--all` lists those that are over, too.")
        return
    made = _with_ids("location", "order", "line", "SKU", *_counts(shipments), "state", "assigned", "ship by")
    for shipment in shipments:
        order, since = f"{shipment.channel_id}/{shipment.order_id}", age(shipment.assign_time)
        for cells in _lines(shipment, shipments):
            row(made, shipment.location_id, order, *cells, since, clock(shipment.ship_by_time), shipment.shipment_id)
    console.print(made)
    if more:
        shown = count(len(shipments), "shipment")
        console.print(f"The first {shown}; there are more: name --location, --state, or a higher --limit.")


def order_shipments(shipments: Sequence[Shipment]) -> Table:
    """Where an order goes from and went from, one row for each line of a shipment."""
    made = _with_ids("location", "distance", "line", "SKU", *_counts(shipments), "state")
    made.title = "Where it goes from"
    for shipment in shipments:
        distance = f"{shipment.distance_km:,.0f} km" if shipment.HasField("distance_km") else "-"
        for cells in _lines(shipment, shipments):
            row(made, shipment.location_id, distance, *cells, shipment.shipment_id)
    return made


def _with_ids(*columns: str) -> Table:
    made = table(*columns, "shipment", numbers=("distance", "units", "to leave", "left", "returned"))
    # An id is copied into the next command, so it stays in one piece where a terminal is narrow.
    made.columns[-1].no_wrap = True
    return made


def _counts(shipments: Iterable[Shipment]) -> list[str]:
    """The columns of units: where nothing has left they need no telling apart."""
    lines = [line for shipment in shipments for line in shipment.lines]
    if not any(line.shipped_count for line in lines):
        return ["units"]
    return ["to leave", "left", *(["returned"] if any(line.returned_count for line in lines) else [])]


def _lines(shipment: Shipment, shipments: Iterable[Shipment]) -> list[tuple[object, ...]]:
    """Line, SKU, units in the columns that all `shipments` of the table need, and state; one row if nothing is left."""
    columns = len(_counts(shipments))
    return [
        (
            line.line_id or "-",
            line.sku or "-",
            *(line.unit_count, line.shipped_count, line.returned_count)[:columns],
            _state(shipment, line),
        )
        for line in shipment.lines or [ShipmentLine()]
    ]


def _state(shipment: Shipment, line: ShipmentLine) -> str:
    """The state of a line's units, with the reason where the location rejected all of them: `rejected (not found)`."""
    state = enum_word(Shipment.State.Name(shipment.state), "STATE_")
    if shipment.reject_reason and not line.unit_count and not line.shipped_count:
        return f"rejected ({shipment.reject_reason.replace('_', ' ')})"
    return state
