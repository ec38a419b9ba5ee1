"""What a chosen store cannot hand over of a pickup order, as an order of its own for other locations.

With `ship_to_store` they send it to the store, with `ship_rest` to the shopper. `routing` decides such an order by the
policies for its method, `transfer` or `ship`, as part of the whole order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from policies.decisions.eligibility import RoutingQuestion, WholeOrder
from policies.decisions.shortages import Shortage, ShortageKind
from policies.domain.capacity import CapacityFigures
from policies.domain.model import SHIP, TRANSFER, Destination, Location, Order, StockLevel, World
from policies.policy_set import RoutingPolicy

Units = Mapping[tuple[str, str], int]
"""Units by (SKU, location id)."""


@dataclass(frozen=True, slots=True)
class RestOfPickup:
    """The arguments with which the rest is routed, and how it reaches the shopper."""

    method: str
    order: Order
    world: World
    own_units: Units
    rejected_by: frozenset[tuple[str, str]]
    whole: WholeOrder


def rest_methods(policy: RoutingPolicy, order: Order) -> Sequence[str]:
    """How the policy lets other locations supply what the chosen store lacks, in the order in which that is tried."""
    if order.method != "pickup" or order.pickup_location_id is None:
        return ()
    transfers = [TRANSFER] if policy.ship_to_store else []
    return [*transfers, SHIP] if policy.ship_rest and order.destination is not None else transfers


def rest_of_pickup(
    question: RoutingQuestion,
    order: Order,
    placed: Units,
    short: Mapping[str, int],
    method: str,
    *,
    capacity: CapacityFigures | None,
) -> RestOfPickup | None:
    """The order of the `short` units, by line id; None if there are none, or if the store is not in the catalog.

    `placed` are the units of the order that are planned already, by (sku, location id), and `capacity` is what is taken
    with the shipments of these.
    """
    store = question.world.locations.get(order.pickup_location_id or "")
    lines = tuple(replace(line, unit_count=short[line.line_id]) for line in order.lines if short.get(line.line_id))
    if not lines or store is None:
        return None
    rest = replace(
        order,
        lines=lines,
        method=SHIP,
        pickup_location_id=None,
        destination=at_location(store) if method == TRANSFER else order.destination,
    )
    levels, own_units = _with_placed(question, placed)
    kept = dict(question.kept_units)
    for key, count in placed.items():
        kept[key] = kept.get(key, 0) + count
    # The store has given what it may give for pickup: what rules keep there stays there.
    given = frozenset((line.sku, store.id) for line in lines)
    return RestOfPickup(
        method,
        rest,
        replace(question.world, levels=levels, capacity=capacity),
        own_units,
        question.rejected_by | given,
        WholeOrder(replace(question.order, method=method), kept),
    )


def merged_shortages(
    order: Order, here: Sequence[Shortage], elsewhere: Sequence[Shortage], short: Mapping[str, int]
) -> tuple[Shortage, ...]:
    """The shortages of the units that are `short` in the end, by line id.

    `here` are the shortages of the store, `elsewhere` those of the last attempt to supply them from other locations. A
    unit is oversold only if neither has one that a rule, or a limit of shipments, keeps from the order.
    """
    remaining = dict(short)
    kept = [item for item in (*here, *elsewhere) if item.kind is not ShortageKind.OVERSELL]
    merged: list[Shortage] = []
    unused: list[Shortage] = []
    for item in kept:
        count = min(item.unit_count, remaining.get(item.line_id, 0))
        remaining[item.line_id] = remaining.get(item.line_id, 0) - count
        merged += [replace(item, unit_count=count)] if count else []
        unused += [replace(item, unit_count=item.unit_count - count)] if count < item.unit_count else []
    for line in order.lines:
        for index, item in enumerate(unused):
            count = min(item.unit_count, remaining.get(line.line_id, 0)) if item.sku == line.sku else 0
            if count:
                remaining[line.line_id] -= count
                unused[index] = replace(item, unit_count=item.unit_count - count)
                merged.append(replace(item, line_id=line.line_id, unit_count=count))
        if remaining.get(line.line_id):
            merged.append(Shortage(line.line_id, line.sku, remaining[line.line_id], ShortageKind.OVERSELL))
    return tuple(merged)


def kept_within(order: Order, shortages: Sequence[Shortage], there: Mapping[str, int]) -> tuple[Shortage, ...]:
    """The shortages with no more units of a product kept from the order than are `there`; the others are oversold.

    A location that neither may send to the store nor may ship tells of its units twice.
    """
    left, oversold = dict(there), dict.fromkeys((line.line_id for line in order.lines), 0)
    kept: list[Shortage] = []
    for item in shortages:
        count = 0 if item.kind is ShortageKind.OVERSELL else min(item.unit_count, left.get(item.sku, 0))
        left[item.sku] = left.get(item.sku, 0) - count
        oversold[item.line_id] += item.unit_count - count
        kept += [replace(item, unit_count=count)] if count else []
    lines = [line for line in order.lines if oversold[line.line_id]]
    return (*kept, *[Shortage(x.line_id, x.sku, oversold[x.line_id], ShortageKind.OVERSELL) for x in lines])


def at_location(store: Location) -> Destination:
    """The location as a destination."""
    return Destination(country=store.country, region=store.region, coordinates=store.coordinates)


def _with_placed(question: RoutingQuestion, placed: Units) -> tuple[dict[tuple[str, str], StockLevel], Units]:
    """The levels with the placed units allocated, and the order's own units that are not among these."""
    levels, own_units = dict(question.world.levels), dict(question.own_units)
    for key, count in placed.items():
        own = min(count, own_units.get(key, 0))
        if own:
            own_units[key] -= own
        level = levels[key]
        levels[key] = replace(level, allocated=level.allocated + count - own)
    return levels, own_units
