"""Serves three made-up shops: `python tests/fakes`."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
# A wheel that is installed has a package `tests` too, which Python would take instead of this folder.
tests = ModuleType("tests")
tests.__path__ = [str(ROOT / "tests")]
sys.modules["tests"] = tests
sys.path[0] = str(ROOT)
import_module("tests.fakes.three_shops").main()
