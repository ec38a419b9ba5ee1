"""Lists of orders: filters, sorting, pages, and states by the clock."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import pytest

from service import limits
from tests.retailer import HOLD, Retailer, State
from truestock.v1 import allocation_service_pb2 as allocation_pb, catalog_service_pb2 as catalog_pb


async def list_orders(retailer: Retailer, **fields: Any) -> list[allocation_pb.Allocation]:
    """Every page of a list."""
    allocations: list[allocation_pb.Allocation] = []
    request = allocation_pb.ListAllocationsRequest(**fields)
    while True:
        page = await retailer.allocations.ListAllocations(request)
        allocations += page.allocations
        if not page.next_page_token:
            return allocations
        request.page_token = page.next_page_token


async def list_order_ids(retailer: Retailer, **fields: Any) -> list[str]:
    return [order.order_id for order in await list_orders(retailer, **fields)]


async def test_orders_come_oldest_first_page_by_page(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 99})
    for number in range(7):
        await retailer.allocate(f"A-{number}", {"MUG": 1})

    pages = [await list_order_ids(retailer, page_size=size) for size in (0, 1, 2, 3, 7, 500)]

    assert pages == [[f"A-{number}" for number in range(7)]] * 6


async def test_a_listed_order_equals_the_one_that_is_looked_up(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 3, ("CUP", "dc"): 3})
    orders = [await retailer.allocate("A-1", {"MUG": 5, "CUP": 1}), await retailer.allocate("A-2", {"CUP": 1}, HOLD)]

    looked_up = [(await retailer.get(order.allocation_id)).allocation for order in orders]

    assert await list_orders(retailer) == looked_up


async def test_an_order_that_arrives_between_two_pages_is_on_the_last_one(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 99})
    for number in range(3):
        await retailer.allocate(f"A-{number}", {"MUG": 1})
    first = await retailer.allocations.ListAllocations(allocation_pb.ListAllocationsRequest(page_size=2))
    await retailer.allocate("A-3", {"MUG": 1})

    remaining = await list_order_ids(retailer, page_size=2, page_token=first.next_page_token)

    assert remaining == ["A-2", "A-3"]


async def test_an_expired_hold_is_listed_as_expired_before_it_is_swept(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    await retailer.allocate("A-1", {"MUG": 1}, HOLD)
    await retailer.allocate("A-2", {"MUG": 1}, HOLD, hold_duration=timedelta(seconds=1))
    # Sweepers skip locked orders, so this hold is not swept.
    await retailer.sql(
        "UPDATE allocation SET expire_time = clock_timestamp() + interval '0.2 s' WHERE order_id = 'A-2'"
    )
    await retailer.sql("UPDATE promise SET expire_time = (SELECT min(expire_time) FROM allocation)")
    await asyncio.sleep(0.25)

    held, expired, both = [
        await list_order_ids(retailer, states=states)
        for states in ([State.STATE_HELD], [State.STATE_EXPIRED], [State.STATE_HELD, State.STATE_EXPIRED])
    ]

    assert (held, expired, both) == (["A-1"], ["A-2"], ["A-1", "A-2"])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"states": [State.STATE_CONFIRMED]}, ["sold", "short", "far", "till"]),
        ({"states": [State.STATE_RELEASED, State.STATE_CANCELLED]}, ["freed", "cancelled"]),
        ({"states": [State.STATE_REFUSED]}, ["refused"]),
        ({"channel_ids": ["pos"]}, ["till"]),
        ({"channel_ids": ["pos", "web"], "states": [State.STATE_HELD]}, ["cart"]),
        ({"needs_person_only": True}, ["short"]),
        ({"location_id": "dc"}, ["sold", "cart", "till"]),
        ({"location_id": "far"}, ["short", "far"]),
        ({"location_id": "nowhere"}, []),
        ({"channel_ids": ["amazon"]}, []),
    ],
)
async def test_only_orders_that_match_the_filters_are_listed(
    retailer: Retailer, fields: dict[str, Any], expected: list[str]
) -> None:
    await create_orders(retailer)

    assert sorted(await list_order_ids(retailer, page_size=2, **fields)) == sorted(expected)


async def test_a_page_that_would_be_too_large_ends_earlier(retailer: Retailer, monkeypatch: pytest.MonkeyPatch) -> None:
    await retailer.stock({("MUG", "dc"): 99})
    for number in range(5):
        await retailer.allocate(f"A-{number}", {"MUG": 1})
    monkeypatch.setattr(limits, "ALLOCATIONS_PAGE_BYTES", 1)

    page = await retailer.allocations.ListAllocations(allocation_pb.ListAllocationsRequest())

    assert len(page.allocations) == 1
    assert await list_order_ids(retailer) == [f"A-{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"page_token": "mug"}, "page_token"),
        ({"page_size": -1}, "page_size"),
        ({"states": [0]}, r"states\[0\]"),
        ({"states": [77]}, r"states\[0\]"),
        ({"channel_ids": ["c"] * 101}, "channel_ids"),
        ({"channel_ids": [""]}, r"channel_ids\[0\]"),
        ({"location_id": "x" * 65}, "location_id"),
    ],
)
async def test_an_invalid_list_request_is_refused(retailer: Retailer, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=field) as refused:
        await list_orders(retailer, **fields)

    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def create_orders(retailer: Retailer) -> None:
    """Creates orders of every kind, whose ids say what happened to them."""
    await retailer.stock({("MUG", "dc"): 20, ("CUP", "far"): 5, ("POT", "dc"): 0})
    till = catalog_pb.Channel(channel_id="pos", kind=catalog_pb.Channel.KIND_POS)
    await retailer.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[till]))
    await retailer.allocate("sold", {"MUG": 1})
    await retailer.allocate("cart", {"MUG": 1}, HOLD)
    await retailer.allocate("refused", {"POT": 1}, HOLD)
    await retailer.release((await retailer.allocate("freed", {"MUG": 1}, HOLD)).allocation_id)
    await retailer.cancel((await retailer.allocate("cancelled", {"MUG": 1})).allocation_id, {"1": 1})
    await retailer.allocate("far", {"CUP": 1})
    await retailer.allocate("short", {"CUP": 6})
    await retailer.allocate("till", {"MUG": 1}, channel_id="pos")
