"""Running the tests that stand beside rules, and finding the rules that no test makes fire.

A suite `x_test.yaml` knows only the rules of `x.yaml` beside it, so that no other file can break it; with `rules: all`
it knows the whole folder.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from policies.engine.conditions import Always
from policies.engine.matcher import Matcher
from policies.policy_set import ExceptionRule, PolicySet, RoutingPolicy
from policies.reading.routing_rules import MAX_POSITION
from policies.reading.rules_reader import EXTENSIONS, FOLDER, MAX_FILES, MAX_FOLDER_BYTES
from policies.source.problems import Problem, Source
from policies.source.rule_file import RuleFile
from policies.source.yaml_nodes import Node, UnreadableFile, parse
from policies.testing.cases import RuleTest, read_cases, read_shared_fixtures, tests_all_rules
from policies.testing.comparison import NO_POLICY, Difference, answer_of, differences
from policies.testing.fixtures import Fixtures

CODES: Mapping[str, str] = {
    "no-rule-file": "A suite has no rule file of its name beside it, and does not say 'rules: all'.",
    "rule-untested": "No test makes this rule fire, so nobody knows whether it does what it says. For an 'only' this "
    "means that no test has a location that it keeps out.",
    "test-failed": "The rules give another answer than the test expects, or the right one for other reasons.",
    "unknown-fixture": "A test names a location, product or channel that its suite does not state.",
    "unknown-rule": "A test expects a rule or a policy that the suite does not know.",
    "unused-fixture": "A suite states a location, product or channel that none of its tests names.",
}
"""The codes of problems that only suites have, beside those of rule files in `problems`."""

_SUFFIX = "_test"
SHARED_FIXTURES = "fixtures_test"
"""The name of the file whose fixtures every suite may name."""

_FALLBACK_POLICY = RoutingPolicy(NO_POLICY, MAX_POSITION + 1, Source(FOLDER, 0, 0), Always(), ())
# Takes what no policy of one file does; nothing is ranked, so that nothing but the file's own rules bears on it.

_FALLBACK_EXCEPTION_RULE = ExceptionRule(
    NO_POLICY, MAX_POSITION + 1, Source(FOLDER, 0, 0), Always(), "review", NO_POLICY, timedelta(days=1)
)
# Takes the exceptions for which no rule of one file is.


@dataclass(frozen=True, slots=True)
class RuleTestResult:
    """What came of one test. `problem` is None where it passed; `evidence` has the figures behind it, line by line."""

    suite: str
    name: str
    source: Source
    evidence: tuple[str, ...]
    problem: Problem | None = None

    @property
    def passed(self) -> bool:
        """Whether the answer and its reasons were as expected."""
        return self.problem is None


@dataclass(frozen=True, slots=True)
class Report:
    """What came of all suites, in the order of files and tests. `problems` has a failed test as a problem, too."""

    results: tuple[RuleTestResult, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class TestableRule:
    """A rule as tests count it; `title` is how messages call it."""

    name: str
    title: str
    source: Source


def run_suites(policy_set: PolicySet | None, files: Mapping[str, bytes]) -> Report:
    """Runs every suite among the files, which are those of a rules folder by path. Never raises for what is in them.

    Without a policy set, because the rules have problems, suites are read for their own problems and not run. While a
    suite has problems, untested rules are not told: its tests may be the ones that are missing.
    """
    suites = {path: files[path] for path in sorted(files) if is_suite(path)}
    too_large = _too_large(suites)
    if too_large:
        return Report((), (too_large,))
    runs = _SuiteRunner(policy_set)
    shared = _shared_path(suites)
    if shared is not None:
        runs.share(shared, suites.pop(shared))
    for path, content in suites.items():
        runs.take(path, content)
    runs.note_unused_shared()
    untested = list(_untested(policy_set, runs.fired)) if policy_set is not None and runs.all_readable else []
    return Report(tuple(runs.results), tuple(sorted([*runs.problems, *runs.failures, *untested])))


def _shared_path(suites: Iterable[str]) -> str | None:
    """The file of shared fixtures: the one of its name that stands highest in the folder."""
    named = [path for path in suites if path.rpartition("/")[2].rpartition(".")[0] == SHARED_FIXTURES]
    return min(named, key=lambda path: (path.count("/"), path), default=None)


def is_suite(path: str) -> bool:
    """Whether a path names a test suite."""
    stem, dot, extension = path.rpartition(".")
    return dot + extension in EXTENSIONS and stem.endswith(_SUFFIX)


def testable_rules(policy_set: PolicySet) -> Iterator[TestableRule]:
    """Everything that a test can make fire: rules of each kind, routing policies and their named conditions."""
    for exposure in policy_set.exposure:
        yield TestableRule(exposure.name, f"the exposure rule '{exposure.name}'", exposure.source)
    for file in policy_set.buffers:
        for rule in file.rules:
            yield TestableRule(rule.name, f"the buffer rule '{rule.name}'", rule.source)
    for policy in policy_set.routing:
        yield from _rules_of(policy)
    for delivery in policy_set.delivery:
        yield TestableRule(delivery.name, f"the delivery rule '{delivery.name}'", delivery.source)
    for settling in policy_set.exceptions:
        yield TestableRule(settling.name, f"the exception rule '{settling.name}'", settling.source)


def _rules_of(policy: RoutingPolicy) -> Iterator[TestableRule]:
    of = f"of the routing policy '{policy.name}'"
    yield TestableRule(policy.name, f"the routing policy '{policy.name}'", policy.source)
    if policy.only is not None:
        yield TestableRule(policy.only.name, f"'only' {of}", policy.only.source)
    for kind, named in (("exclude", policy.exclude), ("review", policy.review)):
        for rule in named:
            yield TestableRule(rule.name, f"the {kind} rule '{rule.name}' {of}", rule.source)


@dataclass(slots=True)
class _SuiteRunner:
    """The suites read and run so far. `problems` are of suites themselves, `failures` of what the rules answered."""

    policy_set: PolicySet | None
    results: list[RuleTestResult] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    failures: list[Problem] = field(default_factory=list)
    fired: set[Source] = field(default_factory=set)
    all_readable: bool = True
    shared: Fixtures | None = None

    def share(self, path: str, content: bytes) -> None:
        """Reads the fixtures that every suite may name."""
        page = RuleFile(path)
        try:
            node, page.problems = parse(path, content)
        except UnreadableFile as unreadable:
            page.problems += unreadable.problems
        else:
            self.shared = read_shared_fixtures(page, node)
        self.problems += page.problems
        self.all_readable = not page.problems

    def note_unused_shared(self) -> None:
        """A problem for every shared fixture that no suite names; where suites cannot be read, one may."""
        if self.shared is not None and self.all_readable:
            self.shared.note_unused("test of any suite")
            self.problems += self.shared.page.problems

    def take(self, path: str, content: bytes) -> None:
        """Reads one suite and, where it has no problems, runs it."""
        page = RuleFile(path)
        try:
            node, page.problems = parse(path, content)
        except UnreadableFile as unreadable:
            self.problems += unreadable.problems
            self.all_readable = False
            return
        known = _rules_for_suite(self.policy_set, page, node)
        found = read_cases(
            page, node, {rule.name for rule in testable_rules(known)} if known is not None else None, self.shared
        )
        self.problems += page.problems
        if any(problem.code != "unused-fixture" for problem in page.problems):
            self.all_readable = False
        elif known is not None:
            for case in found:
                self._run(known, case, path)

    def _run(self, known: PolicySet, case: RuleTest, path: str) -> None:
        found = answer_of(known, case)
        differing = differences(case.expected, found)
        self.fired |= found.sources
        source = Source(path, case.place.line, case.place.column)
        failure = _failure(path, case, differing) if differing else None
        self.failures += [failure] if failure else []
        self.results.append(RuleTestResult(case.suite, case.name, source, found.evidence, failure))


def _failure(path: str, case: RuleTest, differing: Sequence[Difference]) -> Problem:
    """The problem of a failed test, at the first part of the answer that is not as expected."""
    place = case.expected.places[differing[0].key]
    message = f"{'; '.join(one.text for one in differing)}: {case.name}"
    return Problem(path, place.line, place.column, "test-failed", message, length=place.length)


def _rules_for_suite(policy_set: PolicySet | None, page: RuleFile, node: Node) -> PolicySet | None:
    """The rules that a suite knows: those of the file beside it, or all of them."""
    if policy_set is None:
        return None
    if tests_all_rules(node):
        return policy_set
    stem = page.file.rpartition(".")[0].removesuffix(_SUFFIX)
    beside = [stem + extension for extension in EXTENSIONS if stem + extension in policy_set.files]
    if not beside:
        help = f"name it like the rule file that it tests ({stem}.yaml), or add 'rules: all' to test all together."
        page.note(node, "no-rule-file", "there is no rule file beside this suite", help)
        return None
    return _rules_in(policy_set, beside)


def _rules_in(policy_set: PolicySet, paths: Iterable[str]) -> PolicySet:
    """The policy set without the rules of other files."""
    paths = tuple(paths)
    exposure = [rule for rule in policy_set.exposure if rule.source.file in paths]
    routing = [policy for policy in policy_set.routing if policy.source.file in paths] + [_FALLBACK_POLICY]
    exceptions = [rule for rule in policy_set.exceptions if rule.source.file in paths]
    # Where no file has any, what is built in settles exceptions, as it will in service.
    exceptions += [_FALLBACK_EXCEPTION_RULE] if policy_set.exceptions else []
    delivery = [rule for rule in policy_set.delivery if rule.source.file in paths]
    return replace(
        policy_set,
        files=paths,
        exposure=tuple(exposure),
        buffers=tuple(file for file in policy_set.buffers if file.source.file in paths),
        routing=tuple(routing),
        exposure_matcher=Matcher.of([(rule, rule.when) for rule in exposure]),
        routing_matcher=Matcher.of([(policy, policy.applies_to) for policy in routing]),
        exceptions=tuple(exceptions),
        exception_matcher=Matcher.of([(rule, rule.when) for rule in exceptions]),
        delivery=tuple(delivery),
        delivery_matcher=Matcher.of([(rule, rule.when) for rule in delivery]),
    )


def _untested(policy_set: PolicySet, fired: Collection[Source]) -> Iterator[Problem]:
    for rule in testable_rules(policy_set):
        if rule.source not in fired:
            stem, dot, extension = rule.source.file.rpartition(".")
            message = f"no test makes {rule.title} fire"
            help = f"add a test to {stem}{_SUFFIX}{dot}{extension} in which it matters."
            yield Problem(*_place(rule.source), "rule-untested", message, help)


def _place(source: Source) -> tuple[str, int, int]:
    return source.file, source.line, source.column


def _too_large(suites: Mapping[str, bytes]) -> Problem | None:
    size = sum(len(content) for content in suites.values())
    if len(suites) <= MAX_FILES and size <= MAX_FOLDER_BYTES:
        return None
    message = f"the folder has {len(suites):,} test suites of {size:,} bytes together"
    help = f"at most {MAX_FILES:,} suites of {MAX_FOLDER_BYTES:,} bytes together are read."
    return Problem(FOLDER, 0, 0, "too-large", message, help)
