"""PostgreSQL servers of the installed packages on loopback, which tests stop, kill and promote."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import psutil
import pytest

from service.database.embedded.location import Account, command_of
from tests.waiting import wait_until

POSTGRES = [path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))]
"""Folders of the programs, of the newest version last."""
IS_REQUIRED = os.environ.get("HIGH_AVAILABILITY") == "required"
"""Whether a test must fail where its programs are not installed."""

needs_postgresql = pytest.mark.skipif(
    not POSTGRES and not IS_REQUIRED, reason="PostgreSQL is not installed (Debian/Ubuntu: apt-get install postgresql)"
)


@dataclass(slots=True)
class PostgresServer:
    """One server with the database `shop`; its user is `postgres`."""

    folder: Path
    port: int
    password: str
    account: Account | None
    settings: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "shop") -> str:
        """The URL of one of its databases."""
        return f"postgresql://postgres:{self.password}@{self.host}/{database}"

    @property
    def log(self) -> Path:
        """What it writes to standard error."""
        return self.folder / f"log-{self.port}"

    @property
    def host(self) -> str:
        """Its host and port in a URL."""
        return f"127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.folder / f"data-{self.port}"

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        options = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off"}
        words = [word for name, value in {**options, **self.settings}.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            command = command_of(self.account, [str(POSTGRES[-1] / "postgres"), "-D", str(self.data), *words])
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        wait_until(self._answers, 60, f"PostgreSQL on port {self.port} answers")

    def kill(self) -> None:
        """kill -9; its sessions end by themselves."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends it at once, if it runs."""
        self.send(signal.SIGCONT)
        self._end(signal.SIGQUIT)

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to all its processes, of which each leads a group of its own."""
        if self.process is None or self.process.poll() is not None:
            return
        server = psutil.Process(self.process.pid)
        for process in (server, *server.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def run(self, program: str, *arguments: str, output: str = "") -> str:
        """What a program of PostgreSQL writes, run against this server."""
        place = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "postgres", "PGPASSWORD": self.password}
        ran = subprocess.run(
            command_of(self.account, [str(POSTGRES[-1] / program), *arguments]),
            env={"PATH": os.defpath, **place},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    def sql(self, statement: str, database: str = "postgres") -> str:
        """The first column of the first row that a statement returns."""
        return self.run("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement)

    def promote(self) -> None:
        """Makes the standby a primary, and waits until it is one."""
        assert self.sql("SELECT pg_promote()") == "t"

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text(errors="replace")
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", self.port)) != 0:
                return False
        try:
            return self.sql("SELECT 1") == "1"
        except AssertionError:
            return False

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None


@dataclass(slots=True)
class ReplicatedPair:
    """A primary and a standby; if replication is synchronous, it has everything that the primary has confirmed."""

    primary: PostgresServer
    standby: PostgresServer

    def url(self, *servers: PostgresServer) -> str:
        """The URL of the database on these servers, or of the pair with the standby first."""
        hosts = ",".join(server.host for server in servers or (self.standby, self.primary))
        target = "" if len(servers) == 1 else "?target_session_attrs=read-write"
        return f"postgresql://postgres:{self.primary.password}@{hosts}/shop{target}"


@contextmanager
def replicated_pair(
    *, is_synchronous: bool = True, standby_settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[ReplicatedPair]:
    """Two servers with an empty database; what commits on the first one waits for the second, if that is asked for."""
    assert POSTGRES, "install PostgreSQL (Debian/Ubuntu: apt-get install postgresql)"
    folder, account = server_folder("replicated-")
    password = secrets.token_urlsafe(16)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        primary = PostgresServer(folder, free_port(), password, account)
        standby = PostgresServer(folder, free_port(), password, account, standby_settings)
        (folder / "password").write_text(password)
        (folder / "password").chmod(0o644)
        initdb = ("--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "-U", "postgres", "-E", "UTF8", "-N")
        primary.run("initdb", "-D", str(primary.data), *initdb)
        stack.callback(primary.stop)
        primary.start()
        primary.sql("CREATE DATABASE shop")
        primary.run("pg_basebackup", "-D", str(standby.data), "-R", "-c", "fast", "--no-sync")
        if is_synchronous:
            primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
            primary.sql("SELECT pg_reload_conf()")
        stack.callback(standby.stop)
        standby.start()
        state = "sync" if is_synchronous else "async"
        wait_until(lambda: primary.sql("SELECT sync_state FROM pg_stat_replication") == state, 60, "replication")
        yield ReplicatedPair(primary, standby)


def server_folder(prefix: str) -> tuple[Path, Account | None]:
    """A new folder, and the account of servers: PostgreSQL refuses to run as root."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    if os.geteuid() != 0:
        return folder, None
    entry = pwd.getpwnam("postgres")
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    return folder, Account(entry.pw_uid, entry.pw_gid)


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
