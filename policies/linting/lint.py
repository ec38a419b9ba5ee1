"""What reads well and is wrong: conditions that can never hold, rules that never have an effect.

Runs on a folder without other problems. Every finding is exact, so each is a problem that keeps the folder out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from policies.engine.satisfiability import StepBudget
from policies.linting.contradictions import contradictions
from policies.linting.findings import Finding
from policies.linting.shadowing import (
    shadowed_excludes,
    shadowed_exposure,
    shadowed_policies,
    shadowed_rules,
    unusable_policies,
)
from policies.policy_set import PolicySet
from policies.source.problems import Problem, Source
from policies.source.rule_file import MAX_PROBLEMS
from policies.source.yaml_nodes import MappingNode, Node, SequenceNode, parse

_CHECKS = (
    *(contradictions, shadowed_policies, shadowed_rules, shadowed_excludes, shadowed_exposure, unusable_policies),
)


def lint(policy_set: PolicySet, files: Mapping[str, bytes]) -> tuple[Problem, ...]:
    """The problems of a set, sorted, by the files that it was read from.

    The first 200 are told. Each kind of finding has a bounded amount of budget, beyond which it finds no more.
    """
    places = _KeyPositions(files)
    found = (finding for kind in _CHECKS for finding in kind(policy_set, StepBudget()))
    return tuple(sorted(places.problem(finding) for finding in islice(found, MAX_PROBLEMS)))


@dataclass(slots=True)
class _KeyPositions:
    """Where the keys of rules stand. Only files with a finding are looked at again."""

    files: Mapping[str, bytes]
    known: dict[str, dict[Source, MappingNode]] = field(default_factory=dict)

    def problem(self, finding: Finding) -> Problem:
        file = finding.source.file
        if file not in self.known:
            root, _ = parse(file, self.files[file])
            self.known[file] = {Source(file, node.line, node.column): node for node in _mappings(root)}
        entries = self.known[file][finding.source].entries
        marked = finding.key if finding.key in entries else "name"
        key, value = entries[marked]
        # A name is marked itself; of a condition its key, for the condition may go over many lines.
        node = value if marked == "name" else key
        place = (file, node.line, node.column)
        return Problem(*place, finding.code, finding.message, finding.help, node.length)


def _mappings(node: Node) -> Iterator[MappingNode]:
    """All mappings of a file; no two begin at the same place."""
    match node:
        case SequenceNode(items):
            for item in items:
                yield from _mappings(item)
        case MappingNode(entries):
            yield node
            for _, value in entries.values():
                yield from _mappings(value)
