"""Mutation tests: changes the code in one place at a time and lists the changes that no test notices.

`python -m tools.mutate decisions` mutates all of `policies/decisions` and runs the tests of `policies/`.
`python -m tools.mutate service` mutates a seeded sample of what promises and counts stock, and runs the tests of
`service/` with a real PostgreSQL. Both go on where they stopped. Neither is part of CI: they take an hour and more.

Some changes are not run and left out of the score; the report says how many. mypy refuses most of them, and ruff those
that call `zip` without `strict`, so that they cannot be made by mistake. Others only turn a `strict=True` of `zip` off:
like an `assert`, it ends a program that contradicts itself, and no answer of a right one depends on it.

A mutant that survives is killed by a new test, or has its reason in `tools/surviving_mutants.toml`; code that no fact
about the trade needs is removed instead. `--again --only kit_stock` runs the survivors of one module again.
"""

from __future__ import annotations

import argparse
import ast
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tools.mutant_tests import STATISTICS
from tools.surviving_mutants import REASONS, reasons, survivors, without_check_of_lengths

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".mutation"
"""The copies of the repository that are mutated, one for each scope."""
BAR = 0.9
"""The share of mutants that tests must notice."""
MOST_EQUIVALENT = 0.02
"""The share of mutants that may be called equivalent."""
NOT_NOTICED = (0, 5, 33)
"""Exit codes of mutants that no test noticed: all tests passed, pytest had none to run, mutmut knew none to run."""
NOT_RUN = (None, 2, 34)
"""Those of mutants that tell nothing: not reached yet, the run interrupted, left out by mutmut."""
NO_MUTANT, NOTHING_MATCHES = "none", "Filtered for specific mutants, but nothing matches"
"""A name that no mutant has, and with what mutmut fails if it is asked to run that one."""


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
            "tests/service/capacity",
            "tests/service/demand",
            "tests/service/feeds",
            "tests/service/fulfillment",
            "tests/service/observability/test_traces.py",
            "tests/service/orders",
            "tests/service/privacy",
            "tests/service/reports",
            "tests/service/resolution",
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
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the tests of one mutant may take in all")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.add_argument("--again", action="store_true", help="run those again that survived: tests were added since")
    parser.add_argument("--only", default="", help="a part of the names of mutants, such as a module's; others wait")
    arguments = parser.parse_args()
    scope, folder = SCOPES[arguments.scope], WORK / arguments.scope
    if arguments.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    _forget_calls(folder, _copy_repository(folder, scope))
    _make_mutants(folder, arguments.processes)
    results = dict(_results(folder))
    left_out = {
        "mypy refuses them": _refused_by_mypy(folder, scope),
        "ruff refuses `zip` without `strict`": _refused_by_ruff(folder, scope),
        "they only turn off `strict=True` of `zip`": without_check_of_lengths(folder / "mutants", results),
    }
    names = sorted(results.keys() - set().union(*left_out.values()))
    if scope.sample_size is not None:
        names = _sample(names, scope.sample_size, arguments.seed)
    to_run = (*NOT_RUN, *NOT_NOTICED) if arguments.again else NOT_RUN
    if missing := [name for name in names if results[name] in to_run and arguments.only in name]:
        _run_tests(folder, scope, missing, str(arguments.processes), str(arguments.seconds))
    return _report(folder, names, {why: len(mutants & results.keys()) for why, mutants in left_out.items()})


def _sample(names: Sequence[str], size: int, seed: int) -> list[str]:
    """So many of the names, nearly the same ones after some functions have changed."""
    return sorted(sorted(names, key=lambda name: sha256(f"{seed} {name}".encode()).digest())[:size])


def _copy_repository(folder: Path, scope: Scope) -> Sequence[str]:
    """Makes `folder` a copy of the files under version control, with mutmut's settings for the scope.

    Unchanged files keep their times, so that mutmut runs only what changed; files that are no longer there go. Returns
    the names of those that changed.
    """
    changed = []
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = [name for name in listed.split("\0") if name and (ROOT / name).exists()]
    for name in names:
        source, target = ROOT / name, folder / name
        if not (target.exists() and target.read_bytes() == source.read_bytes()):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
            changed.append(name)
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
    return changed


def _forget_calls(folder: Path, changed: Sequence[str]) -> None:
    """Lets mutmut see again what the tests call that are in changed files or call functions of changed modules.

    mutmut looks only at tests that it does not know. Of a function that was added to a module since, it would know no
    test, and then none of its mutants is noticed.
    """
    path = folder / "mutants" / STATISTICS
    if not path.exists():
        return
    statistics = json.loads(path.read_text(encoding="utf-8"))
    modules = {_module(name) for name in changed}
    callers = statistics["tests_by_mangled_function_name"]
    stale = {test for function, tests in callers.items() if function.rsplit(".", 1)[0] in modules for test in tests}
    stale |= {test for test in statistics["duration_by_test"] if test.split("::")[0] in changed}
    for test in stale:
        statistics["duration_by_test"].pop(test, None)
    path.write_text(json.dumps(statistics), encoding="utf-8")


def _make_mutants(folder: Path, processes: int) -> None:
    """Makes the mutants of what changed, and runs all tests once to see which of them call which function.

    Only a run of mutmut does that: with the name of no mutant, it fails once they are made and tests pass without them.
    """
    print("making the mutants of what changed, and running the tests once without one: takes minutes", flush=True)
    program = str(Path(sys.executable).with_name("mutmut"))
    command = [program, "run", "--max-children", str(processes), NO_MUTANT]
    done = subprocess.run(command, cwd=folder, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if NOTHING_MATCHES not in done.stdout:
        raise SystemExit(f"mutmut could not make the mutants: {done.stdout[-3000:]}")


def _run_tests(folder: Path, scope: Scope, names: Sequence[str], *limits: str) -> None:
    (folder / "names.txt").write_text("\n".join(names), encoding="utf-8")
    command = [sys.executable, "-m", "tools.mutant_tests", "../names.txt", *limits, *scope.tests]
    subprocess.run(command, cwd=folder / "mutants", check=True)


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
        for name in spans:
            if messages[name] - messages.get(name.rsplit("__mutmut_", 1)[0] + "__mutmut_orig", set()):
                refused.add(f"{_module(file)}.{name}")
    return refused


def _refused_by_ruff(folder: Path, scope: Scope) -> set[str]:
    """The names of mutants that call `zip` without `strict`: B905, for which the repository is checked as it is."""
    ruff = str(Path(sys.executable).with_name("ruff"))
    options = ["--isolated", "--no-cache", "--select=B905", "--output-format=json"]
    command = [ruff, "check", *options, *scope.packages]
    done = subprocess.run(command, cwd=folder / "mutants", check=False, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"ruff could not check the mutants: {done.stderr[-1000:]}")
    rows_by_file: dict[str, set[int]] = {}
    for found in json.loads(done.stdout):
        file = str(Path(found["filename"]).relative_to((folder / "mutants").resolve()))
        rows_by_file.setdefault(file, set()).add(found["location"]["row"])
    return {
        f"{_module(file)}.{name}"
        for file, rows in rows_by_file.items()
        for name, lines in _mutant_lines((folder / "mutants" / file).read_text(encoding="utf-8")).items()
        if not rows.isdisjoint(lines)
    }


def _module(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


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


def _report(folder: Path, names: Sequence[str], left_out: Mapping[str, int]) -> int:
    """Prints which of the mutants survived, why, and the score; 0 if it reaches the bars and each has its reason."""
    everything = dict(_results(folder))
    results = {name: everything[name] for name in names if everything[name] not in NOT_RUN}
    not_noticed = [name for name, code in results.items() if code in NOT_NOTICED]
    left = [*survivors(folder / "mutants", not_noticed, reasons())]
    for module, count in sorted(Counter(each.mutant.rsplit(".", 1)[0] for each in left).items()):
        print(f"{count:5} survived in {module}")
    for each in left:
        print(f"{each.mutant}\n    {each.change}\n    {each.reason.reason if each.reason else 'WITHOUT A REASON'}")
    killed, total = len(results) - len(left), max(1, len(results))
    equivalent = sum(each.reason is not None and each.reason.equivalent for each in left)
    unexplained = sum(each.reason is None for each in left)
    for why, count in left_out.items():
        print(f"{count} were left out: {why}")
    print(f"{len(names) - len(results)} did not run")
    print(f"{unexplained} survived without a reason in {REASONS.name}")
    print(f"{equivalent} are called equivalent: {equivalent / total:.1%} (at most {MOST_EQUIVALENT:.0%})")
    print(f"{killed} of {len(results)} mutants killed: {killed / total:.1%} (the bar is {BAR:.0%})")
    is_enough = killed / total >= BAR and equivalent / total <= MOST_EQUIVALENT
    return 0 if is_enough and not unexplained else 1


if __name__ == "__main__":
    sys.exit(main())
