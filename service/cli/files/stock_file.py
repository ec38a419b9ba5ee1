"""The file of stock: what was counted of a product at a location."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from service import limits
from service.cli.files.file_kind import Cells, CsvColumn, FileKind
from service.cli.files.product_file import SKU
from service.cli.spreadsheets.cell_values import (
    YES_NO,
    choice,
    enum_words,
    identifier,
    whole_number,
    word_of,
    zoned_time,
)
from truestock.v1.stock_service_pb2 import (
    StockChange,
    StockCount,
    StockLevel,
    UnavailableReason,
    UnavailableUnits,
    Untracked,
)

_REASONS = {
    f"unavailable_{word}": number
    for word, number in enum_words(UnavailableReason.keys(), "UNAVAILABLE_REASON_", UnavailableReason.Value).items()
}


def make_count(cells: Cells) -> StockChange:
    """A count from one row, without change id, and without time if the row has none: the importer sets them."""
    on_hand = cells["on_hand_count"]
    count = StockCount(on_hand_count=on_hand, computed=cells.get("computed"))
    by_reason = {column: cells[column] for column in _REASONS if column in cells}
    if "unavailable_count" in cells:
        count.unavailable_count = cells["unavailable_count"]
    unavailable = max(sum(by_reason.values()), count.unavailable_count)
    if unavailable > on_hand:
        column = "unavailable_count" if "unavailable_count" in cells else "the sum of the unavailable units"
        raise ValueError(f"{column} is above on_hand_count; count unavailable units in both")
    if by_reason and count.HasField("unavailable_count") and sum(by_reason.values()) != count.unavailable_count:
        raise ValueError("unavailable_count is not the sum of the reasons; correct one of them, or leave it empty")
    count.unavailable.extend(
        UnavailableUnits(reason=_REASONS[column], unit_count=units) for column, units in by_reason.items()
    )
    change = StockChange(sku=cells["sku"], location_id=cells["location_id"], count=count)
    if "counted_at" in cells:
        change.effective_time.FromDatetime(cells["counted_at"])
    return change


def make_untracked(cells: Cells) -> StockChange | None:
    """What follows the count of a row whose product is no longer tracked at the location."""
    if not cells.get("untracked"):
        return None
    change = StockChange(sku=cells["sku"], location_id=cells["location_id"], untracked=Untracked())
    if "counted_at" in cells:
        change.effective_time.FromDatetime(cells["counted_at"])
    return change


def stock_cells(level: StockLevel) -> dict[str, str]:
    """A stock level as the count that records it again, at the time at which its figure was last true.

    A person's count is exported as one only if nothing has moved since. A figure below 0, which only shipments can
    make, is exported as a count of 0. Units of orders and units on their way are no counts.
    """
    on_hand = max(level.on_hand_count, level.unavailable_count, 0)
    by_reason = {entry.reason: entry.unit_count for entry in level.unavailable if entry.unit_count}
    cells: dict[str, Any] = {
        "sku": level.sku,
        "location_id": level.location_id,
        "on_hand_count": str(on_hand),
        "unavailable_count": str(level.unavailable_count),
        "counted_at": level.as_of_time.ToDatetime(UTC).isoformat().replace("+00:00", "Z"),
        "computed": word_of(YES_NO, level.physical_count_time != level.as_of_time),
        "untracked": word_of(YES_NO, level.untracked),
    }
    if sum(by_reason.values()) == level.unavailable_count:
        cells |= {column: str(by_reason[reason]) for column, reason in _REASONS.items() if reason in by_reason}
    return cells


STOCK = FileKind(
    "count",
    ("sku", "location_id"),
    (
        SKU,
        CsvColumn("location_id", identifier, "where it was counted", required=True),
        CsvColumn(
            "on_hand_count",
            whole_number(0, limits.COUNTED_UNITS),
            "units physically there, sellable or not",
            required=True,
        ),
        CsvColumn(
            "unavailable_count",
            whole_number(0, limits.COUNTED_UNITS),
            "units on hand that are not sellable; unchanged if empty",
        ),
        *(
            CsvColumn(
                column,
                whole_number(0, limits.COUNTED_UNITS),
                f"of these, {column.removeprefix('unavailable_').replace('_', ' ')}; the reasons add up",
            )
            for column in _REASONS
        ),
        CsvColumn("counted_at", zoned_time, "time of the count, such as 2026-11-27T09:00:00Z; now if empty"),
        CsvColumn(
            "computed",
            choice(YES_NO),
            "yes if a program wrote the figure, no if a person counted; if empty, as --computed or --counted says, "
            "else as the feed declares, else a person counted",
        ),
        CsvColumn("untracked", choice(YES_NO), "yes if nothing is sold from it until a new count; no if empty"),
    ),
    make_count,
    stock_cells,
    {
        "count.on_hand_count": "on_hand_count",
        "count.unavailable_count": "unavailable_count",
        "effective_time": "counted_at",
    },
    follow_up=make_untracked,
)
