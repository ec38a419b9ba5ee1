"""Changes of code that no test notices, and why each is left: `surviving_mutants.toml` has the reasons.

A reason says for which functions (a pattern of their names, as mutmut writes these) and for which change (a regular
expression that is searched for in `OLD ==> NEW`) it holds, and whether the change is one that nobody can notice.
"""

from __future__ import annotations

import ast
import difflib
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

REASONS = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why changes are left, and whether they are equivalent: no input tells the changed code from the other."""

    functions: str
    change: str
    reason: str
    equivalent: bool = False

    def holds_for(self, mutant: str, change: str) -> bool:
        """Whether it is one for this mutant, which makes this change."""
        function = mutant.rsplit("__mutmut_", 1)[0]
        return fnmatchcase(function, self.functions) and re.search(self.change, change) is not None


@dataclass(frozen=True, slots=True)
class Survivor:
    """A mutant that no test noticed, the change that it makes, and the reason why it is left; None if there is none."""

    mutant: str
    change: str
    reason: Reason | None


def reasons(file: Path = REASONS) -> Sequence[Reason]:
    """The reasons of the file, in order."""
    return [Reason(**entry) for entry in tomllib.loads(file.read_text(encoding="utf-8"))["left"]]


def survivors(mutated: Path, names: Iterable[str], known: Sequence[Reason]) -> Iterator[Survivor]:
    """What each of these mutants of a folder changes, with the first of the reasons that holds for it."""
    for name, change in _changes(mutated, names):
        yield Survivor(name, change, next((reason for reason in known if reason.holds_for(name, change)), None))


def without_check_of_lengths(mutated: Path, names: Iterable[str]) -> set[str]:
    """Those mutants of a folder that change nothing but one `strict=True` of `zip` into `strict=False`."""
    return {name for name, change in _changes(mutated, names) if _turns_check_off(*change.split(" ==> ", 1))}


def _turns_check_off(old: str, new: str) -> bool:
    """Whether `new` is `old` but for one `strict=True`, wherever in the line it stands."""
    check, off = "strict=True", "strict=False"
    starts = [match.start() for match in re.finditer(check, old)]
    return any(old[:start] + off + old[start + len(check) :] == new for start in starts)


def _changes(mutated: Path, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each of these mutants of a folder with what it changes, by module and name."""
    by_module: dict[str, list[str]] = {}
    for name in sorted(names):
        by_module.setdefault(name.rsplit(".", 1)[0], []).append(name)
    for module, mutants in by_module.items():
        changes = changes_of(_source(mutated, module), {name.rsplit(".", 1)[1] for name in mutants})
        yield from ((name, changes[name.rsplit(".", 1)[1]]) for name in mutants)


def changes_of(source: str, names: Collection[str]) -> Mapping[str, str]:
    """What these mutated functions of a file change in their originals, as `OLD ==> NEW`, by their names."""
    lines = source.splitlines()
    functions = {
        node.name: lines[node.lineno : node.end_lineno]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "__mutmut_" in node.name
    }
    return {
        name: _change(functions[name.rsplit("__mutmut_", 1)[0] + "__mutmut_orig"], body)
        for name, body in functions.items()
        if name in names
    }


def _change(original: Sequence[str], mutated: Sequence[str]) -> str:
    diff = [*difflib.unified_diff(original, mutated, lineterm="", n=0)][2:]
    old, new = ([line[1:].strip() for line in diff if line.startswith(sign)] for sign in "-+")
    return f"{' '.join(old)} ==> {' '.join(new)}"


def _source(mutated: Path, module: str) -> str:
    path = mutated / module.replace(".", "/")
    file = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    return file.read_text(encoding="utf-8")
