"""The quarantine is bounded, by source, and says what it drops."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

import pytest

from service import limits
from tests.retailer import Retailer, change
from truestock.v1 import catalog_service_pb2 as catalog_pb, stock_service_pb2 as stock_pb

ChangeResult = stock_pb.StockChangeResult


@pytest.fixture
async def shop(retailer: Retailer, monkeypatch: pytest.MonkeyPatch) -> Retailer:
    """A service that keeps three changes of each source, and those of two sources that no feed declares."""
    monkeypatch.setattr(limits, "QUARANTINED_CHANGES", 3)
    monkeypatch.setattr(limits, "QUARANTINED_SOURCES", 2)
    await retailer.stock({("MUG", "dc"): 5})
    return retailer


def unknown(number: int, sku: str = "") -> stock_pb.StockChange:
    count = stock_pb.StockCount(on_hand_count=number)
    return change(sku or f"NEW-{number}", "dc", change_id=f"c-{number}", count=count)


async def send(shop: Retailer, source: str, *changes: stock_pb.StockChange) -> stock_pb.RecordStockChangesResponse:
    request = stock_pb.RecordStockChangesRequest(source=source, changes=changes)
    answer: stock_pb.RecordStockChangesResponse = await shop.stock_service.RecordStockChanges(request)
    return answer


async def stored(shop: Retailer) -> Mapping[str, list[str]]:
    """The ids of quarantined changes by source."""
    rows = await shop.sql("SELECT source, change_id FROM stock_quarantine ORDER BY ingest_time, change_id")
    return {source: [r["change_id"] for r in rows if r["source"] == source] for source in {r["source"] for r in rows}}


async def test_a_full_source_loses_its_own_oldest_changes_and_says_so(shop: Retailer) -> None:
    await send(shop, "wms", unknown(1))
    first = await send(shop, "till", unknown(1), unknown(2), unknown(3))

    second = await send(shop, "till", unknown(4), unknown(5))

    assert (first.dropped_count, second.dropped_count) == (0, 2)
    assert {result.result for result in second.results} == {ChangeResult.CHANGE_RESULT_QUARANTINED}
    assert await stored(shop) == {"wms": ["c-1"], "till": ["c-3", "c-4", "c-5"]}
    assert shop.metric("dropped_stock_changes_total", source="till") == 2
    raised = await shop.open_exceptions(kinds=["sync_failed"])
    assert [record.source for record in raised] == ["till"]
    assert "its oldest are dropped, 2 just now" in raised[0].description
    # One exception says it for all: such a source could name any number of unknown products.
    unmapped = {record.sku for record in await shop.open_exceptions(kinds=["unmapped_product"])}
    assert unmapped == {"NEW-1", "NEW-2", "NEW-3"}


async def test_a_change_that_is_sent_again_needs_no_room(shop: Retailer) -> None:
    await send(shop, "till", unknown(1), unknown(2), unknown(3))

    again = await send(shop, "till", unknown(1), unknown(2), unknown(3))

    assert again.dropped_count == 0
    assert await stored(shop) == {"till": ["c-1", "c-2", "c-3"]}


async def test_what_can_never_be_recorded_is_dropped_first(shop: Retailer) -> None:
    beyond = change("MUG", "dc", change_id="beyond", movement=too_many())
    await shop.sql("UPDATE stock_level SET on_hand = 2147000000 WHERE sku = 'MUG'")
    await send(shop, "till", unknown(1), unknown(2))
    answer = await send(shop, "till", beyond)

    assert answer.results[0].result == ChangeResult.CHANGE_RESULT_QUARANTINED
    assert (await send(shop, "till", unknown(3))).dropped_count == 1
    assert await stored(shop) == {"till": ["c-1", "c-2", "c-3"]}


def too_many() -> stock_pb.StockMovement:
    return stock_pb.StockMovement(kind=stock_pb.MOVEMENT_KIND_RECEIVED, unit_count=limits.COUNTED_UNITS)


async def test_invented_sources_push_out_no_others(shop: Retailer) -> None:
    feed = catalog_pb.Feed(source="erp", role=catalog_pb.Feed.ROLE_OBSERVER)
    await shop.catalog.UpsertFeeds(catalog_pb.UpsertFeedsRequest(feeds=[feed]))
    for source in ("a", "b"):
        await send(shop, source, unknown(1))

    invented = [await send(shop, source, unknown(1), unknown(2)) for source in ("c", "d")]
    declared = await send(shop, "erp", unknown(1))
    known = await send(shop, "a", unknown(2))
    mapped = await send(shop, "e", unknown(3), unknown(4, "MUG"))

    refused, quarantined = ChangeResult.CHANGE_RESULT_REFUSED, ChangeResult.CHANGE_RESULT_QUARANTINED
    assert {result.result for answer in invented for result in answer.results} == {refused}
    assert "declare 'c' as a feed" in invented[0].results[0].reason
    assert [answer.results[0].result for answer in (declared, known)] == [quarantined, quarantined]
    assert [result.result for result in mapped.results] == [refused, ChangeResult.CHANGE_RESULT_ACCEPTED]
    assert {source: len(ids) for source, ids in (await stored(shop)).items()} == {"a": 2, "b": 1, "erp": 1}
    assert shop.metric("dropped_stock_changes_total", source="other") == 5
    assert shop.metric("stock_changes_total", result="refused") == 5
    raised = await shop.open_exceptions(kinds=["sync_failed"])
    assert [(record.source, record.repeat_count) for record in raised] == [("", 2)]


async def test_a_refused_change_is_recorded_when_it_is_sent_again(shop: Retailer) -> None:
    for source in ("a", "b", "c"):
        await send(shop, source, unknown(1))
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[catalog_pb.Product(sku="NEW-1")]))

    again = await send(shop, "c", unknown(1))

    assert again.results[0].result != ChangeResult.CHANGE_RESULT_REFUSED
    assert not await stored(shop)


async def test_calls_at_once_stay_within_the_limits(shop: Retailer) -> None:
    answers = await asyncio.gather(*(send(shop, f"s-{n % 4}", unknown(n), unknown(n + 100)) for n in range(40)))

    counts = Counter({source: len(ids) for source, ids in (await stored(shop)).items()})
    results = Counter(result.result for answer in answers for result in answer.results)
    dropped = sum(answer.dropped_count for answer in answers)
    assert len(counts) == 2
    assert set(counts.values()) == {3}
    assert results[ChangeResult.CHANGE_RESULT_REFUSED] == 40
    assert results[ChangeResult.CHANGE_RESULT_QUARANTINED] == 40 == dropped + counts.total()
