"""A line at the bottom of the terminal that follows the demo: seconds, and what has been counted by now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from rich.console import Console
from rich.live import Live
from rich.text import Text

from bench.demo.retailer import CHANNEL
from bench.demo.six_rates import MetricsPage, read_metrics

REFRESH_SECONDS = 0.5
SHOWN: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("sold", "sold_units", {"channel": CHANNEL}),
    ("oversold", "oversold_units", {"channel": CHANNEL}),
    ("cancelled", "cancelled_units", {"channel": CHANNEL}),
    ("exceptions", "exceptions", {}),
    ("rerouted", "rerouted_units", {}),
    ("late", "shipments_due", {"result": "late"}),
)
"""Labels of the line with their counters."""


@asynccontextmanager
async def live_view(console: Console, metrics_address: str) -> AsyncIterator[None]:
    """Shows the line while the block runs; what the block prints stands above it. A file gets no line."""
    if not console.is_terminal:
        yield
        return
    with Live(Text(""), console=console, transient=True, auto_refresh=False) as live:
        following = asyncio.create_task(_follow(live, metrics_address))
        try:
            yield
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following


async def _follow(live: Live, address: str) -> None:
    started = time.monotonic()
    while True:
        # The service may be too busy to answer, which the next look makes up for.
        with suppress(OSError):
            page = MetricsPage(await asyncio.to_thread(read_metrics, address))
            counted = "  ".join(f"{label} {page.total(name, labels):,}" for label, name, labels in SHOWN)
            seconds = time.monotonic() - started
            live.update(Text(f"  {seconds:3.0f} s  {counted}", style="reverse"), refresh=True)
        await asyncio.sleep(REFRESH_SECONDS)
