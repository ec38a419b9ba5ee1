"""Watches of orders: one look at the database for all who watch, each changed order read once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from uuid import UUID

from service import limits
from service.catalog import catalog_store
from service.database import change_horizon
from service.database.change_horizon import Horizon
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import InvalidFields, NotFound, Violation
from service.rpc.streams import ChangePoller, SubscriberLimit
from service.watch import order_changes
from service.watch.order_changes import PAGE_EVENTS, OrderSnapshot, OrderState
from service.watch.order_subscriber import OrderChange, OrderSubscriber, add_event
from service.watch.watch_requests import OrderSubscription, Tokens
from truestock.v1 import allocation_service_pb2 as allocation_pb, exception_pb2

CACHED_ORDERS = 2_000
"""Orders whose contents are kept for others who watch."""

_FIRST = UUID(int=0)


class OrderWatch:
    """All watches of orders of one service. It looks only while somebody watches."""

    def __init__(self, deps: Dependencies) -> None:
        self._database = deps.database
        self._cache = deps.cache
        self._closing = deps.closing
        self.poller = ChangePoller("orders", deps.settings.watch_poll_seconds, self._look, self._forget)
        self._seats = SubscriberLimit("orders", limits.WATCHERS, deps.metrics.order_watchers)
        self._watchers: set[OrderSubscriber] = set()
        self._reading = asyncio.Lock()
        self._looks = 0
        self._forget()

    def _forget(self) -> None:
        """Nobody watches, so nothing is known any more."""
        self._horizon: Horizon | None = None
        self._orders: dict[UUID, OrderState] = {}
        self._exceptions: dict[UUID, exception_pb2.ExceptionRecord] = {}

    async def watch(self, wish: OrderSubscription) -> AsyncGenerator[allocation_pb.WatchOrdersResponse, None]:
        """Every change of the channels' orders and exceptions, from now or from a token on. Ends with NotReady.

        Raises NotFound, InvalidFields, TooManyWatch.
        """
        self._closing.check()
        watcher, tokens = (
            OrderSubscriber(wish.channel_ids, wish.since or 0, behind=wish.since is not None),
            Tokens(wish),
        )
        with self._seats.taken(), self._closing.ringing(watcher.bell):
            await self._check_channels(wish)
            with self._seated(watcher):
                await self._has_looked(watcher)
                while True:
                    watcher.bell.clear()
                    self._closing.check()
                    if watcher.behind:
                        async for message in self._catch_up(watcher, tokens):
                            yield message
                    changed, loose = watcher.take(limits.WATCH_ORDERS)
                    if not watcher.has_pending and self._horizon is not None:
                        watcher.since = self._horizon.oldest
                    yield await self._message(changed, loose, tokens.at(watcher.since))
                    if not watcher.has_pending:
                        with suppress(TimeoutError):
                            await asyncio.wait_for(watcher.bell.wait(), wish.heartbeat.total_seconds())

    async def _check_channels(self, wish: OrderSubscription) -> None:
        async def read(connection: Connection) -> set[str]:
            known = await self._cache.at(connection, await catalog_store.version(connection))
            return set(wish.channel_ids) - known.channels.keys()

        missing = await self._database.unlocked("watch", read)
        if missing:
            named = {f"channel_ids ({name})": name for name in sorted(missing)}
            raise NotFound("channel", named, "ListChannels lists those that there are")

    @contextmanager
    def _seated(self, watcher: OrderSubscriber) -> Iterator[None]:
        self._watchers.add(watcher)
        try:
            with self.poller.kept():
                yield
        finally:
            self._watchers.discard(watcher)

    async def _has_looked(self, watcher: OrderSubscriber) -> None:
        """Waits for the first look: only what happens after it is noticed."""
        while self._horizon is None:
            await watcher.bell.wait()
            watcher.bell.clear()
            self._closing.check()
        if not watcher.behind:
            watcher.since = self._horizon.oldest
        if watcher.since > self._horizon.next:
            wrong = "is of another database, or of this one before it was restored; watch anew, and list what there is"
            raise InvalidFields([Violation("resume_token", wrong)])

    async def _look(self) -> None:
        if self._horizon is None:
            self._horizon = await self._database.snapshot("watch", change_horizon.horizon)
            for watcher in self._watchers:
                watcher.bell.set()
            return
        before = self._horizon
        horizon, events = await self._database.snapshot("watch", partial(order_changes.read_new_events, before=before))
        self._looks += 1
        for event in events:
            self._orders.pop(event.allocation_id, None)  # type: ignore[arg-type]  # None is no key
            self._exceptions.pop(event.exception_id, None)  # type: ignore[arg-type]
            for watcher in self._watchers:
                watcher.hear(event)
        # Only now: a token says that everything up to what was seen has been told or is about to be.
        self._horizon = horizon

    async def _catch_up(
        self, watcher: OrderSubscriber, tokens: Tokens
    ) -> AsyncIterator[allocation_pb.WatchOrdersResponse]:
        """What happened from `watcher.since` on, page by page; what happens meanwhile is remembered."""
        watcher.behind = False
        after, oldest = (watcher.since, _FIRST), None
        while not watcher.behind:
            self._closing.check()
            horizon, events = await self._database.snapshot("watch", partial(order_changes.read_page, after=after))
            # What an older transaction commits after its page was read has been noticed: it is told after the pages.
            oldest = horizon.oldest if oldest is None else oldest
            is_last = len(events) < PAGE_EVENTS
            if events:
                after = events[-1].xid, events[-1].id or _FIRST
            watcher.since = max(watcher.since, oldest if is_last else min(after[0], oldest))
            changed: dict[UUID, OrderChange] = {}
            loose: dict[UUID, None] = {}
            for event in events:
                if watcher.wants(event):
                    add_event(event, changed, loose)
            if changed or loose:
                yield await self._message(changed, list(loose), tokens.at(watcher.since))
            if is_last:
                return

    async def _message(
        self, changed: Mapping[UUID, OrderChange], loose: Sequence[UUID], token: str
    ) -> allocation_pb.WatchOrdersResponse:
        readings = await self._read(list(changed), loose)
        return allocation_pb.WatchOrdersResponse(
            changes=[_change(readings.orders[key], what) for key, what in changed.items() if key in readings.orders],
            exceptions=[readings.exceptions[key] for key in loose if key in readings.exceptions],
            resume_token=token,
        )

    async def _read(self, ids: Sequence[UUID], exception_ids: Sequence[UUID]) -> OrderSnapshot:
        """Orders and exceptions as they are, or were when they last changed as far as we have looked."""
        # One at a time, so that many who are told of one order do not all read it.
        async with self._reading:
            orders = {key: self._orders[key] for key in ids if key in self._orders}
            exceptions = {key: self._exceptions[key] for key in exception_ids if key in self._exceptions}
            unread, looks = [key for key in ids if key not in orders], self._looks
            loose = [key for key in exception_ids if key not in exceptions]
            if unread or loose:
                read = partial(order_changes.read_snapshot, ids=unread, exception_ids=loose)
                found = await self._database.snapshot("watch", read)
                orders.update(found.orders)
                exceptions.update(found.exceptions)
                if looks == self._looks:
                    self._keep(found)
            return OrderSnapshot(orders, exceptions)

    def _keep(self, found: OrderSnapshot) -> None:
        if len(self._orders) + len(self._exceptions) > CACHED_ORDERS:
            self._orders.clear()
            self._exceptions.clear()
        self._orders.update(found.orders)
        self._exceptions.update(found.exceptions)


def _change(order: OrderState, what: OrderChange) -> allocation_pb.OrderChange:
    return allocation_pb.OrderChange(
        allocation=order.allocation,
        events=[event for key, event in order.events if key in what.event_ids],
        exceptions=[
            one
            for one in order.exceptions
            if one.state == exception_pb2.ExceptionRecord.STATE_OPEN or UUID(one.exception_id) in what.exception_ids
        ],
    )
