"""What the mutation tests know of the tests that call a function, after code or tests have changed."""

import json
from pathlib import Path

from tools.mutate import Scope, _forget_calls, _refused_by_ruff


def test_tests_of_a_changed_module_and_changed_tests_are_looked_at_again(tmp_path: Path) -> None:
    """mutmut looks only at tests without a duration."""
    statistics = tmp_path / "mutants" / "mutmut-stats.json"
    statistics.parent.mkdir()
    calls = {
        "policies.buffers.x_units": ["tests/test_a.py::test_1"],
        "policies.kits.x_kit": ["tests/test_b.py::test_2"],
    }
    durations = {"tests/test_a.py::test_1": 0.1, "tests/test_b.py::test_2": 0.2, "tests/test_c.py::test_3[x]": 0.3}
    statistics.write_text(json.dumps({"tests_by_mangled_function_name": calls, "duration_by_test": durations}))

    _forget_calls(tmp_path, ["policies/buffers.py", "tests/test_c.py", "README.md"])

    found = json.loads(statistics.read_text())
    assert found["duration_by_test"] == {"tests/test_b.py::test_2": 0.2}
    assert found["tests_by_mangled_function_name"] == calls


def test_nothing_is_forgotten_before_the_first_run(tmp_path: Path) -> None:
    _forget_calls(tmp_path, ["policies/buffers.py"])

    assert not [*tmp_path.iterdir()]


def test_a_mutant_that_calls_zip_without_strict_is_refused(tmp_path: Path) -> None:
    """ruff checks the repository for it, so nobody writes that by mistake."""
    bodies = {"orig": "zip(a, b, strict=True)", "1": "zip(a, b, )", "2": "zip(a, b, strict=False)"}
    functions = [f"def x_pairs__mutmut_{key}(a, b):\n    return {body}\n" for key, body in bodies.items()]
    file = tmp_path / "mutants/shop/stock.py"
    file.parent.mkdir(parents=True)
    file.write_text("\n\n".join(functions))

    assert _refused_by_ruff(tmp_path, Scope(["shop"], [], [])) == {"shop.stock.x_pairs__mutmut_1"}
