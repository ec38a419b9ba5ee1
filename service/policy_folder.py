"""The rules folder: read it, watch it, swap the policy set in one assignment, keep the last good one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog
from watchfiles import awatch

from policies.policy import PolicySet
from policies.problems import Problem, render
from policies.reader import read
from service.metrics import Metrics

log = structlog.get_logger(__name__)

FOLDER_BYTES = 16 << 20
"""More than any folder of rules has; the rest is not read, and the reader is told."""
SETTLE_MILLISECONDS = 200
"""Editors write a file in several steps; changes within this time are one."""
RULE_SUFFIXES = (".yaml", ".yml")


class PolicyFolderError(Exception):
    """The rules folder cannot be served from. The message lists its problems."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the folder came to: the set in force, since when, and the problems of a later refused folder."""

    policy_set: PolicySet
    load_time: datetime
    files: Mapping[str, bytes]
    problems: tuple[Problem, ...] = ()
    refuse_time: datetime | None = None


class PolicyFolder:
    """The rules in force. `current` is one immutable value; a request reads it once and uses it to its end."""

    def __init__(self, folder: Path, metrics: Metrics) -> None:
        self.folder = folder
        self._metrics = metrics
        self.current = self._first()

    def _first(self) -> Loaded:
        """Raises PolicyFolderError where there is nothing good to start with."""
        if not self.folder.is_dir():
            raise PolicyFolderError(f"there is no rules folder {self.folder}; name one with --rules")
        files = rule_files(self.folder)
        reading = read(files)
        if reading.policy_set is None:
            raise PolicyFolderError(shown(reading.problems, files))
        self._accept(reading.policy_set)
        return Loaded(reading.policy_set, datetime.now(UTC), files)

    def reload(self) -> bool:
        """Reads the folder again; returns whether another set came into force. A bad one changes only `problems`."""
        try:
            files = rule_files(self.folder)
        except OSError as error:
            log.warning("the rules folder cannot be read; the last good rules stay in force", error=str(error))
            self._metrics.policy_reloads.labels("refused").inc()
            return False
        reading = read(files)
        if reading.policy_set is None:
            self._refuse(reading.problems, files)
            return False
        unchanged = reading.policy_set.revision == self.current.policy_set.revision
        if unchanged:
            self._metrics.policy_reloads.labels("unchanged").inc()
            self._metrics.policy_problems.set(0)
            self.current = replace(self.current, problems=(), refuse_time=None)
            return False
        self.current = Loaded(reading.policy_set, datetime.now(UTC), files)
        self._accept(reading.policy_set)
        log.info("rules loaded", revision=reading.policy_set.revision, files=len(reading.policy_set.files))
        return True

    async def watch(self, stop: asyncio.Event, changed: Callable[[], Awaitable[None]]) -> None:
        """Reloads after every change until `stop`; calls `changed` when another set came into force."""
        async for _ in awatch(self.folder, stop_event=stop, step=50, debounce=SETTLE_MILLISECONDS, recursive=True):
            if await asyncio.to_thread(self.reload):
                await changed()

    def _accept(self, policy_set: PolicySet) -> None:
        self._metrics.policy_reloads.labels("accepted").inc()
        self._metrics.policy_problems.set(0)
        self._metrics.policy_in_force(policy_set.revision)

    def _refuse(self, problems: tuple[Problem, ...], files: dict[str, bytes]) -> None:
        self._metrics.policy_reloads.labels("refused").inc()
        self._metrics.policy_problems.set(len(problems))
        self.current = replace(self.current, problems=problems, refuse_time=datetime.now(UTC))
        log.error(
            "rules refused; the last good ones stay in force", problems=len(problems), first=shown(problems[:1], files)
        )


def rule_files(folder: Path) -> dict[str, bytes]:
    """Every rule file by its path as planners know it, such as `rules/buffers/stores.yaml`.

    A file whose real place is outside the folder is left out of what is read: a link must not pull in other files.
    """
    root = folder.resolve()
    files: dict[str, bytes] = {}
    size = 0
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or path.suffix not in RULE_SUFFIXES or not path.is_file() or not path.resolve().is_relative_to(root):
            continue
        with path.open("rb") as file:
            content = file.read(FOLDER_BYTES - size + 1)
        size += len(content)
        files[f"{root.name}/{path.relative_to(folder).as_posix()}"] = content
        if size > FOLDER_BYTES:
            break
    return files


def shown(problems: tuple[Problem, ...], files: dict[str, bytes]) -> str:
    """Problems as a planner reads them."""
    return render(problems, {path: content.decode(errors="replace") for path, content in files.items()})
