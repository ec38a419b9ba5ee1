"""Conditions of rules as immutable values.

`holds` evaluates a condition on raw values. Tests compare the rule engine with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from policies.facts.fact_table import Value


class Operator(StrEnum):
    """How a fact is compared. The values are the keys in rule files; `known` is written `<fact>.known`."""

    IS = "is"
    IN = "in"
    IS_NOT = "is_not"
    NOT_IN = "not_in"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    MORE_THAN = "more_than"
    LESS_THAN = "less_than"
    CONTAINS = "contains"
    CONTAINS_ANY = "contains_any"
    KNOWN = "known"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A fact compared with constants. Operators such as `is` have one operand; `known` has True or False."""

    fact: str
    operator: Operator
    operands: tuple[str | float | bool, ...]

    def __post_init__(self) -> None:
        if not self.operands:
            raise ValueError(f"the comparison of '{self.fact}' has no value")


@dataclass(frozen=True, slots=True)
class All:
    """True if every part is true."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """True if at least one part is true."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class NoneOf:
    """True if no part is true. It negates `Any`, so it is also true where the fact of every part is unknown."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Always:
    """Always true: the condition of a rule without `when`."""


Condition = Comparison | All | Any | NoneOf | Always


def holds(condition: Condition, values: Mapping[str, Value | None]) -> bool:
    """Whether the condition is true for these values; a fact that is missing or None is unknown."""
    match condition:
        case Comparison():
            return _comparison_holds(condition, values.get(condition.fact))
        case All(parts):
            return all(holds(part, values) for part in parts)
        case Any(parts):
            return any(holds(part, values) for part in parts)
        case NoneOf(parts):
            return not any(holds(part, values) for part in parts)
        case Always():
            return True


def comparisons(condition: Condition) -> Iterator[Comparison]:
    """Every comparison in the condition, in written order."""
    if isinstance(condition, Comparison):
        yield condition
    elif not isinstance(condition, Always):
        for part in condition.parts:
            yield from comparisons(part)


def needed_operands(condition: Condition, fact: str) -> frozenset[str | float | bool] | None:
    """Values of which a fact that is a set must contain at least one for the condition to hold; None if it need not."""
    match condition:
        case Comparison(name, Operator.CONTAINS | Operator.CONTAINS_ANY, operands) if name == fact:
            return frozenset(operands)
        case All(parts):
            needed = [found for part in parts if (found := needed_operands(part, fact)) is not None]
            return min(needed, key=len, default=None)
        case Any(parts):
            every = [needed_operands(part, fact) for part in parts]
            return None if None in every else frozenset().union(*(found for found in every if found))
        case _:
            return None


def _comparison_holds(comparison: Comparison, value: Value | None) -> bool:
    operands = comparison.operands
    if comparison.operator is Operator.KNOWN:
        return (value is not None) is operands[0]
    if value is None:
        return False
    if isinstance(value, frozenset):
        return any(operand in value for operand in operands)
    match comparison.operator:
        case Operator.IS | Operator.IN:
            return value in operands
        case Operator.IS_NOT | Operator.NOT_IN:
            return value not in operands
        case _:
            return _number_comparison_holds(comparison.operator, float(value), float(operands[0]))


def _number_comparison_holds(operator: Operator, value: float, constant: float) -> bool:
    match operator:
        case Operator.AT_LEAST:
            return value >= constant
        case Operator.AT_MOST:
            return value <= constant
        case Operator.MORE_THAN:
            return value > constant
        case Operator.LESS_THAN:
            return value < constant
        case _:
            raise ValueError(f"'{operator}' does not compare numbers")
