"""The file of declared feeds."""

from __future__ import annotations

from service import limits
from service.cli.files.file_kind import Cells, CsvColumn, FileKind
from service.cli.spreadsheets.cell_text import join_list
from service.cli.spreadsheets.cell_values import (
    YES_NO,
    choice,
    entries_of,
    enum_words,
    identifier,
    text,
    whole_number,
    word_of,
)
from truestock.v1.catalog_service_pb2 import Feed

_ROLES = enum_words(Feed.Role.keys(), "ROLE_", Feed.Role.Value)
_BASES = enum_words(Feed.Basis.keys(), "BASIS_", Feed.Basis.Value)
_OPEN_ORDERS = enum_words(Feed.OpenOrders.keys(), "OPEN_ORDERS_", Feed.OpenOrders.Value)


def make_feed(cells: Cells) -> Feed:
    """A feed from one row."""
    return Feed(**cells)


def feed_cells(feed: Feed) -> dict[str, str]:
    """A feed as one row."""
    cells = {
        "source": feed.source,
        "role": word_of(_ROLES, feed.role),
        "basis": word_of(_BASES, feed.basis),
        "open_orders": word_of(_OPEN_ORDERS, feed.open_orders),
        "location_ids": join_list(feed.location_ids),
        "skus": join_list(feed.skus),
        "tolerance_units": str(feed.tolerance_units),
        "computed": word_of(YES_NO, feed.computed),
        "display_name": feed.display_name,
    }
    if feed.HasField("cadence_minutes"):
        cells["cadence_minutes"] = str(feed.cadence_minutes)
    return cells


FEEDS = FileKind(
    "feed",
    ("source",),
    (
        CsvColumn("source", text(limits.ID_LENGTH), "source of the reports, such as pos-austin or wms", required=True),
        CsvColumn(
            "role",
            choice(_ROLES),
            "owner, whose counts set the stock level, or observer, whose counts are only compared",
            required=True,
        ),
        CsvColumn("basis", choice(_BASES), "on_hand or available; on_hand if empty"),
        CsvColumn("open_orders", choice(_OPEN_ORDERS), "gross, or net if open orders are subtracted; gross if empty"),
        CsvColumn("location_ids", entries_of(identifier), "locations that it reports, separated by |; all if empty"),
        CsvColumn(
            "skus",
            entries_of(text(limits.SKU_LENGTH)),
            r"products that it reports, separated by |; \| is a | in a SKU; all if empty",
        ),
        CsvColumn(
            "cadence_minutes",
            whole_number(1, limits.CADENCE_MINUTES),
            "minutes between reports; empty if silence is no problem",
        ),
        CsvColumn(
            "tolerance_units",
            whole_number(0, limits.COUNTED_UNITS),
            "units by which an observer may differ; 0 if empty",
        ),
        CsvColumn(
            "computed", choice(YES_NO), "yes if a program computes its figures, such as a till or a WMS; no if empty"
        ),
        CsvColumn("display_name", text(limits.TEXT_LENGTH), "name for people", free_text=True),
    ),
    make_feed,
    feed_cells,
    {"": "source"},
)
