"""Owners of exceptions: those that exception files declare, each with a contact, and those that their rules name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from policies.reading.stock_rules import unique_name
from policies.source.problems import Problem, Source, quoted
from policies.source.rule_file import RuleFile, suggestion
from policies.source.yaml_nodes import Node

MAX_OWNERS = 500
MAX_CONTACT_LENGTH = 200
OWNER_KEYS = ("name", "description", "contact")


@dataclass(slots=True)
class Owners:
    """The owners of all exception files read so far. `named` are those of rules, with where each is named."""

    contacts: dict[str, str] = field(default_factory=dict)
    places: dict[str, Source] = field(default_factory=dict)
    named: list[tuple[str, Source]] = field(default_factory=list)

    def declare(self, rule_file: RuleFile, node: Node) -> None:
        """Reads the `owners` of an exception file."""
        for entry in rule_file.items(node, "'owners'", at_most=MAX_OWNERS):
            fields = rule_file.fields(entry, "an owner", OWNER_KEYS, ("name", "contact"))
            if fields is None:
                continue
            name = unique_name(rule_file, fields, "an owner named", self.places)
            contact = (
                rule_file.text(fields["contact"], "'contact'", at_most=MAX_CONTACT_LENGTH)
                if "contact" in fields
                else None
            )
            if name is not None:
                self.contacts.setdefault(name, contact or "")

    def name(self, rule_file: RuleFile, node: Node, what: str) -> str | None:
        """Reads the name of an owner in a rule."""
        name = rule_file.name(node, what)
        if name is not None:
            self.named.append((name, rule_file.source(node)))
        return name

    def problems(self) -> list[Problem]:
        """Where rules name an owner that no file declares. A folder that declares none leaves its owners undeclared."""
        if not self.contacts:
            return []
        return [_unknown(name, source, self.contacts) for name, source in self.named if name not in self.contacts]


def _unknown(name: str, source: Source, contacts: Mapping[str, str]) -> Problem:
    known = ", ".join(sorted(contacts))
    help = f"{suggestion(name, contacts)}Add it to 'owners:' with a contact, or name one of: {known}."
    return Problem.at(source.file, source, "unknown-owner", f"there is no owner {quoted(name)}", help)
