"""How problems are shown as text."""

from __future__ import annotations

from policies.source.problems import MAX_LINE_SHOWN, Problem, quoted, render, terminal_safe


def shown(problem: Problem, text: str) -> list[str]:
    return render([problem], {problem.file: text}).splitlines()


def test_a_problem_shows_its_position_its_line_carets_and_help() -> None:
    problem = Problem("a.yaml", 2, 7, "unknown-fact", "there is no fact 'x'", "did you mean 'y'?", 2, 11)

    assert shown(problem, "when:\n      xxxx: 1\n") == [
        "a.yaml:2:7: there is no fact 'x' [unknown-fact]",
        "     2 |       xxxx: 1",
        "       |       ^^^^",
        "  help: did you mean 'y'?",
    ]


def test_problems_are_sorted_by_position_and_shown_once() -> None:
    second, first = Problem("b.yaml", 1, 1, "alias", "b"), Problem("a.yaml", 9, 1, "alias", "a")

    assert render([second, first, second], {}) == "a.yaml:9:1: a [alias]\n\nb.yaml:1:1: b [alias]\n"


def test_a_problem_of_the_folder_has_no_line() -> None:
    assert shown(Problem(".", 0, 0, "no-default-policy", "none"), "") == [".: none [no-default-policy]"]


def test_the_carets_are_below_the_marked_word_in_a_long_line() -> None:
    line = "x" * 5_000 + "WORD" + "y" * 5_000
    _, text, caret = shown(Problem("a.yaml", 1, 5_001, "bad-name", "m", "", 1, 5_005), line)

    assert len(text) < MAX_LINE_SHOWN + 20
    assert text[caret.index("^") : caret.rindex("^") + 1] == "WORD"


def test_the_caret_position_allows_for_wide_letters() -> None:
    _, text, caret = shown(Problem("a.yaml", 1, 4, "bad-name", "m", "", 1, 5), "無印 x")

    assert caret == "       |      ^"
    assert text == "     1 | 無印 x"


def test_a_column_after_the_end_of_the_line_is_marked_at_the_end() -> None:
    _, text, caret = shown(Problem("a.yaml", 1, 99, "not-yaml", "m", "", 1, 108), "ab")

    assert (text, caret) == ("     1 | ab", "       |   ^")


def test_texts_from_files_cannot_control_a_terminal_or_forge_a_line() -> None:
    problem = Problem("a\x1b[2J.yaml", 1, 1, "bad-name", "no\nb.yaml:1:1: forged", "\u202eevil")
    text = render([problem], {problem.file: "\x1b[31mred\x07"})

    assert not set(text) & {"\x1b", "\x07", "\u202e"}
    assert len(text.splitlines()) == 4


def test_a_tab_is_one_column() -> None:
    assert shown(Problem("a.yaml", 1, 2, "not-yaml", "m"), "\tx")[1:] == ["     1 |  x", "       |  ^"]


def test_long_words_are_shortened() -> None:
    assert quoted("x" * 100) == "'" + "x" * 60 + "…'"
    assert terminal_safe("caf\u00e9") == "café"
