"""Reads and tests the rules on standard input, and writes a report to standard output.

A separate process: rules that a caller sends cannot block the service, exceed their time or use up its memory. The
messages of both sides are here, and nothing that is slow to import.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import pickle
import resource
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from typing import Any

from policies.reading.rules_reader import read
from policies.source.problems import Problem
from policies.testing.suites import RuleTestResult, run_suites

TOO_MUCH_MEMORY = 3
"""The exit code when memory ran out."""
NICENESS = 10
"""API calls get the CPU first."""
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class SandboxTestResult:
    """The result of one test; `line` is its position in `file`. `failure` says what it expects otherwise, and where."""

    suite: str
    name: str
    passed: bool
    difference: str
    file: str
    line: int
    failure: Problem | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """How much of each part of a report is listed; it counts the rest."""

    problems: int
    results: int


@dataclass(frozen=True, slots=True)
class SandboxReport:
    """The result of testing rules. `revision` is empty if they have problems.

    `counts` are those of all problems, tests, failed tests and untested rules, also of those that are not listed.
    """

    revision: str
    problems: tuple[Problem, ...]
    results: tuple[SandboxTestResult, ...]
    untested: tuple[Problem, ...]
    counts: tuple[int, int, int, int] = (0, 0, 0, 0)

    def shortened(self, listed: Listed) -> SandboxReport:
        """The report with the first entries of each part."""
        return replace(
            self,
            problems=self.problems[: listed.problems],
            results=self.results[: listed.results],
            untested=self.untested[: listed.problems],
        )


def try_rules(files: Mapping[str, bytes]) -> SandboxReport:
    """Reads the rules among these files, by path, and runs the test suites among them."""
    reading = read(files)
    report = run_suites(reading.policy_set, files)
    all_problems = sorted({*reading.problems, *report.problems})
    problems = tuple(problem for problem in all_problems if problem.code not in ("test-failed", "rule-untested"))
    results = tuple(map(_test_result, report.results))
    untested = tuple(problem for problem in all_problems if problem.code == "rule-untested")
    failed_count = sum(not result.passed for result in results)
    return SandboxReport(
        revision=reading.policy_set.revision if reading.policy_set else "",
        problems=problems,
        results=results,
        untested=untested,
        counts=(len(problems), len(results), failed_count, len(untested)),
    )


def encode_task(files: Mapping[str, bytes], listed: Listed | None = None) -> bytes:
    """The rule files, and how much of the report to list, as input of the process."""
    # Its contents are copied, not escaped: 16 MiB as JSON would hold up the service for a tenth of a second.
    return pickle.dumps((dict(files), listed))


def decode_report(output: bytes) -> SandboxReport:
    """The report from the output of the process."""
    revision, problems, results, untested, counts = json.loads(output)
    return SandboxReport(
        revision,
        tuple(Problem(*fields) for fields in problems),
        tuple(map(_decoded_result, results)),
        tuple(Problem(*fields) for fields in untested),
        tuple(counts),
    )


def _decoded_result(fields: list[Any]) -> SandboxTestResult:
    result = SandboxTestResult(*fields)
    return replace(result, failure=Problem(*fields[-1])) if fields[-1] else result


def main(*arguments: str) -> None:
    """Tests the rules on standard input; `arguments` are those of `confined`."""
    with confined(*arguments):
        # The service wrote the task, so it can be trusted; the rules in it are data.
        files, listed = pickle.load(sys.stdin.buffer)
        report = try_rules(files)
        if listed is not None:
            report = report.shortened(listed)
        tables = [[astuple(row) for row in table] for table in (report.problems, report.results, report.untested)]
        json.dump([report.revision, *tables, report.counts], sys.stdout)


@contextmanager
def confined(seconds: str, memory_bytes: str, service: str, *, is_renewed: bool = False) -> Iterator[None]:
    """Runs rules within these limits of CPU time and memory; ends with the service, whose process id this is.

    If `is_renewed`, the seconds begin now, and `renew_seconds` sets new ones.
    """
    end_with(int(service))
    # A signal to all processes of the service stops it; until it has answered its calls, this one works on.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    # The rule engine is C code, which no Python timeout can interrupt, and any caller may send rules. The kernel can
    # always end a process: this bound holds even if the service that waits for it has died. At the first number it
    # sends SIGXCPU, which tells this end from others, at the second SIGKILL.
    if is_renewed:
        renew_seconds(int(seconds))
    else:
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
    resource.setrlimit(resource.RLIMIT_AS, (int(memory_bytes), int(memory_bytes)))
    try:
        yield
    except MemoryError:
        # At once: where no memory is left, Python's own way out may fail too, and end with another code.
        os._exit(TOO_MUCH_MEMORY)


def renew_seconds(seconds: int) -> None:
    """Lets this process use so much more CPU time."""
    used = time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID)
    _, highest = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used) + seconds, highest))


def end_with(service: int) -> None:
    """On Linux the kernel kills this process as soon as the service ends. Elsewhere the CPU time bounds its life."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # If the service ended before prctl ran, the kernel never sends the signal.
        if os.getppid() != service:
            sys.exit("the service has ended")


def _test_result(result: RuleTestResult) -> SandboxTestResult:
    difference = result.problem.message if result.problem else ""
    return SandboxTestResult(
        result.suite,
        result.name,
        result.passed,
        difference,
        result.source.file,
        result.source.line,
        result.problem,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
