"""Drafts a test for each rule that no test covers, from the rule's own condition and with the present result.

A draft shows what the rules do, not what they should do: a person has to look it over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice, product

from policies.facts.fact_table import Value
from policies.facts.periods import time_fact_reader
from policies.linting.findings import condition_text, conjuncts
from policies.policy_set import PolicySet
from policies.reading.rules_reader import TEST_SUFFIX
from policies.source.problems import Source, quoted
from policies.source.rule_file import RuleFile
from policies.source.yaml_nodes import parse
from policies.testing.cases import ALL_RULES, read_cases
from policies.testing.comparison import NO_POLICY, NOBODY, Answer, answer_of
from policies.testing.draft_cases import DEFAULTS, Case, CaseBuilder, CaseKind, Keys
from policies.testing.draft_facts import Requirement, SearchBudget, requirements
from policies.testing.draft_targets import Target, targets
from policies.testing.suite_text import entry, scalar
from policies.testing.suites import TestableRule, rules_in, run_suites

MAX_DRAFTS = 200
"""Tests that are drafted at once: more than a person looks over, and within seconds."""
MAX_ATTEMPTS = 150
"""Cases that are tried for one rule and question."""
MAX_COMBINATIONS = 24
"""Combinations of values that are tried for one way in which a condition can be true."""
MAX_TESTS = 200
"""Tests in one drafted suite."""
MAX_SUFFIX = 200
MAX_COMMENT = 200

MARK = "Drafted by `truestock check --draft-tests`"

_NEXT_TIME = f"at most {MAX_DRAFTS} tests are drafted at once; look those over, then run it again"

_NOW = datetime(2026, 1, 7, 12, tzinfo=UTC)
# A Wednesday at noon: within most hours and on a working day.

_VARIANTS: Mapping[CaseKind, tuple[Mapping[str, float | str | bool], ...]] = {
    CaseKind.SALE: ({},),
    CaseKind.ORDER: (
        {},
        # An order that the policies before cannot fill, and orders of other values, sizes and distances.
        {"stock.available": 0.0},
        *({"order.value": value, "location.distance_km": km} for value in (1.0, 1_000_000.0) for km in (10.0, 4_000.0)),
        {
            "order.value": 10.0,
            "order.unit_count": 100.0,
            "location.distance_km": 4_000.0,
            "location.same_country": True,
        },
        {"order.value": 10.0, "order.unit_count": 100.0, "location.same_country": True},
    ),
    CaseKind.DELIVERY: ({},),
    CaseKind.EXCEPTION: ({},),
    CaseKind.LISTING: ({},),
}
"""What else is tried where facts depend on more than one value, such as the cost of a plan."""


@dataclass(frozen=True, slots=True)
class UndraftedRule:
    """A rule for which no test could be drafted, and why."""

    rule: TestableRule
    reason: str


@dataclass(frozen=True, slots=True)
class Drafts:
    """Drafted suites by path, none of which is a file of the folder, and the rules without a draft."""

    suites: Mapping[str, str]
    drafted: tuple[TestableRule, ...]
    undrafted: tuple[UndraftedRule, ...]


def draft_tests(policy_set: PolicySet, files: Mapping[str, bytes], untested: Collection[Source]) -> Drafts:
    """Drafts a test for each rule at these sources. `files` are all of the folder; the drafts pass with them."""
    drafting = _Drafting(policy_set)
    undrafted: list[UndraftedRule] = []
    drafted: list[TestableRule] = []
    for target in targets(policy_set):
        if target.rule.source in untested:
            reason = drafting.draft(target) if len(drafted) < MAX_DRAFTS else _NEXT_TIME
            if reason:
                undrafted.append(UndraftedRule(target.rule, reason))
            else:
                drafted.append(target.rule)
    suites: dict[str, str] = {}
    for suite in drafting.suites:
        suites[_new_path(suite, {*files, *suites})] = ""
        path = next(reversed(suites))
        suites[path] = suite.text(path)
        failed = run_suites(policy_set, {path: suites[path].encode()})
        if any(problem.code != "rule-untested" for problem in failed.problems):
            del suites[path]
            reason = "its draft does not pass, which is a defect of Truestock; write a test by hand"
            undrafted += [UndraftedRule(draft.rule, reason) for draft in suite.drafts]
            drafted = [rule for rule in drafted if rule not in {draft.rule for draft in suite.drafts}]
    return Drafts(suites, tuple(drafted), tuple(undrafted))


@dataclass(frozen=True, slots=True)
class _Draft:
    """A test of one rule, with its expected answer."""

    rule: TestableRule
    comment: str
    now: datetime
    case: Case
    expect: Keys


@dataclass(slots=True)
class _SuiteDraft:
    """A suite of the rules of one file, alone or (`together`) with all rules."""

    rule_path: str
    together: bool
    drafts: list[_Draft] = field(default_factory=list)
    fixtures: dict[str, Keys] = field(default_factory=lambda: {"locations": {}, "products": {}, "channels": {}})

    @property
    def has_room(self) -> bool:
        """Whether another test fits."""
        return len(self.drafts) < MAX_TESTS

    def can_take(self, kind: str, named: Keys) -> bool:
        """Whether none of these fixtures has the name of another one here."""
        return all(self.fixtures[kind].get(name, fixture) == fixture for name, fixture in named.items())

    def add(self, draft: _Draft) -> None:
        """Adds a test and its fixtures."""
        self.drafts.append(draft)
        for kind, named in draft.case.fixtures.items():
            self.fixtures[kind] |= named

    def text(self, path: str) -> str:
        """The suite as a file at this path."""
        name = self.rule_path.rpartition("/")[2]
        lines = [
            f"# {MARK}. The tests state what the rules do now, not what they should do:",
            "# look each one over, correct it or the rule, and delete the comment above it.",
            f"suite: {scalar(f'Drafts for {name}')}",
        ]
        if self.together or not _is_own_suite(path, self.rule_path):
            lines.append(f"rules: {ALL_RULES if self.together else scalar(name)}")
        lines.append(f"now: {_moment_text(_NOW)}")
        for kind, named in self.fixtures.items():
            if named:
                lines += ["", f"{kind}:", *(line for id, keys in named.items() for line in entry(id, keys, 2))]
        lines += ["", "tests:"]
        for draft in self.drafts:
            lines += _test_lines(draft)
        return "\n".join(lines) + "\n"


@dataclass(slots=True)
class _Drafting:
    """Drafts tests of the rules of one policy set."""

    policy_set: PolicySet
    suites: list[_SuiteDraft] = field(default_factory=list)
    rules_of_files: dict[str, PolicySet] = field(default_factory=dict)

    def draft(self, target: Target) -> str:
        """Adds a test in which the rule fires, alone or else with all rules; or returns why none was found."""
        attempts, may_fire = 0, False
        for kind in target.kinds:
            for together in (False, True):
                for builder in islice(_builders(target, kind), MAX_ATTEMPTS):
                    attempts, may_fire = attempts + 1, True
                    if self._add(target, builder, together=together):
                        return ""
        if not may_fire:
            return f"no values were found for which {quoted(condition_text(target.own))} holds and no rule before it"
        return f"it fired in none of {attempts} cases; a case for it needs more than its own condition says"

    def _add(self, target: Target, builder: CaseBuilder, *, together: bool) -> bool:
        if not self._expected(target, builder, together=together):
            return False
        path = target.rule.source.file
        suites = [suite for suite in self.suites if (suite.rule_path, suite.together) == (path, together)]
        for suite in [*suites, _SuiteDraft(path, together)]:
            if self._add_to(suite, target, builder):
                self.suites += [] if suite in suites else [suite]
                return True
        return False

    def _add_to(self, suite: _SuiteDraft, target: Target, builder: CaseBuilder) -> bool:
        """Adds the case to a suite, with other names if its own are taken there by other fixtures."""
        for kind in suite.fixtures:
            if not self._find_names(suite, builder, kind):
                return False
        expect = self._expected(target, builder, together=suite.together)
        if expect and suite.has_room:
            suite.add(_Draft(target.rule, _comment(target), builder.now, builder.case(), expect))
            return True
        return False

    def _find_names(self, suite: _SuiteDraft, builder: CaseBuilder, kind: str) -> bool:
        """Gives fixtures of one kind names that are free in the suite; False if the rule asks for another name."""
        tried: set[frozenset[str]] = set()
        for number in range(1, MAX_SUFFIX):
            builder.suffixes[kind] = "" if number == 1 else f"-{number}"
            named = builder.case().fixtures[kind]
            if suite.can_take(kind, named):
                return True
            if frozenset(named) in tried:
                return False
            tried.add(frozenset(named))
        return False

    def _expected(self, target: Target, builder: CaseBuilder, *, together: bool) -> Keys:
        """What the rules answer to the case; empty if the rule does not fire in it."""
        path = target.rule.source.file
        rules = self.policy_set if together else self._rules_of(path)
        case = builder.case()
        suite = _SuiteDraft(path, together)
        suite.add(_Draft(target.rule, "", builder.now, case, _ANY_ANSWER[builder.kind]))
        file = RuleFile(path)
        node, file.problems = parse(path, suite.text(path).encode())
        tests = read_cases(file, node, None)
        if file.problems or not tests:
            return {}
        answer = answer_of(rules, tests[0])
        if target.rule.source not in answer.sources or NO_POLICY in answer.figures.values():
            return {}
        return _expect(builder.kind, answer, target.rule)

    def _rules_of(self, path: str) -> PolicySet:
        if path not in self.rules_of_files:
            self.rules_of_files[path] = rules_in(self.policy_set, [path])
        return self.rules_of_files[path]


_ANY_ANSWER: Mapping[CaseKind, Keys] = {
    CaseKind.SALE: {"sellable": 0, "because": []},
    CaseKind.ORDER: {"outcome": "unfillable", "because": []},
    CaseKind.DELIVERY: {"because": []},
    CaseKind.EXCEPTION: {"do": "review", "owner": "nobody", "because": []},
    CaseKind.LISTING: {"ready": False, "because": []},
}
"""Any answer that can be read, to ask a question whose answer is not known yet."""


def _builders(target: Target, kind: CaseKind) -> Iterator[CaseBuilder]:
    """Cases that may make the rule fire, simplest first."""
    defaults = DEFAULTS[kind]
    budget = SearchBudget()
    found = list(islice(requirements(target.condition, Requirement(defaults), budget), MAX_ATTEMPTS))
    moments = [requirement.moment(_NOW) for requirement in found]
    for variant in _VARIANTS[kind]:
        for requirement, now in zip(found, moments, strict=True):
            facts = [fact for fact in requirement.literals if not time_fact_reader(fact)]
            more = {fact: value for fact, value in variant.items() if fact not in facts}
            for values in islice(product(*map(requirement.values, facts)), MAX_COMBINATIONS if now else 0):
                chosen = {**more, **dict(zip(facts, values, strict=True))}
                stated = {fact: value for fact, value in chosen.items() if value != defaults.get(fact)}
                companion = _companion(target, requirement, budget)
                yield CaseBuilder(kind, stated, now or _NOW, companion, target.requirement)


def _companion(target: Target, requirement: Requirement, budget: SearchBudget) -> Mapping[str, Value | None] | None:
    """The facts of a second location, if the target needs one."""
    if target.companion is None:
        return None
    shared = {fact: literals for fact, literals in requirement.literals.items() if not fact.startswith("location.")}
    found = next(requirements(target.companion, Requirement(requirement.defaults, shared), budget), None)
    if found is None:
        return {}
    return {fact: found.values(fact)[0] for fact in found.literals if fact.startswith("location.")}


def _expect(kind: CaseKind, answer: Answer, rule: TestableRule) -> Keys:
    """The answer as a test states it."""
    figures = answer.figures
    keys: Mapping[CaseKind, tuple[str, ...]] = {
        CaseKind.SALE: ("sellable", "held_back"),
        CaseKind.ORDER: ("outcome", "policy", "shipments", "shortages", "dropped"),
        CaseKind.DELIVERY: ("service", "transit_days", "cost", "delivers_on"),
        CaseKind.EXCEPTION: ("do", "owner", "due_in", "escalate_to"),
        CaseKind.LISTING: (),
    }
    expect: Keys = {key: figures[key] for key in keys[kind] if figures[key] not in ({}, 0) or key == "sellable"}
    if kind is CaseKind.LISTING:
        expect["ready"] = figures["ready"] == "true"
    if expect.get("escalate_to") == NOBODY:
        del expect["escalate_to"]
    shipments = expect.get("shipments")
    if isinstance(shipments, Mapping):
        expect["shipments"] = [{"location": location, "lines": lines} for location, lines in shipments.items()]
    reasons = sorted(answer.rules)
    # Other rules that fire too are not what the test is about.
    key = "because_includes" if rule.name in reasons and len(reasons) > 1 else "because"
    expect[key] = [rule.name] if key == "because_includes" else reasons
    return expect


def _test_lines(draft: _Draft) -> Iterator[str]:
    yield f"  # To be confirmed by a person: {draft.comment}."
    yield f"  - name: {scalar(f'Drafted for {draft.rule.title}')}"
    if draft.now != _NOW:
        yield f"    now: {_moment_text(draft.now)}"
    yield from entry("given", draft.case.given, 4)
    yield from entry("expect", draft.expect, 4)


def _comment(target: Target) -> str:
    """Where the rule fires, on one line."""
    # Words of rules may have line breaks, which would end the comment.
    parts = " ".join(", ".join(map(condition_text, conjuncts(target.own))).split())
    text = f"fires where {parts}" if parts else "always applies"
    return f"{target.rule.title} {text if len(text) <= MAX_COMMENT else f'{text[:MAX_COMMENT]}…'}"


def _moment_text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _is_own_suite(path: str, rule_path: str) -> bool:
    """Whether a suite at this path tests the rule file without naming it."""
    return path.rpartition(".")[0] == rule_path.rpartition(".")[0] + TEST_SUFFIX


def _new_path(suite: _SuiteDraft, taken: Collection[str]) -> str:
    """A path beside the rule file that no file has."""
    stem, dot, extension = suite.rule_path.rpartition(".")
    own = f"{stem}{TEST_SUFFIX}"
    stems = {path.rpartition(".")[0].casefold() for path in taken}
    if not suite.together and own.casefold() not in stems:
        return f"{own}{dot}{extension}"
    for number in range(1, len(taken) + 2):
        name = f"{stem}_draft{'' if number == 1 else f'_{number}'}{TEST_SUFFIX}"
        if name.casefold() not in stems:
            return f"{name}{dot}{extension}"
    raise AssertionError("more names than files")
