"""Keeps an embedded PostgreSQL from outliving its service.

Run as a program, by path, with the standard library alone: it starts the server, keeps its log within bounds, and stops
it when standard input ends, which happens however the service ends, kill -9 included.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

LOG_BYTES = 5_000_000
"""A new log file starts at this size; one older file is kept."""

STOPPING = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
"""PostgreSQL's fast shutdown, its immediate shutdown, and kill; each with the seconds before the next."""

STOP_SECONDS = sum(seconds for _, seconds in STOPPING)

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class GuardTask:
    """What to guard. `user` and `group` None: the guard's own; `lock` is a file descriptor that the server inherits."""

    command: list[str]
    folder: str
    log: str
    socket_folder: str
    lock: int
    user: int | None
    group: int | None

    def to_json(self) -> str:
        """The one argument of the guard's command line."""
        return json.dumps(asdict(self))


def main() -> int:
    """Guards one server until all its processes have ended, and returns the server's exit code."""
    task = GuardTask(**json.loads(sys.argv[1]))
    server = start(task)
    # A signal to the whole service must not end the guard before the service has drained.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    watch(server, Log(Path(task.log)))
    shutil.rmtree(task.socket_folder, ignore_errors=True)
    return server.wait()


def start(task: GuardTask) -> subprocess.Popen[bytes]:
    """The server, in a session of its own, so that Ctrl-C in a terminal does not reach it."""
    return subprocess.Popen(
        task.command,
        cwd=task.folder,
        env={"LC_ALL": "C", "PATH": os.defpath},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        user=task.user,
        group=task.group,
        extra_groups=None if task.user is None else [],
        pass_fds=(task.lock,),
        start_new_session=True,
        preexec_fn=stop_with_parent(os.getpid()),  # noqa: PLW1509 - the guard has one thread
    )


def stop_with_parent(guard: int) -> Callable[[], None] | None:
    """What the process calls before it becomes PostgreSQL: on Linux the server then ends with a killed guard."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def ask_kernel() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGINT)
        # If the guard died before prctl ran, the kernel never sends the signal, and nothing would stop the server.
        if os.getppid() != guard:
            os._exit(1)

    return ask_kernel


def watch(server: subprocess.Popen[bytes], log: Log) -> None:
    """Copies the server's output to the log until all its processes have ended; stops it when standard input ends."""
    assert server.stdout is not None
    output, service = server.stdout.fileno(), sys.stdin.fileno()
    watched, steps, deadline = [output, service], list(STOPPING), float("inf")
    while True:
        ready = wait_for(watched, deadline)
        if output in ready:
            text = os.read(output, 65_536)
            if not text:
                return
            log.write(text)
        ended = service in ready and not os.read(service, 1)
        if ended:
            watched.remove(service)
        if ended or time.monotonic() >= deadline:
            if not steps:
                return
            number, seconds = steps.pop(0)
            server.send_signal(number)
            deadline = time.monotonic() + seconds


def wait_for(watched: list[int], deadline: float) -> list[int]:
    """The file descriptors that can be read; empty if the deadline, in monotonic seconds, passes first."""
    seconds = None if deadline == float("inf") else max(0.0, deadline - time.monotonic())
    return select.select(watched, [], [], seconds)[0]


class Log:
    """A file of about `LOG_BYTES` at most, beside its predecessor. A full disk loses lines and raises nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = self._open()

    def write(self, text: bytes) -> None:
        """Appends; starts a new file first if the current one is full."""
        with suppress(OSError):
            if os.fstat(self._file).st_size >= LOG_BYTES:
                self._path.replace(f"{self._path}.1")
                os.close(self._file)
                self._file = self._open()
            os.write(self._file, text)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


if __name__ == "__main__":
    sys.exit(main())
