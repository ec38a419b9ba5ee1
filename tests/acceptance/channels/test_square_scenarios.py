"""Square's tills and Truestock behave as one: each scenario with real processes over real HTTP.

In every scenario a fifth of the webhooks comes twice, they come in any order, and two connectors share the work. Each
ends with a ledger in which every stock level is the sum of its movements.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.channels.connector_processes import Processes, processes
from tests.acceptance.channels.findings import found, has, nothing_waits, reaches
from tests.connector_site import until
from tests.fakes.square.merchant import SquareMerchant
from truestock.v1 import catalog_service_pb2 as catalog_pb, order_pb2

READY = order_pb2.ORDER_STATUS_READY_TO_FULFILL
COUNTS = "channels/square-us/counts"
pytestmark = pytest.mark.long


@contextmanager
def merchant_with_faults() -> Iterator[SquareMerchant]:
    """A merchant whose webhooks come twice and in any order."""
    with SquareMerchant(seed=6).serving() as merchant:
        merchant.faults.duplicates, merchant.faults.reorder_seconds = 0.2, 0.5
        yield merchant


@pytest.mark.parametrize("who_counts", ["nobody", "square"])
async def test_what_is_refunded_comes_back_once_where_square_put_it_and_nowhere_without_goods(
    database_url: str, tmp_path: Path, who_counts: str
) -> None:
    with merchant_with_faults() as merchant:
        async with processes(database_url, tmp_path, merchant, replicas=2, units={"MUG": 10}) as running:
            if who_counts == "square":
                await _declare(running, catalog_pb.Feed.ROLE_OWNER)
            running.subscribe()
            books = merchant.books
            austin, boston = books.locations.values()
            sent, sale = books.place_order({"MUG": 3}, austin, "SHIPMENT"), books.sell_at_till({"MUG": 2}, austin)
            await reaches(running, f"square/{sent.id}", READY)
            books.set_fulfillment(sent, "COMPLETED")
            await has(running, "MUG", "austin", 10 - 3 - 2)
            books.give_back(sent, {"MUG": 1}, boston)
            await has(running, "MUG", "boston", 11)
            books.give_back(sale, {"MUG": 1}, boston)
            await has(running, "MUG", "boston", 12)
            books.give_back(sent, {"MUG": 1}, boston, restock=False)
            books.give_back(sale, {"MUG": 1}, austin, restock=False)
            refunded = await found(
                running, f"square/{sent.id}", lambda allocation: allocation.lines[0].refunded_count == 1
            )
            line = refunded.lines[0]
            await asyncio.to_thread(merchant.settle)
            await nothing_waits(running)
            levels = [(await running.retailer.level("MUG", place)).on_hand_count for place in ("austin", "boston")]
            of_books = [books.quantity(books.variation("MUG"), place) for place in (austin, boston)]
            running.verify_ledger()

    assert levels == of_books == [5, 12]
    assert (line.returned_count, line.refunded_count) == (1, 1)


async def test_a_count_that_only_observes_moves_nothing_and_shows_a_difference(
    database_url: str, tmp_path: Path
) -> None:
    with merchant_with_faults() as merchant:
        async with processes(database_url, tmp_path, merchant, replicas=2, units={"MUG": 10}) as running:
            await _declare(running, catalog_pb.Feed.ROLE_OBSERVER)
            running.subscribe()
            austin = next(iter(merchant.books.locations.values()))
            merchant.books.sell_at_till({"MUG": 2}, austin)
            await has(running, "MUG", "austin", 8)
            merchant.books.count("MUG", austin, 7)
            (mismatch,) = await until(lambda: running.retailer.open_exceptions(kinds=["mismatch"]), "a mismatch")
            level = await running.retailer.level("MUG", "austin")
            running.verify_ledger()

    assert level.on_hand_count == 8
    assert (mismatch.sku, mismatch.location_id) == ("MUG", "austin")


async def test_tokens_that_die_under_many_reads_are_refreshed_once_and_nothing_is_lost(
    database_url: str, tmp_path: Path
) -> None:
    with merchant_with_faults() as merchant:
        async with processes(database_url, tmp_path, merchant, replicas=2, units={"MUG": 100}) as running:
            running.subscribe()
            austin = next(iter(merchant.books.locations.values()))
            merchant.conditions.answer_delay_seconds = 0.1
            for number in range(40):
                merchant.books.sell_at_till({"MUG": 1}, austin)
                if number == 20:
                    merchant.tokens.expire_access()
                await asyncio.sleep(0.02)
            await has(running, "MUG", "austin", 60)
            once = merchant.tokens.refreshes
            # The answer to the next refresh is lost: the refresh token still holds.
            merchant.tokens.expire_access()
            merchant.tokens.lost_grants = 1
            merchant.books.sell_at_till({"MUG": 1}, austin)
            await has(running, "MUG", "austin", 59)
            merchant.revoke()
            merchant.books.sell_at_till({"MUG": 1}, austin)
            await until(lambda: _is_paused(running), "a pause of the account")
            (failure,) = await until(lambda: running.retailer.open_exceptions(kinds=["sync_failed"]), "an exception")
            calls = sum(merchant.conditions.calls.values())
            # What is not done can only be waited for: ten looks of each worker, and four polls.
            await asyncio.sleep(5)
            after = sum(merchant.conditions.calls.values())
            merchant.tokens.authorized = True
            running.run("connect", "square-us", "--code", merchant.tokens.code, code=0)
            await has(running, "MUG", "austin", 58)
            running.verify_ledger()

    assert once == 1
    assert "connect square-us" in failure.description
    # Each replica may have had one call on its way.
    assert after - calls <= 2


async def _declare(running: Processes, role: Any) -> None:
    feed = catalog_pb.Feed(source=COUNTS, role=role, computed=True, location_ids=["austin", "boston"])
    await running.retailer.catalog.UpsertFeeds(catalog_pb.UpsertFeedsRequest(feeds=[feed]))


async def _is_paused(running: Processes) -> bool:
    (status,) = await asyncio.to_thread(running.json, "status")
    return bool(status["state"] == "paused")
