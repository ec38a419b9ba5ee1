"""Those who watch one channel's availability, and what they have still to be told: the latest values, never a queue."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice

from service.availability.published_availability import PublishedFigures


@dataclass(slots=True, eq=False)
class AvailabilitySubscriber:
    """One who watches. `skus` None is every product; `pending` are SKUs to tell of, in order, so at most all of them.

    What was told by transactions before `since` is known already.
    """

    skus: frozenset[str] | None
    since: int = 0
    bell: asyncio.Event = field(default_factory=asyncio.Event)
    pending: dict[str, None] = field(default_factory=dict)

    def hear(self, one: PublishedFigures) -> None:
        """There is something to tell of this SKU, if it is watched and not known already."""
        if one.xid >= self.since and (self.skus is None or one.sku in self.skus):
            self.pending[one.sku] = None
            self.bell.set()

    def take(self, count: int) -> list[str]:
        """At most so many SKUs to tell of now."""
        taken = list(islice(self.pending, count))
        for sku in taken:
            del self.pending[sku]
        return taken


class ChannelSubscribers:
    """Everybody who watches a channel here.

    `told` is the latest value of each SKU that this service knows of. `sure` are SKUs that were worked out since
    looking began: whatever has changed since then is noticed, so that nobody need work them out again.
    """

    def __init__(self) -> None:
        self.watchers: set[AvailabilitySubscriber] = set()
        self.told: dict[str, PublishedFigures] = {}
        self.sure: set[str] = set()
        self._named: Counter[str] = Counter()
        self._of_everything = 0

    def wants(self, sku: str) -> bool:
        """Whether anybody watches the product."""
        return self._of_everything > 0 or sku in self._named

    def join(self, watcher: AvailabilitySubscriber) -> None:
        """Somebody begins to watch."""
        self.watchers.add(watcher)
        self._of_everything += watcher.skus is None
        self._named.update(watcher.skus or ())

    def leave(self, watcher: AvailabilitySubscriber) -> None:
        """Forgets one who has hung up, and what nobody else watches."""
        self.watchers.discard(watcher)
        self._of_everything -= watcher.skus is None
        for sku in watcher.skus or ():
            self._named[sku] -= 1
            if not self._named[sku]:
                del self._named[sku]
        if self.watchers and not self._of_everything:
            for sku in watcher.skus or list(self.told):
                if sku not in self._named:
                    self.told.pop(sku, None)
                    self.sure.discard(sku)

    def learn(self, one: PublishedFigures, *, sure: bool) -> bool:
        """Takes a value in and has it told, unless one as new is known. Returns whether it is new."""
        if sure:
            self.sure.add(one.sku)
        known = self.told.get(one.sku)
        if known is not None and known.version >= one.version:
            return False
        self.told[one.sku] = one
        for watcher in self.watchers:
            watcher.hear(one)
        return True
