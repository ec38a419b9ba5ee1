"""Changes of code that no test notices are listed with the change and the reason why they are left."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.surviving_mutants import changes_of, reasons, survivors, without_check_of_lengths

MUTATED = """
def x_total__mutmut_orig(units):
    found = sum(units)
    return found


def x_total__mutmut_1(units):
    found = sum(units) + 1
    return found


def x_total__mutmut_2(units):
    found = sum(units)
    return None
"""
REASONS = """
[[left]]
functions = "shop.stock.x_*"
change = 'found ==> return None'
reason = "Nobody asks."

[[left]]
functions = "shop.stock.x_total"
change = '.'
equivalent = true
reason = "Never first."
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/stock.py").write_text(MUTATED)
    (tmp_path / "reasons.toml").write_text(REASONS)
    return tmp_path


def test_a_change_is_the_lines_that_differ() -> None:
    assert changes_of(MUTATED, {"x_total__mutmut_1", "x_total__mutmut_2"}) == {
        "x_total__mutmut_1": "found = sum(units) ==> found = sum(units) + 1",
        "x_total__mutmut_2": "return found ==> return None",
    }


def test_the_first_reason_that_holds_for_the_function_and_its_change_counts(folder: Path) -> None:
    names = [f"shop.stock.x_total__mutmut_{number}" for number in (1, 2)]
    known = reasons(folder / "reasons.toml")

    found = {x.mutant[-1]: x.reason for x in survivors(folder, names, known)}
    without = [x.reason for x in survivors(folder, names, known[:1])]

    assert {key: reason and (reason.reason, reason.equivalent) for key, reason in found.items()} == {
        "1": ("Never first.", True),
        "2": ("Nobody asks.", False),
    }
    assert without == [None, known[0]]


def test_changes_that_only_turn_off_a_check_of_equal_lengths_are_told_from_others(tmp_path: Path) -> None:
    bodies = {
        "orig": "zip(zip(a, b, strict=True), c, strict=True)",
        "1": "zip(zip(a, b, strict=False), c, strict=True)",
        "2": "zip(zip(a, b, strict=True), c, strict=False)",
        "3": "zip(zip(a, b, strict=True), c, )",
        "4": "zip(zip(a, b, strict=True), None, strict=True)",
        "5": "zip(zip(a, b, strict=False), c, strict=False)",
    }
    functions = [f"def x_pairs__mutmut_{key}(a, b, c):\n    return {body}\n" for key, body in bodies.items()]
    (tmp_path / "shop.py").write_text("\n\n".join(functions))

    found = without_check_of_lengths(tmp_path, [f"shop.x_pairs__mutmut_{number}" for number in range(1, 6)])

    assert found == {"shop.x_pairs__mutmut_1", "shop.x_pairs__mutmut_2"}


def test_every_reason_of_ours_can_be_read() -> None:
    for reason in reasons():
        re.compile(reason.change)
        assert reason.functions.startswith(("policies.", "service."))
        assert reason.reason.endswith(".")
