"""Where the units of an order line may come from, and which other units they must ship with."""

from __future__ import annotations

from dataclasses import dataclass, replace

from policies.domain.listings import OrderedItem


@dataclass(frozen=True, slots=True)
class Placement:
    """What an order says of where one of its lines ships from.

    Only locations of `only_location_ids` may ship it (None: any), and none of `not_location_ids`. All lines of an order
    with the same `keep_together` ship from one location, all their units or none. Lines with the same `kit_line_id` are
    the components of kits: they ship in whole kits of `units_per_kit` units of each line, every kit from one location.
    Components of a kit that may be split have no `kit_line_id` here. `keep_together` includes whole kits.
    """

    only_location_ids: frozenset[str] | None = None
    not_location_ids: frozenset[str] = frozenset()
    keep_together: str = ""
    kit_line_id: str = ""
    units_per_kit: int = 0

    def __post_init__(self) -> None:
        if bool(self.kit_line_id) != (self.units_per_kit > 0):
            raise ValueError("kit_line_id and units_per_kit must be set together")

    @property
    def is_grouped(self) -> bool:
        """Whether the line's units ship together with units of other lines."""
        return bool(self.keep_together or self.kit_line_id)

    @property
    def stated(self) -> Placement:
        """What the order itself states, without what its items and kits say."""
        if not self.kit_line_id:
            return self
        stated = replace(self, kit_line_id="", units_per_kit=0)
        return ANYWHERE if stated == ANYWHERE else stated

    def allows(self, location_id: str) -> bool:
        """Whether the location may ship the line."""
        is_listed = self.only_location_ids is None or location_id in self.only_location_ids
        return is_listed and location_id not in self.not_location_ids


ANYWHERE = Placement()
"""No restriction and no group: every line of most orders."""


def of_whole_items(placement: Placement, line_id: str, item: OrderedItem | None) -> Placement:
    """Where a line may ship from that orders an item of its channel: each item whole from one location, like a kit."""
    if item is None or item.units_each <= 1 or placement.kit_line_id:
        return placement
    return replace(placement, kit_line_id=line_id, units_per_kit=item.units_each)
