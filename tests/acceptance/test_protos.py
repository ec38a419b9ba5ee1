"""The .proto files of a fresh clone compile without a network and without anything installed beside the compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git knows of the .proto files."""
    folder = tmp_path_factory.mktemp("clone")
    command = [
        "git",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "protos",
        "third_party",
        "buf.yaml",
    ]
    files = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    for name in filter(None, files.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, folder / name)
    return folder


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command without a network, caches or settings of the person who runs the tests."""
    nowhere = "http://127.0.0.1:9"
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "HTTPS_PROXY": nowhere, "HTTP_PROXY": nowhere}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_buf_builds_a_fresh_clone(clone: Path) -> None:
    result = run([str(Path(sys.executable).parent / "buf"), "build"], clone)

    assert (result.returncode, result.stderr) == (0, "")


def test_protoc_compiles_a_fresh_clone_with_its_two_folders_alone(clone: Path) -> None:
    files = [str(path.relative_to(clone / "protos")) for path in (clone / "protos").rglob("*.proto")]
    folders = ["-Iprotos", "-Ithird_party/googleapis"]
    result = run([sys.executable, "-m", "grpc_tools.protoc", *folders, "--descriptor_set_out=out", *files], clone)

    assert (result.returncode, result.stderr) == (0, "")
    assert (clone / "out").stat().st_size > 0


def test_a_client_can_read_the_details_of_errors_with_the_files_of_a_fresh_clone(clone: Path) -> None:
    assert (clone / "third_party/googleapis/google/rpc/error_details.proto").exists()
