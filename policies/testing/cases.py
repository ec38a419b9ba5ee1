"""Reading test suites: the cases that they state, each a question about the world and the answer that is expected.

What the answer is, and how it differs, is in `suites`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from policies.domain.model import Channel, Order, World
from policies.source.problems import Source
from policies.source.rule_file import RuleFile, described
from policies.source.yaml_nodes import MappingNode, Node
from policies.testing.expectations import ExpectationReader, Expected
from policies.testing.fixtures import Fixtures
from policies.testing.givens import AvailabilityGiven, CaseGiven, DeliveryGiven, ExceptionGiven, GivenReader
from policies.testing.stated_values import optional

MAX_TESTS = 1_000
SHARED_KEYS = ("description", "locations", "products", "channels")
SUITE_KEYS = ("suite", "description", "rules", "now", "locations", "products", "channels", "tests")
TEST_NEEDS = ("name", "given", "expect")
TEST_KEYS = ("name", "now", "given", "expect")

GivenReading = Callable[[Node, str], CaseGiven | None]
ExpectationReading = Callable[[Node, str], Expected | None]

_NO_CLOCK = datetime(2000, 1, 1, tzinfo=UTC)
# A suite without a readable `now` is only read for its problems, never run.


@dataclass(frozen=True, slots=True)
class RuleTest:
    """One test: a question in a world of its own, and the answer that is expected. `place` is where its name stands."""

    suite: str
    name: str
    place: Node
    world: World
    channel: Channel
    question: AvailabilityGiven | Order | DeliveryGiven | ExceptionGiven
    expected: Expected


def read_shared_fixtures(page: RuleFile, node: Node) -> Fixtures | None:
    """The fixtures that every suite of a folder may name, with every problem of them noted on the page."""
    fields = page.fields(node, "shared fixtures", SHARED_KEYS)
    if fields is None:
        return None
    optional(fields, "description", lambda value, what: page.text(value, what, at_most=2_000))
    return Fixtures.read(page, fields)


def read_cases(
    page: RuleFile, node: Node, known_rules: Collection[str] | None, shared: Fixtures | None = None
) -> list[RuleTest]:
    """The tests of a suite, with every problem of it noted on the page.

    `because` can only name `known_rules`; None where they are not known, because the rules have problems of their own.
    `shared` are fixtures that need not be stated again.
    """
    fields = page.fields(node, "a test suite", SUITE_KEYS, ("suite", "now", "tests"))
    if fields is None:
        return []
    optional(fields, "description", lambda value, what: page.text(value, what, at_most=2_000))
    optional(fields, "rules", lambda value, what: page.choice(value, what, ("all",)))
    fixtures = Fixtures.read(page, fields, shared)
    given = GivenReader(page, optional(fields, "now", partial(_moment, page)) or _NO_CLOCK, fixtures)
    reader = _SuiteReader(
        page, optional(fields, "suite", page.text) or "", given, ExpectationReader(page, fixtures, known_rules), {}
    )
    tests = list(page.items(fields["tests"], "'tests'", at_most=MAX_TESTS)) if "tests" in fields else []
    found = [reader.case(test) for test in tests]
    fixtures.note_unused()
    return [case for case in found if case is not None]


def tests_all_rules(node: Node) -> bool:
    """Whether a suite is to be run against the whole folder: `rules: all`."""
    return isinstance(node, MappingNode) and "rules" in node.entries


@dataclass(frozen=True, slots=True)
class _SuiteReader:
    """What all tests of a suite share while they are read; `taken` are the names of its tests so far."""

    page: RuleFile
    suite: str
    given: GivenReader
    expectations: ExpectationReader
    taken: dict[str, Source]

    def case(self, node: Node) -> RuleTest | None:
        fields = self.page.fields(node, "a test", TEST_KEYS, TEST_NEEDS)
        if fields is None:
            return None
        name = optional(fields, "name", self.page.text)
        if name is not None:
            self.page.unique(fields["name"], "a test named", name, self.taken)
        now = optional(fields, "now", partial(_moment, self.page)) or self.given.now
        asks, expects = self._kind(fields.get("given"), replace(self.given, now=now))
        asked = optional(fields, "given", asks)
        expected = optional(fields, "expect", expects)
        if name is None or asked is None or expected is None:
            return None
        fixtures = self.given.fixtures
        world = World(now, fixtures.locations, fixtures.products, asked.levels)
        return RuleTest(self.suite, name, fields["name"], world, asked.channel, asked.question, expected)

    def _kind(self, node: Node | None, given: GivenReader) -> tuple[GivenReading, ExpectationReading]:
        """How `given` and `expect` are read, by what the test asks about."""
        stated = node.entries if isinstance(node, MappingNode) else {}
        if "exception" in stated:
            return given.exception, self.expectations.of_exception
        if "lines" in stated:
            return given.order, self.expectations.of_order
        if "ships_from" in stated:
            return given.parcel, self.expectations.of_parcel
        return given.sale, self.expectations.of_sale


def _moment(page: RuleFile, node: Node, what: str) -> datetime | None:
    """A time with its zone; the only clock that a test sees."""
    text = page.text(node, what)
    if text is None:
        return None
    help = "write a date, a time and Z for UTC: 2026-11-27T09:00:00Z."
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        page.note(node, "wrong-type", f"{what} is a time, not {described(node)}", help)
        return None
    if moment.tzinfo is None or not 2000 <= moment.year < 3000:
        page.note(node, "wrong-type", f"{what} has no time zone, or is far from today", help)
        return None
    return moment
