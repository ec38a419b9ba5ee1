"""Reads exposure and buffer files: which stock a channel may see, and how many units are held back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from policies.domain.model import MAX_UNITS
from policies.engine.conditions import Always, Condition
from policies.engine.matcher import Matcher
from policies.facts.fact_table import RulePlace
from policies.policy_set import HOLD_BACK_FORMS, BufferFile, BufferRule, Combine, ExposureRule, HoldBack, Scope
from policies.reading.condition_reader import read_condition
from policies.reading.time_bounds import TIME_KEYS, bounded_in_time
from policies.source import likely_forms
from policies.source.problems import Source, quoted
from policies.source.rule_file import RuleFile
from policies.source.yaml_nodes import MappingNode, Node, ScalarNode

MAX_RULES = 5_000
"""Rules in one file."""

MAX_DAYS = 365
"""The most days of cover or of expected sales in a buffer rule."""

SERVICE_LEVELS = 0.5, 0.9999
"""The lowest and the highest share of cases in which a buffer is to suffice."""

_EFFECTS = ("hold_back", "publish_zero_at_or_below", "cap")
_CHANNEL_EFFECTS = ("publish_zero_at_or_below", "cap")

_COMBINED_WORDS = {
    **dict.fromkeys(("max", "maximum", "highest", "biggest", "greatest", "most", "any"), "largest"),
    **dict.fromkeys(("add", "added", "total", "plus", "all", "both", "summed"), "sum"),
}
_SCOPE_WORDS = {
    **dict.fromkeys(("store", "warehouse", "each-location", "per-location"), "location"),
    **dict.fromkeys(("total", "all", "whole-channel"), "channel"),
}
"""Other words for the choices of a buffer file."""

Rule = TypeVar("Rule")


def exposure_rules(
    rule_file: RuleFile, node: Node, files: dict[str, Source], used: dict[str, Source]
) -> list[ExposureRule]:
    """The rules of an exposure file. `files` and `used` are the names of the files and rules that were read before."""
    fields = rule_file.fields(node, "an exposure file", ("kind", "name", "description", "rules"), ("name", "rules"))
    if fields is None:
        return []
    unique_name(rule_file, fields, "an exposure file named", files)
    return _rules(rule_file, fields, lambda rule: _exposure_rule(rule_file, rule, used))


def buffer_file(
    rule_file: RuleFile, node: Node, files: dict[str, Source], used: dict[str, Source]
) -> BufferFile | None:
    """A buffer file, or None if it has problems."""
    keys = ("kind", "name", "description", "scope", "combine", "rules")
    fields = rule_file.fields(node, "a buffer file", keys, ("name", "scope", "rules"))
    if fields is None:
        return None
    name = unique_name(rule_file, fields, "a buffer file named", files)
    scope = rule_file.choice(fields["scope"], "'scope'", tuple(Scope), _SCOPE_WORDS) if "scope" in fields else None
    combine = (
        rule_file.choice(fields["combine"], "'combine'", tuple(Combine), _COMBINED_WORDS)
        if "combine" in fields
        else Combine.LARGEST
    )
    # Without a valid scope, the rules are read as those of a location, so that their other problems are reported too.
    rules_scope = Scope(scope or Scope.LOCATION)
    rules = _rules(rule_file, fields, lambda rule: _buffer_rule(rule_file, rule, rules_scope, used))
    if name is None or scope is None or combine is None or rule_file.problems:
        return None
    matcher = Matcher.of([(rule, rule.when) for rule in rules])
    return BufferFile(name, rules_scope, Combine(combine), tuple(rules), rule_file.source(node), matcher)


def unique_name(rule_file: RuleFile, fields: dict[str, Node], what: str, used: dict[str, Source]) -> str | None:
    """The name of a file or a rule, unique among the `used` names. Checks the description too."""
    check_description(rule_file, fields)
    name = rule_file.name(fields["name"], "'name'") if "name" in fields else None
    if name is not None:
        rule_file.unique(fields["name"], what, name, used)
    return name


def check_description(rule_file: RuleFile, fields: dict[str, Node]) -> None:
    """Checks only that a description is a text."""
    if "description" in fields:
        rule_file.text(fields["description"], "'description'", at_most=2_000)


def read_when(rule_file: RuleFile, fields: dict[str, Node], key: str, rule: str, place: RulePlace) -> Condition | None:
    """The condition under a key, combined with the rule's bounds in time. Without key and bounds, it is always true."""
    condition = read_condition(rule_file, fields[key], rule, place) if key in fields else Always()
    bounded = bounded_in_time(rule_file, fields, condition or Always(), rule, place)
    return bounded if condition is not None else None


def rule_title(node: Node, kind: str) -> str:
    """How messages refer to a rule: by its name, if it has one."""
    name = node.entries["name"][1] if isinstance(node, MappingNode) and "name" in node.entries else None
    if isinstance(name, ScalarNode) and name.text:
        return f"{kind} {quoted(name.text)}"
    return f"an unnamed {kind}"


def _rules(rule_file: RuleFile, fields: dict[str, Node], read: Callable[[Node], Rule | None]) -> list[Rule]:
    if "rules" not in fields:
        return []
    return without_none(read(rule) for rule in rule_file.items(fields["rules"], "'rules'", at_most=MAX_RULES))


def without_none(rules: Iterable[Rule | None]) -> list[Rule]:
    """The rules that could be read."""
    return [rule for rule in rules if rule is not None]


def _exposure_rule(rule_file: RuleFile, node: Node, used: dict[str, Source]) -> ExposureRule | None:
    title = rule_title(node, "rule")
    is_restriction = isinstance(node, MappingNode) and "restrict" in node.entries
    keys = ("name", "description", "when", *TIME_KEYS, "block", "restrict")
    fields = rule_file.fields(node, title, keys, ("name",) if is_restriction else ("name", "block"))
    if fields is None:
        return None
    if is_restriction and "block" in fields:
        help = "keep 'block' for stock that sold orders may still get, 'restrict' for what may not be sent at all."
        rule_file.note(fields["restrict"], "conflicting-keys", f"{title} has both 'block' and 'restrict'", help)
        return None
    name = unique_name(rule_file, fields, "an exposure rule named", used)
    applies = read_when(rule_file, fields, "when", title, RulePlace.EXPOSURE)
    key = "restrict" if is_restriction else "block"
    reason = rule_file.text(fields[key], f"the reason after '{key}' in {title}") if key in fields else None
    if name is None or applies is None or reason is None:
        return None
    return ExposureRule(name, applies, reason, rule_file.source(node), is_restriction)


def restriction_matcher(rules: Iterable[ExposureRule]) -> Matcher[ExposureRule] | None:
    """Matches the rules that are restrictions; None if there are none."""
    restrictions = [(rule, rule.when) for rule in rules if rule.is_restriction]
    return Matcher.of(restrictions) if restrictions else None


def _buffer_rule(rule_file: RuleFile, node: Node, scope: Scope, used: dict[str, Source]) -> BufferRule | None:
    title = rule_title(node, "rule")
    fields = rule_file.fields(node, title, ("name", "description", "when", *TIME_KEYS, *_EFFECTS), ("name",))
    if fields is None:
        return None
    name = unique_name(rule_file, fields, "a buffer rule named", used)
    place = RulePlace.CHANNEL_BUFFER if scope is Scope.CHANNEL else RulePlace.LOCATION_BUFFER
    applies = read_when(rule_file, fields, "when", title, place)
    _check_effects(rule_file, node, fields, title, scope)
    hold_back = _hold_back(rule_file, fields["hold_back"], title, scope) if "hold_back" in fields else None
    cut_off, cap = (
        rule_file.integer(fields[key], f"'{key}'", 0, MAX_UNITS, unit="units") if key in fields else None
        for key in _CHANNEL_EFFECTS
    )
    if name is None or applies is None:
        return None
    return BufferRule(name, applies, rule_file.source(node), hold_back, cut_off, cap)


def _check_effects(rule_file: RuleFile, node: Node, fields: dict[str, Node], title: str, scope: Scope) -> None:
    if not any(effect in fields for effect in _EFFECTS):
        help = "add 'hold_back: {units: 2}', or in a file with 'scope: channel' a 'cap' or 'publish_zero_at_or_below'."
        rule_file.note(node, "no-effect", f"{title} holds back no units and sets no limit", help)
    for key in _CHANNEL_EFFECTS:
        if key in fields and scope is Scope.LOCATION:
            message = f"{title} has '{key}', which limits the total published to a channel, not the stock of a location"
            rule_file.note(fields[key], "wrong-scope", message, "move it to a buffer file with 'scope: channel'.")


def _hold_back(rule_file: RuleFile, node: Node, title: str, scope: Scope) -> HoldBack | None:
    what = f"'hold_back' in {title}"
    fields = rule_file.fields(node, what, (*HOLD_BACK_FORMS, "minimum", "maximum"), form=_likely_hold_back(node))
    if fields is None:
        return None
    forms = [form for form in HOLD_BACK_FORMS if form in fields]
    help = f"write one of: {', '.join(HOLD_BACK_FORMS)}."
    if not forms:
        rule_file.note(node, "missing-key", f"{what} has no amount", help)
    if len(forms) > 1:
        rule_file.note(node, "conflicting-keys", f"{what} has {' and '.join(forms)}, but may have only one form", help)
    minimum, maximum = (
        rule_file.integer(fields[key], f"'{key}'", 0, MAX_UNITS, unit="units") if key in fields else None
        for key in ("minimum", "maximum")
    )
    if minimum is not None and maximum is not None and minimum > maximum:
        message = f"the minimum {minimum} is above the maximum {maximum}"
        rule_file.note(fields["minimum"], "out-of-range", message, "swap them, or leave one out.")
    hold_backs = without_none(_FORMS[form](rule_file, fields[form], scope) for form in forms)
    return replace(hold_backs[0], minimum=minimum, maximum=maximum) if hold_backs else None


def _likely_hold_back(node: Node) -> str:
    """The form that an amount was meant to be: `10%` is a percentage, `3 days` are days of cover."""
    text = node.text if isinstance(node, ScalarNode) else ""
    percent, duration = likely_forms.percent(text), likely_forms.duration(text)
    if percent is not None:
        return f"{{percent: {percent}}}"
    if duration is not None and duration.endswith("d"):
        return f"{{days_of_cover: {duration[:-1]}}}"
    if duration is not None:
        return f"{{expected_sales: {_likely_sales(node)}}}"
    return f"{{units: {likely_forms.number(text, 'units') or 2}}}"


def _likely_sales(node: Node) -> str:
    text = node.text if isinstance(node, ScalarNode) else ""
    during = text if text == "stock_age" else likely_forms.duration(text) or "2h"
    return f"{{during: {during}, service_level: 0.95}}"


def _units(rule_file: RuleFile, node: Node, scope: Scope) -> HoldBack | None:
    units = rule_file.integer(node, "'units'", 0, MAX_UNITS, unit="units")
    return None if units is None else HoldBack("units", units=units)


def _percent(rule_file: RuleFile, node: Node, scope: Scope) -> HoldBack | None:
    percent = rule_file.number(node, "'percent'", 0, 100, unit="percent")
    return None if percent is None else HoldBack("percent", percent=percent)


def _days_of_cover(rule_file: RuleFile, node: Node, scope: Scope) -> HoldBack | None:
    if not isinstance(node, ScalarNode):
        fields = rule_file.fields(node, "'days_of_cover'", ("days",), ("days",))
        if fields is None or "days" not in fields:
            return None
        node = fields["days"]
    days = rule_file.number(node, "'days_of_cover'", 0, MAX_DAYS, unit="days")
    return None if days is None else HoldBack("days_of_cover", days=days)


def _expected_sales(rule_file: RuleFile, node: Node, scope: Scope) -> HoldBack | None:
    keys = ("during", "service_level")
    fields = rule_file.fields(node, "'expected_sales'", keys, keys, form=_likely_sales(node))
    if fields is None or len(fields) < len(keys):
        return None
    level = rule_file.number(fields["service_level"], "'service_level'", *SERVICE_LEVELS)
    during = fields["during"]
    if isinstance(during, ScalarNode) and during.text == "stock_age":
        if scope is Scope.CHANNEL:
            message = "'during: stock_age' needs the age of one location's stock level; a channel's total has none"
            rule_file.note(during, "wrong-scope", message, "write a duration such as 2h, or use 'scope: location'.")
        seconds = None
    else:
        seconds = rule_file.seconds(during, "'during'", at_most_days=MAX_DAYS)
        if seconds is None:
            return None
    return None if level is None else HoldBack("expected_sales", during_seconds=seconds, service_level=level)


_FORMS: dict[str, Callable[[RuleFile, Node, Scope], HoldBack | None]] = {
    "units": _units,
    "percent": _percent,
    "days_of_cover": _days_of_cover,
    "expected_sales": _expected_sales,
}
