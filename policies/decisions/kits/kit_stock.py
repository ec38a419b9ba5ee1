"""How many kits a channel may sell: the least that all components allow, after rules of the kit's own.

A kit is assessed like a product whose stock at a location are the kits that its components' sellable units there make
up. So rules of the components apply first, and those of the kit's own SKU to what they leave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from policies.decisions.availability.location_availability import NOTHING_WAIVED, LocationAvailability, assess_location
from policies.decisions.availability.sellable import channel_buffer_effect, channel_level, publishable_units
from policies.decisions.buffers import NOTHING_HELD_BACK, BufferEffect, buffer_effect
from policies.decisions.planning.planning_memory import PolicyView
from policies.domain.kits import Kit
from policies.domain.model import StockLevel
from policies.explanation import FiredRule
from policies.policy_set import Scope

T = TypeVar("T", datetime, float)


@dataclass(frozen=True, slots=True)
class KitStock:
    """Kits by location, and in all.

    `figures` are by location id, in that order: of each location that stocks all components. If the kit may be split,
    kits that several locations make up together are in `split_count` and in no figure. `levels` are the kits there
    before rules of the kit's own. `channel_effect` is that of its rules about the channel's total, and
    `component_limit` the most kits for which rules leave each component to the channel; None is no limit.
    """

    kit: Kit
    figures: Mapping[str, LocationAvailability]
    levels: Mapping[str, StockLevel]
    split_count: int
    channel_effect: BufferEffect
    component_limit: int | None

    @property
    def subtotal(self) -> int:
        """Kits after rules of locations, before those of the channel's total."""
        return sum(figure.sellable for figure in self.figures.values()) + self.split_count

    @property
    def sellable(self) -> int:
        """Kits that are published to the channel."""
        published = publishable_units(self.subtotal, self.channel_effect)
        return published if self.component_limit is None else min(published, self.component_limit)

    @property
    def fired(self) -> tuple[FiredRule, ...]:
        """The rules that fired for the kit or, at locations, for its components."""
        return tuple(rule for figure in self.figures.values() for rule in figure.fired) + self.channel_effect.fired


def kit_stock(view: PolicyView, kit: Kit, waived: frozenset[str] = NOTHING_WAIVED) -> KitStock:
    """The kit's stock for the channel; the `waived` limits, 'buffer' and 'blocked', do not apply."""
    components = _Components(view, kit, waived)
    figures, levels, usable = dict[str, LocationAvailability](), dict[str, StockLevel](), list[StockLevel]()
    for number, location in enumerate(view.memory.locations):
        view.question.world.pause()
        level = components.kit_level(number)
        if level is None:
            continue
        figure = components.figure(number, level)
        figures[location.id], levels[location.id] = figure, level
        if figure.not_used_by is None and not figure.blocked_by:
            usable.append(level)
    files = view.policy_set.buffers_of(Scope.CHANNEL) if "buffer" not in waived else ()
    context = view.question.context(sku=kit.sku, stock=channel_level(kit.sku, usable))
    return KitStock(
        kit,
        figures,
        levels,
        components.split_count(figures) if kit.may_split else 0,
        buffer_effect(files, context) if files else NOTHING_HELD_BACK,
        components.limit(),
    )


def available_kits(view: PolicyView, kit: Kit) -> int:
    """Kits of the units that are available at the channel's open locations, before all rules."""
    units = [dict[int, int]() for _ in kit.components]
    for column, sku in zip(units, kit.components, strict=True):
        for number, level in enumerate(view.stock(sku).levels):
            if level is not None and level.tracked and view.memory.locations[number].status != "closed":
                column[number] = max(0, level.available)
    sizes = [*kit.components.values()]
    if kit.may_split:
        return min(sum(column.values()) // size for column, size in zip(units, sizes, strict=True))
    common = set(units[0]).intersection(*units[1:])
    return sum(min(column[number] // size for column, size in zip(units, sizes, strict=True)) for number in common)


def largest_order(stock: KitStock, filled: Callable[[int], Iterable[int]], at_most: int | None = None) -> int:
    """The most kits that one order of this kit alone can get; `at_most` are those that the channel may sell.

    `filled` returns, for an order of so many kits, the kits of each location that it is filled from. It may depend on
    the size of the order, so that only a size that was looked at is promised.
    """
    largest = 0
    whole = max((figure.sellable for figure in stock.figures.values()), default=0)
    limit = stock.sellable if at_most is None else at_most
    for start in (limit, min(whole, limit)):
        size = start
        while size > largest:
            count = sum(filled(size))
            if count >= size:
                largest = size
            size = min(size - 1, count)
    return largest


class _Components:
    """The components of one kit at the channel's locations."""

    def __init__(self, view: PolicyView, kit: Kit, waived: frozenset[str]) -> None:
        self.view, self.kit, self.waived = view, kit, waived
        self.stocks = [(size, view.stock(sku)) for sku, size in kit.components.items()]

    def kit_level(self, number: int) -> StockLevel | None:
        """The kits at a location as a stock level: those on hand, and those that rules of the components leave.

        None if a component was never stocked there; of a kit that may be split, if none was. It is as old, and as
        uncertain, as the oldest and the least certain figure.
        """
        levels = [(size, level) for size, stock in self.stocks if (level := stock.levels[number]) is not None]
        is_whole = len(levels) == len(self.stocks)
        if not levels or not (is_whole or self.kit.may_split):
            return None
        on_hand = max(0, min(level.on_hand // size for size, level in levels)) if is_whole else 0
        available = self._sellable(number)
        sources = {level.source for _, level in levels}
        return StockLevel(
            sku=self.kit.sku,
            location_id=self.view.memory.locations[number].id,
            on_hand=on_hand,
            allocated=on_hand - available,
            as_of_time=_least([level.as_of_time for _, level in levels]),
            counted_time=_least([level.counted_time for _, level in levels]),
            count_confidence=_least([level.count_confidence for _, level in levels]),
            source=sources.pop() if len(sources) == 1 else None,
            # Each component of a kit that may be split counts by itself.
            tracked=self.kit.may_split or all(level.tracked for _, level in levels),
            physical_count_time=_least([level.physical_count_time for _, level in levels]),
        )

    def figure(self, number: int, level: StockLevel) -> LocationAvailability:
        """The kits at a location after all rules; available are those of available units, before rules."""
        location = self.view.memory.locations[number]
        context = self.view.question.context(location, self.kit.sku, level)
        dropped = self.view.eligibility.drops[number]
        own = assess_location(self.view.policy_set, context, not_used_by=dropped, waived=self.waived)
        parts = [stock.assessments(self.waived).figures[number] for _, stock in self.stocks if stock.levels[number]]
        blocks = tuple(rule for part in parts for rule in part.blocked_by)
        available = min(max(0, stock.available[number]) // size for size, stock in self.stocks)
        return replace(
            own,
            available=available,
            held_back=0 if own.blocked_by or blocks or own.not_used_by else available - own.sellable,
            blocked_by=own.blocked_by + blocks,
            fired=own.fired + tuple(rule for part in parts for rule in part.fired),
        )

    def split_count(self, figures: Mapping[str, LocationAvailability]) -> int:
        """Kits that several locations make up together of what their own whole kits leave.

        A location that rules of the kit block supplies none of its components. What a buffer of the kit holds back
        somewhere is missing from the kits of all locations.
        """
        remaining = [0] * len(self.stocks)
        whole = held = 0
        for number, location in enumerate(self.view.memory.locations):
            figure = figures.get(location.id)
            if self.view.eligibility.drops[number] is not None or (figure is not None and self._is_blocked(figure)):
                continue
            for index, (_, stock) in enumerate(self.stocks):
                if stock.levels[number] is not None:
                    remaining[index] += stock.assessments(self.waived).figures[number].sellable
            if figure is not None:
                whole += figure.sellable
                held += self._sellable(number) - figure.sellable
        total = min(units // size for units, (size, _) in zip(remaining, self.stocks, strict=True))
        return max(0, total - held - whole)

    def limit(self) -> int | None:
        """The most kits that rules about the channel's total leave of each component."""
        if "buffer" in self.waived or not self.view.policy_set.buffers_of(Scope.CHANNEL):
            return None
        limits = []
        for size, stock in self.stocks:
            effect = channel_buffer_effect(self.view, stock.sku, self.waived)
            if effect.fired:
                drops, figures = self.view.eligibility.drops, stock.assessments(self.waived).figures
                numbers = [n for n, level in enumerate(stock.levels) if level is not None and drops[n] is None]
                limits.append(publishable_units(sum(figures[n].sellable for n in numbers), effect) // size)
        return min(limits, default=None)

    def _is_blocked(self, figure: LocationAvailability) -> bool:
        return any(rule.sku == self.kit.sku for rule in figure.blocked_by)

    def _sellable(self, number: int) -> int:
        """Kits that the sellable units of all components make up at a location, before rules of the kit's own."""
        return min(
            stock.assessments(self.waived).figures[number].sellable // size if stock.levels[number] is not None else 0
            for size, stock in self.stocks
        )


def _least(values: Sequence[T | None]) -> T | None:
    known = [value for value in values if value is not None]
    return min(known) if len(known) == len(values) else None
