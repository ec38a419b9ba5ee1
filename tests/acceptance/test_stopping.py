"""A service stops within a bounded time, whatever its database does, and at any moment of its first start."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from service.app import drain as drain_module
from service.app.drain import CLOSING_SECONDS, EXIT_SECONDS, Drain
from tests.conftest import REPOSITORY, RULES, _addresses_of

EARLY = "Stopped before the database was ready; start again.\n"
DRAIN_SECONDS = 1


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder that the account of an embedded PostgreSQL can reach."""
    folder = Path(tempfile.mkdtemp(prefix="truestock-data-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def serve(data: Path, *python: str) -> subprocess.Popen[str]:
    """`truestock serve` on a data folder, in a process group of its own as in a terminal."""
    return subprocess.Popen(
        [sys.executable, *python, "-m", "service", "serve", "--data-dir", str(data), "--rules", str(RULES)],
        cwd=REPOSITORY,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("TRUESTOCK", "DATABASE"))},
            "TRUESTOCK_ADDRESS": "127.0.0.1:0",
            "TRUESTOCK_METRICS_ADDRESS": "127.0.0.1:0",
            "TRUESTOCK_DRAIN_SECONDS": str(DRAIN_SECONDS),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def processes_of(data: Path) -> list[psutil.Process]:
    """The guard and the server on a data folder, with the server's children."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(str(data) in argument for argument in process.cmdline()):
                found += [process, *process.children(recursive=True)]
    return found


# The drain


async def test_parts_end_in_reverse_order_and_those_that_may_do_so_at_once() -> None:
    told, ended = [], []

    def part(name: str, *, at_once: bool = False) -> None:
        async def end(_: float) -> None:
            told.append(name)
            await asyncio.sleep(0.01)
            ended.append(name)

        drain.add(name, end, at_once=at_once)

    async with Drain(1) as drain:
        part("server")
        part("database")
        part("calls", at_once=True)
        part("sweep", at_once=True)

    assert sorted(told[:2]) == ["calls", "sweep"]
    assert told[2:] == ended[2:] == ["database", "server"]


async def test_a_part_that_never_ends_takes_no_time_from_those_that_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, float] = {}
    # The part that hangs has all its time and no more, however late the machine wakes the one that waits for it.
    clock = SimpleNamespace(monotonic=lambda: given.get("hanging", 0.0))
    monkeypatch.setattr(drain_module, "time", clock)
    answer = asyncio.Event()

    async def hang(seconds: float) -> None:
        given["hanging"] = seconds
        # A cancellation does not end it.
        while not answer.is_set():
            with suppress(asyncio.CancelledError):
                await answer.wait()

    async def note(seconds: float) -> None:
        given["server"] = seconds

    async with Drain(0.15 - CLOSING_SECONDS) as drain:
        drain.add("server", note, needed_seconds=0.05)
        drain.add("hanging", hang)
    answer.set()

    assert given == {"hanging": pytest.approx(0.1), "server": pytest.approx(0.05)}


async def test_a_part_that_fails_leaves_the_others_their_end() -> None:
    ended = []

    async def fail(_: float) -> None:
        raise OSError("no such socket")

    async def end(_: float) -> None:
        ended.append("server")

    async with Drain(1) as drain:
        drain.add("server", end)
        drain.add("metrics", fail)

    assert ended == ["server"]


# A database that hangs


@pytest.mark.long
@pytest.mark.parametrize("signals", [(signal.SIGTERM,), (signal.SIGINT, signal.SIGTERM)])
def test_a_service_whose_postgresql_is_frozen_stops_in_time_and_leaves_no_process(
    data: Path, signals: tuple[signal.Signals, ...]
) -> None:
    service = serve(data)
    frozen: list[psutil.Process] = []
    try:
        _addresses_of(service)
        frozen = [process for process in processes_of(data) if process.name() == "postgres"]
        for process in frozen:
            process.suspend()
        # Sweeps wait for the database now.
        time.sleep(1.5)

        started = time.monotonic()
        for number in signals:
            service.send_signal(number)
            time.sleep(0.1)
        output, _ = service.communicate(timeout=60)
        seconds = time.monotonic() - started

        assert service.returncode == 0
        assert seconds < DRAIN_SECONDS + EXIT_SECONDS
        assert "Traceback" not in output
        assert [process for process in frozen if process.is_running() and process.status() != "zombie"] == []
    finally:
        for process in frozen:
            with suppress(psutil.Error):
                process.kill()
        service.kill()
        service.wait()


# A service that is stopped before it is ready


def test_ctrl_c_while_modules_are_imported_says_one_sentence(data: Path) -> None:
    # This option makes Python name each module that it has imported.
    service = serve(data, "-X", "importtime")
    assert service.stdout is not None
    for line in service.stdout:
        if line.endswith(" signal\n"):
            break
    for line in service.stdout:
        if line.endswith("typer\n") or "rich" in line:
            break
    os.killpg(service.pid, signal.SIGINT)
    output, _ = service.communicate(timeout=60)

    assert [line for line in output.splitlines(keepends=True) if not line.startswith("import time:")] == [EARLY]
    assert service.returncode == 128 + signal.SIGINT
    assert list(data.iterdir()) == []


@pytest.mark.long
def test_a_first_start_that_is_stopped_at_any_moment_leaves_nothing_half_made(data: Path) -> None:
    """While the data folder is created, while PostgreSQL starts, while it is migrated; then the next start works."""
    cluster = data / "pgdata"

    def creates_data() -> bool:
        return any(data.glob("unfinished-*"))

    def migrates() -> bool:
        return cluster.exists() and "ready" in read(cluster / "postmaster.pid")

    for reached, number in ((creates_data, signal.SIGINT), (cluster.exists, signal.SIGTERM), (migrates, signal.SIGINT)):
        service = serve(data)
        while not reached() and service.poll() is None:
            time.sleep(0.005)
        os.killpg(service.pid, number)
        output, _ = service.communicate(timeout=60)

        # Lines of the log are JSON in a pipe: who may call is said before the database starts.
        assert [line for line in output.splitlines(keepends=True) if not line.startswith("{")] == [EARLY]
        assert service.returncode == 128 + number
        assert processes_of(data) == []
        assert not any(data.glob("unfinished-*"))

    service = serve(data)
    _addresses_of(service)
    service.send_signal(signal.SIGTERM)
    output, _ = service.communicate(timeout=60)
    assert service.returncode == 0
    assert output.endswith("Stopped.\n")


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
