"""Streams of orders. One poll of the database serves all subscribers; each changed order is read once for all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from uuid import UUID

from service import limits
from service.background import pause
from service.catalog import catalog_store
from service.catalog.catalog_store import Catalog
from service.database import change_horizon
from service.database.change_horizon import Horizon
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import InvalidFields, Violation, no_channel
from service.rpc.streams import ChangePoller, SubscriberLimit
from service.watch import order_changes, watch_marks
from service.watch.order_changes import PAGE_EVENTS, OrderSnapshot, OrderState
from service.watch.order_subscriber import OrderChange, OrderSubscriber, add_event
from service.watch.watch_marks import Mark, MarksLost, WatchMarks
from service.watch.watch_requests import OrderSubscription, Tokens
from truestock.v1 import allocation_service_pb2 as allocation_pb, exception_pb2

Record = exception_pb2.ExceptionRecord

CACHED_ORDERS = 2_000
"""Orders and exceptions that are cached for other subscribers."""

_BEFORE_ALL_EVENTS = UUID(int=0)


class OrderWatch:
    """All order streams of one process. It polls only while there are subscribers."""

    def __init__(self, deps: Dependencies) -> None:
        self._database = deps.database
        self._cache = deps.catalog_cache
        self._closing = deps.shutdown
        self.poller = ChangePoller("orders", deps.settings.watch_poll_seconds, self._poll, self._reset)
        self._subscriber_limit = SubscriberLimit("orders", limits.WATCHERS, deps.metrics.watches.order_watchers)
        self._subscribers: set[OrderSubscriber] = set()
        self._read_lock = asyncio.Lock()
        self._poll_count = 0
        self._marks = WatchMarks(deps.database)
        self._reset()

    def _reset(self) -> None:
        """Clears all state after the last subscriber has left.

        Polls read the events since `_marked_horizon`, which is the last one that a mark was written after.
        """
        self._horizon: Horizon | None = None
        self._marked_horizon: Horizon | None = None
        self._poll_time = 0.0
        self._orders: dict[UUID, OrderState] = {}
        self._exceptions: dict[UUID, exception_pb2.ExceptionRecord] = {}

    async def watch(self, subscription: OrderSubscription) -> AsyncGenerator[allocation_pb.WatchOrdersResponse, None]:
        """Every change of the channels' orders and exceptions from now on, or after a token. Ends with NotReady.

        Raises NotFound, InvalidFields, WatchLimitReached.
        """
        self._closing.raise_if_stopping()
        resume = subscription.resume
        subscriber = OrderSubscriber(subscription.channel_ids, resume.since if resume else 0, behind=resume is not None)
        with self._subscriber_limit.slot(), self._closing.notifying(subscriber.wake):
            await self._check_channels(subscription)
            with self._subscribed(subscriber):
                self._start_over_if_lost()
                marks = self._marks
                tokens = Tokens(subscription, marks)
                await self._wait_for_first_poll(subscriber, marks)
                if resume is not None:
                    await self._check_mark(resume.mark)
                while True:
                    subscriber.wake.clear()
                    self._closing.raise_if_stopping()
                    marks.raise_if_lost()
                    if subscriber.behind:
                        async for message in self._catch_up(subscriber, tokens):
                            yield message
                    changes, exception_ids = subscriber.take_pending(limits.WATCH_ORDERS)
                    if not subscriber.has_pending and self._horizon is not None:
                        subscriber.since = self._horizon.oldest
                    yield await self._message(subscriber, tokens, changes, exception_ids)
                    if not subscriber.has_pending:
                        await pause(subscriber.wake, subscription.heartbeat.total_seconds())

    async def _check_channels(self, subscription: OrderSubscription) -> None:
        async def read(connection: Connection) -> Catalog:
            return await self._cache.at(connection, await catalog_store.version(connection))

        catalog = await self._database.unlocked("watch", read)
        missing_ids = set(subscription.channel_ids) - catalog.channels.keys()
        if missing_ids:
            fields = {f"channel_ids ({channel_id})": channel_id for channel_id in sorted(missing_ids)}
            raise no_channel(fields, catalog.channels)

    @contextmanager
    def _subscribed(self, subscriber: OrderSubscriber) -> Iterator[None]:
        self._subscribers.add(subscriber)
        try:
            with self.poller.watching():
                yield
        finally:
            self._subscribers.discard(subscriber)

    async def _wait_for_first_poll(self, subscriber: OrderSubscriber, marks: WatchMarks) -> None:
        """Waits for the first poll; only later changes are found."""
        while self._horizon is None:
            await subscriber.wake.wait()
            subscriber.wake.clear()
            self._closing.raise_if_stopping()
            marks.raise_if_lost()
        if not subscriber.behind:
            subscriber.since = self._horizon.oldest

    async def _check_mark(self, mark: Mark) -> None:
        """Raises InvalidFields for a token of more than the database has."""
        if not await self._database.unlocked("watch", partial(watch_marks.is_kept, mark=mark)):
            problem = (
                "is of another database, of this one before it was restored, or of an earlier version; "
                "list orders and watch without it"
            )
            raise InvalidFields([Violation("resume_token", problem)])

    async def _poll(self) -> None:
        try:
            await self._find_events(self._marks)
        except MarksLost:
            self._start_over_if_lost()

    def _start_over_if_lost(self) -> None:
        """Ends all watches, and forgets what was read of a database that has been restored since."""
        if not self._marks.is_lost:
            return
        self._marks = WatchMarks(self._database)
        self._reset()
        self._poll_count += 1
        self._wake_subscribers()

    def _wake_subscribers(self) -> None:
        for subscriber in self._subscribers:
            subscriber.wake.set()

    async def _find_events(self, marks: WatchMarks) -> None:
        if self._horizon is None or self._marked_horizon is None:
            horizon = await marks.snapshot(change_horizon.horizon)
            read_time = time.monotonic()
            await marks.after(read_time)
            marks.raise_if_lost()
            self._horizon, self._marked_horizon, self._poll_time = horizon, horizon, read_time
            self._wake_subscribers()
            return
        if marks.is_after(self._poll_time):
            self._marked_horizon = self._horizon
        read = partial(order_changes.read_new_events, before=self._marked_horizon)
        horizon, events = await marks.snapshot(read)
        read_time = time.monotonic()
        if events:
            await marks.after(read_time)
        marks.raise_if_lost()
        self._poll_count += 1
        for event in events:
            self._orders.pop(event.allocation_id, None)  # type: ignore[arg-type]  # None is not a key
            self._exceptions.pop(event.exception_id, None)  # type: ignore[arg-type]
            for subscriber in self._subscribers:
                subscriber.notify(event)
        # Last, because tokens name this position: every change before it has been sent or is pending.
        self._horizon, self._poll_time = horizon, read_time

    async def _catch_up(
        self, subscriber: OrderSubscriber, tokens: Tokens
    ) -> AsyncIterator[allocation_pb.WatchOrdersResponse]:
        """The events after `subscriber.since`, page by page; events that come meanwhile become pending."""
        subscriber.behind = False
        after, oldest = (subscriber.since, _BEFORE_ALL_EVENTS), None
        while not subscriber.behind:
            self._closing.raise_if_stopping()
            horizon, events = await self._database.snapshot("watch", partial(order_changes.read_page, after=after))
            # Transactions that were open when the first page was read may still commit events into pages already sent.
            # The token never passes them; the regular poll delivers those events after the pages.
            oldest = horizon.oldest if oldest is None else oldest
            is_last = len(events) < PAGE_EVENTS
            if events:
                after = events[-1].xid, events[-1].id or _BEFORE_ALL_EVENTS
            subscriber.since = max(subscriber.since, oldest if is_last else min(after[0], oldest))
            changes: dict[UUID, OrderChange] = {}
            exception_ids: dict[UUID, None] = {}
            for event in events:
                if subscriber.matches(event):
                    add_event(event, changes, exception_ids)
            if changes or exception_ids:
                yield await self._message(subscriber, tokens, changes, list(exception_ids))
            else:
                # The next page follows these events, so the database must still have them.
                await tokens.after(time.monotonic(), subscriber.since)
            if is_last:
                return

    async def _message(
        self,
        subscriber: OrderSubscriber,
        tokens: Tokens,
        changes: Mapping[UUID, OrderChange],
        exception_ids: Sequence[UUID],
    ) -> allocation_pb.WatchOrdersResponse:
        since, poll_time, has_contents = subscriber.since, self._poll_time, bool(changes or exception_ids)
        snapshot = await self._read(list(changes), exception_ids) if has_contents else OrderSnapshot({}, {})
        token = await tokens.of_message(since, poll_time, has_contents=has_contents)
        return allocation_pb.WatchOrdersResponse(
            changes=[
                _change_message(snapshot.orders[key], change)
                for key, change in changes.items()
                if key in snapshot.orders
            ],
            exceptions=[snapshot.exceptions[key] for key in exception_ids if key in snapshot.exceptions],
            resume_token=token,
        )

    async def _read(self, ids: Sequence[UUID], exception_ids: Sequence[UUID]) -> OrderSnapshot:
        """Orders and exceptions: cached ones that no poll has found changed since, others from the database."""
        # One stream at a time, so that many that send the same order do not all read it.
        async with self._read_lock:
            orders = {key: self._orders[key] for key in ids if key in self._orders}
            exceptions = {key: self._exceptions[key] for key in exception_ids if key in self._exceptions}
            unread_ids, poll_count = [key for key in ids if key not in orders], self._poll_count
            unread_exception_ids = [key for key in exception_ids if key not in exceptions]
            if unread_ids or unread_exception_ids:
                read = partial(order_changes.read_snapshot, ids=unread_ids, exception_ids=unread_exception_ids)
                snapshot = await self._database.snapshot("watch", read)
                orders.update(snapshot.orders)
                exceptions.update(snapshot.exceptions)
                # A poll that ran during this read may have dropped one of these orders because it changed. Caching the
                # read then would bring the stale version back.
                if poll_count == self._poll_count:
                    self._cache_snapshot(snapshot)
            return OrderSnapshot(orders, exceptions)

    def _cache_snapshot(self, snapshot: OrderSnapshot) -> None:
        if len(self._orders) + len(self._exceptions) > CACHED_ORDERS:
            self._orders.clear()
            self._exceptions.clear()
        self._orders.update(snapshot.orders)
        self._exceptions.update(snapshot.exceptions)


def _change_message(order: OrderState, change: OrderChange) -> allocation_pb.OrderChange:
    return allocation_pb.OrderChange(
        allocation=order.allocation,
        events=[event for key, event in order.events if key in change.event_ids],
        exceptions=[
            record
            for record in order.exceptions
            if record.state == Record.STATE_OPEN or UUID(record.exception_id) in change.exception_ids
        ],
        cancellation_requests=order.cancellation_requests,
    )
