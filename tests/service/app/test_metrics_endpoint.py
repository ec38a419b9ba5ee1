"""The metrics port: callers that hang up, and errors of its own, do not fill the log."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
import trustme
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from service.app.metrics_endpoint import MetricsServer
from service.auth.authentication import Authentication
from service.auth.certificates import CertificateFiles
from service.auth.tokens import PREFIX
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


ACCESS = """
principals:
  - name: prometheus
    roles: [read]
    certificates: [prometheus.example]
    tokens: [{{sha256: {read}, created: 2026-01-01}}]
  - {{name: till, roles: [stock], tokens: [{{sha256: {stock}, created: 2026-01-01}}]}}
  - {{name: web, roles: [read], channels: [web], tokens: [{{sha256: {bound}, created: 2026-01-01}}]}}
"""
TOKENS = {name: f"{PREFIX}{name * 8}" for name in ("read", "stock", "bound")}


def access_file(folder: Path) -> Path:
    path = folder / "access.yaml"
    path.write_text(ACCESS.format(**{name: sha256(token.encode()).hexdigest() for name, token in TOKENS.items()}))
    return path


@pytest.fixture
def guarded(registry: CollectorRegistry, tmp_path: Path) -> Iterator[MetricsServer]:
    server = MetricsServer(Address("127.0.0.1", 0), registry, authentication=Authentication(access_file(tmp_path)))
    server.ready = True
    yield server
    server.close()


def status(server: MetricsServer, path: str, *headers: str) -> int:
    lines = "".join(f"{header}\r\n" for header in headers)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n{lines}\r\n".encode())
        return int(connection.makefile().readline().split()[1])


def test_with_an_access_file_metrics_are_for_whoever_may_read_everything(guarded: MetricsServer) -> None:
    bearer = {name: f"Authorization: Bearer {token}" for name, token in TOKENS.items()}

    assert status(guarded, "/metrics", bearer["read"]) == 200
    assert status(guarded, "/metrics") == 401
    assert status(guarded, "/metrics", bearer["read"] + "x") == 401
    assert status(guarded, "/metrics", bearer["read"], bearer["read"]) == 401
    assert status(guarded, "/metrics", "Authorization: Basic dXNlcjpwYXNz") == 401
    assert status(guarded, "/metrics", bearer["stock"]) == 403
    assert status(guarded, "/metrics", bearer["bound"]) == 403


def test_probes_of_health_need_no_token(guarded: MetricsServer) -> None:
    assert status(guarded, "/healthz") == 200
    assert status(guarded, "/readyz") == 200


def test_a_client_certificate_takes_the_place_of_a_token(registry: CollectorRegistry, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    own = authority.issue_cert("localhost")
    own.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    own.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    certificates = CertificateFiles(tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem")
    authentication = Authentication(access_file(tmp_path))
    server = MetricsServer(Address("127.0.0.1", 0), registry, certificates, authentication=authentication)
    found = {}
    for name in ("prometheus.example", "other.example"):
        context = ssl.create_default_context()
        authority.configure_trust(context)
        authority.issue_cert(name).configure_cert(context)
        try:
            with urlopen(f"https://localhost:{server.port}/metrics", context=context, timeout=10) as response:
                found[name] = response.status
        except HTTPError as error:
            found[name] = error.code
            error.close()
    server.close()

    assert found == {"prometheus.example": 200, "other.example": 401}
