"""Queues orders and groups them into transactions; `allocation_batch` runs a transaction.

Group commit: orders that queue while a transaction is in flight go together into the next one. Orders that share no
SKU with a transaction in flight go into another one at the same time. An order passes only orders with which it shares
no SKU, so that none waits forever. After a transaction for many callers, the next one for its SKUs waits a moment for
them, because most of them order again; see `_Pause`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence, Set
from dataclasses import dataclass, field
from datetime import timedelta
from math import ceil
from uuid import UUID

from google.protobuf.message import Message

from policies.domain.model import OrderLine
from policies.policy_set import PolicySet
from service import limits
from service.allocation.line_pace import LinePace
from service.audit.origin import current_principal
from service.errors import NotReady, Overloaded, TruestockError
from service.metrics import Metrics
from service.observability.calls import Call, current_call
from service.orders.order_requests import OrderRequest
from service.rpc.idempotency import IdempotencyKey
from truestock.v1 import allocation_service_pb2 as allocation_pb

DEADLINE_SHARE = 0.5
"""The part of its time until its deadline that an order may be expected to wait: some transactions take longer."""
RETRY_STEP_SECONDS = 0.05
"""Refused callers are told to retry after so many seconds or a multiple: a status that is known need not be made."""
PAUSE_CALLS = 8
PAUSE_SECONDS = 0.008
"""After a transaction for so many calls, orders of its SKUs wait so long at most for one another."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One order that waits for its allocation, with the rules in force when it arrived."""

    request: OrderRequest
    claim: IdempotencyKey
    message: Message
    policy_set: PolicySet
    allocation_id: UUID
    call: Hashable = field(default_factory=object)
    """The call that the order came with. Those of a BatchAllocateOrders call have one in common."""
    answer: asyncio.Future[allocation_pb.Allocation] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    served_call: Call | None = field(default_factory=current_call.get)
    principal: str | None = field(default_factory=current_principal)
    """Who sent the order."""
    arrived: float = field(default_factory=time.perf_counter)
    """When it arrived, by the clock of `time.perf_counter`."""
    skus: frozenset[Hashable] = field(init=False)
    identity_keys: frozenset[Hashable] = field(init=False)

    def __post_init__(self) -> None:
        order = self.request.order
        self.skus = frozenset(_ordered(order.channel_id, line) for line in order.lines)
        # Two entries of the same order, or of the same request, in one transaction could not see each other's outcome.
        # A copy and its original are the same order.
        order_keys = [key for key in (self.request.key, self.request.copy_of) if key is not None]
        self.identity_keys = frozenset({("request", self.claim.id), *(("order", *key) for key in order_keys)})

    @property
    def line_count(self) -> int:
        """Lines of the order."""
        return len(self.request.order.lines)

    @property
    def conflict_keys(self) -> frozenset[Hashable]:
        """SKUs, orders and requests that no two transactions in flight may share."""
        return self.skus | self.identity_keys


def _ordered(channel_id: str, line: OrderLine) -> Hashable:
    """What a line orders: a SKU, or an item of its channel, which is a SKU only once its listing has been read."""
    return line.sku if line.item is None else (channel_id, line.item.item_id)


@dataclass(slots=True, eq=False)
class _Pause:
    """SKUs that stay in flight after their transaction, until as many calls came with new orders of them, or `timer`.

    Without it, the next transaction would leave with the first order that comes back, and be small. Orders of other
    SKUs go at once, and so does a lone caller, who has no one to wait for.
    """

    skus: frozenset[Hashable]
    calls: int
    timer: asyncio.TimerHandle | None = None
    returned: set[Hashable] = field(default_factory=set)


Outcomes = Sequence[allocation_pb.Allocation | TruestockError]
Decide = Callable[[Sequence[Ticket]], Awaitable[Outcomes]]


class AllocationQueue:
    """A bounded queue of orders, and the transactions that allocate them, at most `max_in_flight` at a time.

    `decide` runs a batch in one transaction. It returns an answer or an error for each ticket; if it raises, nothing
    of the batch has been written. `location_count` returns the locations of the retailer, `components_of` the
    components of those SKUs that are kits: a kit takes the units of these, so orders for them do not pass it.
    """

    def __init__(
        self,
        decide: Decide,
        metrics: Metrics,
        *,
        max_in_flight: int,
        location_count: Callable[[], int],
        components_of: Callable[[Iterable[Hashable]], Set[Hashable]],
    ) -> None:
        self._decide = decide
        self._metrics = metrics
        self._max_in_flight = max_in_flight
        self._location_count = location_count
        self._components_of = components_of
        self._arrivals: deque[Ticket] = deque()
        self._parked: deque[Ticket] = deque()
        self._parked_keys: set[Hashable] = set()
        self._in_flight_keys: set[Hashable] = set()
        self._pauses: dict[Hashable, _Pause] = {}
        self._in_flight: set[asyncio.Task[None]] = set()
        self._in_flight_orders = 0
        self._lines = 0
        """Lines of the orders that wait or are in flight."""
        self._pace = LinePace()
        self._wake: asyncio.Handle | None = None
        self._closed = False

    def admit(self, *, orders: int, lines: int, deadline: float | None) -> None:
        """Raises Overloaded if the queue is full or these orders would miss their deadline, in seconds from now.

        To be called before any work on the orders: a service with more orders than it can allocate refuses most of
        them, and each refusal takes time from those that it allocates.
        """
        wait = self._expected_seconds(lines)
        is_late = deadline is not None and wait >= DEADLINE_SHARE * deadline
        if self._waiting_count() >= limits.QUEUED_ORDERS or is_late:
            self._metrics.service.shed_orders.inc(orders)
            steps = max(1, ceil(wait / RETRY_STEP_SECONDS))
            raise Overloaded(self._queued(), timedelta(seconds=steps * RETRY_STEP_SECONDS))

    async def allocate(self, ticket: Ticket) -> allocation_pb.Allocation:
        """Returns the allocation of an admitted order. Raises NotReady once closed, and whatever `decide` raises."""
        if self._closed:
            raise NotReady("the service is stopping")
        self._lines += ticket.line_count
        ticket.skus |= self._components_of(ticket.skus)
        self._arrivals.append(ticket)
        if self._pauses:
            self._note_return(ticket)
        self._schedule()
        return await ticket.answer

    async def close(self) -> None:
        """Accepts no more orders and answers those in the queue."""
        self._closed = True
        for pause in set(self._pauses.values()):
            self._end_pause(pause)
        while self._waiting_count() or self._in_flight:
            self._schedule()
            await asyncio.sleep(0)
            if self._in_flight:
                await asyncio.wait(self._in_flight, return_when=asyncio.FIRST_COMPLETED)

    def _expected_seconds(self, lines: int) -> float:
        """How long new orders of this many lines would wait for their allocation; 0 where none waits before them."""
        return (self._lines + lines) * self._pace.line_seconds if self._waiting_count() else 0.0

    def _waiting_count(self) -> int:
        return len(self._arrivals) + len(self._parked)

    def _queued(self) -> int:
        return self._waiting_count() + self._in_flight_orders

    def _schedule(self) -> None:
        """Dispatches at the end of this turn of the event loop, so that orders that arrive together share a batch."""
        if self._wake is None:
            self._wake = asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._wake = None
        while self._arrivals and len(self._in_flight) < self._max_in_flight:
            batch = self._next_batch()
            if batch:
                self._send(batch)
        self._metrics.service.queued_orders.set(self._queued())

    def _next_batch(self) -> list[Ticket]:
        """The arrivals that may go now, in order; an order that must wait for another one is parked."""
        batch: list[Ticket] = []
        batch_keys: set[Hashable] = set()
        lines, most_lines = 0, self._most_lines()
        while self._arrivals:
            ticket = self._arrivals[0]
            line_count = lines + ticket.line_count
            if batch and (len(batch) >= limits.BATCH_ORDERS or line_count > most_lines):
                break
            self._arrivals.popleft()
            if ticket.answer.done():
                self._lines -= ticket.line_count
                continue
            if self._must_wait(ticket) or not batch_keys.isdisjoint(ticket.identity_keys):
                self._parked.append(ticket)
                # A later order must not pass a parked one that shares a SKU with it. Otherwise an order of several
                # lines could wait forever while single-line orders for its SKUs keep passing it.
                self._parked_keys.update(ticket.conflict_keys)
                continue
            batch.append(ticket)
            batch_keys |= ticket.identity_keys
            lines = line_count
        return batch

    def _fills_transaction(self) -> bool:
        """Whether so many orders wait that a transaction could take no more."""
        return self._waiting_count() >= min(limits.BATCH_ORDERS, self._most_lines())

    def _most_lines(self) -> int:
        """Lines of one transaction; a chain reads and compares a level at each of its locations for each line."""
        return min(limits.BATCH_LINES, limits.BATCH_LEVELS // max(1, self._location_count()))

    def _must_wait(self, ticket: Ticket) -> bool:
        return any(key in self._in_flight_keys or key in self._parked_keys for key in ticket.conflict_keys)

    def _unpark(self) -> None:
        """Moves all parked orders back to the arrivals, before those that have arrived since."""
        self._parked.extend(self._arrivals)
        self._arrivals, self._parked = self._parked, deque()
        self._parked_keys.clear()

    def _send(self, batch: list[Ticket]) -> None:
        self._in_flight_keys.update(key for ticket in batch for key in ticket.conflict_keys)
        self._in_flight_orders += len(batch)
        if not self._in_flight:
            self._pace.start(time.perf_counter())
        task = asyncio.create_task(self._run(batch))
        self._in_flight.add(task)
        task.add_done_callback(lambda done: self._finish(done, batch))

    def _finish(self, task: asyncio.Task[None], batch: list[Ticket]) -> None:
        self._in_flight.discard(task)
        self._in_flight_orders -= len(batch)
        lines = sum(ticket.line_count for ticket in batch)
        self._lines -= lines
        self._pace.end(lines, time.perf_counter())
        keys = {key for ticket in batch for key in ticket.conflict_keys}
        calls = len({ticket.call for ticket in batch})
        if calls >= PAUSE_CALLS and not self._fills_transaction() and not self._closed:
            keys -= self._pause(frozenset(sku for ticket in batch for sku in ticket.skus), calls)
        self._release(keys)

    def _release(self, keys: Set[Hashable]) -> None:
        """Lets orders with these keys into the next transaction."""
        self._in_flight_keys -= keys
        if not self._parked_keys.isdisjoint(keys):
            self._unpark()
        self._schedule()

    def _pause(self, skus: frozenset[Hashable], calls: int) -> frozenset[Hashable]:
        """Keeps the SKUs in flight until their callers are back, and returns them."""
        pause = _Pause(skus, calls)
        pause.timer = asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._end_pause, pause)
        self._pauses.update(dict.fromkeys(skus, pause))
        return skus

    def _note_return(self, ticket: Ticket) -> None:
        """Ends the pauses that wait for no more orders than this one."""
        for pause in {self._pauses[sku] for sku in ticket.skus if sku in self._pauses}:
            pause.returned.add(ticket.call)
            if len(pause.returned) >= pause.calls or self._fills_transaction():
                self._end_pause(pause)

    def _end_pause(self, pause: _Pause) -> None:
        if pause.timer is not None:
            pause.timer.cancel()
        for sku in pause.skus:
            del self._pauses[sku]
        self._release(pause.skus)

    async def _run(self, batch: list[Ticket]) -> None:
        """Decides a batch; a batch that fails is split until the bad order is alone."""
        self._metrics.service.batch_orders.observe(len(batch))
        try:
            outcomes = await self._decide(batch)
        except Exception as error:
            # Splitting finds the one order that makes a transaction fail, so the others still get their answers.
            # NotReady is raised only after all retries: the database is the cause, and each half would repeat them
            # in vain.
            if len(batch) > 1 and not isinstance(error, NotReady):
                middle = len(batch) // 2
                await self._run(batch[:middle])
                await self._run(batch[middle:])
                return
            outcomes = [error for _ in batch]  # type: ignore[misc]
        for ticket, outcome in zip(batch, outcomes, strict=True):
            _deliver(ticket, outcome)


def _deliver(ticket: Ticket, outcome: allocation_pb.Allocation | BaseException) -> None:
    if ticket.answer.done():
        return
    if isinstance(outcome, BaseException):
        ticket.answer.set_exception(outcome)
    else:
        ticket.answer.set_result(outcome)
