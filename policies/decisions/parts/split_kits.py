"""Kits whose components may come from several locations: whole kits all the same, or none of their units.

A kit is shipped from one location if that supplies as many kits; only otherwise are its components placed one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from policies.decisions.kits.kit_limits import KitLimit
from policies.decisions.planning.plans import Plan
from policies.domain.demand import DemandPart
from policies.domain.kits import KitPart

MAX_ROUNDS = 8
"""How often an order is planned with fewer kits before those are kept of which a plan has all components."""

PlanParts = Callable[[Sequence[DemandPart]], Plan]


def best_split_plan(parts: Sequence[DemandPart], kits: Mapping[str, KitLimit], plan_of: PlanParts) -> Plan:
    """The plan of parts some of which are components of kits that may be split. `plan_of` plans parts by line.

    `kits` has the limits of every kit of the order, by its SKU.
    """
    whole = plan_of(tuple(_together(parts)))
    counts = _within_limits(parts, kits)
    for _ in range(MAX_ROUNDS):
        limited = tuple(_limited(parts, counts, kits))
        if not limited:
            # No location has anything of them.
            return whole
        plan = plan_of(limited)
        placed = {line_id: min(_placed(plan, part) for part in _of_line(parts, line_id)) for line_id in counts}
        if placed == counts or not any(counts.values()):
            return _larger(plan, whole)
        counts = placed
    # With other rounds there might be more kits, so the search was not exhaustive.
    best = _larger(_without_loose_units(plan, parts, counts), whole)
    return replace(best, searched_exhaustively=False, fewest_shipments=min(1, len(best.loads)))


def _larger(plan: Plan, whole: Plan) -> Plan:
    return plan if _unit_count(plan) > _unit_count(whole) else whole


def _without_loose_units(plan: Plan, parts: Sequence[DemandPart], counts: Mapping[str, int]) -> Plan:
    """The plan without units of components beyond so many kits of each line; the last loads lose theirs first."""
    loose = {
        part.lines[0].line_id: _placed_units(plan, part) - counts[part.split_kit.line_id] * part.split_kit.unit_count
        for part in parts
        if part.split_kit is not None
    }
    loads = []
    for load in reversed(plan.loads):
        lines, units = dict(load.lines), dict(load.units)
        for part in parts:
            line = part.lines[0]
            taken = min(lines.get(line.line_id, 0), loose.get(line.line_id, 0))
            if taken:
                loose[line.line_id] -= taken
                lines[line.line_id] -= taken
                units[line.sku] -= taken
        if any(lines.values()):
            loads.append(replace(load, units=_above_0(units), lines=_above_0(lines)))
    return replace(plan, loads=tuple(reversed(loads)))


def _above_0(counts: Mapping[str, int]) -> dict[str, int]:
    return {key: count for key, count in counts.items() if count}


def _of_line(parts: Sequence[DemandPart], line_id: str) -> list[DemandPart]:
    """The components of the kit that was ordered on a line."""
    return [part for part in parts if part.split_kit is not None and part.split_kit.line_id == line_id]


def _together(parts: Sequence[DemandPart]) -> Iterator[DemandPart]:
    """The parts with the components of each kit in one set."""
    seen: set[str] = set()
    for part in parts:
        kit = part.split_kit
        if kit is None:
            yield part
        elif kit.line_id not in seen:
            seen.add(kit.line_id)
            members = [(member, member.split_kit) for member in _of_line(parts, kit.line_id)]
            sizes = [(member, part_of.unit_count) for member, part_of in members if part_of is not None]
            lines = tuple(replace(line, units_per_set=size) for member, size in sizes for line in member.lines)
            units = {sku: size for member, size in sizes for sku in member.units}
            yield DemandPart(lines, units, _kit_count(part, kit), part.placement, {kit.sku: 1})


def _kit_count(part: DemandPart, kit: KitPart) -> int:
    return part.set_count // kit.unit_count


def _within_limits(parts: Sequence[DemandPart], kits: Mapping[str, KitLimit]) -> dict[str, int]:
    """The kits of each line that rules of the kits' own allow, the first lines first."""
    counts: dict[str, int] = {}
    used: dict[str, int] = {}
    for part in parts:
        kit = part.split_kit
        if kit is None or kit.line_id in counts:
            continue
        count, limit = _kit_count(part, kit), kits[kit.sku].total
        if limit is not None:
            count = max(0, min(count, limit - used.get(kit.sku, 0)))
        counts[kit.line_id] = count
        used[kit.sku] = used.get(kit.sku, 0) + count
    return counts


def _limited(
    parts: Sequence[DemandPart], counts: Mapping[str, int], kits: Mapping[str, KitLimit]
) -> Iterator[DemandPart]:
    """The parts with so many kits of each line, and without the locations that block these kits."""
    for part in parts:
        kit = part.split_kit
        if kit is None:
            yield part
            continue
        units = counts[kit.line_id] * kit.unit_count
        if units:
            excluded = part.placement.not_location_ids | kits[kit.sku].blocked_at
            placement = replace(part.placement, not_location_ids=excluded)
            (line,) = part.lines
            lines = (replace(line, unit_count=units),)
            yield replace(part, lines=lines, set_count=units, placement=placement)


def _placed(plan: Plan, part: DemandPart) -> int:
    """The kits for which a plan has the units of a component."""
    assert part.split_kit is not None
    return _placed_units(plan, part) // part.split_kit.unit_count


def _placed_units(plan: Plan, part: DemandPart) -> int:
    line_id = part.lines[0].line_id
    return sum(load.lines.get(line_id, 0) for load in plan.loads)


def _unit_count(plan: Plan) -> int:
    return sum(sum(load.units.values()) for load in plan.loads)
