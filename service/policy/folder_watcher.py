"""Watching the rules folder: from a save to its effect in less than two seconds, however the save is made.

Editors replace files, copies arrive in parts, Kubernetes swaps links, folders are removed and made again. The file
system only says when to look; what counts is whether what lies there differs from what was taken last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress

import structlog
from watchfiles import awatch

from service.policy.active_policies import ActivePolicies
from service.policy.rules_folder import RulesFolder, find
from service.policy.thread_switching import FAST_SWITCHING

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
"""The folder is looked at so often even where the file system says nothing: some never do, and a watch can break."""
DEBOUNCE_SECONDS = 0.2
"""Changes of a file system within this time are heard of together."""
STABLE_SECONDS = 0.2
"""Files are written in several steps; a folder that has not changed for so long is whole."""
STABLE_POLLS = 4
"""After so many looks a folder that never rests is taken as it is."""

_one_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rules")
# One folder is read at a time.


class FolderWatcher:
    """Keeps the rules of a folder in force as they change. `changed` is awaited whenever others came into force."""

    def __init__(self, folder: ActivePolicies, changed: Callable[[], Awaitable[None]]) -> None:
        self._folder = folder
        self._changed = changed
        self._seen = folder.taken
        self._is_told = True
        self._failure = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Looks and reloads until `stop`, one reload at a time."""
        while not stop.is_set():
            try:
                await self._look()
                await self._listen(stop)
            except Exception as error:
                # The file system may have no more watches, the database be away: whatever it is, the next look may
                # do better, and ending here would leave the rules as they are for ever.
                self._say(error)
                await _pause(stop)

    async def _listen(self, stop: asyncio.Event) -> None:
        """Looks whenever the file system says so, and every LOOK_SECONDS, while the folders stay the same ones."""
        folders = self._seen.folders
        if not folders:
            await _pause(stop)
            return
        changes = awatch(
            *(path for path, _, _ in folders),
            watch_filter=None,
            stop_event=stop,
            debounce=round(DEBOUNCE_SECONDS * 1_000),
            rust_timeout=round(POLL_SECONDS * 1_000),
            yield_on_timeout=True,
            # Which folders there are is found out with bounds, and links out of the rules are not followed.
            recursive=False,
        )
        async with aclosing(changes):
            async for _ in changes:
                self._failure = ""
                await self._look()
                if self._seen.folders != folders:
                    # A watch stays with the folders that it began with, also when others take their places.
                    return

    async def _look(self) -> None:
        found = await self._settled()
        if found is not None and await load_in_thread(self._folder, found):
            self._is_told = False
        if not self._is_told:
            await self._changed()
            self._is_told = True

    async def _settled(self) -> RulesFolder | None:
        """What lies in the folder once it rests; None where it is what was taken last."""
        self._seen = await _read_folder(self._folder)
        for _ in range(STABLE_POLLS):
            if self._seen == self._folder.taken:
                return None
            before = self._seen
            await asyncio.sleep(STABLE_SECONDS)
            self._seen = await _read_folder(self._folder)
            if self._seen == before:
                break
        return self._seen

    def _say(self, error: Exception) -> None:
        """Logs a failure once, not every second."""
        if repr(error) != self._failure:
            self._failure = repr(error)
            log.warning("watching the rules failed; they are looked at every second", exc_info=error)


async def load_in_thread(folder: ActivePolicies, found: RulesFolder) -> bool:
    """Takes what was found, in a thread that gives way to the event loop often: thousands of rules take seconds."""
    return await asyncio.get_running_loop().run_in_executor(_one_thread, _load_with_fast_switching, folder, found)


async def _read_folder(folder: ActivePolicies) -> RulesFolder:
    return await asyncio.get_running_loop().run_in_executor(_one_thread, find, folder.folder)


def _load_with_fast_switching(folder: ActivePolicies, found: RulesFolder) -> bool:
    with FAST_SWITCHING:
        return folder.take(found)


async def _pause(stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), POLL_SECONDS)
