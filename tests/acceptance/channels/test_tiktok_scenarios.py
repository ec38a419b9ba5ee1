"""A TikTok shop and Truestock behave as one: each scenario with real processes over real HTTP.

In every scenario a fifth of the webhooks comes twice, and they come in any order. Each ends with a ledger in which
every stock level is the sum of its movements.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.acceptance.channels.connector_processes import CHANNEL, Processes, processes
from tests.connector_site import until
from tests.fakes.tiktok_shop.records import Order
from tests.fakes.tiktok_shop.shop import TikTokShop
from truestock.v1 import allocation_service_pb2 as allocation_pb, fulfillment_service_pb2 as fulfillment_pb, order_pb2

ON_HOLD, READY = order_pb2.ORDER_STATUS_ON_HOLD, order_pb2.ORDER_STATUS_READY_TO_FULFILL
CANCELLED = order_pb2.ORDER_STATUS_CANCELLED


@pytest.fixture
def shop() -> Iterator[TikTokShop]:
    # An hour and a few minutes behind, so that an hour can pass without being in the future of the service.
    with TikTokShop(start=datetime.now(UTC) - timedelta(minutes=64)).serving() as shop:
        shop.faults.duplicates, shop.faults.reorder_seconds = 0.2, 0.5
        yield shop


async def test_a_remorse_hour_keeps_units_from_others_and_orders_from_stores(
    database_url: str, tmp_path: Path, shop: TikTokShop
) -> None:
    async with processes(database_url, tmp_path, shop) as running:
        running.subscribe()
        order, regretted = _placed(shop, {"MUG": 2}), _placed(shop, {"MUG": 1})
        for one in (order, regretted):
            shop.books.pay(one)
        on_hold = [await _reaches(running, one, ON_HOLD) for one in (order, regretted)]
        work_list = await running.retailer.fulfillment.ListShipments(fulfillment_pb.ListShipmentsRequest())
        shop.books.cancel(regretted)
        await _reaches(running, regretted, CANCELLED)
        await asyncio.to_thread(shop.pass_time, timedelta(hours=1))
        ready = await _reaches(running, order, READY)
        level = await running.retailer.level("MUG", "dc")
        running.verify_ledger()

    assert [sum(line.promised_count for line in one.lines) for one in on_hold] == [2, 1]
    assert list(work_list.shipments) == []
    assert not ready.HasField("hold")
    assert (level.on_hand_count, level.available_count) == (100, 98)


def _placed(shop: TikTokShop, units: dict[str, int]) -> Order:
    order = shop.books.place_order(units)
    assert order is not None
    return order


async def _reaches(running: Processes, order: Order, status: int) -> allocation_pb.Allocation:
    """The order once it has a status."""

    async def found() -> Any:
        try:
            allocation = (await running.retailer.find_order(f"{CHANNEL}/{order.id}")).allocation
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return None
        return allocation if allocation.status == status else None

    allocation: allocation_pb.Allocation = await until(found, f"status {status} of {order.id}")
    return allocation
