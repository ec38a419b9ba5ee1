"""Reads `expect` of a test: the expected answer, or parts of it, and the rules that affected it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from policies.decisions.alternatives.plan_differences import LOCATION_ID, SPLIT_KITS, UNITS
from policies.domain.model import EXCEPTION_ACTIONS, PLANNED_OUTCOMES
from policies.explanation import DropReason
from policies.policy_set import LOCATION_STEPS, PLAN_STEPS
from policies.reading.exception_rules import MAX_DUE_DAYS
from policies.source.problems import quoted
from policies.source.rule_file import RuleFile, duration_text, suggestion
from policies.source.yaml_nodes import Node, ScalarNode, SequenceNode
from policies.testing.fixtures import Fixtures
from policies.testing.stated_values import day, optional, price, unit_count

MAX_SHIPMENTS = 50
MAX_REASONS = 200

DELIVERY_FIGURES = ("service", "transit_days", "cost", "delivers_on")
REASONS = ("because", "because_includes")
"""Keys for the rules that fired, exactly or in part; a test has one of them."""

AVAILABILITY_KEYS = ("sellable", *REASONS, "held_back", "largest_order", "locations")
EXCEPTION_KEYS = ("do", "owner", *REASONS, "due_in", "escalate_to")
NEXT_BEST_KEYS = ("next_best", "decided_by")
"""Keys for the plan that comes after the chosen one."""
REST_KEYS = ("sent_to_store", "shipped_to_shopper")
"""Keys for locations that supply what the store of a pickup order lacks."""
ORDER_KEYS = (
    *("outcome", *REASONS, "shipments", "shortages", "policy", "dropped", "handled_on"),
    *(*REST_KEYS, *NEXT_BEST_KEYS),
)
LISTING_KEYS = ("ready", *REASONS, "wrong")
DELIVERY_KEYS = (*REASONS, *DELIVERY_FIGURES)

DECIDING = (UNITS, SPLIT_KITS, *PLAN_STEPS, *LOCATION_STEPS, LOCATION_ID)
"""What can decide between two plans."""

UNKNOWN = "unknown"
"""What a test writes for an unknown value."""

Units = Mapping[str, int]
Figure = int | str | Decimal | Units | Mapping[str, str] | Mapping[str, Units]
"""One part of an answer: units, a word, units or words by location or SKU, or units by location and SKU."""

FigureReader = Callable[[Node, str], Figure | None]


@dataclass(frozen=True, slots=True)
class Expected:
    """The expected answer. `figures` has the stated parts by key, `nodes` their nodes in the file.

    `because` has the rules that must have fired; other rules may fire too unless it `is_exact`.
    """

    because: frozenset[str]
    is_exact: bool
    figures: Mapping[str, Figure]
    nodes: Mapping[str, Node]


@dataclass(frozen=True, slots=True)
class ExpectationReader:
    """Reads `expect`. `because` may only name `rule_names`; None if the rules could not be read."""

    file: RuleFile
    fixtures: Fixtures
    rule_names: Collection[str] | None

    def availability(self, node: Node, what: str) -> Expected | None:
        """The expected sellable units."""
        fields = self.file.fields(node, what, AVAILABILITY_KEYS, ("sellable",))
        readers: dict[str, FigureReader] = {
            "sellable": partial(unit_count, self.file),
            "held_back": partial(unit_count, self.file),
            "largest_order": partial(unit_count, self.file),
            "locations": partial(self._units, "location"),
        }
        return self._expected(node, fields, readers)

    def order(self, node: Node, what: str) -> Expected | None:
        """The expected routing of an order."""
        fields = self.file.fields(node, what, ORDER_KEYS, ("outcome",))
        readers: dict[str, FigureReader] = {
            "outcome": lambda value, name: self.file.choice(value, name, PLANNED_OUTCOMES),
            "shipments": self._shipments,
            "shortages": partial(self._units, "product"),
            "policy": self._rule,
            "dropped": self._dropped,
            **dict.fromkeys(REST_KEYS, self._locations),
            "next_best": self._locations,
            "decided_by": lambda value, name: self.file.choice(value, name, DECIDING),
            "handled_on": self._days,
        }
        return self._expected(node, fields, readers)

    def delivery(self, node: Node, what: str) -> Expected | None:
        """The expected service, transit days, cost and delivery day; each may be unknown."""
        fields = self.file.fields(node, what, DELIVERY_KEYS)
        readers: dict[str, FigureReader] = {
            "service": _or_unknown(self.file.name),
            "transit_days": _or_unknown(partial(unit_count, self.file)),
            "cost": _or_unknown(partial(price, self.file)),
            "delivers_on": _or_unknown(self._day),
        }
        return self._expected(node, fields, readers)

    def _days(self, node: Node, what: str) -> Mapping[str, str]:
        days = {key: self._day(value, what) for key, value in self.fixtures.entries("location", node, what)}
        return {key: handled_on for key, handled_on in days.items() if handled_on is not None}

    def _day(self, node: Node, what: str) -> str | None:
        delivery_day = day(self.file, node, what)
        return None if delivery_day is None else delivery_day.isoformat()

    def exception(self, node: Node, what: str) -> Expected | None:
        """Who is expected to resolve the exception, how and by when."""
        fields = self.file.fields(node, what, EXCEPTION_KEYS, ("do", "owner"))
        readers: dict[str, FigureReader] = {
            "do": lambda value, name: self.file.choice(value, name, EXCEPTION_ACTIONS),
            "owner": self.file.name,
            "due_in": self._duration,
            "escalate_to": self.file.name,
        }
        return self._expected(node, fields, readers)

    def listing(self, node: Node, what: str) -> Expected | None:
        """Whether the product is expected to be listed, and which of its attributes are wrong."""
        fields = self.file.fields(node, what, LISTING_KEYS, ("ready",))
        readers: dict[str, FigureReader] = {"ready": self._yes_or_no, "wrong": self._attributes}
        return self._expected(node, fields, readers)

    def _yes_or_no(self, node: Node, what: str) -> str | None:
        flag = self.file.flag(node, what)
        return None if flag is None else yes_or_no(flag)

    def _attributes(self, node: Node, what: str) -> str:
        items = self.file.items(node, what, "[barcode, images]", at_most=MAX_REASONS)
        names = [self.file.text(item, "an attribute") for item in items]
        return attribute_list(name for name in names if name is not None)

    def _expected(
        self, node: Node, fields: dict[str, Node] | None, readers: Mapping[str, FigureReader]
    ) -> Expected | None:
        if fields is None:
            return None
        because = self._reasons(node, fields)
        figures = {key: read(fields[key], f"'{key}'") for key, read in readers.items() if key in fields}
        if because is None:
            return None
        stated = {key: figure for key, figure in figures.items() if figure is not None}
        return Expected(because, "because" in fields, stated, fields)

    def _reasons(self, node: Node, fields: Mapping[str, Node]) -> frozenset[str] | None:
        """The rules that must have fired, from the one of the two keys that a test must have."""
        stated = [key for key in REASONS if key in fields]
        if not stated:
            help = "add 'because: [a-rule]' with exactly the rules that fire, or 'because_includes:' with some of them."
            self.file.note(node, "missing-key", "'expect' has no 'because'", help)
        if len(stated) > 1:
            help = "keep 'because' if no other rule may fire, and 'because_includes' if others may."
            message = "'because' and 'because_includes' exclude each other"
            self.file.note(fields["because_includes"], "conflicting-keys", message, help)
        because = optional(fields, "because", self._because)
        included = optional(fields, "because_includes", self._because_includes)
        return because if "because" in fields else included

    def _because(self, node: Node, what: str) -> frozenset[str]:
        """Names of rules; an empty list means that no rule affected the answer."""
        if isinstance(node, SequenceNode) and not node.items:
            return frozenset()
        return self._rules(node, what)

    def _because_includes(self, node: Node, what: str) -> frozenset[str]:
        """Names of rules that must have fired, at least one: an empty list would accept every reason."""
        if isinstance(node, SequenceNode) and not node.items:
            help = "name at least one rule that must fire, or write 'because: []' if none may."
            self.file.note(node, "empty-list", f"{what} is an empty list", help)
            return frozenset()
        return self._rules(node, what)

    def _rules(self, node: Node, what: str) -> frozenset[str]:
        names = [self._rule(item, "a rule") for item in self.file.items(node, what, "[a-rule]", at_most=MAX_REASONS)]
        return frozenset(name for name in names if name is not None)

    def _rule(self, node: Node, what: str) -> str | None:
        name = self.file.text(node, what)
        if name is not None and self.rule_names is not None and name not in self.rule_names:
            help = (
                f"{suggestion(name, self.rule_names)}A suite tests the rule file of the same name, or all files with "
            )
            self.file.note(node, "unknown-rule", f"this suite has no rule {quoted(name)}", help + "'rules: all'.")
            return None
        return name

    def _duration(self, node: Node, what: str) -> str | None:
        seconds = self.file.seconds(node, what, at_most_days=MAX_DUE_DAYS)
        return None if seconds is None else duration_text(seconds)

    def _units(self, kind: str, node: Node, what: str) -> Units:
        counts = {name: unit_count(self.file, value, what) for name, value in self.fixtures.entries(kind, node, what)}
        return {name: count for name, count in counts.items() if count is not None}

    def _shipments(self, node: Node, what: str) -> Mapping[str, Units]:
        """Units by location and SKU; the order in which shipments are listed does not matter."""
        if isinstance(node, SequenceNode) and not node.items:
            return {}
        shipments: dict[str, Units] = {}
        keys = ("location", "lines")
        for item in self.file.items(node, what, "[{location: dc-north, lines: {MUG: 2}}]", at_most=MAX_SHIPMENTS):
            fields = self.file.fields(item, "a shipment", keys, keys) or {}
            location_id = optional(fields, "location", partial(self.fixtures.fixture_name, "location"))
            units = optional(fields, "lines", partial(self._units, "product"))
            if location_id in shipments:
                message = f"two shipments from {quoted(location_id)}; a location ships an order in one shipment"
                self.file.note(item, "conflicting-keys", message, "merge their lines.")
            elif location_id is not None and units is not None:
                shipments[location_id] = units
        return shipments

    def _locations(self, node: Node, what: str) -> str | None:
        """The locations of a plan, as `location_list` writes them."""
        if isinstance(node, SequenceNode) and not node.items:
            return location_list(())
        items = self.file.items(node, what, "[dc-north]", at_most=MAX_SHIPMENTS)
        ids = [self.fixtures.fixture_name("location", item, "a location") for item in items]
        return location_list([location_id for location_id in ids if location_id is not None])

    def _dropped(self, node: Node, what: str) -> Mapping[str, str]:
        reasons = tuple(DropReason)
        dropped = {
            name: self.file.choice(value, what, reasons)
            for name, value in self.fixtures.entries("location", node, what)
        }
        return {name: reason for name, reason in dropped.items() if reason is not None}


def location_list(location_ids: Iterable[str]) -> str:
    """Locations as one figure, whatever their order; "no location" if there are none."""
    return ", ".join(sorted(location_ids)) or "no location"


def yes_or_no(flag: bool) -> str:
    """A flag as a figure."""
    return "true" if flag else "false"


def attribute_list(attributes: Iterable[str]) -> str:
    """Attributes as one figure, whatever their order; "nothing" if there are none."""
    return ", ".join(sorted(set(attributes))) or "nothing"


def _or_unknown(read: FigureReader) -> FigureReader:
    """Reads a value or the word 'unknown'."""
    return lambda node, what: UNKNOWN if isinstance(node, ScalarNode) and node.text == UNKNOWN else read(node, what)
