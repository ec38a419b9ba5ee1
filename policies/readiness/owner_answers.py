"""Owners: whether each kind of exception goes to somebody who exists and can be reached."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from policies.decisions.exception_policy import handling_of
from policies.domain.model import EXCEPTION_KINDS, Channel, Context
from policies.policy_set import PolicySet
from policies.readiness import questions
from policies.readiness.answers import Answer, counted, fails, listed, passes


def owners_of(policy_set: PolicySet, channel: Channel, now: datetime) -> Mapping[str, tuple[str, ...]]:
    """By kind of exception, who gets one of the channel now: the owner, and whom it escalates to if anybody."""
    found = {}
    for kind in EXCEPTION_KINDS:
        handling = handling_of(policy_set, Context(now, channel, exception_kind=kind))
        found[kind] = (handling.owner, *([handling.escalate_to] if handling.escalate_to else []))
    return found


def owners_declared(owners: Mapping[str, tuple[str, ...]], contacts: Mapping[str, str]) -> Answer:
    """Whether everybody who gets exceptions is declared in the rules with a contact."""
    question = questions.OWNERS_DECLARED
    unknown = {kind: missing for kind, names in owners.items() if (missing := [x for x in names if x not in contacts])}
    if unknown:
        names = sorted({name for missing in unknown.values() for name in missing})
        advice = "declare them under `owners:` in rules/exceptions/, each with a contact."
        details = [f"{kind}: {listed(missing)}" for kind, missing in unknown.items()]
        return fails(question, f"{counted(len(names), 'owner')} without a contact: {listed(names)}", advice, details)
    everybody = {name for names in owners.values() for name in names}
    return passes(question, f"{counted(len(owners), 'kind')} of exceptions, {counted(len(everybody), 'owner')}")
