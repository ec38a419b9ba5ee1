"""Counts and movements that sources report, and the resulting stock."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from tests.conftest import RetailerMaker
from tests.retailer import SOLD, Retailer, change, movement, request_id
from truestock.v1 import catalog_service_pb2 as catalog_pb, stock_service_pb2 as stock_pb

ChangeResult = stock_pb.StockChangeResult
RECEIVED, SOLD_AT_TILL = stock_pb.MOVEMENT_KIND_RECEIVED, stock_pb.MOVEMENT_KIND_SOLD
NINE = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)


def counted(units: int) -> stock_pb.StockCount:
    return stock_pb.StockCount(on_hand_count=units)


async def test_changes_from_before_the_last_count_change_nothing(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 0})
    ten = NINE + timedelta(hours=1)

    await retailer.record(
        change("MUG", "dc", at=ten, count=counted(20)),
        change("MUG", "dc", at=ten + timedelta(minutes=5), movement=movement(SOLD_AT_TILL, 3)),
        change("MUG", "dc", at=ten + timedelta(minutes=6), movement=movement(RECEIVED, 5)),
    )

    # The fixture counted later than all of these, so they change nothing.
    assert (await retailer.level("MUG", "dc")).on_hand_count == 0


async def test_a_movement_after_a_count_is_added_although_it_arrived_first(retailer: Retailer) -> None:
    await create_uncounted(retailer, "MUG", "dc")
    ten = NINE + timedelta(hours=1)

    await retailer.record(change("MUG", "dc", at=ten + timedelta(minutes=5), movement=movement(SOLD_AT_TILL, 3)))
    await retailer.record(change("MUG", "dc", at=ten, count=counted(20)))
    results = await retailer.record(change("MUG", "dc", at=NINE, movement=movement(RECEIVED, 100)))

    assert results[0].result == ChangeResult.CHANGE_RESULT_ABSORBED
    assert (await retailer.level("MUG", "dc")).on_hand_count == 17
    assert (await retailer.ledger()).balanced


async def test_changes_end_at_the_same_figure_in_any_order(retailer: Retailer) -> None:
    ten = NINE + timedelta(hours=1)
    for sku, order in (("A", (0, 1, 2)), ("B", (2, 1, 0)), ("C", (1, 2, 0))):
        await create_uncounted(retailer, sku, "dc")
        changes = [
            change(sku, "dc", at=ten - timedelta(minutes=5), movement=movement(RECEIVED, 7)),
            change(sku, "dc", at=ten, count=counted(20)),
            change(sku, "dc", at=ten + timedelta(minutes=5), movement=movement(SOLD_AT_TILL, 3)),
        ]
        for index in order:
            await retailer.record(changes[index])

    assert {(await retailer.level(sku, "dc")).on_hand_count for sku in "ABC"} == {17}
    assert (await retailer.ledger()).balanced


async def test_a_count_older_than_the_last_is_stale(retailer: Retailer) -> None:
    await create_uncounted(retailer, "MUG", "dc")
    await retailer.record(change("MUG", "dc", at=NINE, count=counted(8)))

    results = await retailer.record(change("MUG", "dc", at=NINE - timedelta(hours=1), count=counted(99)))

    assert results[0].result == ChangeResult.CHANGE_RESULT_STALE
    assert (await retailer.level("MUG", "dc")).on_hand_count == 8


async def test_two_counts_of_one_moment_need_a_recount(retailer: Retailer) -> None:
    await create_uncounted(retailer, "MUG", "dc")
    await retailer.record(change("MUG", "dc", at=NINE, count=counted(8)))

    results = await retailer.record(change("MUG", "dc", at=NINE, count=counted(9)))

    assert results[0].result == ChangeResult.CHANGE_RESULT_QUARANTINED
    assert "count again" in results[0].reason
    assert (await retailer.level("MUG", "dc")).on_hand_count == 8


async def test_the_same_movement_twice_counts_once(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 8})
    sale = change("MUG", "dc", at=datetime.now(UTC), change_id="sale-1", movement=movement(SOLD_AT_TILL, 3))

    results = [(await retailer.record(sale, source="till"))[0].result for _ in range(3)]

    assert results == [
        ChangeResult.CHANGE_RESULT_ACCEPTED,
        ChangeResult.CHANGE_RESULT_DUPLICATE,
        ChangeResult.CHANGE_RESULT_DUPLICATE,
    ]
    assert (await retailer.level("MUG", "dc")).on_hand_count == 5


async def test_the_same_movement_fifty_times_at_once_counts_once(retailers: RetailerMaker) -> None:
    shops = [await retailers.make(), await retailers.make()]
    await shops[0].stock({("MUG", "dc"): 8})
    sale = change("MUG", "dc", at=datetime.now(UTC), change_id="sale-1", movement=movement(SOLD_AT_TILL, 3))

    results = await asyncio.gather(*(shops[n % 2].record(sale, source="till") for n in range(50)))

    assert sum(result[0].result == ChangeResult.CHANGE_RESULT_ACCEPTED for result in results) == 1
    assert (await shops[0].level("MUG", "dc")).on_hand_count == 5
    assert (await shops[0].ledger()).balanced


async def test_an_unknown_sku_is_quarantined_and_recorded_once_it_is_in_the_catalog(retailer: Retailer) -> None:
    await retailer.locations("dc")
    count = change("NEW", "dc", at=NINE, change_id="count-1", count=counted(4))

    first = await retailer.record(count)
    assert first[0].result == ChangeResult.CHANGE_RESULT_QUARANTINED
    assert len(await retailer.sql("SELECT FROM stock_quarantine")) == 1

    await create_uncounted(retailer, "NEW", "dc")
    second = await retailer.record(count)
    assert second[0].result == ChangeResult.CHANGE_RESULT_DUPLICATE
    assert (await retailer.level("NEW", "dc")).on_hand_count == 4
    assert not await retailer.sql("SELECT FROM stock_quarantine")


async def test_one_unmapped_change_does_not_stop_the_others(retailer: Retailer) -> None:
    await create_uncounted(retailer, "MUG", "dc")

    results = await retailer.record(
        change("MUG", "moon", at=NINE, count=counted(4)), change("MUG", "dc", at=NINE, count=counted(4))
    )

    assert [result.result for result in results] == [
        ChangeResult.CHANGE_RESULT_QUARANTINED,
        ChangeResult.CHANGE_RESULT_ACCEPTED,
    ]


async def test_a_change_more_than_five_minutes_ahead_is_quarantined(retailer: Retailer) -> None:
    await create_uncounted(retailer, "MUG", "dc")
    soon, late = datetime.now(UTC) + timedelta(minutes=4), datetime.now(UTC) + timedelta(minutes=6)

    results = await retailer.record(
        change("MUG", "dc", at=soon, count=counted(4)), change("MUG", "dc", at=late, count=counted(9))
    )

    assert [result.result for result in results] == [
        ChangeResult.CHANGE_RESULT_ACCEPTED,
        ChangeResult.CHANGE_RESULT_QUARANTINED,
    ]


async def test_a_retry_with_the_same_request_id_gets_the_same_results(retailer: Retailer) -> None:
    await create_uncounted(retailer, "MUG", "dc")
    request = stock_pb.RecordStockChangesRequest(
        source="wms", request_id=request_id(), changes=[change("MUG", "dc", at=NINE, count=counted(4))]
    )

    answers = [await retailer.stock_service.RecordStockChanges(request) for _ in range(2)]

    assert answers[0] == answers[1]
    assert answers[0].results[0].result == ChangeResult.CHANGE_RESULT_ACCEPTED


async def test_counts_and_orders_at_once_lose_nothing(retailers: RetailerMaker) -> None:
    shops = [await retailers.make(), await retailers.make()]
    await shops[0].stock({("MUG", "dc"): 100})

    async def receive(n: int) -> None:
        await shops[n % 2].record(change("MUG", "dc", at=datetime.now(UTC), movement=movement(RECEIVED, 1)))

    await asyncio.gather(
        *(receive(n) for n in range(40)), *(shops[n % 2].allocate(f"A-{n}", {"MUG": 1}, SOLD) for n in range(80))
    )

    level = await shops[0].level("MUG", "dc")
    assert (level.on_hand_count, level.allocated_count, level.available_count) == (140, 80, 60)
    assert (await shops[0].ledger()).balanced


async def test_the_first_count_and_orders_at_once_never_oversell(retailers: RetailerMaker) -> None:
    shops = [await retailers.make(), await retailers.make()]
    for round_number in range(5):
        sku = f"NEW-{round_number}"
        await create_uncounted(shops[0], sku, "dc")
        await asyncio.gather(
            shops[0].count({(sku, "dc"): 3}),
            *(shops[n % 2].allocate(f"A-{round_number}-{n}", {sku: 1}, SOLD) for n in range(20)),
        )
        level = await shops[0].level(sku, "dc")
        assert level.allocated_count <= 3
    assert (await shops[0].ledger()).balanced


async def test_levels_come_in_pages_without_gaps(retailer: Retailer) -> None:
    await retailer.stock({(f"P-{n}", location_id): n for n in range(7) for location_id in ("a", "b")})

    listed, token = [], ""
    while True:
        request = stock_pb.ListStockLevelsRequest(page_size=3, page_token=token)
        page = await retailer.stock_service.ListStockLevels(request)
        listed += [(level.sku, level.location_id) for level in page.stock_levels]
        token = page.next_page_token
        if not token:
            break

    assert listed == [(f"P-{n}", location_id) for n in range(7) for location_id in ("a", "b")]


async def create_uncounted(retailer: Retailer, sku: str, location_id: str) -> None:
    """A product and a location, never counted."""
    await retailer.locations(location_id)
    await retailer.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[catalog_pb.Product(sku=sku)]))
