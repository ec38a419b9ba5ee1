"""How many of one product an order gets, found by deciding orders of several sizes as AllocateOrder would.

It costs a decision for each size. So only what no sum over locations can tell is found this way: kits where locations
can handle only so much or whose components ship apart, and pickup orders to which other locations send units.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

from policies.decisions.routing import route
from policies.domain.kits import Kit, KitPart, of_kit
from policies.domain.model import MAX_UNITS, Channel, Destination, Order, OrderLine, World
from policies.domain.placement import ANYWHERE, Placement
from policies.policy_set import PolicySet

MAX_TRIED = 60
"""Orders that are decided to find the largest; then the largest so far is the answer."""

_LINE = "1"
_FREE = Decimal(0)


@dataclass(frozen=True, slots=True)
class TriedOrders:
    """Orders of one product, or of one kit, alone; `pickup_location_id` is where they are picked up, if chosen.

    Sizes count things of `units_each` units, or kits, each whole from one location.
    """

    policy_set: PolicySet
    world: World
    channel: Channel
    sku: str
    kit: Kit | None = None
    method: str | None = None
    destination: Destination | None = None
    pickup_location_id: str | None = None
    units_each: int = 1
    _filled: dict[tuple[int, date | None], int] = field(default_factory=dict)

    def largest(self, guess: int, most: int, deliver_by: date | None = None) -> int:
        """The most, up to `most`, of which an order gets all; `guess` is tried early.

        An order of the answer's size is always filled in full. So may be a larger one where a policy allows more to
        larger orders, as `min_split_value` does, and neither `most` nor what a tried order got shows it.
        """
        most = min(most, MAX_UNITS // (self.units_each * max(self.kit.components.values() if self.kit else [1])))
        filled, unfilled, before = 0, most + 1, len(self._filled)
        for size in self._sizes_at_first(guess, most, deliver_by):
            if self.filled(size, deliver_by) >= size:
                filled = max(filled, size)
            else:
                unfilled = min(unfilled, size)
        step = 1
        while unfilled - filled > 1 and len(self._filled) - before < MAX_TRIED:
            # The guess is seldom far below what an order gets.
            size = min(filled + step, (filled + unfilled) // 2) if filled else (filled + unfilled) // 2
            if self.filled(size, deliver_by) >= size:
                filled, step = size, 2 * step
            else:
                unfilled = size
        return filled

    def filled(self, size: int, deliver_by: date | None = None) -> int:
        """How many of an order of so many are promised."""
        self.world.pause()
        key = (size, deliver_by)
        if key not in self._filled:
            order = self._order(size, deliver_by)
            decision = route(self.policy_set, self.world, self.channel, order)
            short = dict.fromkeys((line.line_id for line in order.lines), 0)
            for item in decision.shortages:
                short[item.line_id] += item.unit_count
            per_line = ((line.unit_count - short[line.line_id]) * size // line.unit_count for line in order.lines)
            self._filled[key] = min(per_line)
        return self._filled[key]

    def _sizes_at_first(self, guess: int, most: int, deliver_by: date | None) -> Iterator[int]:
        """The largest size; if it is not filled, what an order of it gets and the guess, each with the next size."""
        if not most:
            return
        yield most
        got = self.filled(most, deliver_by)
        if got == most:
            return
        for size in sorted({size for size in (got, guess) if 0 < size < most}):
            yield size
            yield size + 1

    def _order(self, size: int, deliver_by: date | None) -> Order:
        order = Order(
            self.channel.id,
            "",
            self._lines(size * self.units_each),
            destination=self.destination,
            deliver_by=deliver_by,
        )
        if self.method is not None:
            order = replace(order, method=self.method)
        return replace(order, pickup_location_id=self.pickup_location_id)

    def _lines(self, unit_count: int) -> tuple[OrderLine, ...]:
        """The line of so many units, or one of each component of so many kits, the first one with the kit's price."""
        product = self.world.products.get(self.sku)
        price = None if product is None else product.price
        if self.kit is None:
            placement = Placement(kit_line_id=_LINE, units_per_kit=self.units_each) if self.units_each > 1 else ANYWHERE
            return (OrderLine(_LINE, self.sku, unit_count, price, placement),)
        lines = []
        for sku, count in self.kit.components.items():
            part = KitPart(_LINE, self.sku, count, self.kit.may_split)
            placement = of_kit(ANYWHERE, part, None)
            if placement.kit_line_id:
                placement = replace(placement, units_per_kit=count * self.units_each)
            lines.append(OrderLine(f"{_LINE}/{sku}", sku, unit_count * count, price, placement, kit=part))
            # Where the price is unknown, so is the value of the order, whatever its other lines cost.
            price = _FREE
        return tuple(lines)
