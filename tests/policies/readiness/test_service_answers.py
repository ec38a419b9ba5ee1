"""Whether the service is watched, adds up, and has the rules that were saved."""

from datetime import timedelta
from pathlib import Path

import yaml

from policies.readiness.answers import Result
from policies.readiness.service_answers import (
    ALERTS,
    LedgerResult,
    PrometheusState,
    ReloadState,
    Scrape,
    alerts_loaded,
    ledger_verified,
    metrics_scraped,
    rules_reload,
)
from tests.policies.small_retailer import NOW

ALERT_FILE = Path(__file__).parents[3] / "deploy" / "prometheus" / "alerts.yml"


def test_every_alert_that_is_asked_for_is_in_the_file_to_deploy_and_only_those_of_connectors_are_not_asked_for() -> (
    None
):
    groups = yaml.safe_load(ALERT_FILE.read_text())["groups"]
    names = {rule["alert"] for group in groups for rule in group["rules"]}

    assert set(ALERTS) <= names
    assert all(name.startswith("TruestockChannel") for name in names - set(ALERTS))


def test_metrics_that_nobody_reads_warn_nobody() -> None:
    minute_ago, hour_ago = (Scrape(NOW - age, "Prometheus/3.5.0") for age in (timedelta(minutes=1), timedelta(hours=1)))

    assert metrics_scraped(None, NOW).result is Result.FAIL
    assert metrics_scraped(hour_ago, NOW).result is Result.FAIL
    assert metrics_scraped(minute_ago, NOW).finding == "last read 1 minute ago by Prometheus/3.5.0"


def test_every_alert_must_be_loaded_and_evaluate() -> None:
    assert alerts_loaded(None).result is Result.WARN
    assert alerts_loaded(PrometheusState("refused")).result is Result.FAIL
    assert alerts_loaded(PrometheusState(alert_names=ALERTS[1:])).details == (ALERTS[0],)
    assert alerts_loaded(PrometheusState("", ALERTS, (ALERTS[0],))).result is Result.FAIL
    assert alerts_loaded(PrometheusState("", (*ALERTS, "OtherAlert"), ("OtherAlert",))).result is Result.PASS


def test_a_ledger_must_have_been_verified_lately_and_add_up() -> None:
    assert ledger_verified(None, NOW).result is Result.FAIL
    assert ledger_verified(LedgerResult(NOW, 2), NOW).result is Result.FAIL
    assert ledger_verified(LedgerResult(NOW - timedelta(days=2), 0), NOW).result is Result.WARN
    assert ledger_verified(LedgerResult(NOW, 0), NOW).result is Result.PASS


def test_a_refused_folder_is_named_with_its_problems() -> None:
    answer = rules_reload(ReloadState("abc", NOW, NOW, ("rules/x.yaml:3: there is no fact",)))

    assert (answer.result, answer.details) == (Result.FAIL, ("rules/x.yaml:3: there is no fact",))
    assert rules_reload(ReloadState("abc", NOW)).result is Result.PASS
