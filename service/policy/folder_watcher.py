"""Watches the rules folder: a saved change takes effect within two seconds, whatever way it was saved.

Editors replace files, copies arrive in parts, Kubernetes swaps links, folders are removed and created again. File
system events only trigger a read; a reload happens if the content differs from what was read last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

from watchfiles import awatch

from policies.source.problems import Problem
from service.background import FailureLog, pause
from service.errors import NotReady
from service.policy.active_policies import ActivePolicies
from service.policy.rules_folder import RulesFolder, read_folder
from service.policy.thread_switching import FAST_SWITCHING

POLL_SECONDS = 1.0
"""The folder is read this often even without file system events: some file systems send none, and a watch can break."""
STEP_MILLISECONDS = 20
"""How often the thread that collects file system events looks whether it must stop."""
DEBOUNCE_SECONDS = 0.2
"""File system events within this time are handled together."""
STABLE_SECONDS = 0.2
"""Files are written in several steps; a folder without a change for this long counts as complete."""
STABLE_POLLS = 4
"""After this many reads a folder that keeps changing is loaded as it is."""

# Only one thread at a time may reload.
_reload_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rules")


class FolderWatcher:
    """Reloads the rules of a folder when they change. `changed` is awaited when others came into force or were refused.

    `refusals` says what keeps a folder's files out of force although its rules are readable.
    """

    def __init__(
        self,
        active_policies: ActivePolicies,
        changed: Callable[[], Awaitable[None]],
        refusals: Callable[[Mapping[str, bytes]], Awaitable[tuple[Problem, ...]]] | None = None,
    ) -> None:
        self._active_policies = active_policies
        self._refusals = refusals
        self._changed = changed
        self._latest = active_policies.last_read
        self._is_notified = True
        self._failures = FailureLog()

    async def run(self, stop: asyncio.Event) -> None:
        """Watches and reloads until `stop`, one reload at a time."""
        while not stop.is_set():
            try:
                await self._reload_if_changed()
                await self._watch(stop)
            except NotReady:
                # The database, which has logged why it does not answer, must still take what became of the rules.
                await pause(stop, POLL_SECONDS)
            except Exception as error:
                # The file system may be out of watches: the next attempt may succeed, and stopping here would keep the
                # current rules forever.
                self._failures.failed("watching the rules folder failed; it is read every second instead", error)
                await pause(stop, POLL_SECONDS)

    async def _watch(self, stop: asyncio.Event) -> None:
        """Reloads on file system events and every POLL_SECONDS, while the set of folders stays the same."""
        folders = self._latest.folders
        if not folders:
            await pause(stop, POLL_SECONDS)
            return
        changes = awatch(
            *(path for path, _, _ in folders),
            watch_filter=None,
            stop_event=stop,
            debounce=round(DEBOUNCE_SECONDS * 1_000),
            step=STEP_MILLISECONDS,
            rust_timeout=round(POLL_SECONDS * 1_000),
            yield_on_timeout=True,
            # `read_folder` finds the folders, within limits and without links that lead out of the rules.
            recursive=False,
        )
        async with aclosing(changes):
            async for _ in changes:
                await self._reload_if_changed()
                if self._latest.folders != folders:
                    # A watch stays on the folders that it started with, even after others have replaced them.
                    return

    async def _reload_if_changed(self) -> None:
        rules_folder = await self._changed_folder()
        if rules_folder is not None:
            refusals = await self._refusals(rules_folder.files) if self._refusals else ()
            refused = self._active_policies.current.refuse_time
            is_loaded = await load_in_thread(self._active_policies, rules_folder, refusals)
            if is_loaded or self._active_policies.current.refuse_time not in (None, refused):
                self._is_notified = False
        if not self._is_notified:
            await self._changed()
            self._is_notified = True

    async def _changed_folder(self) -> RulesFolder | None:
        """The folder once it is stable; None if it is the same as the last one read."""
        self._latest = await _read_folder(self._active_policies)
        for _ in range(STABLE_POLLS):
            if self._latest == self._active_policies.last_read:
                return None
            before = self._latest
            await asyncio.sleep(STABLE_SECONDS)
            self._latest = await _read_folder(self._active_policies)
            if self._latest == before:
                break
        return self._latest


async def load_in_thread(
    active_policies: ActivePolicies, rules_folder: RulesFolder, refusals: tuple[Problem, ...] = ()
) -> bool:
    """Loads rules in a thread that yields to the event loop often: thousands of rules take seconds."""
    return await asyncio.get_running_loop().run_in_executor(
        _reload_thread, _load_with_fast_switching, active_policies, rules_folder, refusals
    )


async def _read_folder(active_policies: ActivePolicies) -> RulesFolder:
    return await asyncio.get_running_loop().run_in_executor(_reload_thread, read_folder, active_policies.folder)


def _load_with_fast_switching(
    active_policies: ActivePolicies, rules_folder: RulesFolder, refusals: tuple[Problem, ...]
) -> bool:
    with FAST_SWITCHING:
        return active_policies.load(rules_folder, refusals)
