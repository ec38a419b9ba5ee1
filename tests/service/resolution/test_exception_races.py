"""Exceptions settled, taken and reported twice and at once, and what is counted of them."""

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
    DEAR,
    OTHER,
    REROUTED,
    assign,
    got,
    line,
    oversold,
    receive,
    report,
    write_rules,
)
from tests.retailer import Retailer, request_id
from tests.service.resolution.test_exception_sweep import replica_on
from tests.service.test_bad_input import refused
from tests.service.test_races import deadlocks


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return write_rules(tmp_path)


@pytest.fixture
async def shop(retailers: RetailerMaker, rules: Path) -> Retailer:
    """A shop with two mugs in its warehouse, and rules that say who settles what."""
    shop = await retailers.make(rules)
    await shop.stock({("MUG", "dc"): 2})
    return shop


# Said twice, and at once


async def test_the_same_request_twice_settles_once(shop: Retailer) -> None:
    sold, raised = await oversold(shop)
    same = request_id()

    first = await shop.resolve(raised.exception_id, CANCELLED, request_id=same)
    again = await shop.resolve(raised.exception_id, CANCELLED, request_id=same)
    error = await refused(shop.resolve(raised.exception_id, BACKORDERED, request_id=same))

    assert first == again
    assert line((await shop.get(sold.allocation_id)).allocation) == (2, 0, 0, 3)
    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED", "resolution")
    assert shop.metric("cancelled_units_total", channel="web") == 3


@pytest.mark.parametrize("resolution", [CANCELLED, BACKORDERED, REROUTED, OTHER])
async def test_of_fifty_who_settle_at_once_one_does_and_the_others_hear_it(
    shop: Retailer, retailers: RetailerMaker, rules: Path, resolution: int
) -> None:
    sold, raised = await oversold(shop)
    await receive(shop, 9)
    shops = [shop, await retailers.make(rules)]
    same, note = request_id(), "it was settled"

    async def settle(turn: int, id: str) -> str:
        try:
            shop_of_turn, settled = shops[turn // 2 % 2], {"note": note, "request_id": id or same}
            await shop_of_turn.resolve(raised.exception_id, resolution, **settled)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    heard = await asyncio.gather(*(settle(turn, request_id() if turn % 2 else "") for turn in range(50)))

    # Those who say it under the same id are one, so all of them hear yes, or none.
    yes = sum(answer == "OK" for answer in heard)
    assert set(heard) <= {"OK", "FAILED_PRECONDITION"}
    assert yes in (1, 25)
    history = (await got(shop, raised.exception_id)).history
    assert [one.event for one in history] == ["raised", "resolved"]
    seen = await shop.get(sold.allocation_id)
    assert sum(line(seen.allocation)) == 5
    assert (await shop.ledger()).balanced


async def test_fifty_who_take_an_exception_at_once_leave_it_with_one_of_them(shop: Retailer) -> None:
    _, raised = await oversold(shop)
    names = [f"p{turn % 25}" for turn in range(50)]
    ids = [request_id() for _ in range(25)]

    given = await asyncio.gather(
        *(assign(shop, raised.exception_id, assignee=name, request_id=ids[n % 25]) for n, name in enumerate(names))
    )

    found = await got(shop, raised.exception_id)
    assert {one.assignee for one in given} == set(names)
    assert found.exception.assignee == found.history[-1].description.removeprefix("Given to ").removesuffix(".")
    assert len(found.history) == 26


async def test_fifty_reports_of_one_failure_at_once_are_one_exception(shop: Retailer) -> None:
    ids = [request_id() for _ in range(25)]

    raised = await asyncio.gather(*(report(shop, sku="MUG", request_id=ids[n % 25]) for n in range(50)))

    (only,) = await shop.open_exceptions()
    assert {one.exception_id for one in raised} == {only.exception_id}
    assert only.repeat_count == 24
    assert shop.metric("exceptions_total", kind="sync_failed", channel="none") == 1


async def test_cancelling_and_settling_at_once_take_each_unit_off_once(shop: Retailer) -> None:
    for turn in range(8):
        sold, raised = await oversold(shop, f"B-{turn}", 4)

        await asyncio.gather(
            shop.cancel(sold.allocation_id, {"1": 1}),
            shop.resolve(raised.exception_id, CANCELLED),
            assign(shop, raised.exception_id, assignee="anna"),
            return_exceptions=True,
        )

        seen = (await shop.get(sold.allocation_id)).allocation
        assert sum(line(seen)[:3]) + seen.lines[0].cancelled_count == 4
        assert seen.lines[0].short_count == 0
    assert (await shop.ledger()).balanced


async def test_people_sweeps_and_orders_at_once_never_wait_for_each_other_in_a_circle(
    shop: Retailer, rules: Path
) -> None:
    await shop.stock({("MUG", "dc"): 12, ("CUP", "dc"): 4})
    sold = [await shop.allocate(f"C-{n}", [("MUG", 2), ("CUP", 2)]) for n in range(10)]
    await shop.sql("UPDATE exception SET due_time = now() - interval '1 s'")
    await shop.sql("UPDATE shipment SET ship_by_time = now() - interval '1 s'")
    open_ones = await shop.open_exceptions()
    dice = random.Random(4)

    async with replica_on(shop.database_url, rules) as one, replica_on(shop.database_url, rules) as two:
        moves: list[Awaitable[Any]] = [
            *(shop.resolve(x.exception_id, dice.choice([CANCELLED, BACKORDERED, REROUTED])) for x in open_ones),
            *(assign(shop, x.exception_id, assignee="anna") for x in open_ones),
            *(shop.cancel(x.allocation_id, {"1": 1, "2": 1}) for x in sold),
            *(shop.allocate(x.order_id, [("MUG", 1), ("CUP", 3)]) for x in sold),
            *(replica.sweep() for replica in (one, two) * 3),
        ]
        dice.shuffle(moves)
        heard = await asyncio.gather(*moves, return_exceptions=True)

    wrong = [x for x in heard if isinstance(x, BaseException) and not _came_too_late(x)]
    assert wrong == []
    assert await deadlocks(shop) == 0
    assert (await shop.ledger()).balanced


def _came_too_late(error: BaseException) -> bool:
    return isinstance(error, grpc.aio.AioRpcError) and error.code() == grpc.StatusCode.FAILED_PRECONDITION


# Failures that others report


async def test_a_failure_that_a_channels_adapter_reports_is_one_until_it_is_settled(shop: Retailer) -> None:
    first = await report(shop, channel_id="web", sku="MUG")
    again = await report(shop, channel_id="web", sku="MUG", description="refused once more")
    settled = await shop.resolve(first.exception_id, COMPLETED)
    anew = await report(shop, channel_id="web", sku="MUG")

    assert (first.kind, first.owner, first.source) == ("sync_failed", "operations", "shopify-adapter")
    assert (again.exception_id, again.repeat_count) == (first.exception_id, 1)
    assert again.description == "refused once more"
    assert settled.resolution == COMPLETED
    assert anew.exception_id != first.exception_id
    assert shop.metric("exceptions_total", kind="sync_failed", channel="web") == 2


async def test_a_failure_about_what_nobody_knows_is_an_exception_all_the_same(shop: Retailer) -> None:
    raised = await report(shop, channel_id="myspace", sku="NO/SUCH", location_id="moon")

    assert (raised.channel_id, raised.sku, raised.location_id) == ("myspace", "NO/SUCH", "moon")


# What is counted


async def test_each_order_is_one_manual_intervention_whatever_people_do_to_it(shop: Retailer) -> None:
    sold, raised = await oversold(shop)
    await assign(shop, raised.exception_id, assignee="anna")
    await shop.resolve(raised.exception_id, CANCELLED)
    await shop.allocate("A-1", {"MUG": 9}, order_value=DEAR)
    for one in await shop.open_exceptions():
        await shop.resolve(one.exception_id, CANCELLED)

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
