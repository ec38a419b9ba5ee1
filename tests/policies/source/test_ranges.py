"""The range of a problem, and of every node of a file, lies inside the file and covers the text that it is about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from policies.reading.rules_reader import read
from policies.source.problems import MAX_WORD_SHOWN, Place, Problem
from policies.source.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode, UnreadableFile, parse
from policies.testing.suites import run_suites

FOLDERS = (
    Path(__file__).parents[2] / "cases",
    Path(__file__).parents[3] / "rules",
    Path(__file__).parents[2] / "rules",
)
FILES = [path.read_bytes() for folder in FOLDERS for path in sorted(folder.rglob("*.yaml"))]
PIECES = (
    *[
        "\n",
        "\r\n",
        "  ",
        "\t",
        ":",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        '"',
        "'",
        "|\n",
        ">-\n",
        "#",
        "&a ",
        "*a",
        "!!str ",
    ],
    *["? ", "---\n", "無", "\U0001f603", "\x07", "\u2028", "name", "null", "when"],
)
NAMED = ("unknown-key", "unknown-fact", "bad-name", "duplicate-key", "unknown-kind", "unknown-step")
"""Codes of problems whose message quotes the text that they are about."""


@st.composite
def edited_files(draw: st.DrawFn) -> bytes:
    """A file of rules or tests after a few slips of the keyboard."""
    content = draw(st.sampled_from(FILES)).decode(errors="surrogateescape")
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 12)))
        content = content[:start] + draw(st.sampled_from(PIECES)) * draw(st.integers(0, 2)) + content[end:]
    return content.encode(errors="surrogateescape") + draw(st.sampled_from([b"", b"", b"\xff", b"\r\n\r\n"]))


@settings(max_examples=60, deadline=None)
@given(edited_files(), st.sampled_from(["rules/a.yaml", "rules/a_test.yaml"]))
def test_the_range_of_a_problem_is_inside_its_file_and_covers_what_it_is_about(content: bytes, path: str) -> None:
    files = {path: content}
    reading = read(files)
    text = content.decode("utf-8-sig", errors="replace")

    for problem in {*reading.problems, *run_suites(reading.policy_set, files).problems}:
        if problem.file != path or not problem.line:
            assert (problem.end_line, problem.end_column) == (problem.column, 0) == (0, 0)
            continue
        covered = covered_text(text, problem)
        assert not covered[:1].isspace() or problem.code == "not-yaml", problem
        if problem.code in NAMED:
            # Texts in quotation marks and of several lines are quoted as they are read.
            assert covered[:MAX_WORD_SHOWN] in problem.message or set(covered) & set("\"'\n{"), problem
            assert covered


@settings(max_examples=60, deadline=None)
@given(edited_files())
def test_the_range_of_a_node_covers_its_text_and_lies_inside_that_of_its_parent(content: bytes) -> None:
    try:
        root, _ = parse("rules/a.yaml", content)
    except UnreadableFile:
        return
    text = content.decode("utf-8-sig")

    for parent, node in nodes(root):
        covered = covered_text(text, node)
        assert covered == covered.strip()
        assert (parent.line, parent.column) <= (node.line, node.column)
        assert (node.end_line, node.end_column) <= (parent.end_line, parent.end_column)
        if isinstance(node, ScalarNode) and node.plain:
            assert " ".join(covered.split()) == " ".join(node.text.split())
        elif isinstance(node, ScalarNode):
            assert covered[0] in "\"'|>"
        elif covered[0] in "[{":
            assert covered[-1] == {"[": "]", "{": "}"}[covered[0]]


@pytest.mark.parametrize(
    ("text", "covered"),
    [
        ("kind: exposure\nname: [a,\n  b]  # a list\nrules: []\n", "[a,\n  b]"),
        ("kind: exposure\nname: |\n  a\n\n  b\n\n# end\nrules: []\n", "|\n  a\n\n  b"),
        ("kind: exposure\nname: {a: 1,\r\n b: 2}\r\nrules: []\r\n", "{a: 1,\n b: 2}"),
        ("kind: exposure\nname: 'a\n  b'\nrules: []\n", "'a\n  b'"),
        ("kind: exposure\nname:\n  - a\n  -\n    b\n\n# c\nrules: []\n", "- a\n  -\n    b"),
        ("kind: exposure\nname: &a x\nrules: []\n", "&a"),
        ("kind: exposure\nname: !!str x\nrules: []\n", "!!str"),
        ("kind: exposure\nname: a\nname: b\nrules: []\n", "name"),
        ("kind: exposure\nname: a\nrules: [}\n", "}"),
        ("kind: exposure\nname: a\nrules: [", ""),
        ("kind: exposure\nname: a\n--- # next\nname: b\n", "---"),
        ("kind: exposure\nname: \x07\n", "\x07"),
        ("# nothing\n# yet\n", "# nothing\n# yet\n"),
    ],
)
def test_a_problem_covers_exactly_its_text(text: str, covered: str) -> None:
    problems = [problem for problem in read({"a.yaml": text.encode()}).problems if problem.line]

    assert covered in {covered_text(text, problem) for problem in problems}, problems


def covered_text(text: str, place: Place) -> str:
    """The text from a place's first position to its end; fails if that is not inside the text."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    start, end = (place.line, place.column), (place.end_line, place.end_column)
    for line, column in (start, end):
        assert 1 <= line <= len(lines), place
        assert 1 <= column <= len(lines[line - 1]) + 1, place
    assert start <= end, place
    if place.line == place.end_line:
        return lines[place.line - 1][place.column - 1 : place.end_column - 1]
    first, last = lines[place.line - 1][place.column - 1 :], lines[place.end_line - 1][: place.end_column - 1]
    return "\n".join([first, *lines[place.line : place.end_line - 1], last])


def nodes(node: Node) -> Iterator[tuple[Node, Node]]:
    """Each node with its parent; the root is its own."""
    yield node, node
    children: list[Node] = []
    if isinstance(node, SequenceNode):
        children = node.items
    elif isinstance(node, MappingNode):
        children = [child for entry in node.entries.values() for child in entry]
    for child in children:
        yield node, child
        yield from nodes(child)


def test_a_problem_of_a_whole_file_has_no_range() -> None:
    [problem] = [x for x in read({"a.yaml": b"#" * ((1 << 20) + 1)}).problems if x.code == "too-large"]

    assert problem == Problem("a.yaml", 0, 0, "too-large", problem.message, problem.help, 0, 0)
