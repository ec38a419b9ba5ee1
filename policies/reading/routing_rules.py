"""Reads routing files: the policies that decide which location fulfills an order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from policies.engine.conditions import All, Comparison, Operator
from policies.engine.matcher import Matcher
from policies.facts.fact_table import RulePlace, find_fact
from policies.policy_set import DEADLINES, LOCATION_STEPS, PLAN_STEPS, NamedCondition, RankStep, RoutingPolicy
from policies.reading.condition_reader import read_condition
from policies.reading.stock_rules import check_description, read_when, rule_title, unique_name, without_none
from policies.reading.time_bounds import TIME_KEYS
from policies.source import likely_forms
from policies.source.problems import Source, quoted
from policies.source.rule_file import RuleFile, suggestion
from policies.source.yaml_nodes import MappingNode, Node, ScalarNode

MAX_POLICIES = 500
MAX_NAMED_CONDITIONS = 200
"""Entries of one `exclude` or `review`."""

MAX_STEPS = 20
MAX_POSITION = 1_000_000
MAX_SHIPMENTS = 50
SPLIT_ONLY_IF, SAVES_DAYS, DAYS_SAVED = "split_only_if", "saves_days", "plan.days_saved"
MAX_SAVED_DAYS = 60
"""As many as a parcel can be in transit."""

MIN_BAND_KM, MAX_BAND_KM = 0.1, 20_000
"""From next door to halfway around the Earth."""

STEPS = (*PLAN_STEPS, *LOCATION_STEPS)

MAY_USE = ("buffer", "blocked")
OTHERWISE = ("exception", "next")

Value = TypeVar("Value")

_KEYS = (
    *("name", "description", "position", "applies_to", *TIME_KEYS, "only", "exclude", "rank"),
    *("max_shipments", "min_split_value", "split_only_if", "ship_complete", "ship_to_store", "ship_rest"),
    *("sold_may_use", "review", "otherwise", "must_meet"),
)


def routing_policies(
    rule_file: RuleFile, node: Node, names: dict[str, Source], positions: dict[int, Source]
) -> list[RoutingPolicy]:
    """The policies of a routing file. `names` and `positions` are those that all routing files have used so far."""
    fields = rule_file.fields(node, "a routing file", ("kind", "name", "description", "policies"), ("policies",))
    if fields is None or "policies" not in fields:
        return []
    check_description(rule_file, fields)
    if "name" in fields:
        rule_file.name(fields["name"], "'name'")
    policies = rule_file.items(fields["policies"], "'policies'", at_most=MAX_POLICIES)
    return without_none(_policy(rule_file, policy, names, positions) for policy in policies)


def _policy(
    rule_file: RuleFile, node: Node, names: dict[str, Source], positions: dict[int, Source]
) -> RoutingPolicy | None:
    title = rule_title(node, "policy")
    fields = rule_file.fields(node, title, _KEYS, ("name", "position", "rank"))
    if fields is None:
        return None
    name = unique_name(rule_file, fields, "a routing policy named", names)
    position = rule_file.position(fields, positions, "policy in the routing files", at_most=MAX_POSITION)
    applies = read_when(rule_file, fields, "applies_to", title, RulePlace.APPLIES_TO)
    rank = _rank(rule_file, fields["rank"], title) if "rank" in fields else []
    used = {"only": rule_file.source(node), SPLIT_ONLY_IF: rule_file.source(node)}
    only = _only(rule_file, fields, title)
    exclude = _named_conditions(rule_file, fields, "exclude", title, place=RulePlace.CANDIDATE, used=used)
    review = _named_conditions(rule_file, fields, "review", title, place=RulePlace.REVIEW, used=used)
    max_shipments = _optional(
        fields, "max_shipments", lambda value, what: rule_file.integer(value, what, 1, MAX_SHIPMENTS, unit="shipments")
    )
    min_split_value = _optional(fields, "min_split_value", lambda value, what: rule_file.number(value, what, 0))
    split_only_if = _split_only_if(rule_file, fields, title)
    ship_complete = _optional(fields, "ship_complete", rule_file.flag)
    ship_to_store = _optional(fields, "ship_to_store", rule_file.flag)
    ship_rest = _optional(fields, "ship_rest", rule_file.flag)
    otherwise = _optional(fields, "otherwise", lambda value, what: rule_file.choice(value, what, OTHERWISE))
    sold_may_use = _choices(rule_file, fields, "sold_may_use", MAY_USE)
    must_meet = _choices(rule_file, fields, "must_meet", DEADLINES)
    if name is None or position is None or applies is None or rule_file.problems:
        return None
    return RoutingPolicy(
        name,
        position,
        rule_file.source(node),
        applies,
        tuple(rank),
        only,
        tuple(exclude),
        tuple(review),
        max_shipments,
        min_split_value,
        split_only_if,
        ship_complete or False,
        ship_to_store or False,
        ship_rest or False,
        sold_may_use,
        otherwise or "exception",
        must_meet,
        only_matcher=Matcher.of([(only, only.when)]) if only else None,
        exclude_matcher=Matcher.of([(rule, rule.when) for rule in exclude]) if exclude else None,
        review_matcher=Matcher.of([(rule, rule.when) for rule in review]) if review else None,
        split_matcher=Matcher.of([(split_only_if, split_only_if.when)]) if split_only_if else None,
    )


def _optional(fields: dict[str, Node], key: str, read: Callable[[Node, str], Value | None]) -> Value | None:
    return read(fields[key], f"'{key}'") if key in fields else None


def _only(rule_file: RuleFile, fields: dict[str, Node], title: str) -> NamedCondition | None:
    if "only" not in fields:
        return None
    condition = read_condition(rule_file, fields["only"], f"'only' in {title}", RulePlace.CANDIDATE)
    return NamedCondition("only", condition, rule_file.source(fields["only"])) if condition else None


def _split_only_if(rule_file: RuleFile, fields: dict[str, Node], title: str) -> NamedCondition | None:
    """What must be true of a split: `saves_days`, and facts of the plan and the order beside it."""
    if SPLIT_ONLY_IF not in fields:
        return None
    node = fields[SPLIT_ONLY_IF]
    what = f"'{SPLIT_ONLY_IF}' in {title}"
    stated, saves_days = node, None
    if isinstance(node, MappingNode) and SAVES_DAYS in node.entries:
        days = rule_file.integer(node.entries[SAVES_DAYS][1], f"'{SAVES_DAYS}'", 1, MAX_SAVED_DAYS, unit="days")
        if days is None:
            return None
        saves_days = Comparison(DAYS_SAVED, Operator.AT_LEAST, (float(days),))
        stated = replace(node, entries={key: entry for key, entry in node.entries.items() if key != SAVES_DAYS})
        if not stated.entries:
            return NamedCondition(SPLIT_ONLY_IF, saves_days, rule_file.source(node))
    condition = read_condition(rule_file, stated, what, RulePlace.SPLIT)
    if condition is None:
        return None
    if saves_days is not None:
        condition = All((saves_days, condition))
    return NamedCondition(SPLIT_ONLY_IF, condition, rule_file.source(node))


def _named_conditions(
    rule_file: RuleFile, fields: dict[str, Node], key: str, title: str, *, place: RulePlace, used: dict[str, Source]
) -> list[NamedCondition]:
    """The entries of `exclude` or `review`, whose names are unique within the policy."""
    if key not in fields:
        return []
    example = f"{key}: [{{name: a-name, when: {{order.value: {{at_least: 1000}}}}}}]"
    entries = rule_file.items(fields[key], f"'{key}' in {title}", example, at_most=MAX_NAMED_CONDITIONS)
    return without_none(_read_named_condition(rule_file, entry, key, place, used) for entry in entries)


def _read_named_condition(
    rule_file: RuleFile, node: Node, key: str, place: RulePlace, used: dict[str, Source]
) -> NamedCondition | None:
    title = rule_title(node, f"{key} rule")
    fields = rule_file.fields(node, title, ("name", "description", "when", *TIME_KEYS), ("name",))
    if fields is None:
        return None
    name = unique_name(rule_file, fields, "in this policy, a rule named", used)
    condition = read_when(rule_file, fields, "when", title, place)
    return NamedCondition(name, condition, rule_file.source(node)) if name and condition else None


def _rank(rule_file: RuleFile, node: Node, title: str) -> list[RankStep]:
    steps = rule_file.items(node, f"'rank' in {title}", "rank: [fewest_shipments, nearest]", at_most=MAX_STEPS)
    return without_none(_step(rule_file, step, title) for step in steps)


def _step(rule_file: RuleFile, node: Node, title: str) -> RankStep | None:
    """A step, written as its name or as a mapping of the name to its settings."""
    if isinstance(node, ScalarNode):
        kind = _known_step(rule_file, node)
        if kind == "prefer":
            help = "write {prefer: {when: {location.type: warehouse}}}."
            rule_file.note(node, "missing-key", "'prefer' has no condition", help)
            return None
        return RankStep(kind, rule_file.source(node)) if kind else None
    if not isinstance(node, MappingNode) or len(node.entries) != 1:
        help = "write a name such as nearest, or one name with settings such as {nearest: {band_km: 25}}."
        rule_file.note(node, "wrong-type", f"a step of 'rank' in {title} must be one name", help)
        return None
    ((key, settings),) = node.entries.values()
    match _known_step(rule_file, key):
        case "nearest":
            return _nearest(rule_file, node, settings)
        case "prefer":
            return _prefer(rule_file, node, settings, title)
        case str(kind):
            rule_file.note(settings, "unknown-key", f"the step '{kind}' has no settings", f"write only: {kind}")
    return None


def _known_step(rule_file: RuleFile, node: ScalarNode) -> str | None:
    if node.text in STEPS:
        return node.text
    message = f"'rank' has no step {quoted(node.text)}"
    help = f"{suggestion(node.text, STEPS)}Steps: {', '.join(STEPS)}."
    rule_file.note(node, "unknown-step", message, help)
    return None


def _nearest(rule_file: RuleFile, node: Node, settings: Node) -> RankStep | None:
    band = likely_forms.number(settings.text, "kilometers") if isinstance(settings, ScalarNode) else None
    fields = rule_file.fields(settings, "'nearest'", ("band_km",), ("band_km",), form=f"{{band_km: {band or 25}}}")
    if not fields:
        return None
    band_km = rule_file.number(fields["band_km"], "'band_km'", MIN_BAND_KM, MAX_BAND_KM, unit="kilometers")
    return None if band_km is None else RankStep("nearest", rule_file.source(node), band_km=band_km)


def _prefer(rule_file: RuleFile, node: Node, settings: Node, title: str) -> RankStep | None:
    if isinstance(settings, MappingNode) and settings.entries and all(find_fact(key) for key in settings.entries):
        message = "'prefer' has a condition without 'when'"
        key = next(iter(settings.entries))
        rule_file.note(settings, "missing-key", message, f"write {{prefer: {{when: {{{key}: …}}}}}}.")
        return None
    fields = rule_file.fields(settings, "'prefer'", ("when",), ("when",), form="{when: {location.type: warehouse}}")
    if not fields:
        return None
    condition = read_condition(rule_file, fields["when"], f"'prefer' in {title}", RulePlace.CANDIDATE)
    if condition is None:
        return None
    return RankStep("prefer", rule_file.source(node), when=condition, matcher=Matcher.of([("prefer", condition)]))


def _choices(rule_file: RuleFile, fields: dict[str, Node], key: str, allowed: tuple[str, ...]) -> frozenset[str]:
    """The words of a list, of those that are allowed; none without the key."""
    if key not in fields:
        return frozenset()
    words = rule_file.items(fields[key], f"'{key}'", f"{key}: [{allowed[0]}]", at_most=len(allowed))
    return frozenset(without_none(rule_file.choice(word, f"'{key}'", allowed) for word in words))
