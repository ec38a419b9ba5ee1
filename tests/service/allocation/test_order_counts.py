"""What the metrics count of orders: what is sold, oversold and needs a person, each once."""

from __future__ import annotations

import pytest

from tests.conftest import RESOLVED_RULES, RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, promised
from truestock.v1 import allocation_service_pb2 as allocation_pb, exception_pb2, order_pb2

CAUSES = ("race", "stale_feed", "over_published", "not_applied", "not_told", "rejected", "count_correction", "unmapped")


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "a-store"): 5, ("MUG", "b-store"): 5})
    return retailer


def oversold(shop: Retailer, unit: str = "units") -> float:
    return sum(shop.metric(f"oversold_{unit}_total", channel="web", cause=cause) for cause in CAUSES)


def interventions(shop: Retailer) -> float:
    samples = [
        sample.value
        for family in shop.service.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "truestock_manual_interventions_total"
    ]
    return sum(samples)


async def test_an_order_counts_as_sold_when_it_is_paid_and_not_before(shop: Retailer) -> None:
    def sold() -> tuple[float, float, float]:
        allocated = sum(shop.metric("allocated_units_total", channel="web", location=x) for x in ("a-store", "b-store"))
        units = shop.metric("sold_units_total", channel="web")
        return shop.metric("sold_orders_total", channel="web"), units, allocated

    held = await shop.allocate("A-1", {"MUG": 3}, HOLD)
    released = await shop.allocate("A-2", {"MUG": 2}, HOLD)
    await shop.release(released.allocation_id)
    assert sold() == (0, 0, 0)

    await shop.confirm(held.allocation_id)
    await shop.confirm(held.allocation_id)

    assert sold() == (1, 3, 3)
    # Both carts and the payment; the payment that was reported again is no other answer.
    assert shop.metric("allocations_total", channel="web", outcome="allocated") == 3
    assert shop.metric("cancelled_units_total", channel="web") == 0


async def test_a_cart_that_runs_short_is_no_oversell(shop: Retailer) -> None:
    short = await shop.allocate("A-1", {"MUG": 12}, HOLD)
    refused = await shop.allocate("A-2", {"MUG": 4}, HOLD)
    await shop.release(short.allocation_id)

    assert (sum(promised(short).values()), sum(promised(refused).values())) == (10, 0)
    assert (oversold(shop), oversold(shop, "orders")) == (0, 0)
    assert not await shop.open_exceptions()


async def test_a_cart_that_ran_short_and_is_paid_for_less_is_no_oversell(shop: Retailer) -> None:
    held = await shop.allocate("A-1", {"MUG": 12}, HOLD)

    paid = await shop.allocate("A-1", {"MUG": 10})

    assert [(short.kind, short.cause) for short in held.shortages] == [(allocation_pb.Shortage.KIND_UNFILLABLE, "")]
    assert (paid.outcome, list(paid.shortages)) == (order_pb2.OUTCOME_ALLOCATED, [])
    assert (oversold(shop), oversold(shop, "orders")) == (0, 0)


async def test_units_that_are_short_again_after_a_change_are_counted_once(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 12})
    before = oversold(shop)

    await shop.allocate("A-1", {"MUG": 12, "TEA": 3})

    assert (before, oversold(shop), oversold(shop, "orders")) == (2, 5, 1)


async def test_what_needs_a_person_names_its_decision_if_it_has_one(shop: Retailer) -> None:
    oversold = await shop.allocate("A-1", {"MUG": 12})
    await shop.cancel_order("web/A-2")
    for commitment in (HOLD, SOLD):
        await shop.allocate("A-2", {"MUG": 1}, commitment)

    counted = shop.service.metrics.orders.manual_interventions.collect()
    exemplars = {x.labels["reason"]: x.exemplar for metric in counted for x in metric.samples if x.exemplar or x.value}
    assert exemplars.keys() >= {"oversell", "paid_after_cancellation"}
    assert exemplars["oversell"] is not None
    assert exemplars["oversell"].labels == {"decision_id": oversold.decision.decision_id}
    assert exemplars["paid_after_cancellation"] is None


async def test_an_order_needs_a_person_once_however_many_problems_it_has(shop: Retailer) -> None:
    order = await shop.allocate("A-1", {"MUG": 12})
    after_two = await shop.reject(order.shipments[0], "not_found", {"1": 1})
    await shop.reject(after_two.shipments[0], "not_found", {"1": 1})
    for exception in await shop.open_exceptions():
        await shop.resolve(exception.exception_id, exception_pb2.EXCEPTION_RESOLUTION_OTHER, note="by phone")

    assert len(await shop.sql("SELECT FROM exception")) >= 3
    assert interventions(shop) == 1


async def test_a_location_that_rejected_a_line_is_not_asked_again_when_the_order_changes(
    retailers: RetailerMaker,
) -> None:
    shop = await retailers.make(RESOLVED_RULES)
    await shop.stock({("MUG", "a-store"): 9, ("MUG", "b-store"): 9})
    order = await shop.allocate("A-1", {"MUG": 2})
    rejecting = order.shipments[0].location_id
    await shop.reject(order.shipments[0], "closed")

    changed = await shop.allocate("A-1", {"MUG": 12})

    assert promised(changed).get(rejecting, 0) == 0
    assert (await shop.replay(changed.decision.decision_id)).identical
    assert sum(promised(changed).values()) == 9
    assert changed.outcome != order_pb2.OUTCOME_ALLOCATED
