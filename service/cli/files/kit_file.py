"""The file of kits: one row for each kit, with all its components."""

from __future__ import annotations

from service import limits
from service.cli.files.file_kind import Cells, CsvColumn, FileKind
from service.cli.files.product_file import SKU
from service.cli.spreadsheets.cell_text import join_list
from service.cli.spreadsheets.cell_values import YES_NO, choice, entries_of, text, whole_number
from truestock.v1.kit_pb2 import Kit, KitComponent

_sku, _units = text(limits.SKU_LENGTH), whole_number(1, limits.KIT_UNITS)


def component(entry: str) -> KitComponent:
    """Reads `SKU:UNITS`, or a SKU alone, which is one unit. Raises ValueError."""
    sku, separator, units = entry.rpartition(":")
    if not separator or not units.strip().isdecimal():
        return KitComponent(sku=_sku(entry), unit_count=1)
    return KitComponent(sku=_sku(sku.strip()), unit_count=_units(units.strip()))


def make_kit(cells: Cells) -> Kit:
    """A kit from one row."""
    return Kit(sku=cells["sku"], components=cells["components"], may_split=cells.get("may_split", False))


def kit_cells(kit: Kit) -> dict[str, str]:
    """A kit as one row."""
    components = join_list(f"{component.sku}:{component.unit_count}" for component in kit.components)
    return {"sku": kit.sku, "components": components, "may_split": "yes" if kit.may_split else ""}


KITS = FileKind(
    "kit",
    ("sku",),
    (
        SKU,
        CsvColumn(
            "components",
            entries_of(component),
            r"SKU:UNITS, separated by |, such as MUG:2|TRAY:1; one unit without :UNITS; \| is a | in a SKU",
            required=True,
        ),
        CsvColumn("may_split", choice(YES_NO), "yes if one kit may be shipped from several locations; no if empty"),
    ),
    make_kit,
    kit_cells,
    {"components": "components"},
)
