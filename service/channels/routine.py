"""What is done of an account every hour and every night: webhooks that were lost are subscribed, orders compared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, time, timedelta

import structlog

from service.background import FailureLog
from service.channels.adapter import COUNT, Check, Delivery, Hint
from service.channels.connector_metrics import ConnectorMetrics
from service.channels.errors import AuthorizationLost, ChannelError
from service.channels.listed_pages import ListedPages
from service.channels.polling import FIRST_LOOK_BACK, MOST_PAGES, OVERLAP, deliveries_of
from service.channels.running_account import RunningAccount
from service.channels.store.connector_store import ConnectorStore
from service.channels.store.cursors import Poll
from service.channels.store.leases import kept

SUBSCRIPTIONS, SWEEP = "subscriptions", "sweep"
SUBSCRIPTIONS_EVERY = timedelta(hours=1)
"""Shopify deletes a subscription whose webhooks failed eight times, within 4 hours."""
SWEEP_AT = time(3, tzinfo=UTC)
SWEPT = timedelta(days=14)
"""How far back a sweep lists what changed at the channel."""
RETRY_PAUSE = timedelta(minutes=5)

log = structlog.get_logger(__name__)


class Routine:
    """Looks after one account. One process does so at a time, by the same leases as polls."""

    def __init__(self, running: RunningAccount, store: ConnectorStore, metrics: ConnectorMetrics) -> None:
        self._running = running
        self._store = store
        self._metrics = metrics
        self._name = running.account.name
        self._failures = FailureLog()

    async def do_due(self) -> None:
        """Does what is due. Raises Away where the database is."""
        await self._if_due(SUBSCRIPTIONS, self._check, lambda now: SUBSCRIPTIONS_EVERY)
        await self._if_due(SWEEP, self._sweep, _until_sweep)

    async def _if_due(
        self, kind: str, work: Callable[[Poll], Awaitable[None]], pause: Callable[[datetime], timedelta]
    ) -> None:
        if self._running.is_paused:
            return
        now = datetime.now(UTC)
        # `connect` has subscribed and the first polls look back, so neither is due at once.
        await self._store.cursors.start(self._name, kind, now - FIRST_LOOK_BACK, first_after=pause(now))
        poll = await self._store.cursors.claim(self._name, kind)
        if poll is None:
            return
        try:
            async with kept(lambda: self._store.cursors.keep(poll)):
                await work(poll)
        except AuthorizationLost as error:
            await self._store.states.pause(self._name, str(error))
            self._running.is_paused = True
            await self._store.cursors.finish(poll, RETRY_PAUSE, worked=False)
        except ChannelError as error:
            self._failures.failed(f"{kind} cannot be checked", error, traceback=False, account=self._name)
            await self._store.cursors.finish(poll, RETRY_PAUSE, worked=False)
        else:
            self._failures.worked(f"{kind} are checked again", account=self._name)
            await self._store.cursors.finish(poll, pause(datetime.now(UTC)), worked=True)

    async def _check(self, poll: Poll) -> None:
        """Compares webhooks and scopes with what should be there, and subscribes what is missing."""
        checks = await self._running.adapter.check()
        unmet = [check for check in checks if not check.works]
        for check in unmet:
            log.warning("a person has to see to an account", account=self._name, what=check.what, todo=check.todo)
        self._metrics.unmet_checks.labels(self._name).set(len(unmet))
        await self._report(checks)

    async def _report(self, checks: Sequence[Check]) -> None:
        """Tells Truestock what was found, with the shop's outlets and items; readiness compares them with its own."""
        reports = self._running.api.reports
        shop = await reports.shop_state(self._running.adapter, checks)
        for state in await self._store.states.listed():
            if state["account"] == self._name:
                await reports.send(state, shop)

    async def _sweep(self, poll: Poll) -> None:
        """Lists what the channel changed lately, and has open orders read again that it may have said nothing of."""
        since = max(poll.position, datetime.now(UTC) - SWEPT)
        found = 0
        for kind in self._running.platform.abilities.kinds:
            if kind != COUNT or await self._running.api.counts.is_declared():
                found += await self._list(kind, since)
        found += await self._read_open_orders()
        if found:
            self._running.hinted.set()
        log.info("orders were compared with the channel's", account=self._name, read_again=found)

    async def _list(self, kind: str, since: datetime) -> int:
        page, pages, found = "", ListedPages(), 0
        for _ in range(MOST_PAGES):
            listed = await self._running.adapter.changed(kind, since - OVERLAP, page)
            found += len(await self._store.inbox.accept(self._name, deliveries_of(listed), polled=True))
            page = pages.following(listed.next_page)
            if not page:
                break
        return found

    async def _read_open_orders(self) -> int:
        """Orders that are open in Truestock and came from this channel: it may have closed them unheard."""
        day, found = datetime.now(UTC).date(), 0
        async for order_ids in self._running.api.open_orders():
            known = await self._store.inbox.known(self._name, "order", order_ids)
            deliveries = [Delivery(f"sweep/{day}/{order_id}", SWEEP, (Hint("order", order_id),)) for order_id in known]
            found += len(await self._store.inbox.accept(self._name, deliveries))
        return found


def _until_sweep(now: datetime) -> timedelta:
    tonight = datetime.combine(now.date(), SWEEP_AT)
    return (tonight if tonight > now else tonight + timedelta(days=1)) - now
