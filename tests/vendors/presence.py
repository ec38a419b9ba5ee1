"""Whether the vendors' own clients are installed, and what to do where they are not."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent
MODULES = FOLDER / "node_modules"
# Where continuous integration sets this, a test without its client fails instead of being skipped.
_REQUIRED = os.environ.get("VENDOR_CLIENTS") == "required"
_HINT = "make vendors installs it; it needs npm (Debian/Ubuntu: apt-get install nodejs npm; macOS: brew install node)"


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def has_packages_of_npm() -> bool:
    """Whether node and what `make vendors` installs by it are there."""
    return shutil.which("node") is not None and (MODULES / ".installed").exists()


NEEDS_TIKTOK = pytest.mark.skipif(
    not _REQUIRED and not _has("tiktok_shop_api"), reason=f"the client of TikTok Shop is not installed: {_HINT}"
)
NEEDS_SQUARE = pytest.mark.skipif(
    not _REQUIRED and not _has("square"), reason=f"the client of Square is not installed: {_HINT}"
)
NEEDS_NPM = pytest.mark.skipif(
    not _REQUIRED and not has_packages_of_npm(), reason=f"the packages of npm are not installed: {_HINT}"
)


def node(script: str, question: Any) -> Any:
    """What a script in this folder answers; both ways JSON."""
    command = ["node", str(FOLDER / script)]
    result = subprocess.run(
        command, input=json.dumps(question), capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)
