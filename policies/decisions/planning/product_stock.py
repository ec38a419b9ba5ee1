"""The stock of one product at a channel's locations, with what rules say of each level at one moment.

Levels are never changed, only replaced. What was worked out of one holds while it is the same object, so an order that
takes units of a product makes rules run again for the location that supplied them, and for no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from policies.decisions.availability.location_availability import LocationAvailability, assess_location, drop_reason
from policies.decisions.buffers import units_held_back
from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.planning.by_location import ByLocation
from policies.domain.model import Context, Location, StockLevel
from policies.explanation import DroppedLocation
from policies.policy_set import PolicySet, Scope


class ProductStock:
    """The levels of one product by the number of the location; None where it was never stocked.

    `available` has the available units of each level, 0 without one. `question` is one of those that rules about stock
    cannot tell apart. `held_back` are the units that buffers of the location hold back of a level.
    """

    __slots__ = (
        "_assessments",
        "_capacity",
        "_keys",
        "_locations",
        "_of_question",
        "_policy_set",
        "available",
        "held_back",
        "levels",
        "product",
        "question",
        "sku",
    )

    def __init__(
        self, policy_set: PolicySet, question: RoutingQuestion, sku: str, locations: Sequence[Location]
    ) -> None:
        self.question = question
        self.sku = sku
        self.product = question.world.products.get(sku)
        self.levels: list[StockLevel | None] = [None] * len(locations)
        self.available = [0] * len(locations)
        self._policy_set = policy_set
        self._locations = locations
        self._of_question = (question.world.now, question.channel, question.order, question.destination)
        self._capacity = question.world.capacity
        self._keys = [(sku, location.id) for location in locations]
        self._assessments: dict[frozenset[str], Assessments] = {}
        self.held_back = ByLocation(self._held_back)

    def update(self, levels: Mapping[tuple[str, str], StockLevel]) -> None:
        """Takes over the current levels, and forgets what was worked out of those that they replace."""
        current = [*map(levels.get, self._keys)]
        if current != self.levels:
            known = self.levels
            self._replace({number: level for number, level in enumerate(current) if level is not known[number]})

    def with_levels(self, levels: Mapping[int, StockLevel]) -> ProductStock:
        """A copy in which the levels of some locations, by their numbers, are replaced."""
        copy = ProductStock(self._policy_set, self.question, self.sku, self._locations)
        copy.levels, copy.available = [*self.levels], [*self.available]
        for waived, assessments in self._assessments.items():
            copy.assessments(waived).take_over(assessments)
        copy.held_back.update(self.held_back)
        copy._replace(levels)
        return copy

    def assessments(self, waived: frozenset[str]) -> Assessments:
        """What rules leave of the levels, without the `waived` limits."""
        assessments = self._assessments.get(waived)
        if assessments is None:
            assessments = self._assessments[waived] = Assessments(self._policy_set, self, waived)
        return assessments

    def context(self, number: int) -> Context:
        """What rules see of a level."""
        # As `question.context`, for each level: looking its parts up would take as long as making it.
        location, level = self._locations[number], self.levels[number]
        return Context(*self._of_question, location, self.product, level, capacity=self._capacity)

    def _held_back(self, number: int) -> int:
        return units_held_back(self._policy_set.buffers_of(Scope.LOCATION), self.context(number))

    def _replace(self, levels: Mapping[int, StockLevel | None]) -> None:
        for number, level in levels.items():
            self.levels[number] = level
            self.held_back.pop(number, None)
            self.available[number] = 0 if level is None else level.available
            for assessments in self._assessments.values():
                assessments.forget(number)


class Assessments:
    """What rules leave of one product's levels without some limits, by the number of the location.

    `drops` say why an order gets no units of a level that has some.
    """

    __slots__ = ("_policy_set", "_stock", "_waived", "drops", "figures")

    def __init__(self, policy_set: PolicySet, stock: ProductStock, waived: frozenset[str]) -> None:
        self.figures = ByLocation(self._assess)
        self.drops = ByLocation(self._drop)
        self._policy_set = policy_set
        self._stock = stock
        self._waived = waived

    def forget(self, number: int) -> None:
        """Forgets what was worked out of a level that was replaced."""
        self.figures.pop(number, None)
        self.drops.pop(number, None)

    def take_over(self, others: Assessments) -> None:
        """Takes over what was worked out of the same levels."""
        self.figures.update(others.figures)
        self.drops.update(others.drops)

    def _assess(self, number: int) -> LocationAvailability:
        self._stock.question.world.pause()
        return assess_location(self._policy_set, self._stock.context(number), waived=self._waived)

    def _drop(self, number: int) -> DroppedLocation:
        return drop_reason(self.figures[number])
