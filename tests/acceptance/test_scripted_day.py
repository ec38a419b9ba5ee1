"""A real Prometheus scrapes a real service through a scripted day: its rates are the day's truth to the last order."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.conftest import service_process
from tests.prometheus_server import prometheus_on
from tests.retailer import Retailer
from tests.scripted_day import CHANNELS, COUNTED, LOCATIONS, DayTruth, ScriptedDay, write_day_rules

WINDOWS = ("5m", "1h", "1d", "30d")
RATES = {
    "channel:truestock_oversell_units": (("oversold_units", {}), "sold_units"),
    "channel:truestock_cancellation_units": (("cancelled_units", {}), "sold_units"),
    "channel:truestock_seller_cancellation_orders": (("cancelled_orders", {"fault": "seller"}), "sold_orders"),
    "channel:truestock_exception_orders": (("exceptions", {}), "sold_orders"),
    "channel:truestock_manual_intervention_orders": (("manual_interventions", {}), "sold_orders"),
    "location:truestock_inventory_mismatch": (("inventory_mismatches", {}), "inventory_comparisons"),
    "location:truestock_late_shipment": (
        ("shipments_due", {"deadline": "ship_by", "result": "late"}),
        "shipments_due",
    ),
}
"""The recorded rates without their window, each with its part and its whole."""
WHOLE_LABELS = {"shipments_due": {"deadline": "ship_by"}}

pytestmark = [pytest.mark.long, pytest.mark.database]


async def test_six_rates_of_a_day_are_its_truth_to_the_last_order(database_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        addresses = stack.enter_context(
            service_process("--database-url", database_url, "--rules", str(write_day_rules(tmp_path)))
        )
        prometheus = stack.enter_context(prometheus_on(addresses.metrics, tmp_path))
        shop = await stack.enter_async_context(Retailer.connect_to_process(addresses.grpc, database_url))
        day = ScriptedDay(shop)
        await day.open()
        # A rate over a window is the increase since its first scrape, so that has to be before the first order.
        prometheus.wait_until_seen(*(f'truestock_sold_units_total{{channel="{x}"}}' for x in CHANNELS))
        await day.play()
        prometheus.wait_for_scrape("truestock_sold_units_total")

        counted = {
            name: {key: value for key, value in prometheus.query(f"truestock_{name}_total").items() if value}
            for name in COUNTED
        }
        recorded = {rate: {w: prometheus.query(f"{rate}:ratio_{w}") for w in WINDOWS} for rate in RATES}

    for name in COUNTED:
        assert counted[name] == day.truth.counts(name), name
    for rate, samples in recorded.items():
        for window in WINDOWS:
            assert samples[window] == pytest.approx(true_rate(day.truth, rate), rel=1e-9), f"{rate}:ratio_{window}"


def true_rate(truth: DayTruth, rate: str) -> dict[frozenset[tuple[str, str]], float]:
    """The rate of every channel or location that has one, by labels.

    Every counter starts at 0, and one scrape reads them all. So Prometheus extrapolates the increases of both parts of
    a rate by the same factor, and the rate is exact but for the rounding of floats.
    """
    (part, part_labels), whole = RATES[rate]
    label, values = ("channel", CHANNELS) if rate.startswith("channel:") else ("location", LOCATIONS)
    rates = {}
    for value in values:
        own = {label: value}
        share = truth.rate((part, part_labels | own), (whole, WHOLE_LABELS.get(whole, {}) | own))
        if share is not None:
            rates[frozenset(own.items())] = float(share)
    return rates
