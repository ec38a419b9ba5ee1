"""Kits: products that consist of other products, which are sold on their own too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from policies.domain.listings import OrderedItem
from policies.domain.placement import ANYWHERE, Placement


@dataclass(frozen=True, slots=True)
class Kit:
    """One kit: the units of each component in it, by SKU, in the order in which the retailer names them.

    `may_split`: the components of one kit may be shipped from several locations.
    """

    sku: str
    components: Mapping[str, int] = field(hash=False)
    may_split: bool = False

    def __post_init__(self) -> None:
        if not self.components or min(self.components.values()) < 1:
            raise ValueError(f"the kit {self.sku} needs at least one component, each with at least 1 unit")
        if self.sku in self.components:
            raise ValueError(f"the kit {self.sku} cannot be a component of itself")

    def count_in(self, units: Mapping[str, int]) -> int:
        """How many whole kits these units, by SKU, make up."""
        return min(units.get(sku, 0) // unit_count for sku, unit_count in self.components.items())


class Kits:
    """The kits of a catalog: `by_sku`, and which of them contain a product, `by_component`."""

    __slots__ = ("by_component", "by_sku")

    def __init__(self, kits: Iterable[Kit] = ()) -> None:
        self.by_sku = {kit.sku: kit for kit in kits}
        self.by_component: dict[str, tuple[str, ...]] = {}
        for kit in self.by_sku.values():
            for sku in kit.components:
                self.by_component[sku] = (*self.by_component.get(sku, ()), kit.sku)

    def components_of(self, skus: Iterable[str]) -> set[str]:
        """The components of those SKUs that are kits."""
        by_sku = self.by_sku
        return {component for sku in skus if sku in by_sku for component in by_sku[sku].components} if by_sku else set()


@dataclass(frozen=True, slots=True)
class KitPart:
    """What an order line is of an ordered kit: the units of one of its components.

    `line_id` is the line on which the kit was ordered, `unit_count` are the component's units in one kit.
    """

    line_id: str
    sku: str
    unit_count: int
    may_split: bool = False


NO_KITS = Kits()


def of_kit(placement: Placement, part: KitPart, item: OrderedItem | None) -> Placement:
    """Where a component's line may ship from whose kit was ordered with this placement.

    Each kit, or each `item` of the channel that has kits, is shipped whole from one location, unless the kit may be
    split.
    """
    units = part.unit_count if item is None or not item.is_mapped else item.units_each
    kit_line_id, units = ("", 0) if part.may_split else (part.line_id, units)
    placed = replace(placement, kit_line_id=kit_line_id, units_per_kit=units)
    return ANYWHERE if placed == ANYWHERE else placed
