"""One who watches orders, and what is still to be told: which orders and exceptions changed, never their contents."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

from service import limits
from service.watch.order_changes import OrderEvent


@dataclass(slots=True)
class OrderChange:
    """What happened to one order since it was last told: its events, and its exceptions that changed."""

    event_ids: set[UUID] = field(default_factory=set)
    exception_ids: set[UUID] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class OrderSubscriber:
    """One who watches the orders of some channels, all if none is named.

    `since` is the transaction before which everything has been told. `behind` says that more changed than is
    remembered, so that it must be looked up from there.
    """

    channel_ids: frozenset[str]
    since: int
    behind: bool
    bell: asyncio.Event = field(default_factory=asyncio.Event)
    orders: dict[UUID, OrderChange] = field(default_factory=dict)
    exceptions: dict[UUID, None] = field(default_factory=dict)
    _count: int = 0

    @property
    def has_pending(self) -> bool:
        """Whether there is something to tell."""
        return self.behind or bool(self.orders or self.exceptions)

    def wants(self, event: OrderEvent) -> bool:
        """Whether it concerns one of the channels."""
        return not self.channel_ids or bool(self.channel_ids & event.channel_ids)

    def hear(self, event: OrderEvent) -> None:
        """Something happened; it is remembered if it is wanted."""
        if not self.wants(event):
            return
        add_event(event, self.orders, self.exceptions)
        self._count += 1
        if self._count > limits.WATCH_PENDING:
            self._drop()
            self.behind = True
        self.bell.set()

    def take(self, count: int) -> tuple[dict[UUID, OrderChange], list[UUID]]:
        """At most so many orders, and so many exceptions about none, to tell of now."""
        ids, loose = list(islice(self.orders, count)), list(islice(self.exceptions, count))
        taken = {key: self.orders.pop(key) for key in ids}
        for key in loose:
            del self.exceptions[key]
        if not (self.orders or self.exceptions):
            self._count = 0
        return taken, loose

    def _drop(self) -> None:
        self.orders.clear()
        self.exceptions.clear()
        self._count = 0


def add_event(event: OrderEvent, orders: dict[UUID, OrderChange], exceptions: dict[UUID, None]) -> None:
    """Notes an event at its order, or at its exception where that is about no order."""
    if event.allocation_id is None:
        if event.exception_id is not None:
            exceptions[event.exception_id] = None
        return
    changed = orders.setdefault(event.allocation_id, OrderChange())
    if event.exception_id is not None:
        changed.exception_ids.add(event.exception_id)
    elif event.id is not None:
        changed.event_ids.add(event.id)
