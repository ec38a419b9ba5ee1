"""Pools and outlets as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from service.cli.console import add_row, new_table
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
