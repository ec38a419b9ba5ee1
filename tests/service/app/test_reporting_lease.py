"""Several services on one database: one of them reports the database's figures, so that sums count them once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from service.app import reporting_lease
from service.app.reporting_lease import ReportingLease
from service.app.wiring import new_id
from service.database.database import Database
from service.metrics import Metrics
from tests.conftest import RetailerMaker
from tests.retailer import Retailer, eventually

FIGURES = (
    "truestock_backordered_units",
    "truestock_cancellation_headroom_ratio",
    "truestock_exceptions_open",
    "truestock_exceptions_overdue",
    "truestock_ledger_differences",
    "truestock_ledger_verified_timestamp_seconds",
)


def reported(metrics: Metrics) -> list[str]:
    """The metrics of the database that a scrape of a service finds."""
    return sorted(family.name for family in metrics.registry.collect() if family.name in FIGURES)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, Metrics(CollectorRegistry()), connections=4)
    yield database
    await database.close()


async def test_of_two_services_one_reports_the_figures_and_the_other_takes_over(
    retailers: RetailerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting_lease, "RENEW_SECONDS", 0.1)
    first, second = await retailers.make(), await retailers.make()
    await first.stock({("MUG", "dc"): 1})
    await first.allocate("A-1", {"MUG": 3})
    await second.has_done("report_lease")

    both = [reported(shop.service.metrics) for shop in (first, second)]
    await retailers.stop(first)
    # As once the time of its lease has passed.
    await second.sql("UPDATE lease SET expire_time = clock_timestamp() WHERE name = 'metrics'")

    async def is_taken_over() -> bool:
        return reported(second.service.metrics) == list(FIGURES)

    await eventually(is_taken_over)
    assert both == [list(FIGURES), []]


async def test_a_service_alone_reports_from_its_start(retailer: Retailer) -> None:
    assert reported(retailer.service.metrics) == list(FIGURES)


async def test_a_service_that_cannot_renew_stops_to_report_before_another_may_start(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = [Metrics(CollectorRegistry()) for _ in range(2)]
    first, second = (ReportingLease(database, each, new_id()) for each in metrics)

    await first.renew()
    await second.renew()
    held = [bool(reported(each)) for each in metrics]
    with monkeypatch.context() as patch:
        patch.setattr(reporting_lease, "LEASE_SECONDS", 0.1)
        await first.renew()
    while not reported(metrics[1]):
        await second.renew()
        assert not all(reported(each) for each in metrics)

    assert held == [True, False]
    assert [bool(reported(each)) for each in metrics] == [False, True]
    await first.renew()
    assert [bool(reported(each)) for each in metrics] == [False, True]
