"""`truestock readiness`: a table or JSON, an exit code for pipelines, and what Prometheus has loaded."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from policies.readiness.service_answers import ALERTS, PrometheusState, alerts_loaded
from service.cli.console import UserError
from service.cli.prometheus_rules import loaded_alerts
from tests.prometheus_server import prometheus_on
from tests.service.cli.test_cli import Result, run, shop

__all__ = ["run", "shop"]

Ask = Callable[..., Result]


@pytest.fixture
def prometheus() -> Iterator[Callable[[Any], str]]:
    """Serves an answer as the list of rules of a Prometheus; returns its URL."""
    answers: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_rules = self.path == "/api/v1/rules?type=alert"
            self.send_response(200 if is_rules else 404)
            self.end_headers()
            self.wfile.write(answers[-1] if is_rules else b"")

        def log_message(self, *arguments: object) -> None:
            """Prints nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def serve(answer: Any) -> str:
        answers.append(answer if isinstance(answer, bytes) else json.dumps(answer).encode())
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield serve
    server.shutdown()
    thread.join()
    server.server_close()


def rules_answer(**health: str) -> dict[str, Any]:
    rules = [{"type": "alerting", "name": name, "health": health.get(name, "ok")} for name in ALERTS]
    recording = {"type": "recording", "name": "some:sum", "health": "ok"}
    return {"status": "success", "data": {"groups": [{"rules": [*rules, recording]}]}}


def test_readiness_is_a_table_with_an_exit_code_and_a_history(shop: Ask, prometheus: Callable[[Any], str]) -> None:
    asked = shop("readiness", "--channel", "shopify", "--prometheus", prometheus(rules_answer()))
    strict = shop("readiness", "--channel", "shopify", "--strict", "--json")
    history = shop("readiness", "--channel", "shopify", "--history").out

    assert (asked.code, strict.code) == (1, 1)
    line = next(line for line in asked.out.splitlines() if line.lstrip().startswith("product_data"))
    assert "2 products without barcode: BOWL, MUG" in line
    assert "never" in line
    assert f"{len(ALERTS)} alerts loaded" in asked.out
    assert "shopify: fail (" in asked.out
    by_question = {answer["question"]: answer for answer in strict.data["answers"]}
    assert by_question["alerts_loaded"]["result"] == "READINESS_RESULT_WARN"
    assert by_question["alerts_loaded"]["last_pass_time"] < by_question["alerts_loaded"]["since_time"]
    assert "product_data" in history
    assert "2 checks" in history


def test_a_prometheus_is_asked_for_its_alerts(prometheus: Callable[[Any], str]) -> None:
    state = loaded_alerts(prometheus(rules_answer(TruestockFeedSilent="err")))

    assert sorted(state.alert_names) == sorted(ALERTS)
    assert list(state.failing_alert_names) == ["TruestockFeedSilent"]


@pytest.mark.parametrize("answer", [b"<html>", {"status": "error"}, {"data": {"groups": [{}]}}, b"[1]"])
def test_what_is_no_prometheus_is_said(prometheus: Callable[[Any], str], answer: Any) -> None:
    assert "not that of a Prometheus" in loaded_alerts(prometheus(answer)).error


def test_a_prometheus_that_does_not_answer_is_said(prometheus: Callable[[Any], str]) -> None:
    assert "could not be asked" in loaded_alerts("http://127.0.0.1:1").error
    assert "status 404" in loaded_alerts(prometheus({}) + "/elsewhere").error


@pytest.mark.parametrize("url", ["prometheus:9090", "file:///etc/passwd", ""])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="no URL of a Prometheus"):
        loaded_alerts(url)


@pytest.mark.long
def test_a_real_prometheus_has_loaded_every_alert_of_the_file_to_deploy(tmp_path: Path) -> None:
    with prometheus_on("127.0.0.1:1", tmp_path) as server:
        state = loaded_alerts(f"http://{server.address}")

    answer = alerts_loaded(PrometheusState(state.error, tuple(state.alert_names)))
    assert (answer.finding, answer.advice) == (f"{len(ALERTS)} alerts loaded", "")
