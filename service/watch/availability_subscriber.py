"""Subscribers to one channel's availability and the SKUs to send them; each SKU is sent with its latest value only."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice

from service.availability.published_availability import PublishedValue
from service.availability.published_items import item_of


@dataclass(slots=True, eq=False)
class AvailabilitySubscriber:
    """One open stream. `skus` None is every product. `pending` are SKUs to send, in order, each at most once.

    Among SKUs are the names of items.

    Values that were published by transactions before `since` are not sent: the client has them.
    """

    skus: frozenset[str] | None
    since: int = 0
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    pending: dict[str, None] = field(default_factory=dict)

    def notify(self, value: PublishedValue) -> None:
        """Adds the SKU to the pending ones if it is watched and the client does not have the value."""
        is_watched = value.sku in self.skus if self.skus is not None else not item_of(value.sku)
        if value.xid >= self.since and is_watched:
            self.pending[value.sku] = None
            self.wake.set()

    def take_pending(self, count: int) -> list[str]:
        """Removes at most `count` SKUs from the pending ones and returns them."""
        skus = list(islice(self.pending, count))
        for sku in skus:
            del self.pending[sku]
        return skus


class ChannelSubscribers:
    """All subscribers to one channel in this process.

    `published` is the latest published value of each SKU that is known here. `computed_skus` were computed since
    polling began; polls report later changes of them, so they need not be computed for a new subscriber.
    """

    def __init__(self) -> None:
        self.subscribers: set[AvailabilitySubscriber] = set()
        self.published: dict[str, PublishedValue] = {}
        self.computed_skus: set[str] = set()
        self._watch_counts: Counter[str] = Counter()
        self._all_sku_watchers = 0

    def is_watched(self, sku: str) -> bool:
        """Whether any subscriber watches the product."""
        return sku in self._watch_counts or (self._all_sku_watchers > 0 and not item_of(sku))

    def watched_items(self) -> list[str]:
        """The names of the items that subscribers watch."""
        return [name for name in self._watch_counts if item_of(name)]

    def add(self, subscriber: AvailabilitySubscriber) -> None:
        """Adds a subscriber."""
        self.subscribers.add(subscriber)
        self._all_sku_watchers += subscriber.skus is None
        self._watch_counts.update(subscriber.skus or ())

    def remove(self, subscriber: AvailabilitySubscriber) -> None:
        """Removes a subscriber, and the values that no other subscriber watches."""
        self.subscribers.discard(subscriber)
        self._all_sku_watchers -= subscriber.skus is None
        for sku in subscriber.skus or ():
            self._watch_counts[sku] -= 1
            if not self._watch_counts[sku]:
                del self._watch_counts[sku]
        if self.subscribers and not self._all_sku_watchers:
            for sku in subscriber.skus or list(self.published):
                if sku not in self._watch_counts:
                    self.published.pop(sku, None)
                    self.computed_skus.discard(sku)

    def wake(self) -> None:
        """Wakes every subscriber."""
        for subscriber in self.subscribers:
            subscriber.wake.set()

    def update(self, value: PublishedValue, *, computed: bool) -> bool:
        """Stores a value and notifies subscribers if its version is newer than the known one; returns whether it is."""
        if computed:
            self.computed_skus.add(value.sku)
        current = self.published.get(value.sku)
        if current is not None and current.version >= value.version:
            return False
        self.published[value.sku] = value
        for subscriber in self.subscribers:
            subscriber.notify(value)
        return True
