"""`truestock check`: reads a rules folder, reports every problem in it, and runs its rule tests."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import typer

from policies.linting.catalog_values import by_fact, catalog_warnings, named_values
from policies.policy_set import PolicySet
from policies.reading.rules_reader import FOLDER, is_rule_file, read
from policies.source.problems import Problem, terminal_safe
from policies.testing.suites import RuleTestResult, run_suites, testable_rules
from service.cli.commands.rules.draft_command import DraftReport, write_drafts
from service.cli.console import EXIT_USAGE, UserError, count, fitted, print_json, say
from service.policy.rules_folder import RulesFolder, problems_text, read_folder

POLL_SECONDS = 0.25
"""Time between two looks of `--watch` at the folder."""
_SOURCE_LINE = re.compile(r" *[0-9]* \| ")


class Format(StrEnum):
    """Output for people, for programs, or as annotations of a pull request on GitHub."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The result of checking a folder. `problems` are sorted; `rule_count` is 0 if the rules could not be read.

    `warnings` are about values that the rules name and the catalog of a service does not have.
    """

    problems: tuple[Problem, ...]
    results: tuple[RuleTestResult, ...]
    rule_count: int
    file_count: int
    untested_count: int
    warnings: tuple[Problem, ...] = ()

    @property
    def failed_count(self) -> int:
        """How many tests failed."""
        return sum(not result.passed for result in self.results)

    @property
    def summary(self) -> str:
        """The last line of the output."""
        if not self.rule_count:
            return f"{count(len(self.problems), 'problem')} in {count(self.file_count, 'file')}; no test ran"
        rules = f"{count(self.rule_count, 'rule')} in {count(self.file_count, 'file')}"
        tests = f"{count(len(self.results), 'test')}: {len(self.results) - self.failed_count} passed"
        return f"{rules}, {tests}, {self.failed_count} failed"


def run(
    path: Path,
    *,
    output_format: str = Format.TEXT,
    allow_untested: bool = False,
    server: str | None = None,
    draft_tests: bool = False,
) -> int:
    """Checks the folder and prints the result. Returns 0 without problems, 1 with problems.

    With `draft_tests`, first writes tests of untested rules into new files. Raises UserError without a folder, or if
    that fails.
    """
    if not path.is_dir():
        message = f"there is no rules folder {path}; name an existing folder, such as: truestock check rules"
        raise UserError(message, code="USAGE", exit_code=EXIT_USAGE)
    # '.' has no name of its own, so printed paths would lack their first part.
    folder = path.absolute()
    # Paths of files begin with the folder's own name, also where a link leads to it.
    drafts = write_drafts(read_folder(folder).files, folder.resolve().parent) if draft_tests else None
    report_format = Format(output_format)
    return _print(
        read_folder(folder), folder, report_format, allow_untested=allow_untested, server=server, drafts=drafts
    )


def run_on_every_save(
    path: Path, *, output_format: str = Format.TEXT, allow_untested: bool = False, server: str | None = None
) -> int:
    """Checks the folder now and after every change of it, until KeyboardInterrupt."""
    if not path.is_dir():
        return run(path)
    for contents in _saved_contents(path.absolute()):
        started = time.perf_counter()
        _print(contents, path.absolute(), Format(output_format), allow_untested=allow_untested, server=server)
        seconds = time.perf_counter() - started
        say(f"{time.strftime('%H:%M:%S')}  checked in {seconds:.1f} s; waiting for the next save, Ctrl-C stops")
    return 0


def _saved_contents(folder: Path) -> Iterator[RulesFolder]:
    """Yields the folder's contents now and after every change, once two looks in a row find the same."""
    checked = previous = read_folder(folder)
    yield checked
    while True:
        # Polling is quick and notices every kind of save, which file system notifications do not.
        time.sleep(POLL_SECONDS)
        current = read_folder(folder)
        if current == previous != checked:
            checked = current
            yield current
        previous = current


def _print(
    contents: RulesFolder,
    folder: Path,
    output_format: Format,
    *,
    allow_untested: bool,
    server: str | None,
    drafts: DraftReport | None = None,
) -> int:
    """Checks the folder's contents and prints the result; returns the exit code."""
    report = check(contents.files, contents.problems, allow_untested=allow_untested, server=server)
    match output_format:
        case Format.JSON:
            _print_json(report, drafts)
        case Format.GITHUB:
            _print_annotations(report, folder.parent)
        case Format.TEXT:
            _print_text(report, contents.files)
            for line in drafts.lines() if drafts else ():
                typer.echo(terminal_safe(line))
    return 1 if report.problems else 0


def check(
    files: Mapping[str, bytes],
    unreadable: Sequence[Problem] = (),
    *,
    allow_untested: bool = False,
    server: str | None = None,
) -> CheckReport:
    """Reads the rules and runs the tests in `files`, by path; `unreadable` are problems of other files.

    With a server, holds the rules against its catalog too. Raises UserError if it does not answer.
    """
    reading = read(files)
    tests = run_suites(reading.policy_set, files)
    problems = sorted({*unreadable, *reading.problems, *tests.problems})
    untested = [problem for problem in problems if problem.code == "rule-untested"]
    if allow_untested:
        problems = [problem for problem in problems if problem.code != "rule-untested"]
    return CheckReport(
        problems=tuple(problems),
        results=tests.results,
        rule_count=len(list(testable_rules(reading.policy_set))) if reading.policy_set else 0,
        file_count=sum(map(is_rule_file, files)),
        untested_count=len(untested),
        warnings=_catalog_warnings(reading.policy_set, files, server) if reading.policy_set and server else (),
    )


def _catalog_warnings(policy_set: PolicySet, files: Mapping[str, bytes], server: str) -> tuple[Problem, ...]:
    # Importing gRPC takes longer than a check of rules alone.
    from service.cli.commands.rules.catalog_check import known_values

    named = named_values(policy_set)
    return catalog_warnings(named, files, known_values(server, by_fact(named)))


def _print_text(report: CheckReport, files: dict[str, bytes]) -> None:
    evidence = _evidence(report.results)
    for problem in report.problems:
        for line in problems_text((problem,), files).splitlines():
            # Lines of the rule file stay as they are, so that the mark below one points to its place.
            typer.echo(line if _SOURCE_LINE.match(line) else fitted(line))
        for line in evidence.get(problem, ()):
            typer.echo(fitted(f"    {terminal_safe(line)}"))
        typer.echo()
    for warning in report.warnings:
        typer.echo(f"warning: {problems_text((warning,), files)}")
    typer.echo(report.summary)
    if report.warnings:
        typer.echo(f"{count(len(report.warnings), 'warning')}: the catalog does not have what the rules name")
    if report.untested_count:
        typer.echo(f"{count(report.untested_count, 'rule')} not covered by any test")


def _print_annotations(report: CheckReport, parent: Path) -> None:
    """Prints GitHub workflow commands, with paths relative to the folder in which the workflow runs."""
    evidence = _evidence(report.results)
    for problem in report.problems:
        lines = [f"{problem.message} [{problem.code}]", *([f"help: {problem.help}"] if problem.help else [])]
        text = "\n".join(map(terminal_safe, [*lines, *evidence.get(problem, ())]))
        typer.echo(f"::error{_position(problem, parent)}::{_escaped(text)}")
    for warning in report.warnings:
        text = terminal_safe(f"{warning.message} [{warning.code}]") + f"\nhelp: {terminal_safe(warning.help)}"
        typer.echo(f"::warning{_position(warning, parent)}::{_escaped(text)}")
    typer.echo(report.summary)


def _print_json(report: CheckReport, drafts: DraftReport | None) -> None:
    print_json(
        {
            **(drafts.as_dict() if drafts else {}),
            "summary": report.summary,
            "rule_count": report.rule_count,
            "file_count": report.file_count,
            "untested_count": report.untested_count,
            "warning_count": len(report.warnings),
            "warnings": [_safe_values(warning.as_dict()) for warning in report.warnings],
            "problems": [_safe_values(problem.as_dict()) for problem in report.problems],
            "tests": [_as_dict(result) for result in report.results],
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
    # A file name may contain bytes that are not text, which JSON cannot hold.
    return {key: terminal_safe(value) if isinstance(value, str) else value for key, value in values.items()}


def _evidence(results: Sequence[RuleTestResult]) -> dict[Problem, tuple[str, ...]]:
    """The stock and order values behind each failed test, by its problem."""
    return {result.problem: result.evidence for result in results if result.problem}


def _position(problem: Problem, parent: Path) -> str:
    """The file and range of a GitHub annotation; empty for a problem of the whole folder."""
    if problem.file == FOLDER:
        return ""
    file = _escaped(terminal_safe(os.path.relpath(parent / problem.file))).replace(":", "%3A").replace(",", "%2C")
    if not problem.line:
        return f" file={file}"
    # GitHub takes columns only of a range within one line, and its last character instead of the end.
    last = f",endColumn={max(problem.column, problem.end_column - 1)}" if problem.end_line == problem.line else ""
    return f" file={file},line={problem.line},endLine={problem.end_line},col={problem.column}{last}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
