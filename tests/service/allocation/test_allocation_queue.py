"""Which orders share a transaction, and in what order: the queue before the transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from policies.domain.model import Order, OrderLine
from policies.policy_set import PolicySet
from service import limits
from service.allocation import allocation_queue
from service.allocation.allocation_queue import AllocationQueue, Outcomes, Ticket
from service.allocation.line_pace import LinePace
from service.app.wiring import new_id
from service.errors import NotFound, NotReady, Overloaded
from service.metrics import Metrics
from service.orders.order_requests import OrderRequest
from service.rpc.idempotency import IdempotencyKey
from truestock.v1 import allocation_service_pb2 as allocation_pb


class BatchRecorder:
    """Stands in for the transactions: records the batches, and answers them once `go` is set."""

    def __init__(self, *, max_in_flight: int = 8, locations: int = 10) -> None:
        self.batches: list[list[str]] = []
        self.go = asyncio.Event()
        self.bad: set[str] = set()
        self.registry = CollectorRegistry()
        self.queue = AllocationQueue(
            self._decide,
            Metrics(self.registry),
            max_in_flight=max_in_flight,
            location_count=lambda: locations,
            components_of=lambda skus: {"MUG", "TRAY"} if "SET" in skus else set(),
        )

    async def _decide(self, tickets: Sequence[Ticket]) -> Outcomes:
        order_ids = [ticket.request.order.order_id for ticket in tickets]
        self.batches.append(order_ids)
        await self.go.wait()
        if self.bad & set(order_ids):
            raise NotFound("product", {"sku": "MGU"})
        return [allocation_pb.Allocation(order_id=order_id) for order_id in order_ids]

    @property
    def queued_orders(self) -> float | None:
        """The orders that wait or are being allocated, as operators see them."""
        return self.registry.get_sample_value("truestock_allocator_queued_orders")


@pytest.fixture
def recorder() -> BatchRecorder:
    return BatchRecorder()


def ticket(policy_set: PolicySet, order_id: str, *skus: str, call: str = "") -> Ticket:
    order = Order("web", order_id, tuple(OrderLine(str(n), sku, 1) for n, sku in enumerate(skus)))
    request = OrderRequest(order, timedelta(minutes=1), None)
    return Ticket(
        request,
        IdempotencyKey(new_id(), "AllocateOrder", b""),
        allocation_pb.AllocateOrderRequest(),
        policy_set,
        new_id(),
        call=call or order_id,
    )


async def send(recorder: BatchRecorder, *tickets: Ticket) -> list[asyncio.Task[allocation_pb.Allocation]]:
    tasks = [asyncio.create_task(recorder.queue.allocate(ticket)) for ticket in tickets]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_an_idle_service_allocates_a_single_order_at_once(recorder: BatchRecorder, policy_set: PolicySet) -> None:
    await send(recorder, ticket(policy_set, "A", "MUG"))

    assert recorder.batches == [["A"]]
    recorder.go.set()


async def test_orders_that_waited_for_a_hot_sku_share_a_transaction(
    recorder: BatchRecorder, policy_set: PolicySet
) -> None:
    tasks = await send(recorder, ticket(policy_set, "A", "MUG"))
    tasks += await send(recorder, *(ticket(policy_set, f"B-{n}", "MUG") for n in range(5)))

    assert recorder.batches == [["A"]]
    assert recorder.queued_orders == 6
    recorder.go.set()
    await asyncio.gather(*tasks)
    await recorder.queue.close()
    assert recorder.batches == [["A"], [f"B-{n}" for n in range(5)]]
    assert recorder.queued_orders == 0


async def test_a_viral_sku_does_not_hold_up_the_others(recorder: BatchRecorder, policy_set: PolicySet) -> None:
    await send(recorder, ticket(policy_set, "hot-1", "MUG"))
    others = {"cold-1": "CUP", "hot-2": "MUG", "cold-2": "BOWL"}
    await send(recorder, *(ticket(policy_set, order_id, sku) for order_id, sku in others.items()))

    assert recorder.batches == [["hot-1"], ["cold-1", "cold-2"]]
    recorder.go.set()


async def test_no_order_passes_another_one_that_shares_a_sku_with_it(
    recorder: BatchRecorder, policy_set: PolicySet
) -> None:
    tasks = await send(recorder, ticket(policy_set, "first", "MUG"))
    tasks += await send(recorder, ticket(policy_set, "both", "MUG", "CUP"), ticket(policy_set, "last", "CUP"))

    assert recorder.batches == [["first"]]
    recorder.go.set()
    await asyncio.gather(*tasks)
    assert recorder.batches == [["first"], ["both", "last"]]


async def test_the_same_order_is_never_twice_in_one_transaction(recorder: BatchRecorder, policy_set: PolicySet) -> None:
    tasks = await send(recorder, ticket(policy_set, "A", "MUG"), ticket(policy_set, "A", "CUP"))

    assert recorder.batches == [["A"]]
    recorder.go.set()
    await asyncio.gather(*tasks)
    assert recorder.batches == [["A"], ["A"]]


async def test_a_transaction_of_a_large_chain_has_fewer_lines(policy_set: PolicySet) -> None:
    recorder = BatchRecorder(locations=limits.BATCH_LEVELS // 4)
    recorder.go.set()

    large = ticket(policy_set, "large", *(f"SKU-{n}" for n in range(5)))
    tasks = await send(recorder, large, *(ticket(policy_set, f"B-{n}", "MUG", "CUP") for n in range(3)))
    await asyncio.gather(*tasks)

    assert recorder.batches == [["large"], ["B-0", "B-1"], ["B-2"]]


async def test_a_bad_order_is_found_and_the_others_are_answered(recorder: BatchRecorder, policy_set: PolicySet) -> None:
    recorder.bad = {"B-3"}
    recorder.go.set()

    tasks = await send(recorder, *(ticket(policy_set, f"B-{n}", "MUG") for n in range(8)))
    answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(answers[3], NotFound)
    assert [a.order_id for a in answers if isinstance(a, allocation_pb.Allocation)] == [
        f"B-{n}" for n in range(8) if n != 3
    ]


async def test_a_full_queue_refuses_at_once_and_says_when_to_retry(
    recorder: BatchRecorder, policy_set: PolicySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "QUEUED_ORDERS", 2)
    await send(recorder, *(ticket(policy_set, str(n), "MUG") for n in range(3)))
    await send(recorder, *(ticket(policy_set, str(n), "MUG") for n in (3, 4)))

    with pytest.raises(Overloaded) as refused:
        recorder.queue.admit(orders=1, lines=1, deadline=None)

    assert refused.value.retry_after is not None
    recorder.go.set()


async def test_a_deadline_that_cannot_be_met_is_refused_at_once(recorder: BatchRecorder, policy_set: PolicySet) -> None:
    await send(recorder, ticket(policy_set, "A", "MUG"))
    await send(recorder, ticket(policy_set, "B", "MUG"))

    with pytest.raises(Overloaded):
        recorder.queue.admit(orders=1, lines=1, deadline=0.001)

    recorder.go.set()


async def test_the_lines_of_an_order_decide_whether_its_deadline_can_be_met(
    recorder: BatchRecorder, policy_set: PolicySet
) -> None:
    await send(recorder, ticket(policy_set, "A", "MUG"))
    await send(recorder, ticket(policy_set, "B", "MUG"))

    recorder.queue.admit(orders=50, lines=50, deadline=1)
    with pytest.raises(Overloaded):
        recorder.queue.admit(orders=50, lines=50 * limits.ORDER_LINES, deadline=1)
    recorder.queue.admit(orders=50, lines=50 * limits.ORDER_LINES, deadline=60)

    recorder.go.set()
    await recorder.queue.close()
    recorder.queue.admit(orders=50, lines=50 * limits.ORDER_LINES, deadline=1)


async def test_callers_are_told_to_retry_no_sooner_than_their_orders_could_be_allocated(
    recorder: BatchRecorder, policy_set: PolicySet
) -> None:
    await send(recorder, ticket(policy_set, "A", "MUG"))
    await send(recorder, ticket(policy_set, "B", "MUG"))

    for lines in (1, 10, 99, 1_000, 12_345):
        wait = (2 + lines) * LinePace().line_seconds
        with pytest.raises(Overloaded) as refused:
            recorder.queue.admit(orders=1, lines=lines, deadline=wait)
        assert refused.value.retry_after is not None
        assert wait - 1e-6 <= refused.value.retry_after.total_seconds() <= wait + 0.05

    recorder.go.set()


async def test_an_order_whose_caller_has_cancelled_the_call_is_not_allocated(
    recorder: BatchRecorder, policy_set: PolicySet
) -> None:
    tasks = await send(recorder, ticket(policy_set, "A", "MUG"))
    waiting = await send(recorder, ticket(policy_set, "B", "MUG"))

    waiting[0].cancel()
    recorder.go.set()
    await asyncio.gather(*tasks)
    await recorder.queue.close()

    assert recorder.batches == [["A"]]


async def test_a_queue_that_closes_answers_its_orders_and_accepts_no_more(
    recorder: BatchRecorder, policy_set: PolicySet
) -> None:
    tasks = await send(recorder, ticket(policy_set, "A", "MUG"), ticket(policy_set, "B", "CUP"))
    tasks += await send(recorder, ticket(policy_set, "C", "MUG"))

    closing = asyncio.create_task(recorder.queue.close())
    await asyncio.sleep(0)
    with pytest.raises(NotReady):
        await recorder.queue.allocate(ticket(policy_set, "D", "MUG"))
    recorder.go.set()
    await closing

    assert all(task.done() for task in tasks)


async def test_no_more_transactions_than_connections_are_in_flight(policy_set: PolicySet) -> None:
    recorder = BatchRecorder(max_in_flight=2)
    for sku in "ABCD":
        await send(recorder, ticket(policy_set, sku, sku))

    assert recorder.batches == [["A"], ["B"]]
    recorder.go.set()


@pytest.fixture
async def patient(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BatchRecorder]:
    """Answers at once and pauses as long as it takes, so that an order that should not wait would hang."""
    monkeypatch.setattr(allocation_queue, "PAUSE_SECONDS", 3_600)
    recorder = BatchRecorder()
    recorder.go.set()
    async with asyncio.timeout(10):
        yield recorder


async def order(recorder: BatchRecorder, *tickets: Ticket) -> None:
    await asyncio.gather(*(recorder.queue.allocate(ticket) for ticket in tickets))


async def test_after_a_transaction_for_many_callers_the_next_waits_until_they_are_back(
    patient: BatchRecorder, policy_set: PolicySet
) -> None:
    await order(patient, *(ticket(policy_set, f"A-{n}", "MUG") for n in range(8)))
    tasks = await send(patient, *(ticket(policy_set, f"B-{n}", "MUG") for n in range(7)))
    batches = list(patient.batches)
    await order(patient, ticket(policy_set, "B-7", "MUG"))
    await asyncio.gather(*tasks)

    assert batches == [[f"A-{n}" for n in range(8)]]
    assert patient.batches[1:] == [[f"B-{n}" for n in range(8)]]


async def test_orders_of_other_skus_go_at_once_during_a_pause(patient: BatchRecorder, policy_set: PolicySet) -> None:
    await order(patient, *(ticket(policy_set, f"A-{n}", "MUG") for n in range(8)))
    tasks = await send(patient, ticket(policy_set, "hot", "MUG"))
    await order(patient, ticket(policy_set, "cold", "CUP"))
    await patient.queue.close()

    assert patient.batches[1:] == [["cold"], ["hot"]]
    assert all(task.done() for task in tasks)


@pytest.mark.parametrize("orders", [1, 8, 50])
async def test_a_lone_caller_never_waits_for_others(patient: BatchRecorder, policy_set: PolicySet, orders: int) -> None:
    for call in ("first", "second"):
        await order(patient, *(ticket(policy_set, f"{call}-{n}", "MUG", call=call) for n in range(orders)))
    await order(patient, ticket(policy_set, "last", "MUG"))

    assert [len(batch) for batch in patient.batches] == [orders, orders, 1]


async def test_callers_who_stay_away_delay_an_order_only_for_a_moment(
    patient: BatchRecorder, policy_set: PolicySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allocation_queue, "PAUSE_SECONDS", 0.002)
    await order(patient, *(ticket(policy_set, f"A-{n}", "MUG", "CUP") for n in range(8)))
    await order(patient, ticket(policy_set, "mug", "MUG"), ticket(policy_set, "cup", "CUP"))

    assert patient.batches[1:] == [["mug", "cup"]]


async def test_a_full_transaction_waits_for_nobody(
    patient: BatchRecorder, policy_set: PolicySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    await order(patient, *(ticket(policy_set, f"A-{n}", "MUG") for n in range(8)))
    monkeypatch.setattr(limits, "BATCH_ORDERS", 3)
    await order(patient, *(ticket(policy_set, f"B-{n}", "MUG") for n in range(3)))

    assert [len(batch) for batch in patient.batches] == [8, 3]


async def test_a_single_does_not_pass_a_kit_that_takes_its_sku(recorder: BatchRecorder, policy_set: PolicySet) -> None:
    tray, kit, mug = (ticket(policy_set, name, sku) for name, sku in (("A", "TRAY"), ("B", "SET"), ("C", "MUG")))
    await send(recorder, tray)

    await send(recorder, kit)
    await send(recorder, mug)

    assert recorder.batches == [["A"]]
    recorder.go.set()
    await asyncio.gather(tray.answer, kit.answer, mug.answer)
    assert recorder.batches == [["A"], ["B", "C"]]
