"""What Truestock consists of is pinned, listed and permitted."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tools.licenses import EXCEPTIONS, installed, is_permitted

UV = shutil.which("uv") or (str(REPOSITORY / ".uv/bin/uv") if (REPOSITORY / ".uv/bin/uv").exists() else None)


def test_every_installed_package_has_a_permitted_license() -> None:
    packages = installed()

    assert [package for package in packages if not package.is_permitted] == []
    assert EXCEPTIONS.keys() <= {package.name for package in packages if not is_permitted(package.license)}
    assert {"asyncpg", "httpx2", "matplotlib"} <= {package.name for package in packages if package.serves}
    assert "pytest" not in {package.name for package in packages if package.serves}


@pytest.mark.parametrize(
    ("expression", "permitted"),
    [
        ("MIT", True),
        ("Apache-2.0 OR GPL-3.0-only", True),
        ("MIT AND PSF-2.0", True),
        ("MIT AND GPL-3.0-only", False),
        ("AGPL-3.0-only", False),
        ("(MIT OR Apache-2.0)", True),
        ("unknown", False),
        ("", False),
    ],
)
def test_a_license_is_permitted_if_an_alternative_of_it_is(expression: str, permitted: bool) -> None:
    assert is_permitted(expression) == permitted


def test_every_file_of_every_package_is_pinned_by_its_hash() -> None:
    lock = tomllib.loads((REPOSITORY / "uv.lock").read_text())
    files = [file for package in lock["package"] for file in [package.get("sdist"), *package.get("wheels", ())] if file]

    assert len(files) > 500
    assert [file["url"] for file in files if not re.fullmatch(r"sha256:[0-9a-f]{64}", file["hash"])] == []


def test_uv_itself_is_pinned_by_hashes_where_it_is_installed() -> None:
    pins = (REPOSITORY / "tools/uv-requirements.txt").read_text()

    assert re.search(r"^uv==\d+\.\d+\.\d+ ", pins, re.MULTILINE)
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", pins)) > 10
    for path in ("tools/setup", "deploy/Dockerfile"):
        installs = re.findall(r"pip install ([^\n&|]*)", joined_lines(REPOSITORY / path))
        assert installs
        assert all("--require-hashes" in words and "uv-requirements.txt" in words for words in installs)


def joined_lines(path: Path) -> str:
    """The text of a file whose lines a backslash continues."""
    return path.read_text().replace("\\\n", " ")


@pytest.mark.long
@pytest.mark.skipif(UV is None, reason="uv is not installed")
def test_the_bill_of_materials_lists_what_a_service_consists_of(tmp_path: Path) -> None:
    assert UV is not None
    path = tmp_path / "sbom.json"
    command = next(line for line in joined_lines(REPOSITORY / "Makefile").splitlines() if "cyclonedx1" in line)
    options = command.partition(" export ")[2].partition("--output-file")[0].split()
    subprocess.run([UV, "export", *options, "--output-file", path], cwd=REPOSITORY, check=True, capture_output=True)
    bill = json.loads(path.read_text())
    names = {component["name"] for component in bill["components"]}

    assert bill["bomFormat"] == "CycloneDX"
    assert {package.name for package in installed() if package.serves} <= names
    assert "pytest" not in names
