"""The service of a tree as a process, `python -m service serve`, with an embedded PostgreSQL of its own."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from bench.compare.revision import Tree

STOP_SECONDS = 30.0
"""A service ends within 15 seconds of SIGTERM; on a busy machine it may take longer."""
START_WORK_SECONDS = 8.0
"""A service runs the tests of its rules 5 seconds after its start."""
IDLE_SHARE = 0.1
"""The share of one core below which a service does nothing but its usual background work."""
IDLE_WITHIN_SECONDS = 90.0

_ADDRESS = re.compile(r"gRPC +(127\.0\.0\.1:\d+)")


class StartFailed(Exception):
    """The service ended before it accepted calls. The message has what it wrote."""


@dataclass(frozen=True, slots=True)
class ServedTree:
    """A running service: its address, its process, and the first process of its PostgreSQL."""

    tree: Tree
    address: str
    pid: int
    postgres_pid: int


@asynccontextmanager
async def serving(tree: Tree, rules: Path) -> AsyncIterator[ServedTree]:
    """Serves the tree on free ports until the block ends, then deletes the data. Raises StartFailed."""
    with _data_folder() as folder, _output(folder / "service.log") as (output, log):
        process = _start(tree, rules, folder / "data", output)
        try:
            address = await _address(process, log)
            yield ServedTree(tree, address, process.pid, _postgres_pid(process.pid))
        finally:
            _end(process)


async def wait_until_idle(served: ServedTree) -> None:
    """Returns when the service has done what follows its start, such as the tests of its rules in another process."""
    await asyncio.sleep(START_WORK_SECONDS)
    process, guard = psutil.Process(served.pid), psutil.Process(served.postgres_pid).parent()
    deadline = time.monotonic() + IDLE_WITHIN_SECONDS
    while time.monotonic() < deadline:
        before = process.cpu_times()
        await asyncio.sleep(1)
        after = process.cpu_times()
        used_seconds = after.user + after.system - before.user - before.system
        if used_seconds < IDLE_SHARE and process.children() == [guard]:
            return


@contextmanager
def _data_folder() -> Iterator[Path]:
    # Not TemporaryDirectory: a database that was killed may still write while the folder is deleted.
    folder = Path(tempfile.mkdtemp(prefix="truestock-compare-"))
    # Of a service that root runs, the database has an account of its own, which must enter.
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _output(path: Path) -> Iterator[tuple[IO[str], IO[str]]]:
    """The file into which the service writes, and the same file to read: each has a position of its own."""
    with path.open("w") as output, path.open(errors="replace") as log:
        yield output, log


def _start(tree: Tree, rules: Path, data: Path, log: IO[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *(str(tree.python), "-m", "service", "serve", "--no-sample", "--rules", str(rules)),
            *("--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", "--data-dir", str(data)),
        ],
        cwd=tree.folder,
        env=_environment(tree),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        # Ctrl-C in a terminal is for this program, which then ends the service.
        start_new_session=True,
    )


def _environment(tree: Tree) -> dict[str, str]:
    """The environment without settings of a service, so that both services have their defaults."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "DATABASE_URL" and not name.startswith(("TRUESTOCK_", "PYTHON"))
    }
    return {**kept, "PYTHONPATH": os.pathsep.join((str(tree.folder), str(tree.folder / "protos")))}


async def _address(process: subprocess.Popen[bytes], log: IO[str]) -> str:
    text = ""
    while True:
        has_ended = process.poll() is not None
        text += log.read()
        if found := _ADDRESS.search(text):
            return found[1]
        if has_ended:
            raise StartFailed(text.strip())
        await asyncio.sleep(0.05)


def _postgres_pid(pid: int) -> int:
    """The first process of the embedded PostgreSQL, which a guard starts for the service."""
    return next(child.pid for child in psutil.Process(pid).children(recursive=True) if child.name() == "postgres")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stops the service; its PostgreSQL ends with it."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
