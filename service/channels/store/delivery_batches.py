"""Stores webhooks: those that arrive while others are written are written together, by one statement."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from service.channels.adapter import Delivery
from service.channels.errors import Away
from service.channels.store.inbox import Inbox

MOST_TOGETHER = 200
"""Deliveries of one statement."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    delivery: Delivery
    is_new: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class DeliveryBatches:
    """One statement at a time for each account. A webhook that comes alone waits for nothing."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._waiting: dict[str, list[_Waiting]] = {}
        self._writers: set[asyncio.Task[None]] = set()

    async def store(self, account: str, delivery: Delivery) -> bool:
        """Returns, once it is committed, whether the delivery is a new one. Raises Away."""
        waiting = _Waiting(delivery)
        if account in self._waiting:
            self._waiting[account].append(waiting)
        else:
            self._waiting[account] = [waiting]
            writer = asyncio.create_task(self._write_all(account))
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        return await waiting.is_new

    async def _write_all(self, account: str) -> None:
        while batch := self._waiting[account][:MOST_TOGETHER]:
            del self._waiting[account][:MOST_TOGETHER]
            await self._write(account, batch)
        del self._waiting[account]

    async def _write(self, account: str, batch: Sequence[_Waiting]) -> None:
        try:
            new = await self._inbox.accept(account, [each.delivery for each in batch])
        except Exception as error:
            if len(batch) == 1 or isinstance(error, Away):
                _fail(batch, error)
                return
            # One that cannot be stored, as with a character that PostgreSQL does not take, refuses itself alone.
            for each in batch:
                await self._write(account, [each])
            return
        for each in batch:
            # Of two with one key in a statement, the first is the new one.
            if not each.is_new.done():
                each.is_new.set_result(each.delivery.key in new)
            new.discard(each.delivery.key)


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    for each in batch:
        if not each.is_new.done():
            each.is_new.set_exception(error)
