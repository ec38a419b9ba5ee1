"""The files of pools, and of the outlets of channels."""

from __future__ import annotations

from service import limits
from service.cli.files.file_kind import Cells, CsvColumn, FileKind
from service.cli.spreadsheets.cell_text import join_list
from service.cli.spreadsheets.cell_values import entries_of, identifier, text
from truestock.v1.outlet_pb2 import Outlet, Pool


def make_pool(cells: Cells) -> Pool:
    """A pool from one row."""
    return Pool(**cells)


def pool_cells(pool: Pool) -> dict[str, str]:
    """A pool as one row."""
    return {
        "pool_id": pool.pool_id,
        "display_name": pool.display_name,
        "location_ids": join_list(pool.location_ids),
    }


def make_outlet(cells: Cells) -> Outlet:
    """An outlet from one row."""
    if ("location_id" in cells) == ("pool_id" in cells):
        raise ValueError("fill in location_id or pool_id, one of them")
    return Outlet(**cells)


def outlet_cells(outlet: Outlet) -> dict[str, str]:
    """An outlet as one row."""
    return {
        "channel_id": outlet.channel_id,
        "outlet_id": outlet.outlet_id,
        "display_name": outlet.display_name,
        "location_id": outlet.location_id,
        "pool_id": outlet.pool_id,
    }


POOLS = FileKind(
    "pool",
    ("pool_id",),
    (
        CsvColumn("pool_id", identifier, "such as stores-west", required=True),
        CsvColumn("display_name", text(limits.TEXT_LENGTH), "name for people", free_text=True),
        CsvColumn("location_ids", entries_of(identifier), "its locations, separated by |", required=True),
    ),
    make_pool,
    pool_cells,
    {},
)
OUTLETS = FileKind(
    "outlet",
    ("channel_id", "outlet_id"),
    (
        CsvColumn("channel_id", identifier, "the channel that calls it so, such as tiktok_shop", required=True),
        CsvColumn(
            "outlet_id", text(limits.ID_LENGTH), "what the channel calls its location or warehouse", required=True
        ),
        CsvColumn("display_name", text(limits.TEXT_LENGTH), "name for people", free_text=True),
        CsvColumn("location_id", identifier, "the location that it is; empty if it is a pool"),
        CsvColumn("pool_id", identifier, "the pool that it is; empty if it is a location"),
    ),
    make_outlet,
    outlet_cells,
    {"": "outlet_id"},
)
