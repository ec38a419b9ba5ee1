"""Who may read the metrics of connectors."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter
from starlette.testclient import TestClient

from service.channels import health
from service.cli.connectors.serving import metrics_token
from service.cli.console import UserError


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("deliveries", "Deliveries.", registry=registry).inc()
    return registry


def test_metrics_need_the_token_in_the_file_and_health_needs_none(registry: CollectorRegistry, tmp_path: Path) -> None:
    file = tmp_path / "prometheus.token"
    file.write_text("first-token\n")
    client = TestClient(health.app(registry, lambda: True, metrics_token(file)))

    def status(token: str) -> int:
        return client.get("/metrics", headers={"authorization": f"Bearer {token}"}).status_code

    assert client.get("/metrics").status_code == 401
    assert [status("first-token"), status("first-toke"), status("")] == [200, 401, 401]
    assert [client.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]
    file.write_text("second-token\n")
    assert [status("first-token"), status("second-token")] == [401, 200]
    file.unlink()
    assert status("second-token") == 503


def test_everybody_who_can_connect_reads_metrics_where_no_token_is_named(registry: CollectorRegistry) -> None:
    answer = TestClient(health.app(registry, lambda: True)).get("/metrics")

    assert answer.status_code == 200
    assert "deliveries_total 1.0" in answer.text


@pytest.mark.parametrize("content", [None, b"", b"two words", b"\xff\xfe"])
def test_connectors_do_not_start_with_a_file_without_a_token(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "prometheus.token"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(UserError, match=r"prometheus\.token"):
        metrics_token(file)
