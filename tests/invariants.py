"""What must hold for stock and orders at any moment, compared with the plain model."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from policies.domain.model import WITHHELD_KINDS
from policies.stock.oversell import CAUSES
from tests.plain_model import FulfillmentChoice, LevelKey, PlainModel
from truestock.v1 import allocation_service_pb2 as allocation_pb, availability_service_pb2 as availability_pb, order_pb2

Allocation = allocation_pb.Allocation
LIVE = {Allocation.STATE_HELD, Allocation.STATE_CONFIRMED}
ENDED = {Allocation.STATE_RELEASED, Allocation.STATE_EXPIRED, Allocation.STATE_CANCELLED}
PROMISED = {order_pb2.OUTCOME_ALLOCATED, order_pb2.OUTCOME_PARTLY_ALLOCATED}

MayUse = Callable[[FulfillmentChoice, str], bool]
"""Whether the rules let an order with this delivery use a location."""


@dataclass(slots=True)
class Snapshot:
    """The state of the service at one moment: (on hand, unavailable, promised) by level, and the orders."""

    levels: dict[LevelKey, tuple[int, int, int]] = field(default_factory=dict)
    orders: dict[str, Allocation] = field(default_factory=dict)

    def same_as(self, other: Snapshot) -> bool:
        return self.levels == other.levels and self.orders == other.orders

    def differences(self, other: Snapshot) -> list[object]:
        """Levels and orders that are not the same in both, for the message of an assertion."""
        of_levels = self.levels.items() ^ other.levels.items()
        orders = [key for key in {**self.orders, **other.orders} if self.orders.get(key) != other.orders.get(key)]
        return [*of_levels, *((self.orders.get(key), other.orders.get(key)) for key in orders)]


def check_levels(snapshot: Snapshot, paper: PlainModel) -> None:
    """Every figure is the sum of counts and movements; promised units belong to an order and are on hand."""
    promised: Counter[LevelKey] = Counter()
    for order in snapshot.orders.values():
        for shipment in order.shipments:
            for line in shipment.lines:
                promised[line.sku, shipment.location_id] += line.unit_count
    assert {key for key, units in promised.items() if units} <= set(snapshot.levels)
    for key in paper.levels():
        on_hand, unavailable, promised_units = snapshot.levels[key]
        assert (on_hand, unavailable) == (paper.on_hand(key), paper.unavailable(key)), key
        assert promised_units == promised[key], key
        assert promised_units <= max(0, on_hand - unavailable), key


def check_parcels(snapshot: Snapshot) -> None:
    """The parcels of a shipment have no more units of a line than have shipped."""
    for order, allocation in snapshot.orders.items():
        for shipment in allocation.shipments:
            shipped = {line.line_id: line.shipped_count for line in shipment.lines}
            packed: Counter[str] = Counter()
            for parcel in shipment.parcels:
                packed.update({line.line_id: line.unit_count for line in parcel.lines})
            assert all(count <= shipped.get(line_id, 0) for line_id, count in packed.items()), (order, shipment)


def check_outlets(
    answers: Iterable[availability_pb.Availability], homes: Mapping[str, Collection[str]], snapshot: Snapshot
) -> None:
    """Outlets add up to what the channel may sell, and with what is kept and promised, to what is there."""
    for answer in answers:
        assert [x.outlet_id for x in answer.outlets if x.outlet_id] == sorted(homes), answer
        assert sum(x.sellable_count for x in answer.outlets) == answer.sellable_count, answer
        levels = {key: units for key, units in snapshot.levels.items() if key[0] == answer.sku}
        for outlet in answer.outlets:
            here = homes.get(outlet.outlet_id)
            others = [location_id for location_ids in homes.values() for location_id in location_ids]
            figures = [
                units for (_, x), units in levels.items() if (x in here if here is not None else x not in others)
            ]
            missing = sum(min(0, units - unavailable - promised) for units, unavailable, promised in figures)
            assert outlet.on_hand_count == sum(units for units, _, _ in figures), (answer, homes)
            promised = outlet.promised_to_channel_count + outlet.promised_elsewhere_count
            there = outlet.sellable_count + outlet.kept_by_rules_count + promised + outlet.unavailable_count
            assert there == outlet.on_hand_count - missing, answer
            assert min(outlet.sellable_count, outlet.kept_by_rules_count) >= 0, answer
        assert answer.promised_elsewhere_count == 0, answer
        assert answer.promised_to_channel_count == sum(units[2] for units in levels.values()), answer


def check_wholes(allocation: Allocation, whole_kits: Collection[str]) -> None:
    """These kits, and items, are whole at each location, and a group is at one location with all its units, or nowhere.

    For orders of which no unit has shipped or was rejected: what is left of a kit or group may be single units.
    """
    grouped = [line for line in allocation.lines if line.keep_together]
    shares: dict[str, set[tuple[float, ...]]] = {}
    for line in allocation.lines:
        counts = (line.promised_count, line.short_count, line.backordered_count, line.cancelled_count)
        if line.kit_sku in whole_kits:
            shares.setdefault(line.kit_line_id, set()).add(tuple(count / line.units_per_kit for count in counts))
        elif not line.kit_line_id:
            assert not any(count % _units_each(line) for count in counts), (allocation, line)
    assert all(len(counts) == 1 for counts in shares.values()), allocation
    homes: set[str] = set()
    for shipment in allocation.shipments:
        units = {x.line_id: x.unit_count for x in shipment.lines if x.unit_count}
        kits: dict[str, set[float]] = {}
        for line in allocation.lines:
            count = units.get(line.line_id, 0)
            if line.kit_sku in whole_kits:
                kits.setdefault(line.kit_line_id, set()).add(count / line.units_per_kit)
            elif not line.kit_line_id:
                assert count % _units_each(line) == 0, (allocation, line)
        assert all(len(counts) == 1 and counts.pop().is_integer() for counts in kits.values()), allocation
        homes |= {shipment.location_id for line in grouped if line.line_id in units}
    assert len(homes) <= 1, allocation
    if homes:
        assert all(line.promised_count == line.unit_count - line.cancelled_count for line in grouped), allocation


def check_causes(snapshot: Snapshot) -> None:
    """Every oversold unit has one of the causes, and what a rule keeps names the rule."""
    for order, allocation in snapshot.orders.items():
        for shortage in allocation.shortages:
            if shortage.kind == allocation_pb.Shortage.KIND_OVERSELL:
                assert shortage.cause in CAUSES, (order, shortage)
            assert bool(shortage.rules) == (shortage.cause in WITHHELD_KINDS), (order, shortage)


def check_update_time(answer: allocation_pb.GetAllocationResponse) -> None:
    """No event of an order's timeline, and no exception about it, is newer than its last update."""
    updated = answer.allocation.update_time.ToNanoseconds()
    for event in answer.timeline:
        assert event.event_time.ToNanoseconds() <= updated, (answer.allocation.order_id, event)
    for raised in answer.exceptions:
        is_own = raised.allocation_id == answer.allocation.allocation_id
        assert not is_own or raised.create_time.ToNanoseconds() <= updated, (answer.allocation.order_id, raised)


def check_lines(snapshot: Snapshot, paper: PlainModel) -> None:
    """Every unit of every line is promised, shipped, short, backordered or cancelled."""
    for order, allocation in snapshot.orders.items():
        lines = paper.orders[order].lines
        assert {allocation_line.line_id for allocation_line in allocation.lines} == set(lines)
        for line in allocation.lines:
            expected = lines[line.line_id]
            actual = (line.sku, line.unit_count, line.shipped_count, line.cancelled_count)
            assert actual == (expected.sku, expected.ordered, expected.shipped, expected.cancelled), order
            came_back = (line.returned_count, line.refunded_count)
            assert came_back == (expected.returned, expected.refunded), order
            assert sum(came_back) <= line.shipped_count, order
            accounted = line.promised_count + line.shipped_count + line.short_count
            accounted += line.backordered_count + line.cancelled_count
            assert allocation.state not in LIVE or accounted == line.unit_count, (order, line)


def check_outcomes(snapshot: Snapshot) -> None:
    """An order has ended exactly when it was released, expired or cancelled; an allocated one promises or has shipped.

    Units that were returned have shipped.
    """
    for order, allocation in snapshot.orders.items():
        has_ended = allocation.outcome == order_pb2.OUTCOME_ENDED
        assert has_ended == (allocation.state in ENDED), (order, allocation)
        rows = [(allocation.outcome, allocation.lines), *((line.outcome, [line]) for line in allocation.lines)]
        for outcome, lines in rows:
            units = sum(line.promised_count + line.shipped_count for line in lines)
            assert units or outcome not in PROMISED, (order, allocation)


def check_commitments(before: Snapshot, snapshot: Snapshot) -> None:
    """An order that was sold stays sold."""
    for order, allocation in before.orders.items():
        if allocation.commitment == order_pb2.COMMITMENT_SOLD:
            assert snapshot.orders[order].commitment == order_pb2.COMMITMENT_SOLD, (order, snapshot.orders[order])


def check_locations(snapshot: Snapshot, paper: PlainModel, may_use: MayUse, reassigned: Collection[str]) -> None:
    """No units are promised where the rules forbid it, except in shipments that a person reassigned."""
    for order, allocation in snapshot.orders.items():
        for shipment in allocation.shipments:
            if any(line.unit_count for line in shipment.lines) and shipment.shipment_id not in reassigned:
                assert may_use(paper.orders[order].choice, shipment.location_id), (order, shipment)


def check_kept(before: Snapshot, after: Snapshot, percent: int) -> None:
    """An order that gets more units of a level leaves the share that a buffer keeps of them and of what is available.

    Levels of which units left otherwise, or of which several orders got units, are not checked.
    """
    promised_before, promised_after = _promised_by_order(before), _promised_by_order(after)
    for key, (on_hand, unavailable, promised_units) in after.levels.items():
        earlier_on_hand, earlier_unavailable, _ = before.levels.get(key, (0, 0, 0))
        risen = [order for order, units in promised_after.items() if units[key] > promised_before[order][key]]
        if len(risen) == 1 and on_hand - unavailable >= earlier_on_hand - earlier_unavailable:
            available = on_hand - unavailable - promised_units
            own_units = promised_after[risen[0]][key]
            assert 100 * available >= percent * (available + own_units), (key, risen)


def _promised_by_order(snapshot: Snapshot) -> dict[str, Counter[LevelKey]]:
    promised: dict[str, Counter[LevelKey]] = defaultdict(Counter)
    for order, allocation in snapshot.orders.items():
        for shipment in allocation.shipments:
            for line in shipment.lines:
                promised[order][line.sku, shipment.location_id] += line.unit_count
    return promised


def fillable_backorder(
    snapshot: Snapshot,
    paper: PlainModel,
    may_use: MayUse,
    rejected: Collection[str],
    whole_kits: Collection[str],
    in_pieces: Collection[str],
) -> str:
    """A sentence about a backorder for which stock is available; empty if there is none.

    `rejected` are shipments that a location could not supply; it is not used again for their products. Kits that may
    not be split wait for all their components; those of orders `in_pieces`, and groups, are not looked at.
    """
    for order, allocation in snapshot.orders.items():
        rejected_keys = {
            (line.sku, shipment.location_id)
            for shipment in allocation.shipments
            if shipment.shipment_id in rejected
            for line in shipment.lines
        }
        for waiting in _waiting_units(allocation, whole_kits, is_whole=order not in in_pieces):
            for location_id in {location_id for _, location_id in snapshot.levels}:
                can_fill = may_use(paper.orders[order].choice, location_id) and all(
                    (sku, location_id) not in rejected_keys and _available(snapshot, (sku, location_id)) >= count
                    for sku, count in waiting.items()
                )
                if can_fill:
                    return f"{order} is backordered for {waiting}, which {location_id} has"
    return ""


def _waiting_units(allocation: Allocation, whole_kits: Collection[str], *, is_whole: bool) -> Iterator[dict[str, int]]:
    """The units, by SKU, of each single unit, item or whole kit on backorder."""
    kits: dict[str, list[allocation_pb.AllocatedLine]] = {}
    for line in allocation.lines:
        if line.kit_line_id:
            kits.setdefault(line.kit_line_id, []).append(line)
        elif line.backordered_count and not line.keep_together and (is_whole or _units_each(line) == 1):
            yield {line.sku: _units_each(line)}
    for lines in kits.values():
        is_known = is_whole and lines[0].kit_sku in whole_kits and not lines[0].keep_together
        sizes = {line.sku: _units_each(line) if line.item_count else line.units_per_kit for line in lines}
        if is_known and all(line.backordered_count >= sizes[line.sku] for line in lines):
            yield sizes


def _units_each(line: allocation_pb.AllocatedLine) -> int:
    """Units of the line in each item that was ordered; 1 if it named none."""
    return line.unit_count // line.item_count if line.item_count else 1


def _available(snapshot: Snapshot, key: LevelKey) -> int:
    on_hand, unavailable, promised_units = snapshot.levels.get(key, (0, 0, 0))
    return on_hand - unavailable - promised_units
