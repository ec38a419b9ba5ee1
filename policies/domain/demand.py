"""An order's lines as the parts that planning places: sets of units that ship whole from one permitted location."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

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
    """

    lines: tuple[PartLine, ...]
    units: Mapping[str, int]
    set_count: int
    placement: Placement = ANYWHERE

    @property
    def set_size(self) -> int:
        """Units of all SKUs in one set."""
        return sum(self.units.values())

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
    Component units beyond whole kits, as after a cancellation, are single units.
    """
    members: dict[tuple[object, ...], list[OrderLine]] = {}
    for line in order.lines:
        members.setdefault(_part_key(line), []).append(line)
    return tuple(part for lines in members.values() for part in _parts(lines))


def is_placed_freely(order: Order) -> bool:
    """Whether no line of the order has a restriction or belongs to a group."""
    return all(line.placement is ANYWHERE for line in order.lines)


def _part_key(line: OrderLine) -> tuple[object, ...]:
    placement = line.placement
    if placement.keep_together:
        return ("together", placement.keep_together)
    if placement.kit_line_id:
        return ("kit", placement.kit_line_id)
    return ("sku", line.sku, placement.only_location_ids, placement.not_location_ids)


def _parts(lines: list[OrderLine]) -> Iterator[DemandPart]:
    placement = lines[0].placement
    if placement.keep_together:
        yield _part([PartLine(x.line_id, x.sku, x.unit_count, x.unit_count) for x in lines], 1, _common(lines))
    elif placement.kit_line_id:
        yield from _kit_parts(lines)
    else:
        yield _singles(lines, placement)


def _kit_parts(lines: list[OrderLine]) -> Iterator[DemandPart]:
    kit_count = min(line.unit_count // line.placement.units_per_kit for line in lines)
    placement = _common(lines)
    sizes = [(line, line.placement.units_per_kit) for line in lines]
    if kit_count:
        yield _part([PartLine(x.line_id, x.sku, size * kit_count, size) for x, size in sizes], kit_count, placement)
    for line, size in sizes:
        rest = line.unit_count - size * kit_count
        if rest:
            yield DemandPart((PartLine(line.line_id, line.sku, rest, 1),), {line.sku: 1}, rest, placement)


def _singles(lines: list[OrderLine], placement: Placement) -> DemandPart:
    part_lines = tuple(PartLine(line.line_id, line.sku, line.unit_count, 1) for line in lines)
    return DemandPart(part_lines, {lines[0].sku: 1}, sum(line.unit_count for line in lines), placement)


def _part(lines: list[PartLine], set_count: int, placement: Placement) -> DemandPart:
    units: dict[str, int] = {}
    for line in lines:
        units[line.sku] = units.get(line.sku, 0) + line.units_per_set
    return DemandPart(tuple(lines), units, set_count, placement)


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
