"""Pools and outlets as tables, and what channels may sell at outlets."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from service.cli.console import add_row, new_table
from truestock.v1.availability_service_pb2 import Availability, OutletAvailability
from truestock.v1.outlet_pb2 import Outlet, Pool


def print_pools(console: Console, pools: Sequence[Pool]) -> None:
    """Prints pools, by id."""
    if not pools:
        console.print("No matching pools. `truestock import pools FILE.csv` adds some.")
        return
    table = new_table("pool", "name", "locations")
    for pool in pools:
        add_row(table, pool.pool_id, pool.display_name or "-", ", ".join(pool.location_ids))
    console.print(table)


def print_outlets(console: Console, outlets: Sequence[Outlet]) -> None:
    """Prints outlets, by channel and id."""
    if not outlets:
        console.print("No matching outlets. `truestock import outlets FILE.csv` adds some.")
        return
    table = new_table("channel", "outlet", "name", "location", "pool")
    for outlet in outlets:
        add_row(
            table,
            outlet.channel_id,
            outlet.outlet_id,
            outlet.display_name or "-",
            outlet.location_id or "-",
            outlet.pool_id or "-",
        )
    console.print(table)


def print_outlet_figures(console: Console, availabilities: Sequence[Availability]) -> None:
    """Prints what a channel may sell of each SKU at each outlet, and what the other units are."""
    if not availabilities:
        return
    numbers = ("sellable", "kept by rules", "promised here", "promised elsewhere", "not sellable", "on hand")
    table = new_table("SKU", "outlet", *numbers, numbers=numbers)
    for item in availabilities:
        # A channel without outlets has one row for all its locations.
        for outlet in item.outlets or [_whole_channel(item)]:
            add_row(
                table,
                item.sku,
                outlet.outlet_id or "none",
                outlet.sellable_count,
                outlet.kept_by_rules_count,
                outlet.promised_to_channel_count,
                outlet.promised_elsewhere_count,
                outlet.unavailable_count,
                outlet.on_hand_count,
            )
    console.print(table)


def _whole_channel(item: Availability) -> OutletAvailability:
    promised = item.promised_to_channel_count + item.promised_elsewhere_count
    return OutletAvailability(
        sellable_count=item.sellable_count,
        kept_by_rules_count=item.kept_by_rules_count,
        promised_to_channel_count=item.promised_to_channel_count,
        promised_elsewhere_count=item.promised_elsewhere_count,
        unavailable_count=item.unavailable_count,
        on_hand_count=item.sellable_count + item.kept_by_rules_count + promised + item.unavailable_count,
    )
