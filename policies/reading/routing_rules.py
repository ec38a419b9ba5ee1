"""Reading routing files: which policy an order takes, and what that policy says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from policies.engine.matcher import Matcher
from policies.facts.fact_table import RulePlace
from policies.policy_set import LOCATION_STEPS, PLAN_STEPS, NamedCondition, RankStep, RoutingPolicy
from policies.reading.condition_reader import condition
from policies.reading.stock_rules import description, present, rule_name, titled, when
from policies.reading.time_bounds import TIME_KEYS
from policies.source.problems import Source, quoted
from policies.source.rule_file import RuleFile, suggestion
from policies.source.yaml_nodes import MappingNode, Node, ScalarNode

MAX_POLICIES = 500
MAX_NAMED = 200
"""Entries of one `exclude` or `review`."""

MAX_STEPS = 20
MAX_POSITION = 1_000_000
MAX_SHIPMENTS = 50
MIN_BAND_KM, MAX_BAND_KM = 0.1, 20_000
"""From next door to half-way round the Earth."""

STEPS = (*PLAN_STEPS, *LOCATION_STEPS)
LATER_STEPS = ("least_loaded", "oldest_stock")
"""Steps that need what this version does not know yet: what a location can still take, and when stock came in."""

MAY_USE = ("buffer", "blocked")
OTHERWISE = ("exception", "next")

Value = TypeVar("Value")

_KEYS = (
    *("name", "description", "position", "applies_to", *TIME_KEYS, "only", "exclude", "rank"),
    *("max_shipments", "min_split_value", "ship_complete", "sold_may_use", "review", "otherwise"),
)


def routing_policies(
    page: RuleFile, node: Node, names: dict[str, Source], positions: dict[int, Source]
) -> list[RoutingPolicy]:
    """The policies of a routing file. `names` and `positions` are those taken so far, over all files."""
    fields = page.fields(node, "a routing file", ("kind", "name", "description", "policies"), ("policies",))
    if fields is None or "policies" not in fields:
        return []
    description(page, fields)
    if "name" in fields:
        page.name(fields["name"], "'name'")
    policies = page.items(fields["policies"], "'policies'", at_most=MAX_POLICIES)
    return present(_policy(page, policy, names, positions) for policy in policies)


def _policy(page: RuleFile, node: Node, names: dict[str, Source], positions: dict[int, Source]) -> RoutingPolicy | None:
    title = titled(node, "policy")
    fields = page.fields(node, title, _KEYS, ("name", "position", "rank"))
    if fields is None:
        return None
    name = rule_name(page, fields, "a routing policy named", names)
    position = page.position(fields, positions, "policy of all routing files", at_most=MAX_POSITION)
    applies = when(page, fields, "applies_to", title, RulePlace.APPLIES_TO)
    rank = _rank(page, fields["rank"], title) if "rank" in fields else []
    taken = {"only": page.source(node)}
    only = _only(page, fields, title)
    exclude = _named(page, fields, "exclude", title, place=RulePlace.CANDIDATE, taken=taken)
    review = _named(page, fields, "review", title, place=RulePlace.REVIEW, taken=taken)
    max_shipments = _optional(fields, "max_shipments", lambda value, what: page.integer(value, what, 1, MAX_SHIPMENTS))
    min_split_value = _optional(fields, "min_split_value", lambda value, what: page.number(value, what, 0))
    ship_complete = _optional(fields, "ship_complete", page.flag)
    otherwise = _optional(fields, "otherwise", lambda value, what: page.choice(value, what, OTHERWISE))
    sold_may_use = _sold_may_use(page, fields)
    if name is None or position is None or applies is None or page.problems:
        return None
    return RoutingPolicy(
        name,
        position,
        page.source(node),
        applies,
        tuple(rank),
        only,
        tuple(exclude),
        tuple(review),
        max_shipments,
        min_split_value,
        ship_complete or False,
        sold_may_use,
        otherwise or "exception",
        only_matcher=Matcher.of([(only, only.when)]) if only else None,
        exclude_matcher=Matcher.of([(rule, rule.when) for rule in exclude]) if exclude else None,
        review_matcher=Matcher.of([(rule, rule.when) for rule in review]) if review else None,
    )


def _optional(fields: dict[str, Node], key: str, read: Callable[[Node, str], Value | None]) -> Value | None:
    return read(fields[key], f"'{key}'") if key in fields else None


def _only(page: RuleFile, fields: dict[str, Node], title: str) -> NamedCondition | None:
    if "only" not in fields:
        return None
    found = condition(page, fields["only"], f"'only' in {title}", RulePlace.CANDIDATE)
    return NamedCondition("only", found, page.source(fields["only"])) if found else None


def _named(
    page: RuleFile, fields: dict[str, Node], key: str, title: str, *, place: RulePlace, taken: dict[str, Source]
) -> list[NamedCondition]:
    """The entries of `exclude` or `review`, whose names are unique within the policy."""
    if key not in fields:
        return []
    example = f"{key}: [{{name: a-name, when: {{order.value: {{at_least: 1000}}}}}}]"
    entries = page.items(fields[key], f"'{key}' in {title}", example, at_most=MAX_NAMED)
    return present(_named_condition(page, entry, key, place, taken) for entry in entries)


def _named_condition(
    page: RuleFile, node: Node, key: str, place: RulePlace, taken: dict[str, Source]
) -> NamedCondition | None:
    title = titled(node, f"{key} rule")
    fields = page.fields(node, title, ("name", "description", "when", *TIME_KEYS), ("name",))
    if fields is None:
        return None
    name = rule_name(page, fields, "in this policy a rule named", taken)
    found = when(page, fields, "when", title, place)
    return NamedCondition(name, found, page.source(node)) if name and found else None


def _rank(page: RuleFile, node: Node, title: str) -> list[RankStep]:
    steps = page.items(node, f"'rank' in {title}", "rank: [fewest_shipments, nearest]", at_most=MAX_STEPS)
    return present(_step(page, step, title) for step in steps)


def _step(page: RuleFile, node: Node, title: str) -> RankStep | None:
    """A step as a word, or as a mapping of the word to its settings."""
    if isinstance(node, ScalarNode):
        kind = _known_step(page, node)
        if kind == "prefer":
            help = "write {prefer: {when: {location.type: warehouse}}}."
            page.note(node, "missing-key", "'prefer' does not say what it prefers", help)
            return None
        return RankStep(kind, page.source(node)) if kind else None
    if not isinstance(node, MappingNode) or len(node.entries) != 1:
        help = "write a name such as nearest, or one name with settings such as {nearest: {band_km: 25}}."
        page.note(node, "wrong-type", f"a step of 'rank' in {title} is one name", help)
        return None
    ((key, settings),) = node.entries.values()
    match _known_step(page, key):
        case "nearest":
            return _nearest(page, node, settings)
        case "prefer":
            return _prefer(page, node, settings, title)
        case str(kind):
            page.note(settings, "unknown-key", f"'{kind}' has no settings", f"write {kind} alone.")
    return None


def _known_step(page: RuleFile, node: ScalarNode) -> str | None:
    if node.text in STEPS:
        return node.text
    message = f"'rank' has no step {quoted(node.text)}"
    if node.text in LATER_STEPS:
        message = f"the step '{node.text}' is not known yet in this version"
    help = f"{suggestion(node.text, STEPS)}Steps: {', '.join(STEPS)}."
    page.note(node, "unknown-step", message, help)
    return None


def _nearest(page: RuleFile, node: Node, settings: Node) -> RankStep | None:
    fields = page.fields(settings, "'nearest'", ("band_km",), ("band_km",))
    if not fields:
        return None
    band_km = page.number(fields["band_km"], "'band_km'", MIN_BAND_KM, MAX_BAND_KM)
    return None if band_km is None else RankStep("nearest", page.source(node), band_km=band_km)


def _prefer(page: RuleFile, node: Node, settings: Node, title: str) -> RankStep | None:
    fields = page.fields(settings, "'prefer'", ("when",), ("when",))
    if not fields:
        return None
    found = condition(page, fields["when"], f"'prefer' in {title}", RulePlace.CANDIDATE)
    if found is None:
        return None
    return RankStep("prefer", page.source(node), when=found, matcher=Matcher.of([("prefer", found)]))


def _sold_may_use(page: RuleFile, fields: dict[str, Node]) -> frozenset[str]:
    if "sold_may_use" not in fields:
        return frozenset()
    uses = page.items(fields["sold_may_use"], "'sold_may_use'", "sold_may_use: [buffer]", at_most=len(MAY_USE))
    return frozenset(present(page.choice(use, "'sold_may_use'", MAY_USE) for use in uses))
