"""Shipments as tables: the work list of locations, and the shipments of one order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from google.type.date_pb2 import Date
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.cli.console import add_row, enum_word, format_ago, format_time, new_table
from truestock.v1.shipment_pb2 import DateStep, Parcel, Shipment, ShipmentLine

_FINISHED = (
    *(Shipment.STATE_CANCELLED, Shipment.STATE_REJECTED, Shipment.STATE_DELIVERED),
    *(Shipment.STATE_COLLECTED, Shipment.STATE_UNCOLLECTED),
)
_REASONS = {
    DateStep.REASON_CUT_OFF_MISSED: "after the cut-off",
    DateStep.REASON_AFTER_CLOSING: "after closing",
    DateStep.REASON_CLOSED: "closed",
    DateStep.REASON_HOLIDAY: "holiday",
    DateStep.REASON_HANDLING: "in work",
    DateStep.REASON_CARRIER_OFF: "no carrier",
    DateStep.REASON_TRANSIT: "on the way",
    DateStep.REASON_CAPACITY: "full",
}


def print_shipments(console: Console, shipments: Sequence[Shipment]) -> None:
    """Prints a work list, one row for each line of a shipment."""
    if not shipments:
        console.print("No matching shipments. `--all` also lists those that are finished.")
        return
    has_parcels = any(shipment.parcels for shipment in shipments)
    columns = (*_counts(shipments), "state", "assigned", "ship by", *(["parcels"] if has_parcels else []))
    table = _with_ids("location", "order", "line", "SKU", *columns)
    for shipment in shipments:
        order, assigned = f"{shipment.channel_id}/{shipment.order_id}", format_ago(shipment.assign_time)
        parcels = "\n".join(_parcel_name(parcel) for parcel in shipment.parcels) or "-"
        for cells in _lines(shipment, shipments):
            add_row(
                table,
                _location(shipment),
                order,
                *cells,
                assigned,
                format_time(shipment.ship_by_time),
                *([parcels] if has_parcels else []),
                shipment.shipment_id,
            )
    console.print(table)


def _location(shipment: Shipment) -> str:
    """The location, and where its units of a pickup order go if they do not wait there."""
    if shipment.transfer_to_location_id:
        return f"{shipment.location_id} to {shipment.transfer_to_location_id}"
    return f"{shipment.location_id} to shopper" if shipment.ship_to_shopper else shipment.location_id


def order_shipments(shipments: Sequence[Shipment]) -> Table:
    """The shipments of one order, past ones too; one row for each line of a shipment."""
    table = _with_ids("location", "distance", "line", "SKU", *_counts(shipments), "state", "ship by", "deliver on")
    table.title = "Shipments"
    for shipment in shipments:
        distance = f"{shipment.distance_km:,.0f} km" if shipment.HasField("distance_km") else "-"
        for cells in _lines(shipment, shipments):
            add_row(
                table,
                _location(shipment),
                distance,
                *cells,
                format_time(shipment.ship_by_time),
                weekday_text(shipment.deliver_date) if shipment.HasField("deliver_date") else "-",
                shipment.shipment_id or "-",
            )
    return table


def date_lines(shipments: Iterable[Shipment]) -> Iterator[Text]:
    """A sentence for each shipment that is not finished about why it does not ship or arrive earlier."""
    for shipment in shipments:
        if shipment.date_steps and shipment.state not in _FINISHED:
            yield Text(f"From {shipment.location_id}: {steps_text(shipment.date_steps)}.", "dim")


def steps_text(steps: Iterable[DateStep]) -> str:
    """Why something does not ship or arrive earlier, such as `Wed 02 Dec closed; Thu 03 Dec on the way`."""
    return "; ".join(f"{_days(step)} {_reason(step)}" for step in steps)


def _reason(step: DateStep) -> str:
    return _REASONS.get(step.reason) or enum_word(DateStep.Reason, step.reason, "REASON_")


def _days(step: DateStep) -> str:
    first, last = weekday_text(step.first_day), weekday_text(step.last_day)
    return first if first == last else f"{first} to {last}"


def weekday_text(day: Date) -> str:
    """A date with its day of the week, such as `Wed 02 Dec`."""
    return f"{date(day.year, day.month, day.day):%a %d %b}"


def parcel_lines(shipments: Iterable[Shipment]) -> Iterator[Text]:
    """A sentence for each parcel."""
    for shipment in shipments:
        for parcel in shipment.parcels:
            units = ", ".join(f"{line.unit_count} of line {line.line_id}" for line in parcel.lines) or "no units"
            yield Text(f"Parcel {_parcel_name(parcel)} from {shipment.location_id}: {units}.")


def _parcel_name(parcel: Parcel) -> str:
    return f"{parcel.carrier} {parcel.tracking_number}".strip()


def _with_ids(*columns: str) -> Table:
    return new_table(*columns, "shipment", numbers=("distance", "units", "to ship", "shipped", "returned"))


def _counts(shipments: Iterable[Shipment]) -> list[str]:
    """The columns of units: a single one while nothing has shipped."""
    lines = [line for shipment in shipments for line in shipment.lines]
    if not any(line.shipped_count for line in lines):
        return ["units"]
    return ["to ship", "shipped", *(["returned"] if any(line.returned_count for line in lines) else [])]


def _lines(shipment: Shipment, shipments: Iterable[Shipment]) -> list[tuple[object, ...]]:
    """The cells of each line, with the unit columns that the table of `shipments` has; one row if there is no line."""
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
    """The state of a line's units, with the reason if the location rejected all of them: `rejected (not found)`."""
    state = enum_word(Shipment.State, shipment.state, "STATE_")
    if shipment.reject_reason and not line.unit_count and not line.shipped_count:
        return f"rejected ({shipment.reject_reason.replace('_', ' ')})"
    return state
