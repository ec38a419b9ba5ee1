"""What every exception has: states, actors and the events of its history."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

OPEN = "open"
"""The state of an exception that nobody has settled."""
RESOLVED = "resolved"
POLICY = "policy"
"""The actor of what no person did."""


@dataclass(frozen=True, slots=True)
class ExceptionEvent:
    """One thing that happened to an exception; `actor` is a person, or POLICY."""

    exception_id: UUID
    event: str
    actor: str
    description: str


def resolution_text(resolution: str) -> str:
    """How an exception was settled, as its history says it."""
    return f"Settled: {resolution.replace('_', ' ')}."
