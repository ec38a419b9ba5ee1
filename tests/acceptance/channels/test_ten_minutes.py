"""What docs/channels.md shows to try: its very commands lead from nothing to three shops that feed a service."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.vendors.presence import NEEDS_NPM

DOCUMENT = (REPOSITORY / "docs" / "channels.md").read_text()
pytestmark = [pytest.mark.long, NEEDS_NPM]
WAIT_SECONDS = 300.0


def blocks() -> list[list[str]]:
    """The commands of each block, without `make vendors`, which has run."""
    section = DOCUMENT.partition("## Try it")[2].partition("\n## ")[0]
    found = [block.strip().splitlines() for block in re.findall(r"```\n(.*?)```", section, re.DOTALL)]
    assert found[0][0].startswith("make vendors")
    return found[1:]


@pytest.fixture
def clone() -> Iterator[Path]:
    """A folder in which the commands find what they find in a clone."""
    folder = Path(tempfile.mkdtemp(prefix="truestock-try-"))
    # The account that PostgreSQL runs as for root has to reach it.
    folder.chmod(0o711)
    for name in (".venv", "rules", "tests"):
        (folder / name).symlink_to(REPOSITORY / name)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def environment() -> dict[str, str]:
    """Free ports instead of those that the documents name."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("TRUESTOCK", "DATABASE"))}
    names = ("ADDRESS", "METRICS_ADDRESS", "CHANNELS_ADDRESS", "CHANNELS_METRICS_ADDRESS")
    addresses = {f"TRUESTOCK_{name}": _free_address() for name in names}
    server = addresses["TRUESTOCK_ADDRESS"]
    return {**outside, **addresses, "TRUESTOCK_SERVER": server, "SHOPS_PORT": "0", "COLUMNS": "300"}


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def terminal(lines: list[str], ready: str, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A terminal whose last command runs until the block ends; it is ready when it says so."""
    script = "\n".join([*lines[:-1], f"exec {lines[-1]}"])
    log = folder / f"terminal-{len(list(folder.iterdir()))}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["bash", "-ec", script], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _until(lambda: ready in log.read_text() or process.poll() is not None, log.read_text)
            assert process.poll() is None, log.read_text()
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def test_the_commands_of_the_documents_lead_to_three_shops_that_feed_a_service(
    clone: Path, environment: dict[str, str]
) -> None:
    serve, shops, connect, see = blocks()
    with ExitStack() as stack:
        stack.enter_context(terminal(serve, "Ctrl-C", clone, environment))
        stack.enter_context(terminal(shops, "somebody buys", clone, environment))
        stack.enter_context(terminal(connect, "are running", clone, environment))
        shown = _until(lambda: _all_feed(_run(see, clone, environment)), lambda: _run(see, clone, environment))

    questions = {line.split()[0]: line for line in shown.splitlines() if line.strip().startswith("conne")}
    assert len(questions) == 6, shown
    assert all(" fail " not in line for line in questions.values())


def _all_feed(shown: str) -> str:
    """What is shown, once orders of two shops and a sale at the till of the third are in it; otherwise nothing."""
    wanted = (r"shopify/\d+", r"tiktok_shop/\d+", r"MUG +austin .*sold", r"square +square +running")
    return shown if all(re.search(pattern, shown) for pattern in wanted) else ""


def _run(lines: list[str], folder: Path, environment: dict[str, str]) -> str:
    result = subprocess.run(
        ["bash", "-c", "\n".join(lines)], cwd=folder, env=environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    return result.stdout + result.stderr


def _until(reached: Callable[[], str | bool], shown: Callable[[], str]) -> str:
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if value := reached():
            return str(value)
        time.sleep(0.1)
    raise AssertionError(f"it did not come true within {WAIT_SECONDS:g} s:\n{shown()}")
