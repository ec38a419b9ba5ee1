"""States, actors and history events of exceptions."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

OPEN = "open"
"""The state of an exception that is not resolved."""
RESOLVED = "resolved"
POLICY = "policy"
"""The actor of events that the service itself caused."""


@dataclass(frozen=True, slots=True)
class ExceptionEvent:
    """One event of an exception; `actor` is a person, a program or POLICY."""

    exception_id: UUID
    event: str
    actor: str
    description: str


def resolution_text(resolution: str) -> str:
    """The sentence of a resolution in the history of its exception."""
    return f"Resolved: {resolution.replace('_', ' ')}."
