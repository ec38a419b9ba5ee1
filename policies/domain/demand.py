"""An order's lines as the parts that planning places: sets of units that ship whole from one permitted location."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from policies.domain.kits import KitPart
from policies.domain.model import Order, OrderLine
from policies.domain.placement import ANYWHERE, Placement


@dataclass(frozen=True, slots=True)
class PartLine:
    """The units of one order line in a part: `unit_count` of them, `units_per_set` in each set."""

    line_id: str
    sku: str
    unit_count: int
    units_per_set: int


@dataclass(frozen=True, slots=True)
class DemandPart:
    """`set_count` sets, each of `units` by SKU, each whole from one of the locations that `placement` allows.

    The units of a plain line are sets of one unit. Lines that are kept together are one set. Kits are as many sets.
    `kits` are the kits in each set, by SKU. `split_kit` is set of units of a kit that may be split, each a set.
    """

    lines: tuple[PartLine, ...]
    units: Mapping[str, int]
    set_count: int
    placement: Placement = ANYWHERE
    kits: Mapping[str, int] = field(default_factory=dict)
    split_kit: KitPart | None = None

    @property
    def set_size(self) -> int:
        """Units of all SKUs in one set."""
        return sum(self.units.values())

    @property
    def needs(self) -> Mapping[str, int]:
        """What each set takes of stock and limits, by SKU: its units, and its kits, which rules limit as such."""
        return {**self.units, **self.kits} if self.kits else self.units

    def line_units(self, first: int, set_count: int) -> Iterator[tuple[PartLine, int]]:
        """Units of each line in `set_count` sets after the `first` ones; lines of single units follow each other."""
        if self.set_size > 1:
            yield from ((line, line.units_per_set * set_count) for line in self.lines)
            return
        start = 0
        for line in self.lines:
            end = start + line.unit_count
            count = min(end, first + set_count) - max(start, first)
            if count > 0:
                yield line, count
            start = end


def demand_parts(order: Order) -> tuple[DemandPart, ...]:
    """The parts of an order, in the order of their first lines; together they have all its units.

    Lines of one SKU with the same restrictions are one part. A group may use only locations that all its lines may use.
    What is left of an item after a cancellation is whole kits, and component units beyond whole kits are single units.
    """
    members: dict[tuple[object, ...], list[OrderLine]] = {}
    for line in order.lines:
        members.setdefault(_part_key(line), []).append(line)
    return tuple(part for lines in members.values() for part in _parts(lines))


def is_placed_freely(order: Order) -> bool:
    """Whether no line of the order has a restriction, belongs to a group, or is a component of a kit."""
    return all(line.placement is ANYWHERE and line.kit is None for line in order.lines)


def _part_key(line: OrderLine) -> tuple[object, ...]:
    placement = line.placement
    if placement.keep_together:
        return ("together", placement.keep_together)
    if placement.kit_line_id:
        return ("kit", placement.kit_line_id)
    if line.kit is not None:
        return ("split", line.kit.line_id)
    return ("sku", line.sku, placement.only_location_ids, placement.not_location_ids)


def _parts(lines: list[OrderLine]) -> Iterator[DemandPart]:
    placement = lines[0].placement
    if placement.keep_together:
        together = [PartLine(x.line_id, x.sku, x.unit_count, x.unit_count) for x in lines]
        yield _part(together, 1, _common(lines), _kits_together(lines))
    elif placement.kit_line_id:
        yield from _kit_parts(lines)
    elif lines[0].kit is not None:
        yield from _split_kit_parts(lines)
    else:
        yield _singles(lines, placement)


def _kit_parts(lines: list[OrderLine]) -> Iterator[DemandPart]:
    """Whole items or kits, then whole kits of items that are not whole any more, then units beyond whole kits."""
    placement = _common(lines)
    left = {line.line_id: line.unit_count for line in lines}
    for sizes, kits in _sets_of_kits(lines):
        set_count = min(left[line_id] // size for line_id, size in sizes.items())
        if set_count:
            together = [PartLine(x.line_id, x.sku, sizes[x.line_id] * set_count, sizes[x.line_id]) for x in lines]
            yield _part(together, set_count, placement, kits)
            left = {line_id: count - sizes[line_id] * set_count for line_id, count in left.items()}
    for line in lines:
        rest = left[line.line_id]
        if rest:
            yield DemandPart((PartLine(line.line_id, line.sku, rest, 1),), {line.sku: 1}, rest, placement)


def _sets_of_kits(lines: list[OrderLine]) -> Iterator[tuple[dict[str, int], dict[str, int]]]:
    """The units of each line that ship together, and the kits in them by SKU; an item may be several kits."""
    kit = lines[0].kit
    kits_per_set = 0 if kit is None else lines[0].placement.units_per_kit // kit.unit_count
    kits = {kit.sku: kits_per_set} if kit is not None and kits_per_set else {}
    yield {line.line_id: line.placement.units_per_kit for line in lines}, kits
    if kit is not None and kits_per_set > 1:
        yield {line.line_id: line.kit.unit_count for line in lines if line.kit is not None}, {kit.sku: 1}


def _singles(lines: list[OrderLine], placement: Placement) -> DemandPart:
    part_lines = tuple(PartLine(line.line_id, line.sku, line.unit_count, 1) for line in lines)
    return DemandPart(part_lines, {lines[0].sku: 1}, sum(line.unit_count for line in lines), placement)


def _split_kit_parts(lines: list[OrderLine]) -> Iterator[DemandPart]:
    """A part of each component's units in whole kits, and one of those beyond."""
    kits = [(line, line.kit) for line in lines if line.kit is not None]
    kit_count = min(line.unit_count // kit.unit_count for line, kit in kits)
    placement = _common(lines)
    for line, kit in kits:
        count = kit_count * kit.unit_count
        for units, split_kit in ((count, kit), (line.unit_count - count, None)):
            if units:
                part_line = PartLine(line.line_id, line.sku, units, 1)
                yield DemandPart((part_line,), {line.sku: 1}, units, placement, split_kit=split_kit)


def _kits_together(lines: Iterable[OrderLine]) -> dict[str, int]:
    """Whole kits, by SKU, of lines that are one set."""
    kits: dict[tuple[str, str], int] = {}
    for line in lines:
        if line.kit is not None:
            key, count = (line.kit.sku, line.kit.line_id), line.unit_count // line.kit.unit_count
            kits[key] = min(kits.get(key, count), count)
    units: dict[str, int] = {}
    for (sku, _), count in kits.items():
        units[sku] = units.get(sku, 0) + count
    return {sku: count for sku, count in units.items() if count}


def _part(lines: list[PartLine], set_count: int, placement: Placement, kits: Mapping[str, int]) -> DemandPart:
    units: dict[str, int] = {}
    for line in lines:
        units[line.sku] = units.get(line.sku, 0) + line.units_per_set
    return DemandPart(tuple(lines), units, set_count, placement, kits)


def _common(lines: Iterable[OrderLine]) -> Placement:
    """The restrictions of all lines together."""
    only: frozenset[str] | None = None
    excluded: frozenset[str] = frozenset()
    for line in lines:
        listed = line.placement.only_location_ids
        if listed is not None:
            only = listed if only is None else only & listed
        excluded |= line.placement.not_location_ids
    return Placement(only, excluded)
