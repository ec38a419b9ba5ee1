"""The running service verifies its own ledger and reports the result in metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.app.application import running
from service.database.database import Database, single_connection
from service.stock.ledger_monitor import LedgerMonitor
from tests.conftest import PLAIN_RULES, service_settings
from tests.retailer import Retailer


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Retailer]:
    """A service that verifies its ledger ten times a second."""
    settings = service_settings(database_url, PLAIN_RULES, verify_ledger_seconds=0.1)
    async with running(settings) as service, Retailer.connect(service, database_url) as shop:
        await shop.set_up()
        await shop.stock({("MUG", "dc"): 10})
        yield shop


async def verified_differences(shop: Retailer) -> float:
    """The differences found by a ledger check that starts after this call."""
    for _ in range(2):
        last = shop.metric("ledger_verified_timestamp_seconds")
        async with asyncio.timeout(60):
            while shop.metric("ledger_verified_timestamp_seconds") == last:  # noqa: ASYNC110 - a metric is no event
                await asyncio.sleep(0.02)
    return shop.metric("ledger_differences")


async def test_a_stock_level_changed_outside_the_service_shows_in_the_metric(shop: Retailer) -> None:
    good = await verified_differences(shop)
    await shop.sql("UPDATE stock_level SET on_hand = on_hand + 1")
    bad = await verified_differences(shop)
    await shop.sql("UPDATE stock_level SET on_hand = on_hand - 1")

    assert (good, bad, await verified_differences(shop)) == (0, 1, 0)


async def test_orders_are_allocated_while_the_ledger_is_verified(shop: Retailer) -> None:
    orders = await asyncio.gather(*(shop.allocate(f"A-{number}", {"MUG": 1}) for number in range(30)))

    assert sum(line.promised_count for order in orders for line in order.lines) == 10
    assert await verified_differences(shop) == 0


async def test_a_ledger_check_that_takes_too_long_is_cancelled(
    shop: Retailer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    database = await Database.open(shop.database_url, shop.service.metrics, connections=1)
    monkeypatch.setattr("service.stock.ledger_monitor.CHECK_SECONDS", 0.1)
    try:
        async with single_connection(shop.database_url) as other, other.transaction():
            await other.execute("LOCK TABLE stock_movement IN ACCESS EXCLUSIVE MODE")
            await LedgerMonitor(database, shop.service.metrics, 1).verify()
    finally:
        await database.close()

    # Another test of this process may have sent the log to the other stream.
    assert "truestock verify-ledger" in "".join(capsys.readouterr())
