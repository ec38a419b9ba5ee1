"""A fake channel, a Truestock and connectors between them: each a process of its own, over real HTTP and gRPC."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import REPOSITORY, service_process
from tests.connector_site import (
    ACCOUNT,
    CHANNEL,
    FakeChannel,
    accounts_text,
    environment,
    map_everything,
    send_webhooks,
    stand_of,
)
from tests.retailer import Retailer


@dataclass(slots=True)
class ConnectorProcess:
    """One `truestock channels serve`, which may be killed and started again at the same address."""

    arguments: Sequence[str]
    environment: dict[str, str]
    address: str = "127.0.0.1:0"
    metrics: str = ""
    process: subprocess.Popen[str] | None = None
    log: list[str] = field(default_factory=list)
    _reader: threading.Thread | None = None

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        command = [sys.executable, "-m", "service", "channels", "serve", "--address", self.address]
        self.process = subprocess.Popen(
            [*command, "--metrics-address", "127.0.0.1:0", *self.arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
            cwd=REPOSITORY,
        )
        self._wait_for_addresses(self.process)
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self._ended(self.process)

    def stop(self) -> None:
        """Ctrl-C."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self._ended(self.process)

    def _ended(self, process: subprocess.Popen[str]) -> None:
        process.wait(60)
        if self._reader is not None:
            self._reader.join(10)
        assert process.stdout is not None
        process.stdout.close()

    def _wait_for_addresses(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            found = re.search(r"webhooks\s+http://([^/\s]+)/.*\n\s+metrics\s+http://([^/\s]+)/", output)
            if found:
                self.address, self.metrics = found.groups()
                return
        raise AssertionError(f"the connectors did not start:\n{output}")

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.log.extend(process.stdout)


@dataclass(slots=True)
class Processes:
    """Everything that runs, and the commands of a person."""

    shop: FakeChannel
    retailer: Retailer
    folder: Path
    database_url: str
    server: str
    replicas: list[ConnectorProcess]
    more_secrets: dict[str, str] = field(default_factory=dict)
    metrics: str = ""
    """Where the service has its metrics, HOST:PORT."""

    def run(self, *words: str, code: int = 0) -> str:
        """Runs `truestock channels …` and returns what it prints."""
        result = subprocess.run(
            [sys.executable, "-m", "service", "channels", *words, *self._options(words)],
            capture_output=True,
            text=True,
            env=self._environment(),
            cwd=REPOSITORY,
            timeout=120,
            check=False,
        )
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout

    def json(self, *words: str) -> Any:
        """What a command prints with --json."""
        return json.loads(self.run(*words, "--json"))

    def subscribe(self, *urls: str) -> None:
        """Sends webhooks to the first replica, or to these."""
        account = stand_of(self.shop).account
        send_webhooks(self.shop, urls[0] if urls else f"http://{self.replicas[0].address}/webhooks/{account}")

    def verify_ledger(self) -> None:
        """Raises AssertionError unless every stock level is the sum of its movements."""
        command = [sys.executable, "-m", "service", "verify-ledger", "--database-url", self.database_url]
        result = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=120, check=False)
        assert result.returncode == 0, result.stdout + result.stderr

    def new_replica(self, *, poll_seconds: float = 1) -> ConnectorProcess:
        """A connector process that is not started yet."""
        arguments = ("--poll-seconds", f"{poll_seconds:g}", *self._options(("serve",)))
        return ConnectorProcess(arguments, self._environment())

    def _options(self, words: Sequence[str]) -> list[str]:
        chosen = [] if words[0] == "forget" else ["--database-url", self.database_url]
        if words[0] not in ("inbox", "forget"):
            chosen += ["--accounts", str(self.folder / "channels.yaml")]
        if words[0] in ("connect", "map", "serve", "forget"):
            chosen += ["--server", self.server]
        return chosen

    def _environment(self) -> dict[str, str]:
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("TRUESTOCK", "DATABASE"))}
        return {**outside, **environment(self.shop), **self.more_secrets}


@asynccontextmanager
async def processes(
    database_url: str,
    folder: Path,
    shop: FakeChannel,
    *,
    replicas: int = 1,
    units: dict[str, int] | None = None,
    poll_seconds: float = 1,
    more_accounts: str = "",
    more_secrets: dict[str, str] | None = None,
) -> AsyncIterator[Processes]:
    """Starts everything with the account connected and mapped, but webhooks not subscribed.

    `more_accounts` are entries of the accounts file that are neither connected nor mapped.
    """
    rules = REPOSITORY / "tests" / "rules"
    with ExitStack() as stack:
        serving = ("--database-url", database_url, "--rules", str(rules), "--no-sample")
        service = stack.enter_context(service_process(*serving))
        async with Retailer.connect_to_process(service.grpc, database_url) as retailer:
            await map_everything(retailer, shop, units or {"MUG": 100, "TRAY": 100})
            (folder / "channels.yaml").write_text(accounts_text(shop) + more_accounts)
            running = Processes(
                shop, retailer, folder, database_url, service.grpc, [], more_secrets or {}, service.metrics
            )
            stand = stand_of(shop)
            running.run("connect", stand.account, "--code", stand.code)
            shop.unsubscribe()
            for _ in range(replicas):
                running.replicas.append(stack.enter_context(started(running.new_replica(poll_seconds=poll_seconds))))
            yield running


@contextmanager
def started(replica: ConnectorProcess) -> Iterator[ConnectorProcess]:
    """A connector process that runs until the block ends."""
    replica.start()
    try:
        yield replica
    finally:
        replica.stop()


__all__ = ["ACCOUNT", "CHANNEL", "ConnectorProcess", "Processes", "processes", "started"]
