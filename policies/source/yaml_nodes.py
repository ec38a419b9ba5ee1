"""YAML as nodes with their positions, read in bounded time and memory.

Nodes keep the text as written: `NO` stays Norway, because the type of the fact decides what a word means.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

import yaml

from policies.source import likely_forms
from policies.source.problems import Problem, quoted

MAX_FILE_BYTES = 1 << 20
MAX_DEPTH = 32
"""Levels of nested lists and mappings."""

MAX_NODES = 100_000
"""Texts, lists and mappings in one file."""


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """A text as written. `plain` means without quotes.

    Of this and the other nodes, lines and columns count from 1, and the end is the position after the last character.
    """

    text: str
    plain: bool
    line: int
    column: int
    end_line: int
    end_column: int

    @property
    def is_empty(self) -> bool:
        """Whether the value is missing, or one of YAML's words for null."""
        return self.plain and self.text in ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, slots=True)
class SequenceNode:
    """A list."""

    items: list[Node]
    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class MappingNode:
    """A mapping. Of duplicate keys it keeps the first."""

    entries: dict[str, tuple[ScalarNode, Node]]
    line: int
    column: int
    end_line: int
    end_column: int


Node = ScalarNode | SequenceNode | MappingNode


class UnreadableFile(Exception):
    """The file cannot be read as YAML nodes; `problems` say why."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.problems = problems


def parse(file: str, content: bytes) -> tuple[Node, list[Problem]]:
    """The root node of the file, and problems that do not prevent reading it. Raises UnreadableFile."""
    text = _decoded(file, content)
    builder = _NodeBuilder(file, text, _line_and_column(text))
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            builder.handle(event)
    except yaml.MarkedYAMLError as error:
        raise UnreadableFile([_syntax_problem(file, text, error)]) from error
    except yaml.YAMLError as error:
        message = f"this is not valid YAML: {error}"
        raise UnreadableFile([Problem.at(file, _whole(text), "not-yaml", message)]) from error
    if builder.refusals:
        raise UnreadableFile(builder.refusals)
    if builder.root is None:
        message, help = "the file is empty", "add rules to it, or delete it."
        raise UnreadableFile([Problem.at(file, _whole(text), "empty-file", message, help)])
    return builder.root, builder.problems


class _Range(NamedTuple):
    """A place in the file."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(slots=True)
class _OpenCollection:
    """A list or mapping that is not complete yet; `key` is the key whose value comes next.

    `end` is the end of the last node in it.
    """

    start: _Range
    is_flow: bool
    content: list[Node] | dict[str, tuple[ScalarNode, Node]]
    key: ScalarNode | None = None
    end: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class _NodeBuilder:
    """Builds nodes from YAML events, and stops at the bounds before it uses much memory."""

    file: str
    text: str
    end: tuple[int, int]
    """The position after the text. YAML counts a line more where the last one has no end."""
    root: Node | None = None
    problems: list[Problem] = field(default_factory=list)
    refusals: list[Problem] = field(default_factory=list)
    open_collections: list[_OpenCollection] = field(default_factory=list)
    node_count: int = 0
    document_count: int = 0

    def handle(self, event: yaml.Event) -> None:
        match event:
            case yaml.DocumentStartEvent():
                self._count_document(event)
            case yaml.AliasEvent():
                message = f"'*{event.anchor}' repeats another part of the file (a YAML alias)"
                self._refuse(self._range(event), "alias", message, _ALIAS_HELP)
                self._add(ScalarNode("", True, *self._range(event)))
            case yaml.ScalarEvent():
                self._check(event)
                self._add(ScalarNode(event.value, not event.style, *self._scalar_range(event)))
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._check(event)
                self._open(event)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._close(event)

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        content: list[Node] | dict[str, tuple[ScalarNode, Node]]
        content = [] if isinstance(event, yaml.SequenceStartEvent) else {}
        start = self._range(event)
        self.open_collections.append(_OpenCollection(start, bool(event.flow_style), content))
        if len(self.open_collections) > MAX_DEPTH:
            message = f"lists and mappings are nested more than {MAX_DEPTH} levels deep"
            raise UnreadableFile([Problem.at(self.file, start, "too-deep", message, "rules need only a few levels.")])

    def _close(self, event: yaml.CollectionEndEvent) -> None:
        collection = self.open_collections.pop()
        # The end of a list in indented lines is where the next text begins, after comments and blank lines.
        end = self._range(event)[2:] if collection.is_flow else collection.end
        start = (collection.start.line, collection.start.column)
        content = collection.content
        node = SequenceNode(content, *start, *end) if isinstance(content, list) else MappingNode(content, *start, *end)
        self._add(node)

    def _add(self, node: Node) -> None:
        if not self.open_collections:
            self.root = node if self.root is None else self.root
            return
        parent = self.open_collections[-1]
        parent.end = max(parent.end, (node.end_line, node.end_column))
        if isinstance(parent.content, list):
            parent.content.append(node)
        elif parent.key is not None:
            self._set(parent.content, parent.key, node)
            parent.key = None
        elif isinstance(node, ScalarNode):
            parent.key = node
        else:
            message, help = "a key cannot be a list or a mapping", "write one word as the key."
            raise UnreadableFile([Problem.at(self.file, node, "not-yaml", message, help)])

    def _set(self, entries: dict[str, tuple[ScalarNode, Node]], key: ScalarNode, node: Node) -> None:
        if key.text not in entries:
            entries[key.text] = (key, node)
            return
        first = entries[key.text][0]
        message = f"the key {quoted(key.text)} is used twice; it is already on line {first.line}"
        help = "put both comparisons under one key, or each in its own entry under 'all'."
        self.problems.append(Problem.at(self.file, key, "duplicate-key", message, help))

    def _range(self, event: yaml.Event) -> _Range:
        """The range of an event's text. Before a list in indented lines it is empty."""
        start, end = event.start_mark, event.end_mark
        if start is None or end is None:
            return _Range(1, 1, 1, 1)
        place = _Range(start.line + 1, start.column + 1, end.line + 1, end.column + 1)
        # Only at the end of the file can a place be beyond it.
        return place if end.line < self.end[0] else _Range(*min(place[:2], self.end), *min(place[2:], self.end))

    def _scalar_range(self, event: yaml.ScalarEvent) -> _Range:
        """The range of a text. That of a block of lines ends with its last line that is not blank."""
        place = self._range(event)
        if event.style not in ("|", ">") or event.start_mark is None or event.end_mark is None:
            return place
        block = self.text[event.start_mark.index : event.end_mark.index].rstrip()
        rows, columns = _line_and_column(block)
        column = columns if rows > 1 else place.column + columns - 1
        return _Range(place.line, place.column, place.line + rows - 1, column)

    def _check(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        self.node_count += 1
        if self.node_count > MAX_NODES:
            message, help = (
                f"the file has more than {MAX_NODES:,} texts, lists and mappings",
                "split it into several files.",
            )
            raise UnreadableFile([Problem.at(self.file, self._range(event), "too-large", message, help)])
        if event.anchor is not None:
            message = f"'&{event.anchor}' names a part of the file (a YAML anchor)"
            self._refuse(self._word(event, "&"), "alias", message, _ALIAS_HELP)
        if event.tag is not None and event.tag != "!":
            message = f"'!{event.tag.removeprefix('tag:yaml.org,2002:')}' is a YAML tag, which rule files may not use"
            place, help = self._word(event, "!"), "remove the tag."
            if event.tag.startswith("!=") and isinstance(event, yaml.ScalarEvent):
                # Without quotes, '!= pickup' is the text 'pickup' with the tag '!='.
                place, help = self._range(event), f"write {{is_not: {event.value}}}."
            self._refuse(place, "tag", message, help)

    def _word(self, event: yaml.NodeEvent, sign: str) -> _Range:
        """The anchor or tag of a node, which begins with this sign, before its text."""
        assert event.start_mark is not None
        start = self.text.index(sign, event.start_mark.index)
        return _range_of(self.text, start, _WORD.match(self.text, start))

    def _refuse(self, place: _Range, code: str, message: str, help: str) -> None:
        self.refusals.append(Problem.at(self.file, place, code, message, help))

    def _count_document(self, event: yaml.Event) -> None:
        self.document_count += 1
        if self.document_count > 1:
            message = "a second YAML document starts here"
            help = "a file holds one document: move this part to its own file."
            raise UnreadableFile([Problem.at(self.file, self._range(event), "not-yaml", message, help)])


_WORD = re.compile(r"[^\s,\[\]{}]+")
_COMPARISON = re.compile(r":\s*([<>]=?\s*[0-9.,]*[0-9])")
_ALIAS_HELP = "write the part out in both places; rule files may not use anchors and aliases."

# Control characters, and the rare line ends that YAML recognizes and editors do not.
_CONTROL = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def _decoded(file: str, content: bytes) -> str:
    if len(content) > MAX_FILE_BYTES:
        message = f"the file has {len(content):,} bytes; at most {MAX_FILE_BYTES:,} are read"
        raise UnreadableFile([Problem(file, 0, 0, "too-large", message, "split it into several files.")])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Its bytes that are not text are characters of their own, as where the problem is shown.
        start = len(content[: error.start].decode("utf-8-sig", errors="replace"))
        place = _range_of(content.decode("utf-8-sig", errors="replace"), start)
        message = f"the byte 0x{content[error.start]:02x} is not UTF-8 text"
        raise UnreadableFile([Problem.at(file, place, "not-utf-8", message, "save the file as UTF-8.")]) from error
    if unprintable := _CONTROL.search(text):
        message = f"the character U+{ord(unprintable.group()):04X} is not allowed"
        place = _range_of(text, unprintable.start())
        raise UnreadableFile([Problem.at(file, place, "not-yaml", message, "delete it.")])
    return text


def _line_and_column(before: str) -> tuple[int, int]:
    """The position just after a text, as YAML counts lines."""
    lines = before.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return len(lines), len(lines[-1]) + 1


def _range_of(text: str, start: int, match: re.Match[str] | None = None) -> _Range:
    """The range of a match, or of the character at an index; nothing at the end of a line."""
    line, column = _line_and_column(text[:start])
    count = match.end() - start if match else int(text[start : start + 1] not in ("", "\r", "\n"))
    return _Range(line, column, line, column + count)


def _whole(text: str) -> _Range:
    """The range of a whole file."""
    return _Range(1, 1, *_line_and_column(text))


def _syntax_problem(file: str, text: str, error: yaml.MarkedYAMLError) -> Problem:
    message = f"this is not valid YAML: {error.problem or error.context}"
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Problem.at(file, _whole(text), "not-yaml", message)
    help = "check this line and the one before it, most often for a missing bracket, quote, colon or space."
    if text[mark.index : mark.index + 1] == "\t":
        help = "indent with spaces; YAML does not allow tabs."
    # A '>' begins a text of several lines, so YAML cannot read it as a comparison.
    lines = text.splitlines()
    signs = _COMPARISON.search(lines[mark.line]) if mark.line < len(lines) else None
    if signs and (likely := likely_forms.comparison(signs[1])):
        help = f"write a comparison in words: {likely}."
    start = min(mark.index, len(text))
    return Problem.at(file, _range_of(text, start, _SYNTAX_WORD.match(text, start)), "not-yaml", message, help)


_SYNTAX_WORD = re.compile(r"[^\s\[\]{},]+")
