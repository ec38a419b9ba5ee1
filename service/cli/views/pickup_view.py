"""Pickup locations as a table."""

from __future__ import annotations

from rich.console import Console

from service.cli.console import add_row, format_time, new_table
from truestock.v1.pickup_pb2 import PickupLocation, SearchPickupLocationsResponse


def print_pickup_locations(console: Console, response: SearchPickupLocationsResponse, radius_km: float) -> None:
    """Prints the locations, nearest first, with what each lacks of the cart."""
    if not response.locations:
        console.print(f"No such location within {radius_km:g} km.")
    else:
        table = new_table("location", "km", "whole cart", "ready", "sent there", "short", "reasons", numbers=("km",))
        for location in response.locations:
            add_row(
                table,
                location.location_id,
                f"{location.distance_km:.1f}",
                "yes" if location.whole_cart else "no",
                _ready(location),
                ", ".join(f"{x.unit_count} from {x.location_id}" for x in location.sources if x.transfer) or "-",
                ", ".join(f"{short.short_count} x {short.sku}" for short in location.shortages) or "-",
                _reasons(location) or "-",
            )
        console.print(table)
    if response.more_locations:
        console.print("There are more locations within the radius; see --limit.")
    console.print(f"rules {response.policy_revision}, stock as of {format_time(response.stock_read_time)}", style="dim")


def _ready(location: PickupLocation) -> str:
    if location.HasField("ready_time"):
        return format_time(location.ready_time)
    return "time not stated" if location.whole_cart else "-"


def _reasons(location: PickupLocation) -> str:
    texts = [f"{x.sku or x.line_id}: {x.reason}" if x.sku or x.line_id else x.reason for x in location.reasons]
    rules = [f" ({x.rule})" if x.rule else "" for x in location.reasons]
    return "; ".join(dict.fromkeys(text + rule for text, rule in zip(texts, rules, strict=True)))
