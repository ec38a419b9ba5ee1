"""Finds valid rules that cannot work: conditions that are never true, rules that never have an effect.

Runs on a folder without other problems. Every finding is certain, so each is a problem for which the folder is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from policies.engine.satisfiability import StepBudget
from policies.linting.contradictions import contradictions
from policies.linting.findings import Finding
from policies.linting.listing_rules import readiness_without_requirements, repeated_requirements
from policies.linting.rule_mappings import RuleMappings
from policies.linting.shadowing import (
    shadowed_excludes,
    shadowed_exposure,
    shadowed_policies,
    shadowed_rules,
    unusable_policies,
)
from policies.policy_set import PolicySet
from policies.source.problems import Problem
from policies.source.rule_file import MAX_PROBLEMS

_CHECKS = (
    *(contradictions, shadowed_policies, shadowed_rules, shadowed_excludes, shadowed_exposure, unusable_policies),
    *(readiness_without_requirements, repeated_requirements),
)


def lint(policy_set: PolicySet, files: Mapping[str, bytes]) -> tuple[Problem, ...]:
    """The problems of a policy set, sorted, with their positions in the files that the set was read from.

    Reports at most 200. Each check has a bounded budget; once that is spent, it finds no more.
    """
    mappings = RuleMappings(files)
    findings = (finding for check in _CHECKS for finding in check(policy_set, StepBudget()))
    return tuple(sorted(_problem(finding, mappings) for finding in islice(findings, MAX_PROBLEMS)))


def _problem(finding: Finding, mappings: RuleMappings) -> Problem:
    entries = mappings.at(finding.source).entries
    marked = finding.key if finding.key in entries else "name"
    key, value = entries[marked]
    # The carets mark a name itself, but only the key of a condition, because a condition may span many lines.
    node = value if marked == "name" else key
    return Problem.at(finding.source.file, node, finding.code, finding.message, finding.help)
