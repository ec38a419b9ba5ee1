"""`truestock serve` as processes that a test kills and starts again at the same address."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import PLAIN_RULES, REPOSITORY, service_url

START_SECONDS = 90.0
RULES = PLAIN_RULES.relative_to(REPOSITORY)
_ADDRESSES = re.compile(r"gRPC\s+(\S+).*\n\s+metrics\s+http://([^/\s]+)")


@dataclass(slots=True)
class ServerProcess:
    """One service of a database; `python` and `folder` are those of another version, `is_owner` its role."""

    database_url: str
    arguments: Sequence[str] = ()
    python: Path = Path(sys.executable)
    folder: Path = REPOSITORY
    is_owner: bool = False
    address: str = "127.0.0.1:0"
    metrics: str = "127.0.0.1:0"
    process: subprocess.Popen[bytes] | None = None
    log: Path = field(default_factory=lambda: Path(tempfile.mkstemp(prefix="truestock-log-")[1]))

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command(
                    *("serve", "--rules", str(self.folder / RULES), "--no-sample"),
                    *("--address", self.address, "--metrics-address", self.metrics, *self.arguments),
                ),
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                cwd=self.folder,
            )
        self.address, self.metrics = self._addresses(self.process)

    def start_this_version(self) -> None:
        """Starts the version of this working tree in its place, at the same address."""
        self.python, self.folder = Path(sys.executable), REPOSITORY
        self.start()

    def migrate(self) -> None:
        """Migrates the database to the schema of its version."""
        command = self._command("migrate")
        subprocess.run(command, env=self._environment(), cwd=self.folder, check=True, capture_output=True)

    def _command(self, *words: str) -> list[str]:
        return [str(self.python), "-m", "service", *words]

    def _environment(self) -> dict[str, str]:
        kept = {x: y for x, y in os.environ.items() if not x.startswith(("TRUESTOCK_", "DATABASE_", "PYTHONPATH"))}
        return kept | {
            "PYTHONPATH": os.pathsep.join((str(self.folder), str(self.folder / "protos"))),
            "DATABASE_URL": self.database_url if self.is_owner else service_url(self.database_url),
            "TRUESTOCK_LOG_CALLS_PER_SECOND": "0",
            "TRUESTOCK_DRAIN_SECONDS": "2",
        }

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> None:
        """What a service manager does."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)

    def _addresses(self, process: subprocess.Popen[bytes]) -> tuple[str, str]:
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if found := _ADDRESSES.search(self.log.read_text(errors="replace")):
                return found[1], found[2]
            time.sleep(0.05)
        raise AssertionError(f"the service did not start:\n{self.log.read_text(errors='replace')}")


@contextmanager
def server_processes(*servers: ServerProcess) -> Iterator[tuple[ServerProcess, ...]]:
    """Starts them one after another; at the end those that run are stopped."""
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.log.unlink)
            stack.callback(server.stop)
            server.start()
        yield servers
