"""What `make` says and does for a newcomer, with the environment of these tests in place of a new one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, RULES
from tests.service.database.test_embedded_postgres import NOBODY, python_for_everyone


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `make`, which finds its environment set up: the programs beside this Python."""
    (folder / "bin").symlink_to(Path(sys.executable).parent)
    (folder / ".setup-python3").touch()
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("MAKE", "TRUESTOCK"))}
    return subprocess.run(
        ["make", *arguments, f"VENV={folder}", "PYTHON=python3"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.long
def test_a_port_that_is_taken_is_named_with_the_variable_that_changes_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        run = make(tmp_path, "run", f"ADDRESS={address}")

    assert run.returncode == 2
    assert f"cannot be served on {address}: Address already in use; choose another --address" in run.stderr
    assert "make run ADDRESS=127.0.0.1:50061 METRICS_ADDRESS=" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.long
@pytest.mark.parametrize("rules", ["good", "bad"])
def test_check_rules_checks_the_folder_that_it_is_given(tmp_path: Path, rules: str) -> None:
    folder = tmp_path / "rules with a space"
    shutil.copytree(RULES, folder)
    if rules == "bad":
        (folder / "odd.yaml").write_text("kind: buffr")

    run = make(tmp_path, "check-rules", f"RULES={folder}")

    assert (run.returncode == 0) is (rules == "good"), run.stdout + run.stderr
    assert ("0 failed" in run.stdout) is (rules == "good")


def test_a_clone_that_cannot_be_written_says_so() -> None:
    clone = Path(tempfile.mkdtemp(prefix="truestock-clone-"))
    try:
        shutil.copytree(REPOSITORY / "tools", clone / "tools")
        clone.chmod(0o555)
        account = {"user": NOBODY.user, "group": NOBODY.group, "extra_groups": []} if os.geteuid() == 0 else {}
        setup = subprocess.run(
            ["tools/setup"],
            cwd=clone,
            env={"PATH": os.defpath, "PYTHON": python_for_everyone(), "HOME": "/"},
            capture_output=True,
            text=True,
            check=False,
            **account,  # type: ignore[call-overload]
        )
    finally:
        clone.chmod(0o755)
        shutil.rmtree(clone)

    if "C headers" in setup.stderr or "C compiler" in setup.stderr:
        pytest.skip("the Python that an ordinary user can run cannot build extensions")
    assert setup.returncode == 1
    assert f"cannot be installed into {clone}: Permission denied" in setup.stderr
