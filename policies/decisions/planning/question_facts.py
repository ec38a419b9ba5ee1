"""What rules depend on of a question, besides the location, the product and its stock level that they are asked about.

Questions in which these values are equal get the same answer, with the same facts in its explanation.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache

from policies.domain.model import Context
from policies.engine.classified_facts import deciding_object
from policies.facts.fact_table import FACTS
from policies.facts.periods import time_fact_reader

QuestionReader = Callable[[Context], Hashable]
"""Reads these values from a context; its location, product and stock may be missing."""

_OF_THE_QUESTION = frozenset({"order", "destination"})
"""Groups of facts that are the same for every location and product of a question."""


@lru_cache(maxsize=1_024)
def question_reader(facts: tuple[str, ...]) -> QuestionReader:
    """Reads what the facts depend on."""
    parts = tuple({reader: None for fact in facts for reader in _readers(fact)})
    return lambda context: tuple([read(context) for read in parts])


def _readers(fact: str) -> tuple[QuestionReader, ...]:
    if fact in _READERS:
        return _READERS[fact]
    group = FACTS[fact].group
    if group in _OF_THE_QUESTION:
        return (FACTS[fact].read,)
    # A channel has a memory of its own, and levels and products are compared by identity where they are remembered.
    if deciding_object(fact) is not None or group == "stock":
        return ()
    return (_moment,) if time_fact_reader(fact) is not None else (_moment, _destination, _order)


def _moment(context: Context) -> Hashable:
    return context.now


def _order(context: Context) -> Hashable:
    return context.order


def _destination(context: Context) -> Hashable:
    return context.destination


def _coordinates(context: Context) -> Hashable:
    return context.destination and context.destination.coordinates


def _country(context: Context) -> Hashable:
    return context.destination and context.destination.country


def _capacity(context: Context) -> Hashable:
    return context.capacity


_READERS: dict[str, tuple[QuestionReader, ...]] = {
    "location.open_now": (_moment,),
    "location.capacity_left": (_moment, _capacity),
    "location.distance_km": (_coordinates,),
    "location.same_country": (_country,),
    "location.serves_destination": (_country,),
}
"""What facts depend on that are calculated from the location and the question."""
