"""A subscriber to orders and the ids of the orders and exceptions to send; their contents are read when sent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

from service import limits
from service.watch.order_changes import OrderEvent


@dataclass(slots=True)
class OrderChange:
    """The events and the changed exceptions of one order since it was last sent."""

    event_ids: set[UUID] = field(default_factory=set)
    exception_ids: set[UUID] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class OrderSubscriber:
    """One open stream of the orders of some channels; no `channel_ids` is all channels.

    Every change of transactions before `since` has been sent. `behind` means that more changed than is held in memory,
    so that the events after `since` have to be read from the database.
    """

    channel_ids: frozenset[str]
    since: int
    behind: bool
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    orders: dict[UUID, OrderChange] = field(default_factory=dict)
    exceptions: dict[UUID, None] = field(default_factory=dict)
    _count: int = 0

    @property
    def has_pending(self) -> bool:
        """Whether there is something to send."""
        return self.behind or bool(self.orders or self.exceptions)

    def matches(self, event: OrderEvent) -> bool:
        """Whether the event is of a watched channel."""
        return not self.channel_ids or bool(self.channel_ids & event.channel_ids)

    def notify(self, event: OrderEvent) -> None:
        """Adds an event to the pending ones if it is of a watched channel."""
        if not self.matches(event):
            return
        add_event(event, self.orders, self.exceptions)
        self._count += 1
        if self._count > limits.WATCH_PENDING:
            self._clear()
            self.behind = True
        self.wake.set()

    def take_pending(self, count: int) -> tuple[dict[UUID, OrderChange], list[UUID]]:
        """Removes at most `count` pending orders and `count` exceptions without an order, and returns them."""
        ids, exception_ids = list(islice(self.orders, count)), list(islice(self.exceptions, count))
        changes = {key: self.orders.pop(key) for key in ids}
        for key in exception_ids:
            del self.exceptions[key]
        if not (self.orders or self.exceptions):
            self._count = 0
        return changes, exception_ids

    def _clear(self) -> None:
        self.orders.clear()
        self.exceptions.clear()
        self._count = 0


def add_event(event: OrderEvent, orders: dict[UUID, OrderChange], exceptions: dict[UUID, None]) -> None:
    """Adds an event to the changes of its order, or to `exceptions` if its exception has no order."""
    if event.allocation_id is None:
        if event.exception_id is not None:
            exceptions[event.exception_id] = None
        return
    change = orders.setdefault(event.allocation_id, OrderChange())
    if event.exception_id is not None:
        change.exception_ids.add(event.exception_id)
    elif event.id is not None:
        change.event_ids.add(event.id)
