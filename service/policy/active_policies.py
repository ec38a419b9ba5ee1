"""The rules in force, swapped in one assignment. Invalid rules in the folder leave the last valid ones in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from policies.decisions.exception_policy import BUILT_IN
from policies.policy_set import PolicySet
from policies.reading.rules_reader import FOLDER, Reading, is_rule_file, read, revision
from policies.source.problems import Problem
from service.metrics import Metrics
from service.policy.rules_folder import RulesFolder, problems_text, read_folder

log = structlog.get_logger(__name__)


class RulesFolderError(Exception):
    """The rules folder is missing or invalid at startup. The message lists its problems."""


@dataclass(frozen=True, slots=True)
class LoadedPolicies:
    """The policy set in force, its load time and files, and the problems of a folder that was refused since."""

    policy_set: PolicySet
    load_time: datetime
    files: Mapping[str, bytes]
    problems: tuple[Problem, ...] = ()
    refuse_time: datetime | None = None


class ActivePolicies:
    """The rules in force. `current` is one immutable value; a request reads it once and uses it to its end.

    `last_read` is the folder as it was last read, valid or not. Only one thread at a time may reload.
    """

    def __init__(self, folder: Path, metrics: Metrics) -> None:
        """Raises RulesFolderError if the folder has no valid rules."""
        self.folder = folder
        self._metrics = metrics
        if not folder.is_dir():
            raise RulesFolderError(f"there is no rules folder {folder}; name one with --rules")
        self.last_read = read_folder(folder)
        reading = _read_rules(self.last_read)
        if reading.policy_set is None:
            raise RulesFolderError(problems_text(reading.problems, self.last_read.files))
        self.current = LoadedPolicies(reading.policy_set, datetime.now(UTC), self.last_read.files)
        self._report_loaded(reading.policy_set)

    @classmethod
    def fixed(cls, policy_set: PolicySet, files: Mapping[str, bytes], metrics: Metrics) -> ActivePolicies:
        """Rules that stay in force, without a folder."""
        policies = cls.__new__(cls)
        policies.folder, policies._metrics = Path(FOLDER), metrics
        policies.last_read = RulesFolder(dict(files))
        policies.current = LoadedPolicies(policy_set, datetime.now(UTC), files)
        return policies

    @classmethod
    def kept(cls, folder: Path, files: Mapping[str, bytes], metrics: Metrics) -> ActivePolicies:
        """Rules that were in force before; those of the folder are read when it is watched."""
        policy_set = read(files).policy_set
        assert policy_set is not None
        policies = cls.fixed(policy_set, files, metrics)
        policies.folder = folder
        policies._report_loaded(policy_set)
        return policies

    def in_force(self) -> PolicySet:
        """The policy set in force."""
        return self.current.policy_set

    def reload(self) -> bool:
        """Reads the folder; returns whether another policy set came into force."""
        return self.load(read_folder(self.folder))

    def load(self, rules_folder: RulesFolder, refusals: tuple[Problem, ...] = ()) -> bool:
        """Loads a folder; returns whether another policy set came into force.

        If it is invalid, or readable but with `refusals`, only `problems` change.
        """
        # A folder that is refused is not tried again until it changes.
        self.last_read = rules_folder
        is_unchanged = _revision(rules_folder) == self.current.policy_set.revision
        if is_unchanged and not rules_folder.problems and not refusals:
            self._report_unchanged(rules_folder)
            return False
        reading = _read_rules(rules_folder)
        if reading.policy_set is None or refusals:
            self._refuse(refusals if reading.policy_set else reading.problems, rules_folder)
            return False
        self.current = LoadedPolicies(reading.policy_set, datetime.now(UTC), rules_folder.files)
        self._report_loaded(reading.policy_set)
        log.info("rules loaded", revision=reading.policy_set.revision, files=len(reading.policy_set.files))
        return True

    def _report_unchanged(self, rules_folder: RulesFolder) -> None:
        self._metrics.policies.policy_reloads.labels("unchanged").inc()
        self._metrics.policies.policy_problems.set(0)
        # The tests among the files may be others.
        files = self.current.files if self.current.files == rules_folder.files else rules_folder.files
        self.current = replace(self.current, files=files, problems=(), refuse_time=None)

    def _report_loaded(self, policy_set: PolicySet) -> None:
        self._metrics.policies.policy_reloads.labels("accepted").inc()
        self._metrics.policies.policy_problems.set(0)
        self._metrics.policies.policy_in_force(policy_set.revision)
        rules = policy_set.exceptions or (BUILT_IN,)
        self._metrics.exceptions.start_owners(
            {rule.owner for rule in rules}, {rule.escalate_to for rule in rules if rule.escalate_to}
        )

    def _refuse(self, problems: tuple[Problem, ...], rules_folder: RulesFolder) -> None:
        self._metrics.policies.policy_reloads.labels("refused").inc()
        self._metrics.policies.policy_problems.set(len(problems))
        self.current = replace(self.current, problems=problems, refuse_time=datetime.now(UTC))
        first = problems_text(problems[:1], rules_folder.files)
        log.error("rules refused; the last valid rules stay in force", problems=len(problems), first=first)


def _revision(rules_folder: RulesFolder) -> str:
    return revision({path: content for path, content in rules_folder.files.items() if is_rule_file(path)})


def _read_rules(rules_folder: RulesFolder) -> Reading:
    """Reads the rules of a folder. An unreadable file may hold any rule, so it makes the whole folder invalid."""
    try:
        reading = read(rules_folder.files)
    except Exception:
        log.exception("reading the rules failed; this is a defect of Truestock")
        message = "reading these rules failed, which is a defect of Truestock; its log says more"
        reading = Reading(None, (Problem(FOLDER, 0, 0, "not-readable", message, "undo the last edit and report it."),))
    if not rules_folder.problems:
        return reading
    # Without any file, the problems of the folder itself say enough.
    return Reading(None, tuple(sorted((*rules_folder.problems, *(reading.problems if rules_folder.files else ())))))
