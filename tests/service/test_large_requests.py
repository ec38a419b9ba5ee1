"""Large orders and large answers take turns with everything else, and say the same as if they did not."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime

import pytest

from policies.domain.model import Channel, Location, Product, StockLevel
from policies.policy_set import PolicySet
from service import background, limits
from service.availability.availability_reader import AvailabilityRequest, Snapshot, answer
from service.catalog.catalog_store import Catalog
from tests.retailer import SOLD, Retailer, promised
from truestock.v1 import availability_service_pb2 as availability_pb

SKUS = tuple(f"SKU-{number}" for number in range(20))
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LEVELS_AT_ONCE", 0)
    monkeypatch.setattr(background, "TURN_SECONDS", 0.0)


def snapshot() -> Snapshot:
    locations = {"dc": Location("dc", "warehouse")}
    levels = {(sku, "dc"): StockLevel(sku, "dc", on_hand=5, as_of_time=NOW) for sku in SKUS}
    products = {sku: Product(sku) for sku in SKUS}
    return Snapshot(NOW, Catalog(1, locations, {"web": Channel("web", "web")}), products, levels)


def request() -> AvailabilityRequest:
    return AvailabilityRequest("web", SKUS, "ship", None, include_locations=False)


async def turns_of(
    work: Coroutine[object, object, availability_pb.CheckAvailabilityResponse],
) -> tuple[int, availability_pb.CheckAvailabilityResponse]:
    """How often others ran meanwhile, and the answer."""
    task, turns = asyncio.create_task(work), 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    return turns, task.result()


async def test_a_large_answer_takes_turns_and_is_the_same(
    policy_set: PolicySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, expected = await turns_of(answer(policy_set, snapshot(), request()))
    monkeypatch.setattr(limits, "LEVELS_AT_ONCE", 0)
    monkeypatch.setattr(background, "TURN_SECONDS", 0.0)

    turns, response = await turns_of(answer(policy_set, snapshot(), request()))

    assert response == expected
    assert [x.sellable_count for x in response.availabilities] == [5] * len(SKUS)
    assert at_once < len(SKUS) < turns


@pytest.mark.usefixtures("short_turns")
async def test_calls_that_ask_the_same_share_one_large_answer(policy_set: PolicySet) -> None:
    shared = snapshot()

    first, second = await asyncio.gather(*(answer(policy_set, shared, request()) for _ in range(2)))

    assert first is second


@pytest.mark.usefixtures("short_turns")
async def test_a_caller_who_hangs_up_leaves_the_others_their_large_answer(policy_set: PolicySet) -> None:
    shared = snapshot()
    gone, stays = (asyncio.create_task(answer(policy_set, shared, request())) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()

    assert len((await stays).availabilities) == len(SKUS)


async def test_a_large_order_gets_the_answer_of_an_order_that_is_planned_at_once(
    retailer: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await retailer.stock({("MUG", "austin"): 5, ("CAP", "dallas"): 1})
    lines = {"MUG": 3, "CAP": 2}
    expected = await retailer.allocate("A", lines, SOLD, validate_only=True)
    monkeypatch.setattr(limits, "LEVELS_AT_ONCE", 0)
    monkeypatch.setattr(background, "TURN_SECONDS", 0.0)

    planned = await retailer.allocate("A", lines, SOLD, validate_only=True)
    both = await asyncio.gather(*(retailer.allocate(name, lines, SOLD) for name in ("A", "B")))

    assert planned.lines == expected.lines
    assert planned.shortages == expected.shortages
    assert promised(planned) == promised(expected)
    assert sum(line.promised_count for allocation in both for line in allocation.lines) == 6
    assert (await retailer.ledger()).balanced
