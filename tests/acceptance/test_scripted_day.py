"""A scripted day against a real service: its rates in a real Prometheus and in reports are true to the last order."""

from __future__ import annotations

import asyncio
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from service.database.database import single_connection
from service.rpc.proto_values import timestamp
from tests.conftest import REPOSITORY, new_database, service_process
from tests.prometheus_server import Labels, PrometheusServer, prometheus_on
from tests.retailer import Retailer
from tests.scripted_day import (
    CHANNELS,
    COUNTED,
    HEADROOM,
    KEPT_UNITS,
    LOCATIONS,
    DayTruth,
    ScriptedDay,
    write_day_rules,
)
from truestock.v1 import report_service_pb2 as report_pb, report_service_pb2_grpc as report_grpc

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
    "channel:truestock_oversell_orders": (("oversold_orders", {}), ("sold_orders", {})),
    "channel:truestock_withheld_orders": (("withheld_orders", {}), ("sold_orders", {})),
    "channel:truestock_channel_mismatch": (("channel_mismatches", {}), ("channel_comparisons", {})),
    "channel:truestock_late_shipment": (
        ("channel_shipments_due", {**DUE, "result": "late"}),
        ("channel_shipments_due", DUE),
    ),
    "source:truestock_inventory_mismatch": (("inventory_mismatches", {}), ("inventory_comparisons", {})),
    "location:truestock_late_shipment": (("shipments_due", {**DUE, "result": "late"}), ("shipments_due", DUE)),
}
"""The recorded rates without their window, each with its part and its whole."""

SCOPES = {"channel": CHANNELS, "location": LOCATIONS, "source": ("audit", "counter")}
REPORTED: tuple[tuple[Any, str, Mapping[str, str], str, Mapping[str, str], str], ...] = (
    (report_pb.REPORT_RATE_OVERSELL, "oversold_units", {}, "sold_units", {}, "cause"),
    (report_pb.REPORT_RATE_CANCELLATION, "cancelled_units", {}, "sold_units", {}, "fault"),
    (report_pb.REPORT_RATE_EXCEPTION, "exceptions", {}, "sold_orders", {}, "kind"),
    (report_pb.REPORT_RATE_INVENTORY_MISMATCH, "inventory_mismatches", {}, "inventory_comparisons", {}, "source"),
    (report_pb.REPORT_RATE_LATE_SHIPMENT, "shipments_due", {**DUE, "result": "late"}, "shipments_due", DUE, ""),
    (report_pb.REPORT_RATE_MANUAL_INTERVENTION, "manual_interventions", {}, "sold_orders", {}, "reason"),
)
"""Each rate of a report with its part, its whole, and the label that names what the part consists of."""

pytestmark = pytest.mark.long


@dataclass(frozen=True, slots=True)
class PlayedDay:
    """A day that is over, and what has seen it; both still run."""

    truth: DayTruth
    prometheus: PrometheusServer
    server: str
    """The address of its gRPC."""


@pytest.fixture(scope="module")
def day(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlayedDay]:
    with contextmanager(new_database)(postgres_url, "template_truestock") as database_url:
        folder = tmp_path_factory.mktemp("day")
        asyncio.run(_state_headroom(database_url))
        arguments = ("--database-url", database_url, "--rules", str(write_day_rules(folder)))
        with service_process(*arguments) as addresses, prometheus_on(addresses.metrics, folder) as prometheus:
            truth = asyncio.run(_play(addresses.grpc, database_url, prometheus))
            yield PlayedDay(truth, prometheus, addresses.grpc)


async def _state_headroom(database_url: str) -> None:
    """A channel has stated its headroom before the service starts, which then looks once a minute only."""
    async with single_connection(database_url) as connection:
        await connection.execute(
            "INSERT INTO channel (id, kind, display_name, location_ids, cancellation_headroom)"
            f" VALUES ('{CHANNELS[0]}', 'web', '', '{{}}', {HEADROOM})"
        )


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


@pytest.mark.parametrize("source", ["service", "command"])
def test_a_report_is_the_truth_of_the_day(day: PlayedDay, source: str) -> None:
    answer = REPORTS[source](day)
    by_rate = {figures.rate: figures for figures in answer.figures}

    assert len(by_rate) == len(REPORTED)
    for rate, part, part_labels, whole, whole_labels, label in REPORTED:
        figures, name = by_rate[rate], report_pb.ReportRate.Name(rate)
        # The exceptions of a report are those that concern a channel.
        parts = day.truth.sums(part, label or "location", **part_labels)
        if part == "exceptions":
            of_no_channel = day.truth.sums(part, label, channel="none")
            parts = {kind: count for kind in parts if (count := parts[kind] - of_no_channel.get(kind, 0))}
        assert figures.count == sum(parts.values()), name
        assert figures.total_count == day.truth.total(whole, **whole_labels), name
        assert not label or {x.name: x.count for x in figures.parts} == parts, name
    oversold, cancelled = (by_rate[rate] for rate, *_ in REPORTED[:2])
    assert (oversold.order_count, cancelled.order_count) == tuple(
        day.truth.total(name) for name in ("oversold_orders", "cancelled_orders")
    )
    assert {part.name: part.count for part in answer.withheld} == {"held_by_buffer": KEPT_UNITS}


@pytest.mark.parametrize("source", ["service", "command"])
@pytest.mark.parametrize("dimension", ["channel", "location"])
def test_a_report_of_each_channel_and_location_is_the_truth_of_the_day(
    day: PlayedDay, dimension: str, source: str
) -> None:
    answer = REPORTS[source](day, dimension)
    (breakdown,) = answer.breakdowns
    groups = {group.key: {x.rate: (x.count, x.total_count) for x in group.figures} for group in breakdown.groups}

    assert groups.keys() >= set(SCOPES[dimension])
    for key in SCOPES[dimension]:
        for rate, part, part_labels, whole, whole_labels, _ in REPORTED:
            if part == "shipments_due" and dimension == "channel":
                part, whole = "channel_shipments_due", "channel_shipments_due"  # noqa: PLW2901
            if dimension in COUNTED[part]:
                own = {dimension: key}
                count = day.truth.total(part, **{**part_labels, **own})
                total = day.truth.total(whole, **{**whole_labels, **own})
                assert groups[key][rate] == (count, total), (key, report_pb.ReportRate.Name(rate))


def test_the_table_of_the_command_shows_the_truth_of_the_day(day: PlayedDay) -> None:
    shown = command(day)

    for _, part, part_labels, whole, whole_labels, _ in REPORTED:
        no_channel = day.truth.total(part, channel="none") if part == "exceptions" else 0
        count, total = day.truth.total(part, **part_labels) - no_channel, day.truth.total(whole, **whole_labels)
        assert re.search(rf"\b{count} of {total}\b", shown), (part, shown)


def test_the_alerts_of_the_day_s_troubles_are_raised_and_those_of_others_are_not(day: PlayedDay) -> None:
    raised = {dict(labels)["alertname"] for labels in day.prometheus.query("count by (alertname) (ALERTS)")}

    # How busy the machine is decides about the others.
    assert raised - {"TruestockEventLoopBlocked", "TruestockShedding"} == {
        "TruestockOversellBurnsFast",
        "TruestockOversellBurnsSlowly",
        "TruestockShipmentsLateFast",
        "TruestockShipmentsLateSlowly",
        "TruestockExceptionsOverdue",
    }


@pytest.mark.parametrize("file", ["operations.json", "service.json"])
def test_every_expression_of_a_dashboard_has_data_after_the_day(day: PlayedDay, file: str) -> None:
    panels = [x for x in json.loads((DASHBOARDS / file).read_text())["panels"] if x["type"] != "row"]

    assert panels
    for panel in panels:
        for target in panel["targets"]:
            expression = with_variables(target["expr"])
            values = day.prometheus.query(expression).values()
            assert any(math.isfinite(value) for value in values), f"{panel['title']}: {expression}"


def asked_report(day: PlayedDay, *dimensions: str) -> report_pb.GetReportResponse:
    """The report of the last hour, which has the whole day, from ReportService."""
    numbers = [report_pb.ReportDimension.Value(f"REPORT_DIMENSION_{name.upper()}") for name in dimensions]
    since = timestamp(datetime.now(UTC) - timedelta(hours=1))
    with grpc.insecure_channel(day.server) as channel:
        stub: Any = report_grpc.ReportServiceStub(channel)
        answer: report_pb.GetReportResponse = stub.GetReport(
            report_pb.GetReportRequest(since_time=since, dimensions=numbers)
        )
    return answer


def printed_report(day: PlayedDay, *dimensions: str) -> report_pb.GetReportResponse:
    """The same report, as `truestock report --json` prints it."""
    printed = command(day, "--json", *(f"--by={name}" for name in dimensions))
    return json_format.Parse(printed, report_pb.GetReportResponse())


def command(day: PlayedDay, *arguments: str) -> str:
    """What `truestock report` of the last hour prints."""
    program = [sys.executable, "-m", "service", "report", "--since", "1h", "--server", day.server, *arguments]
    return subprocess.run(program, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True).stdout


REPORTS = {"service": asked_report, "command": printed_report}


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
    label = rate.partition(":")[0]
    rates = {}
    for value in SCOPES[label]:
        share = truth.rate((part, {**part_labels, label: value}), (whole, {**whole_labels, label: value}))
        if share is not None:
            rates[frozenset({(label, value)})] = float(share)
    return rates
