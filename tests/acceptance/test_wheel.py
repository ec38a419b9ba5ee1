"""The wheel as an operator installs it: away from the repository, with nothing but its dependencies beside it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, RULES

pytestmark = [pytest.mark.database, pytest.mark.long]

COMMAND = "from importlib.metadata import entry_points; entry_points(group='console_scripts')['truestock'].load()()"
"""What the `truestock` program does that installers make of the wheel's entry point."""


@dataclass(frozen=True, slots=True)
class Installed:
    """The unpacked wheel in an environment of its own, and the folder that commands run in."""

    python: Path
    packages: Path
    folder: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts a command. Dependencies come from this environment, whose .pth files PYTHONPATH leaves out."""
        environment = {
            name: text for name, text in os.environ.items() if not name.startswith(("TRUESTOCK", "DATABASE"))
        }
        paths = os.pathsep.join([str(self.packages), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
        return subprocess.Popen(
            [self.python, "-c", COMMAND, *arguments],
            cwd=self.folder,
            env=environment | {"PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> str:
        """The output of a command that succeeds."""
        with self.start(*arguments) as process:
            output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return output


@pytest.fixture(scope="module")
def installed() -> Iterator[Installed]:
    root = Path(tempfile.mkdtemp(prefix="truestock-wheel-"))
    # The account that PostgreSQL runs as for root has to reach the data.
    root.chmod(0o711)
    try:
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(root)]
        subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
        (wheel,) = root.glob("truestock-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(root / "packages")
        venv.create(root / "environment")
        folder = root / "folder"
        shutil.copytree(RULES, folder / "rules")
        folder.chmod(0o711)
        yield Installed(root / "environment" / "bin" / "python", root / "packages", folder)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def test_the_wheel_has_migrations_and_license_and_no_tests(installed: Installed) -> None:
    files = {str(path.relative_to(installed.packages)) for path in installed.packages.rglob("*") if path.is_file()}
    migrations = REPOSITORY / "service" / "database" / "migrations"
    versions = {str(path.relative_to(REPOSITORY)) for path in (migrations / "versions").glob("*.py")}

    assert {"service/database/migrations/script.py.mako", *versions} <= files
    assert any(file.endswith("dist-info/licenses/LICENSE") for file in files)
    assert {file.split("/")[0] for file in files if ".dist-info/" not in file} == {"policies", "service", "truestock"}


def test_the_wheels_command_has_a_version_and_help(installed: Installed) -> None:
    assert installed.run("--version") == "truestock 0.1.0\n"
    assert "replay-decision" in installed.run("--help")


def test_the_wheel_migrates_a_database_and_serves_the_sample_on_it(installed: Installed) -> None:
    data = ["--data-dir", "data"]
    migrated = installed.run("migrate", *data)
    ports = ["--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"]
    service = installed.start("serve", *ports, *data, "--rules", "rules", "--sample")
    try:
        assert service.stdout is not None
        started = []
        for line in service.stdout:
            started.append(line)
            if "Ctrl-C" in line:
                break
        address = "".join(started).split("gRPC", 1)[1].split()[0]
        sellable = installed.run("availability", "TRN-1205-MOS", "--channel", "shopify", "--server", address)
        service.send_signal(signal.SIGINT)
        service.communicate(timeout=60)
    finally:
        service.kill()
        service.communicate()

    assert "up to date" in migrated
    assert "TRN-1205-MOS" in sellable
    assert service.returncode == 0
