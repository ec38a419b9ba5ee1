"""JSON Schema of conditions: the facts that are known in a place, how each is compared, and what editors show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from policies.engine.conditions import Operator
from policies.facts.fact_table import FACTS, KNOWN, MAX_CONSTANT, Fact, FactType, RulePlace, fact_names
from policies.reading.condition_reader import GROUPS, MAX_GROUP_ENTRIES, MAX_VALUES, OPERATORS
from policies.schema import glossary
from policies.source.rule_file import MAX_TEXT_LENGTH

Schema = Mapping[str, object]
"""A JSON Schema, draft 2020-12, as values that the `json` module can write."""

WORD: Schema = {"type": ["string", "number", "boolean"], "maxLength": MAX_TEXT_LENGTH}
"""A text in YAML: 1234 can be a SKU and true a brand, although YAML reads them as a number and a boolean."""

_GROUP_HELP = {
    "all": "All of these must be true.",
    "any": "At least one of these must be true.",
    "none": "None of these may be true.",
}
_LISTS = (Operator.IN, Operator.NOT_IN, Operator.CONTAINS_ANY)


def conditions(place: RulePlace) -> Schema:
    """The conditions of a place: the definition to which `condition` refers."""
    group = {"type": "array", "items": condition(place), "minItems": 1, "maxItems": MAX_GROUP_ENTRIES}
    properties: dict[str, Schema] = {name: {**group, "description": _GROUP_HELP[name]} for name in GROUPS}
    for name in fact_names(place):
        properties[name] = _fact(FACTS[name])
        properties[name + KNOWN] = {
            "type": "boolean",
            "description": f"Whether this fact is known: {FACTS[name].help}.",
        }
    return closed(properties, minProperties=1)


def condition(place: RulePlace) -> Schema:
    """A reference to the conditions of a place."""
    return {"$ref": f"#/$defs/{definition(place)}"}


def definition(place: RulePlace) -> str:
    """The name of a place's conditions in a schema."""
    return f"condition_in_{place.name.lower()}"


def closed(properties: Mapping[str, object], required: Sequence[str] = (), **more: object) -> dict[str, object]:
    """A mapping with these keys and no others."""
    schema: dict[str, object] = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    schema |= more
    return {**schema, "required": list(required)} if required else schema


def choice(words: Sequence[str], description: str = "") -> dict[str, object]:
    """One of the given words."""
    return {"enum": list(words), **({"description": description} if description else {})}


def _fact(fact: Fact) -> Schema:
    """A fact with its comparisons: a bare value, a list if the fact allows one, or comparisons by name."""
    operators = OPERATORS[fact.type]
    compared = closed({operator.value: _operand(fact, operator) for operator in operators}, minProperties=1)
    bare = [_operand(fact, operator) for operator in (Operator.IS, Operator.IN) if operator in operators]
    summary = f"{fact.help[0].upper()}{fact.help[1:]}: {glossary.plain(glossary.value(fact))}."
    help = f"{summary} Comparisons: {', '.join(glossary.comparisons(fact))}."
    return {"description": help, "anyOf": [*bare, compared]}


def _operand(fact: Fact, operator: Operator) -> Schema:
    value = _value(fact)
    return {"type": "array", "items": value, "minItems": 1, "maxItems": MAX_VALUES} if operator in _LISTS else value


def _value(fact: Fact) -> Schema:
    if fact.allowed:
        return choice(fact.allowed)
    match fact.type:
        case FactType.NUMBER:
            low, high = fact.bounds
            bounded = (low, high) != (-MAX_CONSTANT, MAX_CONSTANT)
            return {"type": "number", "minimum": low, "maximum": high} if bounded else {"type": "number"}
        case FactType.FLAG:
            return {"type": "boolean"}
        case _:
            return WORD
