"""Reads and tests the rules that come in on standard input, and says on standard output what came of it.

A process of its own: whatever somebody sends cannot stall the service, outlive its time or take all memory. What both
ends say is here, and nothing that takes long to import.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import astuple, dataclass

from policies.reading.rules_reader import read
from policies.source.problems import Problem
from policies.testing.suites import RuleTestResult, run_suites

TOO_MUCH_MEMORY = 3
"""The exit code where memory did not suffice."""
NICENESS = 10
"""Calls come first."""


@dataclass(frozen=True, slots=True)
class SandboxTestResult:
    """What came of one test; `line` is where it stands in its suite."""

    suite: str
    name: str
    passed: bool
    difference: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class SandboxReport:
    """What came of rules that were sent. `revision` is empty where they have problems."""

    revision: str
    problems: tuple[Problem, ...]
    results: tuple[SandboxTestResult, ...]
    untested: tuple[Problem, ...]


def try_rules(files: Mapping[str, bytes]) -> SandboxReport:
    """Reads the rules among these files by path, and runs the suites among them."""
    reading = read(files)
    report = run_suites(reading.policy_set, files)
    problems = sorted({*reading.problems, *report.problems})
    return SandboxReport(
        revision=reading.policy_set.revision if reading.policy_set else "",
        problems=tuple(one for one in problems if one.code not in ("test-failed", "rule-untested")),
        results=tuple(map(_test_result, report.results)),
        untested=tuple(one for one in problems if one.code == "rule-untested"),
    )


def encode_files(files: Mapping[str, bytes]) -> bytes:
    """What the process is asked."""
    # Every byte is a letter of Latin-1, so what is no text goes through as well.
    return json.dumps({path: content.decode("latin-1") for path, content in files.items()}).encode()


def decode_report(said: bytes) -> SandboxReport:
    """What the process answered."""
    revision, problems, results, untested = json.loads(said)
    return SandboxReport(
        revision,
        tuple(Problem(*one) for one in problems),
        tuple(SandboxTestResult(*one) for one in results),
        tuple(Problem(*one) for one in untested),
    )


def main(seconds: int, memory_bytes: int) -> None:
    """Answers one question within these bounds."""
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    try:
        asked = json.load(sys.stdin)
        trial = try_rules({path: content.encode("latin-1") for path, content in asked.items()})
        rows = [[astuple(one) for one in some] for some in (trial.problems, trial.results, trial.untested)]
        json.dump([trial.revision, *rows], sys.stdout)
    except MemoryError:
        sys.exit(TOO_MUCH_MEMORY)


def _test_result(result: RuleTestResult) -> SandboxTestResult:
    difference = result.problem.message if result.problem else ""
    return SandboxTestResult(
        result.suite, result.name, result.passed, difference, result.source.file, result.source.line
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
