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
_ADDRESSES = re.compile(r"gRPC\s+(\S+).*\n\s+metrics\s+http://([^/\s]+)")


@dataclass(slots=True)
class ServerProcess:
    """One service of a database; `python` and `folder` are those of another version."""

    database_url: str
    arguments: Sequence[str] = ()
    python: Path = Path(sys.executable)
    folder: Path = REPOSITORY
    address: str = "127.0.0.1:0"
    metrics: str = "127.0.0.1:0"
    process: subprocess.Popen[bytes] | None = None
    log: Path = field(default_factory=lambda: Path(tempfile.mkstemp(prefix="truestock-log-")[1]))

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        kept = {x: y for x, y in os.environ.items() if not x.startswith(("TRUESTOCK_", "DATABASE_", "PYTHONPATH"))}
        path = os.pathsep.join((str(self.folder), str(self.folder / "protos")))
        command = [str(self.python), "-m", "service", "serve", "--rules", str(PLAIN_RULES), "--no-sample"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--address", self.address, "--metrics-address", self.metrics, *self.arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={
                    **kept,
                    "PYTHONPATH": path,
                    "DATABASE_URL": service_url(self.database_url),
                    "TRUESTOCK_LOG_CALLS_PER_SECOND": "0",
                    "TRUESTOCK_DRAIN_SECONDS": "2",
                },
                cwd=self.folder,
            )
        self.address, self.metrics = self._addresses(self.process)

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
