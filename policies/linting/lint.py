"""Finds valid rules that cannot work: conditions that are never true, rules that never have an effect.

Runs on a folder without other problems. Every finding is certain, so each is a problem for which the folder is refused.
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
    """The problems of a policy set, sorted, with their positions in the files that the set was read from.

    Reports at most 200. Each check has a bounded budget; once that is spent, it finds no more.
    """
    positions = _KeyPositions(files)
    findings = (finding for check in _CHECKS for finding in check(policy_set, StepBudget()))
    return tuple(sorted(positions.problem(finding) for finding in islice(findings, MAX_PROBLEMS)))


@dataclass(slots=True)
class _KeyPositions:
    """The positions of keys in rules. Only files with a finding are parsed again."""

    files: Mapping[str, bytes]
    mappings: dict[str, dict[Source, MappingNode]] = field(default_factory=dict)

    def problem(self, finding: Finding) -> Problem:
        file = finding.source.file
        if file not in self.mappings:
            root, _ = parse(file, self.files[file])
            self.mappings[file] = {Source(file, node.line, node.column): node for node in _mappings(root)}
        entries = self.mappings[file][finding.source].entries
        marked = finding.key if finding.key in entries else "name"
        key, value = entries[marked]
        # The carets mark a name itself, but only the key of a condition, because a condition may span many lines.
        node = value if marked == "name" else key
        return Problem(file, node.line, node.column, finding.code, finding.message, finding.help, node.length)


def _mappings(node: Node) -> Iterator[MappingNode]:
    """All mappings of a file; no two start at the same position."""
    match node:
        case SequenceNode(items):
            for item in items:
                yield from _mappings(item)
        case MappingNode(entries):
            yield node
            for _, value in entries.values():
                yield from _mappings(value)
