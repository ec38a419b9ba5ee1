"""Reads a folder of rule files into one immutable `PolicySet`, or into all of its problems at once.

The files are a mapping of relative paths to contents. The result does not depend on their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from policies.engine.conditions import Always
from policies.engine.matcher import Matcher
from policies.linting.lint import lint
from policies.policy_set import (
    BufferFile,
    DeliveryRule,
    ExceptionRule,
    ExposureRule,
    ListingRequirement,
    PolicySet,
    RoutingPolicy,
)
from policies.reading.delivery_rules import delivery_rules
from policies.reading.exception_rules import exception_rules
from policies.reading.listing_requirements import listing_matchers, listing_requirements
from policies.reading.merchant import UTC, merchant_settings, stated_time_zone
from policies.reading.owners import Owners
from policies.reading.rate_tables import RateFiles, is_rate_file
from policies.reading.routing_rules import routing_policies
from policies.reading.stock_rules import buffer_file, exposure_rules, restriction_matcher
from policies.source.problems import Problem, Source, quoted
from policies.source.rule_file import MAX_PROBLEMS, RuleFile, suggestion
from policies.source.yaml_nodes import MappingNode, Node, UnreadableFile, parse

KINDS = ("exposure", "buffer", "routing", "delivery", "exception", "listing_requirements", "merchant")

EXTENSIONS = (".yaml", ".yml")
"""The endings of rule files and test suites, in any letter case: some programs save them in capitals."""
TEST_SUFFIX = "_test"
"""The end of a test suite's name before its extension, in any letter case."""

MAX_FILES = 1_000
MAX_FOLDER_BYTES = 16 << 20
REVISION_LENGTH = 16
"""The number of hexadecimal digits of a revision."""

FOLDER = "."
"""The file name in problems of the whole folder."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of reading a folder: a policy set, or the problems for which it is refused."""

    policy_set: PolicySet | None
    problems: tuple[Problem, ...]


def read(files: Mapping[str, bytes]) -> Reading:
    """Reads all rule files of a folder, by relative path. Never raises because of their contents."""
    contents = {path: files[path] for path in sorted(files) if is_rule_file(path)}
    rules = {path: content for path, content in contents.items() if is_yaml_file(path)}
    problems = _folder_problems(rules)
    if problems:
        return Reading(None, tuple(problems))
    draft = _PolicySetDraft(RateFiles(contents), time_zone=stated_time_zone(rules.items()))
    for path, content in rules.items():
        draft.read_file(path, content)
    draft.check_default()
    draft.check_default_exception()
    draft.check_owners()
    draft.problems += draft.rates.problems
    if draft.problems:
        return Reading(None, tuple(sorted(draft.problems)))
    policy_set = draft.policy_set(contents)
    lint_problems = lint(policy_set, rules)
    return Reading(None if lint_problems else policy_set, lint_problems)


def is_rule_file(path: str) -> bool:
    """Whether a path belongs to the rules: a YAML file that is not a test suite, or a rate table."""
    return is_rate_file(path) or (is_yaml_file(path) and not has_suite_name(path))


def is_yaml_file(path: str) -> bool:
    """Whether a path has one of the EXTENSIONS."""
    return path.lower().endswith(EXTENSIONS)


def has_suite_name(path: str) -> bool:
    """Whether the name before the extension is that of a test suite."""
    return path.rpartition(".")[0].lower().endswith(TEST_SUFFIX)


def revision(files: Mapping[str, bytes]) -> str:
    """A hash of the paths and contents of the rule files. Answers and metrics state it."""
    digest = sha256()
    for path in sorted(files):
        for part in (path.encode("utf-8", "surrogateescape"), files[path]):
            # The length before each part distinguishes two ways to split the same bytes.
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:REVISION_LENGTH]


@dataclass(slots=True)
class _PolicySetDraft:
    """The rules read so far, and the names and positions that they use."""

    rates: RateFiles
    problems: list[Problem] = field(default_factory=list)
    exposure: list[ExposureRule] = field(default_factory=list)
    buffers: list[BufferFile] = field(default_factory=list)
    routing: list[RoutingPolicy] = field(default_factory=list)
    delivery: list[DeliveryRule] = field(default_factory=list)
    file_names: dict[str, dict[str, Source]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    rule_names: dict[str, dict[str, Source]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    positions: dict[int, Source] = field(default_factory=dict)
    delivery_positions: dict[int, Source] = field(default_factory=dict)
    exceptions: list[ExceptionRule] = field(default_factory=list)
    exception_positions: dict[int, Source] = field(default_factory=dict)
    owners: Owners = field(default_factory=Owners)
    listing_requirements: list[ListingRequirement] = field(default_factory=list)
    time_zone: str = UTC
    currency: str = ""
    routing_is_readable: bool = True
    exceptions_are_readable: bool = True

    def read_file(self, path: str, content: bytes) -> None:
        """Reads one file."""
        rule_file = RuleFile(path, time_zone=self.time_zone)
        try:
            node, rule_file.problems = parse(path, content)
            self._read_kind(rule_file, node)
        except UnreadableFile as unreadable:
            self.problems += unreadable.problems
            # The unreadable file may contain the default policy or rule.
            self.routing_is_readable = self.exceptions_are_readable = False
        self.problems += rule_file.problems[:MAX_PROBLEMS]
        if len(rule_file.problems) >= MAX_PROBLEMS:
            message = f"only the first {MAX_PROBLEMS} problems of this file are reported"
            self.problems.append(Problem(path, 0, 0, "too-many-problems", message, "fix those first."))

    def check_default(self) -> None:
        """The last policy must apply to every order, so that every order has a policy."""
        if not self.routing_is_readable:
            return
        if not self.routing:
            message = "there is no routing policy, so no order could be routed"
            help = "add a file with 'kind: routing' and a policy without 'applies_to'."
            self.problems.append(Problem(FOLDER, 0, 0, "no-default-policy", message, help))
            return
        last = max(self.routing, key=lambda policy: policy.position)
        if not isinstance(last.applies_to, Always):
            message = f"the last routing policy '{last.name}' does not apply to every order"
            help = (
                "remove its 'applies_to', 'from', 'until' and 'during', or add a policy without any of them "
                "at a higher position."
            )
            self._note(last.source, "no-default-policy", message, help)
        if last.otherwise == "next":
            message = f"the last routing policy '{last.name}' has 'otherwise: next', but there is no next policy"
            self._note(last.source, "no-next-policy", message, "write 'otherwise: exception'.")

    def check_default_exception(self) -> None:
        """If there are exception rules, the last one must apply to every exception, so that each has an owner."""
        if not self.exceptions_are_readable or not self.exceptions:
            return
        last = max(self.exceptions, key=lambda rule: rule.position)
        if not isinstance(last.when, Always):
            message = f"the last exception rule '{last.name}' does not apply to every exception"
            help = "add a rule that always applies at a higher position, so that every exception has an owner."
            self._note(last.source, "no-default-exception", message, help)

    def check_owners(self) -> None:
        """Where owners are declared, rules name no other. An unreadable file may be the one that declares them."""
        if self.exceptions_are_readable:
            self.problems += self.owners.problems()

    def policy_set(self, contents: Mapping[str, bytes]) -> PolicySet:
        exposure = sorted(self.exposure, key=lambda rule: rule.name)
        routing = sorted(self.routing, key=lambda policy: policy.position)
        delivery = sorted(self.delivery, key=lambda rule: rule.position)
        exceptions = sorted(self.exceptions, key=lambda rule: rule.position)
        return PolicySet(
            revision(contents),
            tuple(contents),
            tuple(exposure),
            tuple(sorted(self.buffers, key=lambda file: file.name)),
            tuple(routing),
            Matcher.of([(rule, rule.when) for rule in exposure]),
            Matcher.of([(policy, policy.applies_to) for policy in routing]),
            delivery=tuple(delivery),
            delivery_matcher=Matcher.of([(rule, rule.when) for rule in delivery]),
            exceptions=tuple(exceptions),
            exception_matcher=Matcher.of([(rule, rule.when) for rule in exceptions]),
            time_zone=self.time_zone,
            currency=self.currency,
            owners=self.owners.contacts,
            restriction_matcher=restriction_matcher(exposure),
            listing_requirements=tuple(self.listing_requirements),
            listing_matchers=listing_matchers(self.listing_requirements),
        )

    def _read_kind(self, rule_file: RuleFile, node: Node) -> None:
        match _kind(rule_file, node):
            case "exposure":
                self.exposure += exposure_rules(
                    rule_file, node, self.file_names["exposure"], self.rule_names["exposure"]
                )
            case "buffer":
                buffers = buffer_file(rule_file, node, self.file_names["buffer"], self.rule_names["buffer"])
                self.buffers += [buffers] if buffers else []
            case "routing":
                self.routing += routing_policies(rule_file, node, self.rule_names["routing"], self.positions)
                self.routing_is_readable &= not rule_file.problems
            case "delivery":
                names, positions = self.rule_names["delivery"], self.delivery_positions
                self.delivery += delivery_rules(rule_file, node, names, positions, self.rates)
            case "exception":
                names, positions = self.rule_names["exception"], self.exception_positions
                self.exceptions += exception_rules(rule_file, node, names, positions, self.owners)
                self.exceptions_are_readable &= not rule_file.problems
            case "listing_requirements" as kind:
                files, names = self.file_names[kind], self.rule_names[kind]
                self.listing_requirements += listing_requirements(rule_file, node, files, names, self.owners)
            case "merchant":
                settings = merchant_settings(rule_file, node, self.file_names["merchant"])
                self.currency = self.currency or settings.currency
            case _:
                self.routing_is_readable = self.exceptions_are_readable = False

    def _note(self, source: Source, code: str, message: str, help: str) -> None:
        self.problems.append(Problem.at(source.file, source, code, message, help))


def _kind(rule_file: RuleFile, node: Node) -> str | None:
    if not isinstance(node, MappingNode):
        rule_file.fields(node, "a rule file", ("kind", "name", "rules", "policies"))
        return None
    if "kind" not in node.entries:
        help = f"add 'kind:' with one of: {', '.join(KINDS)}."
        if "tests" in node.entries:
            help = f"if these are tests, let the file's name end in {TEST_SUFFIX}.yaml; otherwise {help}"
        rule_file.note(node, "missing-key", "the file has no 'kind'", help)
        return None
    kind = rule_file.text(node.entries["kind"][1], "'kind'")
    if kind is None or kind in KINDS:
        return kind
    help = f"{suggestion(kind, KINDS)}Kinds: {', '.join(KINDS)}."
    rule_file.note(node.entries["kind"][1], "unknown-kind", f"there is no kind of rule file {quoted(kind)}", help)
    return None


def _folder_problems(contents: Mapping[str, bytes]) -> list[Problem]:
    problems = []
    if len(contents) > MAX_FILES:
        message = f"the folder has {len(contents):,} rule files; at most {MAX_FILES:,} are read"
        problems.append(Problem(FOLDER, 0, 0, "too-large", message, "put several rules into one file."))
    size = sum(len(content) for content in contents.values())
    if size > MAX_FOLDER_BYTES:
        message = f"the rule files have {size:,} bytes together; at most {MAX_FOLDER_BYTES:,} are read"
        problems.append(Problem(FOLDER, 0, 0, "too-large", message, "move files that are not rules elsewhere."))
    return problems
