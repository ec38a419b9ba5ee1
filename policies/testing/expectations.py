"""Reading `expect` in a test: the answer, or the parts of it that matter, and the rules that bore on it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from policies.domain.model import EXCEPTION_ACTIONS, Outcome
from policies.explanation import DropReason
from policies.reading.exception_rules import MAX_DUE_DAYS
from policies.source.problems import quoted
from policies.source.rule_file import RuleFile, duration_text, suggestion
from policies.source.yaml_nodes import Node, ScalarNode, SequenceNode
from policies.testing.fixtures import Fixtures
from policies.testing.stated_values import day, optional, price, unit_count

MAX_SHIPMENTS = 50
MAX_REASONS = 200

AVAILABILITY_KEYS = ("sellable", "because", "held_back", "largest_order", "locations")
EXCEPTION_KEYS = ("do", "owner", "because", "due_in", "escalate_to")
ORDER_KEYS = ("outcome", "because", "shipments", "shortages", "policy", "dropped")
DELIVERY_KEYS = ("because", "service", "transit_days", "cost", "delivers_on")

UNKNOWN = "unknown"
"""How a test writes that nobody knows."""

Units = Mapping[str, int]
Figure = int | str | Decimal | Units | Mapping[str, str] | Mapping[str, Units]
"""One part of an answer: units, a word, units or words by location or SKU, or units by location and SKU."""

FigureReader = Callable[[Node, str], Figure | None]


@dataclass(frozen=True, slots=True)
class Expected:
    """The answer that a test expects. `figures` has the parts that it states, by key, and `places` where they stand."""

    because: frozenset[str]
    figures: Mapping[str, Figure]
    places: Mapping[str, Node]


@dataclass(frozen=True, slots=True)
class ExpectationReader:
    """Reads `expect`. `because` names `known_rules` only; None where they are not known, as they have problems."""

    page: RuleFile
    fixtures: Fixtures
    known_rules: Collection[str] | None

    def of_sale(self, node: Node, what: str) -> Expected | None:
        """What the channel may be told."""
        fields = self.page.fields(node, what, AVAILABILITY_KEYS, ("sellable", "because"))
        readers: dict[str, FigureReader] = {
            "sellable": partial(unit_count, self.page),
            "held_back": partial(unit_count, self.page),
            "largest_order": partial(unit_count, self.page),
            "locations": partial(self._units, "location"),
        }
        return self._expected(fields, readers)

    def of_order(self, node: Node, what: str) -> Expected | None:
        """Where the order goes."""
        fields = self.page.fields(node, what, ORDER_KEYS, ("outcome", "because"))
        readers: dict[str, FigureReader] = {
            "outcome": lambda value, name: self.page.choice(value, name, tuple(Outcome)),
            "shipments": self._shipments,
            "shortages": partial(self._units, "product"),
            "policy": self._rule,
            "dropped": self._dropped,
        }
        return self._expected(fields, readers)

    def of_parcel(self, node: Node, what: str) -> Expected | None:
        """How and when the parcel arrives, and what it costs; each may be unknown."""
        fields = self.page.fields(node, what, DELIVERY_KEYS, ("because",))
        readers: dict[str, FigureReader] = {
            "service": _or_unknown(self.page.name),
            "transit_days": _or_unknown(partial(unit_count, self.page)),
            "cost": _or_unknown(partial(price, self.page)),
            "delivers_on": _or_unknown(self._day),
        }
        return self._expected(fields, readers)

    def _day(self, node: Node, what: str) -> str | None:
        found = day(self.page, node, what)
        return None if found is None else found.isoformat()

    def of_exception(self, node: Node, what: str) -> Expected | None:
        """Who settles it, how and until when."""
        fields = self.page.fields(node, what, EXCEPTION_KEYS, ("do", "owner", "because"))
        readers: dict[str, FigureReader] = {
            "do": lambda value, name: self.page.choice(value, name, EXCEPTION_ACTIONS),
            "owner": self.page.name,
            "due_in": self._duration,
            "escalate_to": self.page.name,
        }
        return self._expected(fields, readers)

    def _expected(self, fields: dict[str, Node] | None, readers: Mapping[str, FigureReader]) -> Expected | None:
        if fields is None:
            return None
        because = optional(fields, "because", self._because)
        found = {key: read(fields[key], f"'{key}'") for key, read in readers.items() if key in fields}
        if because is None:
            return None
        return Expected(because, {key: figure for key, figure in found.items() if figure is not None}, fields)

    def _because(self, node: Node, what: str) -> frozenset[str]:
        """Names of rules; an empty list says that no rule bore on the answer."""
        if isinstance(node, SequenceNode) and not node.items:
            return frozenset()
        names = [self._rule(item, "a rule") for item in self.page.items(node, what, "[a-rule]", at_most=MAX_REASONS)]
        return frozenset(name for name in names if name is not None)

    def _rule(self, node: Node, what: str) -> str | None:
        name = self.page.text(node, what)
        if name is not None and self.known_rules is not None and name not in self.known_rules:
            help = f"{suggestion(name, self.known_rules)}A suite knows the rules of the file beside it, or with "
            self.page.note(node, "unknown-rule", f"there is no rule {quoted(name)} here", help + "'rules: all' of all.")
            return None
        return name

    def _duration(self, node: Node, what: str) -> str | None:
        seconds = self.page.seconds(node, what, at_most_days=MAX_DUE_DAYS)
        return None if seconds is None else duration_text(seconds)

    def _units(self, kind: str, node: Node, what: str) -> Units:
        found = {name: unit_count(self.page, value, what) for name, value in self.fixtures.entries(kind, node, what)}
        return {name: count for name, count in found.items() if count is not None}

    def _shipments(self, node: Node, what: str) -> Mapping[str, Units]:
        """Units by location and SKU; the order in which shipments are listed does not matter."""
        if isinstance(node, SequenceNode) and not node.items:
            return {}
        shipments: dict[str, Units] = {}
        keys = ("location", "lines")
        for item in self.page.items(node, what, "[{location: dc-north, lines: {MUG: 2}}]", at_most=MAX_SHIPMENTS):
            fields = self.page.fields(item, "a shipment", keys, keys) or {}
            location_id = optional(fields, "location", partial(self.fixtures.known, "location"))
            units = optional(fields, "lines", partial(self._units, "product"))
            if location_id in shipments:
                message = f"two shipments leave from {quoted(location_id)}; one location makes one shipment"
                self.page.note(item, "conflicting-keys", message, "put their lines together.")
            elif location_id is not None and units is not None:
                shipments[location_id] = units
        return shipments

    def _dropped(self, node: Node, what: str) -> Mapping[str, str]:
        reasons = tuple(DropReason)
        found = {
            name: self.page.choice(value, what, reasons)
            for name, value in self.fixtures.entries("location", node, what)
        }
        return {name: reason for name, reason in found.items() if reason is not None}


def _or_unknown(read: FigureReader) -> FigureReader:
    """Reads the word 'unknown', too."""
    return lambda node, what: UNKNOWN if isinstance(node, ScalarNode) and node.text == UNKNOWN else read(node, what)
