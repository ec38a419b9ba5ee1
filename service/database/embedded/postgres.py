"""The embedded database: a private PostgreSQL 18 from the programs in a PyPI wheel, for a laptop, a trial or a test.

It listens on a Unix socket in a private folder, never on TCP, and ends when the service ends, however that happens.
Where it lives and as whom is `location`; what outlives a killed service is `guard`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from signal import SIGINT
from typing import Self

from service.database.embedded import guard
from service.database.embedded.cluster import (
    DATABASE,
    USER,
    ensure_cluster,
    is_server_of,
    last_lines,
    pid_file,
    server_pid,
)
from service.database.embedded.location import EmbeddedPostgresError, ServerFolder, find_place

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "temporary_postgres"]

PORT = "5432"
"""Only a part of the socket's name: nothing listens on TCP."""

START_SECONDS = 300.0
"""Long, because recovery after a crash reads up to max_wal_size of log."""

RELEASE_SECONDS = guard.STOP_SECONDS + 5
POLL_SECONDS = 0.02
LONGEST_SOCKET_PATH = 103
"""Bytes, on macOS; Linux allows four more."""

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
}
"""A small durable server."""

FIXED_SETTINGS = {
    "listen_addresses": "",
    "port": PORT,
    "unix_socket_permissions": "0700",
    "logging_collector": "off",
    "log_destination": "stderr",
}
"""What keeps the server private, and its log with the guard; no caller may change it."""


class EmbeddedPostgres:
    """A running server. Make one with `start`; end it with `stop` or by leaving a `with` block.

    `database_url` is for asyncpg and, with the scheme `postgresql+asyncpg`, for SQLAlchemy. `data_dir` is the folder
    that is really used. The methods block: call them in a thread from asyncio.
    """

    def __init__(
        self, place: ServerFolder, socket_folder: Path, process: subprocess.Popen[bytes], locks: ExitStack
    ) -> None:
        self.data_dir = place.folder
        self.log_file = place.log
        self.database_url = _database_url(str(socket_folder))
        self._process = process
        self._locks = locks

    @classmethod
    def start(cls, data_dir: Path, *, settings: Mapping[str, str] | None = None) -> Self:
        """Start the server of a folder, and make its database the first time; returns when it takes connections.

        `settings` are PostgreSQL's, over ours. Raises EmbeddedPostgresError, and then leaves nothing running.
        """
        try:
            return cls._start(find_place(data_dir), {**SETTINGS, **(settings or {}), **FIXED_SETTINGS})
        except OSError as error:
            raise EmbeddedPostgresError(
                f"The embedded database cannot use {data_dir}: {error}. "
                "Put that right, pass another --data-dir, or pass --database-url."
            ) from error

    @classmethod
    def running_url(cls, data_dir: Path) -> str | None:
        """Where the folder's server listens, for another process of the same user; None where none runs."""
        place = find_place(data_dir)
        pid = server_pid(place)
        if pid is None or not is_server_of(pid, place):
            return None
        return _database_url(pid_file(place)[4])

    @classmethod
    def _start(cls, place: ServerFolder, settings: Mapping[str, str]) -> Self:
        with ExitStack() as undo:
            _claim(place, undo)
            lock = _wait_for_predecessor(place, undo)
            _clear_stale_pid(place)
            ensure_cluster(place, lock)
            socket_folder = _make_socket_folder(place, undo)
            log_start = place.log.stat().st_size if place.log.exists() else 0
            process = _start_guard(place, socket_folder, settings, lock)
            undo.callback(_end, process)
            _wait_until_ready(place, process, log_start)
            return cls(place, socket_folder, process, undo.pop_all())

    @property
    def running(self) -> bool:
        """False once the server has ended, by `stop` or by itself."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Shut the server down fast: open transactions are rolled back, commits are kept. Waits; twice is once."""
        self._locks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextmanager
def temporary_postgres(*, settings: Mapping[str, str] | None = None) -> Iterator[EmbeddedPostgres]:
    """A server whose data are deleted at the end, for tests, demos and measurements."""
    folder = Path(tempfile.mkdtemp(prefix="truestock-data-"))
    # Lets the server's account in where the service is root; the data inside have a private folder of their own.
    folder.chmod(0o711)
    used = folder
    try:
        with EmbeddedPostgres.start(folder, settings=settings) as server:
            used = server.data_dir
            yield server
    finally:
        shutil.rmtree(used, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def _database_url(socket_folder: str) -> str:
    return f"postgresql://{USER}@/{DATABASE}?host={socket_folder}&port={PORT}"


def _claim(place: ServerFolder, undo: ExitStack) -> None:
    """Make this process the only service of the folder, until it ends. Raises if another one is."""
    path = place.folder / "service.lock"
    claim = _open_lock(path, undo)
    if not _try_lock(claim):
        holder = path.read_text().strip()
        raise EmbeddedPostgresError(
            f"The embedded database in {place.folder} is in use by another Truestock service, process "
            f"{holder or 'unknown'}. Stop that one, pass another --data-dir, or pass --database-url so that both "
            "services share a server."
        )
    os.ftruncate(claim, 0)
    os.write(claim, f"{os.getpid()}\n".encode())


def _wait_for_predecessor(place: ServerFolder, undo: ExitStack) -> int:
    """A lock that the guard and every process of the server inherit, so that it is free when the last of them is gone.

    A service that was killed a moment ago leaves a server that is still shutting down.
    """
    lock = _open_lock(place.folder / "server.lock", undo)
    deadline = time.monotonic() + RELEASE_SECONDS
    asked = False
    while not _try_lock(lock):
        pid = server_pid(place)
        if pid is not None and not asked and is_server_of(pid, place):
            # Its guard does so too, unless that was killed as well.
            os.kill(pid, SIGINT)
            asked = True
        if time.monotonic() > deadline:
            raise EmbeddedPostgresError(
                f"The database server of an earlier service does not let go of {place.folder}: process {pid}. "
                f"Look at {place.log}, stop that process (kill -INT {pid}), and start again."
            )
        time.sleep(POLL_SECONDS)
    return lock


def _open_lock(path: Path, undo: ExitStack) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    undo.callback(os.close, lock)
    return lock


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _clear_stale_pid(place: ServerFolder) -> None:
    """Remove what a killed server left. Raises if somebody started a server in our data folder by hand.

    PostgreSQL removes the file itself where no process has that number, but after a restart of the machine another
    process may have it.
    """
    pid = server_pid(place)
    if pid is not None and is_server_of(pid, place):
        raise EmbeddedPostgresError(
            f"A PostgreSQL server that Truestock did not start, process {pid}, is using {place.cluster}. "
            f"Stop it (kill -INT {pid}), or pass its address with --database-url."
        )
    (place.cluster / "postmaster.pid").unlink(missing_ok=True)


def _make_socket_folder(place: ServerFolder, undo: ExitStack) -> Path:
    """A new private folder with a short name: a socket's path has a limit, a data folder's has none."""
    for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):
        length = len(os.fsencode(Path(parent, "truestock-12345678", f".s.PGSQL.{PORT}.lock")))
        if length > LONGEST_SOCKET_PATH or (place.account is not None and not place.account.can_enter(Path(parent))):
            continue
        folder = Path(tempfile.mkdtemp(prefix="truestock-", dir=parent))
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        if place.account is not None:
            os.chown(folder, place.account.user, place.account.group)
        return folder
    raise EmbeddedPostgresError(
        f"No folder for the database's socket: {tempfile.gettempdir()} has too long a name or is closed to the "
        "server's account, and so is /tmp. Set TMPDIR to a folder with a short name, or pass --database-url."
    )


def _start_guard(
    place: ServerFolder, socket_folder: Path, settings: Mapping[str, str], lock: int
) -> subprocess.Popen[bytes]:
    """The guard's process. It stops the server when its standard input, a pipe that only we hold, ends."""
    settings = {**settings, "unix_socket_directories": f'"{socket_folder}"'}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    task = guard.GuardTask(
        command=[str(place.programs / "postgres"), "-D", str(place.cluster), *options],
        folder=str(place.folder),
        log=str(place.log),
        socket_folder=str(socket_folder),
        lock=lock,
        user=None if place.account is None else place.account.user,
        group=None if place.account is None else place.account.group,
    )
    with place.log.open("ab") as log:
        return subprocess.Popen(
            # The guard needs the standard library alone: -I ignores PYTHON* variables and keeps service/ off the import
            # path, -S leaves out site-packages, and a path to the file works from any folder.
            [sys.executable, "-I", "-S", guard.__file__, task.to_json()],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


def _wait_until_ready(place: ServerFolder, process: subprocess.Popen[bytes], log_start: int) -> None:
    """Return when the server says in its pid file that it takes connections. Raises with its log if it ends before."""
    deadline = time.monotonic() + START_SECONDS
    while pid_file(place)[7:8] != ["ready"]:
        if process.poll() is not None or time.monotonic() > deadline:
            raise EmbeddedPostgresError(
                f"The embedded database in {place.folder} did not start. Its log, {place.log}, ends\n"
                f"{last_lines(_log_since(place.log, log_start))}\n"
                "Put that right, pass another --data-dir, or pass --database-url."
            )
        time.sleep(POLL_SECONDS)


def _log_since(log: Path, start: int) -> str:
    with log.open("rb") as file, suppress(OSError):
        # The guard may have begun a new file since.
        file.seek(start if start <= log.stat().st_size else 0)
        return file.read().decode(errors="replace")
    return ""
