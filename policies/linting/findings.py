"""What lint reports, and conditions as text for its messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from policies.engine.conditions import All, Always, Any, Comparison, Condition, NoneOf, Operator
from policies.facts.fact_table import FACTS
from policies.source.problems import Source
from policies.source.rule_file import number_text

MAX_WORDS_SHOWN = 4
"""Words of a list that a message repeats."""

_GROUPS: dict[type[Condition], str] = {All: "all", Any: "any", NoneOf: "none"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with the valid rule at `source`. The carets mark the rule's `key`."""

    source: Source
    key: str
    code: str
    message: str
    help: str


def condition_text(condition: Condition) -> str:
    """The condition on one line, nearly as in a rule file."""
    match condition:
        case Comparison(fact, _, (holds, *_)) if fact not in FACTS:
            return _time_bound_text(fact, holds is True)
        case Comparison(fact, Operator.KNOWN, (known, *_)):
            return f"{fact}.known: {_operand_text(known)}"
        case Comparison(fact, Operator.IS, (operand, *_)):
            return f"{fact}: {_operand_text(operand)}"
        case Comparison(fact, Operator.IN, operands):
            return f"{fact}: {_operands_text(operands)}"
        case Comparison(fact, Operator.NOT_IN | Operator.CONTAINS_ANY as operator, operands):
            return f"{fact}: {{{operator.value}: {_operands_text(operands)}}}"
        case Comparison(fact, operator, (operand, *_)):
            return f"{fact}: {{{operator.value}: {_operand_text(operand)}}}"
        case All(parts) | Any(parts) | NoneOf(parts):
            entries = ", ".join(f"{{{condition_text(part)}}}" for part in parts)
            return f"{_GROUPS[type(condition)]}: [{entries}]"
        case _:
            return "always"


def joined_names(names: Sequence[str]) -> str:
    """'a', 'a and b' or 'a, b and c'."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def conjuncts(condition: Condition) -> list[Condition]:
    """The conditions that must all be true for this one to be true; none for `Always`."""
    match condition:
        case Always():
            return []
        case All(parts):
            return [conjunct for part in parts for conjunct in conjuncts(part)]
        case _:
            return [condition]


def _time_bound_text(fact: str, holds: bool) -> str:
    """The text of `from`, `until` or `during`, which are facts in no table. `until` is a `from` that must be false."""
    return fact if holds else fact.replace("from ", "until ", 1)


def _operand_text(operand: str | float | bool) -> str:
    if isinstance(operand, bool):
        return "true" if operand else "false"
    return operand if isinstance(operand, str) else number_text(operand).replace(",", "")


def _operands_text(operands: Sequence[str | float | bool]) -> str:
    shown = [_operand_text(operand) for operand in operands[:MAX_WORDS_SHOWN]]
    return f"[{', '.join(shown)}{', …' if len(operands) > MAX_WORDS_SHOWN else ''}]"
