"""What a service has read before it takes calls, so that none of them waits for it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pycountry
import pytest

from service.app.application import running
from tests.conftest import PLAIN_RULES, service_settings


@pytest.fixture
def codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of ISO 3166-2, which nobody has read yet."""
    copy = tmp_path / "regions.json"
    shutil.copy(pycountry.subdivisions.filename, copy)
    monkeypatch.setattr(pycountry, "subdivisions", pycountry.Subdivisions(str(copy)))
    return copy


async def test_regions_are_read_before_the_service_takes_calls(codes: Path, database_url: str) -> None:
    async with running(service_settings(database_url, PLAIN_RULES)):
        await asyncio.to_thread(codes.unlink)

        assert "US-HI" in {region.code for region in pycountry.subdivisions}
