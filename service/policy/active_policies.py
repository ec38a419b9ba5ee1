"""The rules in force: read from their folder, swapped in one assignment; the last good ones stay. No watching here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from policies.policy_set import PolicySet
from policies.reading.rules_reader import FOLDER, Reading, is_rule_file, read, revision
from policies.source.problems import Problem
from service.metrics import Metrics
from service.policy.rules_folder import RulesFolder, find, problems_text

log = structlog.get_logger(__name__)


class RulesFolderError(Exception):
    """The rules folder cannot be served from. The message lists its problems."""


@dataclass(frozen=True, slots=True)
class LoadedPolicies:
    """What the folder came to: the set in force, since when, and the problems of a later refused folder."""

    policy_set: PolicySet
    load_time: datetime
    files: Mapping[str, bytes]
    problems: tuple[Problem, ...] = ()
    refuse_time: datetime | None = None


class ActivePolicies:
    """The rules in force. `current` is one immutable value; a request reads it once and uses it to its end.

    `taken` is what of the folder was last looked into, good or bad. One thread at a time may reload.
    """

    def __init__(self, folder: Path, metrics: Metrics) -> None:
        """Raises PolicyFolderError where there is nothing good to start with."""
        self.folder = folder
        self._metrics = metrics
        if not folder.is_dir():
            raise RulesFolderError(f"there is no rules folder {folder}; name one with --rules")
        self.taken = find(folder)
        reading = _read(self.taken)
        if reading.policy_set is None:
            raise RulesFolderError(problems_text(reading.problems, self.taken.files))
        self.current = LoadedPolicies(reading.policy_set, datetime.now(UTC), self.taken.files)
        self._show(reading.policy_set)

    def in_force(self) -> PolicySet:
        """The rules that decide now."""
        return self.current.policy_set

    def reload(self) -> bool:
        """Takes the folder as it is now; returns whether another set came into force."""
        return self.take(find(self.folder))

    def take(self, found: RulesFolder) -> bool:
        """Reads what was found; returns whether another set came into force. A bad folder changes only `problems`."""
        # A folder that cannot be read through is not tried again until it is another.
        self.taken = found
        if not found.problems and _revision(found) == self.current.policy_set.revision:
            self._keep_same()
            return False
        reading = _read(found)
        if reading.policy_set is None:
            self._refuse(reading.problems, found)
            return False
        self.current = LoadedPolicies(reading.policy_set, datetime.now(UTC), found.files)
        self._show(reading.policy_set)
        log.info("rules loaded", revision=reading.policy_set.revision, files=len(reading.policy_set.files))
        return True

    def _keep_same(self) -> None:
        self._metrics.policy_reloads.labels("unchanged").inc()
        self._metrics.policy_problems.set(0)
        self.current = replace(self.current, problems=(), refuse_time=None)

    def _show(self, policy_set: PolicySet) -> None:
        self._metrics.policy_reloads.labels("accepted").inc()
        self._metrics.policy_problems.set(0)
        self._metrics.policy_in_force(policy_set.revision)

    def _refuse(self, problems: tuple[Problem, ...], found: RulesFolder) -> None:
        self._metrics.policy_reloads.labels("refused").inc()
        self._metrics.policy_problems.set(len(problems))
        self.current = replace(self.current, problems=problems, refuse_time=datetime.now(UTC))
        first = problems_text(problems[:1], found.files)
        log.error("rules refused; the last good ones stay in force", problems=len(problems), first=first)


def _revision(found: RulesFolder) -> str:
    return revision({path: content for path, content in found.files.items() if is_rule_file(path)})


def _read(found: RulesFolder) -> Reading:
    """The rules that were found. What could not be read may hold anything, so without it there are none."""
    try:
        reading = read(found.files)
    except Exception:
        log.exception("reading the rules failed; this is a defect of Truestock")
        message = "reading these rules failed, which is a defect of Truestock; its log says more"
        reading = Reading(None, (Problem(FOLDER, 0, 0, "not-readable", message, "undo the last edit and report it."),))
    if not found.problems:
        return reading
    # Of a folder without any file nothing more is to be said.
    return Reading(None, tuple(sorted((*found.problems, *(reading.problems if found.files else ())))))
