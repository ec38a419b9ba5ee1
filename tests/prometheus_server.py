"""A real Prometheus that scrapes a service and evaluates the rules of deploy/prometheus.

Its groups of rules are evaluated as often as it scrapes: a window of 30 days that is recomputed every five minutes has
the same value then, but a test need not wait for it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY

RULES = REPOSITORY / "deploy" / "prometheus"
RULE_FILES = ("recording-rules.yml", "alerts.yml")
SCRAPE_SECONDS = 1.0
WAIT_SECONDS = 60.0
"""A scrape and an evaluation take a second. What takes this long has failed."""

Labels = frozenset[tuple[str, str]]


def prometheus_program() -> str:
    """The program; skips the test where it is not installed, and fails it where `.ci/run` should have installed it."""
    program = shutil.which("prometheus")
    if program is None:
        missing = "prometheus is not installed (Debian/Ubuntu: apt-get install prometheus)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return program


class PrometheusServer:
    """Asks a running Prometheus."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._moment: float | None = None
        self._last_query = 0.0

    def query(self, expression: str) -> dict[Labels, float]:
        """The samples of an instant vector by their labels without those of the scrape; one without labels is ().

        They are as of now or, once `wait_for_scrape` has returned, as of then.
        """
        self._last_query = self._moment or time.time()
        answer = self._get("query", query=expression, time=self._last_query)
        assert answer["resultType"] in {"vector", "scalar"}, expression
        if answer["resultType"] == "scalar":
            return {frozenset(): float(answer["result"][1])}
        return {_labels(sample["metric"]): float(sample["value"][1]) for sample in answer["result"]}

    def wait_for_scrape(self, metric: str) -> None:
        """Waits until everything that the service has counted by now is scraped, and all rules have seen it.

        From then on every query is as of that moment: a scrape that fails later on a busy machine changes no answer.
        """
        now = time.time()
        self._wait(lambda: min(self.query(f"timestamp({metric})").values(), default=0) > now)
        # An evaluation is as of its turn, which may have been due one interval before it began.
        scraped = time.time() + SCRAPE_SECONDS
        self._wait(lambda: min(self._evaluation_times()) > scraped)
        self._wait(lambda: bool(self.query(metric)))
        self._moment = self._last_query

    def wait_until_seen(self, *expressions: str) -> None:
        """Waits until each expression has samples."""
        for expression in expressions:
            self._wait(lambda expression=expression: bool(self.query(expression)))  # type: ignore[misc]

    def _evaluation_times(self) -> list[float]:
        """When each group of rules was evaluated last, in Unix seconds."""
        return [datetime.fromisoformat(group["lastEvaluation"]).timestamp() for group in self._get("rules")["groups"]]

    def _wait(self, is_true: Callable[[], bool]) -> None:
        until = time.monotonic() + WAIT_SECONDS
        while not is_true():
            assert time.monotonic() < until, f"Prometheus did not see it within {WAIT_SECONDS:g} s"
            time.sleep(0.1)

    def _get(self, method: str, **parameters: object) -> Any:
        url = f"http://{self.address}/api/v1/{method}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=WAIT_SECONDS) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error


@contextmanager
def prometheus_on(metrics_address: str, folder: Path) -> Iterator[PrometheusServer]:
    """A Prometheus on a free port that scrapes this address; its data and log are in `folder`."""
    program = prometheus_program()
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(_config(metrics_address)), encoding="utf-8")
    for name in RULE_FILES:
        rules = (RULES / name).read_text(encoding="utf-8")
        (folder / name).write_text(re.sub(r"(?m)^    interval: .*\n", "", rules), encoding="utf-8")
    log = folder / "prometheus.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--web.listen-address=127.0.0.1:0",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield PrometheusServer(_address_of(process, log))
    finally:
        process.terminate()
        process.wait(timeout=WAIT_SECONDS)


def _config(metrics_address: str) -> dict[str, Any]:
    often = f"{SCRAPE_SECONDS * 1000:g}ms"
    return {
        "global": {"scrape_interval": often, "scrape_timeout": often, "evaluation_interval": often},
        "rule_files": list(RULE_FILES),
        "scrape_configs": [{"job_name": "truestock", "static_configs": [{"targets": [metrics_address]}]}],
    }


def _address_of(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + WAIT_SECONDS
    while process.poll() is None and time.monotonic() < until:
        text = log.read_text()
        listening = re.search(r'msg="Listening on" address=(\S+)', text)
        if listening and "Server is ready to receive web requests" in text:
            return listening[1]
        time.sleep(0.05)
    raise AssertionError(f"Prometheus did not start:\n{log.read_text()}")


def _labels(metric: dict[str, str]) -> Labels:
    return frozenset((name, value) for name, value in metric.items() if name not in {"__name__", "instance", "job"})
