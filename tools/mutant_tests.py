"""Runs tests against mutants that mutmut made: all tests are collected once, and each mutant gets a fork of that.

mutmut collects the tests anew for every mutant and lets hypothesis shrink what it finds, which takes most of the time:
thousands of mutants would take a day. `tools.mutate` starts this in the folder of the mutants:
`python -m tools.mutant_tests NAMES PROCESSES SECONDS` runs the mutants whose names the lines of the file NAMES give,
each with tests that take up to SECONDS in all.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import threading
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard, cast

import pytest
from mutmut.mutation import trampoline
from mutmut.mutation.trampoline import set_mutant_under_test

STATISTICS = Path("mutmut-stats.json")
"""Which tests call which function, and how long each test takes; mutmut writes it."""
NO_TESTS = 33
"""The exit code that mutmut gives a mutant that no test calls."""
NO_MUTANT = ""
_SETTINGS = "_hypothesis_internal_use_settings"
"""Where hypothesis keeps the settings of a test."""
FIRST = 30
"""So many tests that noticed other mutants of a module run first."""
WORD_LETTERS = 6
"""So many letters tell words apart: `cancellations` and `cancel` are one."""
FAST_SECONDS = 0.05
"""Tests up to this long run before the others."""
LEAST_CPU_SECONDS, LEAST_SECONDS, TIMES_AS_LONG = 5.0, 60.0, 20.0
"""A test that takes so much longer than without a mutant has noticed it: in time of the processor, and on the clock."""
DATABASE_SECONDS = 0.3
"""What a test with a database of its own takes besides, to make it and to start a service; mutmut measures neither."""
MEMORY_BYTES = 4_000_000_000
"""What a mutant may take on top of what it starts with."""


@dataclass
class KnownTests:
    """The tests of each function, in an order in which a mutant is noticed soon."""

    tests: Mapping[str, Sequence[str]]
    durations: Mapping[str, float]
    seconds: float
    """How long the tests of one mutant may take; those that would take longer in all are left out."""
    setup_seconds: Mapping[str, float] = field(default_factory=dict)
    """What tests take before they start."""
    noticed: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """The tests that noticed mutants of a module, those that noticed one last first."""
    called: Counter[str] = field(init=False)
    """How many of the functions each test calls."""

    def __post_init__(self) -> None:
        self.called = Counter(test for tests in self.tests.values() for test in tests)

    def of(self, mutant: str) -> list[str]:
        """First tests that noticed other mutants of the module, then those of the module itself, fast before slow.

        Files come whole, first those whose tests call few functions besides: they are about this one. Where not all
        tests fit into the time, every file has some that run.
        """
        function, module = mutant.rsplit("__mutmut_", 1)[0], _module(mutant)
        tests = set(self.tests.get(function, ()))
        first = [test for test in self.noticed[module] if test in tests][:FIRST]
        by_file: dict[str, list[str]] = defaultdict(list)
        for test in sorted(tests.difference(first), key=lambda test: (self._time(test), test)):
            by_file[test.split("::")[0]].append(test)
        turns = {test: turn for found in by_file.values() for turn, test in enumerate(found)}
        files = {
            file: (_distance(file, module), min(self.called[test] for test in found), file)
            for file, found in by_file.items()
        }
        rest = sorted(turns, key=lambda test: (files[test.split("::")[0]][0], turns[test], files[test.split("::")[0]]))
        chosen = {*self._within_seconds([*first, *rest])}
        rest.sort(key=lambda test: (self._is_slow(test), files[test.split("::")[0]], test))
        return [test for test in (*first, *rest) if test in chosen]

    def remember(self, mutant: str, test: str) -> None:
        """Lets the test that noticed the mutant run first for others of its module."""
        noticed = self.noticed[_module(mutant)]
        if test in noticed:
            noticed.remove(test)
        noticed.insert(0, test)

    def _within_seconds(self, tests: Sequence[str]) -> Iterator[str]:
        """The first of the tests that take no longer than allowed together."""
        left = self.seconds
        for test in tests:
            if self._time(test) <= left:
                left -= self._time(test)
                yield test

    def _time(self, test: str) -> float:
        return self.durations.get(test, 0.0) + self.setup_seconds.get(test, 0.0)

    def _is_slow(self, test: str) -> bool:
        return self.durations.get(test, 0.0) > FAST_SECONDS


@dataclass
class MutantRuns:
    """A plugin of pytest that runs the tests of each mutant in a fork of the process that collected them."""

    mutants: Sequence[str]
    processes: int
    known: KnownTests
    running: dict[int, tuple[str, int, float]] = field(default_factory=dict)
    """What tests a mutant: its name, where the name of a test that fails can be read, and when it started."""
    done: int = 0

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Replaces the loop over tests."""
        items = {item.nodeid: item for item in session.items}
        for item in session.items:
            _end_at_first_failure(item)
        self.known.setup_seconds = {test: DATABASE_SECONDS for test, item in items.items() if _has_database(item)}
        _start_shared_database(session)
        # Forks have no other thread, and what one holds locked would stay locked in them.
        assert threading.active_count() == 1, threading.enumerate()
        gc.collect()
        gc.freeze()
        for mutant in self.mutants:
            tests = [items[test] for test in self.known.of(mutant) if test in items]
            if not tests:
                _save(mutant, NO_TESTS)
                continue
            while len(self.running) >= self.processes:
                self._wait()
            self._start(session, mutant, tests)
        while self.running:
            self._wait()
        noticed = {test for tests in self.known.noticed.values() for test in tests}
        self._start(session, NO_MUTANT, [item for test, item in items.items() if test in noticed])
        self._wait()
        return True

    def _start(self, session: pytest.Session, mutant: str, items: Sequence[pytest.Item]) -> None:
        reader, writer = os.pipe()
        process = os.fork()
        if not process:
            os.close(reader)
            _run_tests(session, mutant, items, self.known.durations, writer)
        os.close(writer)
        self.running[process] = mutant, reader, time.monotonic()

    def _wait(self) -> None:
        process, status = os.wait()
        if process not in self.running:
            return
        mutant, reader, started = self.running.pop(process)
        with os.fdopen(reader) as pipe:
            test = pipe.read()
        _end_children(process)
        code = os.waitstatus_to_exitcode(status)
        if mutant == NO_MUTANT:
            if code:
                pytest.exit(f"without a mutant, {test} fails ({code})", returncode=1)
            return
        if code == 1:
            self.known.remember(mutant, test)
        _save(mutant, code)
        self.done += 1
        seconds = time.monotonic() - started
        print(f"{self.done} of {len(self.mutants)}: {code} {mutant} {test} {seconds:.0f} s", flush=True)


def main() -> int:
    """Runs the tests of the mutants that a file names, and keeps each one's exit code where mutmut keeps it."""
    names, processes, seconds, *selection = sys.argv[1:]
    statistics = json.loads(STATISTICS.read_text(encoding="utf-8"))
    known = KnownTests(statistics["tests_by_mangled_function_name"], statistics["duration_by_test"], float(seconds))
    runs = MutantRuns(Path(names).read_text(encoding="utf-8").split(), int(processes), known)
    sys.path.insert(0, str(Path.cwd()))
    set_mutant_under_test(NO_MUTANT)
    options = ["-q", "--rootdir=.", "--tb=native", "--capture=sys", "-p", "no:cacheprovider", "-m", "not long"]
    return int(pytest.main([*options, *selection], plugins=[runs]))


def _end_at_first_failure(item: pytest.Item) -> None:
    """Keeps hypothesis from looking for the simplest example that fails, which is of no use here."""
    # pytest has to load its plugins first.
    from hypothesis import Phase, settings  # noqa: PLC0415

    test = getattr(item, "function", None)
    usual = getattr(test, _SETTINGS, None)
    if usual is not None:
        setattr(test, _SETTINGS, settings(usual, phases=[Phase.explicit, Phase.generate]))


def _has_database(item: pytest.Item) -> TypeGuard[pytest.Function]:
    return isinstance(item, pytest.Function) and "postgres_url" in item.fixturenames


def _start_shared_database(session: pytest.Session) -> None:
    """Starts the PostgreSQL of the tests, if any needs one, so that mutants do not start one each."""
    for item in session.items:
        if _has_database(item):
            session._setupstate.setup(cast(pytest.Item, session))
            # pytest takes a test that has not begun for one that has ended.
            with warnings.catch_warnings(action="ignore", category=pytest.PytestDeprecationWarning):
                item._request.getfixturevalue("postgres_url")
            return


def _run_tests(
    session: pytest.Session, mutant: str, items: Sequence[pytest.Item], durations: Mapping[str, float], writer: int
) -> None:
    """Runs the tests up to the first that fails, tells its name, and ends the process."""
    os.setpgid(0, 0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    set_mutant_under_test(mutant)
    # Every call of a mutated function asks for it, and to look into the environment takes longer than most of them.
    trampoline.get_mutant_under_test = lambda: mutant
    gc.disable()
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (size + MEMORY_BYTES, size + MEMORY_BYTES))
    # After the last test all is torn down but what belongs to the session, which other mutants share.
    for item, following in zip(items, [*items[1:], session], strict=True):
        _limit_time(durations.get(item.nodeid, 0.0))
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            os.write(writer, item.nodeid.encode())
            session._setupstate.teardown_exact(cast(pytest.Item, session))
            os._exit(1)
    os._exit(0)


def _limit_time(usual_seconds: float) -> None:
    allowed = usual_seconds * TIMES_AS_LONG
    signal.setitimer(signal.ITIMER_PROF, max(allowed, LEAST_CPU_SECONDS))
    signal.setitimer(signal.ITIMER_REAL, max(allowed, LEAST_SECONDS))


def _end_children(group: int) -> None:
    """Ends what the tests of a mutant started and left."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def _distance(file: str, module: str) -> tuple[int, int]:
    """How little the names of a file of tests and of a module, and then of their folders, have in common."""
    *folders, name = file.removesuffix(".py").removeprefix("tests/").split("/")
    *packages, own_name = module.split(".")
    subjects = _words(own_name, *packages[2:])
    return -len(_words(name) & subjects), -len(_words(*folders) & _words(*packages))


def _words(*names: str) -> set[str]:
    """The beginnings of the words of names, which are the same for a word's forms."""
    return {word[:WORD_LETTERS] for name in names for word in name.split("_")}


def _module(mutant: str) -> str:
    return mutant.rsplit(".", 1)[0]


def _save(mutant: str, code: int) -> None:
    """Keeps the exit code in the file beside the mutant's module."""
    path = next(_meta_paths(_module(mutant)))
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    content["exit_code_by_key"][mutant] = code
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(content, indent=4), encoding="utf-8")
    unfinished.replace(path)


def _meta_paths(module: str) -> Iterator[Path]:
    path = module.replace(".", "/")
    return (each for each in (Path(f"{path}.py.meta"), Path(f"{path}/__init__.py.meta")) if each.exists())


if __name__ == "__main__":
    sys.exit(main())
