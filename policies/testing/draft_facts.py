"""Finds values of facts for which a condition is true, so that a test can be drafted in which its rule fires.

Values are tried, never proven: facts depend on each other (a distance on two places), so a draft is run before it is
kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import chain, islice

from policies.domain.model import Context, Location
from policies.engine.conditions import All, Always, Any, Comparison, Condition, NoneOf, Operator, holds
from policies.facts.fact_table import FACTS, Fact, FactType, Value
from policies.facts.periods import time_fact_reader

MAX_STEPS = 20_000
"""Parts of conditions that the search for one rule looks at."""

MAX_VALUES = 4
"""Values of one fact that are tried."""

WHOLE_NUMBERS = frozenset(
    {
        *("order.unit_count", "order.line_count", "order.priority", "location.handling_minutes"),
        *("stock.on_hand", "stock.available", "plan.shipment_count"),
        *("order.weight_grams", "product.weight_grams"),
    }
)
"""Facts whose values a test states as whole numbers."""

_COUNTRIES = ("US", "CA", "NO")
_SAMPLE_DAYS = 8
_QUARTER_HOUR = timedelta(minutes=15)

Literal = tuple[Comparison, bool]
"""A comparison, and whether it must be true or false."""


@dataclass(slots=True)
class SearchBudget:
    """How many more parts of conditions a search may look at."""

    remaining: int = MAX_STEPS

    def spend(self) -> bool:
        """Takes one step; False once none is left."""
        self.remaining -= 1
        return self.remaining >= 0


@dataclass(frozen=True, slots=True)
class Requirement:
    """What is required of the facts so far, by fact. `defaults` are the values of facts that nothing states."""

    defaults: Mapping[str, Value | None]
    literals: Mapping[str, tuple[Literal, ...]] = field(default_factory=dict)

    def values(self, fact: str) -> list[Value | None]:
        """A few values of the fact that meet what is required of it, simplest first."""
        return list(islice(self._values(fact), MAX_VALUES))

    def _values(self, fact: str) -> Iterator[Value | None]:
        literals = self.literals.get(fact, ())
        tried: set[Value | None] = set()
        for value in chain([self.defaults.get(fact)], _candidates(FACTS[fact], literals), [None]):
            if value not in tried and _meets(fact, value, literals):
                yield value
            tried.add(value)

    def moment(self, now: datetime) -> datetime | None:
        """A time at which the facts about time are as required, `now` if it is one; None if none was found."""
        readers = {fact: time_fact_reader(fact) for fact in self.literals}
        required = [(fact, read, self.literals[fact]) for fact, read in readers.items() if read is not None]
        # Locations of drafts keep the time zone UTC.
        place = Location("any", "store")
        for moment in _moments(now, [fact for fact, _, _ in required]):
            context = Context(moment, location=place)
            if all(_meets(fact, read(context), literals) for fact, read, literals in required):
                return moment
        return None

    def also(self, comparison: Comparison, *, wanted: bool) -> Requirement | None:
        """This and one more requirement; None if no value meets both."""
        fact = comparison.fact
        joined = replace(self, literals={**self.literals, fact: (*self.literals.get(fact, ()), (comparison, wanted))})
        if time_fact_reader(fact):
            # All facts about time are read from one clock, so they are tried together at the end.
            return joined
        return joined if any(True for _ in joined._values(fact)) else None


def requirements(
    condition: Condition, before: Requirement, budget: SearchBudget, *, wanted: bool = True
) -> Iterator[Requirement]:
    """The ways in which the condition can be true (or false, if that is wanted), added to a requirement."""
    if not budget.spend():
        return
    match condition:
        case Always():
            if wanted:
                yield before
        case Comparison():
            joined = before.also(condition, wanted=wanted)
            if joined is not None:
                yield joined
        case All(parts) | Any(parts) | NoneOf(parts):
            part_wanted = wanted is not isinstance(condition, NoneOf)
            if wanted is isinstance(condition, (All, NoneOf)):
                yield from _every(parts, before, budget, wanted=part_wanted)
            else:
                for part in parts:
                    yield from requirements(part, before, budget, wanted=part_wanted)


def without_unrelated(condition: Condition, defaults: Mapping[str, Value | None]) -> Condition:
    """The condition without entries of its `none` that cannot be true together with the rest of it.

    Of hundreds of rules before one, few apply to the same cases.
    """
    if not isinstance(condition, All):
        return condition
    rest = All(tuple(part for part in condition.parts if not isinstance(part, NoneOf)))
    parts = [
        NoneOf(tuple(other for other in part.parts if _can_join(rest, other, defaults)))
        if isinstance(part, NoneOf)
        else without_unrelated(part, defaults)
        for part in condition.parts
    ]
    return All(tuple(parts))


def _can_join(rest: Condition, other: Condition, defaults: Mapping[str, Value | None]) -> bool:
    return any(True for _ in requirements(All((rest, other)), Requirement(defaults), SearchBudget()))


def _every(
    parts: Sequence[Condition], before: Requirement, budget: SearchBudget, *, wanted: bool
) -> Iterator[Requirement]:
    """The ways in which every part can be true, or false. It does not recurse: there may be hundreds of parts."""
    if not parts:
        yield before
        return
    open_parts = [requirements(parts[0], before, budget, wanted=wanted)]
    while open_parts:
        found = next(open_parts[-1], None)
        if found is None:
            open_parts.pop()
        elif len(open_parts) == len(parts):
            yield found
        else:
            open_parts.append(requirements(parts[len(open_parts)], found, budget, wanted=wanted))


def _meets(fact: str, value: Value | None, literals: Sequence[Literal]) -> bool:
    return all(holds(comparison, {fact: value}) is wanted for comparison, wanted in literals)


def _candidates(fact: Fact, literals: Sequence[Literal]) -> Iterator[Value]:
    operands = [operand for comparison, _ in literals for operand in comparison.operands if _is_value(comparison)]
    match fact.type:
        case FactType.FLAG:
            yield from (True, False)
        case FactType.TEXTS:
            yield from _tag_lists(literals)
        case FactType.NUMBER:
            yield from _numbers(fact, [float(operand) for operand in operands])
        case FactType.TEXT:
            yield from map(str, operands)
            yield from fact.allowed or (_COUNTRIES if fact.pattern else ("another",))


def _is_value(comparison: Comparison) -> bool:
    return comparison.operator is not Operator.KNOWN


def _tag_lists(literals: Sequence[Literal]) -> Iterator[Value]:
    """A list with one tag of each comparison that must be true, and none of those that must be false."""
    forbidden = {
        tag for comparison, wanted in literals if not wanted and _is_value(comparison) for tag in comparison.operands
    }
    needed = [comparison.operands for comparison, wanted in literals if wanted and _is_value(comparison)]
    chosen = [next((str(tag) for tag in tags if tag not in forbidden), None) for tags in needed]
    if None not in chosen:
        yield frozenset(tag for tag in chosen if tag is not None)


def _numbers(fact: Fact, operands: Sequence[float]) -> Iterator[float]:
    lowest, highest = fact.value_range
    middles = [(low + high) / 2 for low, high in zip(sorted(operands), sorted(operands)[1:], strict=False)]
    near = [number + step for number in operands for step in (0, 1, -1, 0.1, -0.1)]
    for number in (*near, *middles, 1.0, 0.0):
        rounded = float(round(number)) if fact.name in WHOLE_NUMBERS else round(number, 6)
        if lowest <= rounded <= highest:
            yield rounded


def _moments(now: datetime, time_facts: Sequence[str]) -> Iterator[datetime]:
    """The clock itself, the moments at which rules begin or end, and the times of the days after each."""
    starts = [datetime.fromisoformat(name.partition(" ")[2]) for name in time_facts if name.startswith("from ")]
    edges = [now, *(moment + step for moment in sorted(starts) for step in (timedelta(0), -_QUARTER_HOUR))]
    yield from (edge.astimezone(UTC) for edge in edges)
    if len(starts) == len(time_facts):
        return
    for step in (_QUARTER_HOUR, timedelta(minutes=1)):
        steps = range(1, _SAMPLE_DAYS * timedelta(days=1) // step)
        yield from (edge.astimezone(UTC) + number * step for edge in edges for number in steps)
