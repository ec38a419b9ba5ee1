"""The stock of one product at a channel's locations, with what rules say of each level at one moment.

Levels are never changed, only replaced. What was worked out of one holds while it is the same object, so an order that
takes units of a product makes rules run again for the location that supplied them, and for no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from itertools import repeat

from policies.decisions.availability.location_availability import (
    LocationAvailability,
    assess_location,
    drop_reason,
    limits_without,
    location_figure,
)
from policies.decisions.buffers import NOTHING_HELD_BACK, buffer_effect, units_held_back
from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.planning.by_location import ByLocation
from policies.domain.model import Context, Location, Product, StockLevel
from policies.policy_set import PolicySet, Scope


class _Levels:
    """The levels of one product, and what rules see of them. The lists are those of its ProductStock.

    What is worked out of levels refers to this, and not to the ProductStock, which refers to it: a cycle would keep all
    levels of a transaction in memory until the garbage collector looks at old objects, which can stop all calls for a
    second.
    """

    __slots__ = ("_capacity", "_locations", "_of_question", "_product", "available", "levels", "pause")

    def __init__(self, question: RoutingQuestion, product: Product | None, locations: Sequence[Location]) -> None:
        self.levels: list[StockLevel | None] = [None] * len(locations)
        self.available = [0] * len(locations)
        self.pause = question.world.pause
        self._product = product
        self._locations = locations
        self._of_question = (question.world.now, question.channel, question.order, question.destination)
        self._capacity = question.world.capacity

    def context(self, number: int) -> Context:
        """What rules see of a level."""
        # As `question.context`, for each level: looking its parts up would take as long as making it.
        location, level = self._locations[number], self.levels[number]
        return Context(*self._of_question, location, self._product, level, capacity=self._capacity)


class ProductStock:
    """The levels of one product by the number of the location; None where it was never stocked.

    `available` has the available units of each level, 0 without one; `stocked` are the locations that have any.
    `question` is one of those that rules about stock cannot tell apart. `held_back` are the units that buffers of the
    location hold back of a level.
    """

    __slots__ = (
        "_assessments",
        "_ids",
        "_is_filled",
        "_locations",
        "_policy_set",
        "_seen",
        "available",
        "held_back",
        "levels",
        "product",
        "question",
        "sku",
        "stocked",
    )

    def __init__(
        self, policy_set: PolicySet, question: RoutingQuestion, sku: str, locations: Sequence[Location]
    ) -> None:
        self.question = question
        self.sku = sku
        self.product = question.world.products.get(sku)
        seen = self._seen = _Levels(question, self.product, locations)
        self.levels, self.available = seen.levels, seen.available
        self.stocked: set[int] = set()
        self._is_filled = False
        self._policy_set = policy_set
        self._locations = locations
        self._ids = [location.id for location in locations]
        self._assessments: dict[frozenset[str], Assessments] = {}
        files = policy_set.buffers_of(Scope.LOCATION)
        self.held_back = ByLocation(lambda number: units_held_back(files, seen.context(number)))

    def update(self, levels: Mapping[tuple[str, str], StockLevel]) -> None:
        """Takes over the current levels, and forgets what was worked out of those that they replace."""
        current = [*map(levels.get, zip(repeat(self.sku), self._ids))]
        if not self._is_filled:
            self._is_filled = True
            self.levels[:] = current
            self.available[:] = [0 if level is None else level.available for level in current]
            self.stocked = {number for number, count in enumerate(self.available) if count > 0}
        elif current != self.levels:
            known = self.levels
            self._replace({number: level for number, level in enumerate(current) if level is not known[number]})

    def with_levels(self, levels: Mapping[int, StockLevel]) -> ProductStock:
        """A copy in which the levels of some locations, by their numbers, are replaced."""
        copy = ProductStock(self._policy_set, self.question, self.sku, self._locations)
        copy._is_filled = True
        copy.levels[:], copy.available[:], copy.stocked = self.levels, self.available, {*self.stocked}
        for waived, assessments in self._assessments.items():
            copy.assessments(waived).take_over(assessments)
        copy.held_back.update(self.held_back)
        copy._replace(levels)
        return copy

    def assessments(self, waived: frozenset[str]) -> Assessments:
        """What rules leave of the levels, without the `waived` limits."""
        assessments = self._assessments.get(waived)
        if assessments is None:
            assessments = self._assessments[waived] = Assessments(self._policy_set, self._seen, waived)
        return assessments

    def _replace(self, levels: Mapping[int, StockLevel | None]) -> None:
        for number, level in levels.items():
            self.levels[number] = level
            self.held_back.pop(number, None)
            available = self.available[number] = 0 if level is None else level.available
            if available > 0:
                self.stocked.add(number)
            else:
                self.stocked.discard(number)
            for assessments in self._assessments.values():
                assessments.forget(number)


class Assessments:
    """What rules leave of one product's levels without some limits, by the number of the location.

    `drops` say why an order gets no units of a level that has some.
    """

    __slots__ = ("_asked", "_limited", "_policy_set", "_seen", "_waived", "drops", "figures")

    def __init__(self, policy_set: PolicySet, seen: _Levels, waived: frozenset[str]) -> None:
        def assessed(number: int) -> LocationAvailability:
            seen.pause()
            return assess_location(policy_set, seen.context(number), waived=waived)

        figures = self.figures = ByLocation(assessed)
        self.drops = ByLocation(lambda number: drop_reason(figures[number]))
        self._policy_set = policy_set
        self._seen = seen
        self._waived = waived
        self._asked: set[int] = set()
        self._limited: set[int] = set()

    def limited(self, numbers: Set[int]) -> Set[int]:
        """The levels of which an order does not get all available units, or of which rules say something.

        Those of these numbers are among them, and others of which it is known.
        """
        # Of most levels no rule says anything, so their figures are made only if somebody asks for them.
        seen = self._seen
        fired, files = limits_without(self._policy_set, self._waived)
        unknown = numbers - self._asked
        for number in unknown:
            # Rules are not asked again about a level of which somebody has asked for the figures.
            figure = self.figures.get(number)
            if figure is None:
                seen.pause()
                context, level = seen.context(number), seen.levels[number]
                blocking = fired(context)
                effect = buffer_effect(files, context) if files else NOTHING_HELD_BACK
                if not blocking and not effect.fired and level is not None and level.tracked:
                    continue
                figure = self.figures[number] = location_figure(context, blocking, effect)
            if figure.fired or figure.not_used_by is not None:
                self._limited.add(number)
        self._asked |= unknown
        return self._limited

    def sellable(self, number: int) -> int:
        """The sellable units of a level that has available ones."""
        if number in self._asked and number not in self._limited:
            return self._seen.available[number]
        return self.figures[number].sellable

    def forget(self, number: int) -> None:
        """Forgets what was worked out of a level that was replaced."""
        self.figures.pop(number, None)
        self.drops.pop(number, None)
        self._asked.discard(number)
        self._limited.discard(number)

    def take_over(self, others: Assessments) -> None:
        """Takes over what was worked out of the same levels."""
        self.figures.update(others.figures)
        self.drops.update(others.drops)
        self._asked.update(others._asked)
        self._limited.update(others._limited)
