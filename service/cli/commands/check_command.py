"""`truestock check`: reads a rules folder, tells everything that is wrong with it, and runs its tests."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import typer

from policies.reading.rules_reader import FOLDER, is_rule_file, read
from policies.source.problems import Problem, terminal_safe
from policies.testing.suites import RuleTestResult, run_suites, testable_rules
from service.cli.console import count, print_json, say
from service.policy.rules_folder import RulesFolder, problems_text, read_folder

LOOK_SECONDS = 0.25
"""`--watch` looks at the folder so often."""


class Format(StrEnum):
    """How problems are told: to a person, to a program, or as annotations of a pull request on GitHub."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


@dataclass(frozen=True, slots=True)
class Check:
    """What came of checking a folder. `problems` are sorted; `rule_count` is 0 where the rules could not be read."""

    problems: tuple[Problem, ...]
    results: tuple[RuleTestResult, ...]
    rule_count: int
    file_count: int
    untested_count: int

    @property
    def failed_count(self) -> int:
        """Tests that failed."""
        return sum(not result.passed for result in self.results)

    @property
    def summary(self) -> str:
        """One line for the end of the output."""
        if not self.rule_count:
            return f"{count(len(self.problems), 'problem')} in {count(self.file_count, 'file')}; no test was run"
        said = f"{count(self.rule_count, 'rule')} in {count(self.file_count, 'file')}"
        tests = f"{count(len(self.results), 'test')}: {len(self.results) - self.failed_count} passed"
        return f"{said}, {tests}, {self.failed_count} failed"


def run(path: Path, *, output_format: str = Format.TEXT, allow_untested: bool = False) -> int:
    """Checks the folder and prints what it found. Returns 0 where all is well, 1 with problems, 2 without a folder."""
    if not path.is_dir():
        say(f"there is no rules folder {path}; name the folder that planners edit, such as: truestock check rules")
        return 2
    # '.' has no name, and paths would lack their first part.
    folder = path.absolute()
    return _print(read_folder(folder), folder, Format(output_format), allow_untested=allow_untested)


def run_at_every_save(path: Path, *, output_format: str = Format.TEXT, allow_untested: bool = False) -> int:
    """Does the same at once and again whenever the folder has changed, until KeyboardInterrupt."""
    if not path.is_dir():
        return run(path)
    for found in _saves(path.absolute()):
        started = time.perf_counter()
        _print(found, path.absolute(), Format(output_format), allow_untested=allow_untested)
        seconds = time.perf_counter() - started
        say(f"{time.strftime('%H:%M:%S')}  checked in {seconds:.1f} s; checks again at every save, Ctrl-C ends it")
    return 0


def _saves(folder: Path) -> Iterator[RulesFolder]:
    """What is in the folder, again and again as it changes; never while it is still changing."""
    seen = before = read_folder(folder)
    yield seen
    while True:
        # Looking is quick and notices every kind of save, which watches of file systems do not.
        time.sleep(LOOK_SECONDS)
        found = read_folder(folder)
        if found == before != seen:
            seen = found
            yield found
        before = found


def _print(found: RulesFolder, folder: Path, output_format: Format, *, allow_untested: bool) -> int:
    """Checks what was found and prints what came of it; returns the exit code."""
    checked = check(found.files, found.problems, allow_untested=allow_untested)
    match output_format:
        case Format.JSON:
            _print_json(checked)
        case Format.GITHUB:
            _print_annotations(checked, folder.parent)
        case Format.TEXT:
            _print_text(checked, found.files)
    return 1 if checked.problems else 0


def check(files: Mapping[str, bytes], unread: Sequence[Problem] = (), *, allow_untested: bool = False) -> Check:
    """Reads the rules and runs the tests among these files of a rules folder, by path; `unread` is what kept others."""
    reading = read(files)
    report = run_suites(reading.policy_set, files)
    problems = sorted({*unread, *reading.problems, *report.problems})
    untested = [problem for problem in problems if problem.code == "rule-untested"]
    if allow_untested:
        problems = [problem for problem in problems if problem.code != "rule-untested"]
    return Check(
        problems=tuple(problems),
        results=report.results,
        rule_count=len(list(testable_rules(reading.policy_set))) if reading.policy_set else 0,
        file_count=sum(map(is_rule_file, files)),
        untested_count=len(untested),
    )


def _print_text(checked: Check, files: dict[str, bytes]) -> None:
    evidence = _evidence(checked.results)
    for problem in checked.problems:
        typer.echo(problems_text((problem,), files), nl=False)
        for line in evidence.get(problem, ()):
            typer.echo(f"    {terminal_safe(line)}")
        typer.echo()
    typer.echo(checked.summary)
    if checked.untested_count:
        typer.echo(f"{count(checked.untested_count, 'rule')} without a test that makes it fire")


def _print_annotations(checked: Check, parent: Path) -> None:
    """GitHub's workflow commands, with paths from where the workflow runs."""
    evidence = _evidence(checked.results)
    for problem in checked.problems:
        lines = [f"{problem.message} [{problem.code}]", *([f"help: {problem.help}"] if problem.help else [])]
        text = "\n".join(map(terminal_safe, [*lines, *evidence.get(problem, ())]))
        typer.echo(f"::error{_position(problem, parent)}::{_escaped(text)}")
    typer.echo(checked.summary)


def _print_json(checked: Check) -> None:
    print_json(
        {
            "summary": checked.summary,
            "rule_count": checked.rule_count,
            "file_count": checked.file_count,
            "untested_count": checked.untested_count,
            "problems": [_safe_values(problem.as_dict()) for problem in checked.problems],
            "tests": [_as_dict(result) for result in checked.results],
        }
    )


def _as_dict(result: RuleTestResult) -> dict[str, object]:
    return {
        "suite": result.suite,
        "name": result.name,
        "file": terminal_safe(result.source.file),
        "line": result.source.line,
        "passed": result.passed,
        "difference": result.problem.message if result.problem else "",
        "evidence": result.evidence,
    }


def _safe_values(values: Mapping[str, str | int]) -> dict[str, str | int]:
    # A file's name may hold bytes that are no text, which JSON could not say.
    return {key: terminal_safe(value) if isinstance(value, str) else value for key, value in values.items()}


def _evidence(results: Sequence[RuleTestResult]) -> dict[Problem, tuple[str, ...]]:
    """The figures behind each failed test, by its problem."""
    return {result.problem: result.evidence for result in results if result.problem}


def _position(problem: Problem, parent: Path) -> str:
    """Where GitHub shows a problem; nothing for a problem of the whole folder."""
    if problem.file == FOLDER:
        return ""
    file = _escaped(terminal_safe(os.path.relpath(parent / problem.file))).replace(":", "%3A").replace(",", "%2C")
    return f" file={file},line={problem.line},col={problem.column}" if problem.line else f" file={file}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
