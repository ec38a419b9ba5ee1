"""The demo on a temporary database and a temporary copy of the rules."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from bench.bench_retailer import RULES
from bench.demo.retailer import DemoRetailer
from bench.demo.story import DemoError, Story
from bench.demo.unit_groups import SumError
from service.app.application import running
from service.app.listening import StartError
from service.cli.client import connect
from service.cli.console import UserError, stdout_console
from service.database.embedded.postgres import EmbeddedPostgresError, temporary_postgres
from service.database.migrate import migrate
from service.policy.active_policies import RulesFolderError
from service.settings import Settings

SECONDS = 180.0
"""The demo takes some ten seconds, and half a minute on a busy machine. What takes longer hangs."""
_THROW_AWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""The data are deleted at the end, so nothing has to survive a crash."""


def run() -> str:
    """Runs the demo in this process. Returns why it failed; empty if every step showed what it is there to show."""
    # Log lines of the service would interrupt the printed steps.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        with temporary_postgres(settings=_THROW_AWAY) as server, copied_rules() as rules:
            asyncio.run(run_demo(server.database_url, rules))
    except (SumError, DemoError, UserError, StartError, RulesFolderError, EmbeddedPostgresError) as error:
        return str(error).strip().rstrip(".")
    except TimeoutError as error:
        return str(error) or f"it did not end within {SECONDS:g} s"
    return ""


async def run_demo(url: str, rules: Path) -> None:
    """Runs the service on free ports and the demo against it. Raises SumError, DemoError or TimeoutError."""
    console = stdout_console()
    async with asyncio.timeout(SECONDS):
        await migrate(url)
        settings = Settings(
            address="127.0.0.1:0",
            metrics_address="127.0.0.1:0",
            database_url=url,
            rules=rules,
            sample=True,
            drain_seconds=2,
            log_calls_per_second=0,
        )
        async with running(settings) as service, connect(service.address) as client:
            console.print(
                f"It runs on {service.address}, with the sample retailer and a copy of rules/ "
                f"(revision {service.policy_revision[:8]})."
            )
            await Story(service, DemoRetailer(client), rules, console).run()


@contextmanager
def copied_rules() -> Iterator[Path]:
    """A temporary copy of the repository's rules, which the demo may edit."""
    with tempfile.TemporaryDirectory(prefix="truestock-demo-") as folder:
        yield Path(shutil.copytree(RULES, Path(folder) / "rules"))
