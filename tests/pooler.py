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
from pathlib import Path

import pytest

from tests.server_socket import options_of

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")

needs_pgbouncer = pytest.mark.skipif(
    PROGRAM is None, reason="PgBouncer is not installed (Debian/Ubuntu: apt-get install pgbouncer)"
)

PORT = "6543"
"""Only a part of the socket's name: nothing listens on TCP."""


@contextmanager
def pgbouncer(database_url: str, *, pool_mode: str = "transaction", pool_size: int = 2) -> Iterator[str]:
    """A PgBouncer in front of the database of an embedded server; yields the URL through it."""
    assert PROGRAM is not None
    options = options_of(database_url)
    server, port = options["host"], options["port"]
    # Only the service's user can read the file.
    password = Path(options["passfile"]).read_text().strip().rpartition(":")[2]
    # It refuses to run as root, and the socket of the server belongs to the account of the server.
    owner = Path(server).stat()
    account = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
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
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, str(settings)], stdout=log, stderr=log, **account)  # type: ignore[call-overload]
    try:
        _wait_until_it_listens(folder / f".s.PGSQL.{PORT}", process)
        yield f"{database_url.partition('?')[0]}?host={folder}&port={PORT}"
    finally:
        process.terminate()
        process.wait(timeout=10)
        shutil.rmtree(folder)


def _wait_until_it_listens(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as attempt:
            if attempt.connect_ex(str(path)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError(f"PgBouncer did not start: {(path.parent / 'log').read_text()}")
