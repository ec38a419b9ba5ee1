"""Reads delivery files: which service carries a shipment, how long it travels and what it costs."""

from __future__ import annotations

from decimal import Decimal

from policies.domain.rate_table import ShippingCost
from policies.facts.fact_table import RulePlace
from policies.facts.periods import DAYS
from policies.policy_set import DeliveryRule
from policies.reading.rate_tables import RateFiles
from policies.reading.stock_rules import MAX_RULES, check_description, read_when, rule_title, unique_name, without_none
from policies.reading.time_bounds import TIME_KEYS
from policies.source import likely_forms
from policies.source.problems import Source
from policies.source.rule_file import RuleFile
from policies.source.yaml_nodes import MappingNode, Node, ScalarNode

MONDAY_TO_FRIDAY = frozenset(range(5))
MAX_TRANSIT_DAYS = 60
MAX_POSITION = 1_000_000
MAX_COST = 1_000_000
"""The highest cost of one shipment, unit or kilogram, in the merchant's currency."""

_KEYS = ("name", "description", "position", "when", *TIME_KEYS, "service", "transit_days", "cost", "rates", "ships_on")
_COSTS = ("per_shipment", "per_unit", "per_kg")


def delivery_rules(
    rule_file: RuleFile, node: Node, names: dict[str, Source], positions: dict[int, Source], rates: RateFiles
) -> list[DeliveryRule]:
    """The rules of a delivery file. `names` and `positions` are those that all delivery files have used so far."""
    fields = rule_file.fields(node, "a delivery file", ("kind", "name", "description", "rules"), ("rules",))
    if fields is None or "rules" not in fields:
        return []
    check_description(rule_file, fields)
    if "name" in fields:
        rule_file.name(fields["name"], "'name'")
    rules = rule_file.items(fields["rules"], "'rules'", at_most=MAX_RULES)
    return without_none(_rule(rule_file, rule, names, positions, rates) for rule in rules)


def weekdays(rule_file: RuleFile, node: Node, what: str) -> frozenset[int] | None:
    """A list of days of the week, such as [mon, tue]."""
    named = [
        rule_file.choice(item, f"a day of {what}", DAYS)
        for item in rule_file.items(node, what, "[mon, tue]", at_most=7, form=likely_forms.days)
    ]
    days = frozenset(DAYS.index(day) for day in named if day is not None)
    return days if days and None not in named else None


def _rule(
    rule_file: RuleFile, node: Node, names: dict[str, Source], positions: dict[int, Source], rates: RateFiles
) -> DeliveryRule | None:
    title = rule_title(node, "rule")
    fields = rule_file.fields(node, title, _KEYS, ("name", "position", "service"))
    if fields is None:
        return None
    name = unique_name(rule_file, fields, "a delivery rule named", names)
    position = rule_file.position(fields, positions, "rule in the delivery files", at_most=MAX_POSITION)
    applies = read_when(rule_file, fields, "when", title, RulePlace.DELIVERY)
    service = rule_file.name(fields["service"], f"'service' in {title}") if "service" in fields else None
    transit_days = _transit_days(rule_file, fields["transit_days"]) if "transit_days" in fields else None
    cost = _cost(rule_file, fields["cost"], title) if "cost" in fields else None
    ships_on = weekdays(rule_file, fields["ships_on"], "'ships_on'") if "ships_on" in fields else MONDAY_TO_FRIDAY
    table = rates.table(rule_file, fields["rates"], title) if "rates" in fields else None
    if "cost" in fields and "rates" in fields:
        help = "keep one of them: 'cost' is the same everywhere, 'rates' depends on the zone."
        rule_file.note(fields["rates"], "conflicting-keys", f"{title} has both 'cost' and 'rates'", help)
    if not fields.keys() & {"transit_days", "cost", "rates"}:
        help = "add 'transit_days: 3', 'cost: {per_shipment: 4.90}' or 'rates: zones.csv'."
        rule_file.note(node, "no-effect", f"{title} has neither 'transit_days' nor 'cost' nor 'rates'", help)
    if name is None or position is None or applies is None or service is None or ships_on is None:
        return None
    return DeliveryRule(name, position, rule_file.source(node), applies, service, transit_days, cost, ships_on, table)


def _transit_days(rule_file: RuleFile, node: Node) -> int | None:
    return rule_file.integer(node, "'transit_days'", 0, MAX_TRANSIT_DAYS, unit="days")


def _cost(rule_file: RuleFile, node: Node, title: str) -> ShippingCost | None:
    what = f"'cost' in {title}"
    amount = likely_forms.number(node.text) if isinstance(node, ScalarNode) else None
    fields = rule_file.fields(node, what, _COSTS, form=f"{{per_shipment: {amount or '4.90'}}}")
    if fields is None:
        return None
    if isinstance(node, MappingNode) and not node.entries:
        rule_file.note(node, "missing-key", f"{what} has no amount", f"write one or more of: {', '.join(_COSTS)}.")
    amounts = [_amount(rule_file, fields[key], f"'{key}'") if key in fields else Decimal(0) for key in _COSTS]
    known = [amount for amount in amounts if amount is not None]
    return ShippingCost(*known) if len(known) == len(amounts) else None


def _amount(rule_file: RuleFile, node: Node, what: str) -> Decimal | None:
    """An amount of money, exactly as written."""
    number = rule_file.number(node, what, 0, MAX_COST)
    return None if number is None or not isinstance(node, ScalarNode) else Decimal(node.text)
