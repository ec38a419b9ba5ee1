"""Reads test suites: each test has a question, the catalog and stock that it is asked of, and an expected answer.

Comparing the actual answer with it is in `comparison`; running suites is in `suites`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from policies.domain.model import Channel, World
from policies.domain.product_details import ProductDetails
from policies.reading.rules_reader import is_yaml_file
from policies.source.problems import Source, quoted
from policies.source.rule_file import RuleFile
from policies.source.yaml_nodes import MappingNode, Node, ScalarNode
from policies.testing.expectations import ExpectationReader, Expected
from policies.testing.fixtures import Fixtures
from policies.testing.givens import CaseGiven, GivenReader, Question
from policies.testing.stated_values import moment, optional

MAX_TESTS = 1_000
ALL_RULES = "all"
"""What a suite writes under `rules` to test the whole folder."""

SHARED_KEYS = ("description", "locations", "products", "channels")
SUITE_KEYS = ("suite", "description", "rules", "now", "locations", "products", "channels", "tests")
REQUIRED_TEST_KEYS = ("name", "given", "expect")
TEST_KEYS = ("name", "now", "given", "expect")

GivenReading = Callable[[Node, str], CaseGiven | None]
ExpectationReading = Callable[[Node, str], Expected | None]

_NO_CLOCK = datetime(2000, 1, 1, tzinfo=UTC)
# A suite without a readable `now` is only read for its problems, never run.


@dataclass(frozen=True, slots=True)
class RuleTest:
    """One test: a question, its catalog and stock, and the expected answer. `name_node` is its name in the file."""

    suite: str
    name: str
    name_node: Node
    world: World
    channel: Channel
    question: Question
    expected: Expected
    details: Mapping[str, ProductDetails] = field(default_factory=dict)
    """What the products state for listings, by SKU."""


def read_shared_fixtures(file: RuleFile, node: Node) -> Fixtures | None:
    """The fixtures that every suite of a folder may use; problems are noted on the file."""
    fields = file.fields(node, "shared fixtures", SHARED_KEYS)
    if fields is None:
        return None
    optional(fields, "description", lambda value, what: file.text(value, what, at_most=2_000))
    return Fixtures.read(file, fields)


def read_cases(
    file: RuleFile, node: Node, rule_names: Collection[str] | None, shared: Fixtures | None = None
) -> list[RuleTest]:
    """The tests of a suite; problems are noted on the file.

    `because` may only name `rule_names`; None if the rules could not be read. `shared` are fixtures of all suites.
    """
    fields = file.fields(node, "a test suite", SUITE_KEYS, ("suite", "now", "tests"))
    if fields is None:
        return []
    optional(fields, "description", lambda value, what: file.text(value, what, at_most=2_000))
    optional(fields, "rules", partial(_rules, file))
    fixtures = Fixtures.read(file, fields, shared)
    given = GivenReader(file, optional(fields, "now", partial(moment, file)) or _NO_CLOCK, fixtures)
    reader = _SuiteReader(
        file, optional(fields, "suite", file.text) or "", given, ExpectationReader(file, fixtures, rule_names), {}
    )
    nodes = list(file.items(fields["tests"], "'tests'", at_most=MAX_TESTS)) if "tests" in fields else []
    tests = [reader.test(item) for item in nodes]
    fixtures.note_unused()
    return [test for test in tests if test is not None]


def stated_rules(node: Node) -> ScalarNode | None:
    """What a suite states under `rules`: `all` for the whole folder, or the name of a rule file beside it."""
    rules = node.entries["rules"][1] if isinstance(node, MappingNode) and "rules" in node.entries else None
    return rules if isinstance(rules, ScalarNode) else None


@dataclass(frozen=True, slots=True)
class _SuiteReader:
    """Reads the tests of one suite; `test_names` are the names read so far."""

    file: RuleFile
    suite: str
    given: GivenReader
    expectations: ExpectationReader
    test_names: dict[str, Source]

    def test(self, node: Node) -> RuleTest | None:
        fields = self.file.fields(node, "a test", TEST_KEYS, REQUIRED_TEST_KEYS)
        if fields is None:
            return None
        name = optional(fields, "name", self.file.text)
        if name is not None:
            self.file.unique(fields["name"], "a test named", name, self.test_names)
        now = optional(fields, "now", partial(moment, self.file)) or self.given.now
        read_given, read_expected = self._kind(fields.get("given"), replace(self.given, now=now))
        case_given = optional(fields, "given", read_given)
        expected = optional(fields, "expect", read_expected)
        if name is None or case_given is None or expected is None:
            return None
        fixtures = self.given.fixtures
        world = World(now, fixtures.locations, fixtures.products, case_given.levels, capacity=case_given.capacity)
        asked = (case_given.channel, case_given.question)
        return RuleTest(self.suite, name, fields["name"], world, *asked, expected, fixtures.details)

    def _kind(self, node: Node | None, given: GivenReader) -> tuple[GivenReading, ExpectationReading]:
        """The readers of `given` and `expect` for the kind of question."""
        stated = node.entries if isinstance(node, MappingNode) else {}
        if "exception" in stated:
            return given.exception, self.expectations.exception
        if "listing_of" in stated:
            return given.listing, self.expectations.listing
        if "lines" in stated:
            return given.order, self.expectations.order
        if "ships_from" in stated:
            return given.delivery, self.expectations.delivery
        return given.availability, self.expectations.availability


def _rules(file: RuleFile, node: Node, what: str) -> str | None:
    """`all`, or the name of a rule file."""
    name = file.text(node, what)
    if name is None or name == ALL_RULES or is_yaml_file(name):
        return name
    help = "write all for the rules of the whole folder, or the name of a rule file beside the suite: stores.yaml."
    file.note(node, "unknown-value", f"{what} cannot be {quoted(name)}", help)
    return None
