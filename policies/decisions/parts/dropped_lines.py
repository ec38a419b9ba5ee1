"""Locations that have a product and are not used for some of an order's lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies.decisions.order_limits import UsableUnits
from policies.domain.demand import DemandPart
from policies.explanation import DroppedLocation, DropReason


def dropped_lines(parts: Sequence[DemandPart], usable: UsableUnits) -> tuple[DroppedLocation, ...]:
    """Locations with usable units that a line may not use, or that lack units of a line for a whole set of its part."""
    return tuple(dropped for part in parts for dropped in _dropped(part, usable))


def _dropped(part: DemandPart, usable: UsableUnits) -> Iterator[DroppedLocation]:
    location_ids = dict.fromkeys(location_id for sku in part.units for location_id in usable.units.get(sku, {}))
    for location_id in location_ids:
        is_allowed = part.placement.allows(location_id)
        reason = DropReason.NOT_WHOLE if is_allowed else DropReason.LINE_RESTRICTED
        for line in part.lines:
            usable_count = usable.units.get(line.sku, {}).get(location_id, 0)
            if usable_count < part.units[line.sku] if is_allowed else usable_count > 0:
                yield DroppedLocation(location_id, line.sku, reason, line_id=line.line_id)
