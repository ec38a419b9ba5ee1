"""Streams of stock changes: acknowledged changes are stored, in the order of the messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from tests.conftest import RetailerMaker
from tests.retailer import Retailer, change, movement
from tests.service.test_faults import Refusal, refusal
from tests.service.watch.test_watch_availability import until
from truestock.v1 import stock_service_pb2 as stock_pb

Code = grpc.StatusCode
ChangeResult = stock_pb.StockChangeResult
FOUND = stock_pb.MOVEMENT_KIND_FOUND


def stream_message(*changes: stock_pb.StockChange, source: str = "") -> stock_pb.StreamStockChangesRequest:
    return stock_pb.StreamStockChangesRequest(source=source, changes=changes)


def found_units(change_id: str, units: int = 1) -> stock_pb.StockChange:
    return change("MUG", "dc", change_id=change_id, movement=movement(FOUND, units))


async def ended(call: Any) -> Refusal:
    async def read() -> None:
        async for _ in call:
            pass

    return await refusal(read())


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 10})
    return retailer


async def test_each_message_is_acknowledged_in_order_with_its_results(shop: Retailer) -> None:
    messages = [
        stream_message(found_units("1"), found_units("2"), source="till"),
        stream_message(found_units("2"), found_units("3")),
        stream_message(found_units("4")),
    ]
    answers = [answer async for answer in shop.stock_service.StreamStockChanges(iter(messages))]

    results = [[(result.change_id, result.result) for result in answer.results] for answer in answers]
    assert results == [
        [("1", ChangeResult.CHANGE_RESULT_ACCEPTED), ("2", ChangeResult.CHANGE_RESULT_ACCEPTED)],
        [("2", ChangeResult.CHANGE_RESULT_DUPLICATE), ("3", ChangeResult.CHANGE_RESULT_ACCEPTED)],
        [("4", ChangeResult.CHANGE_RESULT_ACCEPTED)],
    ]
    assert answers[-1].results[0].on_hand_count == 14
    assert shop.metric("stock_changes_total", result="accepted") == 5


async def test_a_source_named_once_applies_to_the_whole_stream(shop: Retailer) -> None:
    messages = [stream_message(found_units("1"), source="till"), stream_message(found_units("2"))]
    [_ async for _ in shop.stock_service.StreamStockChanges(iter(messages))]

    rows = await shop.sql("SELECT source FROM stock_movement WHERE kind = 'found'")
    assert [row["source"] for row in rows] == ["till", "till"]


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([stream_message(found_units("1"))], "source"),
        ([stream_message(found_units("1"), source="till"), stream_message(found_units("2"), source="wms")], "source"),
        ([stream_message(found_units("1"), source="till"), stream_message()], "changes"),
        (
            [stream_message(found_units("1"), source="till"), stream_message(stock_pb.StockChange(change_id="2"))],
            "changes[0].sku",
        ),
    ],
)
async def test_a_message_that_is_refused_ends_the_stream(
    shop: Retailer, messages: list[stock_pb.StreamStockChangesRequest], field: str
) -> None:
    call = shop.stock_service.StreamStockChanges(iter(messages))
    for _ in messages[1:]:
        await call.read()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call.read()

    assert error.value.code() is Code.INVALID_ARGUMENT
    assert f"{field}: " in (error.value.details() or "")


async def test_a_message_over_the_byte_limit_ends_the_stream(shop: Retailer) -> None:
    large = change("MUG", "dc", change_id="x" * (2 << 20), movement=movement(FOUND, 1))

    refused = await ended(
        shop.stock_service.StreamStockChanges(
            iter([stream_message(found_units("1"), source="till"), stream_message(large)])
        )
    )

    assert (refused.code, refused.reason) == (Code.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE")
    assert (await shop.level("MUG", "dc")).on_hand_count == 11


async def test_a_stream_that_breaks_off_loses_no_acknowledged_change(shop: Retailer) -> None:
    call = shop.stock_service.StreamStockChanges()
    acknowledged = 0
    for number in range(5):
        await call.write(stream_message(found_units(str(number)), source="till"))
        acknowledged += len((await call.read()).results)
    call.cancel()
    again = [stream_message(found_units(str(number)), source="till") for number in range(3, 7)]
    answers = [answer async for answer in shop.stock_service.StreamStockChanges(iter(again))]

    assert acknowledged == 5
    results = [answer.results[0].result for answer in answers]
    assert results == [
        ChangeResult.CHANGE_RESULT_DUPLICATE,
        ChangeResult.CHANGE_RESULT_DUPLICATE,
        ChangeResult.CHANGE_RESULT_ACCEPTED,
        ChangeResult.CHANGE_RESULT_ACCEPTED,
    ]
    assert (await shop.level("MUG", "dc")).on_hand_count == 17
    assert (await shop.ledger()).balanced


async def test_two_feeds_stream_side_by_side(shop: Retailer) -> None:
    async def feed(source: str) -> None:
        messages = [stream_message(found_units(str(number)), source=source) for number in range(20)]
        answers = [answer async for answer in shop.stock_service.StreamStockChanges(iter(messages))]
        assert all(answer.results[0].result == ChangeResult.CHANGE_RESULT_ACCEPTED for answer in answers)

    await asyncio.gather(*(feed(source) for source in ("till-1", "till-2", "wms")))

    assert (await shop.level("MUG", "dc")).on_hand_count == 70


async def test_a_service_that_stops_ends_the_stream_so_that_the_feed_reconnects(
    retailers: RetailerMaker,
) -> None:
    # The streams would otherwise be ended with the calls in flight, after this time.
    shop = await retailers.make(drain_seconds=60)
    await shop.stock({("MUG", "dc"): 10})
    call = shop.stock_service.StreamStockChanges()
    await call.write(stream_message(found_units("1"), source="till"))
    await call.read()
    stopping = asyncio.create_task(retailers.stop(shop))

    refused = await asyncio.wait_for(refusal(call.read()), 30)
    await stopping

    assert (refused.code, refused.reason) == (Code.UNAVAILABLE, "NOT_READY")


async def test_a_stream_is_one_call_in_the_metrics_and_hanging_up_is_no_error(shop: Retailer) -> None:
    async def messages() -> AsyncIterator[stock_pb.StreamStockChangesRequest]:
        yield stream_message(found_units("1"), source="till")

    [_ async for _ in shop.stock_service.StreamStockChanges(messages())]
    call = shop.stock_service.StreamStockChanges()
    await call.write(stream_message(found_units("2"), source="till"))
    await call.read()
    call.cancel()

    method = "StockService/StreamStockChanges"
    await until(lambda: shop.metric("rpc_duration_seconds_count", method=method, code="CANCELLED") == 1)
    assert shop.metric("rpc_duration_seconds_count", method=method, code="OK") == 1
