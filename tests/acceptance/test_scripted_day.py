"""A real Prometheus scrapes a real service through a scripted day: its rates are the day's truth to the last order."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass

import pytest

from tests.conftest import REPOSITORY, new_database, service_process
from tests.prometheus_server import Labels, PrometheusServer, prometheus_on
from tests.retailer import Retailer
from tests.scripted_day import CHANNELS, COUNTED, LOCATIONS, DayTruth, ScriptedDay, write_day_rules

DASHBOARDS = REPOSITORY / "deploy" / "grafana" / "dashboards"
WINDOWS = ("5m", "1h", "1d", "30d")
DUE = {"deadline": "ship_by"}
RATES = {
    "channel:truestock_oversell_units": (("oversold_units", {}), ("sold_units", {})),
    "channel:truestock_cancellation_units": (("cancelled_units", {}), ("sold_units", {})),
    "channel:truestock_seller_cancellation_orders": (("cancelled_orders", {"fault": "seller"}), ("sold_orders", {})),
    "channel:truestock_exception_orders": (("exceptions", {}), ("sold_orders", {})),
    "channel:truestock_manual_intervention_orders": (("manual_interventions", {}), ("sold_orders", {})),
    "location:truestock_inventory_mismatch": (("inventory_mismatches", {}), ("inventory_comparisons", {})),
    "location:truestock_late_shipment": (("shipments_due", {**DUE, "result": "late"}), ("shipments_due", DUE)),
}
"""The recorded rates without their window, each with its part and its whole."""

pytestmark = pytest.mark.long


@dataclass(frozen=True, slots=True)
class PlayedDay:
    """A day that is over, and what has seen it; both still run."""

    truth: DayTruth
    prometheus: PrometheusServer


@pytest.fixture(scope="module")
def day(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlayedDay]:
    with contextmanager(new_database)(postgres_url, "template_truestock") as database_url:
        folder = tmp_path_factory.mktemp("day")
        arguments = ("--database-url", database_url, "--rules", str(write_day_rules(folder)))
        with service_process(*arguments) as addresses, prometheus_on(addresses.metrics, folder) as prometheus:
            truth = asyncio.run(_play(addresses.grpc, database_url, prometheus))
            yield PlayedDay(truth, prometheus)


async def _play(address: str, database_url: str, prometheus: PrometheusServer) -> DayTruth:
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(Retailer.connect_to_process(address, database_url))
        day = ScriptedDay(shop)
        await day.open()
        # A rate over a window is the increase since its first scrape, so that has to be before the first order.
        prometheus.wait_until_seen(*(f'truestock_sold_units_total{{channel="{x}"}}' for x in CHANNELS))
        await day.play()
    prometheus.wait_for_scrape("truestock_sold_units_total")
    return day.truth


@pytest.mark.parametrize("name", COUNTED)
def test_each_counter_is_the_truth_of_the_day(day: PlayedDay, name: str) -> None:
    counted = day.prometheus.query(f"sum by ({', '.join(COUNTED[name])}) (truestock_{name}_total) > 0")

    assert counted == day.truth.counts(name)
    assert counted, "nothing of it happened on this day"


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("rate", RATES)
def test_each_recorded_rate_is_the_truth_of_the_day(day: PlayedDay, rate: str, window: str) -> None:
    """Exactly, but for the rounding of floats.

    Every counter starts at 0, and one scrape reads them all. So Prometheus extrapolates the increases of both parts of
    a rate by the same factor.
    """
    recorded = day.prometheus.query(f"{rate}:ratio_{window}")

    assert recorded == pytest.approx(true_rate(day.truth, rate), rel=1e-9)


@pytest.mark.parametrize("file", ["operations.json", "service.json"])
def test_every_expression_of_a_dashboard_has_data_after_the_day(day: PlayedDay, file: str) -> None:
    panels = [x for x in json.loads((DASHBOARDS / file).read_text())["panels"] if x["type"] != "row"]

    assert panels
    for panel in panels:
        for target in panel["targets"]:
            expression = with_variables(target["expr"])
            values = day.prometheus.query(expression).values()
            assert any(math.isfinite(value) for value in values), f"{panel['title']}: {expression}"


def with_variables(expression: str) -> str:
    """An expression as Grafana asks it, with everything chosen and windows that hold the whole day."""
    for variable, value in (
        ("$__rate_interval", "5m"),
        ("$__range", "1h"),
        ("$window", "1h"),
        *((f"${label}", ".*") for label in ("channel", "location", "instance")),
    ):
        expression = expression.replace(variable, value)
    assert not re.search(r"\$\w", expression), expression
    return expression


def true_rate(truth: DayTruth, rate: str) -> dict[Labels, float]:
    """The rate of every channel or location that has one, by labels."""
    (part, part_labels), (whole, whole_labels) = RATES[rate]
    label, values = ("channel", CHANNELS) if rate.startswith("channel:") else ("location", LOCATIONS)
    rates = {}
    for value in values:
        share = truth.rate((part, {**part_labels, label: value}), (whole, {**whole_labels, label: value}))
        if share is not None:
            rates[frozenset({(label, value)})] = float(share)
    return rates
