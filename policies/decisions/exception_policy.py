"""Who resolves an exception, how and by when: decided by the first exception rule that applies."""

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
"""Decides if a folder has no exception rules; a folder that has some must include a default."""


@dataclass(frozen=True, slots=True)
class ExceptionHandling:
    """How an exception is to be resolved. `action` is the value of `do:` in the rule; `source` is its position."""

    rule: str
    source: Source
    action: str
    owner: str
    due_in: timedelta
    escalate_to: str | None

    @property
    def is_built_in(self) -> bool:
        """Whether no rule file decided it."""
        return self.source == BUILT_IN.source


def handling_of(policy_set: PolicySet, context: Context) -> ExceptionHandling:
    """How the rules handle the context's exception. Raises ValueError if the context has none."""
    if context.exception_kind is None:
        raise ValueError("the context has no exception kind; set exception_kind")
    applying = policy_set.exception_matcher.fired(context)
    rule = applying[0] if applying else BUILT_IN
    return ExceptionHandling(rule.name, rule.source, rule.action, rule.owner, rule.due_in, rule.escalate_to)
