"""Checks the lines of an order. A SOLD order is taken without what is unusable: one bad line never refuses it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeVar

from policies.domain.listings import OrderedItem
from policies.domain.model import OrderLine
from policies.domain.placement import ANYWHERE, Placement
from service import limits
from service.errors import Violation
from service.rpc.validation import Fields
from truestock.v1 import order_pb2

T = TypeVar("T")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNREADABLE = "\N{REPLACEMENT CHARACTER}"
SKU_FORM = f"1 to {limits.SKU_LENGTH} characters, without spaces around them and control characters"
"""The form of a SKU that a product can have."""
ITEM_FORM = f"1 to {limits.ITEM_ID_LENGTH} characters, without spaces around them and control characters"
"""The form of an item id that a listing can have."""


class LenientFields(Fields):
    """Checks the fields of an order. If it is lenient, a value that the order can do without is left out.

    `left_out` says which values, and why.
    """

    def __init__(self, *, is_lenient: bool) -> None:
        super().__init__()
        self.is_lenient = is_lenient
        self.left_out: list[Violation] = []

    def usable(self, check: Callable[[Fields], T | None], *, given: bool = True) -> T | None:
        """The value that a check returns; None if the check finds violations, or if no value is `given` to check."""
        if not given:
            return None
        strict = Fields()
        value = check(strict)
        if not strict.violations:
            return value
        found = self.left_out if self.is_lenient else self.violations
        found += strict.violations
        return None


def order_lines(fields: LenientFields, lines: Sequence[order_pb2.OrderLine]) -> list[OrderLine]:
    """The lines of an order. A line without units, or with the id of another line, is never one."""
    if not fields.size("lines", lines, 1, limits.ORDER_LINES):
        return []
    checked: list[OrderLine] = []
    used_ids: set[str] = set()
    has_one_currency = len(lines) == 1 or fields.usable(lambda strict: _has_one_currency(strict, lines))
    for index, line in enumerate(lines):
        at = f"lines[{index}]"
        violations_before = len(fields.violations)
        sku, item_id = _ordered(fields, at, line)
        fields.whole_number(f"{at}.unit_count", line.unit_count, 1, limits.LINE_UNITS)
        line_id = fields.text(f"{at}.line_id", line.line_id, longest=limits.LINE_ID_LENGTH) or str(index + 1)
        if line_id in used_ids:
            fields.wrong(f"{at}.line_id", f"'{line_id}' is also the id of another line of this order")
        used_ids.add(line_id)
        price = _price(fields, f"{at}.unit_price", line) if has_one_currency else None
        placement = _placement(fields, at, line)
        if len(fields.violations) == violations_before:
            item = OrderedItem(item_id, line.unit_count) if item_id else None
            checked.append(OrderLine(line_id, sku, line.unit_count, price, placement, item))
    return checked


def as_kept(text: str, longest: int) -> str:
    """Text that a caller sent, as far as it can be stored: so many characters, and none that PostgreSQL refuses."""
    return _CONTROL.sub(_UNREADABLE, text[:longest])


def is_possible_sku(sku: str) -> bool:
    """Whether this SKU, as a line keeps it, can be one of the catalog."""
    fields = Fields()
    fields.sku("sku", sku)
    return not fields.violations and _UNREADABLE not in sku


def is_possible_item(item_id: str) -> bool:
    """Whether this item id, as a line keeps it, can be that of a listing."""
    fields = Fields()
    fields.text("item_id", item_id, longest=limits.ITEM_ID_LENGTH, required=True)
    return not fields.violations and _UNREADABLE not in item_id


def _ordered(fields: LenientFields, at: str, line: order_pb2.OrderLine) -> tuple[str, str]:
    """The SKU and the item id that a line names, one of which is empty; both are where a sold one names two."""
    if not line.item_id:
        return _as_sent(fields, f"{at}.sku", line.sku, fields.sku), ""
    if line.sku:
        both = Violation(f"{at}.item_id", "name either sku or item_id")
        (fields.left_out if fields.is_lenient else fields.violations).append(both)
        return "", ""
    return "", _as_sent(
        fields,
        f"{at}.item_id",
        line.item_id,
        lambda field, id: fields.text(field, id, longest=limits.ITEM_ID_LENGTH, required=True) or "",
    )


def _as_sent(fields: LenientFields, field: str, name: str, check: Callable[[str, str], str]) -> str:
    """A SKU or item id as its channel sent it, as far as it can be stored; one of an impossible form is unknown."""
    if not fields.is_lenient:
        return check(field, name)
    kept = as_kept(name, limits.SOLD_SKU_LENGTH)
    if len(name) > len(kept):
        fields.left_out.append(Violation(field, f"has {len(name):,} characters; the first {len(kept)} are kept"))
    return kept


def _price(fields: LenientFields, field: str, line: order_pb2.OrderLine) -> Decimal | None:
    return fields.usable(lambda strict: strict.money(field, line.unit_price), given=line.HasField("unit_price"))


def _placement(fields: LenientFields, at: str, line: order_pb2.OrderLine) -> Placement:
    if not line.only_location_ids and not line.not_location_ids and not line.keep_together:
        return ANYWHERE
    only = _location_ids(fields, f"{at}.only_location_ids", line.only_location_ids)
    without = _location_ids(fields, f"{at}.not_location_ids", line.not_location_ids)
    if not fields.is_lenient and only and only <= without:
        fields.wrong(f"{at}.only_location_ids", "are all in not_location_ids too, so no location may ship the line")
    group = fields.usable(
        lambda strict: strict.text(f"{at}.keep_together", line.keep_together, longest=limits.GROUP_LENGTH)
    )
    return Placement(only or None, without, group or "")


def _location_ids(fields: LenientFields, field: str, ids: Sequence[str]) -> frozenset[str]:
    """The ids of a list. Of a SOLD order, an id that no location can have stays in it, and matches none."""
    if not fields.is_lenient:
        if fields.size(field, ids, 0, limits.LINE_LOCATIONS):
            for index, location_id in enumerate(ids):
                fields.text(f"{field}[{index}]", location_id, longest=limits.ID_LENGTH, required=True)
        return frozenset(ids)
    if len(ids) > limits.LINE_LOCATIONS:
        text = f"has {len(ids):,} entries; the first {limits.LINE_LOCATIONS} are kept"
        fields.left_out.append(Violation(field, text))
    kept = ids[: limits.LINE_LOCATIONS]
    return frozenset(as_kept(location_id, limits.ID_LENGTH) or _UNREADABLE for location_id in kept)


def _has_one_currency(fields: Fields, lines: Sequence[order_pb2.OrderLine]) -> bool:
    currencies = sorted({line.unit_price.currency_code for line in lines if line.HasField("unit_price")})
    if len(currencies) > 1:
        fields.wrong("lines", f"mix the currencies {', '.join(currencies)}; one order has one currency")
    return len(currencies) <= 1
