"""The file of listings."""

from __future__ import annotations

from service import limits
from service.cli.files.file_kind import Cells, CsvColumn, FileKind
from service.cli.spreadsheets.cell_values import identifier, text, whole_number
from truestock.v1.listing_pb2 import Listing


def make_listing(cells: Cells) -> Listing:
    """A listing from one row."""
    return Listing(**cells)


def listing_cells(listing: Listing) -> dict[str, str]:
    """A listing as one row."""
    return {
        "channel_id": listing.channel_id,
        "item_id": listing.item_id,
        "sku": listing.sku,
        "unit_count": str(listing.unit_count),
    }


LISTINGS = FileKind(
    "listing",
    ("channel_id", "item_id"),
    (
        CsvColumn("channel_id", identifier, "the channel that sells the item", required=True),
        CsvColumn("item_id", text(limits.ITEM_ID_LENGTH), "the channel's own id of the item, as text", required=True),
        CsvColumn("sku", text(limits.SKU_LENGTH), "the SKU that it consists of", required=True),
        CsvColumn("unit_count", whole_number(1, limits.ITEM_UNITS), "units of the SKU in one item; 1 if empty"),
    ),
    make_listing,
    listing_cells,
    {},
)
