"""Who settles what went wrong, how, and until when: the first exception rule that applies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from policies.domain.model import Context
from policies.engine.conditions import Always
from policies.policy_set import ExceptionRule, PolicySet
from policies.source.problems import Source

BUILT_IN = ExceptionRule(
    name="built-in",
    position=0,
    source=Source("built-in", 0),
    when=Always(),
    action="review",
    owner="operations",
    due_in=timedelta(days=1),
)
"""Decides where a folder has no exception file at all; a folder with one has a default of its own."""


@dataclass(frozen=True, slots=True)
class ExceptionHandling:
    """How an exception is to be settled. `action` is what the rule says after `do:`; `source` is where it stands."""

    rule: str
    source: Source
    action: str
    owner: str
    due_in: timedelta
    escalate_to: str | None

    @property
    def is_built_in(self) -> bool:
        """Whether no rule file says it."""
        return self.source == BUILT_IN.source


def handling_of(policy_set: PolicySet, context: Context) -> ExceptionHandling:
    """What the rules say about the context's exception. Raises ValueError where the context names none."""
    if context.exception_kind is None:
        raise ValueError("the context of an exception says what kind of exception it is")
    applying = policy_set.exception_matcher.fired(context)
    rule = applying[0] if applying else BUILT_IN
    return ExceptionHandling(rule.name, rule.source, rule.action, rule.owner, rule.due_in, rule.escalate_to)
