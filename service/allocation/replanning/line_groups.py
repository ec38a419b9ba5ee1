"""Lines of a stored order that ship together, where only some of its units are planned: kept together, or as kits.

Units that leave a location take those with them that may not ship without them. What has shipped, or stays promised,
holds the others of its group to its location.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from policies.domain.demand import is_placed_freely
from policies.domain.model import Order, OrderLine
from policies.domain.placement import Placement
from service.orders.allocation_record import AllocationRecord, ShipmentRecord, ShortageRecord


def held_to_their_locations(record: AllocationRecord, order: Order, lines: Iterable[OrderLine]) -> Order:
    """The units to plan, `order`, with each group restricted to where the record has its other units, if anywhere.

    `lines` are all lines of the order, those with no units to plan included. Units that were promised and are planned
    now must have left the shipments of the record. Kits are restricted only if their units are not in whole kits.
    """
    if is_placed_freely(order):
        return order
    members: dict[tuple[str, str], list[OrderLine]] = {}
    for line in lines:
        if line.placement.is_grouped:
            members.setdefault(_group(line.placement), []).append(line)
    planned = {line.line_id: line.unit_count for line in order.lines}
    restricted: dict[str, frozenset[str]] = {}
    for (_, kit_line_id), group in members.items():
        if kit_line_id and _are_whole_kits(group, planned):
            continue
        location_ids = _locations_of(record, group)
        if location_ids:
            restricted |= {line.line_id: location_ids for line in group}
    if restricted.keys().isdisjoint(planned):
        return order
    return replace(order, lines=tuple(_restricted(line, restricted.get(line.line_id)) for line in order.lines))


def units_leaving_with(record: AllocationRecord, shipment: ShipmentRecord, lost: Mapping[str, int]) -> dict[str, int]:
    """The promised units, by line, of a shipment that have lost those of their group or kit; to be called afterwards.

    `lost` are units by line. Lines that are kept together and of which units have shipped stay where they are: the
    others can come from nowhere else.
    """
    units: dict[str, int] = {}
    grouped = [line for line in record.lines if line.placement.is_grouped]
    placements = (record.line(line_id).placement for line_id in lost)
    for group in dict.fromkeys(_group(placement) for placement in placements if placement.is_grouped):
        members = [line for line in grouped if _group(line.placement) == group]
        kept = {line.line_id: shipment.units.get(line.line_id, 0) for line in members}
        if group[0]:
            has_shipped = any(record.shipped_of_line(line.line_id) for line in members)
            units |= {} if has_shipped else {line_id: count for line_id, count in kept.items() if count}
            continue
        there = [x for x in members if kept[x.line_id] or x.line_id in lost]
        sizes = {line.line_id: line.placement.units_per_kit for line in there}
        shipped = {line_id: shipment.shipped.get(line_id, 0) for line_id in sizes}
        kits = min((kept[line_id] + shipped[line_id]) // size for line_id, size in sizes.items())
        for line_id, size in sizes.items():
            leaving = kept[line_id] - max(0, kits * size - shipped[line_id])
            if leaving > 0:
                units[line_id] = leaving
    return units


def short_with(record: AllocationRecord, short: Sequence[ShortageRecord]) -> list[ShortageRecord]:
    """The shortages, and those of lines that must ship together with one of theirs."""
    groups = {
        _group(placement)
        for placement in (record.line(shortage.line_id).placement for shortage in short)
        if placement.is_grouped
    }
    if not groups:
        return list(short)
    mates = {line.line_id for line in record.lines if line.placement.is_grouped and _group(line.placement) in groups}
    return [x for x in record.shortages if x in short or x.line_id in mates]


def _group(placement: Placement) -> tuple[str, str]:
    """The group kept together, or else the kit; the other of the two is empty."""
    return placement.keep_together, "" if placement.keep_together else placement.kit_line_id


def _are_whole_kits(group: Iterable[OrderLine], planned: Mapping[str, int]) -> bool:
    sizes = [(line.placement.units_per_kit, planned.get(line.line_id, 0)) for line in group]
    return all(count % size == 0 for size, count in sizes) and len({count // size for size, count in sizes}) == 1


def _locations_of(record: AllocationRecord, group: Iterable[OrderLine]) -> frozenset[str]:
    """The locations that ship units of the group, or have shipped some."""
    line_ids = {line.line_id for line in group}
    return frozenset(
        shipment.location_id
        for shipment in record.shipments
        if not line_ids.isdisjoint(shipment.units) or not line_ids.isdisjoint(shipment.shipped)
    )


def _restricted(line: OrderLine, location_ids: frozenset[str] | None) -> OrderLine:
    if location_ids is None:
        return line
    stated = line.placement.only_location_ids
    only = location_ids if stated is None else location_ids & stated
    return replace(line, placement=replace(line.placement, only_location_ids=only))
