"""Streams of availability. One poll of the database serves all subscribers.

A poll finds changes that writes cause. A refresh finds changes that only time causes: it computes every watched product
in turn. A product at 10 locations takes 0.4 ms of CPU: 10,000 of them take a third of a core, and 4 s after a
change of rules.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial

from service import limits
from service.availability.availability_changes import (
    AvailabilityChanges,
    ReadPosition,
    channels_edited,
    kits_edited,
    next_skus,
    read_changes,
    start_position,
)
from service.availability.item_answers import add_outlets
from service.availability.published_availability import BATCH_PAIRS, PublishedValue, Publisher
from service.availability.published_items import Pair, item_keys, item_of
from service.background import pause
from service.catalog import catalog_store, listing_store
from service.catalog.catalog_store import Catalog
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import no_channel
from service.rpc.streams import ChangePoller, SubscriberLimit
from service.stock.publication_log import NO_OUTLETS
from service.watch import watch_marks
from service.watch.availability_messages import changes_message
from service.watch.availability_subscriber import AvailabilitySubscriber, ChannelSubscribers
from service.watch.watch_marks import Mark, MarksLost, WatchMarks
from service.watch.watch_requests import AvailabilitySubscription, Tokens
from truestock.v1 import availability_service_pb2 as availability_pb

FULL_REFRESH_SECONDS = 1.0
"""After a change of rules, locations or channels, all watched products are computed again within this time."""

REFRESH_PAIRS = 2_000
"""Pairs that a refresh computes between two polls, at most, so that changes of stock do not wait for the refresh."""


class AvailabilityWatch:
    """All availability streams of one process. It polls only while there are subscribers."""

    def __init__(self, deps: Dependencies) -> None:
        self._database = database = deps.database
        self._cache = deps.catalog_cache
        self._active_policies = active_policies = deps.active_policies
        self._metrics = metrics = deps.metrics
        self._publication_log = deps.publication_log
        self._closing = deps.shutdown
        self._poll_seconds = deps.settings.watch_poll_seconds
        self._refresh_seconds = deps.settings.watch_refresh_seconds
        self._publisher = Publisher(database, deps.catalog_cache, active_policies)
        self.poller = ChangePoller("availability", self._poll_seconds, self._poll, self._reset)
        self._subscriber_limit = SubscriberLimit("availability", limits.WATCHERS, metrics.watches.availability_watchers)
        self._channel_subscribers: dict[str, ChannelSubscribers] = {}
        self._initial_lock = asyncio.Lock()
        self._marks = WatchMarks(database)
        self._reset()

    def _reset(self) -> None:
        """Clears all state after the last subscriber has left.

        Polls read the changes since `_marked_position`, which is the last one that a mark was written after.
        """
        self._position: ReadPosition | None = None
        self._marked_position: ReadPosition | None = None
        self._revision = ""
        self._due: dict[Pair, datetime | None] = {}
        self._refresh_queue: deque[Pair] = deque()
        self._refresh_started = self._refresh_deadline = self._poll_time = 0.0

    async def watch(
        self, subscription: AvailabilitySubscription
    ) -> AsyncGenerator[availability_pb.WatchAvailabilityResponse, None]:
        """Published values of a channel: first those that the subscription asks for, then changes. Ends with NotReady.

        Raises NotFound, WatchLimitReached.
        """
        self._closing.raise_if_stopping()
        resume = subscription.resume
        subscriber = AvailabilitySubscriber(subscription.skus, resume.since if resume else 0)
        self._start_over_if_lost()
        marks = self._marks
        tokens, since = Tokens(subscription, marks), resume.since if resume else None
        with self._subscriber_limit.slot(), self._closing.notifying(subscriber.wake):
            await self._check_channel(subscription.channel_id)
            with self._subscribed(subscription.channel_id, subscriber) as subscribers:
                await self._wait_for_first_poll(subscriber, marks)
                starts_over = resume is not None and not await self._is_kept(resume.mark)
                if starts_over:
                    # The client may have values that this database never had, so it is sent all of them.
                    subscriber.since, since = 0, None
                async for changes, unknown_skus in self._initial_changes(subscription, subscriber, subscribers):
                    # Of a database that was lost meanwhile, no position is known.
                    marks.raise_if_lost()
                    assert self._position is not None
                    read_time = self._position.horizon.now
                    token = await tokens.of_message(since, self._poll_time, has_contents=True)
                    yield changes_message(
                        subscription, changes, token, read_time, unknown_skus, starts_over=starts_over
                    )
                    starts_over = False
                while True:
                    subscriber.wake.clear()
                    self._closing.raise_if_stopping()
                    marks.raise_if_lost()
                    changes = self._take_changes(subscription, subscribers, subscriber)
                    assert self._position is not None
                    if not subscriber.pending:
                        # A token states that every change before it has been sent, so it moves on only when nothing is
                        # pending. It names the oldest transaction still open, because that one may commit changes
                        # later.
                        since = self._position.horizon.oldest
                    read_time = self._position.horizon.now
                    token = await tokens.of_message(since, self._poll_time, has_contents=bool(changes))
                    yield changes_message(subscription, changes, token, read_time, starts_over=starts_over)
                    starts_over = False
                    if not subscriber.pending:
                        await pause(subscriber.wake, subscription.heartbeat.total_seconds())

    async def _is_kept(self, mark: Mark) -> bool:
        return await self._database.unlocked("watch", partial(watch_marks.is_kept, mark=mark))

    async def _check_channel(self, channel_id: str) -> None:
        async def read(connection: Connection) -> Catalog:
            return await self._cache.at(connection, await catalog_store.version(connection))

        catalog = await self._database.unlocked("watch", read)
        if channel_id not in catalog.channels:
            raise no_channel({"channel_id": channel_id}, catalog.channels)

    @contextmanager
    def _subscribed(self, channel_id: str, subscriber: AvailabilitySubscriber) -> Iterator[ChannelSubscribers]:
        subscribers = self._channel_subscribers.setdefault(channel_id, ChannelSubscribers())
        subscribers.add(subscriber)
        try:
            with self.poller.watching():
                yield subscribers
        finally:
            subscribers.remove(subscriber)
            if not subscribers.subscribers and self._channel_subscribers.get(channel_id) is subscribers:
                del self._channel_subscribers[channel_id]

    async def _initial_changes(
        self,
        subscription: AvailabilitySubscription,
        subscriber: AvailabilitySubscriber,
        subscribers: ChannelSubscribers,
    ) -> AsyncIterator[tuple[Sequence[PublishedValue], Iterable[str]]]:
        """The values that are sent first, as they are computed, and the SKUs that are unknown."""
        # Looked up after the first poll, because later polls find products that are added from then on.
        unknown_skus = await self._unknown_skus(subscription)
        if unknown_skus:
            yield [], unknown_skus
        last_sent = time.monotonic()
        async for skus in self._sku_batches(subscription, unknown_skus):
            self._closing.raise_if_stopping()
            await self._compute_missing(subscription.channel_id, subscribers, skus)
            for sku in skus:
                if sku in subscribers.published:
                    subscriber.notify(subscribers.published[sku])
            if subscriber.pending or time.monotonic() - last_sent > subscription.heartbeat.total_seconds() / 2:
                yield self._take_changes(subscription, subscribers, subscriber), ()
                last_sent = time.monotonic()

    async def _wait_for_first_poll(self, subscriber: AvailabilitySubscriber, marks: WatchMarks) -> None:
        """Waits for the first poll; only later changes are found."""
        while self._position is None:
            await subscriber.wake.wait()
            subscriber.wake.clear()
            self._closing.raise_if_stopping()
            marks.raise_if_lost()

    async def _unknown_skus(self, subscription: AvailabilitySubscription) -> set[str]:
        if subscription.skus is None:
            return set()
        items = item_keys((subscription.channel_id, name) for name in subscription.skus)
        skus = subscription.skus.difference(name for _, name in items)

        async def read(connection: Connection) -> set[str]:
            unknown = await catalog_store.missing_products(connection, skus) if skus else set()
            listings = await listing_store.read(connection, items.values()) if items else {}
            return unknown | {name for (_, name), key in items.items() if key not in listings}

        return await self._database.unlocked("watch", read)

    async def _sku_batches(
        self, subscription: AvailabilitySubscription, unknown_skus: set[str]
    ) -> AsyncIterator[list[str]]:
        if subscription.skus is not None:
            skus = sorted(subscription.skus - unknown_skus)
            for start in range(0, len(skus), BATCH_PAIRS):
                yield skus[start : start + BATCH_PAIRS]
            return
        after = ""
        while True:
            skus = await self._database.unlocked("watch", partial(next_skus, after=after))
            if not skus:
                return
            yield skus
            after = skus[-1]

    async def _compute_missing(self, channel_id: str, subscribers: ChannelSubscribers, skus: Sequence[str]) -> None:
        # One subscriber at a time, so that many that reconnect at once do not compute the same values.
        async with self._initial_lock:
            pairs = [(channel_id, sku) for sku in skus if sku not in subscribers.computed_skus]
            if not pairs:
                return
            before = self._rules_and_catalog()
            self._update(await self._unless_lost(self._publisher.publish_changed(pairs)), computed=True)
            if before != self._rules_and_catalog():
                # The refresh that this change started did not include these pairs yet.
                self._due = dict.fromkeys(pairs) | self._due

    def _rules_and_catalog(self) -> tuple[str, int]:
        """What values depend on beside stock: the revision of the rules and the version of the catalog."""
        return self._active_policies.current.policy_set.revision, self._position.version if self._position else 0

    async def _poll(self) -> None:
        """Reads changes, publishes what they affect and refreshes a share; the next poll repeats what fails."""
        try:
            await self._read_changes()
            await self._publish_due()
            await self._refresh_some()
        except MarksLost:
            self._start_over_if_lost()

    def _start_over_if_lost(self) -> None:
        """Ends all watches, and forgets what was read of a database that has been restored since."""
        if not self._marks.is_lost:
            return
        watches = list(self._channel_subscribers.values())
        self._channel_subscribers.clear()
        self._marks = WatchMarks(self._database)
        self._publisher = Publisher(self._database, self._cache, self._active_policies)
        self._reset()
        for subscribers in watches:
            subscribers.wake()

    async def _read_changes(self) -> None:
        marks = self._marks
        if self._position is None or self._marked_position is None:
            await self._read_start_position(marks)
            return
        if marks.is_after(self._poll_time):
            self._marked_position = self._position
        before = self._marked_position
        changes = await marks.snapshot(lambda c: read_changes(c, self._cache, before))
        read_time = time.monotonic()
        if changes.has_any(before):
            await marks.after(read_time)
        if changes.position.version != before.version:
            await self._mark_edited_items()
        marks.raise_if_lost()
        self._apply_changes(before, changes)
        self._poll_time = read_time

    async def _read_start_position(self, marks: WatchMarks) -> None:
        position = await marks.snapshot(lambda connection: start_position(connection, self._cache))
        read_time = time.monotonic()
        await marks.after(read_time)
        marks.raise_if_lost()
        self._position, self._marked_position, self._poll_time = position, position, read_time
        self._revision = self._active_policies.current.policy_set.revision
        for subscribers in self._channel_subscribers.values():
            subscribers.wake()

    def _apply_changes(self, before: ReadPosition, changes: AvailabilityChanges) -> None:
        for sku, ingest_time in changes.moved.items():
            self._mark_due(sku, ingest_time)
        edited_kits = kits_edited(before, changes.position)
        for sku in (*changes.expired, *changes.edited, *edited_kits):
            self._mark_due(sku, None)
        self._update(changes.published, computed=False)
        revision = self._active_policies.current.policy_set.revision
        changed = (
            set(self._channel_subscribers) if revision != self._revision else channels_edited(before, changes.position)
        )
        if changed:
            self._start_refresh(changed, FULL_REFRESH_SECONDS)
        self._revision = revision
        # Last, because tokens name this position: every change before it has been sent or is pending.
        self._position = changes.position

    def _mark_due(self, sku: str, ingest_time: datetime | None) -> None:
        """Has a product computed again, and the kits that contain it."""
        kits = self._position.catalog.kits.by_component.get(sku, ()) if self._position else ()
        for channel_id, subscribers in self._channel_subscribers.items():
            for key in (sku, *kits):
                if subscribers.is_watched(key):
                    self._due.setdefault((channel_id, key), ingest_time)
        for key in (sku, *kits):
            for pair in self._publisher.items.of_sku(key):
                self._mark_item_due(pair, ingest_time)

    def _mark_item_due(self, pair: Pair, ingest_time: datetime | None) -> None:
        subscribers = self._channel_subscribers.get(pair[0])
        if subscribers is not None and subscribers.is_watched(pair[1]):
            self._due.setdefault(pair, ingest_time)

    async def _mark_edited_items(self) -> None:
        """Has watched items computed again whose listing is another one now."""
        watched = [
            (channel_id, name)
            for channel_id, subscribers in self._channel_subscribers.items()
            for name in subscribers.watched_items()
        ]
        items = item_keys(watched)
        if items:
            listings = await self._database.unlocked("watch", partial(listing_store.read, keys=list(items.values())))
            for pair in self._publisher.items.edited(items, listings):
                self._mark_item_due(pair, None)

    async def _publish_due(self) -> None:
        while self._due:
            batch = {pair: self._due.pop(pair) for pair in list(self._due)[:BATCH_PAIRS]}
            try:
                published = await self._unless_lost(self._publisher.publish(list(batch)))
            except BaseException:
                self._due = batch | self._due
                raise
            for value in self._update(published, computed=True):
                self._observe_delay(batch[value.pair])

    async def _refresh_some(self) -> None:
        """Computes as many pairs as one poll has to do for the refresh to end on time."""
        now = time.monotonic()
        if not self._refresh_queue and now >= self._refresh_deadline:
            self._start_refresh(self._channel_subscribers, self._refresh_seconds)
        remaining_seconds = max(self._refresh_deadline - now, self._poll_seconds)
        share = min(math.ceil(len(self._refresh_queue) * self._poll_seconds / remaining_seconds), REFRESH_PAIRS)
        while share > 0 and self._refresh_queue:
            pairs = [self._refresh_queue.popleft() for _ in range(min(share, len(self._refresh_queue), BATCH_PAIRS))]
            try:
                self._update(await self._unless_lost(self._publisher.publish_changed(pairs)), computed=True)
            except BaseException:
                self._refresh_queue.extendleft(reversed(pairs))
                raise
            share -= len(pairs)
            if not self._refresh_queue:
                self._metrics.watches.availability_refresh.set(time.monotonic() - self._refresh_started)

    async def _unless_lost(self, published: Awaitable[list[PublishedValue]]) -> list[PublishedValue]:
        """Published values, which are worth nothing where the database was found to be restored meanwhile."""
        marks = self._marks
        values = await published
        marks.raise_if_lost()
        return values

    def _start_refresh(self, channel_ids: Iterable[str], seconds: float) -> None:
        """Queues all watched products of these channels to be computed within `seconds`, in the order of SKUs."""
        pairs = {
            (channel_id, sku)
            for channel_id in channel_ids
            if channel_id in self._channel_subscribers
            for sku in self._channel_subscribers[channel_id].computed_skus
        }
        pairs.update(self._refresh_queue)
        self._refresh_queue = deque(sorted(pairs, key=lambda pair: (pair[1], pair[0])))
        self._refresh_started = time.monotonic()
        self._refresh_deadline = self._refresh_started + seconds

    def _update(self, values: Iterable[PublishedValue], *, computed: bool) -> list[PublishedValue]:
        """Passes values on to the subscribers of their channels; returns those that are new to them."""
        updated = []
        for value in values:
            subscribers = self._channel_subscribers.get(value.channel_id)
            if subscribers is None or not subscribers.is_watched(value.sku):
                continue
            if computed and value.sku not in subscribers.computed_skus:
                # It joins the refresh that runs now, because the end of the next one would be too late.
                self._refresh_queue.append(value.pair)
            if subscribers.update(value, computed=computed):
                updated.append(value)
        return updated

    def _observe_delay(self, ingest_time: datetime | None) -> None:
        """Measures, by the database's clock, the time from recording a movement to publishing its value."""
        if ingest_time is not None and self._position is not None:
            self._metrics.watches.availability_delay.observe(
                max(0.0, (self._database_time() - ingest_time).total_seconds())
            )

    def _take_changes(
        self,
        subscription: AvailabilitySubscription,
        subscribers: ChannelSubscribers,
        subscriber: AvailabilitySubscriber,
    ) -> list[PublishedValue]:
        channel_id = subscription.channel_id
        changes = [
            subscribers.published[sku]
            for sku in subscriber.take_pending(limits.WATCH_CHANGES)
            if sku in subscribers.published
        ]
        self._metrics.watches.availability_changes_published.labels(channel_id).inc(len(changes))
        if changes and not subscription.internal:
            units = self._published_units(changes)
            outlets = self._published_outlets(changes) if subscription.include_outlets else NO_OUTLETS
            self._publication_log.record(channel_id, units, self._database_time(), self._revision, outlets)
        return changes

    def _published_units(self, changes: Sequence[PublishedValue]) -> dict[str, int]:
        """The units of each SKU that a channel is shown as sellable: the most, of the SKU and the items of it."""
        units: dict[str, int] = {}
        for value, sku, each in self._with_units(changes):
            units[sku] = max(value.sellable * each, units.get(sku, 0))
        return units

    def _published_outlets(self, changes: Sequence[PublishedValue]) -> dict[str, dict[str, int]]:
        """The same by SKU and outlet, for products of channels that have outlets."""
        outlets: dict[str, dict[str, int]] = {}
        for value, sku, each in self._with_units(changes):
            if value.outlets:
                add_outlets(outlets.setdefault(sku, {}), value.outlet_units(), each)
        return outlets

    def _with_units(self, changes: Sequence[PublishedValue]) -> Iterator[tuple[PublishedValue, str, int]]:
        """Values with the SKU that they are of and how many units of it one is, without items that are not mapped."""
        for value in changes:
            listing = self._publisher.items.listing(value.pair)
            if listing is not None:
                yield value, listing.sku, listing.unit_count
            elif not item_of(value.sku):
                yield value, value.sku, 1

    def _database_time(self) -> datetime:
        """The database's clock now: its time at the last poll, and the time since then by the clock of this process."""
        assert self._position is not None
        return self._position.horizon.now + timedelta(seconds=time.monotonic() - self._poll_time)
