"""Reading delivery files: which service takes a shipment from a location, how long it travels and what it costs."""

from __future__ import annotations

from decimal import Decimal

from policies.facts.fact_table import RulePlace
from policies.facts.periods import DAYS
from policies.policy_set import DeliveryRule, ShippingCost
from policies.reading.stock_rules import MAX_RULES, description, present, rule_name, titled, when
from policies.reading.time_bounds import TIME_KEYS
from policies.source.problems import Source
from policies.source.rule_file import RuleFile
from policies.source.yaml_nodes import MappingNode, Node, ScalarNode

MONDAY_TO_FRIDAY = frozenset(range(5))
MAX_TRANSIT_DAYS = 60
MAX_POSITION = 1_000_000
MAX_COST = 1_000_000
"""Of one shipment or unit, in the merchant's currency."""

_KEYS = ("name", "description", "position", "when", *TIME_KEYS, "service", "transit_days", "cost", "ships_on")
_COSTS = ("per_shipment", "per_unit")


def delivery_rules(
    page: RuleFile, node: Node, names: dict[str, Source], positions: dict[int, Source]
) -> list[DeliveryRule]:
    """The rules of a delivery file. `names` and `positions` are those taken so far, over all delivery files."""
    fields = page.fields(node, "a delivery file", ("kind", "name", "description", "rules"), ("rules",))
    if fields is None or "rules" not in fields:
        return []
    description(page, fields)
    if "name" in fields:
        page.name(fields["name"], "'name'")
    rules = page.items(fields["rules"], "'rules'", at_most=MAX_RULES)
    return present(_rule(page, rule, names, positions) for rule in rules)


def weekdays(page: RuleFile, node: Node, what: str) -> frozenset[int] | None:
    """A list of days of the week, such as [mon, tue]."""
    named = [page.choice(item, f"a day of {what}", DAYS) for item in page.items(node, what, "[mon, tue]", at_most=7)]
    days = frozenset(DAYS.index(day) for day in named if day is not None)
    return days if days and None not in named else None


def _rule(page: RuleFile, node: Node, names: dict[str, Source], positions: dict[int, Source]) -> DeliveryRule | None:
    title = titled(node, "rule")
    fields = page.fields(node, title, _KEYS, ("name", "position", "service"))
    if fields is None:
        return None
    name = rule_name(page, fields, "a delivery rule named", names)
    position = page.position(fields, positions, "rule of all delivery files", at_most=MAX_POSITION)
    applies = when(page, fields, "when", title, RulePlace.DELIVERY)
    service = page.name(fields["service"], f"'service' in {title}") if "service" in fields else None
    transit_days = _transit_days(page, fields["transit_days"]) if "transit_days" in fields else None
    cost = _cost(page, fields["cost"], title) if "cost" in fields else None
    ships_on = weekdays(page, fields["ships_on"], "'ships_on'") if "ships_on" in fields else MONDAY_TO_FRIDAY
    if "transit_days" not in fields and "cost" not in fields:
        help = "add 'transit_days: 3', 'cost: {per_shipment: 4.90}', or both."
        page.note(node, "no-effect", f"{title} says neither how long a shipment travels nor what it costs", help)
    if name is None or position is None or applies is None or service is None or ships_on is None:
        return None
    return DeliveryRule(name, position, page.source(node), applies, service, transit_days, cost, ships_on)


def _transit_days(page: RuleFile, node: Node) -> int | None:
    return page.integer(node, "'transit_days'", 0, MAX_TRANSIT_DAYS)


def _cost(page: RuleFile, node: Node, title: str) -> ShippingCost | None:
    what = f"'cost' in {title}"
    fields = page.fields(node, what, _COSTS)
    if fields is None:
        return None
    if isinstance(node, MappingNode) and not node.entries:
        page.note(node, "missing-key", f"{what} does not say how much", f"write one of: {', '.join(_COSTS)}, or both.")
    amounts = [_amount(page, fields[key], f"'{key}'") if key in fields else Decimal(0) for key in _COSTS]
    per_shipment, per_unit = amounts
    return None if per_shipment is None or per_unit is None else ShippingCost(per_shipment, per_unit)


def _amount(page: RuleFile, node: Node, what: str) -> Decimal | None:
    """An amount of money, exactly as written."""
    number = page.number(node, what, 0, MAX_COST)
    return None if number is None or not isinstance(node, ScalarNode) else Decimal(node.text)
