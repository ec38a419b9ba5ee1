"""Problems of rule files: where, what is wrong in the writer's words, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from unicodedata import category, combining, east_asian_width

MAX_LINE_SHOWN = 120
"""Characters of a line that are shown around its caret."""

MAX_WORD_SHOWN = 60
"""Characters of the writer's own words that a message repeats."""


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """A place in a rule file; line and column count from 1."""

    file: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong with a rule file. `code` is stable; `length` is how many characters the caret marks.

    Line 0 means the file as a whole, and the file '.' the whole folder.
    """

    file: str
    line: int
    column: int
    code: str
    message: str
    help: str = ""
    length: int = 1

    def as_dict(self) -> dict[str, str | int]:
        """For `--format json`."""
        return asdict(self)


def render(problems: Iterable[Problem], texts: Mapping[str, str | bytes]) -> str:
    """All problems, sorted, each with its line from `texts` (by file), a caret and its help."""
    lines = {file: _lines(text) for file, text in texts.items()}
    return "\n".join(_problem_text(problem, lines.get(problem.file, ())) for problem in sorted(set(problems)))


def quoted(text: str) -> str:
    """The writer's own words in quotes, cut where they are long."""
    return f"'{text}'" if len(text) <= MAX_WORD_SHOWN else f"'{text[:MAX_WORD_SHOWN]}…'"


def terminal_safe(text: str) -> str:
    """The text without characters that could break a line, hide text or drive a terminal."""
    return "".join("\N{REPLACEMENT CHARACTER}" if category(letter) in _UNSAFE else letter for letter in text)


_UNSAFE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})


def _problem_text(problem: Problem, lines: Sequence[str]) -> str:
    place = terminal_safe(problem.file)
    if problem.line:
        place += f":{problem.line}:{problem.column}"
    shown = [f"{place}: {terminal_safe(problem.message)} [{problem.code}]"]
    if 1 <= problem.line <= len(lines):
        shown += _marked_line(problem, lines[problem.line - 1])
    if problem.help:
        shown.append(f"  help: {terminal_safe(problem.help)}")
    return "\n".join(shown) + "\n"


def _marked_line(problem: Problem, line: str) -> list[str]:
    """The line with its number, and under it the caret."""
    line = terminal_safe(line.replace("\t", " "))
    start = min(problem.column - 1, len(line))
    first = max(0, start - MAX_LINE_SHOWN // 2) if len(line) > MAX_LINE_SHOWN else 0
    window = line[first : first + MAX_LINE_SHOWN]
    before, marked = window[: start - first], window[start - first :][: problem.length]
    if first:
        window, before = "…" + window, "…" + before
    if first + MAX_LINE_SHOWN < len(line):
        window += "…"
    number = f"{problem.line:>6}"
    caret = "^" * max(1, _terminal_width(marked))
    return [f"{number} | {window}".rstrip(), f"{' ' * len(number)} | {' ' * _terminal_width(before)}{caret}"]


def _terminal_width(text: str) -> int:
    """Columns of a terminal that the text takes."""
    return sum(0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _lines(text: str | bytes) -> list[str]:
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig", errors="replace")
    # As YAML counts lines: str.splitlines would also split at form feeds and the like.
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


CODES: Mapping[str, str] = {
    "alias": "YAML can name a part of a file and repeat it elsewhere. Rule files cannot: a rule says all it means.",
    "always-true": "A condition holds whatever its facts are, so it says nothing, or its 'any' or 'none' covers more "
    "than was meant.",
    "bad-name": "Names are lower-case letters, digits and hyphens, because they stand in answers, tests and metrics.",
    "conflicting-keys": "Of some keys only one can stand, such as the forms of 'hold_back'.",
    "contradiction": "Comparisons that must all hold never can together, so that the rule would never fire, or an "
    "entry of its 'any' or 'none' says nothing.",
    "duplicate-key": "A key stands twice in one mapping. YAML readers would silently keep one of the two.",
    "duplicate-name": "A name is taken already. Rules are unique by name over all files of a kind, entries of "
    "'exclude' and 'review' within their policy, so that an answer can name the rule that fired.",
    "duplicate-position": "Two routing policies, or two rules of a kind of which one decides, stand at one position, "
    "so which decides would depend on file names.",
    "duplicate-settings": "Two files say what is true of the whole folder, such as the merchant's time zone.",
    "empty-condition": "A condition or comparison has nothing in it. Leave 'when' out to mean always.",
    "empty-file": "The file has nothing in it but comments, perhaps because saving it failed.",
    "empty-list": "A list has no entries. An empty 'any' or a comparison with no word could only surprise.",
    "fact-not-known-here": "The fact is real, but unknown in this place, so the rule could not fire: a location's "
    "facts on a channel's total, a product's facts in routing, a plan's facts before there is a plan.",
    "missing-key": "Something that must be said is not said.",
    "never-fires": "A comparison is never true of the values that its fact can have, so that what it stands in never "
    "counts.",
    "never-in-force": "A rule's bounds in time leave no moment: 'until' is not after 'from', or 'hours' end when they "
    "begin.",
    "no-default-exception": "Some exception could find no owner. As soon as any file has exception rules, the one with "
    "the highest position has no 'when', and so applies to every exception.",
    "no-default-policy": "Some order could find no routing policy. The policy with the highest position has no "
    "'applies_to', and so applies to every order.",
    "no-effect": "A buffer rule neither holds anything back nor sets a limit, or a delivery rule says neither how long "
    "a shipment travels nor what it costs.",
    "no-next-policy": "The last routing policy sends orders on to the next, and there is none.",
    "no-such-time": "A day that no calendar has, such as 30 February, or a time that no clock shows.",
    "no-usable-location": "What a routing policy says under 'only' and 'exclude' leaves no location for any order. To "
    "use none on purpose, write an exclude rule without 'when'.",
    "not-readable": "A file or a folder cannot be read, or is a link that leads nowhere or out of the rules folder.",
    "not-utf-8": "The file is not saved as UTF-8, or is no text at all.",
    "not-yaml": "The file does not follow YAML's syntax.",
    "out-of-range": "A figure is below or above what makes sense.",
    "rule-too-large": "A condition combines so many alternatives that the rule engine could not hold it.",
    "shadowed-rule": "Others always come before it: routing policies at lower positions take every order that the "
    "policy applies to, what is asked first keeps out every location that an exclude rule would, or another exposure "
    "rule of the file blocks all that it blocks.",
    "tag": "YAML tags can make readers build objects. Rule files have none.",
    "too-deep": "Lists and mappings stand too deep inside each other.",
    "too-large": "A file, a folder, a list or a text is beyond its bound.",
    "too-many-problems": "The file has more problems than are told at once.",
    "unknown-comparison": "The fact is not compared this way: numbers are measured, texts are equal or in a list, "
    "lists of tags contain a tag, and true-or-false facts are one or the other.",
    "unknown-fact": "There is no fact of this name. `truestock facts` lists all.",
    "unknown-key": "The key means nothing here. None is ignored, because a misspelt one would change what is sold.",
    "unknown-kind": "The file's kind is not one that this version reads.",
    "unknown-step": "'rank' has no step of this name.",
    "unknown-time-zone": "The time zone database has no zone of this name.",
    "unknown-value": "The word is never the value here, so the rule could never fire, or always would.",
    "unprintable": "A text has characters that no eye can see and that would garble a terminal or a log.",
    "wrong-scope": "What the rule asks for makes no sense in a buffer file of this scope.",
    "wrong-type": "A number stands for a text, a text for a list, or the like.",
}
"""Every code that a problem of a rule file can have, and what it is about. Codes never change their meaning."""
