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


def whole_items(units: int, units_each: int) -> int:
    """How many whole items of `units_each` units there are in these units; 0 for less than none."""
    return max(0, units) // units_each
