"""The embedded database: a private PostgreSQL 18 from the programs in a PyPI wheel, for a laptop, a trial or a test.

It listens on a Unix socket in a private folder, never on TCP, and ends when the service ends, however that happens.
Its folder and account are in `location`; the process that stops it after the service was killed is `guard`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from signal import SIGINT
from typing import Self
from urllib.parse import quote

from service.database.embedded import guard
from service.database.embedded.cluster import (
    DATABASE,
    POLL_SECONDS,
    USER,
    ensure_cluster,
    is_server_of,
    last_lines,
    pid_file,
    server_pid,
)
from service.database.embedded.location import (
    EmbeddedPostgresError,
    ServerFolder,
    StartAbandoned,
    find_server_folder,
)
from service.database.embedded.password import write_access_rules

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "StartAbandoned", "temporary_postgres"]

PORT = "5432"
"""Only a part of the socket's name: nothing listens on TCP."""

START_SECONDS = 300.0
"""Long, because recovery after a crash reads up to max_wal_size of log."""

RELEASE_SECONDS = guard.STOP_SECONDS + 5
GUARD_SHARE, WAIT_SHARE = 0.8, 0.9
"""Shares of the time of a stop after which the guard has killed the server, and we kill all that is left with it."""
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
    "log_error_verbosity": "terse",  # the details of an error have values of the row, such as an order's number
    "log_checkpoints": "off",
}
"""Defaults for a small durable server."""

FIXED_SETTINGS = {
    "listen_addresses": "",
    "port": PORT,
    "unix_socket_permissions": "0700",
    "logging_collector": "off",
    "log_destination": "stderr",
}
"""What keeps the server private, and its log with the guard; no caller may change it."""


class EmbeddedPostgres:
    """A running server. Create it with `start`; end it with `stop` or by leaving a `with` block.

    `database_url` is for asyncpg and, with the scheme `postgresql+asyncpg`, for SQLAlchemy. `data_dir` is the folder
    that is really used. The methods block: call them in a thread from asyncio.
    """

    def __init__(self, server_folder: ServerFolder, socket_folder: Path, stop: _Stop, locks: ExitStack) -> None:
        self.data_dir = server_folder.folder
        self.log_file = server_folder.log
        self.database_url = _database_url(server_folder, str(socket_folder))
        self._stop = stop
        self._locks = locks

    @classmethod
    def start(
        cls,
        data_dir: Path,
        *,
        settings: Mapping[str, str] | None = None,
        abandoned: threading.Event | None = None,
    ) -> Self:
        """Starts the server of a folder and creates its database if missing; returns when it accepts connections.

        PostgreSQL's `settings` override SETTINGS. Raises EmbeddedPostgresError, which is StartAbandoned once another
        thread has set `abandoned`, and then leaves nothing running and nothing half made.
        """
        settings = {**SETTINGS, **(settings or {}), **FIXED_SETTINGS}
        try:
            return cls._start(find_server_folder(data_dir), settings, abandoned or threading.Event())
        except OSError as error:
            raise EmbeddedPostgresError(
                f"The embedded database cannot use {data_dir}: {error}. "
                "Fix the cause, pass another --data-dir, or pass --database-url."
            ) from error

    @classmethod
    def running_url(cls, data_dir: Path) -> str | None:
        """The URL of the folder's running server, for another process of the same user; None if no server runs."""
        server_folder = find_server_folder(data_dir)
        pid = server_pid(server_folder)
        if pid is None or not is_server_of(pid, server_folder):
            return None
        return _database_url(server_folder, pid_file(server_folder)[4])

    @classmethod
    def _start(cls, server_folder: ServerFolder, settings: Mapping[str, str], abandoned: threading.Event) -> Self:
        with ExitStack() as undo:
            _reserve(server_folder, undo)
            lock = _wait_for_predecessor(server_folder, undo, abandoned)
            _clear_stale_pid(server_folder)
            ensure_cluster(server_folder, lock, abandoned)
            socket_folder = _create_socket_folder(server_folder, undo)
            for log in (server_folder.log, server_folder.older_log):
                if log.exists():
                    log.chmod(0o600)
            write_access_rules(server_folder)
            log_start = server_folder.log.stat().st_size if server_folder.log.exists() else 0
            process = _start_guard(server_folder, socket_folder, settings, lock)
            stop = _Stop(process)
            undo.callback(stop)
            _wait_until_ready(server_folder, process, log_start, abandoned)
            return cls(server_folder, socket_folder, stop, undo.pop_all())

    @property
    def running(self) -> bool:
        """False once the server has ended, by `stop` or by itself."""
        return self._stop.process.poll() is None

    def stop(self, seconds: float = guard.STOP_SECONDS) -> None:
        """Shuts the server down and waits, at most `seconds`: open transactions are rolled back, commits are kept.

        A server that does not end within about that time is killed; its next start recovers every commit. Repeatable.
        """
        self._stop.seconds = seconds
        self._locks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextmanager
def temporary_postgres(
    *, settings: Mapping[str, str] | None = None, parent: Path | None = None
) -> Iterator[EmbeddedPostgres]:
    """A server whose data are deleted at the end, for tests, demos and measurements.

    Its data are in a new folder in `parent`; None is the system's folder for temporary files.
    """
    folder = Path(tempfile.mkdtemp(prefix="truestock-data-", dir=parent))
    # If the service is root, the server's account must enter; the data inside have a private folder of their own.
    folder.chmod(0o711)
    used = folder
    try:
        with EmbeddedPostgres.start(folder, settings=settings) as server:
            used = server.data_dir
            yield server
    finally:
        shutil.rmtree(used, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def _database_url(server_folder: ServerFolder, socket_folder: str) -> str:
    """The URL, which names the file of the password and not the password, so that it may be shown."""
    password_file = quote(str(server_folder.password_file))
    return f"postgresql://{USER}@/{DATABASE}?host={socket_folder}&port={PORT}&passfile={password_file}"


def _reserve(server_folder: ServerFolder, undo: ExitStack) -> None:
    """Reserves the folder for this process until it ends. Raises if another service has reserved it."""
    path = server_folder.folder / "service.lock"
    lock = _open_lock(path, undo)
    if not _try_lock(lock):
        holder = path.read_text().strip()
        raise EmbeddedPostgresError(
            f"The embedded database in {server_folder.folder} is in use by another Truestock service, process "
            f"{holder or 'unknown'}. Stop that one, pass another --data-dir, or pass --database-url so that both "
            "services share a server."
        )
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())


def _wait_for_predecessor(server_folder: ServerFolder, undo: ExitStack, abandoned: threading.Event) -> int:
    """A lock that the guard and every process of the server inherit, so that it is free once all of them have ended.

    A service that was killed a moment ago leaves a server that is still shutting down.
    """
    lock = _open_lock(server_folder.folder / "server.lock", undo)
    deadline = time.monotonic() + RELEASE_SECONDS
    interrupted = False
    while not _try_lock(lock):
        pid = server_pid(server_folder)
        if pid is not None and not interrupted and is_server_of(pid, server_folder):
            # Its guard sends this signal too, unless it was killed as well.
            os.kill(pid, SIGINT)
            interrupted = True
        if time.monotonic() > deadline:
            raise EmbeddedPostgresError(
                f"The database server of an earlier service still uses {server_folder.folder}: process {pid}. "
                f"Look at {server_folder.log}, stop that process (kill -INT {pid}), and start again."
            )
        _pause(abandoned)
    return lock


def _open_lock(path: Path, undo: ExitStack) -> int:
    lock = _open_private(path, os.O_RDWR | os.O_CREAT)
    undo.callback(os.close, lock)
    return lock


def _open_private(path: str | Path, flags: int) -> int:
    """Opens a file that only its owner may read, also if an earlier version created it for everybody.

    PostgreSQL's log has the statements that failed, and with them values of orders.
    """
    file = os.open(path, flags, 0o600)
    os.fchmod(file, 0o600)
    return file


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _clear_stale_pid(server_folder: ServerFolder) -> None:
    """Removes the pid file of a killed server. Raises if a server was started in our data folder by hand.

    PostgreSQL removes the file itself if no process has that id, but after a restart of the machine another process may
    have it.
    """
    pid = server_pid(server_folder)
    if pid is not None and is_server_of(pid, server_folder):
        raise EmbeddedPostgresError(
            f"A PostgreSQL server that Truestock did not start, process {pid}, is using {server_folder.cluster}. "
            f"Stop it (kill -INT {pid}), or pass its address with --database-url."
        )
    (server_folder.cluster / "postmaster.pid").unlink(missing_ok=True)


def _create_socket_folder(server_folder: ServerFolder, undo: ExitStack) -> Path:
    """A new private folder with a short name: a socket's path has a limit, a data folder's has none."""
    for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):
        length = len(os.fsencode(Path(parent, "truestock-12345678", f".s.PGSQL.{PORT}.lock")))
        if length > LONGEST_SOCKET_PATH or (
            server_folder.account is not None and not server_folder.account.can_enter(Path(parent))
        ):
            continue
        folder = Path(tempfile.mkdtemp(prefix="truestock-", dir=parent))
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        if server_folder.account is not None:
            os.chown(folder, server_folder.account.user, server_folder.account.group)
        return folder
    raise EmbeddedPostgresError(
        f"No folder for the database's socket: {tempfile.gettempdir()} has too long a name or is closed to the "
        "server's account, and so is /tmp. Set TMPDIR to a folder with a short name, or pass --database-url."
    )


def _start_guard(
    server_folder: ServerFolder, socket_folder: Path, settings: Mapping[str, str], lock: int
) -> subprocess.Popen[bytes]:
    """The guard's process. It stops the server when its standard input, a pipe that only we hold, ends."""
    settings = {
        **settings,
        "hba_file": str(server_folder.access_rules),
        "unix_socket_directories": f'"{socket_folder}"',
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    task = guard.GuardTask(
        command=[str(server_folder.programs / "postgres"), "-D", str(server_folder.cluster), *options],
        folder=str(server_folder.folder),
        log=str(server_folder.log),
        socket_folder=str(socket_folder),
        lock=lock,
        user=None if server_folder.account is None else server_folder.account.user,
        group=None if server_folder.account is None else server_folder.account.group,
    )
    with open(server_folder.log, "ab", opener=_open_private) as log:
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


class _Stop:
    """Stops the server by its guard's process, within `seconds`; calling it again does nothing."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.seconds = guard.STOP_SECONDS

    def __call__(self) -> None:
        assert self.process.stdin is not None
        # The guard may have ended, with the server.
        with suppress(BrokenPipeError):
            self.process.stdin.write(b"%.3f" % (self.seconds * GUARD_SHARE))
            self.process.stdin.close()
        try:
            self.process.wait(self.seconds * WAIT_SHARE)
        except subprocess.TimeoutExpired:
            # The guard is frozen too.
            guard.kill_descendants(self.process.pid)
            self.process.kill()
            self.process.wait()


def _wait_until_ready(
    server_folder: ServerFolder, process: subprocess.Popen[bytes], log_start: int, abandoned: threading.Event
) -> None:
    """Returns when the server's pid file says that it accepts connections. Raises with its log if it ends before."""
    deadline = time.monotonic() + START_SECONDS
    while pid_file(server_folder)[7:8] != ["ready"]:
        if process.poll() is not None or time.monotonic() > deadline:
            raise EmbeddedPostgresError(
                f"The embedded database in {server_folder.folder} did not start. Its log, {server_folder.log}, ends\n"
                f"{last_lines(_log_since(server_folder.log, log_start))}\n"
                "Fix the cause, pass another --data-dir, or pass --database-url."
            )
        _pause(abandoned)


def _pause(abandoned: threading.Event) -> None:
    """Waits a moment. Raises StartAbandoned."""
    if abandoned.wait(POLL_SECONDS):
        raise StartAbandoned("The start was abandoned.")


def _log_since(log: Path, start: int) -> str:
    with log.open("rb") as file, suppress(OSError):
        # The guard may have started a new file since.
        file.seek(start if start <= log.stat().st_size else 0)
        return file.read().decode(errors="replace")
    return ""
