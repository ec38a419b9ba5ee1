"""Requests about kits, checked and turned into rows; rows as messages."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from service import limits
from service.catalog.catalog_requests import Row, read_all
from service.rpc.validation import Fields
from truestock.v1 import kit_pb2


def kit_rows(kits: Sequence[kit_pb2.Kit]) -> list[Row]:
    """Rows of `kit`. Raises InvalidFields."""
    return read_all("kits", kits, lambda kit: kit.sku, "sku", _kit)


def kit_sku(request: kit_pb2.DeleteKitRequest) -> str:
    """The SKU of the kit to delete. Raises InvalidFields."""
    fields = Fields()
    fields.sku("sku", request.sku)
    fields.finish()
    return request.sku


def kit_message(row: asyncpg.Record) -> kit_pb2.Kit:
    """A row of `kit` as the API shows it."""
    return kit_pb2.Kit(
        sku=row["sku"],
        components=[
            kit_pb2.KitComponent(sku=sku, unit_count=unit_count)
            for sku, unit_count in zip(row["component_skus"], row["component_units"], strict=True)
        ],
        may_split=row["may_split"],
    )


def _kit(fields: Fields, at: str, message: kit_pb2.Kit) -> Row:
    sku = fields.sku(f"{at}.sku", message.sku)
    components = message.components
    first_indexes: dict[str, int] = {}
    if fields.size(f"{at}.components", components, 1, limits.KIT_COMPONENTS):
        for index, component in enumerate(components):
            field = f"{at}.components[{index}]"
            fields.sku(f"{field}.sku", component.sku)
            if component.sku and component.sku == sku:
                fields.wrong(f"{field}.sku", f"'{sku}' is the kit itself; name the products that it consists of")
            if component.sku in first_indexes:
                problem = f"'{component.sku}' is components[{first_indexes[component.sku]}] too; add up their units"
                fields.wrong(f"{field}.sku", problem)
            first_indexes.setdefault(component.sku, index)
            fields.whole_number(f"{field}.unit_count", component.unit_count or 1, 1, limits.KIT_UNITS)
    return {
        "sku": sku,
        "component_skus": [component.sku for component in components],
        "component_units": [component.unit_count or 1 for component in components],
        "may_split": message.may_split,
    }
