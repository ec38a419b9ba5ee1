"""Mutation tests: changes the code in one place at a time and lists the changes that no test notices.

`python -m tools.mutate decisions` mutates all of `policies/decisions` and runs the tests of `policies/`.
`python -m tools.mutate service` mutates a seeded sample of what promises and counts stock, and runs the tests of
`service/` with a real PostgreSQL. Changes that mypy refuses cannot be made by mistake: they are not run, and left out
of the score. Both go on where they stopped. Neither is part of CI: they take an hour and more.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".mutation"
"""The copies of the repository that are mutated, one for each scope."""
BAR = 0.9
"""The share of mutants that tests must notice."""
NOT_NOTICED = (0, 5, 33)
"""Exit codes of mutants that no test noticed: all tests passed, pytest had none to run, mutmut knew none to run."""
NOT_RUN = (None, 2, 34)
"""Those of mutants that tell nothing: not reached yet, the run interrupted, left out by mutmut."""


TYPE_ERRORS = {
    *("arg-type", "assignment", "attr-defined", "call-arg", "call-overload", "dict-item", "index", "operator"),
    *("return-value", "type-var", "union-attr"),
}
"""The error codes of mypy by which a mutant is left out; others are about the code that mutmut puts around it."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What is mutated, which tests run, and how many mutants are drawn; None draws all."""

    packages: Sequence[str]
    mutated: Sequence[str]
    tests: Sequence[str]
    sample_size: int | None = None


SCOPES = {
    "decisions": Scope(["policies"], ["policies/decisions/*"], ["tests/policies"]),
    "service": Scope(
        ["policies", "service"],
        [
            "policies/stock/*",
            "service/allocation/*",
            "service/stock/levels.py",
            "service/stock/stock_book.py",
            "service/feeds/change_processing.py",
            "service/feeds/stock_intake.py",
            "service/orders/allocation_record.py",
        ],
        [
            "tests/policies/stock",
            "tests/service/allocation",
            "tests/service/feeds",
            "tests/service/fulfillment",
            "tests/service/orders",
            "tests/service/stock",
            "tests/service/test_orders.py",
            "tests/service/test_peer_orders.py",
            "tests/service/test_unusual_requests.py",
            "tests/service/transfers",
        ],
        sample_size=200,
    ),
}


def main() -> int:
    """Runs one scope and prints its score; 0 if it reaches the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scope", choices=SCOPES)
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--processes", type=int, default=2, help="tests that run side by side")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    arguments = parser.parse_args()
    scope, folder = SCOPES[arguments.scope], WORK / arguments.scope
    if arguments.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    _copy_repository(folder, scope)
    # Only a run makes the mutants: with a name that none has, it ends once they are made and tests pass without them.
    _run(folder, arguments.processes, ["none"])
    refused = _refused_by_mypy(folder, scope)
    results = dict(_results(folder))
    names = sorted(results.keys() - refused)
    if scope.sample_size is not None:
        names = random.Random(arguments.seed).sample(names, min(scope.sample_size, len(names)))
    # mutmut runs a mutant that it is given by name again, so it is given those that have no result.
    if missing := [name for name in names if results[name] in NOT_RUN]:
        _run(folder, arguments.processes, missing)
    return _report(folder, names, len(refused))


def _copy_repository(folder: Path, scope: Scope) -> None:
    """Makes `folder` a copy of the files under version control, with mutmut's settings for the scope.

    Unchanged files keep their times, so that mutmut runs only what changed; files that are no longer there go.
    """
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = [name for name in listed.split("\0") if name and (ROOT / name).exists()]
    for name in names:
        source, target = ROOT / name, folder / name
        if not (target.exists() and target.read_bytes() == source.read_bytes()):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    for package in (*scope.packages, "tests"):
        for copy in (folder, folder / "mutants"):
            for path in [*(copy / package).rglob("*.py"), *(copy / package).rglob("*.meta")]:
                if str(path.relative_to(copy)).removesuffix(".meta") not in names:
                    path.unlink()
    copied = sorted(path.name for path in folder.iterdir() if path.name not in ("mutants", "tests", *scope.packages))
    lines = [
        "[tool.mutmut]",
        f"source_paths = {json.dumps(scope.packages)}",
        f"only_mutate = {json.dumps(scope.mutated)}",
        f"also_copy = {json.dumps(copied)}",
        f"pytest_add_cli_args_test_selection = {json.dumps(scope.tests)}",
        'pytest_add_cli_args = ["-p", "no:cacheprovider", "-m", "not long"]',
    ]
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8") + "\n" + "\n".join(lines) + "\n"
    (folder / "pyproject.toml").write_text(settings, encoding="utf-8")


def _run(folder: Path, processes: int, names: Sequence[str]) -> None:
    program = str(Path(sys.executable).with_name("mutmut"))
    subprocess.run([program, "run", "--max-children", str(processes), *names], cwd=folder, check=False)


def _results(folder: Path) -> Iterator[tuple[str, int | None]]:
    """Every mutant with its exit code; None if it has not run."""
    for path in (folder / "mutants").rglob("*.meta"):
        yield from json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"].items()


def _refused_by_mypy(folder: Path, scope: Scope) -> set[str]:
    """The names of mutants with a type error that their function does not have as it is."""
    mypy = str(Path(sys.executable).with_name("mypy"))
    command = [mypy, "--output", "json", *scope.packages]
    done = subprocess.run(command, cwd=folder / "mutants", check=False, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"mypy could not check the mutants: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    errors_by_file: dict[str, list[tuple[int, str]]] = {}
    for error in map(json.loads, filter(str.strip, done.stdout.splitlines())):
        if error["severity"] == "error" and error["code"] in TYPE_ERRORS:
            errors_by_file.setdefault(error["file"], []).append((error["line"], error["message"]))
    refused = set()
    for file, errors in errors_by_file.items():
        spans = _mutant_lines((folder / "mutants" / file).read_text(encoding="utf-8"))
        messages = {name: {text for line, text in errors if line in lines} for name, lines in spans.items()}
        module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in spans:
            if messages[name] - messages.get(name.rsplit("__mutmut_", 1)[0] + "__mutmut_orig", set()):
                refused.add(f"{module}.{name}")
    return refused


def _mutant_lines(source: str) -> dict[str, range]:
    """The lines of every mutated function of a file, and of the functions as they are (`..._orig`)."""
    functions = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return {
        node.name: range(node.lineno, (node.end_lineno or node.lineno) + 1)
        for node in functions
        if "__mutmut_" in node.name
    }


def _report(folder: Path, names: Sequence[str], refused_count: int) -> int:
    """Prints which of the mutants survived and the score; 0 if it reaches the bar."""
    everything = dict(_results(folder))
    results = {name: everything[name] for name in names if everything[name] not in NOT_RUN}
    survivors = sorted(name for name, code in results.items() if code in NOT_NOTICED)
    for module, count in sorted(Counter(name.rsplit(".", 1)[0] for name in survivors).items()):
        print(f"{count:5} survived in {module}")
    for name in survivors:
        print(name)
    killed = len(results) - len(survivors)
    score = killed / len(results) if results else 0.0
    print(f"{len(names) - len(results)} did not run; mypy refuses {refused_count} others")
    print(f"{killed} of {len(results)} mutants killed: {score:.1%} (the bar is {BAR:.0%})")
    return 0 if score >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
