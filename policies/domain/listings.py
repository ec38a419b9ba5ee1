"""Listings: what a channel sells under an id of its own, and how many units of which SKU that is."""

from __future__ import annotations

from dataclasses import dataclass

ItemKey = tuple[str, str]
"""(Channel id, item id)."""


@dataclass(frozen=True, slots=True)
class Listing:
    """An item of a channel: each is `unit_count` units of one SKU."""

    channel_id: str
    item_id: str
    sku: str
    unit_count: int = 1

    def __post_init__(self) -> None:
        if self.unit_count < 1:
            raise ValueError(f"item {self.item_id} has {self.unit_count} units; it must have 1 or more")

    @property
    def key(self) -> ItemKey:
        """(Channel id, item id)."""
        return self.channel_id, self.item_id


@dataclass(frozen=True, slots=True)
class OrderedItem:
    """What an order line orders of an item of its channel: `count` items of `units_each` units of the line's SKU.

    `units_each` is 0 as long as no listing maps the item; each item then counts as one unit of an unknown SKU.
    """

    item_id: str
    count: int
    units_each: int = 0

    @property
    def is_mapped(self) -> bool:
        """Whether it is known what the item is."""
        return self.units_each > 0

    def units(self, item_count: int) -> int:
        """The units of so many items."""
        return item_count * (self.units_each or 1)

    def items(self, units: int) -> int:
        """How many items these units belong to: a part of an item counts as one."""
        return -(-units // (self.units_each or 1))


def whole_items(units: int, units_each: int) -> int:
    """How many whole items of `units_each` units there are in these units; 0 for less than none."""
    return max(0, units) // units_each
