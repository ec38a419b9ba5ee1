"""By which day one order of a product can get how many.

A day is answered only where the routing policy makes locations keep the day that an order names: AllocateOrder then
gives as many to an order that names it. Delivery rules may test the size and the value of an order, so orders are told
apart by the sizes between which no such comparison changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

from policies.decisions.availability.location_availability import LocationAvailability
from policies.decisions.delivery import shipping_dates_of
from policies.decisions.planning.planning_memory import PolicyView
from policies.domain.handling_times import rooms_by_day
from policies.domain.model import Context, OrderFacts
from policies.engine.conditions import comparisons
from policies.policy_set import DELIVER_BY, PolicySet

_UNIT_COUNT, _VALUE, _WEIGHT = "order.unit_count", "order.value", "order.weight_grams"

LargestFrom = Callable[[Sequence[LocationAvailability]], int]
"""The most units that one order can get from these locations alone."""


@dataclass(frozen=True, slots=True)
class DeliveryDay:
    """The most units that one order can get which wants them delivered by a day."""

    day: date
    largest_order: int


@dataclass(frozen=True, slots=True)
class DeliveryOption:
    """Orders of `fewest` to `largest` units arrive by the day; `units` are the most that each location gives to one."""

    day: date
    fewest: int
    largest: int
    units: Mapping[str, int] = field(hash=False)


@dataclass(frozen=True, slots=True)
class SoldAlone:
    """What an order has that is for one product alone: units in each of it, and its price and weight if known."""

    unit_count: int = 1
    price: Decimal | None = None
    weight_grams: int | None = None
    tags: frozenset[str] = frozenset()
    """Those of the product, or of the components of a kit."""

    def facts_of(self, size: int, method: str | None) -> OrderFacts:
        """The facts of an order of this size."""
        value = None if self.price is None else self.price * size
        return OrderFacts(
            *(method, value, size * self.unit_count),
            line_count=1,
            tags=frozenset(),
            weight_grams=None if self.weight_grams is None else self.weight_grams * size,
            product_tags=self.tags,
        )


def delivery_options(
    view: PolicyView, figures: Iterable[LocationAvailability], largest_from: LargestFrom, product: SoldAlone
) -> tuple[DeliveryOption, ...]:
    """The delivery options of orders for the product alone; none if no day could be promised."""
    if not promises_days(view):
        return ()
    suppliers = [figure for figure in figures if figure.sellable > 0]
    options = []
    for fewest, most in _sizes(view.policy_set, product, sum(figure.sellable for figure in suppliers)):
        order = product.facts_of(fewest, view.question.order.method)
        arrivals = {figure.location_id: arrivals_from(view, order, figure.location_id) for figure in suppliers}
        for day in sorted({day for of_location in arrivals.values() for day, _ in of_location}):
            view.question.world.pause()
            in_time = [*_in_time(suppliers, arrivals, day)]
            largest = min(most, largest_from(in_time))
            if largest >= fewest:
                units = {figure.location_id: figure.sellable for figure in in_time}
                options.append(DeliveryOption(day, fewest, largest, units))
    return tuple(options)


def promises_days(view: PolicyView) -> bool:
    """Whether the policy makes locations keep the day that an order names."""
    return DELIVER_BY in view.policy.must_meet


def best_days(options: Iterable[DeliveryOption]) -> tuple[DeliveryDay, ...]:
    """The days by which one order can get more than by the day before, in their order."""
    days: list[DeliveryDay] = []
    for option in sorted(options, key=lambda option: (option.day, -option.largest)):
        if not days or option.largest > days[-1].largest_order:
            days.append(DeliveryDay(option.day, option.largest))
    return tuple(days)


def _in_time(
    suppliers: Iterable[LocationAvailability], arrivals: Mapping[str, Sequence[tuple[date, float]]], day: date
) -> Iterator[LocationAvailability]:
    """The suppliers that arrive by the day, each with what it can handle of one order by then.

    Kits, which have several units each, come here only where no location limits what it handles.
    """
    for figure in suppliers:
        most = max([units for arrival, units in arrivals[figure.location_id] if arrival <= day], default=0)
        if most:
            yield replace(figure, sellable=int(min(most, figure.sellable)))


def arrivals_from(view: PolicyView, order: OrderFacts, location_id: str) -> list[tuple[date, float]]:
    """The days on which an order arrives from a location, by when it handles it, with the most units of it."""
    question, location = view.question, view.memory.catalog[location_id]
    context = Context(question.world.now, question.channel, order, question.destination, location)
    dated = [
        (shipping_dates_of(view.policy_set, context, handled_on).arrives_on, units)
        for handled_on, units in rooms_by_day(location, question.world.now, question.world.capacity_figures)
    ]
    return [(arrives_on, units) for arrives_on, units in dated if arrives_on is not None]


def _sizes(policy_set: PolicySet, product: SoldAlone, most: int) -> Iterator[tuple[int, int]]:
    """Ranges of sizes up to `most`, both ends included, within each of which delivery rules see the same order."""
    starts = {1, *(start for start in _changes(policy_set, product) if 1 < start <= most)}
    ordered = sorted(starts)
    yield from zip(ordered, [*(start - 1 for start in ordered[1:]), most], strict=True)


def _changes(policy_set: PolicySet, product: SoldAlone) -> Iterator[int]:
    """The sizes at which a comparison of a delivery rule may change."""
    weight = None if product.weight_grams is None else Decimal(product.weight_grams)
    amounts = {_UNIT_COUNT: Decimal(product.unit_count), _VALUE: product.price, _WEIGHT: weight}
    for rule in policy_set.delivery:
        for comparison in comparisons(rule.when):
            each = amounts.get(comparison.fact)
            if not each:
                continue
            for operand in comparison.operands:
                if not isinstance(operand, bool | str):
                    size = int(Decimal(repr(operand)) / each)
                    yield from (size, size + 1)
