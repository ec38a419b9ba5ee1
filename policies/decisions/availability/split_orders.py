"""The largest order of one product that `split_only_if` of a routing policy allows to be split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import accumulate, pairwise

from policies.decisions.delivery import shipping_estimates, unit_weights
from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.planning.planning_memory import PolicyView
from policies.decisions.planning.plans import NO_ESTIMATES, best_plan
from policies.decisions.planning.ranking import RankingContext, rank_locations
from policies.decisions.planning.sets.candidate_stock import NO_WEIGHTS
from policies.decisions.splits import rule_on_split
from policies.domain.handling_times import rooms_by_day
from policies.domain.model import OrderFacts, tags_of, weight_of
from policies.policy_set import DELIVERY_STEPS

MAX_TRIED = 100
"""Orders that are planned to find the largest; then the largest so far is the answer."""

_FEW = 8
"""So few sizes are tried one by one."""


def largest_split_order(view: PolicyView, sku: str, units: Mapping[str, int], from_one_location: int, most: int) -> int:
    """The most units, up to `most`, of which an order of this product alone gets all.

    `units` are by location id; an order of `from_one_location` units needs no split. An order of the answer's size is
    always filled in full. A larger one may be filled too, where what the condition compares does not change steadily
    with the size of the order.
    """
    tried: dict[int, bool] = {}

    def is_filled(size: int) -> bool:
        if size not in tried:
            tried[size] = len(tried) < MAX_TRIED and _is_filled(view, sku, units, size)
        return tried[size]

    for least, largest in _spans(units, from_one_location, most):
        found = _largest_within(least, largest, is_filled)
        if found is not None:
            return found
    return from_one_location


def value_of(question: RoutingQuestion, sku: str, unit_count: int) -> Decimal | None:
    """The value of an order of so many units of the product, by its price; None if that is unknown."""
    price = price_of(question, sku)
    return None if price is None else price * unit_count


def price_of(question: RoutingQuestion, sku: str) -> Decimal | None:
    """The price of the product; None if it is unknown."""
    product = question.world.products.get(sku)
    return None if product is None else product.price


def _spans(units: Mapping[str, int], lowest: int, highest: int) -> Iterator[tuple[int, int]]:
    """Sizes above `lowest`, from and to, largest first. Larger orders than one of a span need more locations."""
    sums = accumulate(sorted(units.values(), reverse=True))
    ends = sorted({lowest, *(min(together, highest) for together in sums)}, reverse=True)
    yield from ((below + 1, end) for end, below in pairwise(ends))


def _largest_within(least: int, largest: int, is_filled: Callable[[int], bool]) -> int | None:
    """The largest size within these at which an order is filled, if it is at the largest or at all smaller than one."""
    if is_filled(largest):
        return largest
    if largest - least < _FEW:
        return next((size for size in range(largest - 1, least - 1, -1) if is_filled(size)), None)
    if not is_filled(least):
        return None
    filled, unfilled = least, largest
    while unfilled - filled > 1:
        middle = (filled + unfilled) // 2
        filled, unfilled = (middle, unfilled) if is_filled(middle) else (filled, middle)
    return filled


def _is_filled(view: PolicyView, sku: str, units: Mapping[str, int], size: int) -> bool:
    """Whether an order of so many units gets all of them, split or not."""
    view.question.world.pause()
    policy, demand, products = view.policy, {sku: size}, view.question.world.products
    order = OrderFacts(
        *(view.question.order.method, value_of(view.question, sku, size), size, 1),
        tags=frozenset(),
        weight_grams=weight_of({sku: size}, products),
        product_tags=tags_of([sku], products),
    )
    question = replace(view.question, order=order)
    context = RankingContext(view, (sku,), demand=demand, units={sku: units})
    ranks = rank_locations(context, list(units))
    estimates, weights = NO_ESTIMATES, NO_WEIGHTS
    if any(step.kind in DELIVERY_STEPS for step in policy.rank):
        estimates = shipping_estimates(view.policy_set, question, units, _days_with_room(view, units, size))
        weights = unit_weights(view.policy_set, question, [sku])
    steps = [step.kind for step in policy.rank]
    split, single = (
        best_plan(demand, {sku: units}, ranks, steps=steps, max_shipments=limit, estimates=estimates, weights=weights)
        for limit in (policy.max_shipments, 1)
    )
    ruling = None if len(split.loads) < 2 else rule_on_split(policy, view, question, split, single)
    plan = split if ruling is None or ruling.is_allowed else single
    return plan.placed(sku) == size


def _days_with_room(view: PolicyView, units: Mapping[str, int], size: int) -> Mapping[str, date | None]:
    """The first day, by location id, on which a location can handle what an order of this size could get there.

    There is one for each: `units` are no more than it can handle on its best day.
    """
    world, catalog = view.question.world, view.memory.catalog
    return {
        key: next(
            day
            for day, room in rooms_by_day(catalog[key], world.now, world.capacity_figures)
            if room >= min(size, units[key])
        )
        for key in view.memory.limited_ids.intersection(units)
    }
