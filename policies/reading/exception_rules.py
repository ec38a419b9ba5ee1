"""Reads exception files: who resolves an exception, how, and by when; and the owners that they declare."""

from __future__ import annotations

from datetime import timedelta

from policies.domain.model import EXCEPTION_ACTIONS
from policies.facts.fact_table import RulePlace
from policies.policy_set import ExceptionRule
from policies.reading.owners import Owners
from policies.reading.stock_rules import MAX_RULES, check_description, read_when, rule_title, unique_name, without_none
from policies.reading.time_bounds import TIME_KEYS
from policies.source.problems import Source
from policies.source.rule_file import RuleFile
from policies.source.yaml_nodes import MappingNode, Node

MAX_POSITION = 1_000_000
MAX_DUE_DAYS = 365

_FILE_KEYS = ("kind", "name", "description", "owners", "rules")
_REQUIRED = ("name", "position", "do", "owner", "due_in")
_KEYS = ("name", "description", "position", "when", *TIME_KEYS, "do", "owner", "due_in", "escalate_to")


def exception_rules(
    rule_file: RuleFile, node: Node, names: dict[str, Source], positions: dict[int, Source], owners: Owners
) -> list[ExceptionRule]:
    """The rules of an exception file. `names`, `positions` and `owners` are those of all exception files so far.

    A file that declares owners needs no rules.
    """
    has_owners = isinstance(node, MappingNode) and "owners" in node.entries
    fields = rule_file.fields(node, "an exception file", _FILE_KEYS, () if has_owners else ("rules",))
    if fields is None:
        return []
    if "owners" in fields:
        owners.declare(rule_file, fields["owners"])
    if "rules" not in fields:
        return []
    check_description(rule_file, fields)
    if "name" in fields:
        rule_file.name(fields["name"], "'name'")
    rules = rule_file.items(fields["rules"], "'rules'", at_most=MAX_RULES)
    return without_none(_rule(rule_file, rule, names, positions, owners) for rule in rules)


def _rule(
    rule_file: RuleFile, node: Node, names: dict[str, Source], positions: dict[int, Source], owners: Owners
) -> ExceptionRule | None:
    title = rule_title(node, "rule")
    fields = rule_file.fields(node, title, _KEYS, _REQUIRED)
    if fields is None:
        return None
    name = unique_name(rule_file, fields, "an exception rule named", names)
    position = rule_file.position(fields, positions, "rule in the exception files", at_most=MAX_POSITION)
    applies = read_when(rule_file, fields, "when", title, RulePlace.EXCEPTION)
    action = rule_file.choice(fields["do"], "'do'", EXCEPTION_ACTIONS) if "do" in fields else None
    owner = owners.name(rule_file, fields["owner"], "'owner'") if "owner" in fields else None
    due_in = rule_file.seconds(fields["due_in"], "'due_in'", at_most_days=MAX_DUE_DAYS) if "due_in" in fields else None
    escalate_to = owners.name(rule_file, fields["escalate_to"], "'escalate_to'") if "escalate_to" in fields else None
    if name is None or position is None or applies is None or action is None or owner is None or due_in is None:
        return None
    due = timedelta(seconds=due_in)
    return ExceptionRule(name, position, rule_file.source(node), applies, action, owner, due, escalate_to)
