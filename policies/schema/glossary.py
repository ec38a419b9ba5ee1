"""Descriptions of facts, for the planners' guide, `truestock facts` and the JSON Schemas."""

from __future__ import annotations

from collections.abc import Mapping

from policies.facts.fact_table import EVERYWHERE, Fact, FactType, RulePlace
from policies.reading.condition_reader import OPERATORS

PLACES: Mapping[RulePlace, str] = {
    RulePlace.EXPOSURE: "exposure",
    RulePlace.LOCATION_BUFFER: "buffers of a location",
    RulePlace.CHANNEL_BUFFER: "buffers of a channel",
    RulePlace.APPLIES_TO: "`applies_to`",
    RulePlace.CANDIDATE: "`only`, `exclude`, `prefer`",
    RulePlace.DELIVERY: "delivery",
    RulePlace.EXCEPTION: "exceptions",
    RulePlace.LISTING: "listing requirements",
    RulePlace.REVIEW: "`review`",
    RulePlace.SPLIT: "`split_only_if`",
}
"""The places where conditions stand, in Markdown."""

VALUES: Mapping[FactType, str] = {
    FactType.TEXT: "a word",
    FactType.NUMBER: "a number",
    FactType.FLAG: "`true` or `false`",
    FactType.TEXTS: "tags",
}
"""The values of each type of fact, in Markdown."""


def value(fact: Fact) -> str:
    """The possible values of the fact, in Markdown, such as 'a number (units)'."""
    if fact.allowed:
        return ", ".join(f"`{word}`" for word in fact.allowed)
    return f"{VALUES[fact.type]} ({fact.unit})" if fact.unit else VALUES[fact.type]


def places(fact: Fact) -> str:
    """The places where the fact is known, in Markdown."""
    if fact.places == EVERYWHERE:
        return "everywhere"
    return ", ".join(PLACES[place] for place in RulePlace if place in fact.places)


def comparisons(fact: Fact) -> tuple[str, ...]:
    """The comparisons of the fact, besides a bare value and `.known`."""
    return tuple(operator.value for operator in OPERATORS[fact.type])


def plain(markdown: str) -> str:
    """The text without Markdown markup, for terminals and editors."""
    return markdown.replace("`", "")
