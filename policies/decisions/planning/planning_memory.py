"""What planning works out for one channel again and again, remembered as long as it holds.

What a routing policy says of a location holds for one policy set and one version of the catalog, for all questions that
its rules cannot tell apart. What rules say of stock holds for one moment and one level (`product_stock`).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from datetime import datetime
from itertools import chain

from policies.decisions.deadlines import late_locations
from policies.decisions.eligibility import RoutingQuestion, dropped_by_policy, exclude_rule_behind
from policies.decisions.planning.by_location import ByLocation
from policies.decisions.planning.first_days import FirstDays
from policies.decisions.planning.product_stock import ProductStock
from policies.decisions.planning.question_facts import QuestionReader, question_reader
from policies.domain.geography import great_circle_km
from policies.domain.model import Channel, Context, Coordinates, ErasedPoint, Location, Product, StockLevel, World
from policies.domain.remembered import remember
from policies.explanation import DroppedLocation, DropReason, FiredRule
from policies.policy_set import PolicySet, RankStep, RoutingPolicy, Scope

MAX_CHANNELS = 256
"""Channels with a memory. When there are more, all are forgotten."""

MAX_QUESTIONS = 256
"""Questions, destinations and preferences that a memory tells apart. When there are more, all are forgotten."""

MAX_PRODUCTS = 4_096
"""Products whose stock a memory holds at one moment. When there are more, all are forgotten."""

FORMER_AT_ONCE = 4
"""Stocks of earlier moments, which nobody took, that are freed whenever a stock is asked for: more than are added, and
1 ms at most where 200 locations have levels."""


class PlanningMemory:
    """What was worked out for one channel under one policy set and one version of the catalog.

    `locations` are those of the channel in the order of their ids, closed ones included; a location's number is its
    place there. `limited_ids` are those with a capacity. For one thread at a time.
    """

    __slots__ = (
        "_distances",
        "_eligibilities",
        "_former",
        "_moment",
        "_policy_set",
        "_preferences",
        "_readers",
        "_stock_question",
        "_stocks",
        "catalog",
        "channel",
        "first_days",
        "limited_ids",
        "locations",
        "not_chosen",
        "numbers",
        "outside_outlet",
        "without_stock",
    )

    def __init__(self, policy_set: PolicySet, catalog: Mapping[str, Location], channel: Channel) -> None:
        ids = [location_id for location_id in sorted(channel.location_ids or catalog) if location_id in catalog]
        self.catalog = catalog
        self.channel = channel
        self.locations = tuple([catalog[location_id] for location_id in ids])
        limited = [location for location in self.locations if location.capacity is not None]
        self.limited_ids = frozenset([location.id for location in limited])
        self.first_days = FirstDays(limited)
        self.numbers = {location_id: number for number, location_id in enumerate(ids)}
        locations = self.locations
        self.without_stock = ByLocation(lambda number: _without_stock(locations[number]))
        self.not_chosen = ByLocation(lambda number: _dropped(locations[number], DropReason.NOT_CHOSEN))
        self.outside_outlet = ByLocation(lambda number: _dropped(locations[number], DropReason.OUTSIDE_OUTLET))
        self._policy_set = policy_set
        buffer_facts = [file.matcher.facts for file in policy_set.buffers_of(Scope.LOCATION)]
        facts = chain(policy_set.exposure_matcher.facts, *buffer_facts)
        self._stock_question = question_reader(tuple(facts))
        self._readers: dict[int, QuestionReader] = {}
        self._eligibilities: dict[Hashable, Eligibility] = {}
        self._distances: dict[Coordinates | ErasedPoint | None, ByLocation[float | None]] = {}
        self._preferences: dict[Hashable, ByLocation[bool]] = {}
        self._moment: tuple[datetime, int] | None = None
        self._stocks: dict[Hashable, ProductStock] = {}
        self._former: list[ProductStock] = []
        """Stocks of earlier moments. All of those of a large question would take 50 ms to free at once."""

    def holds_for(self, policy_set: PolicySet, catalog: Mapping[str, Location], channel: Channel) -> bool:
        """Whether it was made of these very objects."""
        return self._policy_set is policy_set and self.catalog is catalog and self.channel is channel

    def eligibility(self, policy: RoutingPolicy, question: RoutingQuestion, context: Context) -> Eligibility:
        """What the policy says of each location; `context` is the question's, without a location."""
        read = self._readers.get(id(policy))
        if read is None:
            matchers = [matcher for matcher in (policy.only_matcher, policy.exclude_matcher) if matcher is not None]
            facts = tuple([fact for matcher in matchers for fact in matcher.facts])
            read = self._readers[id(policy)] = question_reader(facts)
        key = (id(policy), read(context))
        found = self._eligibilities.get(key)
        if found is None:
            found = Eligibility(policy, self._without_levels(question), self.locations)
            remember(self._eligibilities, key, found, at_most=MAX_QUESTIONS)
        return found

    def distances(self, destination: Coordinates | ErasedPoint | None) -> ByLocation[float | None]:
        """Kilometers from each location to the destination; None if either has no coordinates."""
        found, locations = self._distances.get(destination), self.locations
        if found is None:
            found = ByLocation(lambda number: _distance_km(locations[number].coordinates, destination))
            remember(self._distances, destination, found, at_most=MAX_QUESTIONS)
        return found

    def preference(self, step: RankStep, question: RoutingQuestion, context: Context) -> ByLocation[bool]:
        """Whether each location meets the condition of a `prefer` step; `context` is the question's."""
        matcher = step.matcher
        if matcher is None:
            return ByLocation(lambda number: False)
        key = (id(step), question_reader(matcher.facts)(context))
        found = self._preferences.get(key)
        if found is None:
            asked, locations = self._without_levels(question), self.locations
            found = ByLocation(lambda number: bool(matcher.fired(asked.context(locations[number]))))
            remember(self._preferences, key, found, at_most=MAX_QUESTIONS)
        return found

    def stock(self, sku: str, question: RoutingQuestion, context: Context) -> ProductStock:
        """The product's levels in the question's world; `context` is the question's."""
        world = question.world
        # Planning that pauses takes turns with other questions, so the stock of one must not become that of another.
        moment = (world.now, id(world.levels))
        if self._moment != moment or len(self._stocks) >= MAX_PRODUCTS:
            self._former += self._stocks.values()
            self._stocks, self._moment = {}, moment
        del self._former[-FORMER_AT_ONCE:]
        product = world.products.get(sku)
        key = (sku, self._stock_question(context))
        stock = self._stocks.get(key)
        if stock is None or stock.product is not product:
            stock = ProductStock(self._policy_set, self._without_levels(question, product), sku, self.locations)
            self._stocks[key] = stock
        stock.update(world.levels)
        return stock

    def take_stocks(self, levels: Mapping[tuple[str, str], StockLevel]) -> list[ProductStock]:
        """Forgets the stocks that were worked out of these levels last, and returns them for the caller to free."""
        if self._moment is None or self._moment[1] != id(levels):
            return []
        stocks, self._stocks, self._moment = [*self._stocks.values()], {}, None
        return stocks

    def _without_levels(self, question: RoutingQuestion, product: Product | None = None) -> RoutingQuestion:
        """The question without any order's own units, so that nothing keeps the stock of a transaction in memory."""
        products = {} if product is None else {product.sku: product}
        world = World(
            question.world.now, self.catalog, products, pause=question.world.pause, capacity=question.world.capacity
        )
        return RoutingQuestion(world, question.channel, question.order, question.destination)


class Eligibility:
    """Why a routing policy drops a location, by its number (None: it does not), and the `exclude` rule that does."""

    __slots__ = ("drops", "exclude_rules")

    def __init__(self, policy: RoutingPolicy, question: RoutingQuestion, locations: tuple[Location, ...]) -> None:
        drops = self.drops = ByLocation(lambda number: dropped_by_policy(policy, locations[number], question))

        def exclude_rules(number: int) -> tuple[FiredRule, ...]:
            dropped = drops[number]
            return () if dropped is None else exclude_rule_behind(dropped)

        self.exclude_rules = ByLocation(exclude_rules)


_memories: dict[str, PlanningMemory] = {}
"""The newest memory of each channel, by the channel's id."""


def memory_of(policy_set: PolicySet, catalog: Mapping[str, Location], channel: Channel) -> PlanningMemory:
    """The memory of a channel, the same object until the rules, the channel or a location are edited."""
    memory = _memories.get(channel.id)
    if memory is None or not memory.holds_for(policy_set, catalog, channel):
        memory = PlanningMemory(policy_set, catalog, channel)
        remember(_memories, channel.id, memory, at_most=MAX_CHANNELS)
    return memory


def take_stocks(levels: Mapping[tuple[str, str], StockLevel]) -> list[ProductStock]:
    """Forgets the stocks that were worked out of these levels, in all memories, and returns them.

    Freeing them takes 50 ms for 500 products that 200 locations stock, so the caller frees a few at a time.
    """
    return [stock for memory in _memories.values() for stock in memory.take_stocks(levels)]


class PolicyView:
    """One question as one routing policy sees it. Levels must not change while it is used."""

    __slots__ = (
        "_context",
        "_stocks",
        "distances",
        "eligibility",
        "late",
        "memory",
        "policy",
        "policy_set",
        "question",
    )

    def __init__(self, policy_set: PolicySet, question: RoutingQuestion, policy: RoutingPolicy) -> None:
        self.policy_set = policy_set
        self.question = question
        self.policy = policy
        self.memory = memory_of(policy_set, question.world.locations, question.channel)
        self._context = question.context()
        self.eligibility = self.memory.eligibility(policy, question, self._context)
        self.late = late_locations(policy_set, policy, question, self.memory.locations)
        destination = question.destination
        self.distances = self.memory.distances(None if destination is None else destination.coordinates)
        self._stocks: dict[str, ProductStock] = {}

    def stock(self, sku: str) -> ProductStock:
        """The product's stock, in which the order's own units count as available."""
        stock = self._stocks.get(sku)
        if stock is None:
            self.question.world.pause()
            stock = self.memory.stock(sku, self.question, self._context)
            own_levels = self._own_levels(sku)
            stock = self._stocks[sku] = stock.with_levels(own_levels) if own_levels else stock
        return stock

    def preference(self, step: RankStep) -> ByLocation[bool]:
        """Whether each location meets the condition of a `prefer` step."""
        return self.memory.preference(step, self.question, self._context)

    def _own_levels(self, sku: str) -> dict[int, StockLevel]:
        """The levels of which the order has units already, as they were before it took them."""
        question, numbers = self.question, self.memory.numbers
        keys = [key for key in (*question.own_units, *question.kept_units) if key[0] == sku and key[1] in numbers]
        levels = {numbers[location_id]: question.level(sku, location_id) for _, location_id in keys}
        return {number: level for number, level in levels.items() if level is not None}


def _without_stock(location: Location) -> DroppedLocation:
    return _dropped(location, DropReason.CLOSED if location.status == "closed" else DropReason.NO_STOCK)


def _dropped(location: Location, reason: DropReason) -> DroppedLocation:
    return DroppedLocation(location.id, None, reason)


def _distance_km(start: Coordinates | None, end: Coordinates | ErasedPoint | None) -> float | None:
    return None if start is None or end is None else great_circle_km(start, end)
