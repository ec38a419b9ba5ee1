"""Watches of availability: one look at the database for all who watch, and one value at a time for each of them.

What changed is noticed in short looks; what the clock alone changes, by working out everything that is watched in turn.
A product at 10 locations takes 0.4 ms of a core, so 10,000 of them take a third of one, and 4 s after other rules.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial

from service import limits
from service.availability.availability_changes import (
    AvailabilityChanges,
    ReadPosition,
    next_skus,
    read_changes,
    start_position,
)
from service.availability.published_availability import BATCH_PAIRS, Pair, PublishedFigures, Publisher
from service.catalog import catalog_store
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import ABSENT_PRODUCT, NotFound
from service.rpc import proto_values
from service.rpc.streams import ChangePoller, SubscriberLimit
from service.watch.availability_subscriber import AvailabilitySubscriber, ChannelSubscribers
from service.watch.watch_requests import AvailabilitySubscription, Tokens
from truestock.v1 import availability_service_pb2 as availability_pb

FULL_REFRESH_SECONDS = 1.0
"""Within this time everything that is watched is worked out anew after rules, locations or channels changed."""

REFRESH_PAIRS = 2_000
"""Pairs of a round that are worked out between two looks, at most, so that changes of stock do not wait for them."""


class AvailabilityWatch:
    """All watches of availability of one service. It looks only while somebody watches."""

    def __init__(self, deps: Dependencies) -> None:
        self._database = database = deps.database
        self._cache = deps.cache
        self._folder = folder = deps.folder
        self._metrics = metrics = deps.metrics
        self._closing = deps.closing
        self._poll_seconds = deps.settings.watch_poll_seconds
        self._round_seconds = deps.settings.watch_refresh_seconds
        self._teller = Publisher(database, deps.cache, folder)
        self.poller = ChangePoller("availability", self._poll_seconds, self._look, self._forget)
        self._seats = SubscriberLimit("availability", limits.WATCHERS, metrics.availability_watchers)
        self._audiences: dict[str, ChannelSubscribers] = {}
        self._beginning = asyncio.Lock()
        self._forget()

    def _forget(self) -> None:
        """Nobody watches, so nothing is known any more."""
        self._seen: ReadPosition | None = None
        self._revision = ""
        self._due: dict[Pair, datetime | None] = {}
        self._round: deque[Pair] = deque()
        self._round_began = self._round_ends = self._looked_at = 0.0

    async def watch(
        self, wish: AvailabilitySubscription
    ) -> AsyncGenerator[availability_pb.WatchAvailabilityResponse, None]:
        """What the channel is told of the products: first what the wish asks for, then changes. Ends with NotReady.

        Raises NotFound, TooManyWatch.
        """
        self._closing.check()
        watcher, tokens, token = AvailabilitySubscriber(wish.skus, wish.since or 0), Tokens(wish), ""
        with self._seats.taken(), self._closing.ringing(watcher.bell):
            await self._check(wish)
            with self._seated(wish.channel_id, watcher) as audience:
                async for message in self._beginning_of(wish, watcher, audience):
                    yield message
                while True:
                    watcher.bell.clear()
                    self._closing.check()
                    changes = self._changes(wish.channel_id, audience, watcher)
                    assert self._seen is not None
                    if not watcher.pending:
                        token = tokens.at(self._seen.horizon.oldest)
                    yield self._message(changes, token)
                    if not watcher.pending:
                        with suppress(TimeoutError):
                            await asyncio.wait_for(watcher.bell.wait(), wish.heartbeat.total_seconds())

    async def _check(self, wish: AvailabilitySubscription) -> None:
        async def read(connection: Connection) -> tuple[bool, set[str]]:
            known = await self._cache.at(connection, await catalog_store.version(connection))
            return wish.channel_id in known.channels, await catalog_store.missing_products(connection, wish.skus or ())

        is_known, missing = await self._database.unlocked("watch", read)
        if not is_known:
            raise NotFound("channel", {"channel_id": wish.channel_id}, "ListChannels lists those that there are")
        if missing:
            named = {f"skus ({sku})": sku for sku in sorted(missing)[:20]}
            raise NotFound("product", named, ABSENT_PRODUCT)

    @contextmanager
    def _seated(self, channel_id: str, watcher: AvailabilitySubscriber) -> Iterator[ChannelSubscribers]:
        audience = self._audiences.setdefault(channel_id, ChannelSubscribers())
        audience.join(watcher)
        try:
            with self.poller.kept():
                yield audience
        finally:
            audience.leave(watcher)
            if not audience.watchers:
                del self._audiences[channel_id]

    async def _beginning_of(
        self, wish: AvailabilitySubscription, watcher: AvailabilitySubscriber, audience: ChannelSubscribers
    ) -> AsyncIterator[availability_pb.WatchAvailabilityResponse]:
        """The values that come first, as they are worked out, without a token."""
        await self._has_looked(watcher)
        last = time.monotonic()
        async for skus in self._in_parts(wish):
            self._closing.check()
            await self._make_sure(wish.channel_id, audience, skus)
            for sku in skus:
                if sku in audience.told:
                    watcher.hear(audience.told[sku])
            if watcher.pending or time.monotonic() - last > wish.heartbeat.total_seconds() / 2:
                yield self._message(self._changes(wish.channel_id, audience, watcher), "")
                last = time.monotonic()

    async def _has_looked(self, watcher: AvailabilitySubscriber) -> None:
        """Waits for the first look: only what happens after it is noticed."""
        while self._seen is None:
            await watcher.bell.wait()
            watcher.bell.clear()
            self._closing.check()
        # A token from beyond what this database has come to is another database's: then everything is new.
        if watcher.since > self._seen.horizon.next:
            watcher.since = 0

    async def _in_parts(self, wish: AvailabilitySubscription) -> AsyncIterator[list[str]]:
        if wish.skus is not None:
            skus = sorted(wish.skus)
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

    async def _make_sure(self, channel_id: str, audience: ChannelSubscribers, skus: Sequence[str]) -> None:
        # One at a time, so that many who come back at once do not all work out the same.
        async with self._beginning:
            pairs = [(channel_id, sku) for sku in skus if sku not in audience.sure]
            if not pairs:
                return
            before = self._basis()
            self._learn(await self._teller.publish_changed(pairs), sure=True)
            if before != self._basis():
                # The round that this change began did not know of these pairs yet.
                self._due = dict.fromkeys(pairs) | self._due

    def _basis(self) -> tuple[str, int]:
        """What every value rests on beside stock: the rules in force, and the catalogue's version."""
        return self._folder.current.policy_set.revision, self._seen.version if self._seen else 0

    async def _look(self) -> None:
        """One look, and what follows from it. What fails is done again the next time."""
        await self._take_news()
        await self._tell_due()
        await self._go_round()

    async def _take_news(self) -> None:
        if self._seen is None:
            self._seen = await self._database.snapshot(
                "watch", lambda connection: start_position(connection, self._cache)
            )
            self._revision = self._folder.current.policy_set.revision
            for watcher in [one for audience in self._audiences.values() for one in audience.watchers]:
                watcher.bell.set()
        else:
            before = self._seen
            self._note(before, await self._database.snapshot("watch", lambda c: read_changes(c, self._cache, before)))
        self._looked_at = time.monotonic()

    def _note(self, before: ReadPosition, news: AvailabilityChanges) -> None:
        for sku, heard in news.moved.items():
            self._is_due(sku, heard)
        for sku in (*news.expired, *news.edited):
            self._is_due(sku, None)
        self._learn(news.published, sure=False)
        revision = self._folder.current.policy_set.revision
        changed = set(self._audiences) if revision != self._revision else _affected(before, news.position)
        if changed:
            self._begin_round(changed, FULL_REFRESH_SECONDS)
        self._revision = revision
        # Only now: a token says that everything up to what was seen has been told or is about to be.
        self._seen = news.position

    def _is_due(self, sku: str, heard: datetime | None) -> None:
        for channel_id, audience in self._audiences.items():
            if audience.wants(sku):
                self._due.setdefault((channel_id, sku), heard)

    async def _tell_due(self) -> None:
        while self._due:
            taken = {pair: self._due.pop(pair) for pair in list(self._due)[:BATCH_PAIRS]}
            try:
                found = await self._teller.publish(list(taken))
            except BaseException:
                self._due = taken | self._due
                raise
            for one in self._learn(found, sure=True):
                self._observe(taken[one.pair])

    async def _go_round(self) -> None:
        """Works out the share of what is watched that is the turn's, so that a round takes its time and no more."""
        now = time.monotonic()
        if not self._round and now >= self._round_ends:
            self._begin_round(self._audiences, self._round_seconds)
        left = max(self._round_ends - now, self._poll_seconds)
        share = min(math.ceil(len(self._round) * self._poll_seconds / left), REFRESH_PAIRS)
        while share > 0 and self._round:
            pairs = [self._round.popleft() for _ in range(min(share, len(self._round), BATCH_PAIRS))]
            try:
                self._learn(await self._teller.publish_changed(pairs), sure=True)
            except BaseException:
                self._round.extendleft(reversed(pairs))
                raise
            share -= len(pairs)
            if not self._round:
                self._metrics.availability_refresh.set(time.monotonic() - self._round_began)

    def _begin_round(self, channel_ids: Iterable[str], seconds: float) -> None:
        """Everything of these channels that is watched is worked out within so many seconds, the same SKUs together."""
        pairs = {(name, sku) for name in channel_ids if name in self._audiences for sku in self._audiences[name].sure}
        pairs.update(self._round)
        self._round = deque(sorted(pairs, key=lambda pair: (pair[1], pair[0])))
        self._round_began = time.monotonic()
        self._round_ends = self._round_began + seconds

    def _learn(self, found: Iterable[PublishedFigures], *, sure: bool) -> list[PublishedFigures]:
        """Has what is new told to whom it concerns; returns what somebody will hear."""
        heard = []
        for one in found:
            audience = self._audiences.get(one.channel_id)
            if audience is None or not audience.wants(one.sku):
                continue
            if sure and one.sku not in audience.sure:
                # Its turn comes in this round already: until the end of the next one would be too long.
                self._round.append(one.pair)
            if audience.learn(one, sure=sure):
                heard.append(one)
        return heard

    def _observe(self, heard: datetime | None) -> None:
        """Measures, by the database's clock, how long after its movement was heard a value is told."""
        if heard is not None and self._seen is not None:
            told = self._seen.horizon.now + timedelta(seconds=time.monotonic() - self._looked_at)
            self._metrics.availability_delay.observe(max(0.0, (told - heard).total_seconds()))

    def _changes(
        self, channel_id: str, audience: ChannelSubscribers, watcher: AvailabilitySubscriber
    ) -> list[PublishedFigures]:
        changes = [audience.told[sku] for sku in watcher.take(limits.WATCH_CHANGES) if sku in audience.told]
        self._metrics.availability_changes_published.labels(channel_id).inc(len(changes))
        return changes

    def _message(self, changes: Sequence[PublishedFigures], token: str) -> availability_pb.WatchAvailabilityResponse:
        assert self._seen is not None
        return availability_pb.WatchAvailabilityResponse(
            changes=[
                availability_pb.AvailabilityChange(
                    sku=one.sku,
                    version=one.version,
                    sellable_count=one.sellable,
                    largest_single_order_count=one.largest_single_order,
                )
                for one in changes
            ],
            resume_token=token,
            read_time=proto_values.timestamp(self._seen.horizon.now),
        )


def _affected(before: ReadPosition, after: ReadPosition) -> set[str]:
    """Channels all of whose products may be told other figures, because they or the locations were edited."""
    old, new = before.catalog, after.catalog
    if old is new:
        return set()
    if old.locations != new.locations:
        return set(new.channels)
    return {name for name, channel in new.channels.items() if old.channels.get(name) != channel}
