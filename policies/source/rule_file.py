"""One rule file while it is read: typed values from its nodes, and a problem for each value that is wrong.

A function that notes a problem returns None, so that reading continues and finds all problems.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from types import MappingProxyType

from policies.domain.near_names import near_name
from policies.facts.fact_table import MAX_CONSTANT
from policies.source import likely_forms
from policies.source.problems import Problem, Source, quoted
from policies.source.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_NAME_LENGTH = 63
MAX_TEXT_LENGTH = 500
MAX_PROBLEMS = 200
"""Problems that are reported for one file. A file with more is probably not meant as a rule file."""

_NAME = re.compile("[a-z][a-z0-9-]*")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
# Control characters, surrogates, and marks that change the direction of writing.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# They come with text that is copied from a web page or a document.
_FOREIGN_SPACE = re.compile("[\u00a0\u1680\u2000-\u200d\u202f\u205f\u2060\u3000\ufeff]")
_DURATION = re.compile("([1-9][0-9]{0,5})([mhd])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400}


@dataclass(slots=True)
class RuleFile:
    """The file's path and its problems so far. Times without a UTC offset are in `time_zone`."""

    file: str
    problems: list[Problem] = field(default_factory=list)
    time_zone: str = "UTC"

    def note(self, node: Node, code: str, message: str, help: str = "") -> None:
        """Notes a problem at a node."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem.at(self.file, node, code, message, help))

    def source(self, node: Node) -> Source:
        """The place of a node."""
        return Source(self.file, node.line, node.column, node.end_line, node.end_column)

    def fields(
        self, node: Node, what: str, keys: Sequence[str], required: Iterable[str] = (), *, form: str = ""
    ) -> dict[str, Node] | None:
        """The values of a mapping's known keys. `what` names the mapping in messages.

        `form` is the right form of what stands there instead of a mapping.
        """
        if not isinstance(node, MappingNode):
            message = f"{what} must be a mapping, not {described(node)}"
            self.note(node, "wrong-type", message, f"{form and f'write {form}. '}Keys: {', '.join(keys)}.")
            return None
        for name, (key, _) in node.entries.items():
            if name not in keys:
                help = f"{foreign_space(name) or suggestion(name, keys)}Keys: {', '.join(keys)}."
                self.note(key, "unknown-key", f"{what} has no key {quoted(name)}", help)
        for name in required:
            if name not in node.entries:
                self.note(node, "missing-key", f"{what} has no '{name}'", f"add '{name}:' here.")
        return {name: value for name, (_, value) in node.entries.items() if name in keys}

    def items(
        self,
        node: Node,
        what: str,
        example: str = "",
        *,
        at_most: int,
        form: Callable[[str], str | None] = likely_forms.words,
    ) -> Iterator[Node]:
        """The entries of a list that is not empty. `form` is the list that a single text was meant to be."""
        if not isinstance(node, SequenceNode):
            message = f"{what} must be a list, not {described(node)}"
            self.note(node, "wrong-type", message, _list_help(node, example, form))
        elif not node.items:
            help = "add at least one entry, or remove the key if it is optional."
            self.note(node, "empty-list", f"{what} is an empty list", help)
        elif len(node.items) > at_most:
            message = f"{what} has {len(node.items):,} entries; at most {at_most:,} are allowed"
            self.note(node, "too-large", message, "split the list.")
        else:
            yield from node.items

    def text(self, node: Node, what: str, help: str = "", *, at_most: int = MAX_TEXT_LENGTH) -> str | None:
        """A text that is not blank."""
        if not isinstance(node, ScalarNode) or not node.text.strip() or node.is_empty:
            self.note(node, "wrong-type", f"{what} must be a text, not {described(node)}", help or "write a text.")
            return None
        if _UNPRINTABLE.search(node.text):
            self.note(node, "unprintable", f"{what} has characters that cannot be printed", "type the text again.")
            return None
        if len(node.text) > at_most:
            message = f"{what} has {len(node.text):,} characters; at most {at_most} are allowed"
            self.note(node, "too-large", message, "shorten the text.")
            return None
        return node.text

    def name(self, node: Node, what: str) -> str | None:
        """A name: lower-case letters, digits and hyphens."""
        name = self.text(node, what)
        if name is None:
            return None
        if not _NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
            likely = likely_forms.name(name)
            help = f"use a-z, 0-9 and '-', starting with a letter, at most {MAX_NAME_LENGTH} characters"
            help += f": {likely}." if likely else "."
            self.note(node, "bad-name", f"{what} cannot be {quoted(name)}", help)
            return None
        return name

    def choice(
        self, node: Node, what: str, choices: Sequence[str], other_words: Mapping[str, str] = MappingProxyType({})
    ) -> str | None:
        """One of the given words. `other_words` are those that people write for them."""
        if isinstance(node, ScalarNode) and node.text in choices:
            return node.text
        if isinstance(node, ScalarNode) and not node.is_empty:
            meant = other_words.get(node.text.strip().lower())
            likely = f"write {meant}. " if meant else suggestion(node.text, choices)
            help = f"{likely}{what} is one of: {', '.join(choices)}."
            self.note(node, "unknown-value", f"{what} cannot be {quoted(node.text)}", help)
        else:
            only = _text_of(single(node))
            help = f"write {only}." if only in choices else f"write one of: {', '.join(choices)}."
            self.note(node, "wrong-type", f"{what} must be one word, not {described(node)}", help)
        return None

    def flag(self, node: Node, what: str) -> bool | None:
        """`true` or `false`, without quotes."""
        if isinstance(node, ScalarNode) and node.plain and node.text in ("true", "false"):
            return node.text == "true"
        likely = likely_forms.flag(_text_of(single(node)))
        help = f"write {likely}, in lower case and without quotes." if likely else "write true or false."
        self.note(node, "wrong-type", f"{what} must be true or false, not {described(node)}", help)
        return None

    def number(
        self, node: Node, what: str, low: float = -MAX_CONSTANT, high: float = MAX_CONSTANT, *, unit: str = ""
    ) -> float | None:
        """A number from `low` to `high`. `unit` is what it counts, such as 'minutes', if it says so."""
        if not isinstance(node, ScalarNode) or not node.plain or not _NUMBER.fullmatch(node.text):
            help = _number_help(node, unit, low, high)
            self.note(node, "wrong-type", f"{what} must be a number, not {described(node)}", help)
            return None
        number = float(node.text)
        if not isfinite(number) or not low <= number <= high:
            message = f"{what} is {quoted(node.text)}, which is out of range"
            help = f"write a number {_range_text(low, high)}"
            help += f", such as {number_text(number / 100)} for {node.text}%." if _is_share(number, low, high) else "."
            self.note(node, "out-of-range", message, help)
            return None
        return number

    def integer(self, node: Node, what: str, low: int, high: int, *, unit: str = "") -> int | None:
        """A whole number from `low` to `high`."""
        number = self.number(node, what, low, high, unit=unit)
        if number is None:
            return None
        if grouped := likely_forms.grouped(_text_of(node)):
            help = f"write {grouped}, or {int(number)} if that is meant, without a point."
            self.note(node, "wrong-type", f"{what} must be a whole number, not {quoted(_text_of(node))}", help)
            return None
        if not number.is_integer():
            help = f"write a number without a fraction, such as {max(low, int(number))}."
            self.note(node, "wrong-type", f"{what} must be a whole number, not {quoted(_text_of(node))}", help)
            return None
        return int(number)

    def seconds(self, node: Node, what: str, *, at_most_days: int) -> float | None:
        """A duration such as 30m, 2h or 1d, in seconds."""
        match = _DURATION.fullmatch(_text_of(node))
        if match is None:
            help = _duration_help(_text_of(single(node)))
            self.note(node, "wrong-type", f"{what} must be a duration, not {described(node)}", help)
            return None
        seconds = int(match[1]) * _SECONDS[match[2]]
        if seconds > at_most_days * 86_400:
            message = f"{what} is {quoted(_text_of(node))}, which is out of range"
            self.note(node, "out-of-range", message, f"write at most {at_most_days}d.")
            return None
        return float(seconds)

    def position(self, fields: Mapping[str, Node], used: dict[int, Source], owner: str, *, at_most: int) -> int | None:
        """The `position` of an `owner`, such as 'rule in the delivery files'. A used position is a problem."""
        node = fields.get("position")
        position = None if node is None else self.integer(node, "'position'", 0, at_most)
        if node is None or position is None:
            return None
        if position in used:
            message = f"position {position} is already used in {used[position]}"
            help = f"give each {owner} its own position; of those that apply, the lowest decides."
            self.note(node, "duplicate-position", message, help)
        used.setdefault(position, self.source(node))
        return position

    def unique(self, node: Node, what: str, name: str, used: dict[str, Source]) -> None:
        """Notes a problem if the name is already used, and adds it to `used`."""
        if name in used:
            message = f"{what} {quoted(name)} already exists in {used[name]}"
            self.note(node, "duplicate-name", message, "give each its own name; answers and tests refer to it.")
        used.setdefault(name, self.source(node))


def described(node: Node) -> str:
    """What a node is, for messages such as "must be a number, not the text 'five'"."""
    match node:
        case SequenceNode():
            return "a list"
        case MappingNode():
            return "a mapping"
        case ScalarNode(text="") | ScalarNode(plain=True, is_empty=True):
            return "empty"
        case ScalarNode(plain=True) if _NUMBER.fullmatch(node.text):
            return f"the number {node.text[:20]}"
        case _:
            return f"the text {quoted(node.text)}"


def suggestion(word: str, known: Iterable[str]) -> str:
    """'did you mean 'x'? ', or '' if no known word is similar."""
    similar = near_name(word, known)
    return f"did you mean '{similar}'? " if similar else ""


def foreign_space(word: str) -> str:
    """What to do about a letter that looks like a space, or like nothing, and is part of the word; '' if none is."""
    found = _FOREIGN_SPACE.search(word)
    return f"replace the character U+{ord(found[0]):04X}, which only looks like a space. " if found else ""


def single(node: Node) -> Node:
    """The entry of a list that has only one, else the node itself."""
    return node.items[0] if isinstance(node, SequenceNode) and len(node.items) == 1 else node


def duration_text(seconds: float) -> str:
    """A duration as in a rule file, in the largest unit that divides it: 2h, not 120m."""
    unit, size = max(((unit, size) for unit, size in _SECONDS.items() if seconds % size == 0), key=lambda pair: pair[1])
    return f"{int(seconds // size)}{unit}"


def number_text(number: float) -> str:
    """A number as a person would write it, such as 1,000 or 0.5."""
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:g}"


def _range_text(low: float, high: float) -> str:
    if (low, high) == (-MAX_CONSTANT, MAX_CONSTANT):
        return f"below {number_text(high)}"
    return (
        f"of at least {number_text(low)}" if high == MAX_CONSTANT else f"from {number_text(low)} to {number_text(high)}"
    )


def _text_of(node: Node) -> str:
    return node.text if isinstance(node, ScalarNode) else ""


def _number_help(node: Node, unit: str, low: float, high: float) -> str:
    node = single(node)
    text = _text_of(node)
    if isinstance(node, ScalarNode) and not node.plain and _NUMBER.fullmatch(text):
        return f"write it without quotes: {text}."
    if re.fullmatch("0[0-9]+", text):
        likely = text.lstrip("0") or "0"
        return f"write it without leading zeros, because YAML readers disagree about their meaning: {likely}."
    if high <= 1 and (percent := likely_forms.percent(text)):
        return f"write {number_text(float(percent) / 100)} for {percent}%."
    likely_number = likely_forms.number(text, unit)
    if likely_number is not None and low <= float(likely_number) <= high:
        return f"write {likely_number}."
    return "write a number without quotes, such as 5 or 19.99."


def _is_share(number: float, low: float, high: float) -> bool:
    """Whether a number looks like percent where a share of 1 is due."""
    return high <= 1 < number <= 100 and low <= number / 100 <= high


def _duration_help(text: str) -> str:
    if text.isdecimal():
        number = text.lstrip("0") or "30"
        return f"write minutes, hours or days: {number}m, {number}h or {number}d."
    likely = likely_forms.duration(text)
    return f"write {likely}." if likely else "write minutes, hours or days: 30m, 2h or 1d."


def _list_help(node: Node, example: str, form: Callable[[str], str | None]) -> str:
    """The list that was meant: of the one value, of the values between commas, or of the one entry."""
    key, colon, _ = example.partition(": [")
    prefix = f"{key}: " if colon and not example.startswith("[") else ""
    if isinstance(node, MappingNode):
        return f"start each entry with '-'{f', or write: {example}' if example else ''}"
    of_words = isinstance(node, ScalarNode) and not node.is_empty and "[{" not in example
    likely = form(node.text) if of_words and isinstance(node, ScalarNode) else None
    return f"write: {prefix}{likely}" if likely else example and f"write: {example}"
