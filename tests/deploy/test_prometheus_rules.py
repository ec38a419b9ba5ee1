"""The rules and alerts for Prometheus: they compute what they say, and speak of metrics and runbooks that exist."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from service.channels.connector_metrics import ConnectorMetrics
from service.metrics import Metrics
from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "deploy" / "prometheus"
RUNBOOKS = REPOSITORY / "docs" / "runbooks"
PROMTOOL = shutil.which("promtool")
RULE_FILES = ("recording-rules.yml", "alerts.yml")

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed (Debian/Ubuntu: apt-get install prometheus)"
)


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROMTOOL), *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False
    )


@needs_promtool
def test_rates_are_computed_and_alerts_fire_when_they_should_and_only_then() -> None:
    checked = promtool("check", "rules", *RULE_FILES)
    tested = promtool("test", "rules", "rules-test.yml")

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert tested.returncode == 0, tested.stdout + tested.stderr


def known_metrics() -> set[str]:
    """The names of all series that the service and its connectors have."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.start_channels(["web"], ["dc"])
    known = set()
    for family in [*registry.collect(), *ConnectorMetrics().registry.collect()]:
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(family.type, [""])
        known |= {family.name + suffix for suffix in suffixes}
    return known


@needs_promtool
def test_names_units_and_texts_of_metrics_are_as_prometheus_wants_them() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.start_channels(["web"], ["dc"])
    metrics.exceptions.start_owners(["desk"], ["lead"])
    metrics.orders.set_headrooms({"web": 0.5})
    page = generate_latest(registry) + generate_latest(_connectors_at_work().registry)

    checked = subprocess.run(
        [str(PROMTOOL), "check", "metrics"], input=page, capture_output=True, check=False, timeout=60
    )

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    assert b"_created" not in page


def _connectors_at_work() -> ConnectorMetrics:
    metrics = ConnectorMetrics()
    metrics.left_out.labels("shop", "not_shipped").inc()
    for gauge in (metrics.oldest_hint, metrics.waiting, metrics.unmapped, metrics.parked, metrics.paused):
        gauge.labels("shop").set(1)
    metrics.poll_behind.labels("shop", "order").set(1)
    return metrics


def test_rules_name_only_metrics_that_the_service_has() -> None:
    for name in RULE_FILES:
        text = re.sub(r"\w+:\w+:\w+", "", (FOLDER / name).read_text())
        used = set(re.findall(r"\btruestock_\w+(?=[\[{)])", text))
        assert used, name
        assert used <= known_metrics(), f"{name}: {sorted(used - known_metrics())}"


def test_every_alert_has_a_runbook_and_every_runbook_names_its_alerts() -> None:
    alerts = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    runbooks: dict[str, set[str]] = {}
    for rule in alerts["groups"][0]["rules"]:
        runbooks.setdefault(rule["annotations"]["runbook"], set()).add(rule["alert"])

    assert runbooks.keys() == {f"docs/runbooks/{path.name}" for path in RUNBOOKS.glob("*.md")}
    for path, names in runbooks.items():
        assert set(re.findall(r"`(Truestock\w+)`", (REPOSITORY / path).read_text())) == names, path
