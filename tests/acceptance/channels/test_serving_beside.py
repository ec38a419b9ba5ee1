"""`truestock serve --channels FILE`: a laptop needs one command for the service and its connectors."""

from __future__ import annotations

import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.conftest import REPOSITORY, service_process
from tests.connector_site import ACCOUNT, CHANNEL, accounts_text, environment, map_everything, until
from tests.fakes.tiktok_shop.shop import TikTokShop
from tests.retailer import Retailer


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.long
async def test_connectors_start_and_stop_with_the_service(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules, file = REPOSITORY / "tests" / "rules", tmp_path / "channels.yaml"
    webhooks, metrics = _free_address(), _free_address()
    addresses = {"TRUESTOCK_CHANNELS_ADDRESS": webhooks, "TRUESTOCK_CHANNELS_METRICS_ADDRESS": metrics}
    with TikTokShop(start=datetime.now(UTC) - timedelta(hours=1)).serving() as shop:
        file.write_text(accounts_text(shop, f"http://{webhooks}"))
        for name, secret in environment(shop).items():
            monkeypatch.setenv(name, secret)
        serving = ("--database-url", database_url, "--rules", str(rules), "--no-sample", "--channels", str(file))
        with service_process(*serving, more_environment=addresses) as service:
            async with Retailer.connect_to_process(service.grpc, database_url) as retailer:
                await map_everything(retailer, shop, {"MUG": 10})
                _connect(service.grpc, database_url, file, shop)
                order = shop.books.buy({"MUG": 1})
                assert order is not None

                async def arrives() -> Any:
                    try:
                        return await retailer.find_order(f"{CHANNEL}/{order.id}")
                    except grpc.aio.AioRpcError:
                        return None

                await until(arrives, "the order")
                took_webhooks = _answers(webhooks)

    assert took_webhooks
    assert not _answers(webhooks)
    assert not _answers(metrics)


@pytest.mark.long
def test_an_accounts_file_with_a_mistake_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "channels.yaml"
    file.write_text("accounts: []\n")
    command = [sys.executable, "-m", "service", "serve", "--data-dir", str(tmp_path / "data"), "--channels", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False, timeout=60)

    assert result.returncode == 1
    assert "channels.yaml:1:1" in result.stderr
    assert not (tmp_path / "data").exists()


def _connect(server: str, database_url: str, file: Path, shop: TikTokShop) -> None:
    command = [sys.executable, "-m", "service", "channels", "connect", ACCOUNT, "--code", shop.tokens.auth_code]
    options = ["--server", server, "--database-url", database_url, "--accounts", str(file)]
    subprocess.run([*command, *options], check=True, capture_output=True, cwd=REPOSITORY, timeout=120)
