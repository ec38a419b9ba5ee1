"""What holds of a retailer's stock and orders at any moment, held against what stands on paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from tests.plain_model import FulfillmentChoice, LevelKey, PlainModel
from truestock.v1 import allocation_service_pb2 as allocation_pb

Allocation = allocation_pb.Allocation
LIVE = {Allocation.STATE_HELD, Allocation.STATE_CONFIRMED}

MayUse = Callable[[FulfillmentChoice, str], bool]
"""Whether the rules let an order that goes so use a location."""


@dataclass(slots=True)
class Snapshot:
    """What the service says at one moment: (on hand, unavailable, promised) by level, and the orders."""

    levels: dict[LevelKey, tuple[int, int, int]] = field(default_factory=dict)
    orders: dict[str, Allocation] = field(default_factory=dict)

    def same_as(self, other: Snapshot) -> bool:
        return self.levels == other.levels and self.orders == other.orders


def check_levels(seen: Snapshot, paper: PlainModel) -> None:
    """Every figure is what was counted and moved, and what is promised is somebody's and is there."""
    promised: Counter[LevelKey] = Counter()
    for order in seen.orders.values():
        for made in order.shipments:
            for line in made.lines:
                promised[line.sku, made.location_id] += line.unit_count
    assert {key for key, units in promised.items() if units} <= set(seen.levels)
    for key in paper.levels():
        on_hand, unavailable, claimed = seen.levels[key]
        assert (on_hand, unavailable) == (paper.on_hand(key), paper.unavailable(key)), key
        assert claimed == promised[key], key
        assert claimed <= max(0, on_hand - unavailable), key


def check_lines(seen: Snapshot, paper: PlainModel) -> None:
    """Every unit of every line is promised, has left, is short, waits or was cancelled."""
    for order, known in seen.orders.items():
        lines = paper.orders[order].lines
        assert {x.line_id for x in known.lines} == set(lines)
        for line in known.lines:
            told = lines[line.line_id]
            said = (line.sku, line.unit_count, line.shipped_count, line.returned_count, line.cancelled_count)
            assert said == (told.sku, told.ordered, told.shipped, told.returned, told.cancelled), order
            accounted = line.promised_count + line.shipped_count + line.short_count
            accounted += line.backordered_count + line.cancelled_count
            assert known.state not in LIVE or accounted == line.unit_count, (order, line)


def check_locations(seen: Snapshot, paper: PlainModel, may_use: MayUse, by_hand: Collection[str]) -> None:
    """Nothing is promised where the rules forbid it, but for the shipments that a person put there."""
    for order, known in seen.orders.items():
        for made in known.shipments:
            if any(line.unit_count for line in made.lines) and made.shipment_id not in by_hand:
                assert may_use(paper.orders[order].choice, made.location_id), (order, made)


def fillable_backorder(seen: Snapshot, paper: PlainModel, may_use: MayUse, rejected: Collection[str]) -> str:
    """An order with a backorder for which stock is there, in a sentence; empty where there is none.

    `rejected` are shipments that a location could not supply: it is not asked again for their products.
    """
    for order, known in seen.orders.items():
        refused = {(line.sku, x.location_id) for x in known.shipments if x.shipment_id in rejected for line in x.lines}
        waiting = {line.sku for line in known.lines if line.backordered_count}
        for (sku, place), (on_hand, unavailable, claimed) in seen.levels.items():
            is_for_it = sku in waiting and (sku, place) not in refused and may_use(paper.orders[order].choice, place)
            if is_for_it and on_hand - unavailable - claimed > 0:
                return f"{order} waits for {sku}, which {place} has"
    return ""
