"""Keeps an embedded PostgreSQL from outliving its service.

Run as a program, by path, with the standard library alone: it starts the server, keeps its log within bounds, and stops
it when standard input ends, which happens however the service ends, kill -9 included. A number on standard input says
within how many seconds.
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
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

LOG_BYTES = 5_000_000
"""A new log file starts at this size; one older file is kept."""

STOP_SECONDS = 70.0
"""How long a server may take to stop if the service has not said so."""
IMMEDIATE_SECONDS = 0.5
"""How long PostgreSQL's immediate shutdown, which writes nothing, may take at the end of that."""
KILL_SECONDS = 0.5
"""How long the kernel may take to end killed processes."""

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


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
    adopt_orphans()
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


def adopt_orphans() -> None:
    """Makes the server's processes children of the guard should the server die before them; on Linux alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


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
    watched, given, deadline = [output, service], b"", float("inf")
    steps: Iterator[float] = iter(())
    while True:
        ready = wait_for(watched, deadline)
        if output in ready:
            text = os.read(output, 65_536)
            if not text:
                return
            log.write(text)
        if service in ready:
            read = os.read(service, 64)
            given += read
            if not read:
                watched.remove(service)
                steps, deadline = stopping(server, float(given or STOP_SECONDS)), time.monotonic()
        if time.monotonic() >= deadline:
            seconds = next(steps, None)
            if seconds is None:
                return
            deadline = time.monotonic() + seconds


def stopping(server: subprocess.Popen[bytes], seconds: float) -> Iterator[float]:
    """Stops the server within `seconds`, ever harder; yields the seconds to wait before the next step."""
    # Fast shutdown: open transactions are rolled back.
    server.send_signal(signal.SIGINT)
    yield max(0.0, seconds - IMMEDIATE_SECONDS - KILL_SECONDS)
    server.send_signal(signal.SIGQUIT)
    yield min(seconds, IMMEDIATE_SECONDS)
    # A process that is frozen takes no signal but this one, and the server's death would not end its children.
    kill_descendants(os.getpid())
    yield KILL_SECONDS


def kill_descendants(ancestor: int) -> None:
    """Kills every process that descends from this one, but not itself."""
    parents = parents_by_process()
    family = {ancestor}
    while children := {process for process, parent in parents.items() if parent in family} - family:
        family |= children
    for process in family - {ancestor}:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def parents_by_process() -> dict[int, int]:
    """The parent of each process of this machine."""
    if sys.platform != "linux":
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], stdout=subprocess.PIPE, text=True, check=False).stdout
        return {int(process): int(parent) for process, parent in (line.split() for line in listed.splitlines())}
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        # The process may have ended since.
        with suppress(OSError):
            # The name, in parentheses, may have spaces; the state and the parent follow it.
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    return parents


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
