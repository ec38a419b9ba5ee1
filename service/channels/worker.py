"""Reads what hints name, and sends what it means to Truestock. Entities go in parallel, one entity in turn."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from service.background import FailureLog, all_of, pause
from service.channels.adapter import COUNT
from service.channels.connector_metrics import ConnectorMetrics
from service.channels.earlier_orders import EarlierOrders
from service.channels.effects import CountUnits, Reading
from service.channels.errors import (
    AuthorizationLost,
    Away,
    ChannelError,
    ForAPerson,
    NotArrived,
    NotYet,
    Unmapped,
    Unreadable,
)
from service.channels.plain_text import plain_line
from service.channels.running_account import RunningAccount
from service.channels.store.account_states import AccountStates
from service.channels.store.inbox import Claim, Inbox
from service.channels.store.leases import kept

LOOK_SECONDS = 0.5
"""How soon a worker sees what another process has taken in."""
AWAY_PAUSE = timedelta(seconds=2)
LONGEST_ORDER_ID = 128
AT_A_TIME = 8
"""Entities of one account and kind whose effects are sent at the same time."""


class Worker:
    """Works for one account."""

    def __init__(self, running: RunningAccount, inbox: Inbox, states: AccountStates, metrics: ConnectorMetrics) -> None:
        self._running = running
        self._inbox = inbox
        self._states = states
        self._metrics = metrics
        self._failures = FailureLog()
        self._name = running.account.name
        self._earlier = EarlierOrders(running)

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set. Each kind goes on by itself: a platform may be slow to answer of one alone."""
        await all_of(self._work(kind, stop) for kind in self._running.platform.abilities.kinds)

    async def _work(self, kind: str, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._running.hinted.clear()
            try:
                is_busy = await self._one_round(kind)
            except Exception as error:
                # What no check foresaw costs its batch a lease, and never the other accounts of this process.
                self._failures.failed("a round of work failed and is tried again", error, account=self._name)
                is_busy = False
            if not is_busy:
                await pause(self._running.hinted, LOOK_SECONDS)

    async def _one_round(self, kind: str) -> bool:
        """Reads one batch; whether there was anything to do."""
        if self._running.is_paused:
            return False
        try:
            return await self._read_due(kind)
        except Away as error:
            self._failures.failed("the inbox cannot be worked on", error, traceback=False, account=self._name)
            return False

    async def _read_due(self, kind: str) -> bool:
        claims = await self._inbox.claim(self._name, kind, self._running.platform.abilities.most_read)
        if not claims:
            return False
        if not await self._is_wanted(claims):
            return True
        async with kept(lambda: self._inbox.keep(claims[0])):
            return await self._read(kind, claims)

    async def _is_wanted(self, claims: Sequence[Claim]) -> bool:
        """Whether these are to be read: counts only once somebody has said what they mean; until then they are done."""
        if claims[0].kind != COUNT:
            return True
        try:
            if await self._running.api.counts.is_declared():
                return True
        except (Away, Unmapped, Unreadable) as error:
            await self._postpone(claims, Away(str(error)))
            return False
        for claim in claims:
            await self._inbox.finish(claim, None, datetime.now(UTC))
        self._metrics.left_out.labels(self._name, "not_declared").inc(len(claims))
        return False

    async def _read(self, kind: str, claims: Sequence[Claim]) -> bool:
        """Reads a batch, and does what it means; False where the channel does not answer."""
        read_time = datetime.now(UTC)
        try:
            readings = await self._running.adapter.read(kind, [claim.entity_id for claim in claims])
        except ChannelError as error:
            return await self._cannot_read(claims, error)
        except Exception as error:
            return await self._cannot_read(claims, self._unexpected(error))
        self._metrics.reads_saved.labels(self._name).inc(sum(max(0, claim.unread_count - 1) for claim in claims))
        room = asyncio.Semaphore(AT_A_TIME)
        await all_of(self._settle(claim, readings, read_time, room) for claim in claims)
        return True

    async def _cannot_read(self, claims: Sequence[Claim], error: ChannelError) -> bool:
        """Postpones or parks what could not be read; whether anything could be said of it."""
        if isinstance(error, AuthorizationLost):
            await self._states.pause(self._name, str(error))
            self._running.is_paused = True
        is_outage = isinstance(error, (Away, AuthorizationLost))
        if is_outage:
            self._failures.failed("the channel cannot be read", error, traceback=False, account=self._name)
        asks_to_wait = isinstance(error, AuthorizationLost) or (isinstance(error, Away) and error.retry_after_seconds)
        if is_outage and (asks_to_wait or len(claims) == 1):
            await self._postpone(claims, error)
            return False
        # Each entity alone may do better: the platform may refuse the call, or fail, because of one of them. After a
        # failure one is tried, by chance, because nobody knows which; if it fails too, the platform is away.
        rest = random.sample(claims, len(claims))
        while rest:
            claim = rest.pop()
            is_read = await self._alone(claim, error, is_alone=len(claims) == 1)
            if is_outage and not is_read and len(rest) == len(claims) - 1:
                await self._postpone(rest, error)
                return False
        return True

    async def _alone(self, claim: Claim, error: ChannelError, *, is_alone: bool) -> bool:
        """Reads one entity of a batch that failed; False where the channel does not answer."""
        read_time = datetime.now(UTC)
        if not is_alone:
            try:
                readings = await self._running.adapter.read(claim.kind, [claim.entity_id])
            except (Away, AuthorizationLost) as away:
                await self._postpone([claim], away)
                return False
            except ChannelError as own:
                error = own
            except Exception as own:
                error = self._unexpected(own)
            else:
                await self._settle(claim, readings, read_time, asyncio.Semaphore(1))
                return True
        await self._failed(claim, error, "")
        return True

    async def _postpone(self, claims: Sequence[Claim], error: ChannelError) -> None:
        """A vendor's outage is no attempt."""
        seconds = error.retry_after_seconds if isinstance(error, Away) else 0.0
        for claim in claims:
            await self._inbox.postpone(claim, max(AWAY_PAUSE, timedelta(seconds=min(seconds, 3_600))))
        self._metrics.reads.labels(self._name, "away").inc(len(claims))

    async def _settle(
        self,
        claim: Claim,
        readings: Mapping[str, Reading | Exception],
        read_time: datetime,
        room: asyncio.Semaphore,
    ) -> None:
        async with room:
            reading = readings.get(claim.entity_id)
            try:
                if reading is None:
                    raise Unreadable("the channel does not know it")
                if isinstance(reading, Exception):
                    raise reading
                await self._apply(claim, reading)
            except NotYet as error:
                await self._postpone([claim], error)
            except Away as error:
                self._failures.failed("Truestock cannot be told", error, traceback=False, account=self._name)
                await self._postpone([claim], error)
            except ChannelError as error:
                await self._failed(claim, error, _order_id(claim, reading))
            except Exception as error:
                await self._failed(claim, self._unexpected(error), _order_id(claim, reading))
            else:
                await self._inbox.finish(claim, reading.update_time, read_time)
                self._metrics.reads.labels(self._name, "worked").inc()

    async def _apply(self, claim: Claim, reading: Reading) -> None:
        is_older = claim.update_time is not None and reading.update_time < claim.update_time
        left_out = reading.left_out
        if not is_older and not left_out:
            left_out = await self._earlier.left_out(reading)
        try:
            for effect in () if is_older or left_out else reading.effects:
                await self._running.api.apply(claim.entity_id, effect)
        except NotArrived as error:
            left_out = await self._earlier.left_out_with_its_order(reading, error)
        if left_out:
            self._metrics.left_out.labels(self._name, left_out).inc()

    def _unexpected(self, error: Exception) -> Unreadable:
        """A mistake of ours, or content that no check foresaw: it must park one entity, not stop all the others."""
        self._failures.failed("an entity cannot be read", error, account=self._name)
        return Unreadable(f"an unexpected {type(error).__name__}; the connectors' log has more")

    async def _failed(self, claim: Claim, error: ChannelError, order_id: str) -> None:
        unmapped = isinstance(error, Unmapped)
        await self._inbox.fail(claim, str(error), order_id, unmapped=unmapped, final=isinstance(error, ForAPerson))
        self._metrics.reads.labels(self._name, "failed").inc()


def _order_id(claim: Claim, reading: Reading | Exception | None) -> str:
    """The order that a failure is about; empty where there is none, or an id that is none that Truestock takes."""
    effects = reading.effects if isinstance(reading, Reading) else ()
    of_effects = (effect.order_id for effect in effects if not isinstance(effect, CountUnits))
    order_id = claim.entity_id if claim.kind == "order" else next(of_effects, "")
    return order_id if order_id == plain_line(order_id, LONGEST_ORDER_ID) else ""
