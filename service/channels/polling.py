"""Asks the channel what changed, beside its webhooks: an outage is nothing but a long interval."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from service.background import FailureLog
from service.channels.adapter import COUNT, Delivery, Hint, Page
from service.channels.errors import AuthorizationLost, Away, ChannelError
from service.channels.listed_pages import ListedPages
from service.channels.running_account import RunningAccount
from service.channels.store.account_states import AccountStates
from service.channels.store.cursors import Cursors, Poll
from service.channels.store.inbox import SETTLED, Inbox
from service.channels.store.leases import kept

OVERLAP = timedelta(minutes=10)
"""What is asked for again each time: channels list changes late, and not in their order."""
FIRST_LOOK_BACK = timedelta(days=3)
"""How far back the first poll of a new account goes: what is older has shipped, or somebody sees to it already."""
RETRY_PAUSE = timedelta(seconds=5)
MOST_PAGES = 10_000


class Polling:
    """Polls one account."""

    def __init__(
        self,
        running: RunningAccount,
        inbox: Inbox,
        cursors: Cursors,
        states: AccountStates,
        *,
        interval: timedelta,
    ) -> None:
        self._running = running
        self._inbox = inbox
        self._cursors = cursors
        self._states = states
        self._interval = interval
        self._failures = FailureLog()

    async def poll_due(self) -> None:
        """Does the polls that are due and that no other process does. Raises Away where the database is."""
        for kind in self._running.platform.abilities.kinds:
            if self._running.is_paused:
                return
            await self._cursors.start(self._running.account.name, kind, datetime.now(UTC) - FIRST_LOOK_BACK)
            poll = await self._cursors.claim(self._running.account.name, kind)
            if poll is not None:
                await self._poll(poll)

    async def _poll(self, poll: Poll) -> None:
        name = self._running.account.name
        try:
            async with kept(lambda: self._cursors.keep(poll)):
                # The cursor of counts stays where it is until somebody declares what they mean.
                if poll.kind != COUNT or await self._running.api.counts.is_declared():
                    await self._take_pages(poll)
        except AuthorizationLost as error:
            await self._states.pause(name, str(error))
            self._running.is_paused = True
            await self._cursors.finish(poll, RETRY_PAUSE, worked=False)
        except ChannelError as error:
            self._failures.failed("the channel cannot be polled", error, traceback=False, account=name, kind=poll.kind)
            asked = error.retry_after_seconds if isinstance(error, Away) else 0.0
            await self._cursors.finish(poll, max(RETRY_PAUSE, timedelta(seconds=min(asked, 3_600))), worked=False)
        else:
            self._failures.worked("the channel is polled again", account=name, kind=poll.kind)
            await self._cursors.finish(poll, self._interval, worked=True)

    async def _take_pages(self, poll: Poll) -> None:
        """The cursor moves only after what it covers is stored, page by page."""
        token, tokens, times = "", ListedPages(), set[datetime]()
        for _ in range(MOST_PAGES):
            page = await self._running.adapter.changed(poll.kind, poll.position - OVERLAP, token)
            await self._inbox.accept(poll.account, deliveries_of(page), polled=True)
            if page.hints:
                self._running.hinted.set()
            times |= {hint.update_time for hint in page.hints if hint.update_time is not None}
            if times and (page.is_sorted or not page.next_page):
                times = {max(times)}
                # A time that has not come yet, by a mistake of the channel, must not hide all that changes until then.
                await self._cursors.move(poll, min(max(times), datetime.now(UTC)))
            token = tokens.following(page.next_page)
            if not token:
                return


def deliveries_of(page: Page) -> list[Delivery]:
    """Each state of an entity is one delivery, so that the overlap brings nothing twice.

    Times have whole seconds: what changed a moment ago may change again in the same second, so it counts
    once more later.
    """
    now = datetime.now(UTC)
    return [Delivery(_key(hint, now), "poll", (hint,)) for hint in page.hints]


def _key(hint: Hint, now: datetime) -> str:
    time = hint.update_time
    # Of what has no time nobody can tell whether it has changed since: once a day it counts as if.
    state = f"{now.date()}" if time is None else f"{int(time.timestamp())}{'/new' if now - time < SETTLED else ''}"
    return f"poll/{hint.kind}/{hashlib.sha256(hint.entity_id.encode()).hexdigest()[:32]}/{state}"
