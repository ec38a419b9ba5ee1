"""A real PgBouncer for tests, where it is installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.database.embedded.location import Account, command_of
from tests.server_socket import options_of

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")

needs_pgbouncer = pytest.mark.skipif(
    PROGRAM is None, reason="PgBouncer is not installed (Debian/Ubuntu: apt-get install pgbouncer)"
)

PORT = "6543"
"""Only a part of the socket's name: nothing listens on TCP."""


@dataclass(slots=True)
class Pooler:
    """A PgBouncer that a test may kill and start again; `url` is that of the database through it."""

    url: str
    folder: Path
    account: Account | None
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and waits until it listens."""
        assert PROGRAM is not None
        with (self.folder / "log").open("wb") as log:
            # Not by `user=`: subprocess would call fork(), which crashes where other threads are busy in gRPC.
            command = command_of(self.account, [PROGRAM, str(self.folder / "pgbouncer.ini")])
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        _wait_until_it_listens(self.folder / f".s.PGSQL.{PORT}", self.process)

    def kill(self) -> None:
        """kill -9, which leaves its socket behind."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=10)
        (self.folder / f".s.PGSQL.{PORT}").unlink(missing_ok=True)


@contextmanager
def pgbouncer(database_url: str, *, pool_mode: str = "transaction", pool_size: int = 2) -> Iterator[str]:
    """A PgBouncer in front of the database of an embedded server; yields the URL through it."""
    with pooler(database_url, pool_mode=pool_mode, pool_size=pool_size) as running:
        yield running.url


@contextmanager
def pooler(database_url: str, *, pool_mode: str = "transaction", pool_size: int = 2) -> Iterator[Pooler]:
    """A PgBouncer in front of the database of an embedded server."""
    options = options_of(database_url)
    server, port = options["host"], options["port"]
    # Only the service's user can read the file.
    password = Path(options["passfile"]).read_text().strip().rpartition(":")[2]
    # It refuses to run as root, and the socket of the server belongs to the account of the server.
    owner = Path(server).stat()
    account = Account(owner.st_uid, owner.st_gid) if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-", dir="/tmp"))
    folder.chmod(0o755)
    os.chown(folder, owner.st_uid, owner.st_gid)
    settings = folder / "pgbouncer.ini"
    settings.touch(0o600)
    os.chown(settings, owner.st_uid, owner.st_gid)
    settings.write_text(
        f"[databases]\n* = host={server} port={port} user=truestock password={password}\n"
        f"[pgbouncer]\nlisten_addr =\nunix_socket_dir = {folder}\nlisten_port = {PORT}\nauth_type = any\n"
        f"pool_mode = {pool_mode}\ndefault_pool_size = {pool_size}\n"
    )
    running = Pooler(f"{database_url.partition('?')[0]}?host={folder}&port={PORT}", folder, account)
    try:
        running.start()
        yield running
    finally:
        if running.process is not None:
            running.process.terminate()
            running.process.wait(timeout=10)
        shutil.rmtree(folder)


def _wait_until_it_listens(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as attempt:
            if attempt.connect_ex(str(path)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError(f"PgBouncer did not start: {(path.parent / 'log').read_text()}")
