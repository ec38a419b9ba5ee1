"""What the service asks the sandbox process of `candidate_replay`: decisions to compare, and the rules to try."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class ReplayedDecision:
    """A stored decision as the sandbox process gets it. `inputs` are None in a summary, without the catalog else."""

    id: UUID
    policy_revision: str
    software_version: str
    explanation: bytes
    inputs: bytes | None
    catalog_hash: str | None


@dataclass(frozen=True, slots=True)
class ReplayTask:
    """Decisions to compare, the rule files to try, and the rule files and the catalogs of the decisions."""

    files: Mapping[str, bytes]
    decisions: tuple[ReplayedDecision, ...]
    past_files: Mapping[str, Mapping[str, bytes]]
    """By revision; a revision that is no longer stored has no files."""
    catalogs: Mapping[str, bytes]
    """By hash, as stored."""

    def serialize(self) -> bytes:
        """The task as input of the process."""
        return pickle.dumps(self)
