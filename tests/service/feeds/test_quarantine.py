"""Changes that cannot be recorded yet: quarantined, raised as exceptions, and recorded in order once they can be."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from service.feeds.quarantine_retry import QuarantineRetry
from tests.conftest import RetailerMaker
from tests.retailer import Retailer, change, movement
from truestock.v1 import catalog_service_pb2 as catalog_pb, stock_service_pb2 as stock_pb

ChangeResult = stock_pb.StockChangeResult
NINE = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)
TILL_SALE, RECEIVED = stock_pb.MOVEMENT_KIND_SOLD, stock_pb.MOVEMENT_KIND_RECEIVED


def at(minutes: int) -> datetime:
    return NINE + timedelta(minutes=minutes)


def counted(units: int) -> stock_pb.StockCount:
    return stock_pb.StockCount(on_hand_count=units)


async def product(retailer: Retailer, sku: str) -> None:
    await retailer.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[catalog_pb.Product(sku=sku)]))


async def exceptions(retailer: Retailer) -> set[tuple[Any, ...]]:
    rows = await retailer.sql(
        "SELECT kind, subject, state, resolution, repeat_count FROM exception WHERE kind LIKE 'unmapped%'"
    )
    return {tuple(row.values()) for row in rows}


async def test_changes_that_wait_for_a_product_are_recorded_when_it_is_mapped(retailer: Retailer) -> None:
    await retailer.locations("dc")
    changes = [
        change("NEW", "dc", at=at(9), movement=movement(TILL_SALE, 3)),
        change("NEW", "dc", at=at(5), count=counted(20)),
        change("NEW", "dc", at=at(1), movement=movement(RECEIVED, 100)),
    ]
    for reported in changes:
        await retailer.record(reported)
    await retailer.count({("NEW", "dc"): 8}, at=at(3), source="other")
    assert await exceptions(retailer) == {("unmapped_product", "NEW", "open", None, 3)}

    await product(retailer, "NEW")

    assert (await retailer.level("NEW", "dc")).on_hand_count == 17
    assert not await retailer.sql("SELECT FROM stock_quarantine")
    assert await exceptions(retailer) == {("unmapped_product", "NEW", "resolved", "mapped", 3)}
    assert (await retailer.ledger()).balanced


async def test_a_retried_change_counts_once_when_the_source_sends_it_again(retailer: Retailer) -> None:
    await retailer.locations("dc")
    sale = change("NEW", "dc", at=at(9), movement=movement(RECEIVED, 3))
    await retailer.record(sale, sale)
    await product(retailer, "NEW")

    again = await retailer.record(sale)

    assert again[0].result == ChangeResult.CHANGE_RESULT_DUPLICATE
    assert (await retailer.level("NEW", "dc")).on_hand_count == 3


async def test_a_change_waits_until_its_product_and_its_location_are_in_the_catalog(retailer: Retailer) -> None:
    (kept,) = await retailer.record(change("NEW", "moon", at=at(9), count=counted(3)))
    raised = await exceptions(retailer)
    assert kept.reason.endswith(" is not in the catalog; the change is recorded once it is upserted")

    await product(retailer, "NEW")
    waiting = await retailer.sql("SELECT FROM stock_quarantine")
    await retailer.locations("moon")

    assert {(row[0], row[1], row[2]) for row in raised} == {
        ("unmapped_product", "NEW", "open"),
        ("unmapped_location", "moon", "open"),
    }
    assert len(waiting) == 1
    assert {row[2] for row in await exceptions(retailer)} == {"resolved"}
    assert (await retailer.level("NEW", "moon")).on_hand_count == 3


async def test_changes_reported_while_the_mapping_arrives_count_once(
    retailers: RetailerMaker, quarantine_retry: QuarantineRetry
) -> None:
    shops = [await retailers.make(), await retailers.make()]
    await shops[0].locations("dc")
    changes = [change("NEW", "dc", at=at(n), movement=movement(RECEIVED, 1)) for n in range(30)]

    await asyncio.gather(
        *(shops[n % 2].record(reported, source="till") for n, reported in enumerate(changes)),
        product(shops[0], "NEW"),
        quarantine_retry.retry_due(),
    )
    await asyncio.gather(*(quarantine_retry.retry_due() for _ in range(3)))

    assert (await shops[0].level("NEW", "dc")).on_hand_count == 30
    assert (await shops[0].ledger()).balanced
    assert {row[2] for row in await exceptions(shops[0])} <= {"resolved"}


async def test_a_change_from_the_future_is_recorded_when_its_time_has_come(
    retailer: Retailer, quarantine_retry: QuarantineRetry
) -> None:
    await retailer.stock({("MUG", "dc"): 5})
    ahead = change("MUG", "dc", at=datetime.now(UTC) + timedelta(hours=1), count=counted(9))
    await retailer.record(ahead)

    await quarantine_retry.retry_due()
    on_hand_before = (await retailer.level("MUG", "dc")).on_hand_count
    # Time passes until the effective time of the change.
    ahead.effective_time.FromDatetime(datetime.now(UTC))
    # In one statement: the service looks by itself too, and would put a change off again that still says an hour.
    await retailer.sql(
        "UPDATE stock_quarantine SET effective_time = now() - interval '1 second', content = $1",
        ahead.SerializeToString(deterministic=True),
    )
    await quarantine_retry.retry_due()

    assert (on_hand_before, (await retailer.level("MUG", "dc")).on_hand_count) == (5, 9)


async def test_units_can_be_put_back_only_after_they_were_set_aside(
    retailer: Retailer, quarantine_retry: QuarantineRetry
) -> None:
    await retailer.stock({("MUG", "dc"): 5})
    now = datetime.now(UTC)
    put_back, set_aside = stock_pb.MOVEMENT_KIND_PUT_BACK, stock_pb.MOVEMENT_KIND_SET_ASIDE

    early = await retailer.record(change("MUG", "dc", at=now, movement=movement(put_back, 2)))
    await retailer.record(change("MUG", "dc", at=now - timedelta(seconds=1), movement=movement(set_aside, 3)))
    await quarantine_retry.retry_due()

    assert early[0].result == ChangeResult.CHANGE_RESULT_QUARANTINED
    assert (await retailer.level("MUG", "dc")).unavailable_count == 1
    assert not await retailer.sql("SELECT FROM stock_quarantine")
    assert (await retailer.ledger()).balanced


async def test_exceptions_resolved_by_a_mapping_are_counted(retailer: Retailer) -> None:
    await retailer.locations("dc")
    await retailer.record(change("MUG", "dc", count=counted(4)))

    await product(retailer, "MUG")

    assert retailer.metric("exceptions_resolved_total", kind="unmapped_product", resolution="mapped") == 1
