"""Exceptions resolved, assigned and reported repeatedly and concurrently, and their metrics."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import grpc
import pytest

from policies.domain.resolutions import ALLOWED
from tests.conftest import RetailerMaker
from tests.exception_shop import (
    BACKORDERED,
    CANCELLED,
    COMPLETED,
    HIGH_VALUE,
    OTHER,
    REROUTED,
    assign,
    get_exception,
    line_counts,
    oversold,
    receive,
    replica_on,
    report_failure,
    write_rules,
)
from tests.retailer import Retailer, request_id
from tests.service.test_bad_input import refused
from tests.service.test_races import deadlocks


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return write_rules(tmp_path)


@pytest.fixture
async def shop(retailers: RetailerMaker, rules: Path) -> Retailer:
    """A shop with two mugs in its warehouse, and rules that assign exceptions to desks."""
    shop = await retailers.make(rules)
    await shop.stock({("MUG", "dc"): 2})
    return shop


# Repeated and concurrent requests


async def test_a_repeated_request_resolves_once(shop: Retailer) -> None:
    sold, raised = await oversold(shop)
    same_id = request_id()

    first = await shop.resolve(raised.exception_id, CANCELLED, request_id=same_id)
    again = await shop.resolve(raised.exception_id, CANCELLED, request_id=same_id)
    error = await refused(shop.resolve(raised.exception_id, BACKORDERED, request_id=same_id))

    assert first == again
    assert line_counts((await shop.get(sold.allocation_id)).allocation) == (2, 0, 0, 3)
    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED", "resolution")
    assert shop.metric("cancelled_units_total", channel="web") == 3


@pytest.mark.parametrize("resolution", [CANCELLED, BACKORDERED, REROUTED, OTHER])
async def test_one_of_fifty_concurrent_resolutions_succeeds(
    shop: Retailer, retailers: RetailerMaker, rules: Path, resolution: int
) -> None:
    sold, raised = await oversold(shop)
    await receive(shop, 9)
    shops = [shop, await retailers.make(rules)]
    same_id, note = request_id(), "resolved by phone"

    async def resolve(turn: int, id: str) -> str:
        try:
            service = shops[turn // 2 % 2]
            await service.resolve(raised.exception_id, resolution, note=note, request_id=id or same_id)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    codes = await asyncio.gather(*(resolve(turn, request_id() if turn % 2 else "") for turn in range(50)))

    # Calls with the same request id count as one, so either all of them succeed or none.
    ok_count = sum(code == "OK" for code in codes)
    assert set(codes) <= {"OK", "FAILED_PRECONDITION"}
    assert ok_count in (1, 25)
    history = (await get_exception(shop, raised.exception_id)).history
    assert [event.event for event in history] == ["raised", "resolved"]
    latest = await shop.get(sold.allocation_id)
    assert sum(line_counts(latest.allocation)) == 5
    assert (await shop.ledger()).balanced


async def test_fifty_concurrent_assignments_leave_one_assignee(shop: Retailer) -> None:
    _, raised = await oversold(shop)
    names = [f"p{turn % 25}" for turn in range(50)]
    ids = [request_id() for _ in range(25)]

    assigned = await asyncio.gather(
        *(assign(shop, raised.exception_id, assignee=name, request_id=ids[n % 25]) for n, name in enumerate(names))
    )

    details = await get_exception(shop, raised.exception_id)
    assert {exception.assignee for exception in assigned} == set(names)
    assert details.exception.assignee == details.history[-1].description.removeprefix("Assigned to ").removesuffix(".")
    assert len(details.history) == 26


async def test_fifty_concurrent_reports_of_one_failure_are_one_exception(shop: Retailer) -> None:
    ids = [request_id() for _ in range(25)]

    raised = await asyncio.gather(*(report_failure(shop, sku="MUG", request_id=ids[n % 25]) for n in range(50)))

    (only,) = await shop.open_exceptions()
    assert {exception.exception_id for exception in raised} == {only.exception_id}
    assert only.repeat_count == 24
    assert shop.metric("exceptions_total", kind="sync_failed", channel="none") == 1


async def test_concurrent_cancellation_and_resolution_cancel_each_unit_once(shop: Retailer) -> None:
    for turn in range(8):
        sold, raised = await oversold(shop, f"B-{turn}", 4)

        await asyncio.gather(
            shop.cancel(sold.allocation_id, {"1": 1}),
            shop.resolve(raised.exception_id, CANCELLED),
            assign(shop, raised.exception_id, assignee="anna"),
            return_exceptions=True,
        )

        latest = (await shop.get(sold.allocation_id)).allocation
        assert sum(line_counts(latest)[:3]) + latest.lines[0].cancelled_count == 4
        assert latest.lines[0].short_count == 0
    assert (await shop.ledger()).balanced


async def test_concurrent_people_sweeps_and_orders_never_deadlock(shop: Retailer, rules: Path) -> None:
    await shop.stock({("MUG", "dc"): 12, ("CUP", "dc"): 4})
    sold = [await shop.allocate(f"C-{n}", [("MUG", 2), ("CUP", 2)]) for n in range(10)]
    await shop.sql("UPDATE exception SET due_time = now() - interval '1 s'")
    await shop.sql("UPDATE shipment SET ship_by_time = now() - interval '1 s'")
    open_exceptions = await shop.open_exceptions()
    dice = random.Random(4)

    async with replica_on(shop.database_url, rules) as first, replica_on(shop.database_url, rules) as second:
        calls: list[Awaitable[Any]] = [
            *(shop.resolve(x.exception_id, dice.choice([CANCELLED, BACKORDERED, REROUTED])) for x in open_exceptions),
            *(assign(shop, x.exception_id, assignee="anna") for x in open_exceptions),
            *(shop.cancel(x.allocation_id, {"1": 1, "2": 1}) for x in sold),
            *(shop.allocate(x.order_id, [("MUG", 1), ("CUP", 3)]) for x in sold),
            *(replica.sweep() for replica in (first, second) * 3),
        ]
        dice.shuffle(calls)
        results = await asyncio.gather(*calls, return_exceptions=True)

    errors = [x for x in results if isinstance(x, BaseException) and not _is_wrong_state(x)]
    assert errors == []
    assert await deadlocks(shop) == 0
    assert (await shop.ledger()).balanced


def _is_wrong_state(error: BaseException) -> bool:
    return isinstance(error, grpc.aio.AioRpcError) and error.code() == grpc.StatusCode.FAILED_PRECONDITION


# Failures that adapters and feeds report


async def test_a_repeated_sync_failure_is_one_exception_until_it_is_resolved(shop: Retailer) -> None:
    first = await report_failure(shop, channel_id="web", sku="MUG")
    again = await report_failure(shop, channel_id="web", sku="MUG", description="refused once more")
    resolved = await shop.resolve(first.exception_id, COMPLETED)
    later = await report_failure(shop, channel_id="web", sku="MUG")

    assert (first.kind, first.owner, first.source) == ("sync_failed", "operations", "shopify-adapter")
    assert (again.exception_id, again.repeat_count) == (first.exception_id, 1)
    assert again.description == "refused once more"
    assert resolved.resolution == COMPLETED
    assert later.exception_id != first.exception_id
    assert shop.metric("exceptions_total", kind="sync_failed", channel="web") == 2


async def test_a_sync_failure_of_an_unknown_product_is_an_exception(shop: Retailer) -> None:
    raised = await report_failure(shop, channel_id="myspace", sku="NO/SUCH", location_id="moon")

    assert (raised.channel_id, raised.sku, raised.location_id) == ("myspace", "NO/SUCH", "moon")


# Metrics


async def test_each_order_counts_as_one_manual_intervention(shop: Retailer) -> None:
    sold, raised = await oversold(shop)
    await assign(shop, raised.exception_id, assignee="anna")
    await shop.resolve(raised.exception_id, CANCELLED)
    await shop.allocate("A-1", {"MUG": 9}, order_value=HIGH_VALUE)
    for exception in await shop.open_exceptions():
        await shop.resolve(exception.exception_id, CANCELLED)

    counts = [shop.metric("manual_interventions_total", channel="web", reason=kind) for kind in ALLOWED]
    assert sum(counts) == 1
    assert (await shop.get(sold.allocation_id)).allocation.needs_person
    assert shop.metric("exceptions_total", kind="oversell", channel="web") == 2


async def test_counters_of_exceptions_start_at_zero(shop: Retailer) -> None:
    sample = shop.service.metrics.registry.get_sample_value

    for kind, allowed in ALLOWED.items():
        for channel in ("web", "none"):
            assert sample("truestock_exceptions_total", {"kind": kind, "channel": channel}) == 0
        for resolution in allowed:
            labels = {"kind": kind, "resolution": resolution}
            assert sample("truestock_exceptions_resolved_total", labels) == 0
