"""truestock-client as a program's author gets it, and the examples that use the API, against a real service."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY, RULES, new_database, service_settings, service_thread

STUBS = REPOSITORY / "protos" / "truestock"
OUTPUT = (
    r"counted  40 of TRN-1205-MOS at store-austin: (accepted|stale).*\n"
    r"watched  shopify may sell \d+ of TRN-1205-MOS\n"
    r"held     2 until \d\d:\d\d UTC for shopify/example-\S+\n"
    r"sold     2, from [a-z-]+\n"
    r"watched  shopify may sell \d+ of TRN-1205-MOS\n"
    r"shipped  shopify/example-\S+: shipped\n"
)
"""What each example prints."""
NEEDS_NPM = pytest.mark.skipif(
    shutil.which("npm") is None, reason="npm is not installed (Debian/Ubuntu: apt-get install nodejs npm)"
)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist that `make client` builds."""
    folder = tmp_path_factory.mktemp("packages")
    build(REPOSITORY / "client", folder)
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def address(postgres_url: str) -> Iterator[str]:
    """A service with the sample retailer."""
    for url in new_database(postgres_url, "template_truestock"):
        settings = service_settings(url, RULES).model_copy(update={"sample": True})
        with service_thread(settings) as address:
            yield address


@pytest.fixture(scope="module")
def node_example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Node example with its packages, beside the .proto files, outside of the repository."""
    root = tmp_path_factory.mktemp("repository")
    folder = root / "examples" / "node"
    shutil.copytree(REPOSITORY / "examples" / "node", folder, ignore=shutil.ignore_patterns("node_modules"))
    for name in ("protos", "third_party"):
        (root / name).symlink_to(REPOSITORY / name)
    output_of(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], folder)
    return folder


def build(project: Path, target: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def uv(*arguments: str) -> str:
    """The output of the uv that `make setup` uses."""
    program = shutil.which("uv") or str(REPOSITORY / ".uv" / "bin" / "uv")
    certificates = {"UV_SYSTEM_CERTS": "1"} if Path("/etc/ssl/certs/ca-certificates.crt").exists() else {}
    environment = certificates | os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    result = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def output_of(command: list[str], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def project(path: str) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((REPOSITORY / path).read_text())["project"]
    return table


def test_the_client_has_the_version_of_the_service_and_needs_its_versions_of_grpc_and_protobuf() -> None:
    service, client = project("pyproject.toml"), project("client/pyproject.toml")

    assert client["version"] == service["version"]
    assert set(client["dependencies"]) <= set(service["dependencies"])
    assert {re.split("[>=]", text)[0] for text in client["dependencies"]} == {
        "googleapis-common-protos",
        "grpcio",
        "protobuf",
    }


@pytest.mark.long
def test_the_wheel_is_of_pure_python_and_has_the_stubs_that_stand_beside_the_protos(
    packages: tuple[Path, Path],
) -> None:
    wheel, _ = packages
    expected = {str(path.relative_to(STUBS.parent)) for path in STUBS.rglob("*") if path.suffix in (".py", ".pyi")}

    assert wheel.name.endswith("-py3-none-any.whl")
    assert {name for name in names(wheel) if re.match(r"truestock/.*\.pyi?$", name)} == expected
    assert {name.split("/")[0] for name in names(wheel) if ".dist-info/" not in name} == {
        "truestock",
        "truestock_client",
    }
    with zipfile.ZipFile(wheel) as archive:
        assert all(archive.read(name) == (STUBS.parent / name).read_bytes() for name in expected)


@pytest.mark.long
def test_the_sdist_builds_the_same_wheel_away_from_the_repository(packages: tuple[Path, Path], tmp_path: Path) -> None:
    wheel, sdist = packages
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    build(unpacked, tmp_path / "built")

    assert names(next((tmp_path / "built").glob("*.whl"))) == names(wheel)


@pytest.mark.long
def test_the_python_example_runs_with_the_wheel_and_its_dependencies_alone(
    packages: tuple[Path, Path], address: str, tmp_path: Path
) -> None:
    environment = tmp_path / "environment"
    python = str(environment / "bin" / "python")
    uv("venv", "--quiet", "--python", sys.executable, str(environment))
    uv("pip", "install", "--quiet", "--python", python, "--only-binary", ":all:", str(packages[0]))
    installed = {line.split("==")[0] for line in uv("pip", "freeze", "--python", python).splitlines()}
    printed = output_of([python, str(REPOSITORY / "examples" / "python" / "shop.py"), address], tmp_path)

    assert {name.split(" ")[0] for name in installed} == {
        "googleapis-common-protos",
        "grpcio",
        "protobuf",
        "truestock-client",
        "typing-extensions",
    }
    assert re.fullmatch(OUTPUT, printed), printed


@pytest.mark.long
@NEEDS_NPM
def test_the_node_example_runs(node_example: Path, address: str) -> None:
    printed = output_of(["node", "shop.js", address], node_example)

    assert re.fullmatch(OUTPUT, printed), printed


@pytest.mark.long
@NEEDS_NPM
def test_the_node_example_does_not_repeat_a_wrong_call(node_example: Path, address: str) -> None:
    script = f"""
        import {{ call, connect }} from './truestock.js';
        call(connect('{address}').catalog, 'ListProducts', {{ page_size: -1 }}).catch((error) => {{
            console.log(error.code, error.details);
            process.exit(0);
        }});
    """

    assert output_of(["node", "--input-type=module", "-e", script], node_example).startswith("3 page_size")


@pytest.mark.long
def test_the_program_in_the_clients_readme_runs(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    program = re.findall(r"```python\n(.*?)```", (REPOSITORY / "client" / "README.md").read_text(), re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(program.replace("127.0.0.1:50051", address), names)

    assert names["allocation"].order_id == "1001"
    assert capsys.readouterr().out == ""
