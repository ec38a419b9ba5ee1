"""YAML as nodes with their positions, read in bounded time and memory.

Nodes keep the text as written: `NO` stays Norway, because the type of the fact decides what a word means.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

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
    """A text as written. `plain` means without quotes. Line and column count from 1."""

    text: str
    plain: bool
    line: int
    column: int
    length: int = 1

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
    length: int = 1


@dataclass(frozen=True, slots=True)
class MappingNode:
    """A mapping. Of duplicate keys it keeps the first."""

    entries: dict[str, tuple[ScalarNode, Node]]
    line: int
    column: int
    length: int = 1


Node = ScalarNode | SequenceNode | MappingNode


class UnreadableFile(Exception):
    """The file cannot be read as YAML nodes; `problems` say why."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.problems = problems


def parse(file: str, content: bytes) -> tuple[Node, list[Problem]]:
    """The root node of the file, and problems that do not prevent reading it. Raises UnreadableFile."""
    text = _decoded(file, content)
    builder = _NodeBuilder(file)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            builder.handle(event)
    except yaml.MarkedYAMLError as error:
        raise UnreadableFile([_syntax_problem(file, text, error)]) from error
    except yaml.YAMLError as error:
        raise UnreadableFile([Problem(file, 1, 1, "not-yaml", f"this is not valid YAML: {error}")]) from error
    if builder.refusals:
        raise UnreadableFile(builder.refusals)
    if builder.root is None:
        message = "the file is empty"
        raise UnreadableFile([Problem(file, 1, 1, "empty-file", message, "add rules to it, or delete it.")])
    return builder.root, builder.problems


@dataclass(slots=True)
class _OpenCollection:
    """A list or mapping that is not complete yet; `key` is the key whose value comes next."""

    node: SequenceNode | MappingNode
    key: ScalarNode | None = None


@dataclass(slots=True)
class _NodeBuilder:
    """Builds nodes from YAML events, and stops at the bounds before it uses much memory."""

    file: str
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
                self._refuse(
                    event, "alias", f"'*{event.anchor}' repeats another part of the file (a YAML alias)", _ALIAS_HELP
                )
                self._add(ScalarNode("", True, *_position(event)))
            case yaml.ScalarEvent() | yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._check(event)
                self._start(event)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self.open_collections.pop()

    def _start(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._add(ScalarNode(event.value, not event.style, *_position(event)))
            return
        position = _position(event)
        node = SequenceNode([], *position) if isinstance(event, yaml.SequenceStartEvent) else MappingNode({}, *position)
        self._add(node)
        self.open_collections.append(_OpenCollection(node))
        if len(self.open_collections) > MAX_DEPTH:
            message = f"lists and mappings are nested more than {MAX_DEPTH} levels deep"
            raise UnreadableFile([_problem(self.file, event, "too-deep", message, "rules need only a few levels.")])

    def _add(self, node: Node) -> None:
        if not self.open_collections:
            self.root = node if self.root is None else self.root
            return
        parent = self.open_collections[-1]
        if isinstance(parent.node, SequenceNode):
            parent.node.items.append(node)
        elif parent.key is not None:
            self._set(parent.node, parent.key, node)
            parent.key = None
        elif isinstance(node, ScalarNode):
            parent.key = node
        else:
            message = "a key cannot be a list or a mapping"
            raise UnreadableFile(
                [Problem(self.file, node.line, node.column, "not-yaml", message, "write one word as the key.")]
            )

    def _set(self, fields: MappingNode, key: ScalarNode, node: Node) -> None:
        if key.text not in fields.entries:
            fields.entries[key.text] = (key, node)
            return
        first = fields.entries[key.text][0]
        message = f"the key {quoted(key.text)} is used twice; it is already on line {first.line}"
        help = "put both comparisons under one key, or each in its own entry under 'all'."
        self.problems.append(Problem(self.file, key.line, key.column, "duplicate-key", message, help, key.length))

    def _check(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        self.node_count += 1
        if self.node_count > MAX_NODES:
            message = f"the file has more than {MAX_NODES:,} texts, lists and mappings"
            raise UnreadableFile([_problem(self.file, event, "too-large", message, "split it into several files.")])
        if event.anchor is not None:
            self._refuse(event, "alias", f"'&{event.anchor}' names a part of the file (a YAML anchor)", _ALIAS_HELP)
        if event.tag is not None and event.tag != "!":
            message = f"'!{event.tag.removeprefix('tag:yaml.org,2002:')}' is a YAML tag, which rule files may not use"
            help = "remove the tag."
            if event.tag.startswith("!=") and isinstance(event, yaml.ScalarEvent):
                # Without quotes, '!= pickup' is the text 'pickup' with the tag '!='.
                help = f"write {{is_not: {event.value}}}."
            self._refuse(event, "tag", message, help)

    def _refuse(self, event: yaml.NodeEvent, code: str, message: str, help: str) -> None:
        self.refusals.append(_problem(self.file, event, code, message, help))

    def _count_document(self, event: yaml.Event) -> None:
        self.document_count += 1
        if self.document_count > 1:
            message = "a second YAML document starts here"
            help = "a file holds one document: move this part to its own file."
            raise UnreadableFile([_problem(self.file, event, "not-yaml", message, help)])


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
        line, column = _line_and_column(content[: error.start].decode("utf-8-sig", errors="replace"))
        message = f"the byte 0x{content[error.start]:02x} is not UTF-8 text"
        help = "save the file as UTF-8."
        raise UnreadableFile([Problem(file, line, column, "not-utf-8", message, help)]) from error
    if unprintable := _CONTROL.search(text):
        line, column = _line_and_column(text[: unprintable.start()])
        message = f"the character U+{ord(unprintable.group()):04X} is not allowed"
        raise UnreadableFile([Problem(file, line, column, "not-yaml", message, "delete it.")])
    return text


def _line_and_column(before: str) -> tuple[int, int]:
    """The position just after a text, as YAML counts lines."""
    lines = before.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return len(lines), len(lines[-1]) + 1


def _syntax_problem(file: str, text: str, error: yaml.MarkedYAMLError) -> Problem:
    message = f"this is not valid YAML: {error.problem or error.context}"
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Problem(file, 1, 1, "not-yaml", message)
    help = "check this line and the one before it, most often for a missing bracket, quote, colon or space."
    if text[mark.index : mark.index + 1] == "\t":
        help = "indent with spaces; YAML does not allow tabs."
    # A '>' begins a text of several lines, so YAML cannot read it as a comparison.
    lines = text.splitlines()
    signs = _COMPARISON.search(lines[mark.line]) if mark.line < len(lines) else None
    if signs and (likely := likely_forms.comparison(signs[1])):
        help = f"write a comparison in words: {likely}."
    return Problem(file, mark.line + 1, mark.column + 1, "not-yaml", message, help)


def _position(event: yaml.Event) -> tuple[int, int, int]:
    """Line, column and length of an event's text; the length is 1 if the text spans several lines."""
    start, end = event.start_mark, event.end_mark
    if start is None or end is None:
        return 1, 1, 1
    length = end.column - start.column if end.line == start.line else 1
    return start.line + 1, start.column + 1, max(1, length)


def _problem(file: str, event: yaml.Event, code: str, message: str, help: str) -> Problem:
    line, column, length = _position(event)
    return Problem(file, line, column, code, message, help, length)
