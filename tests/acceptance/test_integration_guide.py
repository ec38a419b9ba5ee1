"""docs/integration.md: its programs run as they stand and print what it shows, and it names only what exists."""

from __future__ import annotations

import contextlib
import importlib
import io
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest

import truestock.v1
from tests.conftest import REPOSITORY, RULES, new_database, service_settings, service_thread
from truestock.v1.error_reason_pb2 import ErrorReason

GUIDE = (REPOSITORY / "docs" / "integration.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```\n(?:```text\n(.*?)```)?", GUIDE, re.DOTALL)
"""Each program with what it prints."""


@pytest.fixture(scope="module")
def address(postgres_url: str) -> Iterator[str]:
    for url in new_database(postgres_url, "template_truestock"):
        with service_thread(service_settings(url, RULES)) as address:
            yield address


def test_the_programs_run_one_after_another_and_print_what_the_guide_shows(address: str) -> None:
    names: dict[str, Any] = {}
    for number, (program, shown) in enumerate(PROGRAMS, 1):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(program.replace("127.0.0.1:50051", address), names)

        assert printed.getvalue() == shown, f"program {number}:\n{program}"


def test_every_section_has_a_program_and_the_errors_that_can_come() -> None:
    sections = re.split(r"^## (?=\d)", GUIDE, flags=re.MULTILINE)[1:]
    sections[-1] = sections[-1].split("\n## ")[0]

    assert len(sections) == 10
    assert all("```python" in section and "| error | when | what to do |" in section for section in sections)


def test_every_call_and_every_reason_that_the_guide_names_exists() -> None:
    files = [x.name for x in pkgutil.iter_modules(truestock.v1.__path__) if x.name.endswith("_service_pb2")]
    modules = [importlib.import_module(f"truestock.v1.{name}") for name in files]
    services = [service for module in modules for service in module.DESCRIPTOR.services_by_name.values()]
    calls = {method.name for service in services for method in service.methods}
    reasons = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.DESCRIPTOR.values_by_name}
    errors = re.findall(r"^\| `([A-Z_]+)` \| (?!`)", GUIDE, re.MULTILINE)
    called = re.findall(r"`([A-Z][a-z]+[A-Z][A-Za-z]+)`", GUIDE)

    assert {name for name in called if name not in calls} <= {
        "BadRequest",
        "CallError",
        "ErrorInfo",
        "InvalidRequest",
        "NotFound",
        "RetryInfo",
    }
    assert {name for name in errors if name not in reasons and not name.startswith("QUARANTINED")} <= {
        "ALLOCATED",
        "BACKORDERED",
        "NEEDS_REVIEW",
    }
