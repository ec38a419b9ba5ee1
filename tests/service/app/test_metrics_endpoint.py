"""The metrics port: callers that hang up, and errors of its own, do not fill the log."""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Iterator
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from service.app.metrics_endpoint import MetricsServer
from service.metrics import Metrics
from service.settings import Address
from tests.conftest import REPOSITORY


class BrokenCollector:
    """A collector that raises, once the registry has it."""

    def collect(self) -> Iterator[object]:
        raise ValueError("no figure")

    def describe(self) -> Iterator[object]:
        return iter(())


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def server(registry: CollectorRegistry) -> Iterator[MetricsServer]:
    server = MetricsServer(Address("127.0.0.1", 0), registry)
    yield server
    server.close()


def test_a_probe_that_hangs_up_writes_nothing(server: MetricsServer, capfd: pytest.CaptureFixture[str]) -> None:
    for request in (b"", b"GET /metrics HTTP/1.0\r\n\r\n", b"GET"):
        with socket.create_connection(("127.0.0.1", server.port)) as probe:
            probe.sendall(request)
            # Closes with a reset, as many load balancers do.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    time.sleep(0.1)

    assert urlopen(f"http://127.0.0.1:{server.port}/healthz").read() == b"alive\n"
    assert capfd.readouterr() == ("", "")


def test_an_error_that_repeats_is_logged_once_with_its_traceback(
    server: MetricsServer, registry: CollectorRegistry, capfd: pytest.CaptureFixture[str]
) -> None:
    registry.register(BrokenCollector())  # type: ignore[arg-type]

    with capture_logs() as lines:
        for _ in range(3):
            with pytest.raises((URLError, ConnectionError)):
                urlopen(f"http://127.0.0.1:{server.port}/metrics")

    [line] = lines
    assert line["error"].startswith("ValueError (test_metrics_endpoint.py:")
    assert line["exc_info"]
    assert capfd.readouterr() == ("", "")


def test_a_caller_that_accepts_openmetrics_gets_it_with_exemplars_and_others_the_older_text(
    server: MetricsServer, registry: CollectorRegistry
) -> None:
    metrics = Metrics(registry)
    metrics.orders.oversold_orders.labels("web", "race").inc(exemplar={"decision_id": "d-1"})
    accepts = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}

    with urlopen(Request(f"http://127.0.0.1:{server.port}/metrics", headers=accepts)) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        families = {x.name: x for x in openmetrics_families(answer.read().decode())}  # type: ignore[no-untyped-call]
    with urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        older = {family.name for family in text_string_to_metric_families(answer.read().decode())}

    [sample] = [x for x in families["truestock_oversold_orders"].samples if x.name.endswith("_total")]
    assert sample.exemplar is not None
    assert sample.exemplar.labels == {"decision_id": "d-1"}
    assert families.keys() == older
    assert not [name for name in older if name.endswith("_created")]


def test_the_readme_names_every_metric_and_its_labels(registry: CollectorRegistry) -> None:
    Metrics(registry).start_channels(["web"], ["dc"])
    section = (REPOSITORY / "README.md").read_text().split("## What is measured")[1].split("\n## ")[0]
    named = dict(re.findall(r"`([a-z_]+)(?:\{([a-z_,]+)\})?`", section))

    for family in registry.collect():
        name = family.name.removeprefix("truestock_") + ("_total" if family.type == "counter" else "")
        assert name in named, f"{name} is not in the README"
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        stated = set(named[name].split(",")) - {""}
        # One that is described as "per channel" states no labels.
        assert not stated or not labels or stated == labels, f"{name} has labels {labels}, and the README says {stated}"
