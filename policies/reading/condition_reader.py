"""Reads the conditions under `when`, `only`, `applies_to` and similar keys.

The type of the fact decides what a word means, so `location.country: NO` is Norway and `product.sku: 1234` is a SKU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from policies.engine.conditions import All, Any, Comparison, Condition, NoneOf, Operator
from policies.engine.conjunctions import BoundsExceeded, alternatives
from policies.engine.value_classes import ValueClasses
from policies.facts.fact_table import FACTS, KNOWN, Fact, FactType, RulePlace, fact_names, find_fact
from policies.source import likely_forms
from policies.source.problems import quoted
from policies.source.rule_file import RuleFile, described, foreign_space, single, suggestion
from policies.source.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_VALUES = 10_000
"""Values in one list, such as the SKUs of a rule."""

MAX_GROUP_ENTRIES = 200
"""Entries of one `all`, `any` or `none`."""

_GROUPS: dict[str, type[All | Any | NoneOf]] = {"all": All, "any": Any, "none": NoneOf}
GROUPS = tuple(_GROUPS)

_EQUALITIES = (Operator.IS, Operator.IN, Operator.IS_NOT, Operator.NOT_IN)
_MEASURES = (Operator.AT_LEAST, Operator.AT_MOST, Operator.MORE_THAN, Operator.LESS_THAN)
_LIST_OPERATORS = (Operator.IN, Operator.NOT_IN, Operator.CONTAINS_ANY)

OPERATORS: dict[FactType, tuple[Operator, ...]] = {
    FactType.TEXT: _EQUALITIES,
    FactType.NUMBER: _EQUALITIES + _MEASURES,
    FactType.FLAG: (Operator.IS, Operator.IS_NOT),
    FactType.TEXTS: (Operator.CONTAINS, Operator.CONTAINS_ANY),
}
"""The comparisons that each type of fact supports."""

_TYPE_NAMES: dict[FactType, str] = {
    FactType.TEXT: "a text",
    FactType.NUMBER: "a number",
    FactType.FLAG: "true or false",
    FactType.TEXTS: "a list of tags",
}


def read_condition(rule_file: RuleFile, node: Node, rule: str, place: RulePlace) -> Condition | None:
    """The condition that a mapping states, or None if it has problems. `rule` names the rule in messages."""
    condition = _ConditionReader(rule_file, rule, place).all_of(node, f"the condition of {rule}", certain=True)
    return None if condition is None else within_engine_bounds(rule_file, node, rule, condition)


def within_engine_bounds(rule_file: RuleFile, node: Node, rule: str, condition: Condition) -> Condition | None:
    """The condition, or None and a problem if it exceeds the bounds of the rule engine."""
    try:
        alternatives(condition, ValueClasses([condition]))
    except BoundsExceeded as exceeded:
        rule_file.note(node, "rule-too-large", f"{rule} is too large: {exceeded}", "split it into several rules.")
        return None
    return condition


@dataclass(frozen=True, slots=True)
class _ConditionReader:
    """Reads one condition of a rule that stands in `place`."""

    rule_file: RuleFile
    rule: str
    place: RulePlace

    def all_of(self, node: Node, what: str, *, certain: bool) -> Condition | None:
        """Facts and groups side by side, which must all be true. `certain`: the rule cannot fire if this is false."""
        if not isinstance(node, MappingNode):
            help = f"write {_likely_condition(node)}."
            self.rule_file.note(node, "wrong-type", f"{what} must be a mapping, not {described(node)}", help)
            return None
        if not node.entries:
            help = "add a fact and its value, or remove the key if the rule should always apply."
            self.rule_file.note(node, "empty-condition", f"{what} is empty", help)
            return None
        parts = [
            self._group(name, value, certain=certain)
            if name in GROUPS
            else self._fact(key, value, certain=certain, hint=_comma_hint(node, name))
            for name, (key, value) in node.entries.items()
        ]
        return _conjunction(parts)

    def _group(self, name: str, node: Node, *, certain: bool) -> Condition | None:
        what = f"'{name}' in {self.rule}"
        example = f"{name}: [{{location.type: store}}, {{stock.on_hand: {{at_most: 2}}}}]"
        entries = list(self.rule_file.items(node, what, example, at_most=MAX_GROUP_ENTRIES))
        certain = certain and (name == "all" or (name == "any" and len(entries) == 1))
        parts = [self.all_of(entry, f"an entry of {what}", certain=certain) for entry in entries]
        readable = [part for part in parts if part is not None]
        if not readable or len(readable) < len(parts):
            return None
        return _GROUPS[name](tuple(readable))

    def _fact(self, key: ScalarNode, node: Node, *, certain: bool, hint: str) -> Condition | None:
        """The comparison of one fact. `hint` is what was meant if there is no such fact."""
        fact = find_fact(key.text)
        if fact is None:
            self._note_unknown_fact(key, node, hint)
            return None
        if self.place not in fact.places:
            message = f"{self.rule} uses '{fact.name}', which is never known in {self.place.value}"
            self.rule_file.note(key, "fact-not-known-here", message, f"Known there: {_fact_summary(self.place)}.")
            return None
        if key.text.endswith(KNOWN):
            known = self.rule_file.flag(node, f"'{key.text}'")
            return None if known is None else Comparison(fact.name, Operator.KNOWN, (known,))
        if isinstance(node, MappingNode):
            return self._comparisons(fact, node, certain=certain)
        operator = Operator.IN if isinstance(node, SequenceNode) else Operator.IS
        if fact.type is FactType.TEXTS:
            help = f"write {fact.name}: {_contains(node)}."
            message = f"'{fact.name}' is a list of tags and cannot be compared like a single word"
            self.rule_file.note(node, "unknown-comparison", message, help)
            return None
        return self._comparison(fact, operator, node, certain=certain)

    def _comparisons(self, fact: Fact, node: MappingNode, *, certain: bool) -> Condition | None:
        """The comparisons of one fact, all of which must be true."""
        allowed = OPERATORS[fact.type]
        if not node.entries:
            message = f"the comparison of '{fact.name}' is empty"
            self.rule_file.note(node, "empty-condition", message, f"Comparisons: {', '.join(allowed)}.")
            return None
        parts: list[Condition | None] = []
        for name, (key, value) in node.entries.items():
            if name not in allowed:
                message = f"'{fact.name}' is {_TYPE_NAMES[fact.type]} and has no comparison {quoted(name)}"
                help = f"{_likely_operator(fact, name, value, allowed)}Comparisons: {', '.join(allowed)}."
                self.rule_file.note(key, "unknown-comparison", message, help)
                parts.append(None)
            else:
                parts.append(self._comparison(fact, Operator(name), value, certain=certain))
        return _conjunction(parts)

    def _comparison(self, fact: Fact, operator: Operator, node: Node, *, certain: bool) -> Condition | None:
        if operator not in _LIST_OPERATORS:
            operand = self._operand(fact, operator, node, certain=certain)
            return None if operand is None else Comparison(fact.name, operator, (operand,))
        what = f"'{operator.value}' of '{fact.name}'"
        example = f"{operator.value}: {'[sale, gift]' if fact.type is FactType.TEXTS else '[one, another]'}"
        entries = list(self.rule_file.items(node, what, example, at_most=MAX_VALUES))
        if operator not in OPERATORS[fact.type]:
            one = likely_forms.flag(_text_of(single(node)))
            help = f"{one and f'write {fact.name}: {one}. '}Comparisons: {', '.join(OPERATORS[fact.type])}."
            self.rule_file.note(node, "unknown-comparison", f"'{fact.name}' cannot be compared with a list", help)
            return None
        certain = certain and len(entries) == 1
        operands = [self._operand(fact, operator, entry, certain=certain) for entry in entries]
        readable = tuple(operand for operand in operands if operand is not None)
        return Comparison(fact.name, operator, readable) if readable and len(readable) == len(operands) else None

    def _operand(self, fact: Fact, operator: Operator, node: Node, *, certain: bool) -> str | float | bool | None:
        match fact.type:
            case FactType.NUMBER:
                return self._number(fact, operator, node)
            case FactType.FLAG:
                return self.rule_file.flag(node, f"'{fact.name}'")
            case _:
                return self._word(fact, operator, node, certain=certain)

    def _number(self, fact: Fact, operator: Operator, node: Node) -> float | None:
        text = _text_of(node)
        if text.endswith("0") and (grouped := likely_forms.grouped(text)):
            message = f"'{fact.name}' is compared with {quoted(text)}, which may be {float(text):g} or {grouped}"
            self.rule_file.note(node, "wrong-type", message, f"write {grouped}, or {float(text):g} if that is meant.")
            return None
        compared = likely_forms.comparison(text)
        if compared is None or operator is not Operator.IS:
            return self.rule_file.number(node, f"'{fact.name}'", *fact.bounds, unit=fact.unit)
        message = f"'{fact.name}' must be a number, not {described(node)}"
        self.rule_file.note(node, "wrong-type", message, f"write {fact.name}: {compared}.")
        return None

    def _word(self, fact: Fact, operator: Operator, node: Node, *, certain: bool) -> str | None:
        if isinstance(node, ScalarNode) and node.is_empty:
            message = f"'{fact.name}' has no value to compare with"
            help = f"to test whether it is known, write {fact.name}{KNOWN}: true; put a word such as null in quotes."
            self.rule_file.note(node, "wrong-type", message, help)
            return None
        help = _list_operator(fact, operator, node) or "write one word; for a list use 'in' or 'not_in'."
        word = self.rule_file.text(node, f"'{fact.name}'", help)
        if word is None or _can_be(fact, word):
            return word
        fires = certain and operator in (Operator.IS, Operator.IN)
        message = f"'{fact.name}' is never {quoted(word)}" + (f", so {self.rule} can never fire" if fires else "")
        help = f"{suggestion(word, fact.allowed)}'{fact.name}' is one of: {', '.join(fact.allowed)}."
        if likely := likely_forms.word_comparison(word) or _several(fact, word):
            help = f"write {fact.name}: {likely}. '{fact.name}' is one of: {', '.join(fact.allowed)}."
        if fact.pattern is not None:
            likely_code = word.strip().upper()
            is_code = fact.pattern.matches.fullmatch(likely_code) is not None
            help = f"write {likely_code}, {fact.pattern.help}." if is_code else f"write {fact.pattern.help}."
        self.rule_file.note(node, "unknown-value", message, help)
        return None

    def _note_unknown_fact(self, key: ScalarNode, node: Node, hint: str) -> None:
        names = fact_names(self.place)
        group = key.text.partition(".")[0]
        in_group = [name for name in names if name.startswith(f"{group}.")]
        likely = foreign_space(key.text) or hint or _meant_by(key.text, node, names)
        help = likely or suggestion(key.text, [*names, *GROUPS])
        help += (
            f"Facts about {group}: {', '.join(in_group)}." if in_group else f"Known here: {_fact_summary(self.place)}."
        )
        message = f"{self.rule} uses {quoted(key.text)}, which is not a fact"
        self.rule_file.note(key, "unknown-fact", message, help)


def _comma_hint(node: MappingNode, name: str) -> str:
    """What was meant by a word after a comma, as in `{channel.kind: web, pos}`; empty if it is something else."""
    names = list(node.entries)
    before = names[names.index(name) - 1]
    fact, value, first = find_fact(before), node.entries[name][1], node.entries[before][1]
    is_word = isinstance(value, ScalarNode) and not value.text and "." not in name
    if names[0] == name or fact is None or not isinstance(first, ScalarNode) or not is_word:
        return ""
    if fact.type is FactType.NUMBER:
        likely = likely_forms.number(f"{first.text},{name}")
        return f"write {before}: {likely}. " if likely else ""
    return f"for several words write {before}: [{first.text}, {name}]. "


def _meant_by(word: str, node: Node, names: Sequence[str]) -> str:
    """What was meant by a word that is no fact: a group by another name, or a fact in two parts; empty if neither."""
    if group := likely_forms.GROUPS.get(word.strip().lower()):
        return f"write {group}: [{{…}}, {{…}}] with a list of conditions. "
    parts = list(node.entries) if isinstance(node, MappingNode) else []
    facts = [f"{word}.{part}" for part in parts if f"{word}.{part}" in names]
    return f"write {facts[0]}: …, the whole name of the fact. " if facts else ""


def _likely_condition(node: Node) -> str:
    """The condition that a text or a list was meant to be."""
    if isinstance(node, SequenceNode):
        return "{all: […]} with these entries if all must be true, or {any: […]} if one is enough"
    likely = likely_forms.condition(_text_of(node))
    return likely or "facts and comparisons, such as {location.type: store}"


def _contains(node: Node) -> str:
    """The comparison of a list of tags that a word or a list was meant to be."""
    if isinstance(node, SequenceNode) and len(node.items) > 1:
        words = [_text_of(item) for item in node.items]
        return f"{{contains_any: [{', '.join(words)}]}}" if all(words) else "{contains_any: [sale, gift]}"
    word = _text_of(single(node)).strip()
    if "," in word:
        return f"{{contains_any: {likely_forms.words(word) or '[sale, gift]'}}}"
    return f"{{contains: {word or 'sale'}}}"


def _likely_operator(fact: Fact, name: str, node: Node, allowed: Sequence[Operator]) -> str:
    """The comparison that was meant, with its value; else a comparison of a similar name."""
    likely = likely_forms.COMPARISONS.get(name.strip().lower().replace(" ", "_"), name)
    if fact.type is FactType.TEXTS and likely in (Operator.IS, Operator.IN):
        return f"write {fact.name}: {_contains(node)}. "
    value = _text_of(node)
    if likely not in allowed:
        return suggestion(name, allowed)
    if value and Operator(likely) not in _LIST_OPERATORS:
        return f"write {fact.name}: {{{likely}: {value}}}. "
    return f"write {fact.name}: {{{likely}: …}}. "


def _list_operator(fact: Fact, operator: Operator, node: Node) -> str:
    """The comparison with a list that `is` or `contains` with a list was meant to be; empty for other nodes."""
    of_lists = {Operator.IS: Operator.IN, Operator.IS_NOT: Operator.NOT_IN, Operator.CONTAINS: Operator.CONTAINS_ANY}
    if not isinstance(node, SequenceNode) or operator not in of_lists:
        return ""
    words = [_text_of(item) for item in node.items]
    return f"write {fact.name}: {{{of_lists[operator]}: [{', '.join(words)}]}}." if words and all(words) else ""


def _several(fact: Fact, word: str) -> str | None:
    """The list of possible words that a text with commas was meant to be."""
    parts = [part.strip() for part in word.split(",")]
    return likely_forms.words(word) if len(parts) > 1 and all(part in fact.allowed for part in parts) else None


def _text_of(node: Node) -> str:
    return node.text if isinstance(node, ScalarNode) else ""


def _can_be(fact: Fact, word: str) -> bool:
    """Whether the fact can have this word as its value, or one of its values."""
    if fact.pattern is not None:
        return fact.pattern.matches.fullmatch(word) is not None
    return not fact.allowed or word in fact.allowed


def _conjunction(parts: list[Condition | None]) -> Condition | None:
    """The condition that all parts are true; None if a part could not be read."""
    readable = [part for part in parts if part is not None]
    if len(readable) < len(parts):
        return None
    return readable[0] if len(readable) == 1 else All(tuple(readable))


def _fact_summary(place: RulePlace) -> str:
    """The groups of facts that are known in a place, and the single facts of groups that are known only in part."""
    facts = [FACTS[name] for name in fact_names(place)]
    unknown: dict[str, list[str]] = {}
    for fact in FACTS.values():
        if place not in fact.places:
            unknown.setdefault(fact.group, []).append(fact.name)
    return ", ".join(dict.fromkeys(_in_summary(fact, unknown.get(fact.group, [])) for fact in facts))


def _in_summary(fact: Fact, unknown: Sequence[str]) -> str:
    """The fact, or its group if at most one fact of the group is `unknown` there."""
    if len(unknown) > 1:
        return fact.name
    return f"{fact.group}.* but {unknown[0]}" if unknown else f"{fact.group}.*"
