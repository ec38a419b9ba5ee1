"""Runs test suites of rules, and finds rules that fire in no test.

A suite `x_test.yaml` tests only the rules of `x.yaml` beside it, so that no other file can break it. With `rules:` it
tests another file beside it, or `all` rules of the folder.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from policies.engine.conditions import Always
from policies.engine.matcher import Matcher
from policies.policy_set import ExceptionRule, PolicySet, RoutingPolicy
from policies.reading.listing_requirements import listing_matchers
from policies.reading.routing_rules import MAX_POSITION
from policies.reading.rules_reader import (
    FOLDER,
    MAX_FILES,
    MAX_FOLDER_BYTES,
    TEST_SUFFIX,
    has_suite_name,
    is_yaml_file,
)
from policies.reading.stock_rules import restriction_matcher
from policies.source.problems import Problem, Source, quoted
from policies.source.rule_file import RuleFile, suggestion
from policies.source.yaml_nodes import Node, ScalarNode, UnreadableFile, parse
from policies.testing.cases import RuleTest, read_cases, read_shared_fixtures, stated_rules
from policies.testing.comparison import NO_POLICY, Difference, answer_of, differences
from policies.testing.fixtures import Fixtures

CODES: Mapping[str, str] = {
    "no-rule-file": "A suite has no rule file of the same name beside it, and names none under 'rules'.",
    "rule-untested": "The rule fires in no test, so nothing shows that it works as intended. An 'only' counts as "
    "tested when it excludes a location in a test, a 'split_only_if' when it allows or forbids a split.",
    "test-failed": "The answer differs from the expected one, or other rules than expected led to it.",
    "unknown-fixture": "A test uses a location, product or channel that its suite does not define.",
    "unknown-rule": "A test expects a rule or policy that is not in the rules that its suite tests.",
    "unused-fixture": "A suite defines a location, product or channel that none of its tests uses.",
}
"""Codes of problems that only suites have, in addition to those of rule files in `problems`."""

SHARED_FIXTURES = "fixtures_test"
"""Name of the file whose fixtures every suite may use."""

_FALLBACK_POLICY = RoutingPolicy(NO_POLICY, MAX_POSITION + 1, Source(FOLDER, 0, 0), Always(), ())
# Applies to orders that no policy of the file applies to. It ranks nothing, so that only the file's own rules matter.

_FALLBACK_EXCEPTION_RULE = ExceptionRule(
    NO_POLICY, MAX_POSITION + 1, Source(FOLDER, 0, 0), Always(), "review", NO_POLICY, timedelta(days=1)
)
# Applies to exceptions that no rule of the file applies to.


@dataclass(frozen=True, slots=True)
class RuleTestResult:
    """The result of one test. `problem` is None if it passed; `evidence` has the figures behind the answer as lines."""

    suite: str
    name: str
    source: Source
    evidence: tuple[str, ...]
    problem: Problem | None = None

    @property
    def passed(self) -> bool:
        """Whether the answer and the rules behind it were as expected."""
        return self.problem is None


@dataclass(frozen=True, slots=True)
class Report:
    """The results of all suites, in the order of files and tests. `problems` includes failed tests."""

    results: tuple[RuleTestResult, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class TestableRule:
    """A rule that a test can make fire; `title` is its name in messages."""

    name: str
    title: str
    source: Source


def run_suites(policy_set: PolicySet | None, files: Mapping[str, bytes]) -> Report:
    """Runs all suites among the files of a rules folder, by path. Never raises because of their content.

    Without a policy set, because the rules have problems, suites are checked for problems and not run. While a suite
    has problems, untested rules are not reported, because its tests may cover them.
    """
    suites = {path: files[path] for path in sorted(files) if is_suite(path)}
    too_large = _too_large(suites)
    if too_large:
        return Report((), (too_large,))
    runner = _SuiteRunner(policy_set)
    shared = _shared_path(suites)
    if shared is not None:
        runner.add_shared_fixtures(shared, suites.pop(shared))
    for path, content in suites.items():
        runner.add_suite(path, content)
    runner.note_unused_shared()
    untested = list(_untested(policy_set, runner.fired)) if policy_set is not None and runner.all_readable else []
    return Report(tuple(runner.results), tuple(sorted([*runner.problems, *runner.failures, *untested])))


def _shared_path(suites: Iterable[str]) -> str | None:
    """The file of shared fixtures: the one with that name at the highest level of the folder."""
    named = [path for path in suites if path.rpartition("/")[2].rpartition(".")[0].lower() == SHARED_FIXTURES]
    return min(named, key=lambda path: (path.count("/"), path), default=None)


def is_suite(path: str) -> bool:
    """Whether a path names a test suite."""
    return is_yaml_file(path) and has_suite_name(path)


def testable_rules(policy_set: PolicySet) -> Iterator[TestableRule]:
    """Everything that can fire in a test: rules of each kind, routing policies and their named conditions."""
    for exposure in policy_set.exposure:
        yield TestableRule(exposure.name, f"the exposure rule '{exposure.name}'", exposure.source)
    for file in policy_set.buffers:
        for rule in file.rules:
            yield TestableRule(rule.name, f"the buffer rule '{rule.name}'", rule.source)
    for policy in policy_set.routing:
        yield from _rules_of(policy)
    for delivery in policy_set.delivery:
        yield TestableRule(delivery.name, f"the delivery rule '{delivery.name}'", delivery.source)
    for requirement in policy_set.listing_requirements:
        title = f"the listing requirement '{requirement.name}'"
        yield TestableRule(requirement.name, title, requirement.source)
    for exception in policy_set.exceptions:
        yield TestableRule(exception.name, f"the exception rule '{exception.name}'", exception.source)


def _rules_of(policy: RoutingPolicy) -> Iterator[TestableRule]:
    of = f"of the routing policy '{policy.name}'"
    yield TestableRule(policy.name, f"the routing policy '{policy.name}'", policy.source)
    if policy.only is not None:
        yield TestableRule(policy.only.name, f"'only' {of}", policy.only.source)
    if policy.split_only_if is not None:
        yield TestableRule(policy.split_only_if.name, f"'split_only_if' {of}", policy.split_only_if.source)
    for kind, named in (("exclude", policy.exclude), ("review", policy.review)):
        for rule in named:
            yield TestableRule(rule.name, f"the {kind} rule '{rule.name}' {of}", rule.source)


@dataclass(slots=True)
class _SuiteRunner:
    """Reads and runs suites. `problems` are those of the suites themselves, `failures` are failed tests."""

    policy_set: PolicySet | None
    results: list[RuleTestResult] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    failures: list[Problem] = field(default_factory=list)
    fired: set[Source] = field(default_factory=set)
    all_readable: bool = True
    shared: Fixtures | None = None

    def add_shared_fixtures(self, path: str, content: bytes) -> None:
        """Reads the fixtures that every suite may use."""
        file = RuleFile(path)
        try:
            node, file.problems = parse(path, content)
        except UnreadableFile as unreadable:
            file.problems += unreadable.problems
        else:
            self.shared = read_shared_fixtures(file, node)
        self.problems += file.problems
        self.all_readable = not file.problems

    def note_unused_shared(self) -> None:
        """Notes a problem for every shared fixture that no suite uses, provided that all suites could be read."""
        if self.shared is not None and self.all_readable:
            self.shared.note_unused("test of any suite")
            self.problems += self.shared.file.problems

    def add_suite(self, path: str, content: bytes) -> None:
        """Reads one suite and, if it has no problems, runs it."""
        file = RuleFile(path)
        try:
            node, file.problems = parse(path, content)
        except UnreadableFile as unreadable:
            self.problems += unreadable.problems
            self.all_readable = False
            return
        suite_rules = _rules_for_suite(self.policy_set, file, node)
        names = {rule.name for rule in testable_rules(suite_rules)} if suite_rules is not None else None
        tests = read_cases(file, node, names, self.shared)
        self.problems += file.problems
        if any(problem.code != "unused-fixture" for problem in file.problems):
            self.all_readable = False
        elif suite_rules is not None:
            for test in tests:
                self._run(suite_rules, test, path)

    def _run(self, suite_rules: PolicySet, test: RuleTest, path: str) -> None:
        answer = answer_of(suite_rules, test)
        mismatches = differences(test.expected, answer)
        self.fired |= answer.sources
        source = Source(path, test.name_node.line, test.name_node.column)
        failure = _failure(path, test, mismatches) if mismatches else None
        self.failures += [failure] if failure else []
        self.results.append(RuleTestResult(test.suite, test.name, source, answer.evidence, failure))


def _failure(path: str, test: RuleTest, mismatches: Sequence[Difference]) -> Problem:
    """The problem of a failed test, at the first part of the answer that differs."""
    node = test.expected.nodes[mismatches[0].key]
    message = f"{'; '.join(difference.text for difference in mismatches)}: {test.name}"
    return Problem.at(path, node, "test-failed", message)


def _rules_for_suite(policy_set: PolicySet | None, suite_file: RuleFile, node: Node) -> PolicySet | None:
    """The rules that a suite tests: those of the rule file beside it, or all."""
    if policy_set is None:
        return None
    stated = stated_rules(node)
    if stated is not None and is_yaml_file(stated.text):
        return _rules_of_file(policy_set, suite_file, stated)
    if stated is not None:
        # All rules; any other word is noted as a problem when the suite is read.
        return policy_set
    stem = suite_file.file.rpartition(".")[0][: -len(TEST_SUFFIX)]
    beside = [path for path in policy_set.files if path.startswith(f"{stem}.") and path.rpartition(".")[0] == stem]
    if not beside:
        help = (
            f"add the rule file {stem}.yaml, add 'rules:' with the file's name, or 'rules: all' to test all together."
        )
        suite_file.note(node, "no-rule-file", "this suite has no rule file of the same name beside it", help)
        return None
    return rules_in(policy_set, beside)


def _rules_of_file(policy_set: PolicySet, suite_file: RuleFile, stated: ScalarNode) -> PolicySet | None:
    """The rules of the file beside the suite that it names under `rules`."""
    folder, slash, _ = suite_file.file.rpartition("/")
    path = f"{folder}{slash}{stated.text}"
    if path in policy_set.files:
        return rules_in(policy_set, [path])
    beside = [other.rpartition("/")[2] for other in policy_set.files if other.rpartition("/")[0] == folder]
    help = f"{suggestion(stated.text, beside)}Rule files there: {', '.join(beside[:20]) or 'none'}."
    suite_file.note(stated, "no-rule-file", f"there is no rule file {quoted(stated.text)} beside this suite", help)
    return None


def rules_in(policy_set: PolicySet, paths: Iterable[str]) -> PolicySet:
    """The policy set without the rules of other files."""
    paths = tuple(paths)
    exposure = [rule for rule in policy_set.exposure if rule.source.file in paths]
    routing = [policy for policy in policy_set.routing if policy.source.file in paths] + [_FALLBACK_POLICY]
    exceptions = [rule for rule in policy_set.exceptions if rule.source.file in paths]
    # Without exception rules in any file the built-in rule decides, as it does in the service.
    exceptions += [_FALLBACK_EXCEPTION_RULE] if policy_set.exceptions else []
    delivery = [rule for rule in policy_set.delivery if rule.source.file in paths]
    requirements = [rule for rule in policy_set.listing_requirements if rule.source.file in paths]
    return replace(
        policy_set,
        files=paths,
        exposure=tuple(exposure),
        buffers=tuple(file for file in policy_set.buffers if file.source.file in paths),
        routing=tuple(routing),
        exposure_matcher=Matcher.of([(rule, rule.when) for rule in exposure]),
        restriction_matcher=restriction_matcher(exposure),
        routing_matcher=Matcher.of([(policy, policy.applies_to) for policy in routing]),
        exceptions=tuple(exceptions),
        exception_matcher=Matcher.of([(rule, rule.when) for rule in exceptions]),
        delivery=tuple(delivery),
        delivery_matcher=Matcher.of([(rule, rule.when) for rule in delivery]),
        listing_requirements=tuple(requirements),
        listing_matchers=listing_matchers(requirements),
    )


def _untested(policy_set: PolicySet, fired: Collection[Source]) -> Iterator[Problem]:
    for rule in testable_rules(policy_set):
        if rule.source not in fired:
            stem, dot, extension = rule.source.file.rpartition(".")
            message = f"no test makes {rule.title} fire"
            help = f"add a test to {stem}{TEST_SUFFIX}{dot}{extension} in which it fires."
            yield Problem.at(rule.source.file, rule.source, "rule-untested", message, help)


def _too_large(suites: Mapping[str, bytes]) -> Problem | None:
    size = sum(len(content) for content in suites.values())
    if len(suites) <= MAX_FILES and size <= MAX_FOLDER_BYTES:
        return None
    message = f"the folder has {len(suites):,} test suites of {size:,} bytes together"
    help = f"at most {MAX_FILES:,} suites of {MAX_FOLDER_BYTES:,} bytes together are read."
    return Problem(FOLDER, 0, 0, "too-large", message, help)
