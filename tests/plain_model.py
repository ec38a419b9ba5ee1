"""A plain model of a retailer's stock and orders, made of sums alone, which the service must agree with.

It records counts, movements and the ordered, shipped, returned and cancelled units of each order. It does not choose
locations: those of promised units are read from the service and must be consistent with the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

LevelKey = tuple[str, str]
"""(SKU, location id)."""


@dataclass(frozen=True, slots=True)
class ModelKit:
    """What a line is of a kit: the line on which the kit was ordered, its SKU, and the line's units in one kit."""

    line_id: str
    sku: str
    size: int


@dataclass(frozen=True, slots=True)
class ModelItem:
    """What a line is of the channel's items: how many were ordered, and the units of its SKU, or kits, in each."""

    count: int
    units_each: int


Contents = Mapping[str, tuple[str, int]]
"""SKU and units by line id."""


@dataclass(slots=True)
class ModelLine:
    """Units of one order line: ordered, shipped, returned, refunded, and cancelled by a person or by policy."""

    sku: str
    ordered: int
    shipped: int = 0
    returned: int = 0
    cancelled: int = 0
    refunded: int = 0
    """Shipped units that the shopper keeps and does not pay for."""
    kit: ModelKit | None = None
    """The kit that was ordered, if the line is a component of one."""
    item: ModelItem | None = None
    """The items that were ordered, of the SKU or of the kit, if the order named items."""

    @property
    def uncancelled(self) -> int:
        return self.ordered - self.cancelled

    @property
    def units_each(self) -> int:
        """Units of the SKU or kits in what the channel counts; 1 where it named no item."""
        return 1 if self.item is None else self.item.units_each


@dataclass(frozen=True, slots=True)
class FulfillmentChoice:
    """How an order is fulfilled: shipped to a country, or picked up; from an outlet, or from any location.

    `outlet_locations` are those that the outlet had when the order was taken.
    """

    pickup_at: str | None = None
    country: str | None = None
    is_pickup: bool = False
    outlet: str = ""
    not_at: str = ""
    """The location that may ship none of its lines."""
    only_at: tuple[str, ...] = ()
    """The locations that may ship its lines; any if there are none."""
    by_item: bool = False
    """Whether its lines name the channel's items, not SKUs."""
    is_together: bool = False
    """Whether all its lines are kept together."""
    outlet_locations: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(slots=True)
class ModelOrder:
    """One order: its lines by line id and how it is fulfilled."""

    choice: FulfillmentChoice = field(default_factory=FulfillmentChoice)
    lines: dict[str, ModelLine] = field(default_factory=dict)
    sold: bool = False
    is_cancelled: bool = False
    """Whether the whole order was cancelled: no units of it are promised again."""

    def contents(self) -> Contents:
        """Units not cancelled, by line id."""
        return {line_id: (line.sku, line.uncancelled) for line_id, line in self.lines.items() if line.uncancelled}

    def ordered_contents(self) -> Contents:
        """Ordered units, including cancelled ones, by line id."""
        return {line_id: (line.sku, line.ordered) for line_id, line in self.lines.items()}

    def unshipped(self, lines: Contents) -> Contents:
        """Units of these contents that have not shipped, by line id."""
        shipped = {line_id: line.shipped for line_id, line in self.lines.items()}
        units = {line_id: (sku, count - shipped.get(line_id, 0)) for line_id, (sku, count) in lines.items()}
        return {line_id: (sku, count) for line_id, (sku, count) in units.items() if count > 0}

    def stated_lines(self) -> Contents:
        """The lines that a channel sends to order the same again: kits and items as such, by the line of each."""
        stated: dict[str, tuple[str, int]] = {}
        for line_id, line in self.lines.items():
            if line.kit is None:
                stated[line_id] = (line.sku, -(-line.ordered // line.units_each))
                continue
            kits = -(-line.ordered // (line.kit.size * line.units_each))
            stated[line.kit.line_id] = (line.kit.sku, max(kits, stated.get(line.kit.line_id, ("", 0))[1]))
        return stated

    def components_of(self, line_id: str, sku: str) -> Mapping[str, int]:
        """The components, by SKU, that a line of this kit has already; none if it is new."""
        lines = self.lines.values()
        return {x.sku: x.kit.size for x in lines if x.kit is not None and (x.kit.line_id, x.kit.sku) == (line_id, sku)}

    def units_each_of(self, line_id: str, sku: str, count: int) -> int | None:
        """The units in each of so many items that a line of this SKU or kit keeps; None if it has none to keep."""
        lines = [x for key, x in self.lines.items() if (x.kit.line_id if x.kit else key) == line_id]
        lines = [x for x in lines if x.item is not None and (x.kit.sku if x.kit else x.sku) == sku]
        if any(x.shipped or (x.item is not None and x.item.count == count) for x in lines):
            return lines[0].units_each
        return None

    def replace_contents(
        self,
        way: FulfillmentChoice,
        lines: Contents,
        kits: Mapping[str, ModelKit],
        items: Mapping[str, ModelItem],
        *,
        sold: bool,
    ) -> None:
        """Replaces the contents by those of a request, of which lines are of `kits` and `items`; shipped units stay."""
        before = self.lines
        self.choice, self.sold, self.lines = way, sold, {}
        for line_id, (sku, units) in lines.items():
            previous = before.pop(line_id, None)
            line = previous if previous is not None and previous.sku == sku else ModelLine(sku, 0)
            ordered = max(units, line.shipped)
            kit, item = kits.get(line_id), items.get(line_id)
            self.lines[line_id] = replace(line, ordered=ordered, cancelled=0, kit=kit, item=item)
        for line_id, line in before.items():
            if line.shipped:
                self.lines[line_id] = replace(line, ordered=line.shipped, cancelled=0)
        if self.is_cancelled:
            self.cancel_everything()

    def cancel_everything(self) -> None:
        """Cancels all units that have not shipped, now and of all later contents."""
        self.is_cancelled = True
        for line in self.lines.values():
            line.cancelled = line.ordered - line.shipped


@dataclass(slots=True)
class ModelTransfer:
    """A transfer of one product: its origin and destination, when it left, and its units."""

    origin: LevelKey
    destination: LevelKey
    when: datetime
    dispatched: int
    received: int = 0
    returned: int = 0
    state: str = "in_transit"
    is_dated: bool = False
    """Whether the dispatch stated when the units left, so that no later step precedes it."""

    def after_dispatch(self, when: datetime) -> datetime:
        return max(when, self.when) if self.is_dated else when

    @property
    def in_transit(self) -> int:
        return max(0, self.dispatched - self.received) if self.state == "in_transit" else 0


class PlainModel:
    """Counts, movements, orders and transfers."""

    def __init__(self) -> None:
        self._counts: dict[LevelKey, tuple[datetime, int]] = {}
        self._moves: dict[LevelKey, list[tuple[datetime, int]]] = {}
        self._unavailable: dict[LevelKey, int] = {}
        self._set_aside: dict[LevelKey, list[tuple[datetime, int]]] = {}
        self._absorbed: dict[LevelKey, list[tuple[datetime, int]]] = {}
        """Movements that were recorded after a count that includes them."""
        self._count_changes: dict[LevelKey, list[tuple[datetime, int]]] = {}
        self.orders: dict[str, ModelOrder] = {}
        self.transfers: dict[str, ModelTransfer] = {}

    def levels(self) -> Iterable[LevelKey]:
        """The levels with any count or movement."""
        return sorted({*self._counts, *self._moves, *self._unavailable})

    def on_hand(self, key: LevelKey) -> int:
        """The last count plus the movements after it."""
        time, units = self._counts.get(key, (None, 0))
        return units + sum(delta for when, delta in self._moves.get(key, []) if time is None or when > time)

    def unavailable(self, key: LevelKey) -> int:
        return self._unavailable.get(key, 0)

    def count_includes(self, key: LevelKey, when: datetime) -> bool:
        """Whether the last count includes a movement at this time."""
        return key in self._counts and when <= self._counts[key][0]

    def record_count(self, key: LevelKey, when: datetime, units: int, unavailable: int | None) -> None:
        """Ignores a count older than the last one, and a different number for the same time."""
        if key in self._counts and (when, units) < self._counts[key]:
            return
        if key in self._counts and when == self._counts[key][0] and units != self._counts[key][1]:
            return
        before = self.on_hand(key)
        self._counts[key] = (when, units)
        self._count_changes.setdefault(key, []).append((when, self.on_hand(key) - before))
        if unavailable is not None:
            later = sum(count for time, count in self._set_aside.get(key, []) if time > when)
            self._unavailable[key] = unavailable + later

    def record_movement(self, key: LevelKey, when: datetime, delta: int) -> None:
        if self.count_includes(key, when):
            self._absorbed.setdefault(key, []).append((when, delta))
        self._moves.setdefault(key, []).append((when, delta))

    def dispatch(self, transfer_id: str, transfer: ModelTransfer) -> None:
        self.record_movement(transfer.origin, transfer.when, -transfer.dispatched)
        self.transfers[transfer_id] = transfer

    def receive(self, transfer: ModelTransfer, when: datetime, units: int, *, complete: bool) -> None:
        self.record_movement(transfer.destination, when, units)
        transfer.received += units
        if complete or transfer.received >= transfer.dispatched:
            transfer.state = "completed"

    def cancel_transfer(self, transfer: ModelTransfer, when: datetime, *, is_stated: bool) -> None:
        """Returns the units in transit; without a stated time, not those that counts have found at the origin since."""
        found = 0 if is_stated else self._found_since(transfer.origin, transfer.when)
        transfer.returned = transfer.in_transit
        self.record_movement(transfer.origin, when, transfer.returned - max(0, min(transfer.returned, found)))
        transfer.state = "cancelled"

    def _found_since(self, key: LevelKey, since: datetime) -> int:
        """Units that counts from `since` on have found beyond the movements that are known now."""
        counted = sum(change for when, change in self._count_changes.get(key, []) if when >= since)
        return counted - sum(delta for when, delta in self._absorbed.get(key, []) if when >= since)

    def set_aside(self, key: LevelKey, when: datetime, units: int) -> None:
        """Makes units unavailable; a count of an earlier time that arrives later does not include them."""
        self._unavailable[key] = self.unavailable(key) + units
        self._set_aside.setdefault(key, []).append((when, units))
