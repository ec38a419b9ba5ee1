"""The demo on a temporary database and a temporary copy of the rules."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from bench.bench_retailer import RULES
from bench.demo.bad_afternoon import BadAfternoon
from bench.demo.figures import DEFAULT_SEED, DemoFigures
from bench.demo.live_view import live_view
from bench.demo.page import DemoPage
from bench.demo.passed_time import PassedTime
from bench.demo.retailer import CHANNEL, DemoRetailer
from bench.demo.six_rates import MetricsPage, read_metrics
from bench.demo.story import Story
from bench.demo.unit_groups import DemoError, SumError
from service.app.application import running
from service.app.listening import StartError
from service.cli.client import connect
from service.cli.console import UserError, add_row, new_table, stdout_console
from service.database.embedded.postgres import EmbeddedPostgresError, temporary_postgres
from service.database.migrate import migrate
from service.policy.active_policies import RulesFolderError
from service.settings import Settings

SECONDS = 240.0
"""The demo takes half a minute, and two on a machine that is busy with much else. What takes longer hangs."""
REPORT = Path(tempfile.gettempdir()) / "truestock-demo-report.html"
"""The page that the demo leaves behind."""
_THROW_AWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""The data are deleted at the end, so nothing has to survive a crash."""


def run(seed: int) -> str:
    """Runs the demo in this process, with the figures of a seed.

    Returns why it failed; empty if every step showed what it is there to show.
    """
    # Log lines of the service would interrupt the printed steps.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        with temporary_postgres(settings=_THROW_AWAY) as server, copied_rules() as rules:
            asyncio.run(run_demo(server.database_url, rules, seed))
    except (SumError, DemoError, UserError, StartError, RulesFolderError, EmbeddedPostgresError) as error:
        return str(error).strip().rstrip(".")
    except TimeoutError as error:
        return str(error) or f"it did not end within {SECONDS:g} s"
    return ""


async def run_demo(url: str, rules: Path, seed: int = DEFAULT_SEED) -> None:
    """Runs the service on free ports and the demo against it. Raises SumError, DemoError or TimeoutError."""
    page = DemoPage(stdout_console())
    async with asyncio.timeout(SECONDS):
        await migrate(url)
        settings = Settings(
            address="127.0.0.1:0",
            metrics_address="127.0.0.1:0",
            database_url=url,
            rules=rules,
            sample=True,
            sample_orders=False,
            drain_seconds=2,
            log_calls_per_second=0,
        )
        async with running(settings) as service, connect(service.address) as client:
            page.console.print(
                f"It runs {page.measured(f'on {service.address}, ')}with the sample retailer and a copy of rules/ "
                f"(revision {service.policy_revision[:8]}). The figures are those of seed {seed}."
            )
            retailer = DemoRetailer(client)
            story = Story(service, retailer, rules, page, DemoFigures.of(seed))
            async with live_view(page.console, service.metrics_address):
                await story.run()
                afternoon = BadAfternoon(retailer, page, PassedTime(url))
                await afternoon.run()
            told = story.sold_units + afternoon.sold_units, story.oversold_units + afternoon.oversold_units
            await print_rates(page, service.metrics_address, told)
            await write_report(page, service.address)


async def write_report(page: DemoPage, server: str) -> None:
    """Writes the report of the day as a page that outlives the demo, and prints where. Raises DemoError."""
    # Under a name of its own first: another demo may end at the same moment.
    draft = REPORT.with_name(f"truestock-demo-{os.getpid()}.html")
    command = [sys.executable, "-m", "service", "report", "--since", "1h", "--html", str(draft), "--server", server]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=RULES.parent, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise DemoError(f"the report was not written: {said.decode().strip()}")
    draft.replace(REPORT)
    page.console.print(f"\nThe report of the day, for the people who run the shops: {REPORT}", soft_wrap=True)


async def print_rates(page: DemoPage, metrics_address: str, told: tuple[int, int]) -> None:
    """Prints the six rates from what Prometheus would scrape.

    `told` are the units sold and oversold in the demo. Raises SumError if the metrics say others.
    """
    page.title("The six rates of TikTok's day, from /metrics")
    metrics = MetricsPage(await asyncio.to_thread(read_metrics, metrics_address))
    table = new_table("rate", "value", "counted", "what to change", numbers=("value",))
    for value in metrics.rates(CHANNEL):
        add_row(table, value.rate.title, value.share, value.counted, value.advice)
    page.show(table)
    counted = tuple(metrics.total(name, {"channel": CHANNEL}) for name in ("sold_units", "oversold_units"))
    if counted != told:
        raise SumError(f"{told[0]} sold and {told[1]} oversold, but the metrics say {counted}")


@contextmanager
def copied_rules() -> Iterator[Path]:
    """A temporary copy of the repository's rules, which the demo may edit."""
    with tempfile.TemporaryDirectory(prefix="truestock-demo-") as folder:
        yield Path(shutil.copytree(RULES, Path(folder) / "rules"))
