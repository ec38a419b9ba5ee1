"""What earlier versions wrote in the explanations of decisions, in the words of this one.

Explanations are stored as they were written. A replay shows whether a decision is made as it was then; that a sentence
about it is worded otherwise now is no difference. Whoever words an effect or a reason anew adds the former words here.
"""

from __future__ import annotations

import re
from typing import Final

from policies.explanation import DropReason
from service.rpc.message_differences import serialized
from truestock.v1 import decision_pb2

_UNITS = r"(?=[\d,]+ units?$)"
_EFFECTS: Final = (
    (re.compile(rf"^told 0 at or below {_UNITS}"), "published as 0 at or below "),
    (re.compile(rf"^told at most {_UNITS}"), "capped at "),
    (re.compile(r"^not used by the routing policy$"), "excluded by the routing policy"),
)
_REASONS: Final = {"only": DropReason.NOT_ELIGIBLE.value}
_WORDS_OF_PLANNERS: Final = ("blocked: ", "restricted: ", "by ")
"""How effects begin that go on in the words of a rule: its reason, or its service."""


def in_current_words(explanation: bytes) -> bytes:
    """A serialized Decision in the words of this version; the same bytes if it has no others."""
    message, is_changed = decision_pb2.Decision.FromString(explanation), False
    for fired in message.fired_rules:
        effect = _current_effect(fired.effect)
        is_changed, fired.effect = is_changed or effect != fired.effect, effect
    for dropped in message.dropped_candidates:
        reason = _REASONS.get(dropped.reason, dropped.reason)
        is_changed, dropped.reason = is_changed or reason != dropped.reason, reason
    return serialized(message) if is_changed else explanation


def _current_effect(effect: str) -> str:
    if effect.startswith(_WORDS_OF_PLANNERS):
        return effect
    return ", ".join(_current(part) for part in effect.split(", "))


def _current(part: str) -> str:
    for former, current in _EFFECTS:
        part = former.sub(current, part)
    return part
