"""Mutation tests: changes the code in one place at a time and lists the changes that no test notices.

`python -m tools.mutate decisions` mutates all of `policies/decisions` and runs the tests of `policies/`.
`python -m tools.mutate service` mutates a seeded sample of what promises and counts stock, and runs the tests of
`service/` with a real PostgreSQL. Both go on where they stopped. Neither is part of CI: they take an hour and more.
"""

from __future__ import annotations

import argparse
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
    _run(folder, arguments.processes, _chosen(folder, scope, arguments.seed, arguments.processes))
    return _report(folder)


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


def _chosen(folder: Path, scope: Scope, seed: int, processes: int) -> list[str]:
    """The mutants to run; an empty list is all."""
    if scope.sample_size is None:
        return []
    if not (folder / "mutants" / "mutmut-stats.json").exists():
        # Only `mutmut run` makes the mutants: with a name that none has it ends once they are made.
        _run(folder, processes, ["none"])
    names = sorted(name for name, _ in _results(folder))
    return random.Random(seed).sample(names, min(scope.sample_size, len(names)))


def _run(folder: Path, processes: int, names: Sequence[str]) -> None:
    program = str(Path(sys.executable).with_name("mutmut"))
    subprocess.run([program, "run", "--max-children", str(processes), *names], cwd=folder, check=False)


def _results(folder: Path) -> Iterator[tuple[str, int | None]]:
    """Every mutant with its exit code; None if it has not run."""
    for path in (folder / "mutants").rglob("*.meta"):
        yield from json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"].items()


def _report(folder: Path) -> int:
    results = {name: code for name, code in _results(folder) if code not in NOT_RUN}
    survivors = sorted(name for name, code in results.items() if code in NOT_NOTICED)
    for module, count in sorted(Counter(name.rsplit(".", 1)[0] for name in survivors).items()):
        print(f"{count:5} survived in {module}")
    for name in survivors:
        print(name)
    killed = len(results) - len(survivors)
    score = killed / len(results) if results else 0.0
    print(f"{killed} of {len(results)} mutants killed: {score:.1%} (the bar is {BAR:.0%})")
    return 0 if score >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
