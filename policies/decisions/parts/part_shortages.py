"""The units that a decision does not promise to an order whose lines have restrictions or groups, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.kits.kit_limits import KitLimit
from policies.decisions.order_limits import UsableUnits
from policies.decisions.planning.plans import Plan
from policies.decisions.shortages import (
    KEPT_TOGETHER,
    LINE_RESTRICTED,
    NO_CAPACITY,
    OUTLET_SHORT,
    TOO_LATE,
    Shortage,
    ShortageKind,
)
from policies.decisions.withheld import withheld_units
from policies.domain.demand import DemandPart, PartLine
from policies.domain.model import Order
from policies.domain.placement import ANYWHERE, Placement


def part_shortages(
    parts: Sequence[DemandPart],
    question: RoutingQuestion,
    order: Order,
    usable: UsableUnits,
    plan: Plan,
    *,
    kits: Mapping[str, KitLimit],
) -> tuple[Shortage, ...]:
    """The short units of each line, part by part; no usable or withheld unit explains two of them.

    Units that permitted locations have are unfillable, unless rules of a kit's own SKU keep them. Then come those that
    rules keep there, then those that only locations have which the line may not use or that are outside the chosen
    outlet, and last the oversold ones.
    """
    leftover = _Leftover(question, usable, plan, kits)
    placed = {line.line_id: 0 for line in order.lines}
    for load in plan.loads:
        for line_id, count in load.lines.items():
            placed[line_id] += count
    shortages: list[Shortage] = []
    for part in parts:
        for line in part.lines:
            # A line may have units in two parts: whole kits, and components beyond them.
            from_line = min(line.unit_count, placed[line.line_id])
            placed[line.line_id] -= from_line
            shortages += leftover.explain(part, line, line.unit_count - from_line)
    return tuple(shortages)


@dataclass(slots=True)
class _Leftover:
    """Units that the plan does not use, by SKU and location id, less those that explain a shortage already."""

    question: RoutingQuestion
    usable: UsableUnits
    plan: Plan
    kits: Mapping[str, KitLimit]
    units: dict[str, dict[str, int]] = field(init=False)
    total: dict[str, int] = field(init=False)
    explained: dict[tuple[str, ShortageKind], int] = field(default_factory=dict)
    """Short units of each SKU that are explained by rules."""
    outside: dict[str, int] = field(init=False)
    """Units of each SKU outside the chosen outlet that explain no shortage yet."""
    full: dict[str, int] = field(init=False)
    """Units of each SKU at locations that are full that explain no shortage yet."""
    late: dict[str, int] = field(init=False)
    """Units of each SKU at locations that are too late that explain no shortage yet."""

    def __post_init__(self) -> None:
        self.units = {sku: dict(units) for sku, units in self.usable.units.items()}
        self.outside, self.late = dict(self.usable.outside_outlet), dict(self.usable.too_late)
        self.full = {sku: self.usable.total_beyond_capacity(sku) for sku in self.usable.beyond_capacity}
        self.total = {sku: self.usable.total(sku) for sku in self.units}
        for load in self.plan.loads:
            for sku, count in load.units.items():
                self.units[sku][load.location_id] -= count
                self.total[sku] -= count

    def explain(self, part: DemandPart, line: PartLine, count: int) -> Iterator[Shortage]:
        """Why these units of a line are short."""
        there = self._consume(line.sku, part.placement, count)
        count -= there
        for short in self._kept_as_kits(part, line, there):
            yield short
            there -= short.unit_count
        cause = KEPT_TOGETHER if part.set_size > 1 or part.split_kit is not None else ""
        yield from _shortage(line, there, ShortageKind.UNFILLABLE, cause=cause)
        full = min(count, self.full.get(line.sku, 0))
        if full:
            self.full[line.sku] -= full
            yield from _shortage(line, full, ShortageKind.UNFILLABLE, cause=NO_CAPACITY)
            count -= full
        if count:
            withheld = withheld_units(self.question, self.usable, line.sku, part.placement)
            for kind, units, rules in (
                (ShortageKind.HELD_BY_BUFFER, withheld.held_by_buffer, withheld.buffers),
                (ShortageKind.BLOCKED_BY_RULE, withheld.blocked, withheld.blocks),
            ):
                key = (line.sku, kind)
                kept = min(count, max(0, units - self.explained.get(key, 0)))
                self.explained[key] = self.explained.get(key, 0) + kept
                yield from _shortage(line, kept, kind, rules)
                count -= kept
        elsewhere = self._consume(line.sku, ANYWHERE, count)
        yield from _shortage(line, elsewhere, ShortageKind.UNFILLABLE, cause=LINE_RESTRICTED)
        count -= elsewhere
        outside = min(count, self.outside.get(line.sku, 0))
        if outside:
            self.outside[line.sku] -= outside
            yield from _shortage(line, outside, ShortageKind.UNFILLABLE, cause=OUTLET_SHORT)
            count -= outside
        late = min(count, self.late.get(line.sku, 0))
        if late:
            self.late[line.sku] -= late
            yield from _shortage(line, late, ShortageKind.UNFILLABLE, cause=TOO_LATE)
        yield from _shortage(line, count - late, ShortageKind.OVERSELL)

    def _kept_as_kits(self, part: DemandPart, line: PartLine, count: int) -> Iterator[Shortage]:
        """Which of these units are there, but kept from the order by rules of the kit's own."""
        kits = dict(part.kits)
        size = line.units_per_set
        if part.split_kit is not None:
            kits, size = {part.split_kit.sku: 1}, part.split_kit.unit_count
        for sku, kits_per_set in kits.items():
            limit = self.kits.get(sku)
            if limit is None:
                continue
            for kind, kept_kits, rules in (
                (ShortageKind.HELD_BY_BUFFER, limit.held_by_buffer, limit.buffers),
                (ShortageKind.BLOCKED_BY_RULE, limit.blocked, limit.blocks),
            ):
                key = (f"{sku}/{line.sku}", kind)
                sets = -(-kept_kits // kits_per_set)
                kept = min(count, max(0, sets * size - self.explained.get(key, 0)))
                self.explained[key] = self.explained.get(key, 0) + kept
                yield from _shortage(line, kept, kind, rules)
                count -= kept

    def _consume(self, sku: str, placement: Placement, count: int) -> int:
        """Uses up to `count` leftover units at locations that the placement allows; returns how many."""
        consumed = 0
        units = self.units.get(sku, {})
        for location_id in units:
            if placement.allows(location_id):
                taken = max(0, min(count - consumed, units[location_id], self.total[sku]))
                units[location_id] -= taken
                self.total[sku] -= taken
                consumed += taken
        return consumed


def _shortage(
    line: PartLine, count: int, kind: ShortageKind, rules: tuple[str, ...] = (), cause: str = ""
) -> Iterator[Shortage]:
    if count:
        yield Shortage(line.line_id, line.sku, count, kind, rules, cause)
