"""Problems in rule files: where each is, what is wrong in terms of the file, and how to fix it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol
from unicodedata import category, combining, east_asian_width

MAX_LINE_SHOWN = 120
"""Characters of a line that are shown around its caret."""

MAX_WORD_SHOWN = 60
"""Characters of the file's own text that a message repeats."""


class Place(Protocol):
    """A range of a text. Lines and columns count from 1, columns in characters; the end is the position after it."""

    @property
    def line(self) -> int:
        """The line of the first character."""
        ...

    @property
    def column(self) -> int:
        """The column of the first character."""
        ...

    @property
    def end_line(self) -> int:
        """The line of the last character."""
        ...

    @property
    def end_column(self) -> int:
        """The column after the last character."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """A place in a rule file. Two that begin at the same position are equal."""

    file: str
    line: int
    column: int = 1
    end_line: int = field(default=0, compare=False)
    end_column: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One problem in a rule file. `code` never changes.

    It is about the text from line and column up to the end, which is the position after its last character, as editors
    count it, but from 1. Line 0 means the whole file, and the file '.' means the whole folder.
    """

    file: str
    line: int
    column: int
    code: str
    message: str
    help: str = ""
    end_line: int = 0
    end_column: int = 0

    @classmethod
    def at(cls, file: str, place: Place, code: str, message: str, help: str = "") -> Problem:
        """The problem of a place in a file."""
        return cls(file, place.line, place.column, code, message, help, place.end_line, place.end_column)

    def as_dict(self) -> dict[str, str | int]:
        """The fields by name, for `--format json`."""
        return asdict(self)


def render(problems: Iterable[Problem], texts: Mapping[str, str | bytes]) -> str:
    """All problems as text, sorted, each with its line from `texts` (by file), carets and its help."""
    lines = {file: _lines(text) for file, text in texts.items()}
    return "\n".join(_problem_text(problem, lines.get(problem.file, ())) for problem in sorted(set(problems)))


def quoted(text: str) -> str:
    """A text from the file in quotes, shortened if it is long."""
    return f"'{text}'" if len(text) <= MAX_WORD_SHOWN else f"'{text[:MAX_WORD_SHOWN]}…'"


def terminal_safe(text: str) -> str:
    """The text without characters that could break a line, hide text or control a terminal."""
    return "".join("\N{REPLACEMENT CHARACTER}" if category(letter) in _UNSAFE else letter for letter in text)


_UNSAFE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})


def _problem_text(problem: Problem, lines: Sequence[str]) -> str:
    position = terminal_safe(problem.file)
    if problem.line:
        position += f":{problem.line}:{problem.column}"
    output = [f"{position}: {terminal_safe(problem.message)} [{problem.code}]"]
    if 1 <= problem.line <= len(lines):
        output += _marked_line(problem, lines[problem.line - 1])
    if problem.help:
        output.append(f"  help: {terminal_safe(problem.help)}")
    return "\n".join(output) + "\n"


def _marked_line(problem: Problem, line: str) -> list[str]:
    """The line with its number, and below it the carets."""
    line = terminal_safe(line.replace("\t", " "))
    start = min(problem.column - 1, len(line))
    first = max(0, start - MAX_LINE_SHOWN // 2) if len(line) > MAX_LINE_SHOWN else 0
    window = line[first : first + MAX_LINE_SHOWN]
    end = problem.end_column - 1 if problem.end_line == problem.line else len(line)
    before, marked = window[: start - first], window[start - first :][: max(1, end - start)]
    if first:
        window, before = "…" + window, "…" + before
    if first + MAX_LINE_SHOWN < len(line):
        window += "…"
    number = f"{problem.line:>6}"
    carets = "^" * max(1, _terminal_width(marked))
    return [f"{number} | {window}".rstrip(), f"{' ' * len(number)} | {' ' * _terminal_width(before)}{carets}"]


def _terminal_width(text: str) -> int:
    """The columns that the text takes up in a terminal."""
    return sum(0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _lines(text: str | bytes) -> list[str]:
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig", errors="replace")
    # Splits lines as YAML does. str.splitlines would also split at other characters, such as form feeds.
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


CODES: Mapping[str, str] = {
    "alias": "YAML can name a part of a file and repeat it elsewhere. Rule files may not, so that each rule can be "
    "read on its own.",
    "always-true": "A condition is true for every value of its facts. It has no effect, or its 'any' or 'none' covers "
    "more than intended.",
    "bad-name": "Names have only lower-case letters, digits and hyphens, because answers, tests and metrics use them.",
    "bad-pattern": "The pattern is no regular expression, or one that can take very long for some texts.",
    "conflicting-keys": "Only one of these keys may be used at a time, such as one form of 'hold_back'.",
    "contradiction": "Comparisons that must all be true can never be true together. The rule would never fire, or an "
    "entry of its 'any' or 'none' has no effect.",
    "duplicate-key": "A mapping has the same key twice. YAML readers would silently ignore one of the two.",
    "duplicate-name": "The name is already used. The name of a rule must be unique among all files of its kind, the "
    "name of an entry of 'exclude' or 'review' within its policy, so that an answer can name the rule that fired.",
    "duplicate-position": "Two routing policies, two delivery rules or two exception rules have the same position, so "
    "file names would determine which one decides.",
    "duplicate-settings": "Two files state a setting of the whole folder, such as the merchant's time zone.",
    "empty-condition": "A condition or comparison is empty. Remove 'when' if the rule should always apply.",
    "empty-file": "The file is empty or has only comments, perhaps because saving it failed.",
    "empty-list": "A list has no entries. The meaning of an empty 'any' or of a comparison with no words is unclear.",
    "fact-not-known-here": "The fact exists, but it is never known in this place, so the rule could not fire: a "
    "location's facts for a channel's total, a product's facts in routing, a plan's facts before there is a plan.",
    "missing-key": "A required key is missing.",
    "never-fires": "A comparison is false for every value that its fact can have, so the condition around it has no "
    "effect.",
    "never-in-force": "The rule is never in force: 'until' is not after 'from', or 'hours' start and end at the same "
    "time.",
    "no-default-exception": "Some exceptions would have no owner. If any file has exception rules, the rule with the "
    "highest position must have no 'when', so that it applies to every exception.",
    "no-default-policy": "Some orders would have no routing policy. The policy with the highest position must have no "
    "'applies_to', so that it applies to every order.",
    "no-effect": "A buffer rule neither holds units back nor sets a limit, or a delivery rule has neither a transit "
    "time nor a cost nor rates, or a listing requirement demands nothing.",
    "no-listing-requirements": "The rule asks whether products are ready for a channel, but no file says what listings "
    "require, so that this is never known.",
    "no-next-policy": "The last routing policy passes orders on to the next policy, but there is none.",
    "no-such-file": "There is no file of this name beside the rule file.",
    "no-such-time": "A date or time that does not exist, such as 30 February or 25:00.",
    "no-usable-location": "The 'only' and 'exclude' of a routing policy leave no location for any order. To use no "
    "location on purpose, write an exclude rule without 'when'.",
    "not-readable": "A file or folder cannot be read, or is a link to a missing file or to a place outside the rules "
    "folder.",
    "not-utf-8": "The file is not saved as UTF-8, or is not a text file.",
    "not-yaml": "The file is not valid YAML.",
    "out-of-range": "A number is too small or too large.",
    "rule-too-large": "A condition combines more alternatives than the rule engine can hold.",
    "shadowed-rule": "The rule never has an effect, because others come first: routing policies at lower positions "
    "take all its orders, rules at lower positions decide all its cases, earlier filters drop every location that an "
    "exclude rule would drop, or another exposure rule of the file blocks everything that it blocks. A "
    "line of a rate table is shadowed if earlier ones take all its shipments.",
    "tag": "YAML tags can make readers build objects. Rule files may not use them.",
    "too-deep": "Lists and mappings are nested too deeply.",
    "too-large": "A file, a folder, a list or a text is larger than allowed.",
    "too-many-problems": "The file has more problems than are reported at once.",
    "unknown-comparison": "The fact cannot be compared in this way. Numbers have lower and upper limits, texts are "
    "equal or in a list, lists of tags contain a tag, and true-or-false facts are true or false.",
    "unknown-currency": "A currency is written as the three capital letters of ISO 4217, such as USD.",
    "unknown-fact": "There is no fact of this name. `truestock facts` lists all facts.",
    "unknown-key": "There is no such key here. Unknown keys are never ignored, because a misspelled key would change "
    "what is sold.",
    "unknown-kind": "There is no such kind of rule file in this version.",
    "unknown-owner": "Exception files declare owners, but none of this name: an exception would go to a desk that does "
    "not exist. Declare the owner with a contact, or name one that is declared.",
    "unknown-step": "'rank' has no step of this name.",
    "unknown-time-zone": "The time zone database has no zone of this name.",
    "unknown-value": "The word is not one of the possible values, so the rule would never fire, or always.",
    "unprintable": "A text has invisible characters that would garble a terminal or a log.",
    "wrong-cell-count": "A line of a CSV file has more or fewer cells than its first line.",
    "wrong-scope": "The rule uses something that buffer files of this scope do not support.",
    "wrong-type": "The value has the wrong type, such as a text where a number is required.",
}
"""Every code of a problem in a rule file, with its explanation. The meaning of a code never changes."""
